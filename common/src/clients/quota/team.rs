//! What LiteLLM answered about a team, as values. Pure.
//!
//! Its numbers are Python's floats. They are read as decimals, never through a float of ours, and rounded to the
//! [`DIGITS`] that a float keeps for certain: what we wrote comes back as what we wrote (123.45, up to ten million million
//! with cents), and what lies beyond, as in a spend of 0.06000000000000001, is the noise of sums, which must neither be
//! drift nor be bought as a cent.

use rust_decimal::Decimal;
use serde_json::Value;

use super::{Allowance, BackendError, BackendQuota, Usage};
use crate::ids::TeamId;
use crate::money::decimal_from_json;

/// The significant digits that survive in a float of 64 bits.
pub(super) const DIGITS: u32 = 15;

/// A page of what a team has spent by day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Page {
    /// What is on it.
    pub(super) spend: Decimal,
    /// Whether there is another one.
    pub(super) more: bool,
}

/// Reads what a team may spend. Versions put it at the top, below `team_info` or below `data`.
pub(super) fn quota(answer: &Value, wanted: &TeamId) -> Result<BackendQuota, BackendError> {
    // That it is not said is not the same as null, which is unlimited.
    let quota = match team(answer, wanted)?.get("max_budget") {
        None => return Err(BackendError::unavailable("the answer has no max_budget")),
        Some(Value::Null) => Allowance::Unlimited,
        Some(budget) => Allowance::Limited(amount(budget, "max_budget")?),
    };
    let usage_reset = reset_period(answer, wanted).map(str::to_owned);
    Ok(BackendQuota { quota, team_id: Some(wanted.clone()), usage_reset })
}

/// Reads what a team has spent in total.
pub(super) fn spend(answer: &Value, wanted: &TeamId) -> Result<Usage, BackendError> {
    match team(answer, wanted)?.get("spend") {
        None | Some(Value::Null) => Ok(Usage::Unavailable),
        Some(spend) => match amount(spend, "spend")? {
            spend if spend < Decimal::ZERO => Ok(Usage::Unavailable),
            spend => Ok(Usage::Known(spend)),
        },
    }
}

/// When the team's spend begins at zero again, if it ever does: then it is no total, and a quota that only grows would let
/// the team spend all of it again.
pub(super) fn reset_period<'a>(answer: &'a Value, wanted: &TeamId) -> Option<&'a str> {
    team(answer, wanted).ok()?.get("budget_duration")?.as_str()
}

/// Whether `/health/readiness` says that the proxy reaches its database. Versions differ: `db` is `connected`,
/// `disconnected`, `unknown` or `Not connected`; some say `connected` whatever it is, and have the truth in `status`.
pub(super) fn database_is_connected(answer: &Value) -> bool {
    let word = |name: &str| answer[name].as_str().unwrap_or_default().to_ascii_lowercase();
    word("db") == "connected" && !["disconnected", "unknown", "unhealthy"].contains(&word("status").as_str())
}

/// Reads one page of daily activity.
pub(super) fn activity(answer: &Value, wanted: &TeamId) -> Result<Page, BackendError> {
    let days = answer["results"].as_array().ok_or_else(|| BackendError::unavailable("the activity has no results"))?;
    let mut spend = Decimal::ZERO;
    for day in days {
        let of_day = match day["breakdown"]["entities"].as_object() {
            // Whatever else the answer covers, this is the team's.
            Some(teams) if !teams.is_empty() => teams.get(wanted.as_str()).map(|team| &team["metrics"]["spend"]),
            _ => Some(&day["metrics"]["spend"]),
        };
        let of_day = of_day.map_or(Ok(Decimal::ZERO), |spend| amount(spend, "spend of a day"))?;
        spend = spend.checked_add(of_day).ok_or_else(|| BackendError::unavailable("the activity is beyond measure"))?;
    }
    let pages = &answer["metadata"];
    let more = match (pages["page"].as_u64(), pages["total_pages"].as_u64()) {
        (Some(page), Some(pages)) => page < pages,
        _ => pages["has_more"] == true,
    };
    Ok(Page { spend: rounded(spend), more })
}

