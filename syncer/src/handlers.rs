//! What the syncer does with each kind of event.

use std::sync::Arc;
use std::time::Duration;

use common::clients::quota::QuotaBackend;
use common::clock::{SharedClock, Timestamp};
use common::contract::{
    EvaluateRequestedV1, Event, LedgerCreditedV1, LedgerHeldV1, LedgerReversedV1, Outgoing, Payload, PostingKind,
    ReconcileRequestedV1, SyncRequestedV1,
};
use common::failure::Failure;
use common::ids::{OrganizationId, RechargeId};
use common::money::Money;
use common::periodic::Publish;
use common::worker::{Delivery, Handler};
use prometheus::Registry;
use sqlx::PgPool;

use crate::config::Policy;
use crate::deadline::{Limit, Verdict, verdict};
use crate::given_up::Booking;
use crate::look::Looker;
use crate::push::{Cause, Pusher};
use crate::reconcile::Reconciler;
use crate::repo::{self, Raised};
use crate::sweep::Sweep;
use crate::trouble::{Trouble, Why};

/// How long a request to look at a balance, or to compare the books, waits for the backend. After that the next sweep, or
/// the next comparison, does what it asked for.
const REQUEST_PATIENCE: Duration = Duration::from_secs(10 * 60);

/// What the syncer is made of.
#[derive(Clone)]
pub struct Setup {
    /// The database.
    pub pool: PgPool,
    /// How many connections `pool` has.
    pub connections: u32,
    /// After how many deliveries the loop parks a message.
    pub max_attempts: u32,
    /// Where quotas are enforced.
    pub backend: Arc<dyn QuotaBackend>,
    /// The time.
    pub clock: SharedClock,
    /// How long to go on, and how often to look.
    pub policy: Policy,
    /// Where its metrics are.
    pub registry: Registry,
}

/// The syncer's handler of ledger events and requests.
pub struct Syncer {
    setup: Setup,
    pusher: Arc<Pusher>,
    looker: Arc<Looker>,
    reconciler: Reconciler,
}

/// What the three ledger events have in common.
struct Booked {
    quota: Money,
    ledger_version: i64,
    opening: bool,
    recharge_id: Option<RechargeId>,
}

