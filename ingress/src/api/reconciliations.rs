//! `/api/reconciliations`: compare all books now, and what that found.

use std::time::Duration;

use common::clock::Timestamp;
use common::ids::EventId;
use schemars::JsonSchema;
use serde_json::{Map, Value, json};
use warp::http::{Method, StatusCode};

use super::access::Access;
use super::auth::Caller;
use super::history::{page, read_event_cursor, read_number_cursor, write_cursor};
use super::operation::Operation;
use super::schemas::{EventCursor, IdempotencyKey, Moment, Page, PageSize, Position, ProblemBody};
use super::{idempotency, page_size};
use crate::app::App;
use crate::fields::{self, Fields};
use crate::http::{Answer, Problem, Query, Request};
use crate::organizations::repo::{AuditEntry, audit};
use crate::reconciliations::schedule::LOOK_BACK;
use crate::reconciliations::view::{Begun, FullRun, RunView};
use crate::reconciliations::{Finding, FinishedPart, Run, publish, repo};

/// How often to see whether a run is finished.
const LOOK: Duration = Duration::from_millis(100);
/// So many findings are told with the answer; the rest is read in pages.
const FIRST_FINDINGS: i64 = 50;

/// What to compare.
#[derive(JsonSchema)]
#[schemars(rename = "NewReconciliation", deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct ReconciliationBody {
    /// From when on, between 1970 and now; the last two days unless it is named.
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    since: Option<Moment>,
}

/// The routes.
pub(crate) fn operations() -> Vec<Operation> {
    const TAG: &str = "Reconciliation";
    vec![
        Operation::known(
            Method::GET,
            "/api/reconciliations",
            "list_reconciliations",
            Access::ReadFleet,
            |app, call| Box::pin(async move { list(&app, &call.request).await }),
        )
        .says(TAG, "Comparisons of all books, newest first.")
        .query::<EventCursor>("before", "The `next_cursor` of the page before.")
        .query::<PageSize>("limit", "How many.")
        .answers::<Page<RunView>>(200, "A page of runs."),
        Operation::known(
            Method::POST,
            "/api/reconciliations",
            "start_reconciliation",
            Access::OperateFleet,
            |app, call| Box::pin(async move { start(&app, call.request, &call.caller).await }),
        )
        .says(TAG, "Compares all books now.")
        .header::<IdempotencyKey>("Idempotency-Key", "The same call with the same key is one run.")
        .header::<String>("Prefer", "`respond-async`: don't wait for the outcome.")
        .body_or_nothing::<ReconciliationBody>()
        .answers::<FullRun>(200, "The finished run with its first findings.")
        .answers::<Begun>(202, "It has not ended yet: ask the status URL.")
        .answers::<ProblemBody>(409, "The key was used for another request."),
        Operation::known(
            Method::GET,
            "/api/reconciliations/{id}",
            "get_reconciliation",
            Access::ReadFleet,
            |app, call| Box::pin(async move { show(&app, &call.request, call.param(0)).await }),
        )
        .says(TAG, "A run with what it found.")
        .query::<Position>("after", "The `next_cursor` of the page of findings before.")
        .query::<PageSize>("limit", "How many findings.")
        .answers::<FullRun>(200, "The run."),
    ]
}

/// `POST /api/reconciliations {since?}`
async fn start(app: &App, mut request: Request, caller: &Caller) -> Result<Answer, Problem> {
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
        Some(run) => Ok(Answer::ok(json!(in_full(app, &run, 0, FIRST_FINDINGS).await?))),
        None => {
            let status_url = format!("{}/api/reconciliations/{run_id}", app.config.public_url);
            Ok(Answer::new(StatusCode::ACCEPTED, json!(Begun { accepted: true, run_id, status_url })))
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
            after: Some(json!({ "run_id": run_id, "since": from })),
            ..caller.audits(now, "reconciliation.requested", None)
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
async fn list(app: &App, request: &Request) -> Result<Answer, Problem> {
    let limit = page_size(&request.query)?;
    let before = request.query.get("before").map(read_event_cursor).transpose()?;
    let rows = repo::list(&app.pool, before, limit + 1).await?;
    let now = app.clock.now();
    Ok(page(&rows, limit, |run| json!(run.view(now)), |last| Some(write_cursor(last.requested_at, &last.run_id))))
}

/// `GET /api/reconciliations/:run_id?limit=&after=`
async fn show(app: &App, request: &Request, run_id: &str) -> Result<Answer, Problem> {
    let limit = page_size(&request.query)?;
    let after = after(&request.query)?;
    // What can be no run's name is asked for nowhere.
    let run_id = EventId::parse(run_id).map_err(|_| unknown(run_id))?;
    let run = repo::find(&app.pool, run_id.as_str()).await?.ok_or_else(|| unknown(run_id.as_str()))?;
    Ok(Answer::ok(json!(in_full(app, &run, after, limit).await?)))
}

fn after(query: &Query) -> Result<i64, Problem> {
    query.get("after").map_or(Ok(0), read_number_cursor)
}

/// A run with its parts and a page of its findings.
async fn in_full(app: &App, run: &Run, after: i64, limit: i64) -> Result<FullRun, Problem> {
    let parts = repo::parts(&app.pool, &run.run_id).await?;
    let mut rows = repo::findings(&app.pool, &run.run_id, after, limit + 1).await?;
    let size = usize::try_from(limit).unwrap_or_default();
    let more = rows.len() > size;
    rows.truncate(size);
    let next_cursor = rows.last().filter(|_| more).map(|last| last.id.to_string());
    Ok(FullRun {
        run: run.view(app.clock.now()),
        parts: parts.iter().map(FinishedPart::view).collect(),
        items: rows.iter().map(Finding::view).collect(),
        next_cursor,
    })
}

fn unknown(run_id: &str) -> Problem {
    Problem::not_found("unknown_reconciliation", "There is no such reconciliation").and("run_id", run_id)
}
