//! The SQL of refunds.

use common::clock::Timestamp;
use common::contract::RefundCause;
use common::ids::{EventId, OrganizationId, RechargeId};
use common::money::{Currency, Money};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, PgPool, Row};

use super::Refund;
use crate::record::Record;
use crate::repo::{Result, bad, money};
use crate::saga::RefundStatus;

/// Opens a refund. Returns false when it was opened before.
pub(crate) async fn open(db: &mut PgConnection, refund: &Refund, now: Timestamp) -> Result<bool> {
    let sql = "INSERT INTO refunds (refund_key, recharge_id, c_organization_id, correlation_id, cause, reason, requested_by, currency,
            amount, total, status, stripe_refund_id, was_credited, was_refunded, next_at, created_at, ended_at, updated_at, completes)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19) ON CONFLICT DO NOTHING";
    let done = sqlx::query(sql)
        .bind(&refund.refund_key)
        .bind(refund.recharge_id.0)
        .bind(refund.organization.as_str())
        .bind(refund.correlation_id.as_str())
        .bind(refund.cause.as_str())
        .bind(&refund.reason)
        .bind(&refund.requested_by)
        .bind(refund.amount.currency.code())
        .bind(refund.amount.to_decimal())
        .bind(refund.total.to_decimal())
        .bind(refund.status.as_str())
        .bind(&refund.stripe_refund_id)
        .bind(refund.was_credited)
        .bind(refund.was_refunded)
        .bind(refund.next_at)
        .bind(refund.created_at)
        .bind(refund.ended_at)
        .bind(now)
        .bind(refund.completes)
        .execute(db)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// One refund, by its key.
pub(crate) async fn find(db: &mut PgConnection, refund_key: &str) -> Result<Option<Refund>> {
    let row = sqlx::query("SELECT * FROM refunds WHERE refund_key = $1").bind(refund_key).fetch_optional(db).await?;
    row.map(|row| read(&row)).transpose()
}

/// Every refund of a recharge.
pub(crate) async fn of_recharge(db: &mut PgConnection, recharge: RechargeId) -> Result<Vec<Refund>> {
    let sql = "SELECT * FROM refunds WHERE recharge_id = $1 ORDER BY created_at, refund_key";
    let rows = sqlx::query(sql).bind(recharge.0).fetch_all(db).await?;
    rows.iter().map(read).collect()
}

/// Writes back where a refund is.
pub(crate) async fn save(db: &mut PgConnection, refund: &Refund, now: Timestamp) -> Result<()> {
    let sql = "UPDATE refunds SET status = $2, stripe_refund_id = $3, refusals = $4, last_error = $5, was_refunded = $6,
            was_credited = $7, next_at = $8, ended_at = $9, updated_at = $10, amount = $11, total = $12, completes = $13 WHERE refund_key = $1";
    sqlx::query(sql)
        .bind(&refund.refund_key)
        .bind(refund.status.as_str())
        .bind(&refund.stripe_refund_id)
        .bind(i32::try_from(refund.refusals).unwrap_or(i32::MAX))
        .bind(&refund.last_error)
        .bind(refund.was_refunded)
        .bind(refund.was_credited)
        .bind(refund.next_at)
        .bind(refund.ended_at)
        .bind(now)
        .bind(refund.amount.to_decimal())
        .bind(refund.total.to_decimal())
        .bind(refund.completes)
        .execute(db)
        .await?;
    Ok(())
}

/// Takes refunds whose next look is due, so that no other replica does until `lease`. Each look is counted.
pub(crate) async fn take_due(pool: &PgPool, now: Timestamp, lease: Timestamp, limit: i64) -> Result<Vec<Refund>> {
    let sql = "UPDATE refunds SET next_at = $2, tries = tries + 1 WHERE refund_key IN (
            SELECT refund_key FROM refunds WHERE next_at <= $1 ORDER BY next_at LIMIT $3 FOR UPDATE SKIP LOCKED)
        RETURNING *";
    let rows = sqlx::query(sql).bind(now).bind(lease).bind(limit).fetch_all(pool).await?;
    rows.iter().map(read).collect()
}

