//! The patrol: looks at whatever is due, from the database, so that no deadline is lost with a process or a message. It
//! drives charges of which nobody has heard, payments that Stripe decides later, overdue steps, and refunds.
//!
//! What is due is taken with a lease: another replica, or this one after a crash, comes again when the lease has ended.
//! What a look moves keeps the lease until what it says is published, so that nothing stays unsaid.

use common::clock::Timestamp;
use common::contract::Outgoing;
use common::failure::Failure;
use common::ids::RechargeId;
use common::periodic::Publish;
use common::shutdown::Shutdown;
use common::telemetry::spans;
use futures_util::{StreamExt, stream};
use tracing::field::Empty;
use tracing::{Instrument as _, Span};

use crate::charge::{Certain, cancel, charge};
use crate::deadlines::next_look;
use crate::disputes::{self, Dispute};
use crate::handlers::Recharger;
use crate::record::{self, Record};
use crate::refunds::{self, Refund};
use crate::saga::{RefundStatus, State};

/// How much is taken at once.
const BATCH: i64 = 32;
/// How much is looked at at the same time.
const AT_ONCE: usize = 8;
/// Whoever patrols has waited: a charge of which nobody knows is looked for.
const LOOK: u32 = u32::MAX;

/// One look's lines of the log, and its place in the recharge's trace once that is read.
fn look_at(recharge_id: RechargeId) -> Span {
    tracing::info_span!("patrol.look", %recharge_id, trace_id = Empty, correlation_id = Empty)
}

impl Recharger {
    /// How long what is taken belongs to whoever took it.
    pub(crate) fn lease(&self) -> chrono::Duration {
        chrono::Duration::from_std(self.rules.lease).unwrap_or_default()
    }

    /// Until when what a hint moves must be said: a hint that is repeated may find that there is nothing to move any more, so
    /// that the patrol says it, unless it is sure that it was said.
    pub(crate) fn until_said(&self) -> Timestamp {
        self.clock.now() + self.lease()
    }

    /// One round: everything that is due when it begins. What comes due again meanwhile is for the next one, so that a round
    /// has an end, however badly Stripe does; and a shutdown ends it after what is taken.
    ///
    /// # Errors
    /// When the database can't be asked what is due. What goes wrong with one recharge is logged, and looked at again.
    pub async fn patrol(&self, publisher: &impl Publish, shutdown: &Shutdown) -> Result<(), Failure> {
        let began = self.clock.now();
        while !shutdown.is_given() {
            let lease = self.clock.now() + self.lease();
            let due = record::repo::take_due(&self.pool, began, lease, BATCH).await?;
            let refunds = refunds::repo::take_due(&self.pool, began, lease, BATCH).await?;
            let disputes = disputes::repo::take_due(&self.pool, began, lease, BATCH).await?;
            if due.is_empty() && refunds.is_empty() && disputes.is_empty() {
                break;
            }
            stream::iter(due)
                .for_each_concurrent(AT_ONCE, |id| self.look_after(publisher, id, lease).instrument(look_at(id)))
                .await;
            stream::iter(refunds)
                .for_each_concurrent(AT_ONCE, |refund| {
                    let span = look_at(refund.recharge_id);
                    spans::resume(&span, &refund.correlation_id);
                    self.look_after_refund(publisher, refund).instrument(span)
                })
                .await;
            stream::iter(disputes)
                .for_each(|dispute| {
                    let span = look_at(dispute.recharge_id);
                    self.say_dispute(publisher, dispute, lease).instrument(span)
                })
                .await;
        }
        for id in record::repo::stranded(&self.pool).await? {
            self.take_up(id).await?;
        }
        self.show_figures().await?;
        self.metrics.patrolled.set(self.clock.now().timestamp());
        Ok(())
    }

    async fn look_after(&self, publisher: &impl Publish, id: RechargeId, lease: Timestamp) {
        let looked = async {
            let Some(record) = self.read(id).await? else { return Ok(()) };
            spans::resume(&Span::current(), &record.correlation_id);
            let said = self.look_at(&record, lease).await;
            // Whatever came of it: what the recharge says now may not have been said yet.
            let moved = self.read(id).await?.unwrap_or(record);
            for event in said? {
                publisher.publish(&event).await?;
            }
            let next = next_look(moved.state, &moved.times, self.clock.now());
            Ok::<_, Failure>(record::repo::look_again(&self.pool, id, lease, next).await?)
        };
        if let Err(failure) = looked.await {
            self.metrics.patrols.with_label_values(&["recharge", "failed"]).inc();
            tracing::warn!(recharge_id = %id, "the patrol could not finish recharge {id} and comes again: {failure:#}");
            self.come_again(id, lease).await;
        } else {
            self.metrics.patrols.with_label_values(&["recharge", "ok"]).inc();
        }
    }

