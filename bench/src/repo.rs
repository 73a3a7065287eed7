//! The SQL of filling a database. Rows come as JSON; PostgreSQL turns them into the columns' types.

use serde_json::{Value, json};
use sqlx::{PgConnection, PgPool};

use crate::fleet::rows::{Rows, Transaction};

/// How many rows are sent at once.
const ROWS: usize = 2_000;
/// How many ledger transactions are committed at once. Each updates its accounts' rows, and what is updated often in one
/// database transaction becomes slow to find.
const TRANSACTIONS: usize = 200;

const ORGANIZATIONS: &str = "INSERT INTO organization_balance_config (c_organization_id, stripe_customer_id, litellm_team_id, currency,
        minimum_balance, target_balance, target_basis, auto_recharge_enabled, minimum_recharge_amount, max_daily_recharges,
        max_monthly_amount, cooldown_seconds, default_payment_method_id, payment_method_brand, payment_method_last4,
        payment_method_fingerprint, payment_method_set_at, resumed_at, created_at, updated_at)
    SELECT c_organization_id, stripe_customer_id, litellm_team_id, currency,
        minimum_balance, target_balance, target_basis, auto_recharge_enabled, minimum_recharge_amount, max_daily_recharges,
        max_monthly_amount, cooldown_seconds, default_payment_method_id, payment_method_brand, payment_method_last4,
        payment_method_fingerprint, payment_method_set_at, resumed_at, created_at, updated_at
    FROM jsonb_populate_recordset(NULL::organization_balance_config, $1)";
const USERS: &str = "INSERT INTO users (id, email, c_organization_id, litellm_team_id, created_at)
    SELECT id, email, c_organization_id, litellm_team_id, created_at FROM jsonb_populate_recordset(NULL::users, $1)";
const TOKENS: &str =
    "INSERT INTO api_tokens (id, name, token_hash, role, c_organization_id, created_at, created_by, last_used_at,
        revoked_at, revoked_by)
    SELECT id, name, token_hash, role, c_organization_id, created_at, created_by, last_used_at, revoked_at, revoked_by
    FROM jsonb_populate_recordset(NULL::api_tokens, $1)";
const API_REQUESTS: &str = "INSERT INTO api_requests (event_id, c_organization_id, asked, created_at)
    SELECT event_id, c_organization_id, asked, created_at FROM jsonb_populate_recordset(NULL::api_requests, $1)";
const AUDIT_LOG: &str = "INSERT INTO audit_log (at, actor, action, c_organization_id, request_id, before, after)
    SELECT at, actor, action, c_organization_id, request_id, before, after FROM jsonb_populate_recordset(NULL::audit_log, $1)";
const EVENTS: &str =
    "INSERT INTO webhook_events (event_id, source, event_type, c_organization_id, litellm_team_id, correlation_id,
        payload, occurred_at, received_at, decision, reason, detail, recharge_id, decided_at)
    SELECT event_id, source, event_type, c_organization_id, litellm_team_id, correlation_id,
        payload, occurred_at, received_at, decision, reason, detail, recharge_id, decided_at
    FROM jsonb_populate_recordset(NULL::webhook_events, $1)";
const RECHARGES: &str =
    "INSERT INTO recharge_records (recharge_id, trigger_event_id, correlation_id, c_organization_id, amount, fee,
        total_charge, currency, status, triggered_by, triggered_by_webhook, webhook_event_id, stripe_customer_id,
        payment_method_id, card_fingerprint, trigger_limit, payment_intent_id, charge_id, processor_fee, failure_code,
        decline_code, decline_class, failure_message, paused, ledger_version, new_quota, settled_by_event, created_at,
        charged_at, credited_at, settled_at, ended_at, confirm_by, next_at, updated_at, tries, undo_cause, undo_reason,
        refunded_amount, refunded_total)
    SELECT recharge_id, trigger_event_id, correlation_id, c_organization_id, amount, fee,
        total_charge, currency, status, triggered_by, triggered_by_webhook, webhook_event_id, stripe_customer_id,
        payment_method_id, card_fingerprint, trigger_limit, payment_intent_id, charge_id, processor_fee, failure_code,
        decline_code, decline_class, failure_message, paused, ledger_version, new_quota, settled_by_event, created_at,
        charged_at, credited_at, settled_at, ended_at, confirm_by, next_at, updated_at, tries, undo_cause, undo_reason,
        refunded_amount, refunded_total
    FROM jsonb_populate_recordset(NULL::recharge_records, $1)";
