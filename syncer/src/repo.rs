//! The syncer's SQL.

use common::clients::quota::Account;
use common::clock::Timestamp;
use common::ids::{EventId, OrganizationId, TeamId};
use common::money::{Currency, Money, MoneyError};
use rust_decimal::Decimal;
use sqlx::{PgConnection, PgPool};

use crate::plan::{Contact, FirstContact};

pub(crate) type Result<T> = std::result::Result<T, sqlx::Error>;

/// What ingress knows of an organization.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Organization {
    pub(crate) currency: Currency,
    pub(crate) closed: bool,
}

/// A row of `quota_targets`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) currency: Currency,
    pub(crate) quota: Decimal,
    pub(crate) version: i64,
    pub(crate) contact: Contact,
    /// What the backend was last told, and the version it is from.
    pub(crate) pushed: Option<(Decimal, i64)>,
    pub(crate) raised_at: Option<Timestamp>,
    pub(crate) adoption: Option<Adoption>,
    /// The team on which the backend was met.
    pub(crate) team_id: Option<TeamId>,
    /// The team that ingress has.
    pub(crate) named_team: Option<TeamId>,
    /// The backend where it was met.
    pub(crate) backend: Option<String>,
}

impl Target {
    /// Who is meant at this backend.
    pub(crate) fn account(&self, organization: &OrganizationId, backend: &str) -> Account {
        let team = team_at(self.is_elsewhere(backend), self.team_id.clone(), self.named_team.clone());
        Account { organization: organization.clone(), team }
    }

    /// Whether it was met, and at another backend than this one.
    pub(crate) fn is_elsewhere(&self, backend: &str) -> bool {
        is_elsewhere(self.backend.as_deref(), backend)
    }
}

/// Whether the backend where an organization was met, if it was, is another one than this.
pub(crate) fn is_elsewhere(met: Option<&str>, backend: &str) -> bool {
    met.is_some_and(|met| met != backend)
}

/// The team that is meant. One once met stays it: moving to another one would take that one's quota away. At another backend
/// than the one where it was met a person's word goes first.
pub(crate) fn team_at(elsewhere: bool, met: Option<TeamId>, named: Option<TeamId>) -> Option<TeamId> {
    if elsewhere { named.or(met) } else { met.or(named) }
}

/// What was adopted, when, and in which chain of events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Adoption {
    pub(crate) quota: Money,
    pub(crate) correlation: EventId,
    pub(crate) at: Timestamp,
}

/// A row of `quota_syncs`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Synced {
    pub(crate) backend: String,
    pub(crate) version: i64,
    pub(crate) previous: Option<Decimal>,
    pub(crate) quota: Decimal,
    pub(crate) changed: bool,
    pub(crate) team_id: Option<TeamId>,
    pub(crate) at: Timestamp,
}

/// Looks an organization up.
pub(crate) async fn organization(pool: &PgPool, organization: &OrganizationId) -> Result<Option<Organization>> {
    let row: Option<(String, bool)> = sqlx::query_as(
        "SELECT currency, closed_at IS NOT NULL FROM organization_balance_config WHERE c_organization_id = $1",
    )
    .bind(organization.as_str())
    .fetch_optional(pool)
    .await?;
    row.map(|(currency, closed)| Ok(Organization { currency: currency_of(&currency)?, closed })).transpose()
}

/// When the backend was met for the first time.
pub(crate) async fn met_at(pool: &PgPool, organization: &OrganizationId) -> Result<Option<Timestamp>> {
    let sql = "SELECT first_contact_at FROM quota_targets WHERE c_organization_id = $1";
    let met: Option<Option<Timestamp>> =
        sqlx::query_scalar(sql).bind(organization.as_str()).fetch_optional(pool).await?;
    Ok(met.flatten())
}

/// Makes sure that an organization has a row, without changing one.
pub(crate) async fn introduce(
    pool: &PgPool,
    organization: &OrganizationId,
    currency: Currency,
    now: Timestamp,
) -> Result<()> {
    sqlx::query(
        "INSERT INTO quota_targets (c_organization_id, currency, updated_at) VALUES ($1, $2, $3)
         ON CONFLICT (c_organization_id) DO NOTHING",
    )
    .bind(organization.as_str())
    .bind(currency.code())
    .bind(now)
    .execute(pool)
    .await?;
    Ok(())
}

/// What became of noting a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Raised {
    /// It is the newest.
    Newest,
    /// This version was known before: the same one, or a newer one.
    Known(i64),
}

