//! One refund of a recharge, and the events that it says. What moves it stands in `saga.rs`.

pub(crate) mod drive;
pub(crate) mod repo;

use common::clients::stripe::RefundOrder;
use common::clock::Timestamp;
use common::contract::{Event, Outgoing, Payload, RechargeRefundFailedV1, RechargeRefundedV1, RefundCause};
use common::failure::Failure;
use common::ids::{EventId, OrganizationId, RechargeId};
use common::money::Money;

use crate::record::Record;
use crate::saga::RefundStatus;

/// One refund, as the table holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refund {
    /// Derives from what asked for it.
    pub refund_key: String,
    /// The recharge.
    pub recharge_id: RechargeId,
    /// Whose it is.
    pub organization: OrganizationId,
    /// What started the chain.
    pub correlation_id: EventId,
    /// Why, as a word.
    pub cause: RefundCause,
    /// Why, as a sentence.
    pub reason: String,
    /// The person who asked, if one did.
    pub requested_by: Option<String>,
    /// The quota that goes with it.
    pub amount: Money,
    /// What the customer gets back.
    pub total: Money,
    /// Where it is.
    pub status: RefundStatus,
    /// Stripe's refund.
    pub stripe_refund_id: Option<String>,
    /// How often Stripe definitely refused it.
    pub refusals: u32,
    /// How often Stripe was asked.
    pub tries: u32,
    /// What Stripe said last.
    pub last_error: Option<String>,
    /// Whether it was told as done.
    pub was_refunded: bool,
    /// Whether the recharge was credited then, as far as was known.
    pub was_credited: bool,
    /// Whether nothing of the charge was left with us after it.
    pub completes: bool,
    /// When somebody must look at it next.
    pub next_at: Option<Timestamp>,
    /// When it was opened.
    pub created_at: Timestamp,
    /// When it ended; the first time, if it ended twice.
    pub ended_at: Option<Timestamp>,
}

/// What asks for a refund.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// What it derives from.
    pub refund_key: String,
    /// Why, as a word.
    pub cause: RefundCause,
    /// Why, as a sentence.
    pub reason: String,
    /// The person who asked, if one did.
    pub requested_by: Option<String>,
    /// The event that started the chain.
    pub correlation_id: EventId,
}

impl Refund {
    /// A refund to be asked for.
    #[must_use]
    pub fn open(record: &Record, wish: Wish, (amount, total): (Money, Money), now: Timestamp) -> Self {
        Self {
            refund_key: wish.refund_key,
            recharge_id: record.recharge_id,
            organization: record.organization.clone(),
            correlation_id: wish.correlation_id,
            cause: wish.cause,
            reason: wish.reason,
            requested_by: wish.requested_by,
            amount,
            total,
            status: RefundStatus::Requested,
            stripe_refund_id: None,
            refusals: 0,
            tries: 0,
            last_error: None,
            was_refunded: false,
            was_credited: record.ledger_version.is_some(),
            completes: false,
            next_at: Some(now),
            created_at: now,
            ended_at: None,
        }
    }

    /// The one that replaces a refund that the bank sent back.
    #[must_use]
    pub fn replacement(&self, next_at: Timestamp, now: Timestamp) -> Self {
        let (base, number) = match self.refund_key.rsplit_once('~') {
            Some((base, number)) => (base, number.parse::<u32>().unwrap_or(1)),
            None => (self.refund_key.as_str(), 1),
        };
        Self {
            refund_key: format!("{base}~{}", number + 1),
            status: RefundStatus::Requested,
            stripe_refund_id: None,
            refusals: 0,
            tries: 0,
            last_error: None,
            was_refunded: false,
            completes: false,
            next_at: Some(next_at),
            created_at: now,
            ended_at: None,
            ..self.clone()
        }
    }

    /// What Stripe is asked for. A definite refusal is repeated for ever under its key, so the next try has another;
    /// while nobody knows what became of a try, the key stays.
    #[must_use]
    pub fn order(&self, payment_intent_id: &str) -> RefundOrder {
        RefundOrder {
            refund_key: self.refund_key.clone(),
            idempotency_key: format!("refund-{}-{}", self.refund_key, self.refusals),
            recharge_id: self.recharge_id,
            organization: self.organization.clone(),
            payment_intent_id: payment_intent_id.to_owned(),
            amount: self.total,
        }
    }

