//! The SQL of looking at one organization.

use common::clock::Timestamp;
use common::ids::{EventId, OrganizationId};
use rust_decimal::Decimal;
use sqlx::{PgConnection, PgPool};

use super::low::Said;
use super::{Snapshot, Subject, Watch};
use crate::plan::{Contact, FirstContact};
use crate::repo::{Result, is_elsewhere, team_at, team_of};
use crate::standing::{Book, Wrong};

#[derive(sqlx::FromRow)]
struct SubjectRow {
    target_quota: Decimal,
    target_version: i64,
    first_contact: Option<String>,
    opening_seen: bool,
    pushed_version: Option<i64>,
    raised_at: Option<Timestamp>,
    litellm_team_id: Option<String>,
    named_team: Option<String>,
    backend: Option<String>,
    low_said_at: Option<Timestamp>,
    low_said_version: Option<i64>,
    low_said_config: Option<Timestamp>,
    minimum_balance: Option<Decimal>,
    config_updated_at: Option<Timestamp>,
    open_repairs: Vec<i64>,
    month_read_at: Option<Timestamp>,
}

/// What is recorded of an organization; `None` when it was never met and nothing was booked for it.
pub(super) async fn subject(pool: &PgPool, organization: &OrganizationId, backend: &str) -> Result<Option<Subject>> {
    let row: Option<SubjectRow> = sqlx::query_as(
        "SELECT t.target_quota, t.target_version, t.first_contact, t.opening_seen, t.pushed_version, t.raised_at,
                t.litellm_team_id, (SELECT o.litellm_team_id FROM organization_balance_config o
                                     WHERE o.c_organization_id = t.c_organization_id) AS named_team,
                COALESCE(t.backend, CASE WHEN t.first_contact IS NOT NULL THEN 'kms' END) AS backend,
                t.low_said_at, t.low_said_version, t.low_said_config, c.minimum_balance,
                c.updated_at AS config_updated_at,
                ARRAY(SELECT r.id FROM quota_repairs r
                       WHERE r.c_organization_id = t.c_organization_id AND r.ended_at IS NULL ORDER BY r.id) AS open_repairs,
                (SELECT s.taken_at FROM usage_snapshots s WHERE s.c_organization_id = t.c_organization_id
                    AND s.month_usage IS NOT NULL ORDER BY s.taken_at DESC LIMIT 1) AS month_read_at
         FROM quota_targets t
         LEFT JOIN organization_balance_config c ON c.c_organization_id = t.c_organization_id
               AND c.auto_recharge_enabled AND c.closed_at IS NULL
         WHERE t.c_organization_id = $1",
    )
    .bind(organization.as_str())
    .fetch_optional(pool)
    .await?;
    Ok(row.map(|row| {
        let said = match (row.low_said_at, row.low_said_version, row.low_said_config) {
            (Some(at), Some(version), Some(config)) => Some(Said { at, version, config }),
            _ => None,
        };
        let elsewhere = is_elsewhere(row.backend.as_deref(), backend);
        let watch = row.minimum_balance.zip(row.config_updated_at);
        Subject {
            organization: organization.clone(),
            book: Book {
                contact: Contact::of(row.first_contact.as_deref().and_then(FirstContact::parse), row.opening_seen),
                quota: row.target_quota,
                version: row.target_version,
                pushed_version: row.pushed_version,
                raised_at: row.raised_at,
                elsewhere,
            },
            team: team_at(elsewhere, team_of(row.litellm_team_id), team_of(row.named_team)),
            watch: watch.map(|(minimum_balance, updated_at)| Watch { minimum_balance, updated_at }),
            said,
            open_repairs: row.open_repairs,
            month_read_at: row.month_read_at,
        }
    }))
}

type SnapshotRow = (i64, Decimal, Decimal, Timestamp, Option<Decimal>);

fn snapshot_of((id, usage, quota, at, minimum_balance): SnapshotRow) -> Snapshot {
    Snapshot { id, usage, quota, at, minimum_balance }
}

