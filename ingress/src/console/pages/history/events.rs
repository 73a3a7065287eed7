//! What came in about an organization, and what was decided about it.

use askama::Template;
use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use super::listing::{Filter, Listing};
use super::payload::pretty;
use super::sheet::{Cell, Sheet};
use super::steps::decided_note;
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
        Route::get("/console/organizations/{id}/events", |visit| Box::pin(async move { show(&visit).await })),
        Route::get("/console/organizations/{id}/events.csv", |visit| Box::pin(async move { file(&visit).await })),
    ]
}

#[derive(Deserialize)]
struct Event {
    event_id: String,
    source: String,
    event_type: String,
    occurred_at: Option<Moment>,
    received_at: Moment,
    decision: String,
    reason: Option<String>,
    message: Option<String>,
    recharge_id: Option<Uuid>,
    payload: Value,
}

impl Event {
    fn class(&self) -> &'static str {
        match self.decision.as_str() {
            "charge" => "is-good",
            "refund" => "is-warn",
            _ => "is-quiet",
        }
    }

    fn payload(&self) -> Option<String> {
        (!self.payload.is_null()).then(|| pretty(&self.payload))
    }
}

#[derive(Template)]
#[template(path = "history/events.html")]
struct EventsPage {
    layout: Layout,
    id: String,
    tab: &'static str,
    list: Listing,
    events: Vec<Event>,
}

impl EventsPage {
    fn source<'a>(&self, event: &'a Event) -> &'a str {
        term(self.layout.text.terms.sources, &event.source)
    }

    fn decision<'a>(&self, event: &'a Event) -> &'a str {
        term(self.layout.text.terms.decisions, &event.decision)
    }

    fn reason<'a>(&self, event: &'a Event) -> Option<&'a str> {
        event.reason.as_deref().map(|reason| term(self.layout.text.terms.skips, reason))
    }

    fn message<'a>(&self, event: &'a Event) -> Option<&'a str> {
        decided_note(self.layout.text, &event.decision, event.message.as_deref())
    }
}

fn listing(visit: &Visit) -> Listing {
    let (words, terms) = (&visit.text.history, &visit.text.terms);
    let mut filters = vec![
        Filter::words("decision", words.decision, terms.decisions),
        Filter::words("source", words.source, terms.sources),
    ];
    filters.extend(Filter::days(visit));
    Listing::new(visit, format!("/api/organizations/{}/webhook-events", visit.param(0)), filters)
}

/// `GET /console/organizations/{id}/events`
async fn show(visit: &Visit) -> Result<Reply, Problem> {
    let id = visit.param(0).to_owned();
    let mut list = listing(visit);
    let events = list.load(visit).await?;
    let title = fill(visit.text.history.events_of, &[("organization", &id)]);
    let layout = visit.layout(title).section("organizations").live(Some(&id));
    let status = list.status();
    Reply::page_with(status, &EventsPage { layout, id, tab: "events", list, events })
}

/// `GET /console/organizations/{id}/events.csv`. What senders sent stays on the page: it fits no cell.
async fn file(visit: &Visit) -> Result<Reply, Problem> {
    let (words, terms) = (&visit.text.history, &visit.text.terms);
    let columns = [
        words.received_at,
        words.occurred_at,
        words.source,
        words.event_type,
        words.decision,
        words.reason,
        words.message,
        words.recharge_id,
        words.event_id,
    ];
    let mut sheet = Sheet::new(&columns)?;
    let list = listing(visit);
    let mut walk = list.walk();
    while let Some(events) = walk.next::<Event>(visit).await? {
        for event in &events {
            sheet.row(&[
                Cell::At(Some(event.received_at)),
                Cell::At(event.occurred_at),
                Cell::Text(term(terms.sources, &event.source)),
                Cell::Text(&event.event_type),
                Cell::Text(term(terms.decisions, &event.decision)),
                Cell::Text(term(terms.skips, event.reason.as_deref().unwrap_or_default())),
                Cell::Text(event.message.as_deref().unwrap_or_default()),
                Cell::Text(&event.recharge_id.map(|id| id.to_string()).unwrap_or_default()),
                Cell::Text(&event.event_id),
            ])?;
        }
    }
    sheet.into_reply(&format!("{}-events", visit.param(0)), walk.is_all())
}
