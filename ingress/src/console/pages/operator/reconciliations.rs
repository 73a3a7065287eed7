//! `/console/reconciliations`: comparisons of the books, and a new one.

use askama::Template;
use chrono::{NaiveDate, NaiveTime};
use serde::Deserialize;
use serde_json::json;
use warp::http::Method;

use super::Badge;
use super::refusal::Refusal;
use crate::console::client::read;
use crate::console::form::query;
use crate::console::layout::Layout;
use crate::console::moment::Moment;
use crate::console::reply::Reply;
use crate::console::route::Route;
use crate::console::text::{Text, fill};
use crate::console::visit::Visit;
use crate::http::Problem;

const PATH: &str = "/console/reconciliations";

/// The routes.
pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get(PATH, |visit| Box::pin(async move { show(&visit, Refusal::none()).await })),
        Route::post(PATH, |visit| Box::pin(async move { start(&visit).await })),
    ]
}

#[derive(Deserialize)]
struct Runs {
    items: Vec<Run>,
    next_cursor: Option<String>,
}

/// A comparison.
#[derive(Deserialize)]
pub(super) struct Run {
    pub(super) run_id: String,
    pub(super) since: Moment,
    pub(super) requested_by: String,
    pub(super) requested_at: Moment,
    pub(super) finished: bool,
    pub(super) given_up: bool,
    pub(super) parts_finished: i64,
    pub(super) checked: i64,
    pub(super) findings: i64,
    pub(super) repaired: i64,
    pub(super) reported: i64,
}

impl Run {
    /// What came of it.
    pub(super) fn badge(&self, text: &Text) -> Badge {
        let words = &text.operator;
        let number = |says: &str, number: i64| fill(says, &[("count", &number.to_string())]);
        if self.reported > 0 {
            Badge::new("is-bad", number(words.run_reported, self.reported))
        } else if self.given_up {
            Badge::new("is-bad", words.run_given_up)
        } else if !self.finished {
            Badge::new("is-info", number(words.run_running, self.parts_finished))
        } else if self.findings > 0 {
            Badge::new("is-warn", number(words.run_repaired, self.repaired))
        } else {
            Badge::new("is-good", words.run_agrees)
        }
    }

    /// Who asked for it.
    pub(super) fn by(&self, text: &Text) -> String {
        if self.requested_by == "schedule" { text.operator.by_schedule.to_owned() } else { self.requested_by.clone() }
    }
}

struct Row {
    run: Run,
    badge: Badge,
    by: String,
}

#[derive(Template)]
#[template(path = "operator/reconciliations.html")]
struct Page {
    layout: Layout,
    rows: Vec<Row>,
    first: Option<&'static str>,
    next: Option<String>,
    /// The form sent twice is one comparison.
    key: String,
    since: String,
    refusal: Refusal,
}

/// `GET /console/reconciliations?before=`
async fn show(visit: &Visit, refusal: Refusal) -> Result<Reply, Problem> {
    let text = visit.text;
    let before = visit.query.get("before").unwrap_or_default();
    let runs: Runs = visit.get(&format!("/api/reconciliations?{}", query([("before", before)]))).await?;
    let row = |run: Run| Row { badge: run.badge(text), by: run.by(text), run };
    let page = Page {
        layout: visit.layout(text.common.reconciliations).live(None).section("reconciliations"),
        rows: runs.items.into_iter().map(row).collect(),
        first: (!before.is_empty()).then_some(PATH),
        next: runs.next_cursor.map(|next| format!("{PATH}?{}", query([("before", next.as_str())]))),
        key: visit.new_key(),
        since: visit.form.get("since").to_owned(),
        refusal,
    };
    Reply::page_with(page.refusal.status, &page)
}

#[derive(Deserialize)]
struct Begun {
    run_id: String,
}

/// `POST /console/reconciliations`
async fn start(visit: &Visit) -> Result<Reply, Problem> {
    let since = match visit.form.get("since").trim() {
        "" => serde_json::Value::Null,
        typed => json!(first_moment(typed).unwrap_or_else(|| typed.to_owned())),
    };
    let headers = [("prefer", "respond-async"), ("idempotency-key", visit.form.get("key"))];
    let answer = visit.call(Method::POST, "/api/reconciliations", Some(json!({ "since": since })), &headers).await;
    let answer = answer.and_then(|answer| read::<Begun>("/api/reconciliations", answer));
    match answer {
        Ok(begun) => Ok(visit.redirect(&format!("{PATH}/{}", begun.run_id), "run_started")),
        Err(problem) => show(visit, Refusal::of(visit.text, problem, &["since"])?).await,
    }
}

/// A day as browsers send it, from its first moment on (UTC).
fn first_moment(day: &str) -> Option<String> {
    let day = NaiveDate::parse_from_str(day, "%Y-%m-%d").ok()?;
    Some(day.and_time(NaiveTime::MIN).and_utc().to_rfc3339())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_results() {
        assert_eq!(first_moment("2026-02-28").as_deref(), Some("2026-02-28T00:00:00+00:00"));
        assert_eq!((first_moment("2026-02-30"), first_moment("x")), (None, None));
        let en = Text::of("en").unwrap();
        for (finished, given_up, findings, reported, class) in [
            (true, false, 0, 0, "is-good"),
            (true, false, 2, 0, "is-warn"),
            (true, false, 2, 1, "is-bad"),
            (false, false, 1, 0, "is-info"),
            (false, false, 1, 1, "is-bad"),
            (false, true, 0, 0, "is-bad"),
        ] {
            let run: Run = serde_json::from_value(json!({
                "run_id": "r", "since": "2026-01-01T00:00:00Z", "requested_by": "ann", "requested_at": "2026-01-01T00:00:00Z",
                "finished": finished, "given_up": given_up, "parts_finished": 1, "checked": 5, "findings": findings,
                "repaired": findings - reported, "reported": reported
            }))
            .unwrap();
            assert_eq!(run.badge(en).class, class, "{finished} {given_up} {findings} {reported}");
        }
    }
}
