//! All SQL of the recharger. Functions take a connection inside the caller's transaction; rows are private and become
//! domain values here.

use chrono::{Datelike, NaiveTime};
use common::clock::Timestamp;
use common::ids::{EventId, OrganizationId, RechargeId, TeamId};
use common::money::{Currency, Money};
use rust_decimal::Decimal;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};
use uuid::Uuid;

use crate::history::{History, RecordedPause, pause_in_force};
use crate::policy::{Policy, SavedCard, TargetBasis};

/// Refused attempts with one card are counted over so long, as the card networks do.
const CARD_WINDOW: chrono::Duration = chrono::Duration::days(30);

/// The result of a query.
pub(crate) type Result<T> = sqlx::Result<T>;

/// A trigger as it is logged.
#[derive(Debug, Clone)]
pub(crate) struct TriggerLog<'a> {
    /// Its id.
    pub(crate) event_id: &'a EventId,
    /// Who sent it: `litellm`, `stripe`, `api`, `sweep`.
    pub(crate) source: &'a str,
    /// The sender's name for it.
    pub(crate) event_type: &'a str,
    /// Whose it is.
    pub(crate) organization: Option<&'a OrganizationId>,
    /// The team that it named.
    pub(crate) team: Option<&'a str>,
    /// What started the chain.
    pub(crate) correlation: &'a EventId,
    /// What was received.
    pub(crate) payload: &'a serde_json::Value,
    /// When it happened, as the sender says.
    pub(crate) occurred_at: Option<Timestamp>,
    /// When it was received.
    pub(crate) received_at: Timestamp,
}

/// What was decided about a trigger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LoggedDecision {
    /// `charge`, `skipped` or `recorded`.
    pub(crate) decision: String,
    /// The stable word of a skip.
    pub(crate) reason: Option<String>,
    /// The numbers, as a sentence.
    pub(crate) detail: Option<String>,
    /// The recharge that it led to, or that is in the way.
    pub(crate) recharge_id: Option<RechargeId>,
    /// The organization.
    pub(crate) organization: Option<OrganizationId>,
    /// When.
    pub(crate) decided_at: Timestamp,
}

/// A column that holds what it should not.
pub(crate) fn bad(column: &str, problem: impl std::fmt::Display) -> sqlx::Error {
    sqlx::Error::ColumnDecode { index: column.to_owned(), source: problem.to_string().into() }
}

/// An amount of a row.
pub(crate) fn money(row: &PgRow, column: &str, currency: Currency) -> Result<Money> {
    Money::from_decimal(row.try_get(column)?, currency).map_err(|error| bad(column, error))
}

/// What was decided about a trigger before, if it was.
pub(crate) async fn logged_decision(db: &mut PgConnection, event: &EventId) -> Result<Option<LoggedDecision>> {
    let sql = "SELECT decision, reason, detail, recharge_id, c_organization_id, decided_at FROM webhook_events WHERE event_id = $1";
    let row = sqlx::query(sql).bind(event.as_str()).fetch_optional(db).await?;
    row.map(|row| {
        Ok(LoggedDecision {
            decision: row.try_get("decision")?,
            reason: row.try_get("reason")?,
            detail: row.try_get("detail")?,
            recharge_id: row.try_get::<Option<Uuid>, _>("recharge_id")?.map(RechargeId),
            organization: row
                .try_get::<Option<String>, _>("c_organization_id")?
                .and_then(|id| OrganizationId::parse(id).ok()),
            decided_at: row.try_get("decided_at")?,
        })
    })
    .transpose()
}

