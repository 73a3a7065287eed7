//! Disputes: quota is held while the bank decides, and then released or gone. Pure.
//!
//! Events come in any order, and the opening may never come. Whoever decides without a hold writes the hold first, in the
//! same database transaction, and an opening that comes after a decision holds nothing. A decision ends what was held, to
//! the cent, whatever amount the event names: the books say what was held.

use common::contract::{DisputeStage, Event, PostingKind, RechargeDisputedV1};
use common::money::Money;

use super::{
    AccountKind, Charge, Decision, Posting, PostingError, RechargeBooks, negated, not_negative, positive, reference,
};

/// What `recharges.disputed` does.
///
/// # Errors
/// When the amounts contradict each other, or a decision one that was made before.
pub fn dispute(event: &Event<RechargeDisputedV1>, books: &RechargeBooks) -> Result<Decision, PostingError> {
    let data = &event.data;
    reference("dispute_id", &data.dispute_id)?;
    positive("total", data.total)?;
    not_negative("amount", data.amount, data.total.currency)?;
    let made = [DisputeStage::Won, DisputeStage::Lost].into_iter().find(|end| is_booked(books, event, *end));
    match (data.stage, made) {
        (DisputeStage::Opened, Some(end)) => return Ok(Decision::decided(&key(event, end))),
        (stage, Some(end)) if stage == end => return Ok(Decision::decided(&key(event, end))),
        (_, Some(end)) => {
            return Err(PostingError::DecidedOtherwise { dispute: data.dispute_id.clone(), booked: end.as_str() });
        }
        (_, None) => {}
    }
    let credited = match books.charge() {
        Charge::Unbooked => {
            return Ok(Decision::NotYet(format!(
                "dispute {} is about recharge {}, whose charge is not in the books yet",
                data.dispute_id, data.recharge_id
            )));
        }
        Charge::Credited(_) => true,
        // No quota ever came of it.
        Charge::Voided(_) => false,
    };
    let hold = Posting::hold(event)?.filter(|_| credited);
    match (data.stage, books.find(&key(event, DisputeStage::Opened)), hold) {
        (DisputeStage::Opened, Some(booked), Some(hold)) => Ok(Decision::again(booked, &hold)),
        (DisputeStage::Opened, Some(booked), None) => Ok(Decision::decided(&booked.business_key)),
        (DisputeStage::Opened, None, Some(hold)) => Ok(Decision::Post(vec![hold])),
        (DisputeStage::Opened, None, None) => {
            Ok(Decision::Nothing(format!("dispute {} is about no quota: nothing is held", data.dispute_id)))
        }
        (_, Some(booked), _) => {
            Ok(Decision::Post(vec![Posting::decision(event, booked.sum(AccountKind::DisputesHeld))?]))
        }
        (_, None, hold) => {
            let held = hold.as_ref().map_or(0, |_| data.amount.minor);
            Ok(Decision::Post(hold.into_iter().chain([Posting::decision(event, held)?]).collect()))
        }
    }
}

impl Posting {
    /// An opened dispute: the quota that goes with it is held. `None` when that is nothing.
    ///
    /// # Errors
    /// When the amounts are too large.
    pub fn hold(event: &Event<RechargeDisputedV1>) -> Result<Option<Self>, PostingError> {
        let RechargeDisputedV1 { recharge_id, dispute_id, amount, total, reason, .. } = &event.data;
        if amount.minor == 0 {
            return Ok(None);
        }
        let lines = vec![(AccountKind::Balance, negated(amount.minor)?), (AccountKind::DisputesHeld, amount.minor)];
        let description = format!("dispute {dispute_id} of {total}: quota {amount} is held; {reason}");
        let key = key(event, DisputeStage::Opened);
        Self::new(event, PostingKind::Hold, key, Some(*recharge_id), description, amount.currency, lines).map(Some)
    }

    /// A decided dispute, which ends a hold of `held` minor units. Won: it is released. Lost: it is gone, and what the
    /// bank took beyond it is a cost of ours; the quota stays as it is.
    fn decision(event: &Event<RechargeDisputedV1>, held: i64) -> Result<Self, PostingError> {
        let RechargeDisputedV1 { recharge_id, dispute_id, stage, total, reason, .. } = &event.data;
        let gone = (AccountKind::DisputesHeld, negated(held)?);
        let amount = Money::new(held, total.currency);
        let (kind, lines, description) = if *stage == DisputeStage::Lost {
            let beyond = held.checked_sub(total.minor).ok_or(PostingError::Range)?;
            let lines = vec![gone, (AccountKind::Refunds, beyond), (AccountKind::StripeClearing, total.minor)];
            let description = format!("dispute {dispute_id} of {total} was lost: quota {amount} is gone; {reason}");
            (PostingKind::DisputeLost, lines, description)
        } else {
            let lines = if held == 0 {
                // It shows the money that went and came, and keeps a late opening from holding anything.
                vec![(AccountKind::StripeClearing, total.minor), (AccountKind::StripeClearing, negated(total.minor)?)]
            } else {
                vec![gone, (AccountKind::Balance, held)]
            };
            let description = format!("dispute {dispute_id} of {total} was won: quota {amount} is released; {reason}");
            (PostingKind::Release, lines, description)
        };
        Self::new(event, kind, key(event, *stage), Some(*recharge_id), description, total.currency, lines)
    }
}

fn key(event: &Event<RechargeDisputedV1>, stage: DisputeStage) -> String {
    format!("dispute:{}:{}", event.data.dispute_id, stage.as_str())
}

fn is_booked(books: &RechargeBooks, event: &Event<RechargeDisputedV1>, stage: DisputeStage) -> bool {
    books.find(&key(event, stage)).is_some()
}
