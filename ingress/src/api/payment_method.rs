//! `POST /api/organizations/:id/payment-method`: the card that is charged from now on.

use std::time::Duration;

use common::clients::stripe::{Card, FaultKind, StripeFault};
use common::ids::OrganizationId;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};
use warp::http::header::RETRY_AFTER;
use warp::http::{Method, StatusCode};

use super::access::Access;
use super::auth::Caller;
use super::operation::Operation;
use super::organizations::refresh;
use super::schemas::ProblemBody;
use super::{open, organization_id, unknown_organization};
use crate::app::App;
use crate::evaluate;
use crate::fields::{self, FieldProblem, Fields};
use crate::http::{Answer, Problem, Request};
use crate::organizations::Organization;
use crate::organizations::repo::{self, AuditEntry};

/// How often a call is repeated that Stripe is busy with for somebody else.
const TRIES: u32 = 12;
/// How long to wait in between.
const PAUSE: Duration = Duration::from_millis(400);

/// What is asked for.
pub(crate) struct Wanted {
    pub(crate) payment_method_id: String,
    pub(crate) set_as_default: bool,
}

impl Wanted {
    fn read(body: &Map<String, Value>) -> Result<Self, Vec<FieldProblem>> {
        let mut fields = Fields::of(body);
        let payment_method_id = fields.required("payment_method_id", payment_method_id);
        let set_as_default = fields.optional("set_as_default", fields::boolean).unwrap_or(true);
        fields.refuse_unknown();
        fields.finish()?;
        Ok(Self { payment_method_id: payment_method_id.ok_or_else(Vec::new)?, set_as_default })
    }
}

/// Stripe's ids are letters, digits and underscores; the id becomes part of a path there.
pub(crate) fn payment_method_id(value: &Value) -> fields::Read<String> {
    let fits = |text: &&str| {
        (1..=120).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    let text = value.as_str().filter(fits).ok_or("must be an id of Stripe's, such as pm_card_visa")?;
    Ok(text.to_owned())
}

/// A card to attach.
#[derive(JsonSchema)]
#[schemars(rename = "NewPaymentMethod", deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct PaymentMethodBody {
    /// Stripe's id of a payment method.
    #[schemars(regex(pattern = r"^[A-Za-z0-9_]{1,120}$"), extend("examples" = ["pm_card_visa"]))]
    payment_method_id: String,
    /// Whether it is the one that is charged from now on; true unless it is named.
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    set_as_default: Option<bool>,
}

/// A card that was attached.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "PaymentMethod")]
struct PaymentMethodView {
    #[schemars(extend("const" = true))]
    success: bool,
    /// Whose it is.
    c_organization_id: OrganizationId,
    /// Its customer at Stripe.
    stripe_customer_id: String,
    /// The card, by Stripe's id.
    payment_method_id: String,
    /// Whether it is the one that is charged from now on.
    is_default: bool,
    /// Its brand, such as visa; null: Stripe does not say.
    brand: Option<String>,
    /// Its last four digits; null: Stripe does not say.
    last4: Option<String>,
}

/// The routes.
pub(crate) fn operations() -> Vec<Operation> {
    vec![
        Operation::known(
            Method::POST,
            "/api/organizations/{id}/payment-method",
            "set_payment_method",
            Access::ChangeOrganization,
            |app, call| {
                Box::pin(async move {
                    let id = call.param(0).to_owned();
                    set(&app, call.request, &id, &call.caller).await
                })
            },
        )
        .says(
            "Payment",
            "Attaches a card, and makes it the one that is charged; a pause that the old card caused ends.",
        )
        .body::<PaymentMethodBody>()
        .answers::<PaymentMethodView>(200, "The card.")
        .answers::<ProblemBody>(402, "The card was declined.")
        .answers::<ProblemBody>(409, "The organization is closed.")
        .answers::<ProblemBody>(502, "Stripe does not accept the service's own key."),
    ]
}

/// `POST /api/organizations/:id/payment-method`
async fn set(app: &App, mut request: Request, id: &str, caller: &Caller) -> Result<Answer, Problem> {
    let id = organization_id(id)?;
    let body = request.object().await?;
    let wanted = Wanted::read(&body).map_err(|problems| Problem::fields(&problems))?;
    let (customer, card) = attach(app, &id, &wanted, caller).await?;
    Ok(Answer::ok(json!(PaymentMethodView {
        success: true,
        c_organization_id: id,
        stripe_customer_id: customer,
        payment_method_id: card.id,
        is_default: wanted.set_as_default,
        brand: card.brand,
        last4: card.last4,
    })))
}

