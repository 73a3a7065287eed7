//! Outcomes as JSON. Pure.

use common::ids::EventId;
use common::money::{Currency, decimal_to_number};
use rust_decimal::Decimal;
use serde_json::{Value, json};
use warp::http::StatusCode;

use super::Outcome;
use crate::http::{Answer, Problem};

/// A quota as a JSON number with at least the currency's decimals.
pub(crate) fn quota_number(quota: Decimal, currency: Currency) -> Value {
    let mut quota = quota.normalize();
    if quota.scale() < currency.digits() {
        quota.rescale(currency.digits());
    }
    Value::Number(decimal_to_number(quota))
}

/// What the sender of a webhook is told.
pub(crate) fn webhook_answer(id: &EventId, outcome: &Outcome) -> Value {
    match outcome {
        Outcome::Settled { recharge_id, amount, new_quota, .. } => json!({
            "success": true,
            "action": "auto_recharged",
            "recharged_amount": amount.to_number(),
            "event_id": id,
            "recharge_id": recharge_id,
            "new_quota": new_quota.map(|quota| quota_number(quota, amount.currency)),
        }),
        other => unsuccessful(id, other),
    }
}

/// What the caller of a manual recharge is told.
pub(crate) fn recharge_answer(id: &EventId, outcome: &Outcome) -> Answer {
    match outcome {
        Outcome::Settled { recharge_id, amount, fee, total_charge, new_quota } => Answer::ok(json!({
            "success": true,
            "action": "recharged",
            "recharged_amount": amount.to_number(),
            "fee": fee.to_number(),
            "total_charge": total_charge.to_number(),
            "currency": amount.currency,
            "event_id": id,
            "recharge_id": recharge_id,
            "new_quota": new_quota.map(|quota| quota_number(quota, amount.currency)),
        })),
        Outcome::Skipped { reason, message, recharge_id } if reason == "in_flight" => {
            Problem::conflict("recharge_in_flight", "Another recharge of this organization has not ended yet")
                .and("message", message.as_str())
                .and("event_id", id.as_str())
                .and("recharge_id", json!(recharge_id))
                .into()
        }
        other => Answer::ok(unsuccessful(id, other)),
    }
}

/// What the caller of a sync is told.
pub(crate) fn sync_answer(id: &EventId, outcome: &Outcome, currency: Currency) -> Answer {
    match outcome {
        Outcome::Synced { quota, ledger_version, team, changed } => Answer::ok(json!({
            "success": true,
            "quota": quota_number(*quota, currency),
            "ledger_version": ledger_version,
            "litellm_team_id": team,
            "changed": changed,
            "event_id": id,
        })),
        Outcome::SyncFailed { quota, ledger_version, reason } => Answer::ok(json!({
            "success": false,
            "reason": "backend_refused",
            "message": reason,
            "quota": quota_number(*quota, currency),
            "ledger_version": ledger_version,
            "event_id": id,
        })),
        other => Answer::new(StatusCode::OK, unsuccessful(id, other)),
    }
}

/// What the caller of a refund is told.
pub(crate) fn refund_answer(id: &EventId, outcome: &Outcome) -> Answer {
    match outcome {
        Outcome::Refunded { recharge_id, amount, total, refund_id, reason } => Answer::ok(json!({
            "success": true,
            "action": "refunded",
            "refund_id": refund_id,
            "refunded_amount": amount.to_number(),
            "refunded_total": total.to_number(),
            "currency": amount.currency,
            "reason": reason,
            "event_id": id,
            "recharge_id": recharge_id,
        })),
        Outcome::Skipped { reason, message, recharge_id } => {
            let (code, error) = match reason.as_str() {
                "in_flight" => ("recharge_in_flight", "The recharge has not ended yet; try again when it has"),
                "already_refunded" => ("already_refunded", "So much is not left to give back"),
                _ => return Answer::ok(unsuccessful(id, outcome)),
            };
            Problem::conflict(code, error)
                .and("message", message.as_str())
                .and("event_id", id.as_str())
                .and("recharge_id", json!(recharge_id))
                .into()
        }
        other => Answer::ok(unsuccessful(id, other)),
    }
}

fn unsuccessful(id: &EventId, outcome: &Outcome) -> Value {
    match outcome {
        Outcome::Declined { recharge_id, amount, reason, message, class, paused } => json!({
            "success": false, "action": "declined", "reason": reason, "message": message, "class": class, "paused": paused,
            "amount": amount.to_number(), "currency": amount.currency, "recharge_id": recharge_id, "event_id": id,
        }),
        Outcome::ActionRequired { recharge_id, amount, message, confirmation_url, expires_at } => json!({
            "success": false, "action": "action_required", "reason": "authentication_required", "message": message,
            "confirmation_url": confirmation_url, "expires_at": expires_at, "amount": amount.to_number(), "currency": amount.currency,
            "recharge_id": recharge_id, "event_id": id,
        }),
        Outcome::Skipped { reason, message, recharge_id } => json!({
            "success": false, "action": "skipped", "reason": reason, "message": message, "recharge_id": recharge_id,
            "event_id": id,
        }),
        Outcome::Refunded { recharge_id, amount, total, refund_id, reason } => json!({
            "success": false, "action": "refunded", "reason": reason, "message": "The charge was given back",
            "amount": amount.to_number(), "refunded_total": total.to_number(), "refund_id": refund_id,
            "currency": amount.currency, "recharge_id": recharge_id, "event_id": id,
        }),
        Outcome::RefundFailed { recharge_id, total, reason, attempts } => json!({
            "success": false, "action": "refund_failed", "reason": reason, "attempts": attempts,
            "message": "The refund did not work yet; it is tried again until it does or a person decides",
            "refunded_total": total.to_number(), "currency": total.currency, "recharge_id": recharge_id, "event_id": id,
        }),
        Outcome::Settled { .. } | Outcome::Synced { .. } => json!({ "success": true, "event_id": id }),
        Outcome::SyncFailed { reason, .. } => {
            json!({ "success": false, "action": "failed", "reason": "backend_refused", "message": reason, "event_id": id })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_currencys_decimals() {
        let show =
            |text: &str, currency: &str| quota_number(text.parse().unwrap(), currency.parse().unwrap()).to_string();
        assert_eq!(show("600", "usd"), "600.00");
        assert_eq!(show("600.5", "usd"), "600.50");
        assert_eq!(show("600.123000", "usd"), "600.123");
        assert_eq!(show("6000", "jpy"), "6000");
        assert_eq!(show("1000", "kwd"), "1000.000");
    }
}
