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
//! stop it. Either the event that it was for is not recorded, comes again, and finds and repairs the difference; or the sweep
//! finds it.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use common::clients::quota::{Account, Allowance, BackendError, BackendQuota, Created, QuotaBackend};
use common::clock::SharedClock;
use common::contract::Outgoing;
use common::failure::Failure;
use common::ids::{EventId, OrganizationId, RechargeId, TeamId};
use common::money::Money;
use prometheus::Registry;
use rust_decimal::Decimal;
use sqlx::{PgPool, Postgres, Transaction};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use crate::given_up;
use crate::metrics::Metrics;
use crate::plan::{Action, Contact, decide};
use crate::repo::{self, Adoption, Synced, Target};
use crate::said;
use crate::trouble::Trouble;
use crate::undecided::{self, Whose};

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
    pub(crate) pool: PgPool,
    pub(crate) backend: Arc<dyn QuotaBackend>,
    pub(crate) clock: SharedClock,
    pub(crate) metrics: Metrics,
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

    /// Asks the backend, within one push's patience. For looks: what fails is for the caller to count and to log.
    pub(crate) async fn ask<T>(
        &self,
        call: impl Future<Output = Result<T, BackendError>> + Send,
    ) -> Result<T, Trouble> {
        within(Instant::now() + PATIENCE, call).await.map_err(Trouble::from)
    }

    /// Brings the backend to the newest target. The organization must have its row. Returns what follows: that the quota
    /// is in force, or that the backend had one already; or, for a cause that was given up before, that it was.
    ///
    /// # Errors
    /// When the backend or the database can't, or does not want to.
    pub(crate) async fn push(&self, cause: &Cause) -> Result<Outgoing, Trouble> {
        let mut push = Push { pusher: self, cause, deadline: Instant::now() + PATIENCE, created: false };
        for _ in 0..PASSES {
            if let Pass::Done(outgoing) = push.pass().await? {
                return Ok(outgoing);
            }
        }
        Err(Trouble::backend(format!("first contact with {} did not come to an end", cause.organization)))
    }
}

