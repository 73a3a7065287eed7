//! The SQL of recharge records. Functions take a connection inside the caller's transaction; rows are private and become
//! domain values here.

use common::clock::Timestamp;
use common::contract::{DeclineClass, RefundCause, TriggerKind};
use common::ids::{EventId, OrganizationId, RechargeId};
use common::money::{Currency, Money};
use rust_decimal::Decimal;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, PgPool, Row};
use uuid::Uuid;

use super::{Decline, Record};
use crate::deadlines::Times;
use crate::repo::{Result, bad, money};
use crate::saga::State;

/// Claims a recharge: from here on the organization has one in flight, by a unique index.
pub(crate) async fn claim(
    db: &mut PgConnection,
    record: &Record,
    is_webhook: bool,
    limit: Option<Decimal>,
) -> Result<()> {
    let sql = "INSERT INTO recharge_records (recharge_id, trigger_event_id, correlation_id, c_organization_id, amount, fee, total_charge,
            currency, status, triggered_by, triggered_by_webhook, webhook_event_id, stripe_customer_id, payment_method_id, created_at, updated_at,
            trigger_limit, card_fingerprint, next_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $15, $16, $17, $18)";
    sqlx::query(sql)
        .bind(record.recharge_id.0)
        .bind(record.trigger_event_id.as_str())
        .bind(record.correlation_id.as_str())
        .bind(record.organization.as_str())
        .bind(record.amount.to_decimal())
        .bind(record.fee().to_decimal())
        .bind(record.total.to_decimal())
        .bind(record.amount.currency.code())
        .bind(record.state.as_str())
        .bind(record.triggered_by.as_str())
        .bind(is_webhook)
        .bind(is_webhook.then(|| record.trigger_event_id.as_str()))
        .bind(&record.customer_id)
        .bind(&record.payment_method_id)
        .bind(record.created_at)
        .bind(limit)
        .bind(&record.card_fingerprint)
        .bind(record.next_at)
        .execute(db)
        .await?;
    Ok(())
}

/// One recharge.
pub(crate) async fn record(db: &mut PgConnection, id: RechargeId) -> Result<Option<Record>> {
    let row = sqlx::query("SELECT * FROM recharge_records WHERE recharge_id = $1 AND trigger_event_id IS NOT NULL")
        .bind(id.0)
        .fetch_optional(db)
        .await?;
    row.map(|row| read_record(&row)).transpose()
}

/// The recharges that were claimed after `since` and before `until`, and hold money.
pub(crate) async fn charged_since(pool: &PgPool, since: Timestamp, until: Timestamp) -> Result<Vec<Record>> {
    let sql =
        "SELECT * FROM recharge_records WHERE trigger_event_id IS NOT NULL AND created_at >= $1 AND created_at < $2
            AND status IN ('charged', 'credited', 'settled', 'refunding', 'returning') ORDER BY created_at";
    let rows = sqlx::query(sql).bind(since).bind(until).fetch_all(pool).await?;
    rows.iter().map(read_record).collect()
}

/// The recharges that a quota of this version contains and that wait for it, or that this event has settled before.
pub(crate) async fn records_in_force(
    db: &mut PgConnection,
    organization: &OrganizationId,
    version: i64,
    event: &EventId,
) -> Result<Vec<Record>> {
    let sql = "SELECT * FROM recharge_records WHERE c_organization_id = $1 AND trigger_event_id IS NOT NULL
            AND ((status = 'credited' AND ledger_version <= $2) OR (status = 'settled' AND settled_by_event = $3)) ORDER BY created_at";
    let rows = sqlx::query(sql).bind(organization.as_str()).bind(version).bind(event.as_str()).fetch_all(db).await?;
    rows.iter().map(read_record).collect()
}

