//! Refunds: asked for by a person or by an undo, driven until Stripe has made them, and what Stripe says of them later.

use common::clients::stripe::RefundSeen;
use common::clock::Timestamp;
use common::contract::{Event, Outgoing, RechargeSkippedV1, RefundCause, RefundRequestedV1, SkipReason, TriggerKind};
use common::failure::Failure;
use common::ids::{OrganizationId, RechargeId};
use common::money::Money;
use sqlx::{PgConnection, Postgres, Transaction};

use super::Recharger;
use crate::config::OnSyncFailure;
use crate::record::{self, Record};
use crate::refunds::drive::{Heard, ask};
use crate::refunds::{Refund, Wish, quota_of, repo as refund_rows, share};
use crate::repo::{self, LoggedDecision, TriggerLog};
use crate::saga::{Fact, RefundCommand, RefundFact, RefundStatus, State, advance, advance_refund};

/// What became of a request.
enum Opened {
    /// This refund, from this or an earlier delivery.
    Refund(Box<Refund>),
    /// None, and why.
    Skipped(Box<Outgoing>),
}

impl Recharger {
    /// A person wants money given back.
    pub(super) async fn refund_requested(&self, event: Event<RefundRequestedV1>) -> Result<Vec<Outgoing>, Failure> {
        let refund = match self.open_requested(&event).await? {
            Opened::Skipped(skipped) => return Ok(vec![*skipped]),
            Opened::Refund(refund) => *refund,
        };
        if refund.status == RefundStatus::Succeeded {
            let mut connection = self.pool.acquire().await?;
            let record = self.record_of(&mut connection, &refund).await?;
            return Ok(vec![refund.refunded(&record)?]);
        }
        // From here on the database knows of it, and the patrol carries on where this try does not come to an end.
        let now = self.clock.now();
        let taken = refund_rows::take(&self.pool, &refund.refund_key, now, now + self.lease()).await?;
        let Some(taken) = taken else { return Ok(Vec::new()) };
        match self.drive_refund(&taken).await {
            Ok(said) => Ok(said),
            Err(Failure::Retry { reason, .. }) => {
                tracing::warn!(recharge_id = %refund.recharge_id, "the refund goes on in the background: {reason:#}");
                Ok(Vec::new())
            }
            Err(failure) => Err(failure),
        }
    }

