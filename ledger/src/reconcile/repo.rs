//! The SQL of reconciliation: it only reads.

use common::clock::Timestamp;
use common::ids::RechargeId;
use common::money::{Currency, Money};
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgConnection, PgPool, Postgres, Row, Transaction};
use uuid::Uuid;

use super::compare::{StoredPosting, StoredRecord, StoredRefund};

/// What is compared: what was created or changed since then and has not changed for a moment, and all that has not ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    /// Since when
    pub(super) since: Timestamp,
    /// What changed later is in flight
    pub(super) until: Timestamp,
}

/// A charge in the books that no record tells of.
#[derive(Debug, FromRow)]
pub(super) struct Unknown {
    pub(super) id: Uuid,
    pub(super) business_key: String,
    pub(super) c_organization_id: String,
    pub(super) recharge_id: Option<Uuid>,
}

/// Begins to read: all that is read until the end stood so at one moment.
pub(super) async fn snapshot(pool: &PgPool) -> sqlx::Result<Transaction<'static, Postgres>> {
    pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await
}

/// The next `limit` records of ours after `after`.
pub(super) async fn records(
    tx: &mut PgConnection,
    window: Window,
    after: Uuid,
    limit: i64,
) -> sqlx::Result<Vec<StoredRecord>> {
    let rows = sqlx::query(
        "SELECT recharge_id, c_organization_id, status, currency, amount, total_charge, ledger_version FROM recharge_records
          WHERE trigger_event_id IS NOT NULL AND updated_at < $1
            AND (created_at >= $2 OR updated_at >= $2 OR status NOT IN ('settled', 'declined', 'failed', 'refunded'))
            AND recharge_id > $3
          ORDER BY recharge_id LIMIT $4",
    )
    .bind(window.until)
    .bind(window.since)
    .bind(after)
    .bind(limit)
    .fetch_all(tx)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(StoredRecord {
                recharge_id: RechargeId(row.try_get("recharge_id")?),
                organization: row.try_get("c_organization_id")?,
                status: row.try_get("status")?,
                amount: money(row, "amount")?,
                total: money(row, "total_charge")?,
                ledger_version: row.try_get("ledger_version")?,
            })
        })
        .collect()
}

/// The next `limit` refunds that were told as done, after `after`.
pub(super) async fn refunds(
    tx: &mut PgConnection,
    window: Window,
    after: &str,
    limit: i64,
) -> sqlx::Result<Vec<StoredRefund>> {
    let rows = sqlx::query(
        "SELECT refund_key, recharge_id, c_organization_id, stripe_refund_id, currency, amount, total, status FROM refunds
          WHERE was_refunded AND updated_at < $1
            AND (created_at >= $2 OR updated_at >= $2 OR status NOT IN ('succeeded', 'failed'))
            AND refund_key > $3
          ORDER BY refund_key LIMIT $4",
    )
    .bind(window.until)
    .bind(window.since)
    .bind(after)
    .bind(limit)
    .fetch_all(tx)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(StoredRefund {
                refund_key: row.try_get("refund_key")?,
                recharge_id: RechargeId(row.try_get("recharge_id")?),
                organization: row.try_get("c_organization_id")?,
                stripe_refund_id: row.try_get("stripe_refund_id")?,
                amount: money(row, "amount")?,
                total: money(row, "total")?,
                came_back: row.try_get::<&str, _>("status")? == "failed",
            })
        })
        .collect()
}

/// All that is booked of these recharges, but for disputes: they end neither a charge nor a refund.
pub(super) async fn postings(tx: &mut PgConnection, recharges: &[Uuid]) -> sqlx::Result<Vec<StoredPosting>> {
    let rows = sqlx::query(
        "SELECT t.id, t.recharge_id, t.c_organization_id, t.business_key, t.kind, t.currency, t.version,
                COALESCE(e.balance, 0) AS balance, COALESCE(e.clearing, 0) AS clearing, COALESCE(e.costs, 0) AS costs,
                COALESCE(e.refunds, 0) AS refunds
           FROM ledger_transactions t
          CROSS JOIN LATERAL (
               SELECT sum(e.amount_minor) FILTER (WHERE a.kind = 'balance')::bigint AS balance,
                      sum(e.amount_minor) FILTER (WHERE a.kind = 'stripe_clearing')::bigint AS clearing,
                      sum(e.amount_minor) FILTER (WHERE a.kind = 'processing_costs')::bigint AS costs,
                      sum(e.amount_minor) FILTER (WHERE a.kind = 'refunds')::bigint AS refunds
                 FROM ledger_entries e JOIN ledger_accounts a ON a.id = e.account_id WHERE e.transaction_id = t.id) e
          WHERE t.recharge_id = ANY($1) AND t.kind IN ('charge', 'void', 'refund', 'refund_failed')",
    )
    .bind(recharges)
    .fetch_all(tx)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(StoredPosting {
                transaction_id: row.try_get("id")?,
                recharge_id: RechargeId(row.try_get("recharge_id")?),
                organization: row.try_get("c_organization_id")?,
                business_key: row.try_get("business_key")?,
                is_void: row.try_get::<&str, _>("kind")? == "void",
                currency: currency(row)?,
                version: row.try_get("version")?,
                balance: row.try_get("balance")?,
                clearing: row.try_get("clearing")?,
                costs: row.try_get("costs")?,
                refunds: row.try_get("refunds")?,
            })
        })
        .collect()
}

/// Charges in the books that no record of ours tells of.
pub(super) async fn unknown(tx: &mut PgConnection, window: Window) -> sqlx::Result<Vec<Unknown>> {
    sqlx::query_as(
        "SELECT t.id, t.business_key, t.c_organization_id, t.recharge_id FROM ledger_transactions t
          WHERE t.kind IN ('charge', 'void') AND t.posted_at >= $1 AND t.posted_at < $2
            AND NOT EXISTS (SELECT FROM recharge_records r
                             WHERE r.recharge_id = t.recharge_id AND r.trigger_event_id IS NOT NULL)
          ORDER BY t.posted_at",
    )
    .bind(window.since)
    .bind(window.until)
    .fetch_all(tx)
    .await
}

/// An amount of a row; none where it has more decimals than its currency, or none at all: such a row agrees with nothing.
fn money(row: &PgRow, column: &str) -> sqlx::Result<Option<Money>> {
    let currency = currency(row)?;
    Ok(row.try_get::<Option<_>, _>(column)?.and_then(|amount| Money::from_decimal(amount, currency).ok()))
}

fn currency(row: &PgRow) -> sqlx::Result<Currency> {
    row.try_get::<&str, _>("currency")?
        .parse()
        .map_err(|error| sqlx::Error::ColumnDecode { index: "currency".to_owned(), source: Box::new(error) })
}
