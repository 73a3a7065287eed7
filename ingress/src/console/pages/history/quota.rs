//! What was done to an organization's quota at the backend.

use askama::Template;
use common::money::Currency;
use serde::Deserialize;

use super::listing::Listing;
use super::sheet::{Cell, Sheet};
use crate::console::amount::Amount;
use crate::console::form::query;
use crate::console::layout::Layout;
use crate::console::moment::Moment;
use crate::console::reply::Reply;
use crate::console::route::Route;
use crate::console::text::{fill, term};
use crate::console::visit::Visit;
use crate::http::Problem;

/// The routes.
pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/console/organizations/{id}/quota", |visit| Box::pin(async move { show(&visit).await })),
        Route::get("/console/organizations/{id}/quota.csv", |visit| Box::pin(async move { file(&visit).await })),
    ]
}

/// A push of a quota, or one that was given up.
#[derive(Deserialize)]
pub(super) struct Entry {
    kind: String,
    pub(super) quota_sync_id: Option<i64>,
    pub(super) at: Moment,
    backend: String,
    pub(super) quota: Amount,
    previous_quota: Option<Amount>,
    changed: bool,
    ledger_version: i64,
    why: String,
    description: Option<String>,
    message: Option<String>,
    recharge_id: Option<String>,
    requested_by: Option<String>,
    event_id: String,
}

impl Entry {
    fn is_in_force(&self) -> bool {
        self.kind == "synced"
    }
}

/// What the books say now.
#[derive(Deserialize)]
pub(super) struct Balance {
    pub(super) currency: Currency,
    pub(super) quota: Amount,
    pub(super) ledger_version: i64,
    pub(super) usage: Option<Amount>,
    closed_at: Option<Moment>,
}

/// The organization's balance.
pub(super) async fn balance(visit: &Visit, id: &str) -> Result<Balance, Problem> {
    visit.get(&format!("/api/organizations/{id}/balance")).await
}

#[derive(Template)]
#[template(path = "history/quota.html")]
struct QuotaPage {
    layout: Layout,
    id: String,
    tab: &'static str,
    list: Listing,
    entries: Vec<Entry>,
    currency: Currency,
    may_restore: bool,
}

impl QuotaPage {
    fn why<'a>(&self, entry: &'a Entry) -> &'a str {
        term(self.layout.text.terms.quota_causes, &entry.why)
    }

    /// What the ledger says of it, unless it is about a recharge: that one's own page tells it, and in the reader's language.
    fn description<'a>(&self, entry: &'a Entry) -> Option<&'a str> {
        entry.description.as_deref().filter(|_| entry.recharge_id.is_none())
    }

    fn backend<'a>(&self, entry: &'a Entry) -> &'a str {
        term(self.layout.text.terms.backends, &entry.backend)
    }

    /// Where it can be put back from; the place in the list is where it is found again.
    fn restore(&self, entry: &Entry) -> Option<String> {
        let sync = entry.quota_sync_id.filter(|_| self.may_restore)?.to_string();
        let query = query([("quota_sync_id", sync.as_str()), ("before", self.list.place())]);
        Some(format!("/console/organizations/{}/quota/restore?{query}", self.id))
    }

    fn restore_label(&self, entry: &Entry) -> String {
        fill(self.layout.text.history.put_back_label, &[("quota", &entry.quota.money(&self.currency))])
    }
}

/// The list, as far as it is older than `before`.
pub(super) fn listing(visit: &Visit) -> Listing {
    Listing::new(visit, format!("/api/organizations/{}/quota-history", visit.param(0)), Vec::new())
}

/// `GET /console/organizations/{id}/quota`
async fn show(visit: &Visit) -> Result<Reply, Problem> {
    let id = visit.param(0).to_owned();
    let balance = balance(visit, &id).await?;
    let mut list = listing(visit);
    let entries = list.load(visit).await?;
    let title = fill(visit.text.history.quota_of, &[("organization", &id)]);
    let layout = visit.layout(title).section("organizations").live(Some(&id));
    let may_restore = visit.is_operator() && balance.closed_at.is_none();
    let status = list.status();
    let page = QuotaPage { layout, id, tab: "quota", list, entries, currency: balance.currency, may_restore };
    Reply::page_with(status, &page)
}

/// `GET /console/organizations/{id}/quota.csv`
async fn file(visit: &Visit) -> Result<Reply, Problem> {
    let (words, terms) = (&visit.text.history, &visit.text.terms);
    let columns = [
        words.when,
        words.result,
        words.quota_before,
        words.quota_after,
        words.currency,
        words.reason,
        words.message,
        words.by,
        words.backend,
        words.ledger_version,
        words.recharge_id,
        words.event_id,
    ];
    let mut sheet = Sheet::new(&columns)?;
    let currency = balance(visit, visit.param(0)).await?.currency.code().to_uppercase();
    let list = listing(visit);
    let mut walk = list.walk();
    while let Some(entries) = walk.next::<Entry>(visit).await? {
        for entry in &entries {
            let says = entry.message.as_ref().or(entry.description.as_ref());
            sheet.row(&[
                Cell::At(Some(entry.at)),
                Cell::Text(if entry.is_in_force() { words.in_force } else { words.given_up }),
                Cell::Amount(entry.previous_quota),
                Cell::Amount(Some(entry.quota)),
                Cell::Text(&currency),
                Cell::Text(term(terms.quota_causes, &entry.why)),
                Cell::Text(says.map_or("", String::as_str)),
                Cell::Text(entry.requested_by.as_deref().unwrap_or_default()),
                Cell::Text(term(terms.backends, &entry.backend)),
                Cell::Text(&entry.ledger_version.to_string()),
                Cell::Text(entry.recharge_id.as_deref().unwrap_or_default()),
                Cell::Text(&entry.event_id),
            ])?;
        }
    }
    sheet.into_reply(&format!("{}-quota", visit.param(0)), walk.is_all())
}
