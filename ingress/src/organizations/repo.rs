//! `organization_balance_config` and `audit_log`.

use common::clock::Timestamp;
use common::ids::{OrganizationId, TeamId};
use common::money::Currency;
use rust_decimal::Decimal;
use serde_json::Value;
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use super::{NewOrganization, Organization, Policy, SavedCard};

#[derive(FromRow)]
struct Row {
    c_organization_id: String,
    stripe_customer_id: Option<String>,
    litellm_team_id: Option<String>,
    currency: String,
    minimum_balance: Decimal,
    target_balance: Decimal,
    target_basis: String,
    auto_recharge_enabled: bool,
    minimum_recharge_amount: Decimal,
    max_daily_recharges: i32,
    max_daily_amount: Option<Decimal>,
    max_monthly_amount: Option<Decimal>,
    cooldown_seconds: i32,
    opening_quota: Option<Decimal>,
    default_payment_method_id: Option<String>,
    payment_method_brand: Option<String>,
    payment_method_last4: Option<String>,
    payment_method_fingerprint: Option<String>,
    payment_method_set_at: Option<Timestamp>,
    resumed_at: Option<Timestamp>,
    closed_at: Option<Timestamp>,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl Row {
    fn read(self) -> sqlx::Result<Organization> {
        let wrong =
            |error: &dyn std::fmt::Display| sqlx::Error::Decode(format!("organization_balance_config: {error}").into());
        let (brand, last4) = (self.payment_method_brand, self.payment_method_last4);
        let fingerprint = self.payment_method_fingerprint;
        Ok(Organization {
            id: OrganizationId::parse(self.c_organization_id).map_err(|error| wrong(&error))?,
            policy: Policy {
                litellm_team_id: self.litellm_team_id.map(TeamId::parse).transpose().map_err(|error| wrong(&error))?,
                currency: self.currency.parse::<Currency>().map_err(|error| wrong(&error))?,
                minimum_balance: self.minimum_balance,
                target_balance: self.target_balance,
                target_basis: self.target_basis,
                auto_recharge_enabled: self.auto_recharge_enabled,
                minimum_recharge_amount: self.minimum_recharge_amount,
                max_daily_recharges: self.max_daily_recharges,
                max_daily_amount: self.max_daily_amount,
                max_monthly_amount: self.max_monthly_amount,
                cooldown_seconds: self.cooldown_seconds,
                opening_quota: self.opening_quota,
            },
            stripe_customer_id: self.stripe_customer_id,
            card: self.default_payment_method_id.map(|id| SavedCard { id, brand, last4, fingerprint }),
            card_set_at: self.payment_method_set_at,
            resumed_at: self.resumed_at,
            closed_at: self.closed_at,
            created_at: self.created_at,
            updated_at: self.updated_at,
        })
    }
}

/// Which unique value another organization has already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    Organization,
    Team,
}

/// Adds an organization; `Err` inside says what is taken.
pub(crate) async fn insert(
    connection: &mut PgConnection,
    new: &NewOrganization,
    now: Timestamp,
) -> sqlx::Result<Result<(), Taken>> {
    let policy = &new.policy;
    let inserted = sqlx::query(
        "INSERT INTO organization_balance_config
            (c_organization_id, litellm_team_id, currency, minimum_balance, target_balance, target_basis, auto_recharge_enabled,
             minimum_recharge_amount, max_daily_recharges, max_daily_amount, max_monthly_amount, cooldown_seconds,
             opening_quota, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $14)",
    )
    .bind(new.id.as_str())
    .bind(policy.litellm_team_id.as_ref().map(TeamId::as_str))
    .bind(policy.currency.code())
    .bind(policy.minimum_balance)
    .bind(policy.target_balance)
    .bind(&policy.target_basis)
    .bind(policy.auto_recharge_enabled)
    .bind(policy.minimum_recharge_amount)
    .bind(policy.max_daily_recharges)
    .bind(policy.max_daily_amount)
    .bind(policy.max_monthly_amount)
    .bind(policy.cooldown_seconds)
    .bind(policy.opening_quota)
    .bind(now)
    .execute(connection)
    .await;
    or_taken(inserted.map(drop))
}

/// Changes an organization's policy; `resumed_at` is changed only when it is given.
pub(crate) async fn update(
    connection: &mut PgConnection,
    id: &OrganizationId,
    policy: &Policy,
    resumed_at: Option<Timestamp>,
    now: Timestamp,
) -> sqlx::Result<Result<(), Taken>> {
    let updated = sqlx::query(
        "UPDATE organization_balance_config SET
            litellm_team_id = $2, minimum_balance = $3, target_balance = $4, target_basis = $5, auto_recharge_enabled = $6,
            minimum_recharge_amount = $7, max_daily_recharges = $8, max_daily_amount = $9, max_monthly_amount = $10,
            cooldown_seconds = $11, resumed_at = COALESCE($12, resumed_at), updated_at = $13, opening_quota = $14
         WHERE c_organization_id = $1",
    )
    .bind(id.as_str())
    .bind(policy.litellm_team_id.as_ref().map(TeamId::as_str))
    .bind(policy.minimum_balance)
    .bind(policy.target_balance)
    .bind(&policy.target_basis)
    .bind(policy.auto_recharge_enabled)
    .bind(policy.minimum_recharge_amount)
    .bind(policy.max_daily_recharges)
    .bind(policy.max_daily_amount)
    .bind(policy.max_monthly_amount)
    .bind(policy.cooldown_seconds)
    .bind(resumed_at)
    .bind(now)
    .bind(policy.opening_quota)
    .execute(connection)
    .await;
    or_taken(updated.map(drop))
}

