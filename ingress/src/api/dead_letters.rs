//! `/api/dead-letters`: what could not be handled, brought back or thrown away by a person. Each letter once: what is
//! begun is recorded before anything happens, and done when the letter is gone from the stream; whoever repeats a call
//! that was cut short finishes it.

use chrono::SubsecRound;
use common::dead_letters::{DeadLetter, DeadLettersError};
use common::ids::OrganizationId;
use schemars::JsonSchema;
use serde_json::{Map, Value, json};
use warp::http::{Method, StatusCode};

use super::access::Access;
use super::auth::Caller;
use super::operation::{Call, Operation};
use super::page_size;
use super::schemas::{PageSize, Position, ProblemBody, Words};
use crate::app::App;
use crate::dead_letters::view::{ActionView, DoneView, FullLetterView, Groups, LetterView, Letters, Redriven};
use crate::dead_letters::{Action, Taken, grouped, repo};
use crate::fields::{self, Fields};
use crate::http::{Answer, Problem, Query, Request};
use crate::organizations::repo::{AuditEntry, audit};

/// So many letters are read for one summary.
const SUMMARY: usize = 1_000;
/// So many letters may be named in one call.
const BULK: usize = 100;
/// The longest reason.
const LONGEST_REASON: usize = 500;

/// How a list is shown.
#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
#[expect(dead_code, reason = "only its schema is used")]
enum Grouping {
    None,
    Reason,
}

/// Which dead letters.
#[derive(JsonSchema)]
#[schemars(rename = "DeadLetterSequences", deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct SequencesBody {
    /// Their sequences.
    #[schemars(length(min = 1, max = 100))]
    sequences: Vec<Position>,
}

/// Why it is thrown away.
#[derive(JsonSchema)]
#[schemars(rename = "DeadLetterDiscard", deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct DiscardBody {
    /// For the records.
    reason: Words<LONGEST_REASON>,
}

/// The routes.
pub(crate) fn operations() -> Vec<Operation> {
    const TAG: &str = "Dead letters";
    vec![
        Operation::known(Method::GET, "/api/dead-letters", "list_dead_letters", Access::ReadOwn, |app, call| {
            Box::pin(async move { list(&app, &call).await })
        })
        .without_database()
        .says(TAG, "What could not be handled, oldest first; or in groups of one cause.")
        .query::<Position>("after", "The `next_cursor` of the page before.")
        .query::<PageSize>("limit", "How many.")
        .query::<Grouping>("group", "`reason`: groups instead of letters.")
        .answers::<Letters>(200, "A page of dead letters, or of their groups.")
        .answers::<ProblemBody>(502, "The broker refused."),
        Operation::known(
            Method::POST,
            "/api/dead-letters/redrive",
            "redrive_dead_letters",
            Access::OperateFleet,
            |app, call| Box::pin(async move { redrive_all(&app, call.request, &call.caller).await }),
        )
        .says(TAG, "Brings several dead letters back, each by itself.")
        .body::<SequencesBody>()
        .answers::<Redriven>(200, "What became of each."),
        Operation::known(
            Method::GET,
            "/api/dead-letters/{sequence}",
            "get_dead_letter",
            Access::ReadOwn,
            |app, call| Box::pin(async move { show(&app, call.param(0), &call.caller).await }),
        )
        .without_database()
        .says(TAG, "One dead letter in full, and what was done about it.")
        .answers::<FullLetterView>(200, "The dead letter.")
        .answers::<ProblemBody>(502, "The broker refused."),
        Operation::known(
            Method::POST,
            "/api/dead-letters/{sequence}/redrive",
            "redrive_dead_letter",
            Access::OperateFleet,
            |app, call| Box::pin(async move { redrive(&app, call.param(0), &call.caller).await }),
        )
        .says(TAG, "Brings a dead letter back to the service that gave up.")
        .answers::<DoneView>(200, "It was brought back.")
        .answers::<ProblemBody>(409, "It was dealt with already, or nobody would take it.")
        .answers::<ProblemBody>(502, "The broker refused."),
        Operation::known(
            Method::POST,
            "/api/dead-letters/{sequence}/discard",
            "discard_dead_letter",
            Access::OperateFleet,
            |app, call| {
                Box::pin(async move {
                    let sequence = call.param(0).to_owned();
                    discard(&app, call.request, &sequence, &call.caller).await
                })
            },
        )
        .says(TAG, "Throws a dead letter away, with a reason.")
        .body::<DiscardBody>()
        .answers::<DoneView>(200, "It was thrown away.")
        .answers::<ProblemBody>(409, "It was dealt with already.")
        .answers::<ProblemBody>(502, "The broker refused."),
    ]
}

