//! All SQL of the recharger. Functions take a connection inside the caller's transaction; rows are private and become
//! domain values here.

use chrono::{Datelike, NaiveTime};
use common::clock::Timestamp;
use common::contract::{DeclineClass, TriggerKind};
use common::ids::{EventId, OrganizationId, RechargeId, TeamId};
use common::money::{Currency, Money};
use rust_decimal::Decimal;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};
use uuid::Uuid;

use crate::history::{History, RecordedPause, pause_in_force};
use crate::policy::{Policy, SavedCard, TargetBasis};
use crate::record::{Decline, Record};
use crate::saga::State;

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

fn bad(column: &str, problem: impl std::fmt::Display) -> sqlx::Error {
    sqlx::Error::ColumnDecode { index: column.to_owned(), source: problem.to_string().into() }
}

fn money(row: &PgRow, column: &str, currency: Currency) -> Result<Money> {
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

/// The organization that has a team, or that the sender named.
pub(crate) async fn organization_of_team(
    db: &mut PgConnection,
    team: &TeamId,
    named: Option<&OrganizationId>,
) -> Result<Option<OrganizationId>> {
    let sql = "SELECT c_organization_id FROM organization_balance_config
        WHERE litellm_team_id = $1 OR c_organization_id = $2 ORDER BY (litellm_team_id = $1) DESC NULLS LAST LIMIT 1";
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
    sqlx::query("SELECT 1 FROM recharge_state WHERE c_organization_id = $1 FOR UPDATE")
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
            max_daily_recharges, max_daily_amount, max_monthly_amount, stripe_customer_id, default_payment_method_id, resumed_at
        FROM organization_balance_config WHERE c_organization_id = $1 AND closed_at IS NULL";
    let Some(row) = sqlx::query(sql).bind(organization.as_str()).fetch_optional(db).await? else { return Ok(None) };
    let currency: Currency = row.try_get::<String, _>("currency")?.parse().map_err(|error| bad("currency", error))?;
    let optional = |column: &str| -> Result<Option<Money>> {
        let amount: Option<Decimal> = row.try_get(column)?;
        amount.map(|amount| Money::from_decimal(amount, currency).map_err(|error| bad(column, error))).transpose()
    };
    let customer: Option<String> = row.try_get("stripe_customer_id")?;
    let method: Option<String> = row.try_get("default_payment_method_id")?;
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
        card: customer.zip(method).map(|(customer_id, payment_method_id)| SavedCard { customer_id, payment_method_id }),
    };
    Ok(Some((policy, row.try_get("resumed_at")?)))
}

