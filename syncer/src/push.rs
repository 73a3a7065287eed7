//! Bringing the backend to the ledger's quota: read → decide → write → read again → record, one at a time per organization.
//!
//! **Serialization.** All of it happens in a transaction that holds the lock of the organization's row in `quota_targets`,
//! so that of several replicas only one writes, and what it writes is the newest target that is known, whichever event it
//! was called for: a late event can't bring an old quota back. The lock is held during HTTP calls; that is bounded by
//! [`PATIENCE`], which is below the pool's `statement_timeout` (others wait for the row) and far below its
//! `idle_in_transaction_session_timeout` (we wait for the backend). Each push takes one connection; [`Pusher`] admits
//! fewer pushes than the pool has connections, so that a slow backend does not starve the rest of the service.
//!
//! **What remains.** A write that was given up on may still be on its way and arrive after a newer one; no lock of ours can
//! stop it. The event that it was for is then not recorded, comes again, and finds and repairs the difference.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use common::clients::quota::{Account, BackendError, BackendQuota, QuotaBackend};
use common::clock::SharedClock;
use common::contract::{Event, Outgoing, QuotaAdoptedV1, QuotaSyncedV1};
use common::failure::Failure;
use common::ids::{EventId, OrganizationId, RechargeId, TeamId};
use common::money::Money;
use prometheus::Registry;
use rust_decimal::Decimal;
use sqlx::{PgConnection, PgPool, Postgres, Transaction};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use crate::metrics::Metrics;
use crate::plan::{Action, Contact, decide};
use crate::repo::{self, Adoption, Synced, Target, TeamLink};

/// How long one push may hold its lock while it talks to the backend.
const PATIENCE: Duration = Duration::from_secs(20);
/// Connections that are left to everything else.
const SPARE_CONNECTIONS: u32 = 2;
/// First contact takes two passes: one that records it, one that pushes.
const PASSES: u32 = 2;
/// How often a quota is written before the backend is said to disagree.
const WRITES: u32 = 2;

/// What asked for a push.
#[derive(Debug, Clone)]
pub(crate) struct Cause {
    /// The event.
    pub(crate) event_id: EventId,
    /// The event that started its chain.
    pub(crate) correlation: EventId,
    /// The organization whose quota shall be pushed.
    pub(crate) organization: OrganizationId,
    /// The recharge that it is about, where known.
    pub(crate) recharge_id: Option<RechargeId>,
}

/// Pushes quotas to one backend.
pub(crate) struct Pusher {
    pool: PgPool,
    backend: Arc<dyn QuotaBackend>,
    clock: SharedClock,
    metrics: Metrics,
    admitted: Semaphore,
}

/// What one pass came to.
enum Pass {
    /// First contact is recorded: lock, read and decide again.
    Again,
    /// This follows.
    Done(Outgoing),
}

/// One push on its way.
struct Push<'a> {
    pusher: &'a Pusher,
    cause: &'a Cause,
    deadline: Instant,
    /// The organization was missing, and this push has created it.
    created: bool,
}

impl Pusher {
    /// A pusher. `connections` is the size of `pool`.
    #[must_use]
    pub(crate) fn new(
        pool: PgPool,
        connections: u32,
        backend: Arc<dyn QuotaBackend>,
        clock: SharedClock,
        registry: &Registry,
    ) -> Self {
        let admitted = usize::try_from(connections.saturating_sub(SPARE_CONNECTIONS).max(1)).unwrap_or(1);
        Self { pool, backend, clock, metrics: Metrics::new(registry), admitted: Semaphore::new(admitted) }
    }

    /// Waits until a push may use a connection that can be held by a lock.
    pub(crate) async fn admit(&self) -> Result<SemaphorePermit<'_>, Failure> {
        self.admitted.acquire().await.map_err(Failure::retry)
    }

    /// Brings the backend to the newest target. The organization must have its row. Returns what follows: that the quota
    /// is in force, or that the backend had one already.
    ///
    /// # Errors
    /// [`Failure::Retry`] when the backend or the database can't, or does not want to.
    pub(crate) async fn push(&self, cause: &Cause) -> Result<Outgoing, Failure> {
        let mut push = Push { pusher: self, cause, deadline: Instant::now() + PATIENCE, created: false };
        for _ in 0..PASSES {
            if let Pass::Done(outgoing) = push.pass().await? {
                return Ok(outgoing);
            }
        }
        Err(Failure::retry(anyhow::anyhow!("first contact with {} did not come to an end", cause.organization)))
    }

    /// Tells ingress' table the team, and reports where it can't be.
    async fn link_team(&self, connection: &mut PgConnection, cause: &Cause, team: &TeamId) -> Result<(), Failure> {
        let organization = &cause.organization;
        match repo::link_team(connection, organization, team).await? {
            TeamLink::Fine => {}
            TeamLink::Different(stored) => {
                self.metrics.team_mismatch("different");
                tracing::warn!(
                    c_organization_id = %organization, event_id = %cause.event_id, backend_team = %team, stored_team = %stored,
                    "the backend names team {team} for {organization}, but {stored} is stored; the stored one stays"
                );
            }
            TeamLink::Taken => {
                self.metrics.team_mismatch("taken");
                tracing::warn!(
                    c_organization_id = %organization, event_id = %cause.event_id, backend_team = %team,
                    "the backend names team {team} for {organization}, but another organization has it; it is not stored"
                );
            }
        }
        Ok(())
    }
}