    async fn open_requested(&self, event: &Event<RefundRequestedV1>) -> Result<Opened, Failure> {
        let organization = event.organization()?;
        let data = &event.data;
        let key = format!("request:{}", event.id);
        let mut tx = self.pool.begin().await?;
        repo::lock(&mut tx, organization).await?;
        if let Some(refund) = refund_rows::find(&mut tx, &key).await? {
            return Ok(Opened::Refund(Box::new(refund)));
        }
        let now = self.clock.now();
        let record = record::repo::record(&mut tx, data.recharge_id).await?;
        let record = record.filter(|record| record.organization == *organization).ok_or_else(|| {
            Failure::malformed(anyhow::anyhow!("{organization} has no recharge {}", data.recharge_id))
        })?;
        let (amount_left, total_left) = refund_rows::free(&mut tx, &record).await?;
        let wanted = data.amount.unwrap_or(amount_left);
        let step = record.amount.currency.step();
        if wanted.currency != record.amount.currency || wanted.minor < 0 || wanted.minor % step != 0 {
            return Err(Failure::malformed(anyhow::anyhow!("{wanted} can't be refunded of {}", record.amount)));
        }
        let total = share(&record, wanted, (amount_left, total_left));
        if self.is_held(&record, now) && wanted == amount_left {
            return self.undo_held(tx, event, record, now).await;
        }
        let refusal = if record.state.in_flight() {
            let state = record.state.as_str();
            Some((SkipReason::InFlight, format!("recharge {} is {state}; it ends by itself", record.recharge_id)))
        } else if record.state != State::Settled || total_left.minor == 0 || total.minor == 0 {
            let detail = format!("nothing is left to refund: {} of {} went back", record.refunded_total, record.total);
            Some((SkipReason::AlreadyRefunded, detail))
        } else if wanted.minor > amount_left.minor {
            let detail = format!("{wanted} is more than the {amount_left} that are left of {}", record.amount);
            Some((SkipReason::AlreadyRefunded, detail))
        } else {
            None
        };
        let log = TriggerLog {
            event_id: &event.id,
            source: "api",
            event_type: "refund_requested",
            organization: Some(organization),
            team: None,
            correlation: &event.correlationid,
            payload: &serde_json::to_value(data).map_err(Failure::malformed)?,
            occurred_at: Some(event.time),
            received_at: event.time,
        };
        let mut decision = LoggedDecision {
            decision: "refund".to_owned(),
            reason: None,
            detail: None,
            recharge_id: Some(record.recharge_id),
            organization: Some(organization.clone()),
            decided_at: now,
        };
        if let Some((reason, detail)) = refusal {
            decision.decision = "skipped".to_owned();
            decision.reason = Some(reason.as_str().to_owned());
            decision.detail = Some(detail);
            repo::log_decision(&mut tx, &log, &decision).await?;
            // Whoever decided first is repeated, to the byte.
            let decision = repo::logged_decision(&mut tx, &event.id).await?.unwrap_or(decision);
            tx.commit().await?;
            return Ok(Opened::Skipped(Box::new(skipped(event, &decision)?)));
        }
        let wish = Wish {
            refund_key: key,
            cause: RefundCause::Requested,
            reason: data.reason.clone(),
            requested_by: Some(data.requested_by.clone()),
            correlation_id: event.correlationid.clone(),
        };
        let refund = Refund::open(&record, wish, (wanted, total), now);
        refund_rows::open(&mut tx, &refund, now).await?;
        decision.detail = Some(format!("{wanted} of the quota, {total} of the charge"));
        repo::log_decision(&mut tx, &log, &decision).await?;
        tx.commit().await?;
        tracing::info!(recharge_id = %record.recharge_id, c_organization_id = %organization, event_id = %event.id,
            requested_by = data.requested_by, "a refund of {total} of recharge {} was asked for", record.recharge_id);
        Ok(Opened::Refund(Box::new(refund)))
    }

    /// A recharge that an operator wants held until a person decides: one does now.
    fn is_held(&self, record: &Record, now: Timestamp) -> bool {
        self.rules.on_sync_failure == OnSyncFailure::Hold
            && record.state == State::Credited
            && record.times.sync_by.is_none_or(|until| until <= now)
    }

    async fn undo_held(
        &self,
        mut tx: Transaction<'_, Postgres>,
        event: &Event<RefundRequestedV1>,
        record: Record,
        now: Timestamp,
    ) -> Result<Opened, Failure> {
        let (id, by) = (record.recharge_id, &event.data.requested_by);
        tracing::info!(recharge_id = %id, c_organization_id = %record.organization, event_id = %event.id,
            requested_by = by, "{by} decided that recharge {id}, which was held, is undone");
        self.sync_failed(&mut tx, record, format!("{} (decided by {by})", event.data.reason), now).await?;
        let undo = refund_rows::find(&mut tx, &format!("undo:{id}")).await?;
        tx.commit().await?;
        let undo = undo.ok_or_else(|| Failure::retry(anyhow::anyhow!("recharge {id} has nothing to give back")))?;
        Ok(Opened::Refund(Box::new(undo)))
    }

