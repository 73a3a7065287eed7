//! Reads what the other services wrote about events and recharges: the recharger `webhook_events`, `recharge_records`,
//! `refunds` and `disputes`, the ledger its transactions, the syncer `quota_syncs` and `quota_failures`.

use common::clock::Timestamp;
use common::ids::{EventId, OrganizationId, RechargeId};
use sqlx::PgPool;
use uuid::Uuid;

use super::chain::{BookedEntry, GivenUp, Push};
use super::{Chain, Dispute, EventRow, Recharge, Recorded, Refund, Synced};

/// How often the bank may send a refund back before its newest attempt is not found by its request any more.
const MOST_ATTEMPTS: u32 = 20;

/// What was decided about an event, and the recharge that it led to.
pub(crate) async fn find(pool: &PgPool, id: &EventId) -> sqlx::Result<Option<Recorded>> {
    let event = event(pool, id.as_str()).await?;
    let Some(event) = event else { return Ok(None) };
    // By trigger: the event's own `recharge_id` may name the recharge that was in its way.
    let recharge: Option<Recharge> = sqlx::query_as(
        "SELECT recharge_id, c_organization_id, amount, fee, total_charge, currency, status, triggered_by,
                triggered_by_webhook, webhook_event_id, trigger_event_id, correlation_id, payment_intent_id, charge_id,
                failure_code, decline_code, advice_code, decline_class, failure_message, paused, ledger_version, new_quota,
                created_at, charged_at, credited_at, settled_at, ended_at, confirm_by, undo_cause, undo_reason,
                refunded_amount, refunded_total, processor_fee, updated_at
           FROM recharge_records WHERE trigger_event_id = $1",
    )
    .bind(id.as_str())
    .fetch_optional(pool)
    .await?;
    Ok(Some(Recorded { event, recharge }))
}

/// What was decided about an event.
async fn event(pool: &PgPool, id: &str) -> sqlx::Result<Option<EventRow>> {
    sqlx::query_as(
        "SELECT event_id, source, event_type, c_organization_id, litellm_team_id, correlation_id, payload, occurred_at,
                received_at, decision, reason, detail, recharge_id, decided_at
           FROM webhook_events WHERE event_id = $1",
    )
    .bind(id)
    .fetch_optional(pool)
    .await
}

/// Everything that was written down about a recharge.
pub(crate) async fn chain(pool: &PgPool, recharge: Recharge) -> sqlx::Result<Chain> {
    let id = RechargeId(recharge.recharge_id);
    let event = match recharge.trigger() {
        Some(trigger) => event(pool, trigger).await?,
        None => None,
    };
    Ok(Chain {
        event,
        bookings: bookings(pool, id).await?,
        pushes: pushes(pool, &recharge).await?,
        given_up: given_up(pool, &recharge).await?,
        refunds: refunds(pool, id).await?,
        disputes: disputes(pool, id).await?,
        recharge,
    })
}

/// What the ledger booked about a recharge, entry by entry.
async fn bookings(pool: &PgPool, recharge: RechargeId) -> sqlx::Result<Vec<BookedEntry>> {
    sqlx::query_as(
        "SELECT t.id, t.kind, t.description, t.currency, t.posted_at, t.version, t.quota_after_minor,
                a.kind AS account, e.amount_minor
           FROM ledger_transactions t JOIN ledger_entries e ON e.transaction_id = t.id JOIN ledger_accounts a ON a.id = e.account_id
          WHERE t.recharge_id = $1 ORDER BY t.version, e.id",
    )
    .bind(recharge.0)
    .fetch_all(pool)
    .await
}

/// The pushes of a recharge's chain, and the first one by which its credit was in force, whoever's that was.
async fn pushes(pool: &PgPool, recharge: &Recharge) -> sqlx::Result<Vec<Push>> {
    sqlx::query_as(
        "SELECT backend, ledger_version, previous_quota, quota, changed, litellm_team_id, synced_at
           FROM quota_syncs
          WHERE c_organization_id = $1
            AND (correlation_id = $2
                 OR id = (SELECT min(id) FROM quota_syncs WHERE c_organization_id = $1 AND ledger_version >= $3))
          ORDER BY id",
    )
    .bind(recharge.organization())
    .bind(recharge.correlation())
    .bind(recharge.ledger_version())
    .fetch_all(pool)
    .await
}

