//! An organization's recharges.

use std::collections::HashMap;

use askama::Template;
use chrono::TimeDelta;
use common::money::Currency;
use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use super::listing::{Filter, Listing, Page};
use super::sheet::{Cell, Sheet};
use crate::console::amount::Amount;
use crate::console::form::query;
use crate::console::layout::Layout;
use crate::console::moment::Moment;
use crate::console::pages::status;
use crate::console::reply::Reply;
use crate::console::route::Route;
use crate::console::text::{fill, term};
use crate::console::visit::Visit;
use crate::http::Problem;

/// The routes.
pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/console/organizations/{id}/recharges", |visit| Box::pin(async move { show(&visit).await })),
        Route::get("/console/organizations/{id}/recharges.csv", |visit| Box::pin(async move { file(&visit).await })),
    ]
}

#[derive(Deserialize)]
struct Recharge {
    recharge_id: Uuid,
    amount: Amount,
    fee: Amount,
    total_charge: Option<Amount>,
    currency: Currency,
    status: Option<String>,
    triggered_by: String,
    created_at: Option<Moment>,
    settled_at: Option<Moment>,
    refunded_amount: Amount,
    refunded_total: Amount,
    /// Who asked for it, where a person did.
    #[serde(skip)]
    by: Option<String>,
}

impl Recharge {
    fn status(&self) -> &str {
        self.status.as_deref().unwrap_or_default()
    }

    fn class(&self) -> &'static str {
        status::class(self.status())
    }
}

#[derive(Template)]
#[template(path = "history/recharges.html")]
struct RechargesPage {
    layout: Layout,
    id: String,
    tab: &'static str,
    list: Listing,
    recharges: Vec<Recharge>,
}

impl RechargesPage {
    fn status_words<'a>(&self, recharge: &'a Recharge) -> &'a str {
        match recharge.status() {
            "" => self.layout.text.common.unknown,
            status => term(self.layout.text.terms.statuses, status),
        }
    }

    fn cause<'a>(&self, recharge: &'a Recharge) -> &'a str {
        term(self.layout.text.terms.triggers, &recharge.triggered_by)
    }
}

fn listing(visit: &Visit) -> Listing {
    let (words, terms) = (&visit.text.history, &visit.text.terms);
    let mut filters = vec![
        Filter::words("status", words.status, terms.statuses),
        Filter::words("triggered_by", words.cause, terms.triggers),
    ];
    filters.extend(Filter::days(visit));
    Listing::new(visit, format!("/api/organizations/{}/recharge-history", visit.param(0)), filters)
}

/// `GET /console/organizations/{id}/recharges`
async fn show(visit: &Visit) -> Result<Reply, Problem> {
    let id = visit.param(0).to_owned();
    let mut list = listing(visit);
    let mut recharges: Vec<Recharge> = list.load(visit).await?;
    name_starters(visit, &mut recharges).await?;
    let title = fill(visit.text.history.recharges_of, &[("organization", &id)]);
    let layout = visit.layout(title).section("organizations").live(Some(&id));
    let status = list.status();
    Reply::page_with(status, &RechargesPage { layout, id, tab: "recharges", list, recharges })
}

/// `GET /console/organizations/{id}/recharges.csv`
async fn file(visit: &Visit) -> Result<Reply, Problem> {
    let (words, terms) = (&visit.text.history, &visit.text.terms);
    let mut sheet = Sheet::new(&[
        words.when,
        words.status,
        words.amount,
        words.fee,
        words.total,
        words.refunded_quota,
        words.refunded_money,
        words.currency,
        words.cause,
        words.by,
        words.in_force_since,
        words.recharge_id,
    ])?;
    let list = listing(visit);
    let mut walk = list.walk();
    while let Some(mut recharges) = walk.next::<Recharge>(visit).await? {
        name_starters(visit, &mut recharges).await?;
        for recharge in &recharges {
            sheet.row(&[
                Cell::At(recharge.created_at),
                Cell::Text(term(terms.statuses, recharge.status())),
                Cell::Amount(Some(recharge.amount)),
                Cell::Amount(Some(recharge.fee)),
                Cell::Amount(recharge.total_charge),
                Cell::Amount(Some(recharge.refunded_amount)),
                Cell::Amount(Some(recharge.refunded_total)),
                Cell::Text(&recharge.currency.code().to_uppercase()),
                Cell::Text(term(terms.triggers, &recharge.triggered_by)),
                Cell::Text(recharge.by.as_deref().unwrap_or_default()),
                Cell::At(recharge.settled_at),
                Cell::Text(&recharge.recharge_id.to_string()),
            ])?;
        }
    }
    sheet.into_reply(&format!("{}-recharges", visit.param(0)), walk.is_all())
}

/// The event that somebody's call became.
#[derive(Deserialize)]
struct Asked {
    recharge_id: Option<Uuid>,
    payload: Value,
}

/// Says of recharges by hand whose hand it was: their events know.
async fn name_starters(visit: &Visit, recharges: &mut [Recharge]) -> Result<(), Problem> {
    let by_hand = || recharges.iter().filter(|recharge| recharge.triggered_by == "manual");
    let times = || by_hand().filter_map(|recharge| recharge.created_at);
    let Some((first, last)) = times().min().zip(times().max()) else { return Ok(()) };
    // What was asked for may have waited before it was begun.
    let from = Moment(first.0 - TimeDelta::hours(1)).exact();
    let to = Moment(last.0 + TimeDelta::seconds(1)).exact();
    let only = [("source", "api"), ("decision", "charge"), ("from", &from), ("to", &to), ("limit", "200")];
    let path = format!("/api/organizations/{}/webhook-events?{}", visit.param(0), query(only));
    let asked: Option<Page<Asked>> = visit.try_get(&path).await?;
    let starters = asked.into_iter().flat_map(|page| page.items).filter_map(|asked| {
        let by = asked.payload["requested_by"].as_str()?;
        Some((asked.recharge_id?, by.to_owned()))
    });
    let mut starters: HashMap<Uuid, String> = starters.collect();
    for recharge in recharges {
        recharge.by = starters.remove(&recharge.recharge_id);
    }
    Ok(())
}
