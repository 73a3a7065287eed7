//! What the syncer does with each kind of event.

use std::sync::Arc;

use common::clients::quota::QuotaBackend;
use common::clock::SharedClock;
use common::contract::{
    Event, LedgerCreditedV1, LedgerHeldV1, LedgerReversedV1, Outgoing, Payload, PostingKind, SyncRequestedV1,
};
use common::failure::Failure;
use common::ids::RechargeId;
use common::money::Money;
use common::worker::{Delivery, Handler};
use prometheus::Registry;
use sqlx::PgPool;

use crate::push::{Cause, Pusher};
use crate::repo;

/// The syncer's handler of ledger events and sync requests.
pub struct Syncer {
    pool: PgPool,
    clock: SharedClock,
    pusher: Pusher,
}

/// What the three ledger events have in common.
struct Booked {
    quota: Money,
    ledger_version: i64,
    opening: bool,
    recharge_id: Option<RechargeId>,
}

impl Syncer {
    /// A handler on `pool`, which has `connections` connections, that writes to `backend`.
    #[must_use]
    pub fn new(
        pool: PgPool,
        connections: u32,
        backend: Arc<dyn QuotaBackend>,
        clock: SharedClock,
        registry: &Registry,
    ) -> Self {
        let pusher = Pusher::new(pool.clone(), connections, backend, clock.clone(), registry);
        Self { pool, clock, pusher }
    }

    /// The ledger said something: note the target, if it is newer, and push whatever is newest.
    async fn booked<T: Payload>(
        &self,
        event: Event<T>,
        booked: impl FnOnce(T) -> Booked,
    ) -> Result<Vec<Outgoing>, Failure> {
        let organization = event.organization()?.clone();
        let booked = booked(event.data);
        let cause = Cause {
            event_id: event.id,
            correlation: event.correlationid,
            organization,
            recharge_id: booked.recharge_id,
        };
        let Cause { organization, event_id, correlation, .. } = &cause;
        if booked.ledger_version < 1 {
            let version = booked.ledger_version;
            return Err(Failure::malformed(anyhow::anyhow!("a ledger event with version {version}; the first is 1")));
        }
        let _admitted = self.pusher.admit().await?;
        let now = self.clock.now();
        let newer = repo::raise_target(&self.pool, organization, booked.quota, booked.ledger_version, now).await?;
        if booked.opening {
            repo::note_opening(&self.pool, organization, now).await?;
        }
        tracing::info!(
            c_organization_id = %organization, %event_id, correlation_id = %correlation,
            recharge_id = booked.recharge_id.map(tracing::field::display), ledger_version = booked.ledger_version,
            quota = %booked.quota, newer, "the ledger says {} for {organization}, version {}", booked.quota, booked.ledger_version
        );
        Ok(vec![self.pusher.push(&cause).await?])
    }

    /// Somebody wants the quota pushed now.
    async fn requested(&self, event: Event<SyncRequestedV1>) -> Result<Vec<Outgoing>, Failure> {
        let organization = event.organization()?.clone();
        let cause = Cause { event_id: event.id, correlation: event.correlationid, organization, recharge_id: None };
        let Cause { organization, event_id, correlation, .. } = &cause;
        let _admitted = self.pusher.admit().await?;
        let Some(known) = repo::organization(&self.pool, organization).await? else {
            return Err(Failure::Refused(format!("there is no organization {organization}")));
        };
        tracing::info!(
            c_organization_id = %organization, %event_id, correlation_id = %correlation, requested_by = event.data.requested_by,
            "a sync of {organization} was asked for"
        );
        repo::introduce(&self.pool, organization, known.currency, self.clock.now()).await?;
        Ok(vec![self.pusher.push(&cause).await?])
    }
}

impl Handler for Syncer {
    async fn handle(&self, delivery: &Delivery) -> Result<Vec<Outgoing>, Failure> {
        match delivery.kind() {
            LedgerCreditedV1::KIND => self.booked(delivery.decode::<LedgerCreditedV1>()?, Booked::from).await,
            LedgerReversedV1::KIND => self.booked(delivery.decode::<LedgerReversedV1>()?, Booked::from).await,
            LedgerHeldV1::KIND => self.booked(delivery.decode::<LedgerHeldV1>()?, Booked::from).await,
            SyncRequestedV1::KIND => self.requested(delivery.decode::<SyncRequestedV1>()?).await,
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