/// What happened so far. The organization must be locked.
pub(crate) async fn history(
    db: &mut PgConnection,
    organization: &OrganizationId,
    policy: &Policy,
    resumed_at: Option<Timestamp>,
    now: Timestamp,
) -> Result<History> {
    let sql = "SELECT s.quota, s.cooldown_until, s.paused_at, s.pause_reason, s.pause_payment_method,
            (SELECT recharge_id FROM recharge_records r WHERE r.c_organization_id = $1 AND r.trigger_event_id IS NOT NULL
                AND r.status IN ('pending', 'processing', 'charged', 'credited', 'refunding') LIMIT 1) AS in_flight,
            (SELECT max(trigger_limit) FROM recharge_records r WHERE r.c_organization_id = $1 AND r.status = 'settled'
                AND r.new_quota <= s.quota) AS answered_limit,
            t.recharges_today, t.amount_today, t.amount_month
        FROM recharge_state s, LATERAL (
            SELECT count(*) FILTER (WHERE created_at >= $2 AND triggered_by <> 'manual') AS recharges_today,
                COALESCE(sum(amount) FILTER (WHERE created_at >= $2), 0) AS amount_today,
                COALESCE(sum(amount), 0) AS amount_month
            FROM recharge_records r WHERE r.c_organization_id = $1 AND r.trigger_event_id IS NOT NULL AND r.created_at >= $3
                AND r.status NOT IN ('declined', 'failed', 'action_required', 'refunded')) t
        WHERE s.c_organization_id = $1";
    let day = now.date_naive();
    let today = day.and_time(NaiveTime::MIN).and_utc();
    let month = day.with_day(1).unwrap_or(day).and_time(NaiveTime::MIN).and_utc();
    let row = sqlx::query(sql).bind(organization.as_str()).bind(today).bind(month).fetch_one(db).await?;
    let pause = row.try_get::<Option<Timestamp>, _>("paused_at")?.map(|at| -> Result<RecordedPause> {
        Ok(RecordedPause {
            at,
            reason: row.try_get::<Option<String>, _>("pause_reason")?.unwrap_or_default(),
            payment_method_id: row.try_get("pause_payment_method")?,
        })
    });
    let card = policy.card.as_ref().map(|card| card.payment_method_id.as_str());
    Ok(History {
        quota: row.try_get("quota")?,
        answered_limit: row.try_get("answered_limit")?,
        in_flight: row.try_get::<Option<Uuid>, _>("in_flight")?.map(RechargeId),
        recharges_today: u32::try_from(row.try_get::<i64, _>("recharges_today")?).unwrap_or(u32::MAX),
        amount_today: money(&row, "amount_today", policy.currency)?,
        amount_this_month: money(&row, "amount_month", policy.currency)?,
        paused: pause_in_force(pause.transpose()?, card, resumed_at),
        cooldown_until: row.try_get("cooldown_until")?,
    })
}

/// Claims a recharge: from here on the organization has one in flight, by a unique index.
pub(crate) async fn claim(
    db: &mut PgConnection,
    record: &Record,
    is_webhook: bool,
    limit: Option<Decimal>,
) -> Result<()> {
    let sql = "INSERT INTO recharge_records (recharge_id, trigger_event_id, correlation_id, c_organization_id, amount, fee, total_charge,
            currency, status, triggered_by, triggered_by_webhook, webhook_event_id, stripe_customer_id, payment_method_id, created_at, updated_at, trigger_limit)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $15, $16)";
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
            class: row.try_get::<Option<String>, _>("decline_class")?.and_then(|word| DeclineClass::parse(&word)),
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
    })
}

/// Writes back where a recharge is. The organization must be locked.
pub(crate) async fn save(db: &mut PgConnection, record: &Record, now: Timestamp) -> Result<()> {
    let sql = "UPDATE recharge_records SET status = $2, payment_intent_id = $3, charge_id = $4, processor_fee = $5, failure_code = $6,
            decline_code = $7, advice_code = $8, decline_class = $9, failure_message = $10, paused = $11, ledger_version = $12,
            new_quota = $13, charged_at = $14, credited_at = CASE WHEN $12::bigint IS NULL THEN NULL ELSE COALESCE(credited_at, $15) END,
            settled_at = $16, settled_by_event = $17, ended_at = $18, updated_at = $15
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
        .bind(decline.and_then(|decline| decline.class).map(DeclineClass::as_str))
        .bind(decline.map(|decline| decline.message.as_str()))
        .bind(record.paused)
        .bind(record.ledger_version)
        .bind(record.new_quota)
        .bind(record.charged_at)
        .bind(now)
        .bind(record.settled_at)
        .bind(&record.settled_by_event)
        .bind(record.ended_at)
        .execute(db)
        .await?;
    Ok(())
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

/// Pauses automatic recharge because of a card.
pub(crate) async fn pause(
    db: &mut PgConnection,
    organization: &OrganizationId,
    reason: &str,
    card: &str,
    now: Timestamp,
) -> Result<()> {
    let sql = "UPDATE recharge_state SET paused_at = $2, pause_reason = $3, pause_payment_method = $4, consecutive_failures = 0,
        updated_at = $2 WHERE c_organization_id = $1";
    sqlx::query(sql).bind(organization.as_str()).bind(now).bind(reason).bind(card).execute(db).await?;
    Ok(())
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