    /// One look at a refund that was taken by this replica: asks Stripe, or says again what was not said.
    pub(crate) async fn drive_refund(&self, refund: &Refund) -> Result<Vec<Outgoing>, Failure> {
        let mut connection = self.pool.acquire().await?;
        let record = self.record_of(&mut connection, refund).await?;
        drop(connection);
        match refund.status {
            RefundStatus::Succeeded => return Ok(vec![refund.refunded(&record)?]),
            RefundStatus::Failed if refund.stripe_refund_id.is_some() => {
                return Ok(vec![refund.failed(refund.ended_at.unwrap_or(refund.created_at))?]);
            }
            RefundStatus::Failed => return Ok(Vec::new()),
            RefundStatus::Requested | RefundStatus::Pending => {}
        }
        let Some(payment_intent_id) = record.payment_intent_id.as_deref() else {
            return Err(Failure::malformed(anyhow::anyhow!("recharge {} has no payment intent", record.recharge_id)));
        };
        let heard = ask(&self.stripe, payment_intent_id, refund).await?;
        match heard {
            Heard::Seen(_) => self.heard(&refund.refund_key, &record, &heard, refund.next_at).await,
            // Somebody else gave it back, or the payment itself failed: what Stripe has tells which. It is moot when
            // that is in our books, not before.
            Heard::Moot { reason } => {
                let said = self.recheck(&record).await?;
                self.shrink(&refund.refund_key, &refund.organization).await?;
                if said.is_empty() && self.is_still_open(refund).await? {
                    return Err(Failure::retry(anyhow::anyhow!("{reason}; what went back is not to be seen yet")));
                }
                Ok(said)
            }
            // Perhaps because somebody else gave back a part.
            Heard::Refused { .. } => {
                let mut said = self.heard(&refund.refund_key, &record, &heard, refund.next_at).await?;
                said.extend(self.match_refunds(&record).await?);
                self.shrink(&refund.refund_key, &refund.organization).await?;
                Ok(said)
            }
        }
    }

    async fn is_still_open(&self, refund: &Refund) -> Result<bool, Failure> {
        let mut connection = self.pool.acquire().await?;
        let now = refund_rows::find(&mut connection, &refund.refund_key).await?;
        Ok(now.is_some_and(|now| now.status.is_open()))
    }

    /// A refund that is still to be made is not for more than is left.
    pub(super) async fn shrink(&self, key: &str, organization: &OrganizationId) -> Result<(), Failure> {
        let mut tx = self.pool.begin().await?;
        repo::lock(&mut tx, organization).await?;
        let Some(mut refund) = refund_rows::find(&mut tx, key).await? else { return Ok(()) };
        let mut record = self.record_of(&mut tx, &refund).await?;
        let (amount, total) = record.left();
        if refund.status != RefundStatus::Requested || refund.total.minor <= total.minor {
            return Ok(());
        }
        if total.minor == 0 {
            refund.status = advance_refund(refund.status, RefundFact::Moot).0;
            refund.next_at = None;
        } else {
            (refund.amount, refund.total) = (amount, total);
        }
        let now = self.clock.now();
        refund_rows::save(&mut tx, &refund, now).await?;
        self.owe(&mut tx, &mut record, now).await?;
        tx.commit().await?;
        Ok(())
    }

    /// A recharge whose money is going back although no refund is open.
    pub(crate) async fn take_up(&self, id: RechargeId) -> Result<(), Failure> {
        let mut connection = self.pool.acquire().await?;
        let Some(seen) = record::repo::record(&mut connection, id).await? else { return Ok(()) };
        drop(connection);
        let mut tx = self.pool.begin().await?;
        repo::lock(&mut tx, &seen.organization).await?;
        let Some(mut record) = record::repo::record(&mut tx, id).await? else { return Ok(()) };
        self.owe(&mut tx, &mut record, self.clock.now()).await?;
        tx.commit().await?;
        Ok(())
    }

    /// What is going back and not promised to a refund that is open gets one; what is back is refunded.
    async fn owe(&self, tx: &mut PgConnection, record: &mut Record, now: Timestamp) -> Result<(), Failure> {
        if !record.state.is_giving_back() {
            return Ok(());
        }
        if record.left().1.minor == 0 {
            record.state = advance(record.state, Fact::MoneyBack).0;
            record.ended_at = Some(now);
            record.next_at = None;
            record::repo::save(tx, record, now).await?;
            return Ok(());
        }
        let free = refund_rows::free(tx, record).await?;
        if free.1.minor == 0 {
            return Ok(());
        }
        let (cause, reason) = record.undo.clone().unwrap_or_else(|| {
            (RefundCause::CreditOverdue, "a refund of it was sent back, and it is not credited".to_owned())
        });
        let before = refund_rows::undos(tx, record.recharge_id).await?;
        let base = format!("undo:{}", record.recharge_id);
        let wish = Wish {
            refund_key: if before == 0 { base } else { format!("{base}~{}", before + 1) },
            cause,
            reason,
            requested_by: None,
            correlation_id: record.correlation_id.clone(),
        };
        let mut refund = Refund::open(record, wish, free, now);
        refund.next_at = Some(self.rules.deadlines.refund_again(1, now));
        refund_rows::open(tx, &refund, now).await?;
        tracing::warn!(recharge_id = %record.recharge_id, c_organization_id = %record.organization,
            correlation_id = %record.correlation_id, refund_key = refund.refund_key,
            "{} of recharge {} is still owed: another refund is opened", free.1, record.recharge_id);
        Ok(())
    }