fn read_record(row: &PgRow) -> Result<Record> {
    let word = |column: &str| row.try_get::<String, _>(column);
    let currency: Currency = word("currency")?.parse().map_err(|error| bad("currency", error))?;
    let event = |column: &str| -> Result<EventId> { EventId::parse(word(column)?).map_err(|error| bad(column, error)) };
    let status = word("status")?;
    let triggered_by = word("triggered_by")?;
    let failure_code: Option<String> = row.try_get("failure_code")?;
    let decline = failure_code.map(|code| -> Result<Decline> {
        Ok(Decline {
            code,
            decline_code: row.try_get("decline_code")?,
            advice_code: row.try_get("advice_code")?,
            class: row
                .try_get::<Option<String>, _>("decline_class")?
                .and_then(|word| DeclineClass::parse(&word))
                .unwrap_or(DeclineClass::Refused),
            message: row.try_get::<Option<String>, _>("failure_message")?.unwrap_or_default(),
        })
    });
    let processor_fee: Option<Decimal> = row.try_get("processor_fee")?;
    Ok(Record {
        recharge_id: RechargeId(row.try_get("recharge_id")?),
        trigger_event_id: event("trigger_event_id")?,
        correlation_id: event("correlation_id")?,
        organization: OrganizationId::parse(word("c_organization_id")?)
            .map_err(|error| bad("c_organization_id", error))?,
        amount: money(row, "amount", currency)?,
        total: money(row, "total_charge", currency)?,
        state: State::parse(&status).ok_or_else(|| bad("status", format!("unknown state {status}")))?,
        triggered_by: TriggerKind::parse(&triggered_by).ok_or_else(|| bad("triggered_by", "unknown trigger"))?,
        customer_id: row.try_get::<Option<String>, _>("stripe_customer_id")?.unwrap_or_default(),
        payment_method_id: row.try_get::<Option<String>, _>("payment_method_id")?.unwrap_or_default(),
        card_fingerprint: row.try_get("card_fingerprint")?,
        payment_intent_id: row.try_get("payment_intent_id")?,
        charge_id: row.try_get("charge_id")?,
        processor_fee: processor_fee
            .map(|fee| Money::from_decimal(fee, currency))
            .transpose()
            .map_err(|e| bad("processor_fee", e))?,
        decline: decline.transpose()?,
        paused: row.try_get("paused")?,
        ledger_version: row.try_get("ledger_version")?,
        new_quota: row.try_get("new_quota")?,
        settled_by_event: row.try_get("settled_by_event")?,
        created_at: row.try_get("created_at")?,
        charged_at: row.try_get("charged_at")?,
        settled_at: row.try_get("settled_at")?,
        ended_at: row.try_get("ended_at")?,
        times: Times {
            credit_by: row.try_get("credit_by")?,
            sync_by: row.try_get("sync_by")?,
            confirm_by: row.try_get("confirm_by")?,
            looks: u32::try_from(row.try_get::<i32, _>("tries")?).unwrap_or(0),
        },
        next_at: row.try_get("next_at")?,
        undo: row
            .try_get::<Option<String>, _>("undo_cause")?
            .and_then(|word| RefundCause::parse(&word))
            .map(|cause| {
                Ok::<_, sqlx::Error>((cause, row.try_get::<Option<String>, _>("undo_reason")?.unwrap_or_default()))
            })
            .transpose()?,
        refunded_amount: money(row, "refunded_amount", currency)?,
        refunded_total: money(row, "refunded_total", currency)?,
    })
}

/// Writes back where a recharge is. The organization must be locked.
pub(crate) async fn save(db: &mut PgConnection, record: &Record, now: Timestamp) -> Result<()> {
    let sql = "UPDATE recharge_records SET status = $2, payment_intent_id = $3, charge_id = $4, processor_fee = $5, failure_code = $6,
            decline_code = $7, advice_code = $8, decline_class = $9, failure_message = $10, paused = $11, ledger_version = $12,
            new_quota = $13, charged_at = $14, credited_at = CASE WHEN $12::bigint IS NULL THEN NULL ELSE COALESCE(credited_at, $15) END,
            settled_at = $16, settled_by_event = $17, ended_at = $18, updated_at = $15, credit_by = $19, sync_by = $20,
            confirm_by = $21, next_at = $22, undo_cause = $23, undo_reason = $24, refunded_amount = $25, refunded_total = $26, tries = $27
        WHERE recharge_id = $1";
    let decline = record.decline.as_ref();
    sqlx::query(sql)
        .bind(record.recharge_id.0)
        .bind(record.state.as_str())
        .bind(&record.payment_intent_id)
        .bind(&record.charge_id)
        .bind(record.processor_fee.map(Money::to_decimal))
        .bind(decline.map(|decline| decline.code.as_str()))
        .bind(decline.and_then(|decline| decline.decline_code.as_deref()))
        .bind(decline.and_then(|decline| decline.advice_code.as_deref()))
        .bind(decline.map(|decline| decline.class.as_str()))
        .bind(decline.map(|decline| decline.message.as_str()))
        .bind(record.paused)
        .bind(record.ledger_version)
        .bind(record.new_quota)
        .bind(record.charged_at)
        .bind(now)
        .bind(record.settled_at)
        .bind(&record.settled_by_event)
        .bind(record.ended_at)
        .bind(record.times.credit_by)
        .bind(record.times.sync_by)
        .bind(record.times.confirm_by)
        .bind(record.next_at)
        .bind(record.undo.as_ref().map(|(cause, _)| cause.as_str()))
        .bind(record.undo.as_ref().map(|(_, reason)| reason.as_str()))
        .bind(record.refunded_amount.to_decimal())
        .bind(record.refunded_total.to_decimal())
        .bind(i32::try_from(record.times.looks).unwrap_or(i32::MAX))
        .execute(db)
        .await?;
    Ok(())
}