/// The pushes of a recharge's chain that were given up.
async fn given_up(pool: &PgPool, recharge: &Recharge) -> sqlx::Result<Vec<GivenUp>> {
    sqlx::query_as(
        "SELECT backend, ledger_version, quota, reason, failed_at
           FROM quota_failures
          WHERE c_organization_id = $1 AND (correlation_id = $2 OR recharge_id = $3) ORDER BY failed_at, cause",
    )
    .bind(recharge.organization())
    .bind(recharge.correlation())
    .bind(recharge.recharge_id)
    .fetch_all(pool)
    .await
}

/// One recharge.
pub(crate) async fn recharge(pool: &PgPool, id: RechargeId) -> sqlx::Result<Option<Recharge>> {
    sqlx::query_as(
        "SELECT recharge_id, c_organization_id, amount, fee, total_charge, currency, status, triggered_by,
                triggered_by_webhook, webhook_event_id, trigger_event_id, correlation_id, payment_intent_id, charge_id,
                failure_code, decline_code, advice_code, decline_class, failure_message, paused, ledger_version, new_quota,
                created_at, charged_at, credited_at, settled_at, ended_at, confirm_by, undo_cause, undo_reason,
                refunded_amount, refunded_total, processor_fee, updated_at
           FROM recharge_records WHERE recharge_id = $1",
    )
    .bind(id.0)
    .fetch_optional(pool)
    .await
}

/// What of a recharge went back, or is to go back, in the order in which it was asked for.
pub(crate) async fn refunds(pool: &PgPool, recharge: RechargeId) -> sqlx::Result<Vec<Refund>> {
    sqlx::query_as(
        "SELECT refund_key, recharge_id, c_organization_id, cause, reason, requested_by, currency, amount, total, status,
                stripe_refund_id, tries, last_error, was_refunded, created_at, ended_at
           FROM refunds WHERE recharge_id = $1 ORDER BY created_at, refund_key",
    )
    .bind(recharge.0)
    .fetch_all(pool)
    .await
}

/// The refund that a request asked for; its last attempt, where the bank sent the money back before.
pub(crate) async fn requested_refund(pool: &PgPool, id: &EventId) -> sqlx::Result<Option<Refund>> {
    let first = format!("request:{id}");
    let keys: Vec<String> =
        (2..=MOST_ATTEMPTS).map(|attempt| format!("{first}~{attempt}")).chain([first.clone()]).collect();
    sqlx::query_as(
        "SELECT refund_key, recharge_id, c_organization_id, cause, reason, requested_by, currency, amount, total, status,
                stripe_refund_id, tries, last_error, was_refunded, created_at, ended_at
           FROM refunds WHERE refund_key = ANY($1)
          ORDER BY created_at DESC, refund_key DESC LIMIT 1",
    )
    .bind(keys)
    .fetch_optional(pool)
    .await
}

/// What is, or was, disputed of a recharge.
pub(crate) async fn disputes(pool: &PgPool, recharge: RechargeId) -> sqlx::Result<Vec<Dispute>> {
    sqlx::query_as(
        "SELECT dispute_id, currency, amount, total, stage, reason, opened_at, closed_at
           FROM disputes WHERE recharge_id = $1 ORDER BY opened_at, dispute_id",
    )
    .bind(recharge.0)
    .fetch_all(pool)
    .await
}

/// Which of an organization's recharges are asked for.
pub(crate) struct WhichRecharges<'a> {
    pub(crate) organization: &'a OrganizationId,
    pub(crate) status: Option<&'a str>,
    pub(crate) triggered_by: Option<&'a str>,
    /// Claimed then or later.
    pub(crate) from: Option<Timestamp>,
    /// Claimed before.
    pub(crate) to: Option<Timestamp>,
}

