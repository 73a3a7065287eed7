//! A recharge with its chain, as the API tells it.

use common::money::Currency;
use rust_decimal::{Decimal, RoundingStrategy};
use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use crate::console::amount::Amount;
use crate::console::moment::Moment;

#[derive(Deserialize)]
pub(super) struct Record {
    pub(super) recharge_id: Uuid,
    pub(super) c_organization_id: Option<String>,
    pub(super) amount: Amount,
    pub(super) fee: Amount,
    pub(super) total_charge: Option<Amount>,
    pub(super) currency: Currency,
    pub(super) status: Option<String>,
    pub(super) triggered_by: String,
    pub(super) trigger_event_id: Option<String>,
    pub(super) correlation_id: Option<String>,
    pub(super) payment_intent_id: Option<String>,
    pub(super) charge_id: Option<String>,
    pub(super) created_at: Option<Moment>,
    pub(super) settled_at: Option<Moment>,
    pub(super) failure: Option<Failure>,
    pub(super) refunded_amount: Amount,
    pub(super) refunded_total: Amount,
    pub(super) undo_cause: Option<String>,
    pub(super) confirmation_url: Option<String>,
    pub(super) expires_at: Option<Moment>,
    pub(super) steps: Vec<Told>,
    pub(super) refunds: Vec<Refund>,
    pub(super) disputes: Vec<Dispute>,
}

/// Why it was not charged.
#[derive(Deserialize)]
pub(super) struct Failure {
    pub(super) code: Option<String>,
    pub(super) decline_code: Option<String>,
    pub(super) advice_code: Option<String>,
    pub(super) class: Option<String>,
    pub(super) message: Option<String>,
    pub(super) paused: bool,
}

#[derive(Deserialize)]
pub(super) struct Refund {
    pub(super) refund_key: String,
    pub(super) refund_id: Option<String>,
    pub(super) status: String,
    pub(super) cause: String,
    pub(super) reason: String,
    pub(super) requested_by: Option<String>,
    pub(super) amount: Amount,
    pub(super) total: Amount,
    pub(super) tries: i32,
    pub(super) last_error: Option<String>,
    pub(super) created_at: Moment,
    pub(super) ended_at: Option<Moment>,
}

#[derive(Deserialize)]
pub(super) struct Dispute {
    pub(super) dispute_id: String,
    pub(super) stage: String,
    pub(super) reason: String,
    pub(super) amount: Amount,
    pub(super) total: Amount,
    pub(super) opened_at: Moment,
    pub(super) closed_at: Option<Moment>,
}

/// A step, of whichever kind: what it has not is absent.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Told {
    pub(super) step: String,
    pub(super) at: Option<Moment>,
    pub(super) event_id: Option<String>,
    pub(super) source: Option<String>,
    pub(super) event_type: Option<String>,
    pub(super) occurred_at: Option<Moment>,
    pub(super) payload: Option<Value>,
    pub(super) decision: Option<String>,
    pub(super) reason: Option<String>,
    pub(super) message: Option<String>,
    pub(super) amount: Option<Amount>,
    pub(super) fee: Option<Amount>,
    pub(super) total_charge: Option<Amount>,
    pub(super) expires_at: Option<Moment>,
    pub(super) payment_intent_id: Option<String>,
    pub(super) charge_id: Option<String>,
    pub(super) processor_fee: Option<Amount>,
    pub(super) transaction_id: Option<String>,
    pub(super) kind: Option<String>,
    pub(super) description: Option<String>,
    pub(super) version: Option<i64>,
    pub(super) quota_after: Option<Amount>,
    pub(super) entries: Vec<Entry>,
    pub(super) ledger_version: Option<i64>,
    pub(super) backend: Option<String>,
    pub(super) previous_quota: Option<Amount>,
    pub(super) quota: Option<Amount>,
    pub(super) changed: bool,
    pub(super) litellm_team_id: Option<String>,
    pub(super) new_quota: Option<Amount>,
    pub(super) refund_key: Option<String>,
    pub(super) cause: Option<String>,
    pub(super) requested_by: Option<String>,
    pub(super) total: Option<Amount>,
    pub(super) refund_id: Option<String>,
    pub(super) status: Option<String>,
    pub(super) last_error: Option<String>,
    pub(super) dispute_id: Option<String>,
    pub(super) stage: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Entry {
    pub(super) account: String,
    pub(super) amount: Amount,
}