/// The team in an answer; it must be the one that was asked for.
fn team<'a>(answer: &'a Value, wanted: &TeamId) -> Result<&'a Value, BackendError> {
    let below = ["team_info", "data"].iter().find_map(|name| answer.get(name).filter(|inner| inner.is_object()));
    let team = below.unwrap_or(answer);
    let id = team.get("team_id").or_else(|| answer.get("team_id"));
    if !team.is_object() || id.is_some_and(|id| id != wanted.as_str()) {
        return Err(BackendError::unavailable(format!("the answer is not about team {wanted}")));
    }
    Ok(team)
}

fn amount(value: &Value, what: &str) -> Result<Decimal, BackendError> {
    decimal_from_json(value)
        .ok()
        .or_else(|| finer_than_a_decimal(value))
        .map(rounded)
        .ok_or_else(|| BackendError::unavailable(format!("the answer has no readable {what}")))
}

/// A float such as 1.4999999999999999e-13: it has more decimals than a decimal can have, and is next to nothing.
fn finer_than_a_decimal(value: &Value) -> Option<Decimal> {
    let text = value.as_number()?.to_string();
    match text.split_once(['e', 'E']) {
        Some((_, exponent)) if exponent.starts_with('-') => {
            Some(Decimal::from_scientific_lossy(&text).unwrap_or(Decimal::ZERO))
        }
        Some(_) => None,
        None => text.parse().ok(),
    }
}

