//! `POST /api/organizations/:id/recharge`: a recharge that a person asks for.

use std::time::Duration;

use common::contract::RechargeRequestedV1;
use common::ids::EventId;
use common::money::{Currency, Money};
use schemars::JsonSchema;
use serde_json::{Map, Value, json};
use warp::http::Method;

use super::access::Access;
use super::auth::Caller;
use super::idempotency::{self, Asked};
use super::operation::Operation;
use super::organization_id;
use super::schemas::{IdempotencyKey, NotEnded, PositiveAmount, ProblemBody};
use crate::app::{App, Wait};
use crate::fields::Fields;
use crate::http::{Answer, Problem, Request};
use crate::organizations::charge_amount;
use crate::outcome::view::RechargeAnswer;
use crate::outcome::{Interest, recharge_answer};
use crate::publish::Unpublished;

/// What to buy.
#[derive(JsonSchema)]
#[schemars(rename = "NewRecharge", deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct RechargeBody {
    /// How much quota, from the currency's least charge (0.50 usd) to its largest (999999.99 usd).
    #[schemars(extend("examples" = [25]))]
    amount: PositiveAmount,
}

/// The routes.
pub(crate) fn operations() -> Vec<Operation> {
    vec![
        Operation::known(
            Method::POST,
            "/api/organizations/{id}/recharge",
            "start_recharge",
            Access::ChangeOrganization,
            |app, call| {
                Box::pin(async move {
                    let id = call.param(0).to_owned();
                    start(&app, call.request, &id, &call.caller).await
                })
            },
        )
        .says("Recharges", "Charges the saved card now and raises the quota.")
        .header::<IdempotencyKey>(
            "Idempotency-Key",
            "The same call with the same key is one recharge, however often it is sent.",
        )
        .header::<String>("Prefer", "`respond-async`: don't wait for the outcome.")
        .body::<RechargeBody>()
        .answers::<RechargeAnswer>(200, "How it ended.")
        .answers::<NotEnded>(202, "It has not ended yet: ask the status URL.")
        .answers::<ProblemBody>(
            409,
            "Another recharge has not ended yet, the organization is closed, or the key was used for another request.",
        ),
    ]
}

/// `POST /api/organizations/:id/recharge`
async fn start(app: &App, mut request: Request, id: &str, caller: &Caller) -> Result<Answer, Problem> {
    let organization = organization_id(id)?;
    let body = request.object().await?;
    let known = super::known(app, &organization).await?;
    let amount = read(&body, known.currency)?;
    let key = idempotency::key_or_new(&request, app)?;
    let event_id = EventId::from_body("req", format!("{organization}\n{key}").as_bytes());
    let asked = Asked {
        event_id: &event_id,
        organization: &organization,
        words: format!("POST /recharge {amount}"),
        action: "recharge.requested",
        audit: json!({ "event_id": event_id, "amount": amount.to_number(), "currency": amount.currency }),
    };
    idempotency::record(app, asked, caller).await?;
    let asked = RechargeRequestedV1 { amount, requested_by: caller.name.clone() };
    let longest = if request.prefers_async() { Duration::ZERO } else { app.config.api_wait };
    let wait = Wait { interest: Interest::Recharge, longest };
    let reached = match app.start_chain(event_id.clone(), Some(organization), asked, wait).await {
        Err(Unpublished::Unconfirmed) => return Ok(app.unconfirmed(&event_id, &key)),
        reached => reached?,
    };
    Ok(match &reached.outcome {
        Some(outcome) => recharge_answer(&reached.id, outcome),
        None => app.accepted(&reached.id, &request),
    })
}

fn read(body: &Map<String, Value>, currency: Currency) -> Result<Money, Problem> {
    let mut fields = Fields::of(body);
    let amount = fields.required("amount", |value| charge_amount(value, currency));
    fields.refuse_unknown();
    fields.finish().map_err(|problems| Problem::fields(&problems))?;
    amount.ok_or_else(|| Problem::fields(&[]))
}