    /// What Stripe has of a recharge's refunds, ours and others'.
    pub(super) async fn match_refunds(&self, record: &Record) -> Result<Vec<Outgoing>, Failure> {
        let Some(payment_intent_id) = record.payment_intent_id.as_deref() else { return Ok(Vec::new()) };
        let seen = self.stripe.list_refunds(payment_intent_id).await.map_err(crate::charge::retry)?;
        let mut said = Vec::new();
        // The oldest first: what is left for each follows from those before it.
        for seen in seen.into_iter().rev() {
            if seen.amount.currency != record.total.currency {
                tracing::error!(recharge_id = %record.recharge_id, refund_id = seen.refund_id,
                    "a refund of {} of a charge in {}: a person must look at it", seen.amount, record.total.currency);
                continue;
            }
            let key = self.key_of(record, &seen).await?;
            said.extend(self.heard(&key, record, &Heard::Seen(seen), Some(self.until_said())).await?);
        }
        Ok(said)
    }

    /// The refund that Stripe shows: one of ours, or a new row for one that somebody else made.
    async fn key_of(&self, record: &Record, seen: &RefundSeen) -> Result<String, Failure> {
        let mut tx = self.pool.begin().await?;
        repo::lock(&mut tx, &record.organization).await?;
        let rows = refund_rows::of_recharge(&mut tx, record.recharge_id).await?;
        let known = rows.iter().find(|row| {
            row.stripe_refund_id.as_deref() == Some(seen.refund_id.as_str())
                || seen.refund_key.as_deref() == Some(row.refund_key.as_str())
        });
        if let Some(known) = known {
            return Ok(known.refund_key.clone());
        }
        let now = self.clock.now();
        let stored = record::repo::record(&mut tx, record.recharge_id).await?;
        let stored = stored.unwrap_or_else(|| record.clone());
        let wish = Wish {
            refund_key: format!("stripe:{}", seen.refund_id),
            cause: RefundCause::Dashboard,
            reason: "refunded at Stripe".to_owned(),
            requested_by: None,
            correlation_id: record.correlation_id.clone(),
        };
        // What is promised to a refund of ours keeps its part of the quota, where both can be.
        let free = refund_rows::free(&mut tx, &stored).await?;
        let basis = if free.1.minor >= seen.amount.minor { free } else { stored.left() };
        let parts = (quota_of(&stored, seen.amount, basis), seen.amount);
        let mut refund = Refund::open(&stored, wish, parts, now);
        refund.stripe_refund_id = Some(seen.refund_id.clone());
        refund.next_at = Some(now + self.lease());
        refund_rows::open(&mut tx, &refund, now).await?;
        tx.commit().await?;
        tracing::warn!(recharge_id = %record.recharge_id, c_organization_id = %record.organization, refund_id = seen.refund_id,
            "somebody refunded {} of recharge {} at Stripe", seen.amount, record.recharge_id);
        Ok(refund.refund_key)
    }

