//! Disputes: what Stripe has of them is written down, and the organization's automatic recharge pauses while one is open.

use common::clock::Timestamp;
use common::contract::{DisputeStage, Outgoing, RefundCause};
use common::failure::Failure;
use common::money::Money;
use sqlx::PgConnection;

use super::Recharger;
use crate::disputes::{Dispute, advance_dispute, repo as dispute_rows, stage_of};
use crate::record::{self, Record};
use crate::refunds::{Refund, Wish, quota_of, repo as refund_rows};
use crate::repo::{self, PausedFor};
use crate::saga::{Fact, RefundStatus, advance};

impl Recharger {
    /// Reads the disputes of a recharge, and says how each stands; again, when it is asked again.
    pub(crate) async fn match_disputes(&self, record: &Record) -> Result<Vec<Outgoing>, Failure> {
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
                dispute.next_at = Some(self.until_said());
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
            let given_back = next == DisputeStage::Lost && self.lost_on_the_way_back(&mut tx, &dispute, now).await?;
            tx.commit().await?;
            if given_back {
                for refund in self.open_refunds(record).await? {
                    self.shrink(&refund, &record.organization).await?;
                }
            }
            // What is not in the books can't be held there: the patrol says it when it is.
            if record.is_in_the_books() {
                said.push(dispute.says(record)?);
            }
        }
        Ok(said)
    }

    /// A dispute that is lost while the money is going back: the customer has it from the bank, and Stripe refuses to
    /// refund it. Where the ledger has the charge, the dispute's own booking takes the quota; where not, it is told as a
    /// refund, so that the charge can never be credited. Returns whether it counts as given back.
    async fn lost_on_the_way_back(
        &self,
        tx: &mut PgConnection,
        dispute: &Dispute,
        now: Timestamp,
    ) -> Result<bool, Failure> {
        let Some(mut record) = record::repo::record(tx, dispute.recharge_id).await? else { return Ok(false) };
        let (left_amount, left_total) = record.left();
        if !record.state.is_giving_back() || left_total.minor == 0 {
            return Ok(false);
        }
        let total = if dispute.total.minor < left_total.minor { dispute.total } else { left_total };
        let wish = Wish {
            refund_key: format!("dispute:{}", dispute.dispute_id),
            cause: RefundCause::PaymentFailed,
            reason: format!("dispute {} was lost", dispute.dispute_id),
            requested_by: None,
            correlation_id: record.correlation_id.clone(),
        };
        let amount = quota_of(&record, total, (left_amount, left_total));
        let mut refund = Refund::open(&record, wish, (amount, total), now);
        refund.status = RefundStatus::Succeeded;
        refund.stripe_refund_id = Some(refund.refund_key.clone());
        refund.ended_at = Some(now);
        refund.was_refunded = !record.is_in_the_books();
        refund.completes = total == left_total;
        refund.next_at = refund.was_refunded.then_some(now);
        if !refund_rows::open(tx, &refund, now).await? {
            return Ok(false);
        }
        record.refunded_amount = Money::new(record.refunded_amount.minor + amount.minor, amount.currency);
        record.refunded_total = Money::new(record.refunded_total.minor + total.minor, total.currency);
        if refund.completes {
            record.state = advance(record.state, Fact::MoneyBack).0;
            record.ended_at = Some(now);
            record.next_at = None;
        }
        record::repo::save(tx, &record, now).await?;
        Ok(true)
    }

    async fn open_refunds(&self, record: &Record) -> Result<Vec<String>, Failure> {
        let mut connection = self.pool.acquire().await?;
        let rows = refund_rows::of_recharge(&mut connection, record.recharge_id).await?;
        Ok(rows.into_iter().filter(|row| row.status == RefundStatus::Requested).map(|row| row.refund_key).collect())
    }
}
