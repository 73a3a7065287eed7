//! `/api/reconciliations`: compare all books now, and what that found.

use std::time::Duration;

use common::clock::Timestamp;
use common::ids::EventId;
use serde_json::{Map, Value, json};
use warp::http::StatusCode;

use super::auth::Caller;
use super::history::{page, read_cursor, write_cursor, wrong_cursor};
use super::{idempotency, page_size};
use crate::app::App;
use crate::fields::{self, Fields};
use crate::http::{Answer, Problem, Query, Request};
use crate::organizations::repo::{AuditEntry, audit};
use crate::reconciliations::schedule::LOOK_BACK;
use crate::reconciliations::{Finding, FinishedPart, Run, publish, repo};

/// How often to see whether a run is finished.
const LOOK: Duration = Duration::from_millis(100);
/// So many findings are told with the answer; the rest is read in pages.
const FIRST_FINDINGS: i64 = 50;

/// `POST /api/reconciliations {since?}`
pub(crate) async fn start(app: &App, mut request: Request, caller: &Caller) -> Result<Answer, Problem> {
    let body = request.object_or_nothing().await?;
    let since = read(&body, app.clock.now())?;
    let run_id = match idempotency::key(&request)? {
        Some(key) => EventId::from_body("run", key.as_bytes()).to_string(),
        None => format!("run_{}", app.ids.fresh()),
    };
    let run = begin(app, &run_id, since, caller).await?;
    // Written down, it will be published: now, or by the schedule when the broker is back.
    let published = publish(app, &run).await.is_ok();
    let longest = if published && !request.prefers_async() { app.config.api_wait } else { Duration::ZERO };
    match finished(app, &run_id, longest).await? {
        Some(run) => Ok(Answer::ok(in_full(app, &run, 0, FIRST_FINDINGS).await?)),
        None => {
            let url = format!("{}/api/reconciliations/{run_id}", app.config.public_url);
            let body = json!({ "accepted": true, "run_id": run_id, "status_url": url });
            Ok(Answer::new(StatusCode::ACCEPTED, body))
        }
    }
}

fn read(body: &Map<String, Value>, now: Timestamp) -> Result<Option<Timestamp>, Problem> {
    let mut fields = Fields::of(body);
    let since = fields.optional("since", fields::timestamp);
    if since.is_some_and(|since| since > now || since < Timestamp::UNIX_EPOCH) {
        fields.problem("since", "must be between 1970 and now");
    }
    fields.refuse_unknown();
    fields.finish().map_err(|problems| Problem::fields(&problems))?;
    Ok(since)
}

/// Writes the run down, once, with its line in the audit log.
async fn begin(app: &App, run_id: &str, since: Option<Timestamp>, caller: &Caller) -> Result<Run, Problem> {
    let now = app.clock.now();
    let mut transaction = app.pool.begin().await?;
    let from = since.unwrap_or(now - LOOK_BACK);
    if repo::insert(&mut transaction, run_id, from, &caller.name, now).await? {
        let entry = AuditEntry {
            at: now,
            actor: &caller.name,
            action: "reconciliation.requested",
            organization: None,
            request_id: &caller.request_id,
            before: None,
            after: Some(json!({ "run_id": run_id, "since": from })),
        };
        audit(&mut transaction, entry).await?;
    }
    transaction.commit().await?;
    let run = repo::find(&app.pool, run_id).await?.ok_or_else(|| unknown(run_id))?;
    if since.is_some_and(|since| since.timestamp_micros() != run.since.timestamp_micros()) {
        let error = "This Idempotency-Key was used for another request; use a new one";
        return Err(Problem::conflict("idempotency_key_reuse", error).and("run_id", run_id));
    }
    Ok(run)
}

/// Waits until all parts of a run are there, at most so long.
async fn finished(app: &App, run_id: &str, longest: Duration) -> Result<Option<Run>, Problem> {
    let wait = async {
        loop {
            if let Some(run) = repo::find(&app.pool, run_id).await?
                && run.is_finished()
            {
                return Ok::<_, sqlx::Error>(run);
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::select! {
        run = tokio::time::timeout(longest, wait) => Ok(run.ok().transpose()?),
        () = app.shutdown.wait() => Ok(None),
    }
}

/// `GET /api/reconciliations?limit=&before=`
pub(crate) async fn list(app: &App, request: &Request) -> Result<Answer, Problem> {
    let limit = page_size(&request.query)?;
    let before = match request.query.get("before") {
        None => None,
        Some(cursor) => {
            let (at, rest) = read_cursor(cursor)?;
            Some((at, rest.to_owned()))
        }
    };
    let rows = repo::list(&app.pool, before, limit + 1).await?;
    let now = app.clock.now();
    Ok(page(&rows, limit, |run| run.to_json(now), |last| Some(write_cursor(last.requested_at, &last.run_id))))
}

/// `GET /api/reconciliations/:run_id?limit=&after=`
pub(crate) async fn show(app: &App, request: &Request, run_id: &str) -> Result<Answer, Problem> {
    let limit = page_size(&request.query)?;
    let after = after(&request.query)?;
    // What can be no run's name is asked for nowhere.
    let run_id = EventId::parse(run_id).map_err(|_| unknown(run_id))?;
    let run = repo::find(&app.pool, run_id.as_str()).await?.ok_or_else(|| unknown(run_id.as_str()))?;
    Ok(Answer::ok(in_full(app, &run, after, limit).await?))
}

fn after(query: &Query) -> Result<i64, Problem> {
    query.get("after").map_or(Ok(0), |after| after.parse().map_err(|_| wrong_cursor()))
}

/// A run with its parts and a page of its findings.
async fn in_full(app: &App, run: &Run, after: i64, limit: i64) -> Result<Value, Problem> {
    let parts = repo::parts(&app.pool, &run.run_id).await?;
    let rows = repo::findings(&app.pool, &run.run_id, after, limit + 1).await?;
    let findings = page(&rows, limit, Finding::to_json, |last| Some(last.id.to_string())).body;
    let mut json = run.to_json(app.clock.now());
    json["parts"] = parts.iter().map(FinishedPart::to_json).collect();
    json["items"] = findings["items"].clone();
    json["next_cursor"] = findings["next_cursor"].clone();
    Ok(json)
}

fn unknown(run_id: &str) -> Problem {
    Problem::not_found("unknown_reconciliation", "There is no such reconciliation").and("run_id", run_id)
}