/// An organization's recharges, newest first, older than `before`.
pub(crate) async fn recharges(
    pool: &PgPool,
    which: &WhichRecharges<'_>,
    before: Option<(Timestamp, Uuid)>,
    limit: i64,
) -> sqlx::Result<Vec<Recharge>> {
    let (at, id) = before.unzip();
    sqlx::query_as(
        "SELECT recharge_id, c_organization_id, amount, fee, total_charge, currency, status, triggered_by,
                triggered_by_webhook, webhook_event_id, trigger_event_id, correlation_id, payment_intent_id, charge_id,
                failure_code, decline_code, advice_code, decline_class, failure_message, paused, ledger_version, new_quota,
                created_at, charged_at, credited_at, settled_at, ended_at, confirm_by, undo_cause, undo_reason,
                refunded_amount, refunded_total, processor_fee, updated_at
           FROM recharge_records
          WHERE c_organization_id = $1 AND ($2::timestamptz IS NULL OR (created_at, recharge_id) < ($2, $3))
            AND ($5::text IS NULL OR status = $5) AND ($6::text IS NULL OR triggered_by = $6)
            AND ($7::timestamptz IS NULL OR created_at >= $7) AND ($8::timestamptz IS NULL OR created_at < $8)
          ORDER BY created_at DESC, recharge_id DESC LIMIT $4",
    )
    .bind(which.organization.as_str())
    .bind(at)
    .bind(id)
    .bind(limit)
    .bind(which.status)
    .bind(which.triggered_by)
    .bind(which.from)
    .bind(which.to)
    .fetch_all(pool)
    .await
}

/// Which of an organization's events are asked for.
pub(crate) struct WhichEvents<'a> {
    pub(crate) organization: &'a OrganizationId,
    pub(crate) decision: Option<&'a str>,
    pub(crate) source: Option<&'a str>,
    /// Received then or later.
    pub(crate) from: Option<Timestamp>,
    /// Received before.
    pub(crate) to: Option<Timestamp>,
}

/// An organization's events, newest first, older than `before`.
pub(crate) async fn events(
    pool: &PgPool,
    which: &WhichEvents<'_>,
    before: Option<(Timestamp, String)>,
    limit: i64,
) -> sqlx::Result<Vec<EventRow>> {
    let (at, id) = before.unzip();
    sqlx::query_as(
        "SELECT event_id, source, event_type, c_organization_id, litellm_team_id, correlation_id, payload, occurred_at,
                received_at, decision, reason, detail, recharge_id, decided_at
           FROM webhook_events
          WHERE c_organization_id = $1 AND ($2::timestamptz IS NULL OR (received_at, event_id) < ($2, $3))
            AND ($5::text IS NULL OR decision = $5) AND ($6::text IS NULL OR source = $6)
            AND ($7::timestamptz IS NULL OR received_at >= $7) AND ($8::timestamptz IS NULL OR received_at < $8)
          ORDER BY received_at DESC, event_id DESC LIMIT $4",
    )
    .bind(which.organization.as_str())
    .bind(at)
    .bind(id)
    .bind(limit)
    .bind(which.decision)
    .bind(which.source)
    .bind(which.from)
    .bind(which.to)
    .fetch_all(pool)
    .await
}

/// The last push of a chain.
pub(crate) async fn sync(pool: &PgPool, correlation: &EventId) -> sqlx::Result<Option<Synced>> {
    sqlx::query_as(
        "SELECT q.c_organization_id, q.backend, q.ledger_version, q.quota, q.changed, q.litellm_team_id, q.synced_at,
                COALESCE(o.currency, 'usd') AS currency
           FROM quota_syncs q LEFT JOIN organization_balance_config o USING (c_organization_id)
          WHERE q.correlation_id = $1 ORDER BY q.id DESC LIMIT 1",
    )
    .bind(correlation.as_str())
    .fetch_optional(pool)
    .await
}
