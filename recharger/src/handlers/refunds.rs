//! Refunds: driven until Stripe has made them, and what Stripe says of them later.

use common::clients::stripe::RefundSeen;
use common::clock::Timestamp;
use common::contract::{Outgoing, RefundCause};
use common::failure::Failure;
use common::money::Money;
use sqlx::PgConnection;

use super::Recharger;
use crate::record::{self, Record};
use crate::refunds::drive::{Heard, ask};
use crate::refunds::{Refund, Wish, quota_of, repo as refund_rows};
use crate::repo;
use crate::saga::{Fact, RefundCommand, RefundFact, RefundStatus, advance, advance_refund};

impl Recharger {
    /// One look at a refund that was taken by this replica: asks Stripe, or says again what was not said.
    pub(crate) async fn drive_refund(&self, refund: &Refund) -> Result<Vec<Outgoing>, Failure> {
        let mut connection = self.pool.acquire().await?;
        let record = self.record_of(&mut connection, refund).await?;
        drop(connection);
        match refund.status {
            RefundStatus::Succeeded => return refund.tells(&record),
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

    pub(super) async fn move_refund(
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
                return refund.tells(&record);
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
                self.metrics.given_back(refund.total);
                refund.tells(&record)?
            }
            Some(RefundCommand::AlarmAndRepeat) => {
                refund.refusals += 1;
                refund.next_at = Some(deadlines.refund_again(refund.refusals, now));
                self.alarm(&refund);
                vec![refund.failed(now)?]
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
                vec![refund.failed(now)?]
            }
            None if refund.status.is_open() => {
                refund.next_at = Some(deadlines.refund_look(refund.tries, now));
                Vec::new()
            }
            None => {
                refund.next_at = None;
                Vec::new()
            }
        };
        refund_rows::save(tx, &refund, now).await?;
        record::repo::save(tx, &record, now).await?;
        self.owe(tx, &mut record, now).await?;
        tracing::info!(recharge_id = %record.recharge_id, c_organization_id = %record.organization,
            correlation_id = %refund.correlation_id, refund_id = refund.stripe_refund_id.as_deref().unwrap_or_default(),
            "refund {} of {} is {}; recharge {} is {}", refund.refund_key, refund.total, refund.status.as_str(),
            record.recharge_id, record.state.as_str());
        Ok(said)
    }

    fn alarm(&self, refund: &Refund) {
        self.metrics.refund_failures.with_label_values(&[refund.cause.as_str()]).inc();
        tracing::error!(recharge_id = %refund.recharge_id, c_organization_id = %refund.organization,
            correlation_id = %refund.correlation_id, refund_key = refund.refund_key, refusals = refund.refusals,
            refund_id = refund.stripe_refund_id.as_deref().unwrap_or_default(),
            "REFUND FAILING: {} of recharge {} could not be given back, and will be tried again: {}",
            refund.total, refund.recharge_id, refund.last_error.as_deref().unwrap_or("no reason was given"));
    }

    pub(super) async fn record_of(&self, db: &mut PgConnection, refund: &Refund) -> Result<Record, Failure> {
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
