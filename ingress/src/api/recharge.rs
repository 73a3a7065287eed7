//! `POST /api/organizations/:id/recharge`: a recharge that a person asks for.

use std::time::Duration;

use common::contract::RechargeRequestedV1;
use common::ids::EventId;
use common::money::{Currency, Money};
use serde_json::{Map, Value, json};

use super::auth::Caller;
use super::idempotency::{self, Asked};
use super::organization_id;
use crate::app::{App, Wait};
use crate::fields::Fields;
use crate::http::{Answer, Problem, Request};
use crate::organizations::charge_amount;
use crate::outcome::{Interest, recharge_answer};
use crate::publish::Unpublished;

/// `POST /api/organizations/:id/recharge`
pub(crate) async fn start(app: &App, mut request: Request, id: &str, caller: &Caller) -> Result<Answer, Problem> {
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
    let reached = match app.start_chain(&request, event_id.clone(), Some(organization), asked, wait).await {
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