/// Logs a trigger with what was decided. Returns false when somebody logged it first.
pub(crate) async fn log_decision(
    db: &mut PgConnection,
    log: &TriggerLog<'_>,
    decision: &LoggedDecision,
) -> Result<bool> {
    let sql =
        "INSERT INTO webhook_events (event_id, source, event_type, c_organization_id, litellm_team_id, correlation_id,
            payload, occurred_at, received_at, decision, reason, detail, recharge_id, decided_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) ON CONFLICT (event_id) DO NOTHING";
    let done = sqlx::query(sql)
        .bind(log.event_id.as_str())
        .bind(log.source)
        .bind(log.event_type)
        .bind(log.organization.map(OrganizationId::as_str))
        .bind(log.team)
        .bind(log.correlation.as_str())
        .bind(log.payload)
        .bind(log.occurred_at)
        .bind(log.received_at)
        .bind(&decision.decision)
        .bind(&decision.reason)
        .bind(&decision.detail)
        .bind(decision.recharge_id.map(|id| id.0))
        .bind(decision.decided_at)
        .execute(db)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// The organization that has a team, or that the sender named. One that is closed only where there is no other: nothing
/// is charged for it, but the trigger is logged as its own.
pub(crate) async fn organization_of_team(
    db: &mut PgConnection,
    team: &TeamId,
    named: Option<&OrganizationId>,
) -> Result<Option<OrganizationId>> {
    let sql = "SELECT c_organization_id FROM organization_balance_config
        WHERE litellm_team_id = $1 OR c_organization_id = $2
        ORDER BY closed_at IS NOT NULL, (litellm_team_id = $1) DESC NULLS LAST LIMIT 1";
    let id: Option<String> =
        sqlx::query_scalar(sql).bind(team.as_str()).bind(named.map(OrganizationId::as_str)).fetch_optional(db).await?;
    id.map(|id| OrganizationId::parse(id).map_err(|error| bad("c_organization_id", error))).transpose()
}

/// Locks what is known of an organization until the transaction ends. Every transaction that reads or moves an
/// organization's recharges takes this lock first: claims, outcomes and facts are serial, whatever the replicas do.
pub(crate) async fn lock(db: &mut PgConnection, organization: &OrganizationId) -> Result<()> {
    sqlx::query("INSERT INTO recharge_state (c_organization_id) VALUES ($1) ON CONFLICT DO NOTHING")
        .bind(organization.as_str())
        .execute(&mut *db)
        .await?;
    // Always the row first. The second lock is for ingress, which may not lock the row: it closes no organization while
    // somebody is here, and nobody claims while it does (`lock_claims` in its `organizations/repo.rs`).
    sqlx::query(
        "WITH locked AS MATERIALIZED (SELECT 1 FROM recharge_state WHERE c_organization_id = $1 FOR UPDATE)
         SELECT pg_advisory_xact_lock(hashtextextended('recharges:' || $1, 0)) FROM locked",
    )
    .bind(organization.as_str())
    .execute(db)
    .await?;
    Ok(())
}

/// An organization's policy, and when a person last resumed it. None when there is no such organization, or it is closed.
pub(crate) async fn policy(
    db: &mut PgConnection,
    organization: &OrganizationId,
) -> Result<Option<(Policy, Option<Timestamp>)>> {
    let sql = "SELECT auto_recharge_enabled, currency, minimum_balance, target_balance, target_basis, minimum_recharge_amount,
            max_daily_recharges, max_daily_amount, max_monthly_amount, stripe_customer_id, default_payment_method_id,
            payment_method_fingerprint, resumed_at
        FROM organization_balance_config WHERE c_organization_id = $1 AND closed_at IS NULL";
    let Some(row) = sqlx::query(sql).bind(organization.as_str()).fetch_optional(db).await? else { return Ok(None) };
    let currency: Currency = row.try_get::<String, _>("currency")?.parse().map_err(|error| bad("currency", error))?;
    let optional = |column: &str| -> Result<Option<Money>> {
        let amount: Option<Decimal> = row.try_get(column)?;
        amount.map(|amount| Money::from_decimal(amount, currency).map_err(|error| bad(column, error))).transpose()
    };
    let customer: Option<String> = row.try_get("stripe_customer_id")?;
    let method: Option<String> = row.try_get("default_payment_method_id")?;
    let fingerprint: Option<String> = row.try_get("payment_method_fingerprint")?;
    let policy = Policy {
        auto_recharge_enabled: row.try_get("auto_recharge_enabled")?,
        currency,
        minimum_balance: row.try_get("minimum_balance")?,
        target_balance: row.try_get("target_balance")?,
        target_basis: match row.try_get::<&str, _>("target_basis")? {
            "available" => TargetBasis::Available,
            _ => TargetBasis::Quota,
        },
        minimum_recharge: money(&row, "minimum_recharge_amount", currency)?,
        max_daily_recharges: u32::try_from(row.try_get::<i32, _>("max_daily_recharges")?).unwrap_or(0),
        max_daily_amount: optional("max_daily_amount")?,
        max_monthly_amount: optional("max_monthly_amount")?,
        card: customer.zip(method).map(|(customer_id, payment_method_id)| SavedCard {
            customer_id,
            payment_method_id,
            fingerprint,
        }),
    };
    Ok(Some((policy, row.try_get("resumed_at")?)))
}