impl Syncer {
    /// A handler.
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        let Setup { pool, connections, backend, clock, policy, registry, .. } = setup.clone();
        let pusher = Arc::new(Pusher::new(pool, connections, backend, clock, &registry));
        let looker = Arc::new(Looker { pusher: Arc::clone(&pusher), policy });
        let reconciler = Reconciler::new(Arc::clone(&looker), &registry);
        Self { setup, pusher, looker, reconciler }
    }

    /// The sweep that goes with it; what follows from it is published by `publisher`.
    #[must_use]
    pub fn sweep<P: Publish>(&self, publisher: P) -> Sweep<P> {
        Sweep::new(Arc::clone(&self.looker), publisher, &self.setup.registry)
    }

    fn limit(&self, since: Timestamp, patience: Duration, delivery: &Delivery) -> Limit {
        Limit::new(since, patience, delivery.attempt, self.setup.max_attempts)
    }

    /// The ledger said something: note the target, if it is newer, and push whatever is newest.
    async fn booked<T: Payload>(
        &self,
        delivery: &Delivery,
        booked: impl FnOnce(T) -> Booked + Send,
    ) -> Result<Vec<Outgoing>, Failure> {
        let event: Event<T> = delivery.decode()?;
        let organization = event.organization()?.clone();
        let limit = self.limit(event.time, self.setup.policy.sync_deadline, delivery);
        let booked = booked(event.data);
        let cause = Cause {
            event_id: event.id,
            correlation: event.correlationid,
            organization,
            recharge_id: booked.recharge_id,
        };
        let version = booked.ledger_version;
        if version < 1 {
            return Err(Failure::malformed(anyhow::anyhow!("a ledger event with version {version}; the first is 1")));
        }
        let _admitted = self.pusher.admit().await?;
        self.note(&cause, &booked).await?;
        let booking = Booking { quota: booked.quota.to_decimal(), version };
        Ok(vec![self.push_in_time(&cause, Some(booking), limit).await?])
    }

    async fn note(&self, cause: &Cause, booked: &Booked) -> Result<(), Failure> {
        let Cause { organization, event_id, correlation, recharge_id } = cause;
        let Booked { quota, ledger_version, .. } = *booked;
        let (pool, now) = (&self.setup.pool, self.setup.clock.now());
        let raised = repo::raise_target(pool, organization, quota, ledger_version, now).await?;
        if booked.opening {
            repo::note_opening(pool, organization, now).await?;
        }
        match raised {
            Raised::Known(newer) if newer > ledger_version => tracing::info!(
                c_organization_id = %organization, %event_id, correlation_id = %correlation,
                recharge_id = recharge_id.map(tracing::field::display), ledger_version, newer_version = newer,
                "version {ledger_version} of {organization} is superseded by version {newer}, which is pushed in its place"
            ),
            Raised::Newest | Raised::Known(_) => tracing::info!(
                c_organization_id = %organization, %event_id, correlation_id = %correlation,
                recharge_id = recharge_id.map(tracing::field::display), ledger_version, %quota,
                "the ledger says {quota} for {organization}, version {ledger_version}"
            ),
        }
        Ok(())
    }

    /// Somebody wants the quota pushed now.
    async fn sync_requested(&self, delivery: &Delivery) -> Result<Vec<Outgoing>, Failure> {
        let event: Event<SyncRequestedV1> = delivery.decode()?;
        let organization = event.organization()?.clone();
        let limit = self.limit(event.time, self.setup.policy.sync_deadline, delivery);
        let cause = Cause { event_id: event.id, correlation: event.correlationid, organization, recharge_id: None };
        let Cause { organization, event_id, correlation, .. } = &cause;
        let _admitted = self.pusher.admit().await?;
        let Some(known) = repo::organization(&self.setup.pool, organization).await? else {
            return Err(Failure::Refused(format!("there is no organization {organization}")));
        };
        tracing::info!(
            c_organization_id = %organization, %event_id, correlation_id = %correlation, requested_by = event.data.requested_by,
            "a sync of {organization} was asked for"
        );
        repo::introduce(&self.setup.pool, organization, known.currency, self.setup.clock.now()).await?;
        Ok(vec![self.push_in_time(&cause, None, limit).await?])
    }

    /// Pushes; what the backend does not let happen in time is given up.
    async fn push_in_time(&self, cause: &Cause, booking: Option<Booking>, limit: Limit) -> Result<Outgoing, Failure> {
        let (reason, after) = match self.pusher.push(cause).await {
            Ok(outgoing) => return Ok(outgoing),
            Err(Trouble::Ours(failure)) => return Err(failure),
            // Somebody asks for it and can be told what is missing. What was paid for is worth the time that is left.
            Err(Trouble::Backend { reason, why: Why::Undecided, .. }) if booking.is_none() => {
                return self.pusher.give_up(cause, None, &reason).await;
            }
            Err(Trouble::Backend { reason, after, .. }) => (reason, after),
        };
        match verdict(self.setup.clock.now(), limit) {
            Verdict::Later { at_least } => Err(later(reason, after, at_least)),
            Verdict::TooLate => self.pusher.give_up(cause, booking, &reason).await,
            Verdict::TooOften => {
                let reason = format!("{reason} (the last of {} attempts)", limit.max_attempts);
                self.pusher.give_up(cause, booking, &reason).await
            }
        }
    }

    /// Somebody wants the balance looked at now.
    async fn evaluate_requested(&self, delivery: &Delivery) -> Result<Vec<Outgoing>, Failure> {
        let event: Event<EvaluateRequestedV1> = delivery.decode()?;
        let organization = event.organization()?;
        tracing::info!(
            c_organization_id = %organization, event_id = %event.id, correlation_id = %event.correlationid,
            reason = event.data.reason, requested_by = event.data.requested_by, "a look at {organization} was asked for"
        );
        self.refuse_a_closed_one(organization).await?;
        // A card is often saved just before the first sync. Whether that is looked at must not depend on which of the two is
        // handled first, nor on one that is handled between two reads of the other: this is read once, and stays true.
        match repo::met_at(&self.setup.pool, organization).await? {
            Some(met) if met <= event.time => {}
            Some(_) => {
                let reason =
                    format!("{organization} was first synced after this was asked for; the next sweep looks at it");
                return Err(Failure::Refused(reason));
            }
            None => {
                tracing::info!(c_organization_id = %organization, event_id = %event.id, "{organization} was never synced");
                return Ok(Vec::new());
            }
        }
        let looked = self.looker.look_for(organization, &event.id, &event.correlationid).await;
        let limit = self.limit(event.time, REQUEST_PATIENCE, delivery);
        looked.map_err(|trouble| self.refused_in_the_end(trouble, limit, "the next sweep looks at it"))
    }

    async fn refuse_a_closed_one(&self, organization: &OrganizationId) -> Result<(), Failure> {
        match repo::organization(&self.setup.pool, organization).await? {
            None => Err(Failure::Refused(format!("there is no organization {organization}"))),
            Some(known) if known.closed => Err(Failure::Refused(format!("{organization} is closed"))),
            Some(_) => Ok(()),
        }
    }

    /// Somebody wants the books compared.
    async fn reconcile_requested(&self, delivery: &Delivery) -> Result<Vec<Outgoing>, Failure> {
        let event: Event<ReconcileRequestedV1> = delivery.decode()?;
        let limit = self.limit(event.time, REQUEST_PATIENCE, delivery);
        let compared = self.reconciler.run(&event.data.run_id).await;
        compared.map_err(|trouble| self.refused_in_the_end(trouble, limit, "the next comparison does it"))
    }

    /// What can wait for something that comes by itself is not parked when the backend stays away.
    fn refused_in_the_end(&self, trouble: Trouble, limit: Limit, instead: &str) -> Failure {
        let (reason, after) = match trouble {
            Trouble::Ours(failure) => return failure,
            Trouble::Backend { reason, why: Why::Undecided, .. } => return Failure::Refused(reason),
            Trouble::Backend { reason, after, .. } => (reason, after),
        };
        match verdict(self.setup.clock.now(), limit) {
            Verdict::Later { at_least } => later(reason, after, at_least),
            Verdict::TooLate | Verdict::TooOften => Failure::Refused(format!("{reason}; {instead}")),
        }
    }
}