    /// Whether it is ours to carry out: not made, and not failed, at Stripe by somebody else.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        matches!(self.cause, RefundCause::CreditOverdue | RefundCause::SyncFailed | RefundCause::Requested)
    }

    fn event<T: Payload>(&self, cause: &str, time: Timestamp, data: T) -> Result<Outgoing, Failure> {
        Event::following(&cause, &self.organization, time, &self.correlation_id, data).outgoing()
    }

    /// What a refund that was made says: `recharges.refunded`; and before it `recharges.charged`, as long as the charge is not
    /// in the books. It may have been undone before anybody came to say that it was made, and whoever hears of the refund
    /// shall have heard of the charge.
    ///
    /// # Errors
    /// [`Failure::Malformed`] when a row lacks what its event needs.
    pub fn tells(&self, record: &Record) -> Result<Vec<Outgoing>, Failure> {
        let unheard = !record.is_in_the_books() && record.charged_at.is_some();
        let charged = unheard.then(|| record.charged()).transpose()?;
        Ok(charged.into_iter().chain([self.refunded(record)?]).collect())
    }

    /// `recharges.refunded`, from what is stored.
    ///
    /// # Errors
    /// [`Failure::Malformed`] when the row lacks what the event needs.
    fn refunded(&self, record: &Record) -> Result<Outgoing, Failure> {
        let refund_id = self.stripe_refund_id.clone().ok_or_else(|| {
            Failure::malformed(anyhow::anyhow!("refund {} has succeeded but has no id of Stripe's", self.refund_key))
        })?;
        let data = RechargeRefundedV1 {
            recharge_id: self.recharge_id,
            refund_id: refund_id.clone(),
            amount: self.amount,
            total_refunded: self.total,
            was_credited: self.was_credited,
            reason: self.reason.clone(),
            cause: Some(self.cause),
            charge_fully_refunded: self.completes,
            total_charge: Some(record.total),
            processor_fee: record.processor_fee,
        };
        self.event(&refund_id, self.ended_at.unwrap_or(self.created_at), data)
    }

    /// `recharges.refund_failed`, from what is stored.
    ///
    /// # Errors
    /// [`Failure::Malformed`] when it can't be written.
    pub fn failed(&self, now: Timestamp) -> Result<Outgoing, Failure> {
        let data = RechargeRefundFailedV1 {
            recharge_id: self.recharge_id,
            total: self.total,
            reason: self.last_error.clone().unwrap_or_default(),
            attempts: self.refusals.max(1),
            refund_id: self.stripe_refund_id.clone(),
            amount: Some(self.amount),
            was_refunded: self.was_refunded,
        };
        let cause = match self.status {
            RefundStatus::Failed => format!("{}:returned", self.refund_key),
            _ => format!("{}:{}", self.refund_key, self.refusals),
        };
        self.event(&cause, now, data)
    }
}

/// The key of the refund that undoes a recharge; what replaces it has `~2` and so on after it.
#[must_use]
pub fn undo_key(recharge: RechargeId) -> String {
    format!("undo:{recharge}")
}

/// What the customer gets back for a part of the quota, with its part of the fee; everything for the whole. Both may have
/// been given back in part before.
#[must_use]
pub fn share(record: &Record, quota: Money, (left_amount, left_total): (Money, Money)) -> Money {
    if quota.minor >= left_amount.minor {
        return left_total;
    }
    let part = i128::from(record.total.minor) * i128::from(quota.minor) / i128::from(record.amount.minor.max(1));
    let step = i128::from(record.total.currency.step());
    let part = i64::try_from(part / step * step).unwrap_or(left_total.minor);
    Money::new(part.min(left_total.minor), record.total.currency)
}

/// The quota that goes with a part of the charge that somebody else gave back, or that is disputed.
#[must_use]
pub fn quota_of(record: &Record, total: Money, (left_amount, left_total): (Money, Money)) -> Money {
    if total.minor >= left_total.minor {
        return left_amount;
    }
    let (whole, charge) = (i128::from(record.amount.minor), i128::from(record.total.minor.max(1)));
    let step = i128::from(record.amount.currency.step());
    let part = (i128::from(total.minor) * whole + charge / 2) / charge / step * step;
    Money::new(i64::try_from(part).unwrap_or(left_amount.minor).min(left_amount.minor), record.amount.currency)
}

#[cfg(test)]
#[path = "../refunds_tests.rs"]
mod tests;