/// When the UTC day and the UTC month of `now` began.
pub(crate) fn day_and_month(now: Timestamp) -> (Timestamp, Timestamp) {
    let day = now.date_naive();
    let month = day.with_day(1).unwrap_or(day);
    (day.and_time(NaiveTime::MIN).and_utc(), month.and_time(NaiveTime::MIN).and_utc())
}

/// What happened so far. Whoever acts on it must have locked the organization.
pub(crate) async fn history(
    db: &mut PgConnection,
    organization: &OrganizationId,
    policy: &Policy,
    resumed_at: Option<Timestamp>,
    now: Timestamp,
) -> Result<History> {
    let sql = "SELECT COALESCE(s.quota, 0) AS quota, s.cooldown_until, s.paused_at, s.pause_reason, s.pause_payment_method,
            (SELECT recharge_id FROM recharge_records r WHERE r.c_organization_id = $1 AND r.trigger_event_id IS NOT NULL
                AND r.status IN ('pending', 'processing', 'action_required', 'charged', 'credited', 'refunding') LIMIT 1) AS in_flight,
            (SELECT max(trigger_limit) FROM recharge_records r WHERE r.c_organization_id = $1 AND r.status = 'settled'
                AND r.new_quota <= s.quota) AS answered_limit,
            t.recharges_today, t.amount_today, t.amount_month,
            (SELECT count(*) FROM recharge_records r WHERE r.card_fingerprint = $4 AND r.created_at >= $5
                AND r.status IN ('declined', 'failed')) AS card_refusals,
            (SELECT min(dispute_id) FROM disputes d WHERE d.c_organization_id = $1 AND d.stage = 'opened') AS open_dispute
        FROM (SELECT $1::text AS id) o LEFT JOIN recharge_state s ON s.c_organization_id = o.id, LATERAL (
            SELECT count(*) FILTER (WHERE created_at >= $2 AND triggered_by <> 'manual') AS recharges_today,
                COALESCE(sum(amount) FILTER (WHERE created_at >= $2 AND status <> 'refunded'), 0) AS amount_today,
                COALESCE(sum(amount) FILTER (WHERE status <> 'refunded'), 0) AS amount_month
            FROM recharge_records r WHERE r.c_organization_id = $1 AND r.trigger_event_id IS NOT NULL AND r.created_at >= $3
                AND r.status NOT IN ('declined', 'failed')) t";
    let (today, month) = day_and_month(now);
    let fingerprint = policy.card.as_ref().and_then(|card| card.fingerprint.as_deref());
    let row = sqlx::query(sql)
        .bind(organization.as_str())
        .bind(today)
        .bind(month)
        .bind(fingerprint)
        .bind(now - CARD_WINDOW)
        .fetch_one(db)
        .await?;
    let pause = row.try_get::<Option<Timestamp>, _>("paused_at")?.map(|at| -> Result<RecordedPause> {
        Ok(RecordedPause {
            at,
            reason: row.try_get::<Option<String>, _>("pause_reason")?.unwrap_or_default(),
            payment_method_id: row.try_get("pause_payment_method")?,
        })
    });
    let card = policy.card.as_ref().map(|card| card.payment_method_id.as_str());
    // Whatever else was paused or lifted meanwhile.
    let dispute: Option<String> = row.try_get("open_dispute")?;
    let disputed = dispute.map(|dispute| format!("dispute {dispute} is open"));
    Ok(History {
        quota: row.try_get("quota")?,
        answered_limit: row.try_get("answered_limit")?,
        in_flight: row.try_get::<Option<Uuid>, _>("in_flight")?.map(RechargeId),
        recharges_today: u32::try_from(row.try_get::<i64, _>("recharges_today")?).unwrap_or(u32::MAX),
        amount_today: money(&row, "amount_today", policy.currency)?,
        amount_this_month: money(&row, "amount_month", policy.currency)?,
        paused: pause_in_force(pause.transpose()?, card, resumed_at).or(disputed),
        cooldown_until: row.try_get("cooldown_until")?,
        card_refusals: u32::try_from(row.try_get::<i64, _>("card_refusals")?).unwrap_or(u32::MAX),
    })
}

