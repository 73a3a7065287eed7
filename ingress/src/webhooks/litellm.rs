//! `POST /webhooks/litellm/limit-exceeded`: a signed webhook says that a team is over its limit.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::contract::LimitExceededV1;
use common::ids::EventId;
use serde_json::json;
use warp::http::StatusCode;

use super::counted;
use super::limit_exceeded::{self, BadBody};
use super::signature::Verified;
use crate::app::{App, Wait};
use crate::directory::{Found, Known};
use crate::http::{Answer, Problem, Request};
use crate::outcome::view::{NoRecharge, WebhookAnswer};
use crate::outcome::{Interest, Outcome, webhook_answer};

/// The label of this source in the metrics.
const SOURCE: &str = "limit_exceeded";

/// Answers the webhook and counts it.
pub(crate) async fn post(app: &App, mut request: Request) -> Answer {
    counted(app, SOURCE, handle(app, &mut request)).await
}

async fn handle(app: &App, request: &mut Request) -> Result<(Answer, String), Problem> {
    let body = request.bytes().await?;
    let verified = app.keys.verify(&request.headers, &body, app.clock.now()).map_err(|why| {
        tracing::debug!(peer = ?request.peer, %why, "a webhook's signature is wrong: {why}");
        Problem::new(StatusCode::UNAUTHORIZED, "invalid_signature", "Invalid signature")
    })?;
    // After the signature: a flood without the secret must not use up the allowance of the sender who has it.
    app.limit.check(request.peer).map_err(Problem::too_many)?;
    if !request.says_json() {
        return Err(Problem::media_type());
    }
    let event = limit_exceeded::parse(&body).map_err(|bad| match bad {
        BadBody::NotJson(error) => Problem::not_json(&error),
        BadBody::Fields(problems) => Problem::fields(&problems),
    })?;
    let id = event_id(&verified, &body);
    match whose(app, &event).await {
        Found::Known(known) => accept(app, request, id, event, &known).await,
        Found::Nobody => Err(unknown(&event)),
        Found::Undecided => {
            // Nobody can tell at the moment whose it is: the recharger finds out when the database is back.
            let reached = app.start_chain(id, None, event, Wait::NEVER).await?;
            Ok((app.accepted(&reached.id, request), "unresolved".to_owned()))
        }
    }
}

/// The sender's id where the signature covers it, else a hash of the bytes: the same body twice is one event. An id
/// that is not signed is not the sender's: with it, whoever overheard a webhook could send it again as a new one.
fn event_id(verified: &Verified, body: &Bytes) -> EventId {
    match &verified.id {
        Some(id) => EventId::parse(format!("wh_{id}")).unwrap_or_else(|_| EventId::from_body("wh", id.as_bytes())),
        None => EventId::from_body("evt", body),
    }
}

/// The organization: by its team, and only where nobody has the team, by the id in the body.
async fn whose(app: &App, event: &LimitExceededV1) -> Found {
    match (app.directory.team(&event.team_id).await, &event.organization_id) {
        (Found::Nobody, Some(organization)) => app.directory.organization(organization).await,
        (found, _) => found,
    }
}

fn unknown(event: &LimitExceededV1) -> Problem {
    tracing::info!(team_id = %event.team_id, "a webhook for team {}, which no organization has", event.team_id);
    Problem::not_found("unknown_team", "Organization not found for team_id").and("team_id", event.team_id.as_str())
}

async fn accept(
    app: &App,
    request: &Request,
    id: EventId,
    event: LimitExceededV1,
    known: &Arc<Known>,
) -> Result<(Answer, String), Problem> {
    let now_or_never = request.prefers_async() || !known.auto_recharge_enabled;
    let longest = if now_or_never { Duration::ZERO } else { app.config.webhook_wait };
    let wait = Wait { interest: Interest::Recharge, longest };
    let reached = app.start_chain(id, Some(known.organization.clone()), event, wait).await?;
    if !known.auto_recharge_enabled {
        let body = json!(WebhookAnswer::NoRecharge(NoRecharge::of(reached.id)));
        return Ok((Answer::ok(body), "auto_recharge_disabled".to_owned()));
    }
    Ok(match &reached.outcome {
        Some(Outcome::Skipped { reason, .. }) if reason == "auto_recharge_disabled" => {
            // Switched off so recently that the directory had not heard of it.
            let body = json!(WebhookAnswer::NoRecharge(NoRecharge::of(reached.id)));
            (Answer::ok(body), "auto_recharge_disabled".to_owned())
        }
        Some(outcome) => (Answer::ok(json!(webhook_answer(&reached.id, outcome))), word(outcome).to_owned()),
        None => (app.accepted(&reached.id, request), "accepted".to_owned()),
    })
}

fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Settled { .. } => "settled",
        Outcome::Declined { .. } => "declined",
        Outcome::ActionRequired { .. } => "action_required",
        Outcome::Skipped { .. } => "skipped",
        Outcome::Refunded { .. } | Outcome::RefundFailed { .. } => "refunded",
        Outcome::Synced { .. } | Outcome::SyncFailed { .. } => "synced",
    }
}
