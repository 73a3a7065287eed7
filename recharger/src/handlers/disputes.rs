//! Disputes: what Stripe has of them is written down, and the organization's automatic recharge pauses while one is open.

use common::contract::{DisputeStage, Outgoing};
use common::failure::Failure;

use super::Recharger;
use crate::disputes::{Dispute, advance_dispute, repo as dispute_rows, stage_of};
use crate::record::Record;
use crate::repo::{self, PausedFor};

impl Recharger {
    /// Reads the disputes of a recharge, and says how each stands; again, when it is asked again.
    pub(super) async fn match_disputes(&self, record: &Record) -> Result<Vec<Outgoing>, Failure> {
        let Some(payment_intent_id) = record.payment_intent_id.as_deref() else { return Ok(Vec::new()) };
        let seen = self.stripe.list_disputes(payment_intent_id).await.map_err(crate::charge::retry)?;
        let mut said = Vec::new();
        for seen in seen.into_iter().rev() {
            let Some(stage) = stage_of(seen.status) else { continue };
            if seen.amount.currency != record.total.currency {
                tracing::error!(recharge_id = %record.recharge_id, dispute_id = seen.dispute_id,
                    "a dispute of {} of a charge in {}: a person must look at it", seen.amount, record.total.currency);
                continue;
            }
            let mut tx = self.pool.begin().await?;
            repo::lock(&mut tx, &record.organization).await?;
            let now = self.clock.now();
            let before = dispute_rows::find(&mut tx, &seen.dispute_id).await?;
            let next = advance_dispute(before.as_ref().map(|dispute| dispute.stage), stage);
            let mut dispute = before.clone().unwrap_or_else(|| Dispute::new(record, &seen, next, now));
            if before.as_ref().map(|dispute| dispute.stage) != Some(next) {
                dispute.stage = next;
                dispute.closed_at = (next != DisputeStage::Opened).then_some(now);
                dispute_rows::save(&mut tx, &dispute).await?;
                let id = PausedFor::Dispute(&dispute.dispute_id);
                match next {
                    DisputeStage::Won => {
                        repo::lift_pause(&mut tx, &record.organization, id, now).await?;
                    }
                    DisputeStage::Opened | DisputeStage::Lost => {
                        let reason =
                            format!("dispute {} ({}) is {}", dispute.dispute_id, dispute.reason, next.as_str());
                        repo::pause(&mut tx, &record.organization, &reason, id, now).await?;
                    }
                }
                tracing::warn!(recharge_id = %record.recharge_id, c_organization_id = %record.organization,
                    dispute_id = dispute.dispute_id, "dispute {} of {} of recharge {} is {}", dispute.dispute_id,
                    dispute.total, record.recharge_id, next.as_str());
            }
            tx.commit().await?;
            said.push(dispute.says(record)?);
        }
        Ok(said)
    }
}
