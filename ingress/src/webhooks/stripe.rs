//! `POST /webhooks/stripe`: Stripe says that an object changed. Delivered twice, late and out of order by design: the
//! event is published under Stripe's id, and whoever handles it reads the object again.

use std::sync::Arc;
use std::time::Duration;

use common::clock::Timestamp;
use common::contract::StripeEventV1;
use common::ids::OrganizationId;
use common::telemetry::spans;
use serde_json::{Value, json};
use tracing::Instrument as _;
use tracing::field::Empty;
use warp::http::StatusCode;

use super::body::StripeEventReceived;
use super::card_setup::Completed;
use super::stripe_event::{self, CARD_UPDATED, Handled, Understood};
use super::stripe_signature::HEADER;
use super::{card_setup, card_update, counted, repo};
use crate::app::{App, Wait};
use crate::http::{Answer, Problem, Request};

/// The label of this source in the metrics.
const SOURCE: &str = "stripe";
/// How long the database may take to say whose an object is: without an answer the event is published all the same.
const LOOK: Duration = Duration::from_millis(1_000);

/// Answers the webhook and counts it.
pub(crate) async fn post(app: &Arc<App>, mut request: Request) -> Answer {
    counted(app, SOURCE, handle(app, &mut request)).await
}

async fn handle(app: &Arc<App>, request: &mut Request) -> Result<(Answer, &'static str), Problem> {
    if app.stripe_keys.is_empty() {
        let error =
            "Stripe's webhooks are not set up: set STRIPE_WEBHOOK_SECRET to the endpoint's signing secret, whsec_…";
        return Err(Problem::not_found("stripe_webhook_not_configured", error));
    }
    let body = request.bytes().await?;
    let signature = request.headers.get(HEADER).map(|value| value.as_bytes());
    app.stripe_keys.verify(signature, &body, app.clock.now()).map_err(|why| {
        tracing::debug!(peer = ?request.peer, %why, "the signature of a webhook from Stripe is wrong: {why}");
        Problem::new(StatusCode::UNAUTHORIZED, "invalid_signature", "Invalid signature")
    })?;
    // After the signature: a flood without the secret must not use up Stripe's allowance.
    app.limit.check(request.peer).map_err(Problem::too_many)?;
    if !request.says_json() {
        return Err(Problem::media_type());
    }
    let value: Value = serde_json::from_slice(&body).map_err(|error| Problem::not_json(&error))?;
    match stripe_event::understand(&value).map_err(|problems| Problem::fields(&problems))? {
        Understood::Event(handled) => {
            let said_at = value["created"].as_i64().and_then(Timestamp::from_timestamp_secs);
            accept(app, *handled, said_at.unwrap_or_else(|| app.clock.now())).await
        }
        Understood::Other { stripe_event_id, stripe_type } => {
            tracing::info!(stripe_event_id, stripe_type, "Stripe sent {stripe_type}, which nobody handles");
            Ok((Answer::ok(json!(StripeEventReceived::ignored(stripe_event_id))), "ignored"))
        }
    }
}

async fn accept(app: &Arc<App>, handled: Handled, said_at: Timestamp) -> Result<(Answer, &'static str), Problem> {
    let Handled { id, organization, event } = handled;
    let organization = match organization {
        Some(named) => Some(named),
        None => look_up(app, &event).await,
    };
    let updated = (event.stripe_type == CARD_UPDATED).then(|| event.object_id.clone());
    let collected = (event.stripe_type == card_setup::COMPLETED).then(|| event.object_id.clone());
    let reached = app.start_chain(id, organization, event, Wait::NEVER).await?;
    if let Some(card) = updated {
        // Best effort, and Stripe does not wait for it.
        let span = tracing::info_span!(parent: None, "card_update", trace_id = Empty, correlation_id = Empty);
        spans::resume(&span, &reached.id);
        tokio::spawn(card_update::refresh(app.clone(), reached.id.clone(), card).instrument(span));
    }
    if let Some(setup_intent_id) = &collected {
        // Not best effort: nobody else would ever store this card, so Stripe hears no "yes" before it is.
        card_setup::store(app, &Completed { cause: &reached.id, setup_intent_id, at: said_at }).await?;
    }
    Ok((Answer::ok(json!(StripeEventReceived::accepted(reached.id))), "accepted"))
}

/// Whose the object is, if the database knows it at once. If not, whoever handles the event finds out.
async fn look_up(app: &App, event: &StripeEventV1) -> Option<OrganizationId> {
    if !app.directory.database_is_up() {
        return None;
    }
    match tokio::time::timeout(LOOK, repo::organization_of(&app.pool, event)).await {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => {
            tracing::warn!(%error, stripe_event_id = event.stripe_event_id, "whose it is could not be read: {error}");
            None
        }
        Err(_) => None,
    }
}
