//! A captured charge. Pure.

use common::contract::{Event, PostingKind, RechargeChargedV1};

use super::{
    AccountKind, Charge, Decision, Posting, PostingError, RechargeBooks, charge_key, negated, not_negative, positive,
    processor_cost, same_currency,
};

/// What `recharges.charged` does: the charge is credited, but only before `credit_by`; from then on the recharger gives
/// it back, and quota that came later would be free.
///
/// # Errors
/// When the amounts contradict each other.
pub fn charge(event: &Event<RechargeChargedV1>, books: &RechargeBooks) -> Result<Decision, PostingError> {
    let posting = Posting::charge(event)?;
    Ok(match (books.charge(), event.data.credit_by) {
        (Charge::Credited(booked), _) => Decision::again(booked, &posting),
        (Charge::Voided(booked), _) => Decision::decided(&booked.business_key),
        (Charge::Unbooked, Some(credit_by)) if books.now >= credit_by => Decision::TooLate(format!(
            "{} came at {}, but could be credited only before {credit_by}: it will be refunded",
            posting.description, books.now
        )),
        (Charge::Unbooked, _) => Decision::Post(vec![posting]),
    })
}

impl Posting {
    /// A captured charge: the quota is credited, the processor holds what was paid.
    ///
    /// # Errors
    /// When the amounts contradict each other.
    pub fn charge(event: &Event<RechargeChargedV1>) -> Result<Self, PostingError> {
        let RechargeChargedV1 { recharge_id, amount, fee, total_charge: total, processor_fee, .. } = event.data;
        positive("amount", amount)?;
        not_negative("fee", fee, amount.currency)?;
        same_currency("total_charge", total, amount.currency)?;
        if amount.checked_add(fee) != Some(total) {
            return Err(PostingError::Total { total, amount, fee });
        }
        let mut lines = vec![
            (AccountKind::Balance, amount.minor),
            (AccountKind::FeesCollected, fee.minor),
            (AccountKind::StripeClearing, negated(total.minor)?),
        ];
        let mut description =
            format!("charge of {total}: quota {amount}, fee {fee}, payment intent {}", event.data.payment_intent_id);
        processor_cost(processor_fee, amount.currency, &mut lines, &mut description)?;
        let key = charge_key(recharge_id);
        Self::new(event, PostingKind::Charge, key, Some(recharge_id), description, amount.currency, lines)
    }
}
