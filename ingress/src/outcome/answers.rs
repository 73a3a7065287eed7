//! Outcomes as answers. Pure.

use common::ids::EventId;
use common::money::{Currency, decimal_to_number};
use rust_decimal::Decimal;
use serde_json::{Number, json};

use super::Outcome;
use super::view::{
    AutoRecharged, Done, NotDone, Otherwise, QuotaInForce, QuotaRefused, RechargeAnswer, Recharged, RefundAnswer,
    Refunded, SyncAnswer, WebhookAnswer,
};
use crate::http::{Answer, Problem};

/// A quota as a JSON number with at least the currency's decimals.
pub(crate) fn quota_number(quota: Decimal, currency: Currency) -> Number {
    let mut quota = quota.normalize();
    if quota.scale() < currency.digits() {
        quota.rescale(currency.digits());
    }
    decimal_to_number(quota)
}

/// What the sender of a webhook is told.
pub(crate) fn webhook_answer(id: &EventId, outcome: &Outcome) -> WebhookAnswer {
    match outcome {
        Outcome::Settled { recharge_id, amount, new_quota, .. } => WebhookAnswer::Recharged(AutoRecharged {
            success: true,
            action: "auto_recharged",
            recharged_amount: amount.to_number(),
            event_id: id.clone(),
            recharge_id: *recharge_id,
            new_quota: new_quota.map(|quota| quota_number(quota, amount.currency)),
        }),
        other => WebhookAnswer::Otherwise(otherwise(id, other)),
    }
}

/// What the caller of a manual recharge is told.
pub(crate) fn recharge_answer(id: &EventId, outcome: &Outcome) -> Answer {
    let answer = match outcome {
        Outcome::Settled { recharge_id, amount, fee, total_charge, new_quota } => {
            RechargeAnswer::Recharged(Recharged {
                success: true,
                action: "recharged",
                recharged_amount: amount.to_number(),
                fee: fee.to_number(),
                total_charge: total_charge.to_number(),
                currency: amount.currency,
                event_id: id.clone(),
                recharge_id: *recharge_id,
                new_quota: new_quota.map(|quota| quota_number(quota, amount.currency)),
            })
        }
        Outcome::Skipped { reason, message, recharge_id } if reason == "in_flight" => {
            return Problem::conflict("recharge_in_flight", "Another recharge of this organization has not ended yet")
                .and("message", message.as_str())
                .and("event_id", id.as_str())
                .and("recharge_id", json!(recharge_id))
                .into();
        }
        other => RechargeAnswer::Otherwise(otherwise(id, other)),
    };
    Answer::ok(json!(answer))
}

/// What the caller of a sync is told.
pub(crate) fn sync_answer(id: &EventId, outcome: &Outcome, currency: Currency) -> Answer {
    Answer::ok(json!(match outcome {
        Outcome::Synced { quota, ledger_version, team, changed } => SyncAnswer::InForce(QuotaInForce {
            success: true,
            quota: quota_number(*quota, currency),
            ledger_version: *ledger_version,
            litellm_team_id: team.clone(),
            changed: *changed,
            event_id: id.clone(),
        }),
        Outcome::SyncFailed { quota, ledger_version, reason } => SyncAnswer::Refused(QuotaRefused {
            success: false,
            reason: "backend_refused",
            message: reason.clone(),
            quota: quota_number(*quota, currency),
            ledger_version: *ledger_version,
            event_id: id.clone(),
        }),
        other => SyncAnswer::Otherwise(otherwise(id, other)),
    }))
}

/// What the caller of a refund is told; `Err` where it is a conflict.
pub(crate) fn refund_answer(id: &EventId, outcome: &Outcome) -> Result<RefundAnswer, Problem> {
    match outcome {
        Outcome::Refunded { recharge_id, amount, total, refund_id, reason } => Ok(RefundAnswer::Refunded(Refunded {
            success: true,
            action: "refunded",
            refund_id: refund_id.clone(),
            refunded_amount: amount.to_number(),
            refunded_total: total.to_number(),
            currency: amount.currency,
            reason: reason.clone(),
            event_id: id.clone(),
            recharge_id: *recharge_id,
        })),
        Outcome::Skipped { reason, message, recharge_id } => {
            let (code, error) = match reason.as_str() {
                "in_flight" => ("recharge_in_flight", "The recharge has not ended yet; try again when it has"),
                "already_refunded" => ("already_refunded", "So much is not left to give back"),
                _ => return Ok(RefundAnswer::Otherwise(otherwise(id, outcome))),
            };
            Err(Problem::conflict(code, error)
                .and("message", message.as_str())
                .and("event_id", id.as_str())
                .and("recharge_id", json!(recharge_id)))
        }
        other => Ok(RefundAnswer::Otherwise(otherwise(id, other))),
    }
}

fn otherwise(id: &EventId, outcome: &Outcome) -> Otherwise {
    let (success, event_id) = (false, id.clone());
    Otherwise::Not(match outcome.clone() {
        Outcome::Declined { recharge_id, amount, reason, message, class, paused } => {
            let (currency, amount) = (amount.currency, amount.to_number());
            NotDone::Declined { success, reason, message, class, paused, amount, currency, recharge_id, event_id }
        }
        Outcome::ActionRequired { recharge_id, amount, message, confirmation_url, expires_at } => {
            NotDone::ActionRequired {
                success,
                reason: "authentication_required",
                message,
                confirmation_url,
                expires_at,
                amount: amount.to_number(),
                currency: amount.currency,
                recharge_id,
                event_id,
            }
        }
        Outcome::Skipped { reason, message, recharge_id } => {
            NotDone::Skipped { success, reason, message, recharge_id, event_id }
        }
        Outcome::Refunded { recharge_id, amount, total, refund_id, reason } => NotDone::Refunded {
            success,
            reason,
            message: "The charge was given back",
            amount: amount.to_number(),
            refunded_total: total.to_number(),
            refund_id,
            currency: amount.currency,
            recharge_id,
            event_id,
        },
        Outcome::RefundFailed { recharge_id, total, reason, attempts } => NotDone::RefundFailed {
            success,
            reason,
            attempts,
            message: "The refund did not work yet; it is tried again until it does or a person decides",
            refunded_total: total.to_number(),
            currency: total.currency,
            recharge_id,
            event_id,
        },
        Outcome::SyncFailed { reason, .. } => {
            NotDone::Failed { success, reason: "backend_refused", message: reason, event_id }
        }
        Outcome::Settled { .. } | Outcome::Synced { .. } => return Otherwise::Done(Done { success: true, event_id }),
    })
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