fn rounded(value: Decimal) -> Decimal {
    value.round_sf(DIGITS).unwrap_or(value).normalize()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn wanted() -> TeamId {
        TeamId::parse("team-acme").unwrap()
    }

    fn decimal(text: &str) -> Decimal {
        Decimal::from_str_exact(text).unwrap()
    }

    fn read(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    /// As a running proxy answered.
    fn fixture(name: &str) -> Value {
        let path = format!("{}/tests/it/fixtures/litellm/{name}.json", env!("CARGO_MANIFEST_DIR"));
        read(&std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}")))
    }

    #[test]
    fn what_a_real_proxy_answered() {
        for (name, budget, spent) in
            [("api_team_new", "0.05", "0"), ("api_team_update", "0.1", "0.06"), ("api_team_info", "0.1", "0.12")]
        {
            let answer = fixture(name);
            let got = quota(&answer, &wanted()).unwrap();
            assert!(got.quota.is(decimal(budget)), "{name}: {got:?}");
            assert_eq!(got.team_id, Some(wanted()));
            assert_eq!(spend(&answer, &wanted()), Ok(Usage::Known(decimal(spent))), "{name}");
            assert_eq!(reset_period(&answer, &wanted()), None);
        }
        let page = Page { spend: decimal("0.03"), more: false };
        let answer = fixture("api_team_daily_activity");
        assert_eq!(activity(&answer, &TeamId::parse("team-3d0b058e").unwrap()), Ok(page));
        assert_eq!(activity(&answer, &wanted()), Ok(Page { spend: Decimal::ZERO, more: false }), "another team's");
    }

    #[test]
    fn no_budget_is_unlimited_and_an_unreadable_one_an_error() {
        let of = |budget: Value| quota(&json!({ "team_info": { "max_budget": budget } }), &wanted());
        assert_eq!(of(json!(null)).unwrap().quota, Allowance::Unlimited);
        for bad in [json!("many"), json!(true), json!([1]), read("1e300")] {
            assert!(of(bad.clone()).is_err(), "{bad}");
        }
        for bad in [json!({}), json!({ "team_id": "team-acme" }), json!([]), json!(null), json!({ "team_info": null })]
        {
            assert!(quota(&bad, &wanted()).is_err(), "{bad}");
        }
        for other in [
            json!({ "team_id": "other", "max_budget": 1 }),
            json!({ "team_id": "team-acme", "data": { "team_id": "other", "max_budget": 1 } }),
        ] {
            assert!(quota(&other, &wanted()).unwrap_err().to_string().contains("not about team"), "{other}");
        }
    }

    #[test]
    fn floats_are_what_they_stand_for() {
        for (text, want) in [
            ("123.45", "123.45"),
            ("100.0", "100"),
            ("0.06000000000000001", "0.06"),
            ("0.30000000000000004", "0.3"),
            ("520.0000000000001", "520"),
            ("9999999999.99", "9999999999.99"),
            ("\"500.10\"", "500.1"),
            ("1e+16", "10000000000000000"),
            ("5e-06", "0.000005"),
            ("1.4999999999999999e-13", "0.00000000000015"),
            ("1.4999999999999999e-30", "0"),
            ("0.1000000000000000055511151231257827021181583404541015625", "0.1"),
        ] {
            assert_eq!(amount(&read(text), "x"), Ok(decimal(want)), "{text}");
        }
    }

    #[test]
    fn only_a_database_that_is_connected_is() {
        for (answer, want) in [
            (json!({ "status": "healthy", "db": "connected" }), true),
            (json!({ "status": "connected", "db": "connected", "last_updated": "2026-11-23T08:00:00" }), true),
            (json!({ "db": "Connected", "cache": null }), true),
            (json!({ "status": "healthy", "db": "disconnected" }), false),
            (json!({ "status": "healthy", "db": "unknown" }), false),
            (json!({ "status": "healthy", "db": "Not connected" }), false),
            (json!({ "status": "disconnected", "db": "connected" }), false),
            (json!({ "status": "healthy" }), false),
            (json!("I'm alive!"), false),
            (json!(null), false),
        ] {
            assert_eq!(database_is_connected(&answer), want, "{answer}");
        }
    }

    #[test]
    fn spend_is_known_or_not() {
        for (value, want) in [
            (json!(0.0), Usage::Known(Decimal::ZERO)),
            (json!(null), Usage::Unavailable),
            (json!(-1), Usage::Unavailable),
        ] {
            assert_eq!(spend(&json!({ "team_info": { "spend": value } }), &wanted()), Ok(want));
        }
        assert_eq!(spend(&json!({ "team_id": "team-acme" }), &wanted()), Ok(Usage::Unavailable));
        assert!(spend(&json!({ "spend": "a lot" }), &wanted()).is_err());
    }

    #[test]
    fn pages_are_counted_or_announced() {
        let day = |spend: f64| json!({ "metrics": { "spend": spend }, "breakdown": { "entities": {} } });
        for (pages, more) in [
            (json!({ "page": 1, "total_pages": 2, "has_more": false }), true),
            (json!({ "page": 2, "total_pages": 2, "has_more": false }), false),
            (json!({ "page": 1, "total_pages": 0 }), false),
            (json!({ "has_more": true }), true),
            (json!({}), false),
        ] {
            let answer = json!({ "results": [day(0.1), day(0.2)], "metadata": pages });
            assert_eq!(activity(&answer, &wanted()), Ok(Page { spend: decimal("0.3"), more }), "{pages}");
        }
        for bad in [json!({}), json!({ "results": [{}] }), json!({ "results": [{ "metrics": { "spend": "?" } }] })] {
            assert!(activity(&bad, &wanted()).is_err(), "{bad}");
        }
    }

    proptest! {
        /// What is written as a decimal with cents and kept as a float is read as the same decimal.
        #[test]
        fn what_we_wrote_comes_back(minor in 0_i64..999_999_999_999_999) {
            let written = Decimal::new(minor, 2);
            let kept: f64 = written.to_string().parse().unwrap();
            let answer = read(&format!("{{\"max_budget\": {kept:?}}}"));
            prop_assert!(quota(&answer, &wanted()).unwrap().quota.is(written));
        }
    }
}
