//! What the API reads of the other services' tables, and its own `api_requests`.

use common::clock::Timestamp;
use common::ids::{EventId, OrganizationId};
use common::money::Currency;
use rust_decimal::Decimal;
use sqlx::{FromRow, PgConnection, PgPool};

use super::audit::{AuditLine, Which};
use crate::organizations::Organization;

/// Records what an event id stands for, once. Returns what it stands for, and whether that is new.
pub(super) async fn record_request(
    connection: &mut PgConnection,
    event_id: &EventId,
    organization: &OrganizationId,
    asked: &str,
    now: Timestamp,
) -> sqlx::Result<(String, bool)> {
    // The empty update makes a conflicting row visible to RETURNING, one that was committed a moment ago included.
    sqlx::query_as(
        "INSERT INTO api_requests AS r (event_id, c_organization_id, asked, created_at) VALUES ($1, $2, $3, $4)
         ON CONFLICT (event_id) DO UPDATE SET asked = r.asked
         RETURNING asked, xmax = 0",
    )
    .bind(event_id.as_str())
    .bind(organization.as_str())
    .bind(asked)
    .bind(now)
    .fetch_one(connection)
    .await
}

/// What an event id stands for, if that was recorded.
pub(super) async fn recorded_request(pool: &PgPool, event_id: &EventId) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar("SELECT asked FROM api_requests WHERE event_id = $1")
        .bind(event_id.as_str())
        .fetch_optional(pool)
        .await
}

/// A request of whose event nothing is known: whose it was, what it was, and when.
pub(super) async fn asked(pool: &PgPool, event_id: &EventId) -> sqlx::Result<Option<(String, String, Timestamp)>> {
    sqlx::query_as("SELECT c_organization_id, asked, created_at FROM api_requests WHERE event_id = $1")
        .bind(event_id.as_str())
        .fetch_optional(pool)
        .await
}

/// The ledger's quota in minor units, and its version.
pub(super) async fn quota(
    connection: &mut PgConnection,
    organization: &OrganizationId,
    currency: Currency,
) -> sqlx::Result<Option<(i64, i64)>> {
    sqlx::query_as(
        "SELECT quota_minor, ledger_version FROM ledger_quotas WHERE c_organization_id = $1 AND currency = $2",
    )
    .bind(organization.as_str())
    .bind(currency.code())
    .fetch_optional(connection)
    .await
}

/// The newest usage that somebody saw.
pub(super) async fn usage(
    connection: &mut PgConnection,
    organization: &OrganizationId,
) -> sqlx::Result<Option<(Decimal, Timestamp)>> {
    sqlx::query_as(
        "SELECT usage, taken_at FROM usage_snapshots WHERE c_organization_id = $1 ORDER BY taken_at DESC LIMIT 1",
    )
    .bind(organization.as_str())
    .fetch_optional(connection)
    .await
}

/// What the recharger knows of an organization.
#[derive(Debug, FromRow)]
pub(super) struct RechargeState {
    pub(super) synced_quota: Option<Decimal>,
    pub(super) consecutive_failures: i32,
    pub(super) cooldown_until: Option<Timestamp>,
    paused_at: Option<Timestamp>,
    pause_reason: Option<String>,
    pause_payment_method: Option<String>,
}

impl RechargeState {
    /// The pause that is in force: it ends with a newer card, or when a person lifts it.
    pub(super) fn pause(&self, organization: &Organization) -> Option<(Timestamp, Option<String>)> {
        let paused_at = self.paused_at?;
        let resumed = organization.resumed_at.is_some_and(|resumed| resumed >= paused_at);
        let card = organization.card.as_ref().map(|card| card.id.as_str());
        let other_card = self.pause_payment_method.as_deref().is_some_and(|paused| Some(paused) != card);
        (!resumed && !other_card).then(|| (paused_at, self.pause_reason.clone()))
    }
}

/// What the recharger knows of an organization.
pub(super) async fn state(
    connection: &mut PgConnection,
    organization: &OrganizationId,
) -> sqlx::Result<Option<RechargeState>> {
    sqlx::query_as(
        "SELECT synced_quota, consecutive_failures, cooldown_until, paused_at, pause_reason, pause_payment_method
           FROM recharge_state WHERE c_organization_id = $1",
    )
    .bind(organization.as_str())
    .fetch_optional(connection)
    .await
}

/// Lines of the audit log, newest first.
pub(super) async fn audit_log(
    pool: &PgPool,
    which: &Which<'_>,
    before: Option<i64>,
    limit: i64,
) -> sqlx::Result<Vec<AuditLine>> {
    sqlx::query_as(
        "SELECT id, at, actor, action, c_organization_id, request_id, before, after
           FROM audit_log
          WHERE ($1::text IS NULL OR c_organization_id = $1) AND ($2::bigint IS NULL OR id < $2)
            AND ($4::text IS NULL OR action = $4 OR starts_with(action, $4 || '.'))
            AND ($5::text IS NULL OR actor = $5 OR starts_with(actor, $5 || '#'))
          ORDER BY id DESC LIMIT $3",
    )
    .bind(which.organization.map(OrganizationId::as_str))
    .bind(before)
    .bind(limit)
    .bind(which.action)
    .bind(which.actor)
    .fetch_all(pool)
    .await
}
