//! Webhooks: bytes that came from outside become verified events.

pub mod alert;
pub(crate) mod alerts;
mod body;
mod card_setup;
mod card_update;
pub mod limit_exceeded;
pub(crate) mod litellm;
mod repo;
pub mod signature;
pub mod storable;
pub(crate) mod stripe;
pub mod stripe_event;
pub mod stripe_signature;

use std::future::Future;

use warp::http::Method;

use crate::api::operation::Operation;
use crate::api::schemas::{NotEnded, ProblemBody};
use crate::app::App;
use crate::http::{Answer, Problem};
use crate::outcome::view::WebhookAnswer;
use body::{AlertBody, AlertReceived, LimitExceededBody, StripeEventBody, StripeEventReceived};

/// The routes.
pub(crate) fn operations() -> Vec<Operation> {
    const TAG: &str = "Webhooks";
    vec![
        Operation::open(Method::POST, "/webhooks/litellm/limit-exceeded", "receive_limit_exceeded", |app, visit| {
            Box::pin(async move { Ok(litellm::post(&app, visit.request).await) })
        })
        .says(TAG, "A team is over its limit. The body is signed: HMAC-SHA256, or Standard Webhooks.")
        .header::<String>("x-webhook-signature", "`sha256=` and the hex of the body's HMAC-SHA256.")
        .header::<String>("Prefer", "`respond-async`: don't wait for the outcome.")
        .body::<LimitExceededBody>()
        .answers::<WebhookAnswer>(200, "How it ended.")
        .answers::<NotEnded>(202, "It has not ended yet: ask the status URL.")
        .answers::<ProblemBody>(401, "The signature is wrong.")
        .answers::<ProblemBody>(404, "No organization has this team."),
        Operation::open(Method::POST, "/webhooks/litellm/alerts/{token}", "receive_litellm_alert", |app, visit| {
            Box::pin(async move {
                let token = visit.param(0).to_owned();
                Ok(alerts::post(&app, visit.request, &token).await)
            })
        })
        .says(TAG, "LiteLLM's own alert. It can't be signed, so the secret is in the path.")
        .body::<AlertBody>()
        .answers::<AlertReceived>(200, "It was taken, whatever it says.")
        .answers::<ProblemBody>(404, "The token is wrong."),
        Operation::open(Method::POST, "/webhooks/stripe", "receive_stripe_event", |app, visit| {
            Box::pin(async move { Ok(stripe::post(&app, visit.request).await) })
        })
        .says(TAG, "An event of Stripe's, signed by Stripe.")
        .header::<String>("Stripe-Signature", "As Stripe makes it.")
        .body::<StripeEventBody>()
        .answers::<StripeEventReceived>(200, "It was taken.")
        .answers::<ProblemBody>(401, "The signature is wrong.")
        .answers::<ProblemBody>(404, "No secret is configured for Stripe's webhooks."),
    ]
}

/// Times the handling of a webhook of this source, and counts its result: the handler's word, or the problem's code.
async fn counted<R: AsRef<str>>(
    app: &App,
    source: &str,
    handling: impl Future<Output = Result<(Answer, R), Problem>>,
) -> Answer {
    let timer = app.metrics.webhook_seconds.with_label_values(&[source]).start_timer();
    let handled = handling.await;
    timer.observe_duration();
    let result = handled.as_ref().map_or_else(Problem::code, |(_, result)| result.as_ref());
    app.metrics.webhooks.with_label_values(&[source, result]).inc();
    handled.map_or_else(Answer::from, |(answer, _)| answer)
}
