//! The SQL of pushes that were given up.

use common::clock::Timestamp;
use common::ids::EventId;
use rust_decimal::Decimal;
use sqlx::PgConnection;

use super::GivenUp;
use crate::push::Cause;
use crate::repo::Result;

/// The failure of this cause, if there is one.
pub(super) async fn find(connection: &mut PgConnection, cause: &EventId) -> Result<Option<GivenUp>> {
    type Row = (String, Decimal, i64, String, Timestamp);
    let row: Option<Row> =
        sqlx::query_as("SELECT backend, quota, ledger_version, reason, failed_at FROM quota_failures WHERE cause = $1")
            .bind(cause.as_str())
            .fetch_optional(connection)
            .await?;
    Ok(row.map(|(backend, quota, version, reason, at)| GivenUp { backend, quota, version, reason, at }))
}

/// Stores a failure. The caller holds the organization's row, and has looked that there is none.
pub(super) async fn record(connection: &mut PgConnection, cause: &Cause, given_up: &GivenUp) -> Result<()> {
    sqlx::query(
        "INSERT INTO quota_failures (cause, c_organization_id, backend, ledger_version, quota, reason, recharge_id,
                correlation_id, failed_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(cause.event_id.as_str())
    .bind(cause.organization.as_str())
    .bind(&given_up.backend)
    .bind(given_up.version)
    .bind(given_up.quota)
    .bind(&given_up.reason)
    .bind(cause.recharge_id.map(|id| id.0))
    .bind(cause.correlation.as_str())
    .bind(given_up.at)
    .execute(connection)
    .await?;
    Ok(())
}
