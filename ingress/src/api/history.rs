//! `GET /api/organizations/:id/recharge-history` and `…/webhook-events`: newest first, in pages.

use common::clock::Timestamp;
use common::contract::TriggerKind;
use common::ids::EventId;
use serde_json::{Value, json};
use uuid::Uuid;
use warp::http::Method;

use super::access::Access;
use super::filters::{Choice, OneOf, Period, choice};
use super::operation::Operation;
use super::schemas::{EventCursor, Moment, Page, PageSize, UuidCursor};
use super::{organization_id, page_size, readable};
use crate::app::App;
use crate::events::repo::{WhichEvents, WhichRecharges};
use crate::events::view::{EventView, RechargeView};
use crate::events::{EventRow, Recharge, repo};
use crate::http::{Answer, Problem, Request};

/// The most digits of a cursor's microseconds: until the year 2286.
const DIGITS: usize = 16;

/// The routes.
pub(crate) fn operations() -> Vec<Operation> {
    vec![
        Operation::known(
            Method::GET,
            "/api/organizations/{id}/recharge-history",
            "list_recharges",
            Access::ReadOrganization,
            |app, call| Box::pin(async move { recharges(&app, &call.request, call.param(0)).await }),
        )
        .says("Recharges", "An organization's recharges, newest first.")
        .query::<OneOf<Status>>("status", "Only those that stand there.")
        .query::<OneOf<Cause>>("triggered_by", "Only those that this caused.")
        .query::<Moment>("from", "Only those that were claimed since then.")
        .query::<Moment>("to", "Only those that were claimed before then.")
        .query::<UuidCursor>("before", "The `next_cursor` of the page before.")
        .query::<PageSize>("limit", "How many.")
        .answers::<Page<RechargeView>>(200, "A page of recharges."),
        Operation::known(
            Method::GET,
            "/api/organizations/{id}/webhook-events",
            "list_webhook_events",
            Access::ReadOrganization,
            |app, call| Box::pin(async move { events(&app, &call.request, call.param(0)).await }),
        )
        .says("Events", "What came in about an organization, and what was decided about it, newest first.")
        .query::<OneOf<Decision>>("decision", "Only those about which this was decided.")
        .query::<OneOf<Source>>("source", "Only those that came from there.")
        .query::<Moment>("from", "Only those that were received since then.")
        .query::<Moment>("to", "Only those that were received before then.")
        .query::<EventCursor>("before", "The `next_cursor` of the page before.")
        .query::<PageSize>("limit", "How many.")
        .answers::<Page<EventView>>(200, "A page of events."),
    ]
}

/// Where a recharge may stand.
struct Status;

impl Choice for Status {
    const WORDS: &'static [&'static str] = &[
        "pending",
        "processing",
        "action_required",
        "charged",
        "credited",
        "settled",
        "declined",
        "failed",
        "refunding",
        "refunded",
        "returning",
    ];
}

/// What may cause a recharge.
struct Cause;

impl Choice for Cause {
    const WORDS: &'static [&'static str] = &[
        TriggerKind::Webhook.as_str(),
        TriggerKind::LitellmAlert.as_str(),
        TriggerKind::Sweep.as_str(),
        TriggerKind::Manual.as_str(),
    ];
}

/// What may be decided about an event.
struct Decision;

impl Choice for Decision {
    const WORDS: &'static [&'static str] = &["charge", "skipped", "recorded", "refund"];
}

/// Where an event may come from.
struct Source;

impl Choice for Source {
    const WORDS: &'static [&'static str] = &["litellm", "stripe", "api", "sweep"];
}

/// `GET /api/organizations/:id/recharge-history?status=&triggered_by=&from=&to=&limit=&before=`
async fn recharges(app: &App, request: &Request, id: &str) -> Result<Answer, Problem> {
    let id = organization_id(id)?;
    let limit = page_size(&request.query)?;
    let before = request.query.get("before").map(read_uuid_cursor).transpose()?;
    let Period { from, to } = Period::read(&request.query)?;
    let (status, triggered_by) =
        (choice::<Status>(&request.query, "status")?, choice::<Cause>(&request.query, "triggered_by")?);
    readable(app, &id).await?;
    let which = WhichRecharges { organization: &id, status, triggered_by, from, to };
    let rows = repo::recharges(&app.pool, &which, before, limit + 1).await?;
    let cursor = |last: &Recharge| Some(write_cursor(last.created_at?, &last.recharge_id));
    Ok(page(&rows, limit, |recharge| json!(recharge.view(&app.links)), cursor))
}

