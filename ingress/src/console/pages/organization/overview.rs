//! `GET /console/organizations/{id}`: what there is, what is wrong with it, and what happens by itself.

use askama::Template;
use common::money::Currency;
use futures_util::join;
use serde_json::json;

use super::chart::Picture;
use super::data::{Balance, Config, EventRow, EventStatus, Items, QuotaEntry, Recharge, Simulation, Usage};
use super::outcome::{Outcome, outcome};
use super::overview_parts::{Auto, CardOnFile, Flight, Hero, MonthSoFar, QuotaState, RecentEvent, RecentRecharge};
use super::picture::{DaysLink, picture};
use super::warnings::{self, Banner, banners};
use super::{overview_parts as parts, path};
use crate::console::form::query;
use crate::console::layout::Layout;
use crate::console::reply::Reply;
use crate::console::route::Route;
use crate::console::visit::Visit;
use crate::http::Problem;

/// What the picture can be of, in days.
pub(super) const DAYS: [u32; 3] = [7, 30, 90];
/// And what it is of unless somebody chooses.
const USUAL_DAYS: u32 = 30;
/// So many of the last things are shown.
const LAST: usize = 5;

/// The routes.
pub(super) fn routes() -> Vec<Route> {
    vec![Route::get("/console/organizations/{id}", |visit| Box::pin(async move { show(&visit).await }))]
}

#[derive(Template)]
#[template(path = "organization/overview.html")]
struct Page {
    layout: Layout,
    tab: &'static str,
    id: String,
    closed: bool,
    outcome: Option<Outcome>,
    banners: Vec<Banner>,
    flight: Option<Flight>,
    hero: Hero,
    auto: Auto,
    card: CardOnFile,
    month: Option<MonthSoFar>,
    quota: QuotaState,
    picture: Option<Picture>,
    picture_says: String,
    currency: Currency,
    days: Vec<DaysLink>,
    recharges: Vec<RecentRecharge>,
    events: Vec<RecentEvent>,
}

/// How many days are asked for: one of those that there are.
pub(super) fn days(visit: &Visit) -> u32 {
    let asked = visit.query.get("days").and_then(|days| days.parse().ok());
    asked.filter(|days| DAYS.contains(days)).unwrap_or(USUAL_DAYS)
}

/// What is asked of the API for this page.
struct Asked {
    config: Config,
    balance: Balance,
    usage: Option<Usage>,
    recharges: Vec<Recharge>,
    quotas: Vec<QuotaEntry>,
    events: Vec<EventRow>,
    simulation: Result<Simulation, Problem>,
    event: Option<EventStatus>,
}

async fn ask(visit: &Visit, event: &str, days: u32) -> Result<Asked, Problem> {
    let base = format!("/api/organizations/{}", visit.param(0));
    let at = |rest: &str| format!("{base}/{rest}");
    let config: Config = visit.get(&at("config")).await?;
    let simulated = async {
        if config.is_closed() {
            return Ok(Simulation { decision: None, replay: None });
        }
        visit.post::<Simulation>(&at("simulate"), json!({})).await
    };
    let followed = async {
        if event.is_empty() {
            return Ok(None);
        }
        visit.try_get::<EventStatus>(&format!("/api/events/{event}")).await
    };
    let (usage, recharges, quotas, events) = (
        format!("usage?days={days}"),
        "recharge-history?limit=50",
        "quota-history?limit=50",
        format!("webhook-events?limit={LAST}"),
    );
    let (usage, recharges, quotas, events) = (at(&usage), at(recharges), at(quotas), at(&events));
    let balance = at("balance");
    let (balance, usage, recharges, quotas, events, simulation, event) = join!(
        visit.get(&balance),
        visit.try_get(&usage),
        visit.get::<Items<Recharge>>(&recharges),
        visit.get::<Items<QuotaEntry>>(&quotas),
        visit.get::<Items<EventRow>>(&events),
        simulated,
        followed,
    );
    let (balance, usage, event) = (balance?, usage?, event?);
    let (recharges, quotas, events) = (recharges?.items, quotas?.items, events?.items);
    Ok(Asked { config, balance, usage, recharges, quotas, events, simulation, event })
}

/// `GET /console/organizations/{id}?days=&event=&card=&was=`
async fn show(visit: &Visit) -> Result<Reply, Problem> {
    let text = visit.text;
    let days = days(visit);
    let event = visit.query.get("event").unwrap_or_default();
    // What is not like an event's id is none, whatever it would make of the path.
    let event =
        if event.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-:.".contains(&byte)) { event } else { "" };
    let asked = ask(visit, event, days).await?;
    let Asked { config, balance, recharges, quotas, .. } = &asked;
    let id = config.c_organization_id.clone();
    let may_change = visit.may_change() && !config.is_closed();
    let seen = warnings::Seen { text, config, balance, recharges, quotas, may_change };
    let outcome = if event.is_empty() { None } else { outcome(text, config, event, asked.event.as_ref()) };
    let flight = parts::flight(text, recharges, asked.event.as_ref());
    let (drawn, picture_says) = picture(text, config, balance, &asked.usage, recharges, quotas, days);
    let links = DAYS.map(|each| {
        let parameters = query([("days", each.to_string())]);
        DaysLink { days: each, href: format!("{}?{parameters}", path(&id, "")), current: each == days }
    });
    let layout = visit.layout(id.clone()).live(Some(&id)).section("organizations");
    Reply::page(&Page {
        banners: banners(&seen),
        flight,
        hero: parts::hero(text, config, balance),
        auto: parts::auto(text, config, balance, &asked.simulation),
        card: parts::card(visit, config),
        month: asked.usage.as_ref().map(|usage| parts::month(text, config, &usage.month)),
        quota: parts::quota(text, config, balance, quotas),
        picture: drawn,
        picture_says,
        currency: config.currency,
        days: links.into(),
        recharges: recharges.iter().take(LAST).map(|recharge| parts::recent_recharge(text, recharge)).collect(),
        events: asked.events.iter().map(|event| parts::recent_event(text, event)).collect(),
        layout,
        tab: "overview",
        closed: config.is_closed(),
        id,
        outcome,
    })
}
