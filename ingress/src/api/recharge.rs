//! `POST /api/organizations/:id/recharge`: a recharge that a person asks for.

use std::time::Duration;

use common::contract::RechargeRequestedV1;
use common::ids::{EventId, OrganizationId};
use common::money::{Currency, Money};
use serde_json::{Map, Value, json};

use super::auth::Caller;
use super::{organization_id, repo};
use crate::app::{App, Wait};
use crate::fields::Fields;
use crate::http::{Answer, Problem, Request};
use crate::organizations::charge_amount;
use crate::organizations::repo::{AuditEntry, audit};
use crate::outcome::{Interest, recharge_answer};

/// The longest `Idempotency-Key`: as long as Stripe's.
const LONGEST_KEY: usize = 255;

/// `POST /api/organizations/:id/recharge`
pub(crate) async fn start(app: &App, mut request: Request, id: &str, caller: &Caller) -> Result<Answer, Problem> {
    let organization = organization_id(id)?;
    let body = request.object().await?;
    let known = super::known(app, &organization).await?;
    let amount = read(&body, known.currency)?;
    let event_id = match idempotency_key(&request)? {
        Some(key) => EventId::from_body("req", format!("{organization}\n{key}").as_bytes()),
        None => EventId::following("req", &app.ids.fresh()),
    };
    record(app, &event_id, &organization, amount, caller).await?;
    let asked = RechargeRequestedV1 { amount, requested_by: caller.name.clone() };
    let longest = if request.prefers_async() { Duration::ZERO } else { app.config.api_wait };
    let wait = Wait { interest: Interest::Recharge, longest };
    let reached = app.start_chain(&request, event_id, Some(organization), asked, wait).await?;
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

fn idempotency_key(request: &Request) -> Result<Option<&str>, Problem> {
    let Some(value) = request.headers.get("idempotency-key") else { return Ok(None) };
    let key = value.to_str().ok().map(str::trim).filter(|key| (1..=LONGEST_KEY).contains(&key.len()));
    let wrong = || {
        let error = format!("Idempotency-Key must be 1 to {LONGEST_KEY} ASCII characters");
        Problem::bad_request("invalid_idempotency_key", error)
    };
    key.map(Some).ok_or_else(wrong)
}

/// Records who asked for what, once for each key. The same key for something else is a mistake of the caller's.
async fn record(
    app: &App,
    event_id: &EventId,
    organization: &OrganizationId,
    amount: Money,
    caller: &Caller,
) -> Result<(), Problem> {
    let now = app.clock.now();
    let asked = format!("POST /recharge {amount}");
    let mut transaction = app.pool.begin().await?;
    let (first, new) = repo::record_request(&mut transaction, event_id, organization, &asked, now).await?;
    if first != asked {
        let error = "This Idempotency-Key was used for another request; use a new one";
        let problem = Problem::conflict("idempotency_key_reuse", error).and("first_request", first);
        return Err(problem.and("event_id", event_id.as_str()));
    }
    if new {
        let entry = AuditEntry {
            at: now,
            actor: &caller.name,
            action: "recharge.requested",
            organization: Some(organization),
            request_id: &caller.request_id,
            before: None,
            after: Some(json!({ "event_id": event_id, "amount": amount.to_number(), "currency": amount.currency })),
        };
        audit(&mut transaction, entry).await?;
    }
    transaction.commit().await?;
    Ok(())
}
