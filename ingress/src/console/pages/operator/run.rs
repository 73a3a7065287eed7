//! `/console/reconciliations/{id}`: one comparison, part by part, and what it found.

use std::collections::BTreeMap;

use askama::Template;
use common::money::Currency;
use futures_util::future::join_all;
use serde::Deserialize;
use warp::http::Method;

use super::Badge;
use super::finding::{Finding, Row};
use super::reconciliations::Run;
use crate::console::client::read;
use crate::console::form::query;
use crate::console::layout::Layout;
use crate::console::moment::Moment;
use crate::console::reply::Reply;
use crate::console::route::Route;
use crate::console::text::fill;
use crate::console::visit::Visit;
use crate::http::{Answer, Problem};

/// The parts, in the order in which money goes.
const PARTS: [&str; 3] = ["charges", "bookings", "quotas"];

/// The routes.
pub(super) fn routes() -> Vec<Route> {
    vec![Route::get("/console/reconciliations/{id}", |visit| Box::pin(async move { show(&visit).await }))]
}

#[derive(Deserialize)]
struct Findings {
    parts: Vec<Finished>,
    items: Vec<Finding>,
    next_cursor: Option<String>,
}

#[derive(Deserialize)]
struct Finished {
    part: String,
    checked: i64,
    findings: i64,
    finished_at: Moment,
}

#[derive(Deserialize)]
struct Config {
    currency: Currency,
}

/// A part with what it found, as far as that is on this page.
struct Part {
    word: &'static str,
    title: &'static str,
    lead: &'static str,
    badge: Badge,
    finished: Option<Finished>,
    rows: Vec<Row>,
}

#[derive(Template)]
#[template(path = "operator/run.html")]
struct Page {
    layout: Layout,
    run: Run,
    badge: Badge,
    by: String,
    parts: Vec<Part>,
    first: Option<String>,
    next: Option<String>,
}

/// `GET /console/reconciliations/{id}?after=`
async fn show(visit: &Visit) -> Result<Reply, Problem> {
    let text = visit.text;
    let path = format!("/api/reconciliations/{}", visit.param(0));
    let after = visit.query.get("after").unwrap_or_default();
    let answer = visit.call(Method::GET, &format!("{path}?{}", query([("after", after)])), None, &[]).await?;
    let run: Run = read(&path, Answer::ok(answer.body.clone()))?;
    let found: Findings = read(&path, answer)?;
    let currencies = currencies(visit, &found.items).await;
    let mut rows: BTreeMap<String, Vec<Row>> = BTreeMap::new();
    for finding in found.items {
        let currency = finding.c_organization_id.as_ref().and_then(|id| currencies.get(id)).copied();
        rows.entry(finding.part.clone()).or_default().push(finding.row(text, currency));
    }
    let mut finished = found.parts;
    let here = |after: &str| {
        let query = query([("after", after)]);
        format!("/console/reconciliations/{}{}{query}", visit.param(0), if query.is_empty() { "" } else { "?" })
    };
    let part = |word: &'static str| {
        let done = finished.iter().position(|part| part.part == word).map(|place| finished.swap_remove(place));
        let badge = match &done {
            None => Badge::new(
                if run.given_up { "is-bad" } else { "is-info" },
                if run.given_up { text.operator.part_missing } else { text.operator.part_running },
            ),
            Some(part) if part.findings > 0 => {
                let count = part.findings.to_string();
                Badge::new("is-warn", fill(text.operator.part_found, &[("count", &count)]))
            }
            Some(_) => Badge::new("is-good", text.operator.run_agrees),
        };
        let named = |terms: &[(&'static str, &'static str)]| {
            terms.iter().find(|(have, _)| *have == word).map_or(word, |(_, says)| says)
        };
        let (title, lead) = (named(text.terms.comparisons), named(text.terms.comparison_leads));
        Part { word, title, lead, badge, finished: done, rows: rows.remove(word).unwrap_or_default() }
    };
    let parts = PARTS.map(part).into();
    let page = Page {
        layout: visit.layout(text.operator.run_title).live(None).section("reconciliations"),
        badge: run.badge(text),
        by: run.by(text),
        parts,
        first: (!after.is_empty()).then(|| here("")),
        next: found.next_cursor.as_deref().map(here),
        run,
    };
    Reply::page(&page)
}

/// The currencies of the organizations of which a number is shown that does not say its own.
async fn currencies(visit: &Visit, findings: &[Finding]) -> BTreeMap<String, Currency> {
    let mut organizations: Vec<&str> = findings
        .iter()
        .filter(|finding| finding.needs_currency())
        .filter_map(|finding| finding.c_organization_id.as_deref())
        .collect();
    organizations.sort_unstable();
    organizations.dedup();
    let look = |id: &str| {
        let id = id.to_owned();
        async move {
            let config: Config = visit.get(&format!("/api/organizations/{id}/config")).await.ok()?;
            Some((id, config.currency))
        }
    };
    join_all(organizations.into_iter().map(look)).await.into_iter().flatten().collect()
}
