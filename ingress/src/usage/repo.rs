//! Reads `usage_snapshots`, which the syncer writes, and `recharge_records`, which the recharger does.

use common::clock::Timestamp;
use common::ids::OrganizationId;
use rust_decimal::Decimal;
use sqlx::{FromRow, PgConnection};

/// One look at an organization's usage.
#[derive(Debug, FromRow)]
pub(crate) struct Look {
    pub(crate) taken_at: Timestamp,
    pub(crate) usage: Decimal,
    pub(crate) quota: Decimal,
}

/// The last look of each of so many equal parts of a time, newest first. Parts in which nobody looked are left out. From each
/// look it goes on to the last one before that look's part, along the index: what it costs depends on how many parts there
/// are, and not on how often somebody looked.
pub(crate) async fn looks(
    connection: &mut PgConnection,
    organization: &OrganizationId,
    from: Timestamp,
    to: Timestamp,
    parts: i32,
) -> sqlx::Result<Vec<Look>> {
    sqlx::query_as(
        "WITH RECURSIVE time AS (
            SELECT (extract(epoch FROM $3::timestamptz - $2::timestamptz) * 1000000)::bigint AS length, $4::bigint AS parts
         ), looks AS (
            (SELECT taken_at, usage, quota FROM usage_snapshots
              WHERE c_organization_id = $1 AND taken_at >= $2 AND taken_at < $3
              ORDER BY taken_at DESC, id DESC LIMIT 1)
            UNION ALL
            SELECT older.* FROM (
                SELECT $2 + (part * length + parts - 1) / parts * interval '1 microsecond' AS begun
                  FROM (SELECT length, parts, (extract(epoch FROM taken_at - $2) * 1000000)::bigint * parts / length AS part
                          FROM looks, time) of_look
            ) parts CROSS JOIN LATERAL (
                SELECT taken_at, usage, quota FROM usage_snapshots
                 WHERE c_organization_id = $1 AND taken_at >= $2 AND taken_at < begun
                 ORDER BY taken_at DESC, id DESC LIMIT 1) older
         )
         SELECT taken_at, usage, quota FROM looks ORDER BY taken_at DESC",
    )
    .bind(organization.as_str())
    .bind(from)
    .bind(to)
    .bind(parts)
    .fetch_all(connection)
    .await
}

/// What the quota backend said last of the month's usage, and when; none where it can't tell.
pub(crate) async fn told(
    connection: &mut PgConnection,
    organization: &OrganizationId,
    month: Timestamp,
) -> sqlx::Result<Option<(Decimal, Timestamp)>> {
    sqlx::query_as(
        "SELECT month_usage, taken_at FROM usage_snapshots
          WHERE c_organization_id = $1 AND month_usage IS NOT NULL AND taken_at >= $2
          ORDER BY taken_at DESC, id DESC LIMIT 1",
    )
    .bind(organization.as_str())
    .bind(month)
    .fetch_optional(connection)
    .await
}

/// The last look of all, or before a time.
pub(crate) async fn newest(
    connection: &mut PgConnection,
    organization: &OrganizationId,
    before: Option<Timestamp>,
) -> sqlx::Result<Option<Look>> {
    sqlx::query_as(
        "SELECT taken_at, usage, quota FROM usage_snapshots
          WHERE c_organization_id = $1 AND ($2::timestamptz IS NULL OR taken_at < $2)
          ORDER BY taken_at DESC, id DESC LIMIT 1",
    )
    .bind(organization.as_str())
    .bind(before)
    .fetch_optional(connection)
    .await
}

/// The first look since a time.
pub(crate) async fn first_since(
    connection: &mut PgConnection,
    organization: &OrganizationId,
    since: Timestamp,
) -> sqlx::Result<Option<Look>> {
    sqlx::query_as(
        "SELECT taken_at, usage, quota FROM usage_snapshots
          WHERE c_organization_id = $1 AND taken_at >= $2 ORDER BY taken_at, id LIMIT 1",
    )
    .bind(organization.as_str())
    .bind(since)
    .fetch_optional(connection)
    .await
}

/// What was captured of charges since then, and what of these went back since.
pub(crate) async fn charged(
    connection: &mut PgConnection,
    organization: &OrganizationId,
    since: Timestamp,
) -> sqlx::Result<(Decimal, Decimal)> {
    sqlx::query_as(
        "SELECT COALESCE(sum(total_charge), 0), COALESCE(sum(refunded_total), 0) FROM recharge_records
          WHERE c_organization_id = $1 AND trigger_event_id IS NOT NULL AND charged_at >= $2",
    )
    .bind(organization.as_str())
    .bind(since)
    .fetch_one(connection)
    .await
}