/// Notes what the ledger says, if it is newer than what is known.
pub(crate) async fn raise_target(
    pool: &PgPool,
    organization: &OrganizationId,
    quota: Money,
    version: i64,
    now: Timestamp,
) -> Result<Raised> {
    let done = sqlx::query(
        "INSERT INTO quota_targets (c_organization_id, currency, target_quota, target_version, raised_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $5)
         ON CONFLICT (c_organization_id) DO UPDATE SET
             currency = EXCLUDED.currency, target_quota = EXCLUDED.target_quota, raised_at = EXCLUDED.raised_at,
             target_version = EXCLUDED.target_version, updated_at = EXCLUDED.updated_at
         WHERE quota_targets.target_version < EXCLUDED.target_version",
    )
    .bind(organization.as_str())
    .bind(quota.currency.code())
    .bind(quota.to_decimal())
    .bind(version)
    .bind(now)
    .execute(pool)
    .await?;
    if done.rows_affected() > 0 {
        return Ok(Raised::Newest);
    }
    let sql = "SELECT target_version FROM quota_targets WHERE c_organization_id = $1";
    let (known,) = sqlx::query_as(sql).bind(organization.as_str()).fetch_one(pool).await?;
    Ok(Raised::Known(known))
}

/// Notes that the ledger booked an opening credit: from this version on the target covers what was adopted.
/// Called after [`raise_target`] with the same event, so that the target is at least that version.
pub(crate) async fn note_opening(pool: &PgPool, organization: &OrganizationId, now: Timestamp) -> Result<()> {
    sqlx::query(
        "UPDATE quota_targets SET opening_seen = true, updated_at = $2 WHERE c_organization_id = $1 AND NOT opening_seen",
    )
    .bind(organization.as_str())
    .bind(now)
    .execute(pool)
    .await?;
    Ok(())
}

#[derive(sqlx::FromRow)]
struct TargetRow {
    currency: String,
    target_quota: Decimal,
    target_version: i64,
    first_contact: Option<String>,
    first_contact_at: Option<Timestamp>,
    adopted_quota: Option<Decimal>,
    adopted_correlation: Option<String>,
    opening_seen: bool,
    pushed_quota: Option<Decimal>,
    pushed_version: Option<i64>,
    raised_at: Option<Timestamp>,
    litellm_team_id: Option<String>,
    named_team: Option<String>,
    backend: Option<String>,
}

/// Reads an organization's row and locks it until the transaction ends. One that was met, and of which no backend is recorded, is
/// from before there was another than the KMS.
pub(crate) async fn lock(connection: &mut PgConnection, organization: &OrganizationId) -> Result<Target> {
    let row: TargetRow = sqlx::query_as(
        "SELECT currency, target_quota, target_version, first_contact, first_contact_at, adopted_quota, adopted_correlation,
                opening_seen, pushed_quota, pushed_version, raised_at, litellm_team_id,
                COALESCE(backend, CASE WHEN first_contact IS NOT NULL THEN 'kms' END) AS backend,
                (SELECT c.litellm_team_id FROM organization_balance_config c
                  WHERE c.c_organization_id = quota_targets.c_organization_id) AS named_team
         FROM quota_targets WHERE c_organization_id = $1 FOR UPDATE",
    )
    .bind(organization.as_str())
    .fetch_one(connection)
    .await?;
    let currency = currency_of(&row.currency)?;
    let adoption = match (row.adopted_quota, row.adopted_correlation, row.first_contact_at) {
        (Some(quota), Some(correlation), Some(at)) => Some(Adoption {
            quota: Money::from_decimal(quota, currency).map_err(decode)?,
            correlation: EventId::parse(correlation).map_err(decode)?,
            at,
        }),
        _ => None,
    };
    Ok(Target {
        currency,
        quota: row.target_quota,
        version: row.target_version,
        contact: Contact::of(row.first_contact.as_deref().and_then(FirstContact::parse), row.opening_seen),
        pushed: row.pushed_quota.zip(row.pushed_version),
        raised_at: row.raised_at,
        adoption,
        team_id: team_of(row.litellm_team_id),
        named_team: team_of(row.named_team),
        backend: row.backend,
    })
}

/// With how much an organization begins whose team turns out to be unlimited, if a person has said so.
pub(crate) async fn opening_quota(
    connection: &mut PgConnection,
    organization: &OrganizationId,
) -> Result<Option<Decimal>> {
    let row: Option<(Option<Decimal>,)> =
        sqlx::query_as("SELECT opening_quota FROM organization_balance_config WHERE c_organization_id = $1")
            .bind(organization.as_str())
            .fetch_optional(connection)
            .await?;
    Ok(row.and_then(|(quota,)| quota))
}

