//! `POST /api/organizations/:id/setup-intent`: a card is collected by the customer's own browser. What comes of it arrives
//! as a webhook of Stripe's (`webhooks/card_setup.rs`).

use std::fmt;

use common::ids::OrganizationId;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;
use warp::http::header::CACHE_CONTROL;
use warp::http::{Method, StatusCode};

use super::access::Access;
use super::auth::Caller;
use super::operation::Operation;
use super::organization_id;
use super::payment_method::{customer, refused};
use super::schemas::ProblemBody;
use crate::app::App;
use crate::http::{Answer, Problem};
use crate::organizations::repo::{self, AuditEntry};

/// The routes.
pub(crate) fn operations() -> Vec<Operation> {
    vec![
        Operation::known(
            Method::POST,
            "/api/organizations/{id}/setup-intent",
            "create_setup_intent",
            Access::ChangeOrganization,
            |app, call| Box::pin(async move { start(&app, call.param(0), &call.caller).await }),
        )
        .says(
            "Payment",
            "Begins to collect a card for charges without the customer (Stripe's SetupIntent, `usage=off_session`). The card \
             that the customer's browser completes it with becomes the one that is charged; a pause that the old card caused \
             ends then.",
        )
        .answers::<SetupIntentView>(201, "What the customer's browser needs.")
        .answers::<ProblemBody>(409, "The organization is closed.")
        .answers::<ProblemBody>(502, "Stripe does not accept the service's own key."),
    ]
}

/// A setup intent that waits for its customer.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SetupIntent")]
pub(crate) struct SetupIntentView {
    /// For whom the card is collected.
    c_organization_id: OrganizationId,
    /// Stripe's customer, to whom the card will belong.
    stripe_customer_id: String,
    /// Stripe's setup intent.
    setup_intent_id: String,
    /// What Stripe.js completes it with. For the customer only: it is neither stored nor logged.
    client_secret: String,
}

/// Without the secret.
impl fmt::Debug for SetupIntentView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SetupIntentView").field("setup_intent_id", &self.setup_intent_id).finish_non_exhaustive()
    }
}

/// `POST /api/organizations/:id/setup-intent`
async fn start(app: &App, id: &str, caller: &Caller) -> Result<Answer, Problem> {
    let id = organization_id(id)?;
    let stripe_customer_id = customer(app, &id, caller).await?;
    // A key of its own for every call: each is another attempt to collect a card, and none moves money.
    let key = format!("setup_{id}_{}", app.ids.fresh().simple());
    let started = app.stripe.start_setup(&stripe_customer_id, &id, &key).await.map_err(|fault| refused(&id, &fault))?;
    let mut connection = app.pool.acquire().await?;
    let entry = AuditEntry {
        after: Some(json!({ "setup_intent_id": started.id, "stripe_customer_id": stripe_customer_id })),
        ..caller.audits(app.clock.now(), "setup_intent.created", Some(&id))
    };
    repo::audit(&mut connection, entry).await?;
    tracing::info!(c_organization_id = %id, setup_intent_id = started.id, "a card of {id} is being collected");
    let view = SetupIntentView {
        c_organization_id: id,
        stripe_customer_id,
        setup_intent_id: started.id,
        client_secret: started.client_secret.expose().to_owned(),
    };
    Ok(Answer::new(StatusCode::CREATED, json!(view)).with(CACHE_CONTROL, "no-store"))
}
