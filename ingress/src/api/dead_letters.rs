//! `/api/dead-letters`: what could not be handled, brought back or thrown away by a person. Each letter once: what is
//! begun is recorded before anything happens, and done when the letter is gone from the stream; whoever repeats a call
//! that was cut short finishes it.

use chrono::SubsecRound;
use common::dead_letters::{DeadLetter, DeadLettersError};
use serde_json::{Map, Value, json};
use warp::http::StatusCode;

use super::auth::Caller;
use super::page_size;
use crate::app::App;
use crate::dead_letters::{self, Action, Taken, grouped, repo};
use crate::fields::{self, Fields};
use crate::http::{Answer, Problem, Query, Request};
use crate::organizations::repo::{AuditEntry, audit};

/// So many letters are read for one summary.
const SUMMARY: usize = 1_000;
/// So many letters may be named in one call.
const BULK: usize = 100;
/// The longest reason.
const LONGEST_REASON: usize = 500;

/// `GET /api/dead-letters?after=&limit=&group=reason|none`
pub(crate) async fn list(app: &App, request: &Request) -> Result<Answer, Problem> {
    let limit = usize::try_from(page_size(&request.query)?).unwrap_or_default();
    let after = after(&request.query)?;
    match request.query.get("group").unwrap_or("none") {
        "none" => {
            let (letters, next) = app.dead_letters.page(after, limit).await.map_err(away)?;
            let items: Vec<Value> = letters.iter().map(dead_letters::to_json).collect();
            Ok(Answer::ok(json!({ "items": items, "next_cursor": next.map(|next| next.to_string()) })))
        }
        "reason" => {
            let (letters, next) = app.dead_letters.page(after, SUMMARY).await.map_err(away)?;
            let counted = letters.len();
            Ok(Answer::ok(json!({
                "grouped": grouped(&letters), "counted": counted, "next_cursor": next.map(|next| next.to_string()),
            })))
        }
        _ => Err(Problem::bad_request("invalid_query", "group must be reason or none")),
    }
}

fn after(query: &Query) -> Result<u64, Problem> {
    let wrong = |_| Problem::bad_request("invalid_query", "after must be the sequence of a dead letter");
    query.get("after").map_or(Ok(0), |after| after.parse().map_err(wrong))
}

/// `GET /api/dead-letters/:seq`
pub(crate) async fn show(app: &App, text: &str) -> Result<Answer, Problem> {
    let sequence = sequence(text)?;
    let letter = find(app, sequence).await?;
    // What was done about it is in the database; the letter is not, and is shown without it.
    let up = app.directory.database_is_up();
    let taken = if up { repo::newest(&app.pool, sequence).await } else { Err(sqlx::Error::PoolTimedOut) };
    let taken = match (&letter, taken) {
        (Some(letter), Err(error)) => {
            tracing::debug!(%error, "what was done about dead letter {sequence} is not known at the moment: {error}");
            let mut json = dead_letters::to_full_json(letter);
            json["action"] = Value::Null;
            json["action_known"] = json!(false);
            return Ok(Answer::ok(json));
        }
        (_, taken) => taken?,
    };
    let (letter, taken) = match (letter, taken) {
        // An action about a letter of an earlier stream is none about this one.
        (Some(letter), taken) => {
            let own = taken.filter(|taken| taken.letter.parked_at == letter.parked_at);
            (letter, own)
        }
        (None, Some(taken)) => (taken.letter.clone(), Some(taken)),
        (None, None) => return Err(unknown(text)),
    };
    let mut json = dead_letters::to_full_json(&letter);
    json["action"] = json!(taken.map(|taken| taken.to_json()));
    json["action_known"] = json!(true);
    Ok(Answer::ok(json))
}

/// `POST /api/dead-letters/:seq/redrive`
pub(crate) async fn redrive(app: &App, text: &str, caller: &Caller) -> Result<Answer, Problem> {
    let taken = act(app, sequence(text)?, Action::Redriven, None, caller).await?;
    Ok(Answer::ok(done(&taken)))
}

/// `POST /api/dead-letters/:seq/discard {reason}`
pub(crate) async fn discard(app: &App, mut request: Request, text: &str, caller: &Caller) -> Result<Answer, Problem> {
    let body = request.object().await?;
    let sequence = sequence(text)?;
    let mut fields = Fields::of(&body);
    let reason = fields.required("reason", fields::text(LONGEST_REASON));
    fields.refuse_unknown();
    fields.finish().map_err(|problems| Problem::fields(&problems))?;
    let taken = act(app, sequence, Action::Discarded, reason, caller).await?;
    Ok(Answer::ok(done(&taken)))
}

/// `POST /api/dead-letters/redrive {sequences}`: each by itself, and what became of each.
pub(crate) async fn redrive_all(app: &App, mut request: Request, caller: &Caller) -> Result<Answer, Problem> {
    let body = request.object().await?;
    let sequences = read_sequences(&body)?;
    let mut results = Vec::with_capacity(sequences.len());
    for sequence in sequences {
        results.push(match act(app, sequence, Action::Redriven, None, caller).await {
            Ok(taken) => done(&taken),
            Err(problem) => {
                let mut answer = Answer::from(problem);
                answer.body["success"] = json!(false);
                answer.body["sequence"] = json!(sequence);
                answer.body["status"] = json!(answer.status.as_u16());
                answer.body
            }
        });
    }
    let redriven = results.iter().filter(|result| result["success"] == true).count();
    Ok(Answer::ok(json!({ "success": redriven == results.len(), "redriven": redriven, "results": results })))
}