const STATES: &str =
    "INSERT INTO recharge_state (c_organization_id, quota, ledger_version, synced_version, synced_quota,
        consecutive_failures, cooldown_until, paused_at, pause_reason, pause_payment_method, pause_dispute, updated_at)
    SELECT c_organization_id, quota, ledger_version, synced_version, synced_quota,
        consecutive_failures, cooldown_until, paused_at, pause_reason, pause_payment_method, pause_dispute, updated_at
    FROM jsonb_populate_recordset(NULL::recharge_state, $1)";
const REFUNDS: &str = "INSERT INTO refunds (refund_key, recharge_id, c_organization_id, correlation_id, cause, reason, requested_by,
        currency, amount, total, status, stripe_refund_id, refusals, tries, last_error, was_refunded, was_credited, completes,
        next_at, created_at, ended_at, updated_at)
    SELECT refund_key, recharge_id, c_organization_id, correlation_id, cause, reason, requested_by,
        currency, amount, total, status, stripe_refund_id, refusals, tries, last_error, was_refunded, was_credited, completes,
        next_at, created_at, ended_at, updated_at
    FROM jsonb_populate_recordset(NULL::refunds, $1)";
const DISPUTES: &str =
    "INSERT INTO disputes (dispute_id, recharge_id, c_organization_id, currency, amount, total, stage, reason,
        opened_at, closed_at)
    SELECT dispute_id, recharge_id, c_organization_id, currency, amount, total, stage, reason, opened_at, closed_at
    FROM jsonb_populate_recordset(NULL::disputes, $1)";
const LEDGER_ORGANIZATIONS: &str = "INSERT INTO ledger_organizations (c_organization_id, currency)
    SELECT c_organization_id, currency FROM jsonb_populate_recordset(NULL::ledger_organizations, $1)";
const ACCOUNTS: &str = "INSERT INTO ledger_accounts (c_organization_id, kind, currency)
    SELECT c_organization_id, kind, currency FROM jsonb_populate_recordset(NULL::ledger_accounts, $1)";
/// In the order in which they come: each continues the chain of the one before.
const LEDGER_TRANSACTIONS: &str =
    "INSERT INTO ledger_transactions (id, business_key, kind, c_organization_id, recharge_id, correlation_id,
        description, currency, posted_at, version, quota_after_minor, previous_hash, hash)
    SELECT id, business_key, kind, c_organization_id, recharge_id, correlation_id,
        description, currency, posted_at, version, quota_after_minor, previous_hash, hash
    FROM jsonb_populate_recordset(NULL::ledger_transactions, $1)";
/// In their order, too: an account's version is that of its last entry.
const ENTRIES: &str = "INSERT INTO ledger_entries (transaction_id, account_id, amount_minor, currency)
    SELECT line.transaction_id, a.id, line.amount_minor, line.currency
      FROM ROWS FROM (jsonb_to_recordset($1) AS (transaction_id uuid, c_organization_id text, kind text, amount_minor bigint, currency text))
           WITH ORDINALITY AS line (transaction_id, c_organization_id, kind, amount_minor, currency, place)
      JOIN ledger_accounts a ON a.c_organization_id = line.c_organization_id AND a.kind = line.kind AND a.currency = line.currency
     ORDER BY line.place";
const TARGETS: &str =
    "INSERT INTO quota_targets (c_organization_id, currency, target_quota, target_version, first_contact,
        first_contact_at, adopted_quota, adopted_correlation, opening_seen, backend, pushed_quota, pushed_version,
        litellm_team_id, updated_at, raised_at)
    SELECT c_organization_id, currency, target_quota, target_version, first_contact,
        first_contact_at, adopted_quota, adopted_correlation, opening_seen, backend, pushed_quota, pushed_version,
        litellm_team_id, updated_at, raised_at
    FROM jsonb_populate_recordset(NULL::quota_targets, $1)";
const SYNCS: &str =
    "INSERT INTO quota_syncs (c_organization_id, backend, ledger_version, previous_quota, quota, changed, cause,
        correlation_id, litellm_team_id, synced_at)
    SELECT c_organization_id, backend, ledger_version, previous_quota, quota, changed, cause,
        correlation_id, litellm_team_id, synced_at
    FROM jsonb_populate_recordset(NULL::quota_syncs, $1)";
const FAILURES: &str =
    "INSERT INTO quota_failures (cause, c_organization_id, backend, ledger_version, quota, reason, recharge_id,
        correlation_id, failed_at)
    SELECT cause, c_organization_id, backend, ledger_version, quota, reason, recharge_id, correlation_id, failed_at
    FROM jsonb_populate_recordset(NULL::quota_failures, $1)";