impl Push<'_> {
    /// One locked look at the organization. Whatever fails rolls back, and the event comes again.
    async fn pass(&mut self) -> Result<Pass, Failure> {
        let Cause { organization, event_id, .. } = self.cause;
        let mut tx = self.pusher.pool.begin().await?;
        let target = repo::lock(&mut tx, organization).await?;
        if let Some(sync) = repo::recorded(&mut tx, event_id).await? {
            return self.synced(sync).map(Pass::Done);
        }
        let account = Account { organization: organization.clone(), team: target.team_id.clone() };
        // Before the backend is asked: it has no say in this, and may be down.
        if let (Contact::AwaitsOpening, Some(adoption)) = (target.contact, &target.adoption) {
            self.pusher.metrics.push(self.pusher.backend.name(), "awaits_opening");
            return self.adopted(adoption, target.team_id.clone()).map(Pass::Done);
        }
        let found = self.find_or_create(&target, &account).await?;
        let action = decide(target.quota, target.contact, Some(found.quota));
        match action {
            Action::Adopt { quota } => self.adopt(tx, &target, quota, found.team_id).await.map(Pass::Done),
            Action::Meet => {
                repo::record_created(&mut tx, organization, self.pusher.clock.now()).await?;
                tx.commit().await?;
                Ok(Pass::Again)
            }
            Action::AlreadyThere => self.record(tx, &target, found.quota, found.team_id).await.map(Pass::Done),
            Action::Set { from, to } => {
                let team = self.write(&account, to).await?.or(found.team_id);
                self.record(tx, &target, from, team).await.map(Pass::Done)
            }
            Action::AwaitOpening | Action::Create { .. } => {
                Err(Failure::retry(anyhow::anyhow!("{action:?} is no answer to a quota that was read")))
            }
        }
    }

    /// What the backend has, after making sure that it knows the organization.
    async fn find_or_create(&mut self, target: &Target, account: &Account) -> Result<BackendQuota, Failure> {
        let backend = &self.pusher.backend;
        if let Some(found) = self.ask(backend.read(account)).await? {
            return Ok(found);
        }
        let Action::Create { quota } = decide(target.quota, target.contact, None) else {
            return Err(Failure::retry(anyhow::anyhow!("{} is missing at the backend", account.organization)));
        };
        let made = self.ask(backend.create(account, quota)).await?;
        self.created = true;
        tracing::info!(
            c_organization_id = %account.organization, event_id = %self.cause.event_id, correlation_id = %self.cause.correlation,
            backend = backend.name(), team = made.team_id.as_ref().map(TeamId::as_str), "created {} at the backend", account.organization
        );
        Ok(made)
    }

    /// Writes the quota and reads it again: only what the backend then says counts. Returns the team.
    async fn write(&self, account: &Account, to: Decimal) -> Result<Option<TeamId>, Failure> {
        let backend = &self.pusher.backend;
        let mut last = None;
        for _ in 0..WRITES {
            self.ask(backend.set(account, to)).await?;
            match self.ask(backend.read(account)).await? {
                Some(found) if found.quota == to => return Ok(found.team_id),
                found => last = found.map(|found| found.quota),
            }
        }
        self.pusher.metrics.push(backend.name(), "disagrees");
        Err(Failure::retry(anyhow::anyhow!("the backend was told {to} and has {last:?}")))
    }

    /// Commits a completed push, and says so.
    async fn record(
        &self,
        mut tx: Transaction<'_, Postgres>,
        target: &Target,
        before: Decimal,
        team_id: Option<TeamId>,
    ) -> Result<Outgoing, Failure> {
        let Cause { organization, event_id, correlation, recharge_id } = self.cause;
        let backend = self.pusher.backend.name();
        let sync = Synced {
            backend: backend.to_owned(),
            version: target.version,
            previous: (!self.created).then_some(before),
            quota: target.quota,
            changed: self.created || before != target.quota,
            team_id,
            at: whole_micros(self.pusher.clock.now()),
        };
        repo::record_push(&mut tx, organization, event_id, correlation, &sync).await?;
        if let Some(team) = &sync.team_id {
            self.pusher.link_team(&mut tx, self.cause, team).await?;
        }
        tx.commit().await?;
        self.pusher.metrics.push(backend, if sync.changed { "changed" } else { "unchanged" });
        tracing::info!(
            c_organization_id = %organization, %event_id, correlation_id = %correlation,
            recharge_id = recharge_id.map(tracing::field::display), ledger_version = sync.version, quota = %sync.quota,
            previous_quota = sync.previous.map(tracing::field::display), changed = sync.changed, backend,
            "{backend} enforces {} for {organization}, ledger version {}", sync.quota, sync.version
        );
        self.synced(sync)
    }

    /// Keeps what the backend has: commits that, and says so. The ledger's opening credit brings the push.
    async fn adopt(
        &self,
        mut tx: Transaction<'_, Postgres>,
        target: &Target,
        quota: Decimal,
        team_id: Option<TeamId>,
    ) -> Result<Outgoing, Failure> {
        let Cause { organization, event_id, correlation, .. } = self.cause;
        // What the currency can't hold exactly is rounded up: adopting never lowers.
        let covering = Money::covering(quota, target.currency).map_err(|error| {
            Failure::malformed(
                anyhow::Error::new(error).context(format!("{organization} has a quota of {quota} at the backend")),
            )
        })?;
        let at = whole_micros(self.pusher.clock.now());
        let adoption = Adoption { quota: covering, correlation: correlation.clone(), at };
        repo::record_adopted(&mut tx, organization, &adoption, team_id.as_ref()).await?;
        if let Some(team) = &team_id {
            self.pusher.link_team(&mut tx, self.cause, team).await?;
        }
        tx.commit().await?;
        self.pusher.metrics.push(self.pusher.backend.name(), "adopted");
        tracing::info!(
            c_organization_id = %organization, %event_id, correlation_id = %correlation, backend_quota = %quota, quota = %covering,
            "{organization} already has a quota of {quota} at the backend: it keeps it, and the ledger is to book it"
        );
        self.adopted(&adoption, team_id)
    }

    fn adopted(&self, adoption: &Adoption, litellm_team_id: Option<TeamId>) -> Result<Outgoing, Failure> {
        let organization = &self.cause.organization;
        let data =
            QuotaAdoptedV1 { backend: self.pusher.backend.name().to_owned(), quota: adoption.quota, litellm_team_id };
        // Its cause is the organization, not the event: it happens once, and every repeat is the same event.
        Event::following(organization, organization, adoption.at, &adoption.correlation, data).outgoing()
    }

    fn synced(&self, sync: Synced) -> Result<Outgoing, Failure> {
        let Cause { organization, event_id, correlation, .. } = self.cause;
        let data = QuotaSyncedV1 {
            backend: sync.backend,
            quota: sync.quota,
            previous_quota: sync.previous,
            ledger_version: sync.version,
            litellm_team_id: sync.team_id,
            changed: sync.changed,
        };
        Event::following(event_id, organization, sync.at, correlation, data).outgoing()
    }

    /// Asks the backend, within what is left of the patience. What it can't or won't do is counted, logged and retried.
    ///
    /// A refusal is retried as well, because a person can mend it: a wrong address, a right that is missing. Here is the
    /// place for the deadline (`SYNC_DEADLINE`) after which `QuotaFailedV1` makes the recharger undo the charge.
    async fn ask<T>(&self, call: impl Future<Output = Result<T, BackendError>> + Send) -> Result<T, Failure> {
        let answer = tokio::time::timeout_at(self.deadline, call).await.unwrap_or_else(|_| {
            Err(BackendError::Unavailable { reason: format!("not done within {PATIENCE:?}"), after: None })
        });
        let error = match answer {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        let backend = self.pusher.backend.name();
        let (result, after) = match &error {
            BackendError::Unavailable { after, .. } => ("unavailable", *after),
            BackendError::Refused { .. } => ("refused", None),
        };
        self.pusher.metrics.push(backend, result);
        let Cause { organization, event_id, correlation, recharge_id } = self.cause;
        tracing::warn!(
            c_organization_id = %organization, %event_id, correlation_id = %correlation,
            recharge_id = recharge_id.map(tracing::field::display), backend, result, %error,
            "the quota of {organization} could not be pushed, and will be tried again: {error}"
        );
        Err(Failure::Retry { after, reason: anyhow::Error::new(error) })
    }
}

/// PostgreSQL keeps microseconds: a repeat, which reads the time there, must write the same event.
fn whole_micros(time: common::clock::Timestamp) -> common::clock::Timestamp {
    chrono::DateTime::from_timestamp_micros(time.timestamp_micros()).unwrap_or(time)
}