/// The snapshot that this request has led to, if it has.
pub(super) async fn snapshot_for(pool: &PgPool, cause: &EventId) -> Result<Option<Snapshot>> {
    let sql = "SELECT id, usage, quota, taken_at, minimum_balance FROM usage_snapshots WHERE cause = $1";
    let row: Option<SnapshotRow> = sqlx::query_as(sql).bind(cause.as_str()).fetch_optional(pool).await?;
    Ok(row.map(snapshot_of))
}

/// What is stored as a snapshot.
pub(super) struct Seen<'a> {
    pub(super) organization: &'a OrganizationId,
    pub(super) usage: Decimal,
    pub(super) quota: Decimal,
    pub(super) minimum_balance: Option<Decimal>,
    pub(super) cause: Option<&'a EventId>,
    pub(super) month_usage: Option<Decimal>,
}

/// Stores a snapshot. Returns the one that counts: of a cause there is one only, whoever was first.
pub(super) async fn take_snapshot(pool: &PgPool, seen: &Seen<'_>, at: Timestamp) -> Result<Snapshot> {
    let row: SnapshotRow = sqlx::query_as(
        "INSERT INTO usage_snapshots (c_organization_id, usage, quota, taken_at, minimum_balance, cause, month_usage)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (cause) DO UPDATE SET cause = EXCLUDED.cause
         RETURNING id, usage, quota, taken_at, minimum_balance",
    )
    .bind(seen.organization.as_str())
    .bind(seen.usage)
    .bind(seen.quota)
    .bind(at)
    .bind(seen.minimum_balance)
    .bind(seen.cause.map(EventId::as_str))
    .bind(seen.month_usage)
    .fetch_one(pool)
    .await?;
    Ok(snapshot_of(row))
}

/// Notes what was said of a low balance; `None`: there is enough.
pub(super) async fn note_said(pool: &PgPool, organization: &OrganizationId, said: Option<Said>) -> Result<()> {
    sqlx::query(
        "UPDATE quota_targets SET low_said_at = $2, low_said_version = $3, low_said_config = $4 WHERE c_organization_id = $1",
    )
    .bind(organization.as_str())
    .bind(said.map(|said| said.at))
    .bind(said.map(|said| said.version))
    .bind(said.map(|said| said.config))
    .execute(pool)
    .await?;
    Ok(())
}

/// What is to be repaired.
pub(super) struct Repair<'a> {
    pub(super) organization: &'a OrganizationId,
    pub(super) backend: &'a str,
    pub(super) wrong: Wrong,
    pub(super) version: i64,
    pub(super) expected: Decimal,
    pub(super) found: Option<Decimal>,
}

/// A repair that was begun and has pushed nothing yet, if there is one. The caller holds the organization's row.
pub(super) async fn unfinished_repair(
    connection: &mut PgConnection,
    organization: &OrganizationId,
) -> Result<Option<i64>> {
    let row: Option<(i64,)> = sqlx::query_as(
        "SELECT r.id FROM quota_repairs r WHERE r.c_organization_id = $1 AND r.ended_at IS NULL
            AND NOT EXISTS (SELECT FROM quota_syncs s WHERE s.cause = 'repair:' || r.id) ORDER BY r.id LIMIT 1",
    )
    .bind(organization.as_str())
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|(id,)| id))
}

/// Begins a repair. Returns its id.
pub(super) async fn begin_repair(connection: &mut PgConnection, repair: &Repair<'_>, at: Timestamp) -> Result<i64> {
    let (id,) = sqlx::query_as(
        "INSERT INTO quota_repairs (c_organization_id, backend, kind, ledger_version, expected, found, begun_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING id",
    )
    .bind(repair.organization.as_str())
    .bind(repair.backend)
    .bind(repair.wrong.as_str())
    .bind(repair.version)
    .bind(repair.expected)
    .bind(repair.found)
    .bind(at)
    .fetch_one(connection)
    .await?;
    Ok(id)
}

/// Notes that it was said what came of these repairs.
pub(super) async fn end_repairs(pool: &PgPool, ids: &[i64], at: Timestamp) -> Result<()> {
    let sql = "UPDATE quota_repairs SET ended_at = $2 WHERE id = ANY($1) AND ended_at IS NULL";
    sqlx::query(sql).bind(ids).bind(at).execute(pool).await?;
    Ok(())
}
