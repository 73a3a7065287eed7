//! `GET /api/organizations/:id/recharge-history` and `…/webhook-events`: newest first, in pages.

use common::clock::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{known, organization_id, page_size};
use crate::app::App;
use crate::events::{EventRow, Recharge, repo};
use crate::http::{Answer, Problem, Request};

/// No row is older than the year 1.
const FIRST: Timestamp = match Timestamp::from_timestamp_secs(-62_135_596_800) {
    Some(first) => first,
    None => Timestamp::UNIX_EPOCH,
};

/// `GET /api/organizations/:id/recharge-history?limit=&before=`
pub(crate) async fn recharges(app: &App, request: &Request, id: &str) -> Result<Answer, Problem> {
    let id = organization_id(id)?;
    let limit = page_size(&request.query)?;
    let before = match request.query.get("before") {
        None => None,
        Some(cursor) => {
            let (at, rest) = read_cursor(cursor)?;
            Some((at, Uuid::parse_str(rest).map_err(|_| wrong_cursor())?))
        }
    };
    known(app, &id).await?;
    let rows = repo::recharges(&app.pool, &id, before, limit + 1).await?;
    let cursor = |last: &Recharge| Some(write_cursor(last.created_at?, &last.recharge_id));
    Ok(page(&rows, limit, |recharge| recharge.to_json(&app.links), cursor))
}

/// `GET /api/organizations/:id/webhook-events?limit=&before=`
pub(crate) async fn events(app: &App, request: &Request, id: &str) -> Result<Answer, Problem> {
    let id = organization_id(id)?;
    let limit = page_size(&request.query)?;
    let before = match request.query.get("before") {
        None => None,
        Some(cursor) => {
            let (at, rest) = read_cursor(cursor)?;
            Some((at, rest.to_owned()))
        }
    };
    known(app, &id).await?;
    let rows = repo::events(&app.pool, &id, before, limit + 1).await?;
    let cursor = |last: &EventRow| Some(write_cursor(last.received_at, &last.event_id));
    Ok(page(&rows, limit, EventRow::to_json, cursor))
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

pub(super) fn read_cursor(text: &str) -> Result<(Timestamp, &str), Problem> {
    let (at, id) = text.split_once('_').ok_or_else(wrong_cursor)?;
    let at = at.parse().ok().and_then(Timestamp::from_timestamp_micros).ok_or_else(wrong_cursor)?;
    // What a database takes: no text there has U+0000, and its calendar begins later than ours (4713 BC).
    if id.contains('\0') || at < FIRST { Err(wrong_cursor()) } else { Ok((at, id)) }
}

pub(super) fn wrong_cursor() -> Problem {
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
            "1_a\0",
        ] {
            assert!(read_cursor(bad).is_err(), "{bad}");
        }
    }
}