/// How many recharges were claimed since then, over all organizations. Until the transaction ends nobody else counts, so
/// that what is counted and what is claimed agree.
pub(crate) async fn fleet_claims(db: &mut PgConnection, since: Timestamp) -> Result<u32> {
    sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended('recharger:fleet', 0))").execute(&mut *db).await?;
    claims_since(db, since).await
}

/// The same, for whoever claims nothing.
pub(crate) async fn claims_since(db: &mut PgConnection, since: Timestamp) -> Result<u32> {
    let sql = "SELECT count(*) FROM recharge_records WHERE trigger_event_id IS NOT NULL AND created_at > $1";
    let count: i64 = sqlx::query_scalar(sql).bind(since).fetch_one(db).await?;
    Ok(u32::try_from(count).unwrap_or(u32::MAX))
}

/// How often in a row the organization's card was refused before.
pub(crate) async fn consecutive_failures(db: &mut PgConnection, organization: &OrganizationId) -> Result<u32> {
    let count: i32 = sqlx::query_scalar("SELECT consecutive_failures FROM recharge_state WHERE c_organization_id = $1")
        .bind(organization.as_str())
        .fetch_one(db)
        .await?;
    Ok(u32::try_from(count).unwrap_or(0))
}

/// How long the organization rests after a soft decline.
pub(crate) async fn cooldown(db: &mut PgConnection, organization: &OrganizationId) -> Result<chrono::Duration> {
    let seconds: Option<i32> =
        sqlx::query_scalar("SELECT cooldown_seconds FROM organization_balance_config WHERE c_organization_id = $1")
            .bind(organization.as_str())
            .fetch_optional(db)
            .await?;
    Ok(chrono::Duration::seconds(i64::from(seconds.unwrap_or(3600))))
}

/// Records failures in a row and when automatic recharge may go on; 0 and none after a success.
pub(crate) async fn set_failures(
    db: &mut PgConnection,
    organization: &OrganizationId,
    failures: u32,
    cooldown_until: Option<Timestamp>,
) -> Result<()> {
    sqlx::query(
        "UPDATE recharge_state SET consecutive_failures = $2, cooldown_until = $3 WHERE c_organization_id = $1",
    )
    .bind(organization.as_str())
    .bind(i32::try_from(failures).unwrap_or(i32::MAX))
    .bind(cooldown_until)
    .execute(db)
    .await?;
    Ok(())
}