impl Push<'_> {
    /// One locked look at the organization. Whatever fails rolls back, and the event comes again.
    async fn pass(&mut self) -> Result<Pass, Trouble> {
        let Cause { organization, event_id, .. } = self.cause;
        let mut tx = self.pusher.pool.begin().await?;
        let target = repo::lock(&mut tx, organization).await?;
        if let Some(sync) = repo::recorded(&mut tx, event_id).await? {
            return Ok(Pass::Done(said::synced(self.cause, sync)?));
        }
        if let Some(answer) = given_up::answer(&mut tx, self.cause).await? {
            return Ok(Pass::Done(answer));
        }
        let name = self.pusher.backend.name();
        let account = target.account(organization, name);
        // Before the backend is asked: it has no say in this, and may be down.
        if let (Contact::AwaitsOpening, Some(adoption)) = (target.contact, &target.adoption) {
            self.pusher.metrics.push(name, "awaits_opening");
            let (met, team) = (target.backend.as_deref().unwrap_or(name), target.team_id.clone());
            return Ok(Pass::Done(said::adopted(organization, met, adoption, team)?));
        }
        let first = target.contact == Contact::Never || target.is_elsewhere(name);
        self.decided(self.pusher.of_team(&mut tx, &target, &account, first).await?)?;
        let found = self.find_or_create(&mut tx, &target, &account).await?;
        let whose = Whose::of(&account, name);
        self.decided(undecided::backend_changed(whose, &target, Some(found.quota)))?;
        if let Some(period) = &found.usage_reset {
            self.usage_is_reset(whose, period, first)?;
        }
        // A quota that is not known to the last cent can't be kept either.
        let blurred = target.contact == Contact::Never
            && undecided::is_blurred(found.quota, self.pusher.backend.digits(), target.currency);
        let allowance = if blurred { Allowance::Unlimited } else { found.quota };
        let opening = match allowance {
            Allowance::Unlimited => repo::opening_quota(&mut tx, organization).await?,
            Allowance::Limited(_) => None,
        };
        match decide(target.quota, target.contact, Some(allowance), opening) {
            Action::Adopt { quota } => self.adopt(tx, &target, quota, found).await.map(Pass::Done),
            Action::NameOpening => Err(self.undecided(undecided::no_opening(whose, found.quota))),
            Action::Meet => {
                let now = self.pusher.clock.now();
                repo::record_created(&mut tx, organization, name, found.team_id.as_ref(), now).await?;
                tx.commit().await?;
                Ok(Pass::Again)
            }
            Action::AlreadyThere => self.record(tx, &target, found.quota, found.team_id).await.map(Pass::Done),
            Action::Set { from, to } => {
                let team = self.write(&account, to).await?.or(found.team_id);
                self.record(tx, &target, from, team).await.map(Pass::Done)
            }
            action @ (Action::AwaitOpening | Action::Create { .. }) => {
                Err(Trouble::backend(format!("{action:?} is no answer to a quota that was read")))
            }
        }
    }

    /// Goes on, unless a person has to decide something first.
    fn decided(&self, reason: Option<String>) -> Result<(), Trouble> {
        reason.map_or(Ok(()), |reason| Err(self.undecided(reason)))
    }

    /// The backend zeroes what was spent: at first contact that must end first, and later a person must hear of it.
    fn usage_is_reset(&self, whose: Whose<'_>, period: &str, first: bool) -> Result<(), Trouble> {
        let reason = undecided::budget_duration(whose, period);
        if first {
            return Err(self.undecided(reason));
        }
        self.pusher.metrics.usage_reset(whose.backend);
        let Cause { organization, event_id, correlation, .. } = self.cause;
        tracing::error!(
            c_organization_id = %organization, %event_id, correlation_id = %correlation, backend = whose.backend, reason,
            "the quota of {organization} is pushed, and can be spent again and again: {reason}"
        );
        Ok(())
    }

    /// Counts and logs that a person has to decide something first.
    fn undecided(&self, reason: String) -> Trouble {
        let backend = self.pusher.backend.name();
        self.pusher.metrics.push(backend, "undecided");
        let Cause { organization, event_id, correlation, recharge_id } = self.cause;
        tracing::warn!(
            c_organization_id = %organization, %event_id, correlation_id = %correlation,
            recharge_id = recharge_id.map(tracing::field::display), backend, reason,
            "the quota of {organization} can't be pushed before a person decides: {reason}"
        );
        Trouble::undecided(reason)
    }

    /// What the backend has, after making sure that it knows the organization.
    async fn find_or_create(
        &mut self,
        tx: &mut Transaction<'_, Postgres>,
        target: &Target,
        account: &Account,
    ) -> Result<BackendQuota, Trouble> {
        let backend = &self.pusher.backend;
        if let Some(found) = self.ask(backend.read(account)).await? {
            return Ok(found);
        }
        let whose = Whose::of(account, backend.name());
        self.decided(undecided::backend_changed(whose, target, None))?;
        if target.contact == Contact::Established && backend.forgets_usage() {
            let usage = repo::last_usage(tx, &account.organization).await?;
            self.decided(undecided::team_gone(whose, target, usage))?;
        }
        let Action::Create { quota } = decide(target.quota, target.contact, None, None) else {
            return Err(Trouble::backend(format!("{} is missing at the backend", account.organization)));
        };
        let Created { quota: there, made } = self.ask(backend.create(account, quota)).await?;
        self.created = made;
        tracing::info!(
            c_organization_id = %account.organization, event_id = %self.cause.event_id, correlation_id = %self.cause.correlation,
            backend = backend.name(), team = there.team_id.as_ref().map(TeamId::as_str),
            "{} {} at the backend", if made { "created" } else { "found" }, account.organization
        );
        Ok(there)
    }

    /// Writes the quota and reads it again: only what the backend then says counts. Returns the team.
    async fn write(&self, account: &Account, to: Decimal) -> Result<Option<TeamId>, Trouble> {
        let backend = &self.pusher.backend;
        let mut last = None;
        for _ in 0..WRITES {
            self.ask(backend.set(account, to)).await?;
            match self.ask(backend.read(account)).await? {
                Some(found) if found.quota.is(to) => return Ok(found.team_id),
                found => last = found.map(|found| found.quota),
            }
        }
        self.pusher.metrics.push(backend.name(), "disagrees");
        let has = last.map_or_else(|| "does not know it".to_owned(), |quota| format!("has {quota}"));
        Err(Trouble::backend(format!("the backend was told {to} and {has}")))
    }

    /// Commits a completed push, and says so.
    async fn record(
        &self,
        mut tx: Transaction<'_, Postgres>,
        target: &Target,
        before: Allowance,
        team_id: Option<TeamId>,
    ) -> Result<Outgoing, Trouble> {
        let Cause { organization, event_id, correlation, recharge_id } = self.cause;
        let backend = self.pusher.backend.name();
        let sync = Synced {
            backend: backend.to_owned(),
            version: target.version,
            previous: before.limit().filter(|_| !self.created),
            quota: target.quota,
            changed: self.created || !before.is(target.quota),
            team_id,
            at: self.pusher.clock.now(),
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
        Ok(said::synced(self.cause, sync)?)
    }

    /// Keeps what the backend has: commits that, and says so. The ledger's opening credit brings the push.
    async fn adopt(
        &self,
        mut tx: Transaction<'_, Postgres>,
        target: &Target,
        quota: Decimal,
        found: BackendQuota,
    ) -> Result<Outgoing, Trouble> {
        let Cause { organization, event_id, correlation, .. } = self.cause;
        let BackendQuota { quota: allowance, team_id, .. } = found;
        // What the currency can't hold exactly is rounded up: adopting never lowers. One that it can't hold at all is for a
        // person to mend at the backend.
        let covering = Money::covering(quota, target.currency).map_err(|error| {
            Trouble::backend(format!("{organization} has a quota of {quota} at the backend: {error}"))
        })?;
        let at = self.pusher.clock.now();
        let adoption = Adoption { quota: covering, correlation: correlation.clone(), at };
        let backend = self.pusher.backend.name();
        repo::record_adopted(&mut tx, organization, backend, &adoption, team_id.as_ref()).await?;
        if let Some(team) = &team_id {
            self.pusher.link_team(&mut tx, self.cause, team).await?;
        }
        tx.commit().await?;
        self.pusher.metrics.push(backend, "adopted");
        tracing::info!(
            c_organization_id = %organization, %event_id, correlation_id = %correlation, backend_quota = %allowance,
            quota = %covering, "{organization} is already at the backend ({allowance}): it keeps {covering}, which the ledger is to book"
        );
        Ok(said::adopted(organization, backend, &adoption, team_id)?)
    }

    /// Asks the backend, within what is left of the patience. What it can't or won't do is counted and logged; what follows
    /// from it, the caller knows.
    ///
    /// A refusal is no end either, because a person can mend it: a wrong address, a right that is missing.
    async fn ask<T>(&self, call: impl Future<Output = Result<T, BackendError>> + Send) -> Result<T, Trouble> {
        let error = match within(self.deadline, call).await {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        let backend = self.pusher.backend.name();
        let result = match &error {
            BackendError::Unavailable { .. } => "unavailable",
            BackendError::Refused { .. } => "refused",
        };
        self.pusher.metrics.push(backend, result);
        let Cause { organization, event_id, correlation, recharge_id } = self.cause;
        tracing::warn!(
            c_organization_id = %organization, %event_id, correlation_id = %correlation,
            recharge_id = recharge_id.map(tracing::field::display), backend, result, %error,
            "the quota of {organization} could not be pushed: {error}"
        );
        Err(error.into())
    }
}

async fn within<T>(
    deadline: Instant,
    call: impl Future<Output = Result<T, BackendError>> + Send,
) -> Result<T, BackendError> {
    tokio::time::timeout_at(deadline, call).await.unwrap_or_else(|_| {
        Err(BackendError::Unavailable { reason: format!("not done within {PATIENCE:?}"), after: None })
    })
}
