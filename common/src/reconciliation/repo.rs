//! The SQL of reconciliation.

use sqlx::PgPool;

use super::{Finding, Part};
use crate::clock::Timestamp;
use crate::ids::OrganizationId;

/// Whether a part is stored.
pub(super) async fn is_done(pool: &PgPool, run_id: &str, part: Part) -> sqlx::Result<bool> {
    let sql = "SELECT EXISTS (SELECT FROM reconciliation_parts WHERE run_id = $1 AND part = $2)";
    sqlx::query_scalar(sql).bind(run_id).bind(part.as_str()).fetch_one(pool).await
}

/// Stores a part with its findings. Returns false when it was stored before.
pub(super) async fn record(
    pool: &PgPool,
    run_id: &str,
    part: Part,
    checked: u64,
    findings: &[Finding],
    now: Timestamp,
) -> sqlx::Result<bool> {
    let mut tx = pool.begin().await?;
    let sql = "INSERT INTO reconciliation_parts (run_id, part, checked, finished_at) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";
    let inserted = sqlx::query(sql)
        .bind(run_id)
        .bind(part.as_str())
        .bind(i64::try_from(checked).unwrap_or(i64::MAX))
        .bind(now)
        .execute(&mut *tx)
        .await?;
    if inserted.rows_affected() == 0 {
        return Ok(false);
    }
    for finding in findings {
        let sql = "INSERT INTO reconciliation_findings (run_id, part, kind, c_organization_id, recharge_id, reference, expected, found,
                action, detail, found_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";
        sqlx::query(sql)
            .bind(run_id)
            .bind(part.as_str())
            .bind(finding.kind.as_str())
            .bind(finding.organization.as_ref().map(OrganizationId::as_str))
            .bind(finding.recharge_id.map(|id| id.0))
            .bind(&finding.reference)
            .bind(&finding.expected)
            .bind(&finding.found)
            .bind(if finding.repaired { "repaired" } else { "reported" })
            .bind(&finding.detail)
            .bind(now)
            .execute(&mut *tx)
            .await?;
    }
    tx.commit().await?;
    Ok(true)
}
