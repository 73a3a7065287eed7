//! The SQL of questions. They are answered from one snapshot of the database, in a transaction that can change nothing
//! and locks nobody out.

use common::clock::Timestamp;
use common::ids::OrganizationId;
use common::money::Currency;
use rust_decimal::Decimal;
use sqlx::{PgConnection, PgPool, Postgres, Row, Transaction};

use super::answer::Actual;
use crate::repo::{Result, bad, day_and_month, money};
use crate::simulate::{Seen, Spent};

/// A transaction for reading.
pub(super) async fn begin(pool: &PgPool) -> Result<Transaction<'static, Postgres>> {
    pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await
}

/// The ledger's quota, if anything was ever booked.
pub(super) async fn ledger_quota(db: &mut PgConnection, organization: &OrganizationId) -> Result<Option<Decimal>> {
    sqlx::query_scalar("SELECT quota FROM recharge_state WHERE c_organization_id = $1 AND ledger_version > 0")
        .bind(organization.as_str())
        .fetch_optional(db)
        .await
}

/// A row of the syncer's `usage_snapshots`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub(super) struct Snapshot {
    /// When.
    pub(super) taken_at: Timestamp,
    /// What was spent in total.
    pub(super) usage: Decimal,
    /// The quota in force.
    pub(super) quota: Decimal,
}

/// The last snapshot that was taken by then.
pub(super) async fn last_snapshot(
    db: &mut PgConnection,
    organization: &OrganizationId,
    until: Timestamp,
) -> Result<Option<Snapshot>> {
    let sql = "SELECT taken_at, usage, quota FROM usage_snapshots
        WHERE c_organization_id = $1 AND taken_at <= $2 ORDER BY taken_at DESC LIMIT 1";
    sqlx::query_as(sql).bind(organization.as_str()).bind(until).fetch_optional(db).await
}

/// The first snapshot that was taken after that.
pub(super) async fn first_snapshot(
    db: &mut PgConnection,
    organization: &OrganizationId,
    after: Timestamp,
) -> Result<Option<Snapshot>> {
    let sql = "SELECT taken_at, usage, quota FROM usage_snapshots
        WHERE c_organization_id = $1 AND taken_at > $2 ORDER BY taken_at LIMIT 1";
    sqlx::query_as(sql).bind(organization.as_str()).bind(after).fetch_optional(db).await
}

/// What was seen after `from` and by `to`, oldest first, thinned: the looks of each `seconds` count as one.
pub(super) async fn seen(
    db: &mut PgConnection,
    organization: &OrganizationId,
    from: Timestamp,
    to: Timestamp,
    seconds: i64,
) -> Result<Vec<Seen>> {
    let sql = "SELECT max(taken_at) AS at, max(usage) AS usage, count(*) AS looks FROM usage_snapshots
        WHERE c_organization_id = $1 AND taken_at > $2 AND taken_at <= $3
        GROUP BY floor(extract(epoch FROM taken_at - $2) / $4) ORDER BY at";
    let rows = sqlx::query(sql).bind(organization.as_str()).bind(from).bind(to).bind(seconds).fetch_all(db).await?;
    rows.iter()
        .map(|row| {
            let looks = u32::try_from(row.try_get::<i64, _>("looks")?).unwrap_or(u32::MAX);
            Ok(Seen { at: row.try_get("at")?, usage: row.try_get("usage")?, looks })
        })
        .collect()
}

/// What the day and the month of `at` had cost before it, counted as for a claim.
pub(super) async fn spent_before(
    db: &mut PgConnection,
    organization: &OrganizationId,
    currency: Currency,
    at: Timestamp,
) -> Result<Spent> {
    let sql = "SELECT count(*) FILTER (WHERE created_at >= $2 AND triggered_by <> 'manual') AS recharges_today,
            COALESCE(sum(amount) FILTER (WHERE created_at >= $2 AND status <> 'refunded'), 0) AS amount_today,
            COALESCE(sum(amount) FILTER (WHERE status <> 'refunded'), 0) AS amount_month
        FROM recharge_records WHERE c_organization_id = $1 AND trigger_event_id IS NOT NULL AND created_at >= $3
            AND created_at < $4 AND status NOT IN ('declined', 'failed')";
    let (today, month) = day_and_month(at);
    let row = sqlx::query(sql).bind(organization.as_str()).bind(today).bind(month).bind(at).fetch_one(db).await?;
    Ok(Spent {
        recharges_today: u32::try_from(row.try_get::<i64, _>("recharges_today")?).unwrap_or(u32::MAX),
        amount_today: money(&row, "amount_today", currency)?,
        amount_this_month: money(&row, "amount_month", currency)?,
    })
}

/// What really was recharged from then on and by `to`, without what was refused or given back.
pub(super) async fn actual(
    db: &mut PgConnection,
    organization: &OrganizationId,
    currency: Currency,
    from: Timestamp,
    to: Timestamp,
) -> Result<Actual> {
    let sql = "SELECT count(*) AS recharges, count(*) FILTER (WHERE triggered_by = 'manual') AS manual,
            COALESCE(sum(amount), 0) AS amount
        FROM recharge_records WHERE c_organization_id = $1 AND trigger_event_id IS NOT NULL AND created_at >= $2
            AND created_at <= $3 AND status NOT IN ('declined', 'failed', 'refunded')";
    let row = sqlx::query(sql).bind(organization.as_str()).bind(from).bind(to).fetch_one(db).await?;
    let count = |column: &str| -> Result<u64> {
        u64::try_from(row.try_get::<i64, _>(column)?).map_err(|error| bad(column, error))
    };
    Ok(Actual { recharges: count("recharges")?, manual: count("manual")?, amount: money(&row, "amount", currency)? })
}
