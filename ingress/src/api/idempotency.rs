//! `Idempotency-Key`: a call that moves money, sent twice, is one.

use common::ids::{EventId, OrganizationId};
use serde_json::Value;

use super::auth::Caller;
use super::repo;
use crate::app::App;
use crate::http::{Problem, Request};
use crate::organizations::repo::{AuditEntry, audit};

/// The longest `Idempotency-Key`: as long as Stripe's.
pub(super) const LONGEST_KEY: usize = 255;

/// The key, if the caller sent one.
pub(super) fn key(request: &Request) -> Result<Option<&str>, Problem> {
    let Some(value) = request.headers.get("idempotency-key") else { return Ok(None) };
    let key = value.to_str().ok().map(str::trim).filter(|key| (1..=LONGEST_KEY).contains(&key.len()));
    let wrong = || {
        let error = format!("Idempotency-Key must be 1 to {LONGEST_KEY} ASCII characters");
        Problem::bad_request("invalid_idempotency_key", error)
    };
    key.map(Some).ok_or_else(wrong)
}

/// The key, or for a caller without one a new one, which is told where it is needed: with it the call can be repeated.
pub(super) fn key_or_new(request: &Request, app: &App) -> Result<String, Problem> {
    Ok(key(request)?.map_or_else(|| app.ids.fresh().to_string(), str::to_owned))
}

/// What a key stands for.
pub(super) struct Asked<'a> {
    /// The event that the request becomes; it derives from the key.
    pub(super) event_id: &'a EventId,
    pub(super) organization: &'a OrganizationId,
    /// The request in words: the same key must have the same ones.
    pub(super) words: String,
    /// For the audit log.
    pub(super) action: &'static str,
    pub(super) audit: Value,
}

/// Records who asked for what, once for each key. The same key for something else is a mistake of the caller's.
pub(super) async fn record(app: &App, asked: Asked<'_>, caller: &Caller) -> Result<(), Problem> {
    let now = app.clock.now();
    let mut transaction = app.pool.begin().await?;
    let recorded = repo::record_request(&mut transaction, asked.event_id, asked.organization, &asked.words, now);
    let (first, new) = recorded.await?;
    same(asked.event_id, &first, &asked.words)?;
    if new {
        let entry =
            AuditEntry { after: Some(asked.audit), ..caller.audits(now, asked.action, Some(asked.organization)) };
        audit(&mut transaction, entry).await?;
    }
    transaction.commit().await?;
    Ok(())
}

/// Whether this request was recorded before: then whatever has changed since is no reason to refuse it.
pub(super) async fn is_known(app: &App, event_id: &EventId, words: &str) -> Result<bool, Problem> {
    match repo::recorded_request(&app.pool, event_id).await? {
        None => Ok(false),
        Some(first) => same(event_id, &first, words).map(|()| true),
    }
}

fn same(event_id: &EventId, first: &str, words: &str) -> Result<(), Problem> {
    if first == words {
        return Ok(());
    }
    Err(reused(event_id, first))
}

/// The key stands for something else.
pub(super) fn reused(event_id: &EventId, first: &str) -> Problem {
    let error = "This Idempotency-Key was used for another request; use a new one";
    let problem = Problem::conflict("idempotency_key_reuse", error).and("first_request", first);
    problem.and("event_id", event_id.as_str())
}
