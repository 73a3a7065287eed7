//! One dispute about a recharge, and the event that each of its stages says.

pub(crate) mod repo;

use common::clients::stripe::{DisputeSeen, DisputeStatus};
use common::clock::Timestamp;
use common::contract::{DisputeStage, Event, Outgoing, RechargeDisputedV1};
use common::failure::Failure;
use common::ids::{OrganizationId, RechargeId};
use common::money::Money;

use crate::record::Record;
use crate::refunds::quota_of;

/// One dispute, as the table holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dispute {
    /// Stripe's dispute.
    pub dispute_id: String,
    /// The recharge.
    pub recharge_id: RechargeId,
    /// Whose it is.
    pub organization: OrganizationId,
    /// The quota that goes with it.
    pub amount: Money,
    /// What is disputed.
    pub total: Money,
    /// How it stands.
    pub stage: DisputeStage,
    /// The bank's reason.
    pub reason: String,
    /// When we heard of it.
    pub opened_at: Timestamp,
    /// When it was decided.
    pub closed_at: Option<Timestamp>,
    /// When what it says is said again, if nobody is sure that it was.
    pub next_at: Option<Timestamp>,
}

/// The stage that a dispute at Stripe is in; none while no money has moved.
#[must_use]
pub fn stage_of(status: DisputeStatus) -> Option<DisputeStage> {
    match status {
        DisputeStatus::Inquiry => None,
        DisputeStatus::Open => Some(DisputeStage::Opened),
        DisputeStatus::Won => Some(DisputeStage::Won),
        DisputeStatus::Lost => Some(DisputeStage::Lost),
    }
}

/// Where a dispute is after Stripe was read. What was decided stays decided, whatever comes late.
#[must_use]
pub fn advance_dispute(stage: Option<DisputeStage>, seen: DisputeStage) -> DisputeStage {
    match stage {
        Some(decided @ (DisputeStage::Won | DisputeStage::Lost)) => decided,
        Some(DisputeStage::Opened) | None => seen,
    }
}

impl Dispute {
    /// A dispute that is seen for the first time.
    #[must_use]
    pub fn new(record: &Record, seen: &DisputeSeen, stage: DisputeStage, now: Timestamp) -> Self {
        Self {
            dispute_id: seen.dispute_id.clone(),
            recharge_id: record.recharge_id,
            organization: record.organization.clone(),
            amount: quota_of(record, seen.amount, record.left()),
            total: seen.amount,
            stage,
            reason: seen.reason.clone(),
            opened_at: now,
            closed_at: (stage != DisputeStage::Opened).then_some(now),
            next_at: None,
        }
    }

    /// `recharges.disputed`, from what is stored.
    ///
    /// # Errors
    /// [`Failure::Malformed`] when it can't be written.
    pub fn says(&self, record: &Record) -> Result<Outgoing, Failure> {
        let data = RechargeDisputedV1 {
            recharge_id: self.recharge_id,
            dispute_id: self.dispute_id.clone(),
            stage: self.stage,
            amount: self.amount,
            total: self.total,
            reason: self.reason.clone(),
        };
        let cause = format!("{}:{}", self.dispute_id, self.stage.as_str());
        let time = self.closed_at.unwrap_or(self.opened_at);
        Event::following(&cause, &self.organization, time, &record.correlation_id, data).outgoing()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_decided_stays_decided() {
        use DisputeStage::{Lost, Opened, Won};
        for (stage, seen, want) in [
            (None, Opened, Opened),
            (None, Lost, Lost),
            (Some(Opened), Opened, Opened),
            (Some(Opened), Won, Won),
            (Some(Won), Opened, Won),
            (Some(Lost), Opened, Lost),
        ] {
            assert_eq!(advance_dispute(stage, seen), want, "{stage:?} {seen:?}");
        }
    }
}