/// Takes recharges whose next look is due, so that no other replica does until `lease`. Each look is counted.
pub(crate) async fn take_due(pool: &PgPool, now: Timestamp, lease: Timestamp, limit: i64) -> Result<Vec<RechargeId>> {
    let sql = "UPDATE recharge_records SET next_at = $2, tries = tries + 1 WHERE recharge_id IN (
            SELECT recharge_id FROM recharge_records WHERE next_at <= $1 ORDER BY next_at LIMIT $3 FOR UPDATE SKIP LOCKED)
        RETURNING recharge_id";
    let ids: Vec<Uuid> = sqlx::query_scalar(sql).bind(now).bind(lease).bind(limit).fetch_all(pool).await?;
    Ok(ids.into_iter().map(RechargeId).collect())
}

/// Sets the next look, unless somebody else has moved the recharge since it was taken until `lease`.
pub(crate) async fn look_again(
    pool: &PgPool,
    id: RechargeId,
    lease: Timestamp,
    next_at: Option<Timestamp>,
) -> Result<()> {
    let sql = "UPDATE recharge_records SET next_at = $3 WHERE recharge_id = $1 AND next_at = $2";
    sqlx::query(sql).bind(id.0).bind(lease).bind(next_at).execute(pool).await.map(drop)
}

/// The link of a payment that waits for the customer ends now, where another card was saved since.
pub(crate) async fn end_links_of_other_cards(
    db: &mut PgConnection,
    organization: &OrganizationId,
    card: Option<&str>,
    now: Timestamp,
) -> Result<u64> {
    let sql = "UPDATE recharge_records SET confirm_by = $3, next_at = $3
        WHERE c_organization_id = $1 AND trigger_event_id IS NOT NULL AND status = 'action_required'
            AND payment_method_id IS DISTINCT FROM $2 AND confirm_by > $3";
    Ok(sqlx::query(sql).bind(organization.as_str()).bind(card).bind(now).execute(db).await?.rows_affected())
}

/// The recharge of a payment intent.
pub(crate) async fn of_payment_intent(db: &mut PgConnection, payment_intent_id: &str) -> Result<Option<Record>> {
    let sql = "SELECT * FROM recharge_records WHERE payment_intent_id = $1 AND trigger_event_id IS NOT NULL";
    let row = sqlx::query(sql).bind(payment_intent_id).fetch_optional(db).await?;
    row.map(|row| read_record(&row)).transpose()
}

/// Recharges whose money is going back although no refund is open for it: what was open ended another way than it should.
pub(crate) async fn stranded(pool: &PgPool) -> Result<Vec<RechargeId>> {
    let sql = "SELECT recharge_id FROM recharge_records r WHERE status IN ('refunding', 'returning') AND trigger_event_id IS NOT NULL
            AND NOT EXISTS (SELECT FROM refunds f WHERE f.recharge_id = r.recharge_id AND f.status IN ('requested', 'pending'))
        LIMIT 100";
    let ids: Vec<Uuid> = sqlx::query_scalar(sql).fetch_all(pool).await?;
    Ok(ids.into_iter().map(RechargeId).collect())
}

/// When the trigger of a recharge was received, and when it was booked: for how long it took.
pub(crate) async fn began(db: &mut PgConnection, id: RechargeId) -> Result<(Option<Timestamp>, Option<Timestamp>)> {
    let sql = "SELECT w.received_at, r.credited_at FROM recharge_records r
        LEFT JOIN webhook_events w ON w.event_id = r.trigger_event_id WHERE r.recharge_id = $1";
    sqlx::query_as(sql).bind(id.0).fetch_one(db).await
}
