//! The SQL of the sweep.

use common::clock::Timestamp;
use common::ids::OrganizationId;
use rust_decimal::Decimal;
use sqlx::{Connection as _, PgConnection, PgPool};

use crate::look::low::Candidate;
use crate::repo::{Result, decode};

/// The lock that whoever sweeps holds: any constant, the same in every replica. Advisory locks are per database.
const SWEEP_LOCK: i64 = 0x6269_6c6c_7377_6570;

/// Opens a connection of its own for the lock. It is idle between sweeps, and nothing may end it but its process: the
/// pool's timeouts don't hold for it, and the server notices within a minute when the other end is gone without a word.
pub(super) async fn connect(pool: &PgPool) -> Result<PgConnection> {
    let mut connection = PgConnection::connect_with(&pool.connect_options()).await?;
    for setting in [
        "SET statement_timeout = 0",
        "SET idle_in_transaction_session_timeout = 0",
        "SET idle_session_timeout = 0",
        "SET tcp_keepalives_idle = 20",
        "SET tcp_keepalives_interval = 10",
        "SET tcp_keepalives_count = 3",
    ] {
        sqlx::query(setting).execute(&mut connection).await?;
    }
    Ok(connection)
}

/// Takes the lock, if nobody has it.
pub(super) async fn try_lock(connection: &mut PgConnection) -> Result<bool> {
    let (taken,) = sqlx::query_as("SELECT pg_try_advisory_lock($1)").bind(SWEEP_LOCK).fetch_one(connection).await?;
    Ok(taken)
}

/// Everybody who is to be looked at, in no order: who recharges automatically and was met at the backend, and who has a
/// push or a repair that is not done. One that was never synced is not among them, and a closed one only with such work.
pub(super) async fn candidates(pool: &PgPool) -> Result<Vec<Candidate<OrganizationId>>> {
    let rows: Vec<(String, Option<Decimal>)> = sqlx::query_as(
        "SELECT t.c_organization_id, u.quota - u.usage
         FROM quota_targets t
         LEFT JOIN organization_balance_config c ON c.c_organization_id = t.c_organization_id
         LEFT JOIN LATERAL (SELECT s.quota, s.usage FROM usage_snapshots s
              WHERE s.c_organization_id = t.c_organization_id ORDER BY s.taken_at DESC LIMIT 1) u ON true
         WHERE (c.auto_recharge_enabled AND c.closed_at IS NULL AND (t.first_contact IS NOT NULL OR t.opening_seen))
            OR t.target_version > COALESCE(t.pushed_version, 0)
            OR EXISTS (SELECT FROM quota_repairs r WHERE r.c_organization_id = t.c_organization_id AND r.ended_at IS NULL)",
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter()
        .map(|(id, available)| Ok(Candidate { who: OrganizationId::parse(id).map_err(decode)?, available }))
        .collect()
}

/// Takes the oldest snapshots and ended repairs from before `before` away, so many of each at most. Returns how many.
pub(super) async fn prune(pool: &PgPool, before: Timestamp, at_most: i64) -> Result<u64> {
    let mut taken = 0;
    for sql in [
        "DELETE FROM usage_snapshots WHERE id IN
            (SELECT id FROM usage_snapshots WHERE taken_at < $1 ORDER BY taken_at LIMIT $2)",
        "DELETE FROM quota_repairs WHERE id IN
            (SELECT id FROM quota_repairs WHERE ended_at < $1 ORDER BY id LIMIT $2)",
    ] {
        taken += sqlx::query(sql).bind(before).bind(at_most).execute(pool).await?.rows_affected();
    }
    Ok(taken)
}
