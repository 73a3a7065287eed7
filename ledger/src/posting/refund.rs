//! Money that went back to the customer, and money that the bank sent back to us. Pure.
//!
//! A refund is booked once, under its own id, whatever became of the charge: of a credited charge it takes quota back; of
//! a voided one it settles what the void left owed to the customer. So every refund and every failure is one posting and
//! its inverse, and any order of them ends with the same books.

use common::contract::{Event, PostingKind, RechargeRefundFailedV1, RechargeRefundedV1};

use super::{
    AccountKind, Charge, Decision, Posting, PostingError, RechargeBooks, charge_key, negated, not_negative, positive,
    processor_cost, reference, same_currency,
};

/// What `recharges.refunded` does. A charge that was credited is taken back. One that was not, and of which nothing is
/// left with us, is voided: a delayed `recharges.charged` finds the void under its own key.
///
/// # Errors
/// When the amounts contradict each other.
pub fn refund(event: &Event<RechargeRefundedV1>, books: &RechargeBooks) -> Result<Decision, PostingError> {
    let data = &event.data;
    let posting = match books.charge() {
        Charge::Credited(_) => Posting::refund(event)?,
        Charge::Voided(_) | Charge::Unbooked => Posting::refund_of_void(event)?,
    };
    if let Some(booked) = books.find(posting.business_key()) {
        return Ok(Decision::again(booked, &posting));
    }
    Ok(match books.charge() {
        Charge::Credited(_) | Charge::Voided(_) => Decision::Post(vec![posting]),
        Charge::Unbooked if data.charge_fully_refunded => Decision::Post(vec![Posting::void(event)?, posting]),
        Charge::Unbooked => Decision::NotYet(format!(
            "refund {} gives a part back of recharge {}, whose charge is not in the books yet",
            data.refund_id, data.recharge_id
        )),
    })
}

/// What `recharges.refund_failed` does: a refund that was told as done is taken back, line by line. One that was never
/// told is nothing to the books.
///
/// # Errors
/// When it does not say which refund.
pub fn refund_failed(event: &Event<RechargeRefundFailedV1>, books: &RechargeBooks) -> Result<Decision, PostingError> {
    let RechargeRefundFailedV1 { recharge_id, total, reason, refund_id, was_refunded, .. } = &event.data;
    if !was_refunded {
        return Ok(Decision::Nothing(format!("a refund of {total} did not work, and had not been booked: {reason}")));
    }
    let refund_id = refund_id.as_deref().ok_or(PostingError::Missing("refund_id"))?;
    reference("refund_id", refund_id)?;
    let key = format!("refund_failed:{refund_id}");
    if books.find(&key).is_some() {
        return Ok(Decision::decided(&key));
    }
    let Some(refund) = books.find(&refund_key(refund_id)) else {
        return Ok(Decision::NotYet(format!("refund {refund_id} came back, but is not in the books yet")));
    };
    let description = format!("refund {refund_id} of {total} came back from the bank: {reason}");
    let lines = refund.entries.iter().map(|line| negated(line.amount).map(|amount| (line.account, amount)));
    let lines = lines.collect::<Result<Vec<_>, _>>()?;
    let kind = PostingKind::RefundFailed;
    let posting = Posting::new(event, kind, key, Some(*recharge_id), description, total.currency, lines)?;
    Ok(Decision::Post(vec![posting]))
}

impl Posting {
    /// A refund of a charge that was credited: the quota is taken back, and what the customer got beyond it, a returned
    /// fee, is a cost of ours.
    ///
    /// # Errors
    /// When the amounts contradict each other.
    pub fn refund(event: &Event<RechargeRefundedV1>) -> Result<Self, PostingError> {
        checked(event)?;
        let RechargeRefundedV1 { recharge_id, refund_id, amount, total_refunded: total, reason, .. } = &event.data;
        let beyond = amount.minor.checked_sub(total.minor).ok_or(PostingError::Range)?;
        let lines = vec![
            (AccountKind::Balance, negated(amount.minor)?),
            (AccountKind::Refunds, beyond),
            (AccountKind::StripeClearing, total.minor),
        ];
        let description = format!("refund {refund_id} of {total}, quota {amount}: {reason}");
        let (kind, key) = (PostingKind::Refund, refund_key(refund_id));
        Self::new(event, kind, key, Some(*recharge_id), description, amount.currency, lines)
    }

    /// A refund of a charge that was voided: the customer has what was owed; the quota knows nothing of it.
    ///
    /// # Errors
    /// When the amounts contradict each other.
    pub fn refund_of_void(event: &Event<RechargeRefundedV1>) -> Result<Self, PostingError> {
        checked(event)?;
        let RechargeRefundedV1 { recharge_id, refund_id, total_refunded: total, reason, .. } = &event.data;
        let lines = vec![(AccountKind::Refunds, negated(total.minor)?), (AccountKind::StripeClearing, total.minor)];
        let description = format!("refund {refund_id} of {total}, which was never credited: {reason}");
        let (kind, key) = (PostingKind::Refund, refund_key(refund_id));
        Self::new(event, kind, key, Some(*recharge_id), description, total.currency, lines)
    }

    /// A charge that is never credited, because nothing of it is left with us: it stands under the charge's own key. The
    /// processor held what was captured, and all of it is owed to the customer until the refunds are booked.
    ///
    /// # Errors
    /// When the amounts contradict each other.
    pub fn void(event: &Event<RechargeRefundedV1>) -> Result<Self, PostingError> {
        checked(event)?;
        let RechargeRefundedV1 { recharge_id, total_refunded, total_charge, processor_fee, .. } = event.data;
        let total = total_charge.ok_or(PostingError::Missing("total_charge"))?;
        same_currency("total_charge", total, total_refunded.currency)?;
        if total.minor < total_refunded.minor {
            return Err(PostingError::Beyond { refunded: total_refunded, total });
        }
        let mut lines = vec![(AccountKind::StripeClearing, negated(total.minor)?), (AccountKind::Refunds, total.minor)];
        let mut description = format!("void: charge of {total} was given back before it was credited");
        processor_cost(processor_fee, total.currency, &mut lines, &mut description)?;
        let (kind, key) = (PostingKind::Void, charge_key(recharge_id));
        Self::new(event, kind, key, Some(recharge_id), description, total.currency, lines)
    }
}

/// The business key of a refund.
#[must_use]
pub fn refund_key(refund_id: &str) -> String {
    format!("refund:{refund_id}")
}

/// What is true of every refund. The quota that goes with it may be nothing: a fee alone, or a cent of it.
fn checked(event: &Event<RechargeRefundedV1>) -> Result<(), PostingError> {
    let RechargeRefundedV1 { refund_id, amount, total_refunded: total, .. } = &event.data;
    not_negative("amount", *amount, amount.currency)?;
    same_currency("total_refunded", *total, amount.currency)?;
    positive("total_refunded", *total)?;
    reference("refund_id", refund_id)
}