/// What automatic recharge is paused for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PausedFor<'a> {
    /// A card: another one lifts the pause.
    Card(&'a str),
    /// A dispute: winning it lifts the pause.
    Dispute(&'a str),
}

/// Pauses automatic recharge. What a dispute has paused, a card does not pause anew: a new card would lift it.
pub(crate) async fn pause(
    db: &mut PgConnection,
    organization: &OrganizationId,
    reason: &str,
    cause: PausedFor<'_>,
    now: Timestamp,
) -> Result<()> {
    let (card, dispute) = match cause {
        PausedFor::Card(card) => (Some(card), None),
        PausedFor::Dispute(dispute) => (None, Some(dispute)),
    };
    let sql =
        "UPDATE recharge_state SET paused_at = $2, pause_reason = $3, pause_payment_method = $4, pause_dispute = $5,
        consecutive_failures = 0, updated_at = $2 WHERE c_organization_id = $1 AND (pause_dispute IS NULL OR $5::text IS NOT NULL)";
    sqlx::query(sql).bind(organization.as_str()).bind(now).bind(reason).bind(card).bind(dispute).execute(db).await?;
    Ok(())
}

/// Lifts the pause that this caused, if it still is the one in force. Returns whether it did.
pub(crate) async fn lift_pause(
    db: &mut PgConnection,
    organization: &OrganizationId,
    cause: PausedFor<'_>,
    now: Timestamp,
) -> Result<bool> {
    let (card, dispute) = match cause {
        PausedFor::Card(card) => (Some(card), None),
        PausedFor::Dispute(dispute) => (None, Some(dispute)),
    };
    let sql = "UPDATE recharge_state SET paused_at = NULL, pause_reason = NULL, pause_payment_method = NULL, pause_dispute = NULL,
            consecutive_failures = 0, cooldown_until = NULL, updated_at = $4
        WHERE c_organization_id = $1 AND paused_at IS NOT NULL AND (pause_payment_method = $2 OR pause_dispute = $3)";
    let done = sqlx::query(sql).bind(organization.as_str()).bind(card).bind(dispute).bind(now).execute(db).await?;
    Ok(done.rows_affected() > 0)
}

/// The organization of a Stripe customer.
pub(crate) async fn organization_of_customer(db: &mut PgConnection, customer: &str) -> Result<Option<OrganizationId>> {
    let sql = "SELECT c_organization_id FROM organization_balance_config WHERE stripe_customer_id = $1";
    let id: Option<String> = sqlx::query_scalar(sql).bind(customer).fetch_optional(db).await?;
    id.map(|id| OrganizationId::parse(id).map_err(|error| bad("c_organization_id", error))).transpose()
}

/// Remembers the ledger's quota, unless a newer one is known.
pub(crate) async fn learn_quota(
    db: &mut PgConnection,
    organization: &OrganizationId,
    quota: Decimal,
    version: i64,
    now: Timestamp,
) -> Result<()> {
    let sql = "UPDATE recharge_state SET quota = $2, ledger_version = $3, updated_at = $4
        WHERE c_organization_id = $1 AND ledger_version < $3";
    sqlx::query(sql).bind(organization.as_str()).bind(quota).bind(version).bind(now).execute(db).await?;
    Ok(())
}

/// Remembers what is in force at the backend, unless something newer is known.
pub(crate) async fn learn_synced(
    db: &mut PgConnection,
    organization: &OrganizationId,
    quota: Decimal,
    version: i64,
    now: Timestamp,
) -> Result<()> {
    let sql = "UPDATE recharge_state SET synced_quota = $2, synced_version = $3, updated_at = $4
        WHERE c_organization_id = $1 AND synced_version < $3";
    sqlx::query(sql).bind(organization.as_str()).bind(quota).bind(version).bind(now).execute(db).await?;
    Ok(())
}

/// What is in force at the backend, as far as is known: version and quota.
pub(crate) async fn synced(db: &mut PgConnection, organization: &OrganizationId) -> Result<(i64, Option<Decimal>)> {
    let row = sqlx::query("SELECT synced_version, synced_quota FROM recharge_state WHERE c_organization_id = $1")
        .bind(organization.as_str())
        .fetch_one(db)
        .await?;
    Ok((row.try_get("synced_version")?, row.try_get("synced_quota")?))
}
