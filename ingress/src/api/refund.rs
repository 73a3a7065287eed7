//! `POST /api/recharges/:id/refund`: money that a person gives back.

use std::time::Duration;

use common::contract::RefundRequestedV1;
use common::ids::{EventId, OrganizationId, RechargeId};
use common::money::{Currency, Money};
use schemars::JsonSchema;
use serde_json::{Map, Value, json};
use warp::http::Method;

use super::access::Access;
use super::auth::Caller;
use super::idempotency::{self, Asked};
use super::operation::Operation;
use super::schemas::{IdempotencyKey, NotEnded, PositiveAmount, ProblemBody, Words};
use crate::app::{App, Wait};
use crate::events::{Recharge, repo};
use crate::fields::{self, FieldProblem, Fields};
use crate::http::{Answer, Problem, Request};
use crate::organizations::positive_amount;
use crate::outcome::view::RefundAnswer;
use crate::outcome::{Interest, refund_answer};
use crate::publish::Unpublished;

/// The longest reason.
const LONGEST_REASON: usize = 500;

/// What is asked for.
struct Wanted {
    /// All that is left of it when absent.
    amount: Option<Money>,
    reason: String,
}

/// What to give back.
#[derive(JsonSchema)]
#[schemars(rename = "NewRefund", deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct RefundBody {
    /// How much of the quota, with its share of what was charged; all that is left of it unless it is named.
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    amount: Option<PositiveAmount>,
    /// Why, for the records.
    reason: Words<LONGEST_REASON>,
}

/// The routes.
pub(crate) fn operations() -> Vec<Operation> {
    vec![
        Operation::known(
            Method::POST,
            "/api/recharges/{id}/refund",
            "refund_recharge",
            Access::OperateOwn,
            |app, call| {
                Box::pin(async move {
                    let id = call.param(0).to_owned();
                    start(&app, call.request, &id, &call.caller).await
                })
            },
        )
        .says("Recharges", "Gives a recharge back, or a part of it, and takes the quota back.")
        .header::<IdempotencyKey>(
            "Idempotency-Key",
            "The same call with the same key is one refund, however often it is sent.",
        )
        .header::<String>("Prefer", "`respond-async`: don't wait for the outcome.")
        .body::<RefundBody>()
        .answers::<RefundAnswer>(200, "How it ended.")
        .answers::<NotEnded>(202, "It has not ended yet: ask the status URL.")
        .answers::<ProblemBody>(409, "There is nothing to give back, or the key was used for another request."),
    ]
}

/// `POST /api/recharges/:id/refund`
async fn start(app: &App, mut request: Request, id: &str, caller: &Caller) -> Result<Answer, Problem> {
    let unknown = || Problem::not_found("unknown_recharge", "There is no such recharge").and("recharge_id", id);
    let body = request.object().await?;
    let id: RechargeId = id.parse().map_err(|_| unknown())?;
    let recharge = repo::recharge(&app.pool, id).await?.ok_or_else(unknown)?;
    let wanted = read(&body, recharge.currency())?;
    let organization = recharge.organization().and_then(|id| OrganizationId::parse(id).ok());
    // A row from before Bill-Service may belong to nobody that we know.
    let organization = organization.ok_or_else(|| not_captured(&recharge))?;
    let key = idempotency::key_or_new(&request, app)?;
    let event_id = EventId::from_body("req", format!("refund\n{id}\n{key}").as_bytes());
    let words = match wanted.amount {
        Some(amount) => format!("POST /recharges/{id}/refund {amount}"),
        None => format!("POST /recharges/{id}/refund all"),
    };
    if !idempotency::is_known(app, &event_id, &words).await? {
        check(&recharge, &wanted)?;
    }
    let asked = Asked {
        event_id: &event_id,
        organization: &organization,
        words,
        action: "refund.requested",
        audit: json!({
            "event_id": event_id, "recharge_id": id, "amount": wanted.amount.map(Money::to_number), "reason": wanted.reason,
        }),
    };
    idempotency::record(app, asked, caller).await?;
    let data = RefundRequestedV1 {
        recharge_id: id,
        amount: wanted.amount,
        reason: wanted.reason,
        requested_by: caller.name.clone(),
    };
    let longest = if request.prefers_async() { Duration::ZERO } else { app.config.api_wait };
    let wait = Wait { interest: Interest::Refund, longest };
    let reached = match app.start_chain(event_id.clone(), Some(organization), data, wait).await {
        Err(Unpublished::Unconfirmed) => return Ok(app.unconfirmed(&event_id, &key)),
        reached => reached?,
    };
    Ok(match &reached.outcome {
        Some(outcome) => Answer::ok(json!(refund_answer(&reached.id, outcome)?)),
        None => app.accepted(&reached.id, &request),
    })
}

fn read(body: &Map<String, Value>, currency: Currency) -> Result<Wanted, Problem> {
    let mut fields = Fields::of(body);
    let amount = fields.optional("amount", |value| positive_amount(value, currency));
    let reason = fields.required("reason", fields::text(LONGEST_REASON));
    fields.refuse_unknown();
    fields.finish().map_err(|problems| Problem::fields(&problems))?;
    Ok(Wanted { amount, reason: reason.ok_or_else(|| Problem::fields(&[]))? })
}

/// What can be told at once. The recharger decides again, under a lock.
fn check(recharge: &Recharge, wanted: &Wanted) -> Result<(), Problem> {
    if !recharge.is_captured() {
        return Err(not_captured(recharge));
    }
    let left = recharge.refundable();
    if left.minor <= 0 {
        let error = "Nothing is left to give back: the recharge was refunded";
        return Err(Problem::conflict("already_refunded", error).and("status", recharge.status()));
    }
    if wanted.amount.is_some_and(|amount| amount.minor > left.minor) {
        let problem = format!("must be at most {left}, which is what was not refunded yet");
        return Err(Problem::fields(&[FieldProblem { field: "amount".to_owned(), problem }]));
    }
    Ok(())
}

fn not_captured(recharge: &Recharge) -> Problem {
    Problem::conflict("not_captured", "Nothing was captured for this recharge, so nothing can be given back")
        .and("status", recharge.status())
}
