//! The SQL of disputes.

use common::contract::DisputeStage;
use common::ids::{OrganizationId, RechargeId};
use common::money::Currency;
use sqlx::{PgConnection, Row};

use super::Dispute;
use crate::repo::{Result, bad, money};

/// One dispute.
pub(crate) async fn find(db: &mut PgConnection, dispute_id: &str) -> Result<Option<Dispute>> {
    let row = sqlx::query("SELECT * FROM disputes WHERE dispute_id = $1").bind(dispute_id).fetch_optional(db).await?;
    row.map(|row| {
        let word = |column: &str| row.try_get::<String, _>(column);
        let currency: Currency = word("currency")?.parse().map_err(|error| bad("currency", error))?;
        Ok(Dispute {
            dispute_id: word("dispute_id")?,
            recharge_id: RechargeId(row.try_get("recharge_id")?),
            organization: OrganizationId::parse(word("c_organization_id")?)
                .map_err(|error| bad("c_organization_id", error))?,
            amount: money(&row, "amount", currency)?,
            total: money(&row, "total", currency)?,
            stage: DisputeStage::parse(&word("stage")?).ok_or_else(|| bad("stage", "unknown stage"))?,
            reason: word("reason")?,
            opened_at: row.try_get("opened_at")?,
            closed_at: row.try_get("closed_at")?,
        })
    })
    .transpose()
}

/// Stores a dispute, or how it stands now.
pub(crate) async fn save(db: &mut PgConnection, dispute: &Dispute) -> Result<()> {
    let sql = "INSERT INTO disputes (dispute_id, recharge_id, c_organization_id, currency, amount, total, stage, reason, opened_at, closed_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
        ON CONFLICT (dispute_id) DO UPDATE SET stage = EXCLUDED.stage, closed_at = EXCLUDED.closed_at";
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
        .execute(db)
        .await?;
    Ok(())
}