impl Record {
    pub(super) fn status(&self) -> &str {
        self.status.as_deref().unwrap_or_default()
    }

    /// What was, or is to be, charged.
    pub(super) fn total(&self) -> Amount {
        self.total_charge.unwrap_or(Amount(self.amount.0.saturating_add(self.fee.0)))
    }

    /// Whether there is a step of this kind.
    pub(super) fn had(&self, step: &str) -> bool {
        self.steps.iter().any(|told| told.step == step)
    }

    /// Whether money was taken.
    pub(super) fn is_captured(&self) -> bool {
        matches!(self.status(), "charged" | "credited" | "settled" | "refunding" | "refunded" | "returning")
    }

    /// Whether the ledger has it.
    pub(super) fn is_credited(&self) -> bool {
        let booked = |told: &Told| told.step == "booked" && told.kind.as_deref() == Some("charge");
        matches!(self.status(), "credited" | "settled") || self.had("credited") || self.steps.iter().any(booked)
    }

    /// Whether the quota has ever been in force.
    pub(super) fn was_in_force(&self) -> bool {
        self.status() == "settled" || self.settled_at.is_some()
    }

    /// The quota of it that was not given back, and what of the charge was not.
    pub(super) fn left(&self) -> (Amount, Amount) {
        let less = |all: Amount, part: Amount| Amount(all.0.saturating_sub(part.0).max(Decimal::ZERO));
        (less(self.amount, self.refunded_amount), less(self.total(), self.refunded_total))
    }

    /// Whether there is something that a person can give back.
    pub(super) fn is_refundable(&self) -> bool {
        let (quota, _) = self.left();
        matches!(self.status(), "charged" | "credited" | "settled")
            && !quota.is_zero()
            && self.trigger_event_id.is_some()
    }

    /// What the customer gets back with a part of the quota: its share of the charge, rounded down; with all that is left,
    /// everything.
    pub(super) fn share(&self, quota: Decimal) -> Amount {
        let (left, total_left) = self.left();
        if quota >= left.0 {
            return total_left;
        }
        // The last digit of a currency with three is always 0.
        let digits = self.currency.digits().min(2);
        let part = self.total().0.checked_mul(quota).and_then(|product| product.checked_div(self.amount.0));
        let part = part.map(|part| part.round_dp_with_strategy(digits, RoundingStrategy::ToZero));
        Amount(part.unwrap_or(total_left.0).min(total_left.0))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;

    pub(in super::super) fn record(more: &Value) -> Record {
        let mut record = json!({
            "recharge_id": Uuid::nil(), "c_organization_id": "acme", "amount": 200, "fee": 6.3, "total_charge": 206.3,
            "currency": "usd", "status": "settled", "triggered_by": "webhook", "trigger_event_id": "evt_1",
            "refunded_amount": 0, "refunded_total": 0, "steps": [], "refunds": [], "disputes": [],
        });
        record.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(record).unwrap()
    }

    /// As the recharger works it out.
    #[test]
    fn shares() {
        let amount = |text: &str| serde_json::from_str::<Amount>(text).unwrap();
        let share = |more: Value, quota: &str| record(&more).share(amount(quota).0);
        assert_eq!(share(json!({}), "200"), amount("206.3"));
        assert_eq!(share(json!({}), "100"), amount("103.15"));
        assert_eq!(share(json!({}), "33.33"), amount("34.37"));
        let part = json!({ "refunded_amount": 150, "refunded_total": 154.7 });
        assert_eq!((share(part.clone(), "50"), record(&part).left().0), (amount("51.6"), amount("50")));
        let yen = json!({ "currency": "jpy", "amount": 1000, "fee": 33, "total_charge": 1033 });
        assert_eq!(share(yen, "333"), amount("343"));
        let dinar = json!({ "currency": "kwd", "amount": 10, "fee": 0.35, "total_charge": 10.35 });
        assert_eq!(share(dinar, "3.33"), amount("3.44"));
        assert!(record(&json!({})).is_refundable());
        assert!(!record(&json!({ "status": "refunding" })).is_refundable());
    }
}