/// The team whose budget is the organization's quota, where LiteLLM enforces it.
pub(crate) async fn met_team(connection: &mut PgConnection, id: &OrganizationId) -> sqlx::Result<Option<String>> {
    let newest: Option<Option<String>> = sqlx::query_scalar(
        "SELECT CASE WHEN backend = 'litellm' THEN litellm_team_id END FROM quota_syncs
          WHERE c_organization_id = $1 ORDER BY id DESC LIMIT 1",
    )
    .bind(id.as_str())
    .fetch_optional(connection)
    .await?;
    Ok(newest.flatten())
}

/// A violated uniqueness is an answer, by the name that PostgreSQL gives to the constraint.
fn or_taken(result: sqlx::Result<()>) -> sqlx::Result<Result<(), Taken>> {
    let constraint = match &result {
        Err(sqlx::Error::Database(error)) if error.is_unique_violation() => error.constraint().map(str::to_owned),
        _ => None,
    };
    match constraint.as_deref() {
        Some("organization_balance_config_c_organization_id_key") => Ok(Err(Taken::Organization)),
        Some("organization_balance_config_litellm_team_id_key") => Ok(Err(Taken::Team)),
        _ => result.map(Ok),
    }
}

/// One organization, closed or not.
pub(crate) async fn find(connection: &mut PgConnection, id: &OrganizationId) -> sqlx::Result<Option<Organization>> {
    let row: Option<Row> = sqlx::query_as(
        "SELECT c_organization_id, stripe_customer_id, litellm_team_id, currency, minimum_balance, target_balance, target_basis,
                auto_recharge_enabled, minimum_recharge_amount, max_daily_recharges, max_daily_amount, max_monthly_amount,
                cooldown_seconds, opening_quota, default_payment_method_id, payment_method_brand, payment_method_last4,
                payment_method_fingerprint, payment_method_set_at, resumed_at, closed_at,
                created_at, updated_at
           FROM organization_balance_config WHERE c_organization_id = $1",
    )
    .bind(id.as_str())
    .fetch_optional(connection)
    .await?;
    row.map(Row::read).transpose()
}

/// One organization, closed or not, which nobody else changes until the transaction ends.
pub(crate) async fn find_to_change(
    connection: &mut PgConnection,
    id: &OrganizationId,
) -> sqlx::Result<Option<Organization>> {
    let row: Option<Row> = sqlx::query_as(
        "SELECT c_organization_id, stripe_customer_id, litellm_team_id, currency, minimum_balance, target_balance, target_basis,
                auto_recharge_enabled, minimum_recharge_amount, max_daily_recharges, max_daily_amount, max_monthly_amount,
                cooldown_seconds, opening_quota, default_payment_method_id, payment_method_brand, payment_method_last4,
                payment_method_fingerprint, payment_method_set_at, resumed_at, closed_at,
                created_at, updated_at
           FROM organization_balance_config WHERE c_organization_id = $1 FOR NO KEY UPDATE",
    )
    .bind(id.as_str())
    .fetch_optional(connection)
    .await?;
    row.map(Row::read).transpose()
}

/// Organizations in the order of their ids, after one of them: all, or only this one; closed ones only when they are
/// asked for.
pub(crate) async fn list(
    connection: &mut PgConnection,
    only: Option<&OrganizationId>,
    closed_too: bool,
    after: &str,
    limit: i64,
) -> sqlx::Result<Vec<Organization>> {
    let rows: Vec<Row> = sqlx::query_as(
        r#"SELECT c_organization_id, stripe_customer_id, litellm_team_id, currency, minimum_balance, target_balance, target_basis,
                  auto_recharge_enabled, minimum_recharge_amount, max_daily_recharges, max_daily_amount, max_monthly_amount,
                  cooldown_seconds, opening_quota, default_payment_method_id, payment_method_brand, payment_method_last4,
                payment_method_fingerprint, payment_method_set_at, resumed_at, closed_at,
                  created_at, updated_at
             FROM organization_balance_config
            WHERE c_organization_id > $1 COLLATE "C" AND ($4 OR closed_at IS NULL) AND ($3::text IS NULL OR c_organization_id = $3)
            ORDER BY c_organization_id COLLATE "C" LIMIT $2"#,
    )
    .bind(after)
    .bind(limit)
    .bind(only.map(OrganizationId::as_str))
    .bind(closed_too)
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(Row::read).collect()
}