    /// The payment failed after it had succeeded: the bank took everything that was left.
    pub(super) async fn payment_failed(&self, record: &Record, why: &str) -> Result<Vec<Outgoing>, Failure> {
        let intent = record.payment_intent_id.clone().unwrap_or_default();
        let key = format!("failed:{intent}");
        let mut tx = self.pool.begin().await?;
        repo::lock(&mut tx, &record.organization).await?;
        let now = self.clock.now();
        let stored = record::repo::record(&mut tx, record.recharge_id).await?;
        let Some(stored) = stored else { return Ok(Vec::new()) };
        if refund_rows::find(&mut tx, &key).await?.is_none() {
            let (amount, total) = stored.left();
            if total.minor == 0 {
                return Ok(Vec::new());
            }
            let wish = Wish {
                refund_key: key.clone(),
                cause: RefundCause::PaymentFailed,
                reason: format!("the payment failed after it had succeeded: {why}"),
                requested_by: None,
                correlation_id: stored.correlation_id.clone(),
            };
            let mut refund = Refund::open(&stored, wish, (amount, total), now);
            refund.stripe_refund_id = Some(key.clone());
            refund.next_at = None;
            refund_rows::open(&mut tx, &refund, now).await?;
            let cause = repo::PausedFor::Card(&stored.payment_method_id);
            repo::pause(&mut tx, &stored.organization, &refund.reason, cause, now).await?;
            tracing::error!(recharge_id = %stored.recharge_id, c_organization_id = %stored.organization,
                payment_intent_id = intent, "payment intent {intent} of {total} failed after it had succeeded: {why}");
        }
        let said = self.move_refund(&mut tx, &key, RefundFact::Done, None, Some(self.until_said())).await?;
        tx.commit().await?;
        Ok(said)
    }

    /// What was said when the payment failed after it had succeeded, if it did.
    pub(super) async fn payment_failed_before(&self, record: &Record) -> Result<Vec<Outgoing>, Failure> {
        let mut connection = self.pool.acquire().await?;
        let rows = refund_rows::of_recharge(&mut connection, record.recharge_id).await?;
        rows.iter()
            .filter(|row| row.cause == RefundCause::PaymentFailed && row.was_refunded)
            .map(|row| row.refunded(record))
            .collect()
    }

    /// Moves a refund by what Stripe made certain, and the recharge with it.
    pub(super) async fn heard(
        &self,
        key: &str,
        record: &Record,
        heard: &Heard,
        lease: Option<Timestamp>,
    ) -> Result<Vec<Outgoing>, Failure> {
        let mut tx = self.pool.begin().await?;
        repo::lock(&mut tx, &record.organization).await?;
        let said = self.move_refund(&mut tx, key, heard.fact(), Some(heard), lease).await?;
        tx.commit().await?;
        Ok(said)
    }

