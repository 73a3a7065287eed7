//! Pushes that are given up: the fact is stored once per cause, and `quotas.failed` says so. What the ledger wants stays the
//! target all the same, and the sweep brings it when the backend is back.

mod repo;

use common::clock::Timestamp;
use common::contract::Outgoing;
use common::failure::Failure;
use rust_decimal::Decimal;
use sqlx::PgConnection;

use crate::push::{Cause, Pusher};
use crate::repo::{self as pushes, Synced};
use crate::said;

/// A row of `quota_failures`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GivenUp {
    pub(crate) backend: String,
    pub(crate) quota: Decimal,
    pub(crate) version: i64,
    pub(crate) reason: String,
    pub(crate) at: Timestamp,
}

/// What the ledger said, in the event that asked for the push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Booking {
    pub(crate) quota: Decimal,
    pub(crate) version: i64,
}

/// The answer that was given to this cause, if it was given up.
pub(crate) async fn answer(connection: &mut PgConnection, cause: &Cause) -> Result<Option<Outgoing>, Failure> {
    let Some(given_up) = repo::find(connection, &cause.event_id).await? else { return Ok(None) };
    said::failed(cause, given_up).map(Some)
}

impl Pusher {
    /// Gives a push up and says so, unless it came to an end meanwhile. `booking` is what the ledger said; without one the
    /// newest target is what was not brought into force.
    ///
    /// A booking that a newer push covers has not failed: it was in force, and that is what is said.
    ///
    /// # Errors
    /// What the database says; then nothing is given up.
    pub(crate) async fn give_up(
        &self,
        cause: &Cause,
        booking: Option<Booking>,
        reason: &str,
    ) -> Result<Outgoing, Failure> {
        let Cause { organization, event_id, correlation, recharge_id } = cause;
        let mut tx = self.pool.begin().await?;
        let target = pushes::lock(&mut tx, organization).await?;
        if let Some(sync) = pushes::recorded(&mut tx, event_id).await? {
            return said::synced(cause, sync);
        }
        if let Some(answer) = answer(&mut tx, cause).await? {
            return Ok(answer);
        }
        let at = self.clock.now();
        let backend = self.backend.name();
        if let (Some(booking), Some((quota, version))) = (booking, target.pushed)
            && version >= booking.version
        {
            let team_id = target.team_id;
            let sync = Synced {
                // Where it was in force, which may have been elsewhere.
                backend: target.backend.unwrap_or_else(|| backend.to_owned()),
                version,
                previous: Some(quota),
                quota,
                changed: false,
                team_id,
                at,
            };
            pushes::record_push(&mut tx, organization, event_id, correlation, &sync).await?;
            tx.commit().await?;
            self.metrics.push(backend, "covered");
            tracing::info!(
                c_organization_id = %organization, %event_id, correlation_id = %correlation, ledger_version = booking.version,
                pushed_version = version,
                "version {} of {organization} is covered by version {version}, which was pushed", booking.version
            );
            return said::synced(cause, sync);
        }
        let Booking { quota, version } = booking.unwrap_or(Booking { quota: target.quota, version: target.version });
        let given_up = GivenUp { backend: backend.to_owned(), quota, version, reason: reason.to_owned(), at };
        repo::record(&mut tx, cause, &given_up).await?;
        tx.commit().await?;
        self.metrics.push(backend, "given_up");
        tracing::error!(
            c_organization_id = %organization, %event_id, correlation_id = %correlation, ledger_version = version, %quota,
            recharge_id = recharge_id.map(tracing::field::display), backend, reason,
            "the quota of {organization} is not in force in time, and is given up for now: {reason}"
        );
        said::failed(cause, given_up)
    }
}