fn later(reason: String, after: Option<Duration>, at_least: Duration) -> Failure {
    let after = after.unwrap_or_default().max(at_least);
    Failure::Retry { after: (!after.is_zero()).then_some(after), reason: anyhow::Error::msg(reason) }
}

impl Handler for Syncer {
    async fn handle(&self, delivery: &Delivery) -> Result<Vec<Outgoing>, Failure> {
        match delivery.kind() {
            LedgerCreditedV1::KIND => self.booked::<LedgerCreditedV1>(delivery, Booked::from).await,
            LedgerReversedV1::KIND => self.booked::<LedgerReversedV1>(delivery, Booked::from).await,
            LedgerHeldV1::KIND => self.booked::<LedgerHeldV1>(delivery, Booked::from).await,
            SyncRequestedV1::KIND => self.sync_requested(delivery).await,
            EvaluateRequestedV1::KIND => self.evaluate_requested(delivery).await,
            ReconcileRequestedV1::KIND => self.reconcile_requested(delivery).await,
            // Parked rather than passed over: it may be a change of quota that a newer syncer understands.
            other => Err(Failure::malformed(anyhow::anyhow!("the syncer does not know {other}"))),
        }
    }
}

impl From<LedgerCreditedV1> for Booked {
    fn from(event: LedgerCreditedV1) -> Self {
        Self {
            quota: event.quota,
            ledger_version: event.ledger_version,
            opening: event.posting == PostingKind::Opening,
            recharge_id: event.recharge_id,
        }
    }
}

impl From<LedgerReversedV1> for Booked {
    fn from(event: LedgerReversedV1) -> Self {
        Self {
            quota: event.quota,
            ledger_version: event.ledger_version,
            opening: false,
            recharge_id: event.recharge_id,
        }
    }
}

impl From<LedgerHeldV1> for Booked {
    fn from(event: LedgerHeldV1) -> Self {
        Self {
            quota: event.quota,
            ledger_version: event.ledger_version,
            opening: false,
            recharge_id: event.recharge_id,
        }
    }
}