/// `GET /api/dead-letters?after=&limit=&group=reason|none`
async fn list(app: &App, call: &Call) -> Result<Answer, Problem> {
    let query = &call.request.query;
    let limit = usize::try_from(page_size(query)?).unwrap_or_default();
    let after = after(query)?;
    let page = async |limit| match &call.caller.grant.organization {
        Some(own) => app.dead_letters.page_of(own, after, limit).await.map_err(away),
        None => app.dead_letters.page(after, limit).await.map_err(away),
    };
    match query.get("group").unwrap_or("none") {
        "none" => {
            let (letters, next) = page(limit).await?;
            let items: Vec<Value> = letters.iter().map(|letter| json!(LetterView::of(letter))).collect();
            Ok(Answer::ok(json!({ "items": items, "next_cursor": next.map(|next| next.to_string()) })))
        }
        "reason" => {
            let (letters, next) = page(SUMMARY).await?;
            let counted = letters.len();
            let next_cursor = next.map(|next| next.to_string());
            Ok(Answer::ok(json!(Groups { grouped: grouped(&letters), counted, next_cursor })))
        }
        _ => Err(Problem::bad_request("invalid_query", "group must be reason or none")),
    }
}

fn after(query: &Query) -> Result<u64, Problem> {
    let wrong = || Problem::bad_request("invalid_query", "after must be the sequence of a dead letter");
    // No stream gets as far as this; whatever is larger is a mistake.
    let fits = |after: &u64| i64::try_from(*after).is_ok();
    query.get("after").map_or(Ok(0), |after| after.parse().ok().filter(fits).ok_or_else(wrong))
}

/// `GET /api/dead-letters/:seq`
async fn show(app: &App, text: &str, caller: &Caller) -> Result<Answer, Problem> {
    let sequence = sequence(text)?;
    let sees = |letter: &DeadLetter| caller.grant.sees(letter.organization.as_ref().map(OrganizationId::as_str));
    let letter = find(app, sequence).await?;
    if letter.as_ref().is_some_and(|letter| !sees(letter)) {
        return Err(unknown(text));
    }
    // What was done about it is in the database; the letter is not, and is shown without it.
    let up = app.directory.database_is_up();
    let taken = if up { repo::newest(&app.pool, sequence).await } else { Err(sqlx::Error::PoolTimedOut) };
    let taken = match (&letter, taken) {
        (Some(letter), Err(error)) => {
            tracing::debug!(%error, "what was done about dead letter {sequence} is not known at the moment: {error}");
            return Ok(Answer::ok(json!(FullLetterView::of(letter, Err(())))));
        }
        (_, taken) => taken?,
    };
    let (letter, taken) = match (letter, taken) {
        // An action about a letter of an earlier stream is none about this one.
        (Some(letter), taken) => {
            let own = taken.filter(|taken| taken.letter.parked_at == letter.parked_at);
            (letter, own)
        }
        (None, Some(taken)) if sees(&taken.letter) => (taken.letter.clone(), Some(taken)),
        (None, _) => return Err(unknown(text)),
    };
    Ok(Answer::ok(json!(FullLetterView::of(&letter, Ok(taken.as_ref())))))
}

/// `POST /api/dead-letters/:seq/redrive`
async fn redrive(app: &App, text: &str, caller: &Caller) -> Result<Answer, Problem> {
    let taken = act(app, sequence(text)?, Action::Redriven, None, caller).await?;
    Ok(Answer::ok(json!(DoneView::of(&taken))))
}

/// `POST /api/dead-letters/:seq/discard {reason}`
async fn discard(app: &App, mut request: Request, text: &str, caller: &Caller) -> Result<Answer, Problem> {
    let body = request.object().await?;
    let sequence = sequence(text)?;
    let mut fields = Fields::of(&body);
    let reason = fields.required("reason", fields::text(LONGEST_REASON));
    fields.refuse_unknown();
    fields.finish().map_err(|problems| Problem::fields(&problems))?;
    let taken = act(app, sequence, Action::Discarded, reason, caller).await?;
    Ok(Answer::ok(json!(DoneView::of(&taken))))
}

/// `POST /api/dead-letters/redrive {sequences}`: each by itself, and what became of each.
async fn redrive_all(app: &App, mut request: Request, caller: &Caller) -> Result<Answer, Problem> {
    let body = request.object().await?;
    let sequences = read_sequences(&body)?;
    let mut results = Vec::with_capacity(sequences.len());
    for sequence in sequences {
        results.push(match act(app, sequence, Action::Redriven, None, caller).await {
            Ok(taken) => json!(DoneView::of(&taken)),
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
    Ok(Answer::ok(json!(Redriven { success: redriven == results.len(), redriven, results })))
}

fn read_sequences(body: &Map<String, Value>) -> Result<Vec<u64>, Problem> {
    let number = |value: &Value| fields::position(value).ok().and_then(|number| u64::try_from(number).ok());
    let mut fields = Fields::of(body);
    let sequences = fields.required("sequences", |value| {
        let read = value.as_array().filter(|list| (1..=BULK).contains(&list.len()));
        let read = read.and_then(|list| list.iter().map(number).collect::<Option<Vec<u64>>>());
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
    let mut after = json!(LetterView::of(&taken.letter));
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
    Problem::conflict(code, error).and("action", json!(ActionView::of(taken))).and("sequence", taken.letter.sequence)
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