/// What was spent, as far as anybody has seen.
pub(crate) async fn last_usage(
    connection: &mut PgConnection,
    organization: &OrganizationId,
) -> Result<Option<Decimal>> {
    let sql = "SELECT usage FROM usage_snapshots WHERE c_organization_id = $1 ORDER BY taken_at DESC, id DESC LIMIT 1";
    sqlx::query_scalar(sql).bind(organization.as_str()).fetch_optional(connection).await
}

/// Records that the backend had nothing to adopt.
pub(crate) async fn record_created(
    connection: &mut PgConnection,
    organization: &OrganizationId,
    backend: &str,
    team: Option<&TeamId>,
    now: Timestamp,
) -> Result<()> {
    sqlx::query(
        "UPDATE quota_targets SET first_contact = $2, first_contact_at = $3, updated_at = $3,
                litellm_team_id = COALESCE($4, litellm_team_id), backend = $5
         WHERE c_organization_id = $1 AND first_contact IS NULL",
    )
    .bind(organization.as_str())
    .bind(FirstContact::Created.as_str())
    .bind(now)
    .bind(team.map(TeamId::as_str))
    .bind(backend)
    .execute(connection)
    .await?;
    Ok(())
}

/// Records that the backend had a quota, which it keeps.
pub(crate) async fn record_adopted(
    connection: &mut PgConnection,
    organization: &OrganizationId,
    backend: &str,
    adoption: &Adoption,
    team: Option<&TeamId>,
) -> Result<()> {
    sqlx::query(
        "UPDATE quota_targets SET first_contact = $2, first_contact_at = $3, updated_at = $3, adopted_quota = $4,
                adopted_correlation = $5, litellm_team_id = COALESCE($6, litellm_team_id), backend = $7
         WHERE c_organization_id = $1 AND first_contact IS NULL",
    )
    .bind(organization.as_str())
    .bind(FirstContact::Adopted.as_str())
    .bind(adoption.at)
    .bind(adoption.quota.to_decimal())
    .bind(adoption.correlation.as_str())
    .bind(team.map(TeamId::as_str))
    .bind(backend)
    .execute(connection)
    .await?;
    Ok(())
}

/// The push that an event has led to, if it has.
pub(crate) async fn recorded(connection: &mut PgConnection, cause: &EventId) -> Result<Option<Synced>> {
    type Row = (String, i64, Option<Decimal>, Decimal, bool, Option<String>, Timestamp);
    let row: Option<Row> = sqlx::query_as(
        "SELECT backend, ledger_version, previous_quota, quota, changed, litellm_team_id, synced_at
         FROM quota_syncs WHERE cause = $1",
    )
    .bind(cause.as_str())
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|(backend, version, previous, quota, changed, team, at)| Synced {
        backend,
        version,
        previous,
        quota,
        changed,
        team_id: team_of(team),
        at,
    }))
}

/// Records a completed push: what is in force now, and a line of history.
pub(crate) async fn record_push(
    connection: &mut PgConnection,
    organization: &OrganizationId,
    cause: &EventId,
    correlation: &EventId,
    sync: &Synced,
) -> Result<()> {
    sqlx::query(
        "UPDATE quota_targets SET backend = $2, pushed_quota = $3, pushed_version = $4,
                litellm_team_id = COALESCE($5, litellm_team_id), updated_at = $6
         WHERE c_organization_id = $1",
    )
    .bind(organization.as_str())
    .bind(&sync.backend)
    .bind(sync.quota)
    .bind(sync.version)
    .bind(sync.team_id.as_ref().map(TeamId::as_str))
    .bind(sync.at)
    .execute(&mut *connection)
    .await?;
    sqlx::query(
        "INSERT INTO quota_syncs (c_organization_id, backend, ledger_version, previous_quota, quota, changed, cause,
                correlation_id, litellm_team_id, synced_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    )
    .bind(organization.as_str())
    .bind(&sync.backend)
    .bind(sync.version)
    .bind(sync.previous)
    .bind(sync.quota)
    .bind(sync.changed)
    .bind(cause.as_str())
    .bind(correlation.as_str())
    .bind(sync.team_id.as_ref().map(TeamId::as_str))
    .bind(sync.at)
    .execute(connection)
    .await?;
    Ok(())
}

pub(crate) fn currency_of(text: &str) -> Result<Currency> {
    text.parse().map_err(|error: MoneyError| decode(error))
}

/// The column may hold what somebody typed in; what is no team id is treated as none.
pub(crate) fn team_of(text: Option<String>) -> Option<TeamId> {
    text.and_then(|text| TeamId::parse(text).ok())
}

pub(crate) fn decode(error: impl std::error::Error + Send + Sync + 'static) -> sqlx::Error {
    sqlx::Error::Decode(Box::new(error))
}