const SNAPSHOTS: &str = "INSERT INTO usage_snapshots (c_organization_id, usage, quota, taken_at, minimum_balance)
    SELECT c_organization_id, usage, quota, taken_at, minimum_balance FROM jsonb_populate_recordset(NULL::usage_snapshots, $1)";
const RUNS: &str = "INSERT INTO reconciliation_runs (run_id, since, requested_by, requested_at, published_at)
    SELECT run_id, since, requested_by, requested_at, published_at FROM jsonb_populate_recordset(NULL::reconciliation_runs, $1)";
const PARTS: &str = "INSERT INTO reconciliation_parts (run_id, part, checked, finished_at)
    SELECT run_id, part, checked, finished_at FROM jsonb_populate_recordset(NULL::reconciliation_parts, $1)";
const FINDINGS: &str = "INSERT INTO reconciliation_findings (run_id, part, kind, c_organization_id, expected, found, action, detail, found_at)
    SELECT run_id, part, kind, c_organization_id, expected, found, action, detail, found_at
    FROM jsonb_populate_recordset(NULL::reconciliation_findings, $1)";

/// Stores everything.
pub(crate) async fn insert(pool: &PgPool, rows: &Rows) -> sqlx::Result<()> {
    let accounts: Vec<Value> = rows
        .accounts
        .iter()
        .map(|(organization, kind, currency)| {
            json!({ "c_organization_id": organization, "kind": kind, "currency": currency })
        })
        .collect();
    for (sql, rows) in [
        (ORGANIZATIONS, &rows.organizations),
        (USERS, &rows.users),
        (TOKENS, &rows.tokens),
        (API_REQUESTS, &rows.api_requests),
        (STATES, &rows.states),
        (LEDGER_ORGANIZATIONS, &rows.ledger_organizations),
        (ACCOUNTS, &accounts),
        (TARGETS, &rows.targets),
        (FAILURES, &rows.failures),
        (RUNS, &rows.runs),
        (PARTS, &rows.parts),
        (FINDINGS, &rows.findings),
    ] {
        insert_all(&mut *pool.acquire().await?, sql, rows.iter()).await?;
    }
    for (sql, rows) in
        [(AUDIT_LOG, &rows.audit_log), (EVENTS, &rows.events), (SYNCS, &rows.syncs), (SNAPSHOTS, &rows.snapshots)]
    {
        insert_all(&mut *pool.acquire().await?, sql, rows.iter().map(|(_, row)| row)).await?;
    }
    // At once: of a recharge that goes back and has no refund, a service that runs already would think that it was forgotten.
    let mut tx = pool.begin().await?;
    insert_all(&mut tx, RECHARGES, rows.recharges.iter().map(|(_, row)| row)).await?;
    insert_all(&mut tx, REFUNDS, rows.refunds.iter()).await?;
    insert_all(&mut tx, DISPUTES, rows.disputes.iter()).await?;
    tx.commit().await?;
    for transactions in rows.transactions.chunks(TRANSACTIONS) {
        post(pool, transactions).await?;
    }
    // As autovacuum leaves tables that grew over a year.
    sqlx::query("VACUUM ANALYZE").execute(pool).await.map(drop)
}

async fn insert_all<'a>(
    connection: &mut PgConnection,
    sql: &'static str,
    rows: impl Iterator<Item = &'a Value>,
) -> sqlx::Result<()> {
    let rows: Vec<&Value> = rows.collect();
    for some in rows.chunks(ROWS) {
        sqlx::query(sql).bind(sqlx::types::Json(some)).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Transactions and their entries go together: the ledger's triggers look at them at the commit.
async fn post(pool: &PgPool, transactions: &[Transaction]) -> sqlx::Result<()> {
    let mut tx = pool.begin().await?;
    let rows: Vec<&Value> = transactions.iter().map(|transaction| &transaction.row).collect();
    sqlx::query(LEDGER_TRANSACTIONS).bind(sqlx::types::Json(rows)).execute(&mut *tx).await?;
    let entries: Vec<&Value> = transactions.iter().flat_map(|transaction| &transaction.entries).collect();
    sqlx::query(ENTRIES).bind(sqlx::types::Json(entries)).execute(&mut *tx).await?;
    tx.commit().await
}

/// The least that a question to the database costs.
pub(crate) async fn ask_nothing(pool: &PgPool) -> sqlx::Result<()> {
    sqlx::query("SELECT 1").execute(pool).await.map(drop)
}