/// Waits for claims of recharges that have begun, and keeps new ones from beginning until the transaction ends: every claim
/// takes this lock, too (`lock` in the recharger's `repo.rs`).
pub(crate) async fn lock_claims(connection: &mut PgConnection, id: &OrganizationId) -> sqlx::Result<()> {
    sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended('recharges:' || $1, 0))")
        .bind(id.as_str())
        .execute(connection)
        .await
        .map(drop)
}

/// The recharge that has not ended yet, with its status. The statuses are those of the index `recharge_records_in_flight`.
pub(crate) async fn in_flight(
    connection: &mut PgConnection,
    id: &OrganizationId,
) -> sqlx::Result<Option<(Uuid, String)>> {
    sqlx::query_as(
        "SELECT recharge_id, status FROM recharge_records
          WHERE c_organization_id = $1 AND trigger_event_id IS NOT NULL
            AND status IN ('pending', 'processing', 'action_required', 'charged', 'credited', 'refunding')",
    )
    .bind(id.as_str())
    .fetch_optional(connection)
    .await
}

/// Closes an organization, or opens it again.
pub(crate) async fn set_closed(
    connection: &mut PgConnection,
    id: &OrganizationId,
    closed_at: Option<Timestamp>,
    now: Timestamp,
) -> sqlx::Result<()> {
    sqlx::query("UPDATE organization_balance_config SET closed_at = $2, updated_at = $3 WHERE c_organization_id = $1")
        .bind(id.as_str())
        .bind(closed_at)
        .bind(now)
        .execute(connection)
        .await
        .map(drop)
}

/// Waits until nobody else stores a Stripe customer for the organization; held until the transaction ends. A lock of its
/// own, not the row's: a recharge must not wait for it.
pub(crate) async fn lock_customer(connection: &mut PgConnection, id: &OrganizationId) -> sqlx::Result<()> {
    sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended('stripe_customer:' || $1, 0))")
        .bind(id.as_str())
        .execute(connection)
        .await
        .map(drop)
}

/// Stores the Stripe customer.
pub(crate) async fn set_customer(
    connection: &mut PgConnection,
    id: &OrganizationId,
    customer: &str,
    now: Timestamp,
) -> sqlx::Result<()> {
    sqlx::query(
        "UPDATE organization_balance_config SET stripe_customer_id = $2, updated_at = $3 WHERE c_organization_id = $1",
    )
    .bind(id.as_str())
    .bind(customer)
    .bind(now)
    .execute(connection)
    .await
    .map(drop)
}

/// Stores the card that is charged from now on, and since when its owner wants that.
pub(crate) async fn set_card(
    connection: &mut PgConnection,
    id: &OrganizationId,
    card: &SavedCard,
    set_at: Timestamp,
    now: Timestamp,
) -> sqlx::Result<()> {
    sqlx::query(
        "UPDATE organization_balance_config SET default_payment_method_id = $2, payment_method_brand = $3,
                payment_method_last4 = $4, payment_method_fingerprint = $5, updated_at = $6, payment_method_set_at = $7
          WHERE c_organization_id = $1",
    )
    .bind(id.as_str())
    .bind(&card.id)
    .bind(&card.brand)
    .bind(&card.last4)
    .bind(&card.fingerprint)
    .bind(now)
    .bind(set_at)
    .execute(connection)
    .await
    .map(drop)
}

/// Stores what a card's network says of the card now, for everybody whose default it is. Returns who that is.
pub(crate) async fn update_card(
    connection: &mut PgConnection,
    card: &SavedCard,
    now: Timestamp,
) -> sqlx::Result<Vec<OrganizationId>> {
    let organizations: Vec<String> = sqlx::query_scalar(
        "UPDATE organization_balance_config SET payment_method_brand = $2, payment_method_last4 = $3,
                payment_method_fingerprint = $4, updated_at = $5
          WHERE default_payment_method_id = $1 AND closed_at IS NULL
          RETURNING c_organization_id",
    )
    .bind(&card.id)
    .bind(&card.brand)
    .bind(&card.last4)
    .bind(&card.fingerprint)
    .bind(now)
    .fetch_all(connection)
    .await?;
    Ok(organizations.into_iter().filter_map(|id| OrganizationId::parse(id).ok()).collect())
}

/// One line of the audit log.
#[derive(Debug)]
pub(crate) struct AuditEntry<'a> {
    pub(crate) at: Timestamp,
    pub(crate) actor: &'a str,
    pub(crate) action: &'a str,
    pub(crate) organization: Option<&'a OrganizationId>,
    pub(crate) request_id: &'a str,
    pub(crate) before: Option<Value>,
    pub(crate) after: Option<Value>,
}

/// Adds a line to the audit log, in the transaction of what it is about.
pub(crate) async fn audit(connection: &mut PgConnection, entry: AuditEntry<'_>) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO audit_log (at, actor, action, c_organization_id, request_id, before, after)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(entry.at)
    .bind(entry.actor)
    .bind(entry.action)
    .bind(entry.organization.map(OrganizationId::as_str))
    .bind(entry.request_id)
    .bind(entry.before)
    .bind(entry.after)
    .execute(connection)
    .await
    .map(drop)
}
