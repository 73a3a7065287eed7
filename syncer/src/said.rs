//! The events of the syncer. A repeat builds the same one, to the byte: whatever is in it comes from what is stored, and from
//! the event that caused it.

use common::contract::{Event, Outgoing, Payload as _, QuotaAdoptedV1, QuotaFailedV1, QuotaLowV1, QuotaSyncedV1};
use common::failure::Failure;
use common::ids::{EventId, OrganizationId, TeamId};

use crate::given_up::GivenUp;
use crate::look::Snapshot;
use crate::push::Cause;
use crate::repo::{Adoption, Synced};

/// The quota is in force.
pub(crate) fn synced(cause: &Cause, sync: Synced) -> Result<Outgoing, Failure> {
    let data = QuotaSyncedV1 {
        backend: sync.backend,
        quota: sync.quota,
        previous_quota: sync.previous,
        ledger_version: sync.version,
        litellm_team_id: sync.team_id,
        changed: sync.changed,
    };
    Event::following(&cause.event_id, &cause.organization, sync.at, &cause.correlation, data).outgoing()
}

/// The backend had a quota, and keeps it.
pub(crate) fn adopted(
    organization: &OrganizationId,
    backend: &str,
    adoption: &Adoption,
    litellm_team_id: Option<TeamId>,
) -> Result<Outgoing, Failure> {
    let data = QuotaAdoptedV1 { backend: backend.to_owned(), quota: adoption.quota, litellm_team_id };
    // Its cause is the organization, not the event: it happens once, and every repeat is the same event.
    Event::following(organization, organization, adoption.at, &adoption.correlation, data).outgoing()
}

/// The push was given up.
pub(crate) fn failed(cause: &Cause, given_up: GivenUp) -> Result<Outgoing, Failure> {
    let data = QuotaFailedV1 {
        backend: given_up.backend,
        quota: given_up.quota,
        ledger_version: given_up.version,
        reason: given_up.reason,
        recharge_id: cause.recharge_id,
    };
    Event::following(&cause.event_id, &cause.organization, given_up.at, &cause.correlation, data).outgoing()
}

/// Little is left. The event's cause is the snapshot; it starts a chain of its own, unless somebody asked for the look.
pub(crate) fn low(
    organization: &OrganizationId,
    snapshot: &Snapshot,
    minimum_balance: rust_decimal::Decimal,
    correlation: Option<&EventId>,
) -> Result<Outgoing, Failure> {
    let data = QuotaLowV1 {
        usage: snapshot.usage,
        quota: snapshot.quota,
        available: snapshot.quota - snapshot.usage,
        minimum_balance,
    };
    // Its time, too: a database that was restored gives the same numbers again, and a recharge's key derives from this.
    let cause = format!("usage_{}_{}", snapshot.id, snapshot.at.timestamp_micros());
    let id = EventId::following(QuotaLowV1::KIND, &cause);
    Event::following(&cause, organization, snapshot.at, correlation.unwrap_or(&id), data).outgoing()
}
