//! Charges that the cardholder's bank takes back.

use stripe_client_core::StripeRequest;
use stripe_core::dispute::ListDispute;
use stripe_shared::Dispute;
use stripe_types::RangeQueryTs;

use super::intent::money;
use super::outcome::StripeFault;
use super::requests::Stripe;
use crate::clock::Timestamp;
use crate::money::Money;

/// How far a dispute is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DisputeStatus {
    /// The bank asks, or was content with an answer: no money moved.
    Inquiry,
    /// The money is with the bank until it decides.
    Open,
    /// The bank decided for us: the money is back.
    Won,
    /// The bank decided for the cardholder: the money is gone.
    Lost,
}

impl DisputeStatus {
    /// `withdrawn`: Stripe's balance shows a movement for it.
    fn of(status: &stripe_shared::DisputeStatus, withdrawn: bool) -> Self {
        use stripe_shared::DisputeStatus as Theirs;
        match status {
            Theirs::Won => Self::Won,
            Theirs::Lost => Self::Lost,
            Theirs::NeedsResponse | Theirs::UnderReview => Self::Open,
            // `prevented`: withdrawn by the bank before it took any money.
            Theirs::WarningNeedsResponse | Theirs::WarningUnderReview | Theirs::WarningClosed | Theirs::Prevented => {
                Self::Inquiry
            }
            // A status from after this was written (the library's enum is open): the money tells.
            _ if withdrawn => Self::Open,
            _ => Self::Inquiry,
        }
    }
}

/// A dispute as Stripe shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DisputeSeen {
    /// Stripe's dispute.
    pub dispute_id: String,
    /// The disputed charge.
    pub charge_id: Option<String>,
    /// Its payment intent.
    pub payment_intent_id: Option<String>,
    /// What is disputed: usually the whole charge. Stripe's own fee for it is not in here.
    pub amount: Money,
    /// How far it is.
    pub status: DisputeStatus,
    /// The cardholder's reason, such as `fraudulent`.
    pub reason: String,
}

impl Stripe {
    /// All disputes about a payment intent, newest first.
    ///
    /// # Errors
    /// What Stripe says; nothing is returned when a page is missing.
    pub async fn list_disputes(&self, payment_intent_id: &str) -> Result<Vec<DisputeSeen>, StripeFault> {
        let mut disputes = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let mut request = ListDispute::new().payment_intent(payment_intent_id).limit(100);
            if let Some(after) = after {
                request = request.starting_after(after);
            }
            let page = request.customize().send(&self.transport).await?;
            for dispute in &page.data {
                disputes.push(seen(dispute)?);
            }
            match page.data.last() {
                Some(last) if page.has_more => after = Some(last.id.to_string()),
                _ => return Ok(disputes),
            }
        }
    }

    /// One page of at most 100 of all disputes opened at `since` (to the second) or later, newest first, and where the next
    /// page starts: pass it as `after`. `None` when this was the last.
    ///
    /// # Errors
    /// What Stripe says.
    pub async fn list_disputes_since(
        &self,
        since: Timestamp,
        after: Option<&str>,
    ) -> Result<(Vec<DisputeSeen>, Option<String>), StripeFault> {
        let mut request = ListDispute::new().created(RangeQueryTs::gte(since.timestamp())).limit(100);
        if let Some(after) = after {
            request = request.starting_after(after);
        }
        let page = request.customize().send(&self.transport).await?;
        let next = page.data.last().filter(|_| page.has_more).map(|last| last.id.to_string());
        Ok((page.data.iter().map(seen).collect::<Result<_, _>>()?, next))
    }
}

fn seen(dispute: &Dispute) -> Result<DisputeSeen, StripeFault> {
    Ok(DisputeSeen {
        dispute_id: dispute.id.to_string(),
        charge_id: Some(dispute.charge.id().to_string()),
        payment_intent_id: dispute.payment_intent.as_ref().map(|intent| intent.id().to_string()),
        amount: money(&format!("dispute {}", dispute.id), dispute.amount, &dispute.currency)?,
        status: DisputeStatus::of(&dispute.status, !dispute.balance_transactions.is_empty()),
        reason: dispute.reason.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_says_where_the_money_is() {
        for (status, want) in [
            ("warning_needs_response", DisputeStatus::Inquiry),
            ("warning_under_review", DisputeStatus::Inquiry),
            ("warning_closed", DisputeStatus::Inquiry),
            ("prevented", DisputeStatus::Inquiry),
            ("needs_response", DisputeStatus::Open),
            ("under_review", DisputeStatus::Open),
            ("won", DisputeStatus::Won),
            ("lost", DisputeStatus::Lost),
        ] {
            let theirs: stripe_shared::DisputeStatus = status.parse().unwrap();
            assert_eq!(DisputeStatus::of(&theirs, true), want, "{status}");
        }
        let new: stripe_shared::DisputeStatus = "something_new".parse().unwrap();
        assert_eq!(DisputeStatus::of(&new, true), DisputeStatus::Open);
        assert_eq!(DisputeStatus::of(&new, false), DisputeStatus::Inquiry);
    }
}