/// Attaches a card to the organization's customer; creates the customer if there is none.
pub(crate) async fn attach(
    app: &App,
    id: &OrganizationId,
    wanted: &Wanted,
    caller: &Caller,
) -> Result<(String, Card), Problem> {
    let customer = customer(app, id, caller).await?;
    let given = &wanted.payment_method_id;
    // Not one key for ever: attaching again after the card was taken off would replay the old attachment.
    let key = |call: &str| format!("{call}_{id}_{given}_{}", app.ids.fresh().simple());
    let card = app
        .stripe
        .attach_payment_method(given, &customer, &key("attach"))
        .await
        .map_err(|fault| refused(id, &fault))?;
    if wanted.set_as_default {
        let default = app.stripe.set_default_payment_method(&customer, &card.id, &key("default")).await;
        default.map_err(|fault| refused(id, &fault))?;
        store(app, id, &card, caller).await?;
    } else {
        let mut connection = app.pool.acquire().await?;
        let entry = AuditEntry {
            after: Some(json!({ "payment_method_id": card.id, "brand": card.brand, "last4": card.last4 })),
            ..caller.audits(app.clock.now(), "payment_method.attached", Some(id))
        };
        repo::audit(&mut connection, entry).await?;
    }
    Ok((customer, card))
}

/// Creates the organization's customer. Parallel calls make one, because they share an idempotency key: to the second one
/// Stripe says that it is at the first, and then what came of it.
async fn create(app: &App, id: &OrganizationId) -> Result<String, Problem> {
    let mut tries = 1;
    loop {
        match app.stripe.create_customer(id, &format!("customer_{id}")).await {
            Err(fault) if fault.kind == FaultKind::Busy && fault.status == Some(409) && tries < TRIES => {
                tries += 1;
                tokio::time::sleep(PAUSE).await;
            }
            created => return created.map_err(|fault| refused(id, &fault)),
        }
    }
}

/// The organization's Stripe customer. While Stripe is asked, which may take its time, no connection to the database is
/// held: webhooks need them. What is stored first stays.
pub(super) async fn customer(app: &App, id: &OrganizationId, caller: &Caller) -> Result<String, Problem> {
    let mut connection = app.pool.acquire().await?;
    let before = open(repo::find(&mut connection, id).await?, id)?;
    if let Some(customer) = before.stripe_customer_id {
        return Ok(customer);
    }
    drop(connection);
    let customer = create(app, id).await?;
    let mut transaction = app.pool.begin().await?;
    repo::lock_customer(&mut transaction, id).await?;
    let before = open(repo::find(&mut transaction, id).await?, id)?;
    if let Some(customer) = before.stripe_customer_id {
        return Ok(customer);
    }
    let now = app.clock.now();
    repo::set_customer(&mut transaction, id, &customer, now).await?;
    let entry = AuditEntry {
        after: Some(json!({ "stripe_customer_id": customer })),
        ..caller.audits(now, "stripe_customer.created", Some(id))
    };
    repo::audit(&mut transaction, entry).await?;
    transaction.commit().await?;
    tracing::info!(c_organization_id = %id, customer, "organization {id} is Stripe's customer {customer}");
    Ok(customer)
}

async fn store(app: &App, id: &OrganizationId, card: &Card, caller: &Caller) -> Result<Organization, Problem> {
    let now = app.clock.now();
    let mut transaction = app.pool.begin().await?;
    let before = open(repo::find_to_change(&mut transaction, id).await?, id)?;
    repo::set_card(&mut transaction, id, &card.into(), now, now).await?;
    let after = repo::find(&mut transaction, id).await?.ok_or_else(|| unknown_organization(id))?;
    let entry = AuditEntry {
        before: Some(before.to_json()),
        after: Some(after.to_json()),
        ..caller.audits(now, "payment_method.set", Some(id))
    };
    repo::audit(&mut transaction, entry).await?;
    transaction.commit().await?;
    refresh(app, &after).await;
    tracing::info!(c_organization_id = %id, actor = caller.name, "organization {id} has a new card");
    evaluate::request_fresh(app, id, evaluate::CARD_CHANGED, &caller.name).await;
    Ok(after)
}

/// Stripe's no, as ours.
pub(super) fn refused(id: &OrganizationId, fault: &StripeFault) -> Problem {
    tracing::warn!(c_organization_id = %id, %fault, "the card of {id} was not saved: {fault}");
    match fault.kind() {
        FaultKind::Declined { code, decline_code, .. } => {
            Problem::new(StatusCode::PAYMENT_REQUIRED, "card_declined", fault.message.as_str())
                .and("stripe_code", code.as_str())
                .and("decline_code", decline_code.as_deref())
        }
        FaultKind::AuthenticationRequired { .. } => {
            Problem::new(StatusCode::PAYMENT_REQUIRED, "authentication_required", fault.message.as_str())
        }
        FaultKind::Busy => {
            Problem::unavailable("stripe_busy", "Stripe is busy; try again in a moment").with(RETRY_AFTER, "2")
        }
        FaultKind::Unknown { .. } => {
            Problem::unavailable("stripe_unavailable", "Stripe gave no clear answer; try again in a moment")
        }
        // Our key is wrong: nothing that the caller could put right.
        FaultKind::Refused { .. } if matches!(fault.status, Some(401 | 403)) => {
            Problem::new(StatusCode::BAD_GATEWAY, "stripe_refused_us", "Stripe does not accept the service's own key")
        }
        FaultKind::Refused { code, param } => Problem::bad_request("payment_method_refused", fault.message.as_str())
            .and("stripe_code", code.as_str())
            .and("param", param.as_deref()),
    }
}
