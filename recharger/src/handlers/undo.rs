//! The way back: what can't be done in time is undone, by a refund of what is left.

use common::clock::Timestamp;
use common::contract::{DeclineClass, Outgoing, RefundCause};
use common::failure::Failure;
use sqlx::PgConnection;

use super::Recharger;
use crate::config::OnSyncFailure;
use crate::record::{self, Decline, Record};
use crate::refunds::{self, Refund, Wish};
use crate::repo;
use crate::saga::{Command, Fact, State, advance};

impl Recharger {
    /// A recharge whose deadline has come: the ledger did not book it, or the quota is not in force.
    pub(crate) async fn overdue(&self, seen: &Record) -> Result<Vec<Outgoing>, Failure> {
        let mut tx = self.pool.begin().await?;
        repo::lock(&mut tx, &seen.organization).await?;
        let now = self.clock.now();
        let Some(record) = record::repo::record(&mut tx, seen.recharge_id).await? else { return Ok(Vec::new()) };
        let deadlines = &self.rules.deadlines;
        match record.state {
            State::Charged if record.times.credit_by.is_some_and(|until| until <= now) => {
                let reason = format!("the ledger did not book it within {:?}", deadlines.credit);
                self.give_back(&mut tx, record, Fact::CreditOverdue, RefundCause::CreditOverdue, reason, now).await?;
            }
            State::Credited if record.times.sync_by.is_some_and(|until| until <= now) => {
                let reason = format!("the quota was not in force within {:?}", deadlines.sync);
                match self.rules.on_sync_failure {
                    OnSyncFailure::Refund => self.sync_failed(&mut tx, record, reason, now).await?,
                    OnSyncFailure::Hold => self.hold(&record, &reason),
                }
            }
            // It moved on meanwhile.
            _ => {}
        }
        tx.commit().await?;
        Ok(Vec::new())
    }

    /// The quota can't be raised: the charge is undone.
    pub(super) async fn sync_failed(
        &self,
        tx: &mut PgConnection,
        record: Record,
        reason: String,
        now: Timestamp,
    ) -> Result<(), Failure> {
        self.give_back(tx, record, Fact::SyncFailed, RefundCause::SyncFailed, reason, now).await
    }

    /// The quota can't be raised, and an operator wants to decide: nothing is undone, and everybody can see it.
    pub(super) fn hold(&self, record: &Record, reason: &str) {
        self.metrics.outcomes.with_label_values(&["held", RefundCause::SyncFailed.as_str()]).inc();
        tracing::error!(recharge_id = %record.recharge_id, c_organization_id = %record.organization,
            correlation_id = %record.correlation_id, reason,
            "recharge {} of {} is held (ON_SYNC_FAILURE=hold): {reason}", record.recharge_id, record.total);
    }

    async fn give_back(
        &self,
        tx: &mut PgConnection,
        mut record: Record,
        fact: Fact,
        cause: RefundCause,
        reason: String,
        now: Timestamp,
    ) -> Result<(), Failure> {
        let (state, command) = advance(record.state, fact);
        if command != Some(Command::GiveBack) {
            return Ok(());
        }
        record.state = state;
        record.next_at = None;
        self.open_undo(tx, &mut record, cause, reason, now).await?;
        // What can't be finished is no reason to charge again at once: automatic recharge rests as after a decline.
        let failure = Decline::plain(cause.as_str(), DeclineClass::Soft, "");
        self.draw_consequence(tx, &record, &failure, now).await?;
        record::repo::save(tx, &record, now).await?;
        Ok(())
    }

    /// Opens the refund of everything that is left and not promised to another refund. The record is the caller's to save.
    pub(super) async fn open_undo(
        &self,
        tx: &mut PgConnection,
        record: &mut Record,
        cause: RefundCause,
        reason: String,
        now: Timestamp,
    ) -> Result<(), Failure> {
        let wish = Wish {
            refund_key: refunds::undo_key(record.recharge_id),
            cause,
            reason: reason.clone(),
            requested_by: None,
            correlation_id: record.correlation_id.clone(),
        };
        let left = refunds::repo::free(tx, record).await?;
        if left.1.minor > 0 {
            refunds::repo::open(tx, &Refund::open(record, wish, left, now), now).await?;
        }
        self.metrics.outcomes.with_label_values(&["undone", cause.as_str()]).inc();
        tracing::warn!(recharge_id = %record.recharge_id, c_organization_id = %record.organization,
            correlation_id = %record.correlation_id, payment_intent_id = record.payment_intent_id.as_deref().unwrap_or_default(),
            cause = cause.as_str(), "recharge {} of {} for {} is undone: {reason}", record.recharge_id, left.1, record.organization);
        record.undo = Some((cause, reason));
        Ok(())
    }
}
