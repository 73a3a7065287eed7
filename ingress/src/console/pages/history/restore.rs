//! Putting an earlier quota back.

use askama::Template;
use common::money::Currency;
use serde::Deserialize;
use serde_json::json;
use warp::http::{Method, StatusCode};

use super::quota::{Balance, Entry, balance, listing};
use crate::console::amount::Amount;
use crate::console::client::read;
use crate::console::layout::Layout;
use crate::console::moment::Moment;
use crate::console::pages::{error, wrong::Wrong};
use crate::console::reply::Reply;
use crate::console::route::Route;
use crate::console::text::{Rich, rich};
use crate::console::visit::Visit;
use crate::http::Problem;

const PATH: &str = "/console/organizations/{id}/quota/restore";
/// An entry is looked for in so many of the API's largest pages, from the page on that it was seen on.
const MOST_PAGES: usize = 25;

/// The routes.
pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get(PATH, |visit| Box::pin(async move { show(&visit).await })),
        Route::post(PATH, |visit| Box::pin(async move { restore(&visit).await })),
    ]
}

#[derive(Template)]
#[template(path = "history/restore.html")]
struct RestorePage {
    layout: Layout,
    id: String,
    currency: Currency,
    quota_sync_id: String,
    before: String,
    /// When the quota was put in force.
    at: Moment,
    target: Amount,
    now: Balance,
    key: String,
    reason: String,
    wrong: Wrong,
    refused: Option<String>,
}

impl RestorePage {
    fn change(&self) -> Amount {
        Amount(self.target.0.saturating_sub(self.now.quota.0))
    }

    /// What would be left to use, where the usage is known.
    fn available(&self) -> Option<Amount> {
        self.now.usage.map(|usage| Amount(self.target.0.saturating_sub(usage.0)))
    }

    fn money(&self, amount: &Amount) -> String {
        amount.money(&self.currency)
    }
}

/// What is asked for, wherever it is from.
struct Wanted<'a> {
    quota_sync_id: &'a str,
    before: &'a str,
    reason: &'a str,
    key: String,
}

/// `GET …/quota/restore?quota_sync_id=&before=`
async fn show(visit: &Visit) -> Result<Reply, Problem> {
    operators_only(visit)?;
    let asked = |name| visit.query.get(name).unwrap_or_default();
    let (quota_sync_id, before) = (asked("quota_sync_id"), asked("before"));
    let wanted = Wanted { quota_sync_id, before, reason: "", key: visit.new_key() };
    Reply::page(&page(visit, wanted).await?)
}

/// As the API would say to the form itself: there is nothing to fill in for somebody who may not send it.
fn operators_only(visit: &Visit) -> Result<(), Problem> {
    if visit.is_operator() {
        return Ok(());
    }
    let seen = visit.viewer.caller.grant.sees(Some(visit.param(0)));
    Err(if seen { Problem::new(StatusCode::FORBIDDEN, "forbidden", "Operators only") } else { Problem::no_route() })
}

async fn page(visit: &Visit, wanted: Wanted<'_>) -> Result<RestorePage, Problem> {
    let id = visit.param(0).to_owned();
    let now = balance(visit, &id).await?;
    let entry = find(visit, wanted.quota_sync_id, wanted.before).await?;
    let layout = visit.layout(visit.text.history.restore).section("organizations");
    Ok(RestorePage {
        layout,
        id,
        currency: now.currency,
        quota_sync_id: wanted.quota_sync_id.to_owned(),
        before: wanted.before.to_owned(),
        at: entry.at,
        target: entry.quota,
        now,
        key: wanted.key,
        reason: wanted.reason.to_owned(),
        wrong: Wrong::default(),
        refused: None,
    })
}

/// The entry of the history.
async fn find(visit: &Visit, quota_sync_id: &str, before: &str) -> Result<Entry, Problem> {
    let unknown = || Problem::not_found("unknown_quota_sync", "There is no such entry in the quota history");
    let wanted: i64 = quota_sync_id.parse().map_err(|_| unknown())?;
    let list = listing(visit);
    let mut walk = list.walk_from(before);
    for _ in 0..MOST_PAGES {
        let Some(entries) = walk.next::<Entry>(visit).await? else { break };
        if let Some(found) = entries.into_iter().find(|entry| entry.quota_sync_id == Some(wanted)) {
            return Ok(found);
        }
    }
    Err(unknown())
}

/// How it ended.
#[derive(Deserialize)]
struct Ended {
    #[serde(default = "yes")]
    success: bool,
    message: Option<String>,
}

/// What has not ended yet is on its way.
fn yes() -> bool {
    true
}

/// `POST …/quota/restore`
async fn restore(visit: &Visit) -> Result<Reply, Problem> {
    let form = &visit.form;
    let key = form.get("key").to_owned();
    let wanted = Wanted {
        quota_sync_id: form.get("quota_sync_id"),
        before: form.get("before"),
        reason: form.get("reason"),
        key: if key.is_empty() { visit.new_key() } else { key.clone() },
    };
    // What the page said would be booked was worked out from these books.
    let now = balance(visit, visit.param(0)).await?;
    if now.ledger_version.to_string() != form.get("version") && visit.is_operator() {
        let problem = Problem::conflict("books_changed", "The books have changed");
        return again(visit, Wanted { key: visit.new_key(), ..wanted }, &problem).await;
    }
    let path = format!("/api/organizations/{}/quota/restore", visit.param(0));
    let body = json!({ "quota_sync_id": form.whole("quota_sync_id"), "reason": form.value("reason") });
    match visit.call(Method::POST, &path, Some(body), &[("idempotency-key", &key)]).await {
        Ok(answer) => {
            let ended: Ended = read(&path, answer)?;
            let to = format!("/console/organizations/{}/quota", visit.param(0));
            let notice = if ended.success { "restored" } else { "restore_refused" };
            if let Some(message) = ended.message {
                tracing::info!(message, "a quota was put back in the books, and is not in force yet");
            }
            Ok(visit.redirect(&to, notice))
        }
        Err(problem) if matches!(problem.status(), StatusCode::FORBIDDEN | StatusCode::NOT_FOUND) => Err(problem),
        // Another key: the refused call must not stand for the next one.
        Err(problem) if problem.status() == StatusCode::CONFLICT => {
            again(visit, Wanted { key: visit.new_key(), ..wanted }, &problem).await
        }
        Err(problem) => again(visit, wanted, &problem).await,
    }
}

/// The form again, with what was typed and why it was refused.
async fn again(visit: &Visit, wanted: Wanted<'_>, problem: &Problem) -> Result<Reply, Problem> {
    let mut page = page(visit, wanted).await?;
    match Wrong::of(visit.text, problem) {
        Some(wrong) => page.wrong = wrong,
        None => page.refused = Some(error::sentence(visit.text, problem)),
    }
    Reply::page_with(problem.status(), &page)
}

impl RestorePage {
    fn lead(&self) -> Rich {
        let values = [("quota", self.money(&self.target)), ("change", self.change().change(&self.currency))];
        let values = values.each_ref().map(|(name, value)| (*name, value.as_str()));
        let words = &self.layout.text.history;
        rich(if self.change().is_zero() { words.restore_same } else { words.restore_lead }, &values)
    }
}
