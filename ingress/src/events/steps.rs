//! The steps of a recharge's chain: for every cent, what happened to it and why. Pure.

use common::clock::Timestamp;
use common::money::Currency;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Number, Value};
use uuid::Uuid;

use super::view::Failure;

/// One step.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(tag = "step", rename_all = "snake_case")]
#[schemars(rename = "Step")]
pub(crate) enum Step {
    /// What caused it came in.
    Received {
        at: Timestamp,
        event_id: String,
        /// Where it is from: litellm, stripe, api or sweep.
        source: String,
        /// What the sender calls it.
        event_type: String,
        /// When it happened, as its sender says.
        occurred_at: Option<Timestamp>,
        /// What the sender said.
        payload: Value,
    },
    /// The policy was asked.
    Decided {
        at: Timestamp,
        /// charge.
        decision: String,
        /// Why, as a stable word.
        reason: Option<String>,
        /// Why, as a sentence with its numbers.
        message: Option<String>,
    },
    /// The recharge was written down, before any money moved: from here on the organization has it in flight.
    Claimed {
        at: Timestamp,
        /// What caused it: webhook, sweep or manual.
        triggered_by: String,
        /// The quota that is to be bought.
        amount: Number,
        /// What is charged on top of it.
        fee: Number,
        /// What is to be charged.
        total_charge: Option<Number>,
        currency: Currency,
    },
    /// The bank wants the customer to confirm, and he has not yet.
    ActionRequired {
        /// When the recharge's record last changed.
        at: Timestamp,
        /// Until when he may.
        expires_at: Option<Timestamp>,
        failure: Option<Failure>,
    },
    /// Stripe captured the money.
    Charged {
        at: Timestamp,
        payment_intent_id: Option<String>,
        charge_id: Option<String>,
        /// What was charged.
        total_charge: Option<Number>,
        /// What Stripe keeps of it; null: not known.
        processor_fee: Option<Number>,
        currency: Currency,
    },
    /// The ledger booked something about it.
    Booked {
        at: Timestamp,
        transaction_id: Uuid,
        /// charge, void, refund, refund_failed, hold, release or dispute_lost.
        kind: String,
        /// A sentence.
        description: String,
        /// The ledger's version of the organization that it is.
        version: i64,
        /// By how much the organization's quota changed.
        amount: Number,
        /// The quota after it.
        quota_after: Number,
        currency: Currency,
        /// What was booked on each account. Their sum is zero.
        entries: Vec<Entry>,
    },
    /// The recharger knows that it is booked.
    Credited {
        at: Timestamp,
        /// In which version of the ledger.
        ledger_version: Option<i64>,
    },
    /// The quota backend enforces a quota that contains what was booked, or that was pushed because of it.
    Synced {
        at: Timestamp,
        /// kms or litellm.
        backend: String,
        /// The ledger's version that it is the quota of.
        ledger_version: i64,
        /// What was in force there before; null: nothing.
        previous_quota: Option<Number>,
        /// What is in force since.
        quota: Number,
        /// Whether the two differ.
        changed: bool,
        litellm_team_id: Option<String>,
    },
    /// The quota could not be brought into force in time, and was given up.
    SyncFailed {
        at: Timestamp,
        /// kms or litellm.
        backend: String,
        /// The ledger's version whose quota it is.
        ledger_version: i64,
        /// What should have been in force.
        quota: Number,
        /// What the backend said last.
        reason: String,
    },
    /// Done: charged, booked and in force.
    Settled {
        at: Timestamp,
        /// The quota that is in force.
        new_quota: Option<Number>,
    },
    /// Money is to go back.
    RefundRequested {
        at: Timestamp,
        refund_key: String,
        /// credit_overdue, sync_failed, requested, dashboard or payment_failed.
        cause: String,
        /// The same as a sentence.
        reason: String,
        /// Who asked for it; null: nobody had to.
        requested_by: Option<String>,
        /// The quota that goes with it.
        amount: Number,
        /// What the customer gets back.
        total: Number,
        currency: Currency,
    },
    /// A refund came to its end.
    RefundEnded {
        at: Timestamp,
        refund_key: String,
        /// Stripe's id of it.
        refund_id: Option<String>,
        /// succeeded or failed.
        status: String,
        /// What Stripe said last, if it was no.
        last_error: Option<String>,
    },
    /// The customer disputes it at the bank: its quota is held.
    Disputed {
        at: Timestamp,
        dispute_id: String,
        /// The bank's word for why.
        reason: String,
        /// The quota that is held.
        amount: Number,
        /// What of the charge it is about.
        total: Number,
        currency: Currency,
    },
    /// The bank decided.
    DisputeClosed {
        at: Timestamp,
        dispute_id: String,
        /// won or lost.
        stage: String,
    },
    /// The bank said no. Nothing was charged.
    Declined { at: Timestamp, failure: Option<Failure> },
    /// It is certain that nothing was charged.
    Failed { at: Timestamp, failure: Option<Failure> },
    /// All of the charge went back.
    Refunded {
        at: Timestamp,
        /// What made it necessary: credit_overdue, sync_failed, requested, dashboard or payment_failed.
        cause: Option<String>,
        /// The same as a sentence.
        reason: Option<String>,
        /// The quota that went with it.
        amount: Number,
        /// What the customer got back.
        total: Number,
        currency: Currency,
    },
    /// It ended in another way; the step is the recharge's status.
    #[serde(untagged)]
    Ended { step: String, at: Timestamp },
}

