//! The SQL of reconciliation.

use common::clock::Timestamp;
use common::ids::RechargeId;
use common::reconciliation::Part;
use sqlx::PgPool;
use uuid::Uuid;

use crate::record::{self, Record};
use crate::repo::Result;

/// Whether this part of a run was done before.
pub(super) async fn is_done(pool: &PgPool, run_id: &str) -> Result<bool> {
    let sql = "SELECT EXISTS (SELECT FROM reconciliation_parts WHERE run_id = $1 AND part = $2)";
    sqlx::query_scalar(sql).bind(run_id).bind(Part::Charges.as_str()).fetch_one(pool).await
}

/// The recharges that were charged after `since` and before `until`, and hold the money.
pub(super) async fn charged_since(pool: &PgPool, since: Timestamp, until: Timestamp) -> Result<Vec<Record>> {
    let sql = "SELECT recharge_id FROM recharge_records WHERE trigger_event_id IS NOT NULL AND created_at >= $1 AND created_at < $2
            AND status IN ('charged', 'credited', 'settled', 'refunding', 'returning') ORDER BY created_at";
    let ids: Vec<Uuid> = sqlx::query_scalar(sql).bind(since).bind(until).fetch_all(pool).await?;
    let mut connection = pool.acquire().await?;
    let mut records = Vec::new();
    for id in ids {
        records.extend(record::repo::record(&mut connection, RechargeId(id)).await?);
    }
    Ok(records)
}