    /// What could not be finished is looked at as if nothing had come of it; what was moved meanwhile keeps the lease, and
    /// is said after it.
    async fn come_again(&self, id: RechargeId, lease: Timestamp) {
        let again = async {
            if let Some(record) = self.read(id).await?
                && record.state.is_open_at_stripe()
            {
                let next = next_look(record.state, &record.times, self.clock.now());
                record::repo::look_again(&self.pool, id, lease, next).await?;
            }
            Ok::<_, Failure>(())
        };
        if let Err(failure) = again.await {
            tracing::debug!(recharge_id = %id, "the lease ends by itself: {failure:#}");
        }
    }

    /// Asks for the charge of a recharge of which nobody has heard, or looks for it where it may be older than its record.
    pub(crate) async fn charge_again(&self, record: &Record, now: Timestamp) -> Result<Certain, Failure> {
        // A payment that is known is read, whenever its trigger was.
        let received = if record.payment_intent_id.is_none() {
            let mut connection = self.pool.acquire().await?;
            record::repo::began(&mut connection, record.recharge_id).await?.0
        } else {
            None
        };
        charge(&self.stripe, record, received.unwrap_or(record.created_at), LOOK, now).await
    }

    async fn look_at(&self, record: &Record, lease: Timestamp) -> Result<Vec<Outgoing>, Failure> {
        let now = self.clock.now();
        match record.state {
            State::ActionRequired if record.times.confirm_by.is_none_or(|until| until <= now) => {
                let certain = cancel(&self.stripe, record).await?;
                self.record_outcome(record, certain, Some(lease)).await
            }
            State::Pending | State::Processing | State::ActionRequired => {
                let certain = self.charge_again(record, now).await?;
                self.record_outcome(record, certain, Some(lease)).await
            }
            State::Charged if record.times.credit_by.is_some_and(|until| until <= now) => self.overdue(record).await,
            State::Credited if record.times.sync_by.is_some_and(|until| until <= now) => self.overdue(record).await,
            // It was moved by an earlier look, or by a message: what it says is said again, and known by its id.
            _ => Ok(record.says(&self.rules.links)?.into_iter().collect()),
        }
    }

    async fn look_after_refund(&self, publisher: &impl Publish, refund: Refund) {
        let key = refund.refund_key.as_str();
        let lease = refund.next_at.unwrap_or_default();
        let looked = async {
            for event in self.drive_refund(&refund).await? {
                publisher.publish(&event).await?;
            }
            // A refund that ended is said now. One that goes on has its next look from the move itself.
            Ok::<_, Failure>(refunds::repo::look_no_more(&self.pool, key, lease).await?)
        };
        match looked.await {
            Ok(()) => self.metrics.patrols.with_label_values(&["refund", "ok"]).inc(),
            Err(failure) => {
                self.metrics.patrols.with_label_values(&["refund", "failed"]).inc();
                tracing::warn!(recharge_id = %refund.recharge_id, c_organization_id = %refund.organization, refund_key = key,
                    "refund {key} could not be finished and is looked at again: {failure:#}");
                self.refund_again(&refund, lease).await;
            }
        }
    }

    /// A refund of which nobody knows yet is looked at sooner than the lease ends; one that has moved keeps the lease.
    async fn refund_again(&self, refund: &Refund, lease: Timestamp) {
        if matches!(refund.status, RefundStatus::Requested | RefundStatus::Pending) {
            let next = self.rules.deadlines.refund_look(refund.tries, self.clock.now()).min(lease);
            let again = refunds::repo::look_again_if_open(&self.pool, &refund.refund_key, lease, next).await;
            if let Err(error) = again {
                tracing::debug!(%error, "the lease ends by itself");
            }
        }
    }

    async fn say_dispute(&self, publisher: &impl Publish, dispute: Dispute, lease: Timestamp) {
        let id = dispute.dispute_id.as_str();
        let said = async {
            let Some(record) = self.read(dispute.recharge_id).await? else { return Ok(()) };
            spans::resume(&Span::current(), &record.correlation_id);
            if record.is_in_the_books() {
                publisher.publish(&dispute.says(&record)?).await?;
            } else if !record.state.is_final() {
                // Said when there is something to hold: the lease ends, and it is looked at again.
                return Ok(());
            }
            Ok::<_, Failure>(disputes::repo::was_said(&self.pool, id, lease).await?)
        };
        if let Err(failure) = said.await {
            tracing::warn!(dispute_id = id, "dispute {id} could not be said again, and will be: {failure:#}");
        }
    }
}