/// Takes one refund, if it is due: whoever opened it drives it at once.
pub(crate) async fn take(pool: &PgPool, key: &str, now: Timestamp, lease: Timestamp) -> Result<Option<Refund>> {
    let sql = "UPDATE refunds SET next_at = $3, tries = tries + 1 WHERE refund_key = $1 AND next_at <= $2 RETURNING *";
    let row = sqlx::query(sql).bind(key).bind(now).bind(lease).fetch_optional(pool).await?;
    row.map(|row| read(&row)).transpose()
}

/// A refund that has ended and was said needs no look any more, unless somebody else has moved it since.
pub(crate) async fn look_no_more(pool: &PgPool, key: &str, lease: Timestamp) -> Result<()> {
    let sql = "UPDATE refunds SET next_at = NULL WHERE refund_key = $1 AND next_at = $2 AND status IN ('succeeded', 'failed')";
    sqlx::query(sql).bind(key).bind(lease).execute(pool).await.map(drop)
}

/// How many refunds an undo of a recharge has had.
pub(crate) async fn undos(db: &mut PgConnection, recharge: RechargeId) -> Result<i64> {
    let sql = "SELECT count(*) FROM refunds WHERE recharge_id = $1 AND refund_key LIKE 'undo:%'";
    sqlx::query_scalar(sql).bind(recharge.0).fetch_one(db).await
}

fn read(row: &PgRow) -> Result<Refund> {
    let word = |column: &str| row.try_get::<String, _>(column);
    let currency: Currency = word("currency")?.parse().map_err(|error| bad("currency", error))?;
    let count = |column: &str| -> Result<u32> { Ok(u32::try_from(row.try_get::<i32, _>(column)?).unwrap_or(0)) };
    Ok(Refund {
        refund_key: word("refund_key")?,
        recharge_id: RechargeId(row.try_get("recharge_id")?),
        organization: OrganizationId::parse(word("c_organization_id")?)
            .map_err(|error| bad("c_organization_id", error))?,
        correlation_id: EventId::parse(word("correlation_id")?).map_err(|error| bad("correlation_id", error))?,
        cause: RefundCause::parse(&word("cause")?).ok_or_else(|| bad("cause", "unknown cause"))?,
        reason: word("reason")?,
        requested_by: row.try_get("requested_by")?,
        amount: money(row, "amount", currency)?,
        total: money(row, "total", currency)?,
        status: RefundStatus::parse(&word("status")?).ok_or_else(|| bad("status", "unknown status"))?,
        stripe_refund_id: row.try_get("stripe_refund_id")?,
        refusals: count("refusals")?,
        tries: count("tries")?,
        last_error: row.try_get("last_error")?,
        was_refunded: row.try_get("was_refunded")?,
        was_credited: row.try_get("was_credited")?,
        completes: row.try_get("completes")?,
        next_at: row.try_get("next_at")?,
        created_at: row.try_get("created_at")?,
        ended_at: row.try_get("ended_at")?,
    })
}

/// What of a recharge is neither given back nor promised to a refund that is open: quota, and charge.
pub(crate) async fn free(db: &mut PgConnection, record: &Record) -> Result<(Money, Money)> {
    let open = of_recharge(db, record.recharge_id).await?;
    let (amount, total) = record.left();
    let promised = open.iter().filter(|refund| refund.status.is_open());
    let (promised_amount, promised_total) =
        promised.fold((0, 0), |(a, t), refund| (a + refund.amount.minor, t + refund.total.minor));
    Ok((
        Money::new((amount.minor - promised_amount).max(0), amount.currency),
        Money::new((total.minor - promised_total).max(0), total.currency),
    ))
}

/// Sets the next look of a refund that has not ended since it was taken.
pub(crate) async fn look_again_if_open(pool: &PgPool, key: &str, lease: Timestamp, next_at: Timestamp) -> Result<()> {
    let sql =
        "UPDATE refunds SET next_at = $3 WHERE refund_key = $1 AND next_at = $2 AND status IN ('requested', 'pending')";
    sqlx::query(sql).bind(key).bind(lease).bind(next_at).execute(pool).await.map(drop)
}
