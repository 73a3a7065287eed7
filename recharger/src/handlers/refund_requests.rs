//! A person wants money given back.

use common::clock::Timestamp;
use common::contract::{Event, Outgoing, RechargeSkippedV1, RefundCause, RefundRequestedV1, SkipReason, TriggerKind};
use common::failure::Failure;
use sqlx::{Postgres, Transaction};

use super::Recharger;
use crate::config::OnSyncFailure;
use crate::record::{self, Record};
use crate::refunds::{Refund, Wish, repo as refund_rows, share, undo_key};
use crate::repo::{self, LoggedDecision, TriggerLog};
use crate::saga::{RefundStatus, State};

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
            return refund.tells(&record);
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
        let before = repo::logged_decision(&mut tx, &event.id).await?;
        if before.is_some_and(|before| before.decision == "refund")
            && let Some(undo) = refund_rows::find(&mut tx, &undo_key(data.recharge_id)).await?
        {
            return Ok(Opened::Refund(Box::new(undo)));
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
        if self.is_held(&record, now) && wanted == amount_left {
            decision.detail = Some("a recharge that was held is undone".to_owned());
            repo::log_decision(&mut tx, &log, &decision).await?;
            return self.undo_held(tx, event, record, now).await;
        }
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
        let undo = refund_rows::find(&mut tx, &undo_key(id)).await?;
        tx.commit().await?;
        let undo = undo.ok_or_else(|| Failure::retry(anyhow::anyhow!("recharge {id} has nothing to give back")))?;
        Ok(Opened::Refund(Box::new(undo)))
    }
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