/// What was booked on one account.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "LedgerEntry")]
pub(crate) struct Entry {
    /// The kind of account: balance, stripe_clearing, fees_collected and so on.
    pub(super) account: String,
    /// Positive is what is owed to the organization or earned, negative is what is held or spent.
    pub(super) amount: Number,
}

impl Step {
    fn at(&self) -> Timestamp {
        match self {
            Self::Received { at, .. }
            | Self::Decided { at, .. }
            | Self::Claimed { at, .. }
            | Self::ActionRequired { at, .. }
            | Self::Charged { at, .. }
            | Self::Booked { at, .. }
            | Self::Credited { at, .. }
            | Self::Synced { at, .. }
            | Self::SyncFailed { at, .. }
            | Self::Settled { at, .. }
            | Self::RefundRequested { at, .. }
            | Self::RefundEnded { at, .. }
            | Self::Disputed { at, .. }
            | Self::DisputeClosed { at, .. }
            | Self::Declined { at, .. }
            | Self::Failed { at, .. }
            | Self::Refunded { at, .. }
            | Self::Ended { at, .. } => *at,
        }
    }

    /// How far along the chain it is, for steps of one moment.
    fn rank(&self) -> u8 {
        match self {
            Self::Received { .. } => 0,
            Self::Decided { .. } => 1,
            Self::Claimed { .. } => 2,
            Self::ActionRequired { .. } => 3,
            Self::Charged { .. } => 4,
            Self::RefundRequested { .. } | Self::Disputed { .. } => 5,
            Self::RefundEnded { .. } | Self::DisputeClosed { .. } => 6,
            Self::Booked { .. } => 7,
            Self::Credited { .. } => 8,
            Self::Synced { .. } | Self::SyncFailed { .. } => 9,
            Self::Settled { .. }
            | Self::Declined { .. }
            | Self::Failed { .. }
            | Self::Refunded { .. }
            | Self::Ended { .. } => 10,
        }
    }
}

/// The steps in the order of time; those of one moment in the order of the chain.
pub(super) fn in_order(mut steps: Vec<Step>) -> Vec<Step> {
    steps.sort_by_key(|step| (step.at(), step.rank()));
    steps
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn steps_are_told_in_the_order_of_time() {
        let at = |seconds| Timestamp::from_timestamp(seconds, 0).unwrap();
        let steps = in_order(vec![
            Step::Ended { step: "returning".to_owned(), at: at(9) },
            Step::Settled { at: at(5), new_quota: None },
            Step::Credited { at: at(5), ledger_version: Some(3) },
            Step::Declined { at: at(1), failure: None },
        ]);
        let steps = json!(steps);
        let names: Vec<_> = steps.as_array().unwrap().iter().map(|step| step["step"].as_str().unwrap()).collect();
        assert_eq!(names, ["declined", "credited", "settled", "returning"], "{steps}");
        assert_eq!(steps[1], json!({ "step": "credited", "at": at(5), "ledger_version": 3 }));
    }
}