    async fn move_refund(
        &self,
        tx: &mut PgConnection,
        key: &str,
        fact: RefundFact,
        heard: Option<&Heard>,
        lease: Option<Timestamp>,
    ) -> Result<Vec<Outgoing>, Failure> {
        let now = self.clock.now();
        let refund = refund_rows::find(tx, key).await?;
        let mut refund = refund.ok_or_else(|| Failure::retry(anyhow::anyhow!("refund {key} is not there")))?;
        let mut record = self.record_of(tx, &refund).await?;
        let before = refund.status;
        let (status, command) = advance_refund(before, fact);
        refund.status = status;
        if let Some(Heard::Seen(seen)) = heard {
            refund.stripe_refund_id.get_or_insert_with(|| seen.refund_id.clone());
        }
        if let Some(error) = heard.and_then(Heard::error) {
            refund.last_error = Some(error);
        }
        let deadlines = &self.rules.deadlines;
        let said = match command {
            // What has ended is only said again; when the patrol says it last stays as it is.
            Some(RefundCommand::SayRefunded) if before == RefundStatus::Succeeded => {
                return Ok(vec![refund.refunded(&record)?]);
            }
            Some(RefundCommand::SayFailed) if refund.stripe_refund_id.is_some() => {
                return Ok(vec![refund.failed(refund.ended_at.unwrap_or(refund.created_at))?]);
            }
            Some(RefundCommand::SayFailed) => return Ok(Vec::new()),
            None if matches!(before, RefundStatus::Succeeded | RefundStatus::Failed) => return Ok(Vec::new()),
            Some(RefundCommand::SayRefunded) => {
                refund.ended_at = Some(now);
                refund.was_refunded = true;
                refund.was_credited = record.ledger_version.is_some();
                // The patrol comes again after the lease, if it is not said by then.
                refund.next_at = lease;
                count(&mut record, &refund, 1);
                refund.completes = record.refunded_total == record.total;
                if refund.completes {
                    record.state = advance(record.state, Fact::MoneyBack).0;
                    record.ended_at = Some(now);
                    record.next_at = None;
                }
                self.metrics.outcomes.with_label_values(&["refunded", refund.cause.as_str()]).inc();
                Some(refund.refunded(&record)?)
            }
            Some(RefundCommand::AlarmAndRepeat) => {
                refund.refusals += 1;
                refund.next_at = Some(deadlines.refund_again(refund.refusals, now));
                self.alarm(&refund);
                Some(refund.failed(now)?)
            }
            Some(RefundCommand::AlarmAndReplace) => {
                refund.next_at = lease;
                if before == RefundStatus::Succeeded {
                    count(&mut record, &refund, -1);
                    // Only what had settled, and was not undone, stands as it did: anything else is owed.
                    let stands = !refund.is_ours() && record.settled_at.is_some() && record.undo.is_none();
                    let fact = if stands { Fact::ForeignRefundReturned } else { Fact::RefundReturned };
                    record.state = advance(record.state, fact).0;
                }
                refund.ended_at = Some(now);
                if refund.is_ours() {
                    let next = refund.replacement(deadlines.refund_again(1, now), now);
                    refund_rows::open(tx, &next, now).await?;
                }
                self.alarm(&refund);
                Some(refund.failed(now)?)
            }
            None if refund.status.is_open() => {
                refund.next_at = Some(deadlines.refund_look(refund.tries, now));
                None
            }
            None => {
                refund.next_at = None;
                None
            }
        };
        refund_rows::save(tx, &refund, now).await?;
        record::repo::save(tx, &record, now).await?;
        self.owe(tx, &mut record, now).await?;
        tracing::info!(recharge_id = %record.recharge_id, c_organization_id = %record.organization,
            correlation_id = %refund.correlation_id, refund_id = refund.stripe_refund_id.as_deref().unwrap_or_default(),
            "refund {} of {} is {}; recharge {} is {}", refund.refund_key, refund.total, refund.status.as_str(),
            record.recharge_id, record.state.as_str());
        Ok(said.into_iter().collect())
    }

    fn alarm(&self, refund: &Refund) {
        self.metrics.refund_failures.with_label_values(&[refund.cause.as_str()]).inc();
        tracing::error!(recharge_id = %refund.recharge_id, c_organization_id = %refund.organization,
            correlation_id = %refund.correlation_id, refund_key = refund.refund_key, refusals = refund.refusals,
            refund_id = refund.stripe_refund_id.as_deref().unwrap_or_default(),
            "REFUND FAILING: {} of recharge {} could not be given back, and will be tried again: {}",
            refund.total, refund.recharge_id, refund.last_error.as_deref().unwrap_or("no reason was given"));
    }

    async fn record_of(&self, db: &mut PgConnection, refund: &Refund) -> Result<Record, Failure> {
        let record = record::repo::record(db, refund.recharge_id).await?;
        record.ok_or_else(|| Failure::retry(anyhow::anyhow!("recharge {} is not there", refund.recharge_id)))
    }
}

/// Adds a refund to what went back, or takes it away again.
fn count(record: &mut Record, refund: &Refund, sign: i64) {
    let sum = |so_far: Money, part: Money, most: Money| {
        Money::new((so_far.minor + sign * part.minor).clamp(0, most.minor), so_far.currency)
    };
    record.refunded_amount = sum(record.refunded_amount, refund.amount, record.amount);
    record.refunded_total = sum(record.refunded_total, refund.total, record.total);
}

fn skipped(event: &Event<RefundRequestedV1>, decision: &LoggedDecision) -> Result<Outgoing, Failure> {
    let word = decision.reason.clone().unwrap_or_default();
    let data = RechargeSkippedV1 {
        trigger_event_id: event.id.clone(),
        triggered_by: TriggerKind::Manual,
        reason: serde_json::from_value(word.into()).map_err(Failure::malformed)?,
        detail: decision.detail.clone().unwrap_or_default(),
        recharge_id: decision.recharge_id,
    };
    Event::following(&event.id, event.organization()?, decision.decided_at, &event.correlationid, data).outgoing()
}