/// `GET /api/organizations/:id/webhook-events?decision=&source=&from=&to=&limit=&before=`
async fn events(app: &App, request: &Request, id: &str) -> Result<Answer, Problem> {
    let id = organization_id(id)?;
    let limit = page_size(&request.query)?;
    let before = request.query.get("before").map(read_event_cursor).transpose()?;
    let Period { from, to } = Period::read(&request.query)?;
    let (decision, source) =
        (choice::<Decision>(&request.query, "decision")?, choice::<Source>(&request.query, "source")?);
    readable(app, &id).await?;
    let which = WhichEvents { organization: &id, decision, source, from, to };
    let rows = repo::events(&app.pool, &which, before, limit + 1).await?;
    let cursor = |last: &EventRow| Some(write_cursor(last.received_at, &last.event_id));
    Ok(page(&rows, limit, |event| json!(event.view()), cursor))
}

/// One page; there was asked for one row more, to know whether another follows.
pub(super) fn page<T>(
    rows: &[T],
    limit: i64,
    show: impl Fn(&T) -> Value,
    cursor: impl Fn(&T) -> Option<String>,
) -> Answer {
    let size = usize::try_from(limit).unwrap_or_default().min(rows.len());
    let (page, more) = rows.split_at(size);
    let next = page.last().filter(|_| !more.is_empty()).and_then(cursor);
    Answer::ok(json!({ "items": page.iter().map(show).collect::<Vec<_>>(), "next_cursor": next }))
}

/// A place in the list: the row's time and id, so that new rows at the top do not shift what follows.
pub(super) fn write_cursor(at: Timestamp, id: &impl std::fmt::Display) -> String {
    format!("{}_{id}", at.timestamp_micros())
}

fn read_cursor(text: &str) -> Result<(Timestamp, &str), Problem> {
    let (at, id) = text.split_once('_').ok_or_else(wrong_cursor)?;
    // Digits only: whatever else might be read as a number was written by nobody here.
    let digits = (1..=DIGITS).contains(&at.len()) && at.bytes().all(|byte| byte.is_ascii_digit());
    let at = at.parse().ok().filter(|_| digits).and_then(Timestamp::from_timestamp_micros).ok_or_else(wrong_cursor)?;
    if id.contains('\0') { Err(wrong_cursor()) } else { Ok((at, id)) }
}

/// A place in a list of what has a UUID.
pub(super) fn read_uuid_cursor(text: &str) -> Result<(Timestamp, Uuid), Problem> {
    let (at, id) = read_cursor(text)?;
    Ok((at, Uuid::parse_str(id).map_err(|_| wrong_cursor())?))
}

/// A place in a list that is numbered.
pub(super) fn read_number_cursor(text: &str) -> Result<i64, Problem> {
    text.parse().ok().filter(|number| *number >= 0).ok_or_else(wrong_cursor)
}

/// A place in a list of what has ids like an event's.
pub(super) fn read_event_cursor(text: &str) -> Result<(Timestamp, String), Problem> {
    let (at, id) = read_cursor(text)?;
    Ok((at, EventId::parse(id).map_err(|_| wrong_cursor())?.to_string()))
}

fn wrong_cursor() -> Problem {
    Problem::bad_request("invalid_query", "before must be a next_cursor of an earlier page")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors() {
        let at = Timestamp::from_timestamp_micros(1_753_000_000_123_456).unwrap();
        let cursor = write_cursor(at, &"req_1:x");
        assert_eq!(read_cursor(&cursor).unwrap(), (at, "req_1:x"));
        for bad in [
            "",
            "x",
            "1",
            "x_1",
            "99999999999999999999_a",
            "9223372036854775807_a",
            "-9000000000000000000_a",
            "-8000000000000000000_a",
            "+1_a",
            "1_a\0",
            "99999999999999999_a",
        ] {
            assert!(read_cursor(bad).is_err(), "{bad}");
        }
    }
}