fn read_sequences(body: &Map<String, Value>) -> Result<Vec<u64>, Problem> {
    let mut fields = Fields::of(body);
    let sequences = fields.required("sequences", |value| {
        let read = value.as_array().filter(|list| (1..=BULK).contains(&list.len()));
        let read = read.and_then(|list| list.iter().map(Value::as_u64).collect::<Option<Vec<u64>>>());
        read.ok_or_else(|| format!("must be a list of 1 to {BULK} sequences"))
    });
    fields.refuse_unknown();
    fields.finish().map_err(|problems| Problem::fields(&problems))?;
    sequences.ok_or_else(|| Problem::fields(&[]))
}

/// Records what is begun, does it, and records that it is done.
async fn act(
    app: &App,
    sequence: u64,
    action: Action,
    note: Option<String>,
    caller: &Caller,
) -> Result<Taken, Problem> {
    let letter = match find(app, sequence).await? {
        Some(letter) => {
            let (actor, at) = (caller.name.clone(), app.clock.now());
            let taken = Taken { letter, action, actor, note, at, done_at: None };
            repo::begin(&app.pool, &taken).await?;
            taken.letter
        }
        // Gone: done, or begun by somebody who crashed after taking it from the stream.
        None => {
            let taken = repo::newest(&app.pool, sequence).await?;
            taken.ok_or_else(|| unknown(&sequence.to_string()))?.letter
        }
    };
    finish(app, &letter, action, caller).await
}

/// Goes on with what was begun, alone: the row is locked until it is done.
async fn finish(app: &App, letter: &DeadLetter, action: Action, caller: &Caller) -> Result<Taken, Problem> {
    let mut transaction = app.pool.begin().await?;
    let taken = repo::lock(&mut transaction, letter.sequence, letter.parked_at).await?;
    // Given up by whoever had the lock before.
    let mut taken = taken.ok_or_else(|| unknown(&letter.sequence.to_string()))?;
    if taken.done_at.is_some() {
        // Should it be there all the same: nobody could take it away any more.
        if app.dead_letters_leader.remove(&taken.letter).await.map_err(away)? {
            tracing::warn!(dead_letter = taken.letter.sequence, "a dead letter that was dealt with was still there");
        }
        return Err(done_already(&taken));
    }
    if taken.action != action {
        return Err(done_already(&taken));
    }
    if action == Action::Redriven
        && let Err(error) = app.dead_letters.redrive(&taken.letter).await
    {
        // A definite no, so that the letter can be discarded; whatever else happened, the same call finishes it.
        if matches!(error, DeadLettersError::NotRedrivable { .. } | DeadLettersError::Refused(_)) {
            repo::give_up(&mut transaction, &taken.letter).await?;
            transaction.commit().await?;
        }
        return Err(away(error));
    }
    // Only the letter that the row is about: the sequence may be another letter's by now. Gone already is as good.
    app.dead_letters_leader.remove(&taken.letter).await.map_err(away)?;
    let now = app.clock.now();
    repo::finish(&mut transaction, &taken.letter, now).await?;
    let mut after = dead_letters::to_json(&taken.letter);
    after["note"] = json!(taken.note);
    let entry = AuditEntry {
        at: now,
        actor: &taken.actor,
        action: action.audited(),
        organization: taken.letter.organization.as_ref(),
        request_id: &caller.request_id,
        before: None,
        after: Some(crate::webhooks::storable::storable(after)),
    };
    audit(&mut transaction, entry).await?;
    transaction.commit().await?;
    tracing::info!(
        dead_letter = taken.letter.sequence,
        service = taken.letter.service,
        actor = taken.actor,
        "dead letter {} was {}",
        taken.letter.sequence,
        action.as_str()
    );
    taken.done_at = Some(now);
    Ok(taken)
}

fn done(taken: &Taken) -> Value {
    json!({
        "success": true,
        "action": taken.action.as_str(),
        "sequence": taken.letter.sequence,
        "service": taken.letter.service,
        "subject": taken.letter.subject,
        "c_organization_id": taken.letter.organization,
        "actor": taken.actor,
        "done_at": taken.done_at,
    })
}

/// The letter, with its time as the database keeps it.
async fn find(app: &App, sequence: u64) -> Result<Option<DeadLetter>, Problem> {
    let letter = app.dead_letters.get(sequence).await.map_err(away)?;
    Ok(letter.map(|letter| DeadLetter { parked_at: letter.parked_at.trunc_subsecs(6), ..letter }))
}

fn sequence(text: &str) -> Result<u64, Problem> {
    text.parse().ok().filter(|sequence| *sequence > 0).ok_or_else(|| unknown(text))
}

fn unknown(sequence: &str) -> Problem {
    Problem::not_found("unknown_dead_letter", "There is no such dead letter").and("sequence", sequence)
}

fn done_already(taken: &Taken) -> Problem {
    let (code, error) = match (taken.action, taken.done_at) {
        (Action::Redriven, Some(_)) => ("already_redriven", "This dead letter was brought back already"),
        (Action::Discarded, Some(_)) => ("already_discarded", "This dead letter was discarded already"),
        (Action::Redriven, None) => {
            ("redrive_begun", "Somebody began to bring this dead letter back: redrive it again")
        }
        (Action::Discarded, None) => ("discard_begun", "Somebody began to discard this dead letter: discard it again"),
    };
    Problem::conflict(code, error).and("action", taken.to_json()).and("sequence", taken.letter.sequence)
}

fn away(error: DeadLettersError) -> Problem {
    match error {
        DeadLettersError::Away(_) => {
            Problem::unavailable("broker_unavailable", "The message broker is not available; send it again")
        }
        DeadLettersError::Refused(_) => Problem::new(StatusCode::BAD_GATEWAY, "broker_refused", error.to_string()),
        DeadLettersError::NotRedrivable { .. } => Problem::conflict("not_redrivable", error.to_string()),
    }
}
