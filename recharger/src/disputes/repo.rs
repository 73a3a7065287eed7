//! The SQL of disputes.

use common::clock::Timestamp;
use common::contract::DisputeStage;
use common::ids::{OrganizationId, RechargeId};
use common::money::Currency;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, PgPool, Row};
use uuid::Uuid;

use super::Dispute;
use crate::repo::{Result, bad, money};

/// One dispute.
pub(crate) async fn find(db: &mut PgConnection, dispute_id: &str) -> Result<Option<Dispute>> {
    let row = sqlx::query("SELECT * FROM disputes WHERE dispute_id = $1").bind(dispute_id).fetch_optional(db).await?;
    row.map(|row| read(&row)).transpose()
}

/// Disputes that must be said again, so that no other replica does until `lease`.
pub(crate) async fn take_due(pool: &PgPool, now: Timestamp, lease: Timestamp, limit: i64) -> Result<Vec<Dispute>> {
    let sql = "UPDATE disputes SET next_at = $2 WHERE dispute_id IN (
            SELECT dispute_id FROM disputes WHERE next_at <= $1 ORDER BY next_at LIMIT $3 FOR UPDATE SKIP LOCKED)
        RETURNING *";
    let rows = sqlx::query(sql).bind(now).bind(lease).bind(limit).fetch_all(pool).await?;
    rows.iter().map(read).collect()
}

/// It was said, and stands as it did then.
pub(crate) async fn was_said(pool: &PgPool, dispute_id: &str, lease: Timestamp) -> Result<()> {
    let sql = "UPDATE disputes SET next_at = NULL WHERE dispute_id = $1 AND next_at = $2";
    sqlx::query(sql).bind(dispute_id).bind(lease).execute(pool).await.map(drop)
}

/// The recharges whose disputes are not decided yet, as far as we know.
pub(crate) async fn open(pool: &PgPool) -> Result<Vec<RechargeId>> {
    let ids: Vec<Uuid> =
        sqlx::query_scalar("SELECT DISTINCT recharge_id FROM disputes WHERE stage = 'opened'").fetch_all(pool).await?;
    Ok(ids.into_iter().map(RechargeId).collect())
}

fn read(row: &PgRow) -> Result<Dispute> {
    let word = |column: &str| row.try_get::<String, _>(column);
    let currency: Currency = word("currency")?.parse().map_err(|error| bad("currency", error))?;
    Ok(Dispute {
        dispute_id: word("dispute_id")?,
        recharge_id: RechargeId(row.try_get("recharge_id")?),
        organization: OrganizationId::parse(word("c_organization_id")?)
            .map_err(|error| bad("c_organization_id", error))?,
        amount: money(row, "amount", currency)?,
        total: money(row, "total", currency)?,
        stage: DisputeStage::parse(&word("stage")?).ok_or_else(|| bad("stage", "unknown stage"))?,
        reason: word("reason")?,
        opened_at: row.try_get("opened_at")?,
        closed_at: row.try_get("closed_at")?,
        next_at: row.try_get("next_at")?,
    })
}

/// Stores a dispute, or how it stands now.
pub(crate) async fn save(db: &mut PgConnection, dispute: &Dispute) -> Result<()> {
    let sql = "INSERT INTO disputes (dispute_id, recharge_id, c_organization_id, currency, amount, total, stage, reason, opened_at, closed_at, next_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
        ON CONFLICT (dispute_id) DO UPDATE SET stage = EXCLUDED.stage, closed_at = EXCLUDED.closed_at, next_at = EXCLUDED.next_at";
    sqlx::query(sql)
        .bind(&dispute.dispute_id)
        .bind(dispute.recharge_id.0)
        .bind(dispute.organization.as_str())
        .bind(dispute.total.currency.code())
        .bind(dispute.amount.to_decimal())
        .bind(dispute.total.to_decimal())
        .bind(dispute.stage.as_str())
        .bind(&dispute.reason)
        .bind(dispute.opened_at)
        .bind(dispute.closed_at)
        .bind(dispute.next_at)
        .execute(db)
        .await?;
    Ok(())
}
