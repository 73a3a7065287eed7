//! Reading a payment at Stripe again: whatever hinted at it, what Stripe has now is what counts.

use common::clients::stripe::{ChargeOutcome, FaultKind};
use common::contract::Outgoing;
use common::failure::Failure;

use super::Recharger;
use crate::charge::retry;
use crate::record::Record;
use crate::saga::State;

impl Recharger {
    /// Reads the payment, its refunds and its disputes, and moves what has to be moved.
    pub(crate) async fn recheck(&self, record: &Record) -> Result<Vec<Outgoing>, Failure> {
        let mut said = self.recheck_charge(record).await?;
        let now = self.read(record.recharge_id).await?.unwrap_or_else(|| record.clone());
        said.extend(self.match_refunds(&now).await?);
        said.extend(self.match_disputes(&now).await?);
        Ok(said)
    }

    /// Reads the payment alone.
    pub(super) async fn recheck_charge(&self, record: &Record) -> Result<Vec<Outgoing>, Failure> {
        match record.state {
            State::Pending | State::Processing | State::ActionRequired | State::Failed | State::Declined => {
                let has_intent = record.payment_intent_id.is_some();
                if !has_intent && !record.state.is_open_at_stripe() {
                    return self.look_for_late_charge(record).await;
                }
                let certain = self.charge_again(record, self.clock.now()).await?;
                self.record_outcome(record, certain, Some(self.until_said())).await
            }
            State::Charged | State::Credited | State::Settled | State::Refunding | State::Returning => {
                let Some(intent) = record.payment_intent_id.as_deref() else { return Ok(Vec::new()) };
                match self.stripe.read_charge(intent, record.total).await.map_err(retry)? {
                    ChargeOutcome::Fault(fault) if matches!(fault.kind, FaultKind::Declined { .. }) => {
                        self.payment_failed(record, &fault.message).await
                    }
                    // Whoever learnt of it first may not have come to say so.
                    ChargeOutcome::Succeeded(_) if record.state == State::Charged => {
                        Ok(record.says(&self.rules.links)?.into_iter().collect())
                    }
                    ChargeOutcome::Succeeded(_) | ChargeOutcome::Processing { .. } | ChargeOutcome::Fault(_) => {
                        Ok(Vec::new())
                    }
                }
            }
            // Who repeats hears the same again.
            State::Refunded => self.payment_failed_before(record).await,
        }
    }

    /// A recharge that ended without a payment: should there be one all the same, it goes back.
    async fn look_for_late_charge(&self, record: &Record) -> Result<Vec<Outgoing>, Failure> {
        match crate::charge::find(&self.stripe, record).await? {
            Some(certain) => self.record_outcome(record, certain, Some(self.until_said())).await,
            None => Ok(Vec::new()),
        }
    }
}
