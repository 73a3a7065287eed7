//! What went back of a recharge, and what is disputed of it, as their rows tell it.

use common::clock::Timestamp;
use common::ids::{EventId, RechargeId};
use common::money::{Currency, Money};
use rust_decimal::Decimal;
use sqlx::FromRow;
use uuid::Uuid;

use super::steps::Step;
use super::view::{DisputeView, RefundStatus, RefundView};
use crate::outcome::{Outcome, refund_answer};

/// A row of `refunds`.
#[derive(Debug, Clone, FromRow)]
pub(crate) struct Refund {
    refund_key: String,
    recharge_id: Uuid,
    c_organization_id: String,
    cause: String,
    reason: String,
    requested_by: Option<String>,
    currency: String,
    amount: Decimal,
    total: Decimal,
    status: String,
    stripe_refund_id: Option<String>,
    tries: i32,
    last_error: Option<String>,
    was_refunded: bool,
    created_at: Timestamp,
    ended_at: Option<Timestamp>,
}

impl Refund {
    fn money(&self, amount: Decimal) -> Money {
        money(amount, &self.currency)
    }

    /// The refund as its recharge shows it.
    pub(crate) fn view(&self) -> RefundView {
        RefundView {
            refund_key: self.refund_key.clone(),
            refund_id: self.stripe_refund_id.clone(),
            status: self.status.clone(),
            cause: self.cause.clone(),
            reason: self.reason.clone(),
            requested_by: self.requested_by.clone(),
            amount: self.money(self.amount).to_number(),
            total: self.money(self.total).to_number(),
            currency: self.currency.clone(),
            tries: self.tries,
            last_error: self.last_error.clone(),
            created_at: self.created_at,
            ended_at: self.ended_at,
        }
    }

    /// Its steps in the recharge's chain.
    pub(crate) fn steps(&self) -> impl Iterator<Item = Step> {
        let begun = Step::RefundRequested {
            at: self.created_at,
            refund_key: self.refund_key.clone(),
            cause: self.cause.clone(),
            reason: self.reason.clone(),
            requested_by: self.requested_by.clone(),
            amount: self.money(self.amount).to_number(),
            total: self.money(self.total).to_number(),
            currency: self.money(self.total).currency,
        };
        let ended = self.ended_at.map(|at| Step::RefundEnded {
            at,
            refund_key: self.refund_key.clone(),
            refund_id: self.stripe_refund_id.clone(),
            status: self.status.clone(),
            last_error: self.last_error.clone(),
        });
        [Some(begun), ended].into_iter().flatten()
    }

    /// How it ended, if it has.
    pub(crate) fn outcome(&self) -> Option<Outcome> {
        let recharge_id = RechargeId(self.recharge_id);
        match self.status.as_str() {
            "succeeded" => Some(Outcome::Refunded {
                recharge_id,
                amount: self.money(self.amount),
                total: self.money(self.total),
                refund_id: self.stripe_refund_id.clone(),
                reason: self.reason.clone(),
            }),
            // Said at once, whether or not the bank is done: the quota is taken back.
            "pending" if self.was_refunded => Some(Outcome::Refunded {
                recharge_id,
                amount: self.money(self.amount),
                total: self.money(self.total),
                refund_id: self.stripe_refund_id.clone(),
                reason: self.reason.clone(),
            }),
            "failed" => Some(Outcome::RefundFailed {
                recharge_id,
                total: self.money(self.total),
                reason: self.last_error.clone().unwrap_or_else(|| "refused".to_owned()),
                attempts: u32::try_from(self.tries).unwrap_or_default(),
            }),
            _ => None,
        }
    }

    /// The status URL's answer for the request that asked for it.
    pub(crate) fn status(&self, id: &EventId) -> RefundStatus {
        let state = match (self.status.as_str(), self.was_refunded) {
            ("succeeded", _) | ("pending", true) => "refunded",
            ("failed", _) => "refund_failed",
            _ => "refunding",
        };
        RefundStatus {
            event_id: id.clone(),
            state,
            c_organization_id: self.c_organization_id.clone(),
            recharge_id: self.recharge_id,
            refund: self.view(),
            // A refund that has a row is nobody's conflict.
            outcome: self.outcome().and_then(|outcome| refund_answer(id, &outcome).ok()),
        }
    }
}

/// A row of `disputes`.
#[derive(Debug, Clone, FromRow)]
pub(crate) struct Dispute {
    dispute_id: String,
    currency: String,
    amount: Decimal,
    total: Decimal,
    stage: String,
    reason: String,
    opened_at: Timestamp,
    closed_at: Option<Timestamp>,
}

impl Dispute {
    /// The dispute as its recharge shows it.
    pub(crate) fn view(&self) -> DisputeView {
        DisputeView {
            dispute_id: self.dispute_id.clone(),
            stage: self.stage.clone(),
            reason: self.reason.clone(),
            amount: money(self.amount, &self.currency).to_number(),
            total: money(self.total, &self.currency).to_number(),
            currency: self.currency.clone(),
            opened_at: self.opened_at,
            closed_at: self.closed_at,
        }
    }

    /// Its steps in the recharge's chain.
    pub(crate) fn steps(&self) -> impl Iterator<Item = Step> {
        let total = money(self.total, &self.currency);
        let opened = Step::Disputed {
            at: self.opened_at,
            dispute_id: self.dispute_id.clone(),
            reason: self.reason.clone(),
            amount: money(self.amount, &self.currency).to_number(),
            total: total.to_number(),
            currency: total.currency,
        };
        let (dispute_id, stage) = (self.dispute_id.clone(), self.stage.clone());
        let closed = self.closed_at.map(|at| Step::DisputeClosed { at, dispute_id, stage });
        [Some(opened), closed].into_iter().flatten()
    }
}

fn money(amount: Decimal, currency: &str) -> Money {
    let currency = currency.parse().unwrap_or(Currency::USD);
    Money::covering(amount, currency).unwrap_or(Money::zero(currency))
}
