//! What ledger and syncer say moves recharges on. The two may arrive in any order: whichever comes second settles.

use common::contract::{Event, LedgerCreditedV1, Outgoing, PostingKind, QuotaFailedV1, QuotaSyncedV1};
use common::failure::Failure;
use common::ids::{EventId, OrganizationId};
use rust_decimal::Decimal;
use sqlx::PgConnection;

use super::Recharger;
use crate::config::OnSyncFailure;
use crate::deadlines::next_look;
use crate::metrics::Step;
use crate::record::{self, Record};
use crate::repo;
use crate::saga::{Command, Fact, State, advance};

impl Recharger {
    /// The ledger's quota changed for another reason than a recharge.
    pub(super) async fn quota_changed(
        &self,
        organization: &OrganizationId,
        quota: Decimal,
        version: i64,
    ) -> Result<Vec<Outgoing>, Failure> {
        let mut tx = self.pool.begin().await?;
        repo::lock(&mut tx, organization).await?;
        repo::learn_quota(&mut tx, organization, quota, version, self.clock.now()).await?;
        tx.commit().await?;
        Ok(Vec::new())
    }

    /// The ledger booked a credit.
    pub(super) async fn credited(&self, event: Event<LedgerCreditedV1>) -> Result<Vec<Outgoing>, Failure> {
        let organization = event.organization()?;
        let data = &event.data;
        let mut tx = self.pool.begin().await?;
        let now = self.clock.now();
        repo::lock(&mut tx, organization).await?;
        repo::learn_quota(&mut tx, organization, data.quota.to_decimal(), data.ledger_version, now).await?;
        let mut said = Vec::new();
        // A refund that was sent back credits too, and moves no recharge on.
        if let Some(id) = data.recharge_id.filter(|_| data.posting == PostingKind::Charge) {
            let record = record::repo::record(&mut tx, id).await?;
            let mut record = record
                .ok_or_else(|| Failure::malformed(anyhow::anyhow!("the ledger credited {id}, which nobody claimed")))?;
            let (state, _) = advance(record.state, Fact::Credited);
            if state != record.state {
                record.state = state;
                record.ledger_version = Some(data.ledger_version);
                record.times.sync_by = Some(self.rules.deadlines.sync_by(now));
                record.next_at = next_look(state, &record.times, now);
                record::repo::save(&mut tx, &record, now).await?;
                if let Some(charged_at) = record.charged_at {
                    self.metrics.step(Step::Book, charged_at, now);
                }
            }
            said = self.settle_if_in_force(&mut tx, record, &event.id).await?;
        }
        tx.commit().await?;
        Ok(said)
    }

    async fn settle_if_in_force(
        &self,
        tx: &mut PgConnection,
        record: Record,
        event: &EventId,
    ) -> Result<Vec<Outgoing>, Failure> {
        let (version, quota) = repo::synced(tx, &record.organization).await?;
        let contains = record.ledger_version.is_some_and(|wanted| wanted <= version);
        match quota {
            Some(quota) if contains => self.settle_all(tx, vec![record], quota, event).await,
            _ => Ok(Vec::new()),
        }
    }

    /// The backend enforces a quota.
    pub(super) async fn synced(&self, event: Event<QuotaSyncedV1>) -> Result<Vec<Outgoing>, Failure> {
        let organization = event.organization()?;
        let (quota, version) = (event.data.quota, event.data.ledger_version);
        let mut tx = self.pool.begin().await?;
        repo::lock(&mut tx, organization).await?;
        repo::learn_synced(&mut tx, organization, quota, version, self.clock.now()).await?;
        let records = record::repo::records_in_force(&mut tx, organization, version, &event.id).await?;
        let said = self.settle_all(&mut tx, records, quota, &event.id).await?;
        tx.commit().await?;
        Ok(said)
    }

    async fn settle_all(
        &self,
        tx: &mut PgConnection,
        records: Vec<Record>,
        quota: Decimal,
        event: &EventId,
    ) -> Result<Vec<Outgoing>, Failure> {
        let mut said = Vec::new();
        for mut record in records {
            let now = self.clock.now();
            let (state, command) = advance(record.state, Fact::InForce);
            if state != record.state {
                record.state = state;
                record.new_quota = Some(quota);
                record.settled_by_event = Some(event.to_string());
                record.settled_at = Some(now);
                record.ended_at = Some(now);
                record.next_at = None;
                record::repo::save(tx, &record, now).await?;
                self.metrics.outcomes.with_label_values(&["settled", ""]).inc();
                self.metrics.in_force(record.total);
                let (received, credited) = record::repo::began(tx, record.recharge_id).await?;
                self.metrics.recharge(record.triggered_by.as_str(), received.unwrap_or(record.created_at), now);
                if let Some(credited) = credited {
                    self.metrics.step(Step::Sync, credited, now);
                }
                tracing::info!(recharge_id = %record.recharge_id, c_organization_id = %record.organization,
                    correlation_id = %record.correlation_id, quota = %quota,
                    "recharge {} of {} has settled: the quota of {} is {quota}", record.recharge_id, record.amount, record.organization);
            }
            // Only the event that settled it says so again when it is repeated.
            if command == Some(Command::Say) && record.settled_by_event.as_deref() == Some(event.as_str()) {
                said.extend(record.says(&self.rules.links)?);
            }
        }
        Ok(said)
    }

    /// The backend did not take a quota in time: what waits for it is undone, unless an operator wants it held.
    pub(super) async fn quota_failed(&self, event: Event<QuotaFailedV1>) -> Result<Vec<Outgoing>, Failure> {
        let organization = event.organization()?;
        let data = &event.data;
        let mut tx = self.pool.begin().await?;
        let now = self.clock.now();
        repo::lock(&mut tx, organization).await?;
        // Only the recharge whose own push it was: another has its own deadline.
        let Some(id) = data.recharge_id else { return Ok(Vec::new()) };
        let (version, _) = repo::synced(&mut tx, organization).await?;
        let waiting = record::repo::record(&mut tx, id).await?.filter(|record| {
            record.organization == *organization && record.ledger_version.is_none_or(|wanted| wanted > version)
        });
        if let Some(record) = waiting.filter(|record| matches!(record.state, State::Charged | State::Credited)) {
            let reason = format!("the quota could not be raised in time: {}", data.reason);
            match self.rules.on_sync_failure {
                OnSyncFailure::Refund => self.sync_failed(&mut tx, record, reason, now).await?,
                OnSyncFailure::Hold => self.hold(&record, &reason),
            }
        }
        tx.commit().await?;
        Ok(Vec::new())
    }
}
