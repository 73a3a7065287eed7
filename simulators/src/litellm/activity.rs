//! `GET /team/daily/activity`: what teams have spent, by day.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::Team;
use super::shapes::{detail, metrics};
use crate::http::{Call, Reply};
use crate::number;

const USUAL_PAGE: usize = 10;
const LARGEST_PAGE: usize = 1000;

/// A page. A proxy counts rows of its table there, of which a day has several; here each team has one a day. The totals
/// are the page's, as a proxy's are.
pub(super) fn page(call: &Call, teams: &BTreeMap<String, Team>, now: i64) -> Reply {
    let (Some(from), Some(to)) = (call.query_value("start_date"), call.query_value("end_date")) else {
        return detail(400, "Please provide start_date and end_date");
    };
    let wanted = call.query_value("team_ids").unwrap_or_default();
    let parameter =
        |name: &str, usual: usize| call.query_value(name).and_then(|text| text.parse().ok()).unwrap_or(usual);
    let page = parameter("page", 1).max(1);
    let size = parameter("page_size", USUAL_PAGE).clamp(1, LARGEST_PAGE);

    let mut rows: Vec<(&str, &str, Decimal)> = teams
        .iter()
        .filter(|(id, _)| wanted.is_empty() || wanted.split(',').any(|one| one == *id))
        .flat_map(|(id, team)| team.daily(now).into_iter().map(move |(day, spend)| (day, id.as_str(), spend)))
        .filter(|(day, ..)| *day >= from.as_str() && *day <= to.as_str())
        .collect();
    rows.sort_by(|one, other| other.0.cmp(one.0));
    let pages = rows.len().div_ceil(size);
    let shown = rows.iter().skip(size.saturating_mul(page - 1)).take(size);

    let mut days: BTreeMap<&str, BTreeMap<&str, Decimal>> = BTreeMap::new();
    for (day, team, spend) in shown {
        days.entry(day).or_default().insert(team, *spend);
    }
    let total: Decimal = days.values().flat_map(BTreeMap::values).sum();
    let results: Vec<Value> = days.iter().rev().map(|(day, spends)| day_of(day, spends, teams)).collect();
    let metadata = json!({
        "total_spend": number::float(total),
        "total_prompt_tokens": 0,
        "total_completion_tokens": 0,
        "total_tokens": 0,
        "total_api_requests": 0,
        "total_successful_requests": 0,
        "total_failed_requests": 0,
        "total_cache_read_input_tokens": 0,
        "total_cache_creation_input_tokens": 0,
        "page": page,
        "total_pages": pages,
        "has_more": page < pages,
    });
    Reply::json(200, &json!({ "results": results, "metadata": metadata }))
}

fn day_of(day: &str, spends: &BTreeMap<&str, Decimal>, teams: &BTreeMap<String, Team>) -> Value {
    let entities: Value = spends
        .iter()
        .map(|(id, spend)| {
            let alias = teams.get(*id).and_then(|team| team.alias.clone());
            let entry = json!({
                "metrics": metrics(*spend),
                "metadata": { "team_alias": alias },
                "api_key_breakdown": {},
            });
            ((*id).to_owned(), entry)
        })
        .collect();
    json!({
        "date": day,
        "metrics": metrics(spends.values().sum()),
        "breakdown": {
            "mcp_servers": {},
            "models": {},
            "model_groups": {},
            "providers": {},
            "api_keys": {},
            "entities": entities,
        },
    })
}
