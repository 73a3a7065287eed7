//! Reads `quota_syncs` and `quota_failures`, which the syncer writes, and `ledger_transactions`, which the ledger does; and of
//! our own tables what people asked for.

use common::clock::Timestamp;
use common::ids::{EventId, OrganizationId};
use rust_decimal::Decimal;
use sqlx::{FromRow, PgConnection, PgPool};
use uuid::Uuid;

/// A push of a quota, or one that was given up, with the ledger's transaction that it was for.
#[derive(Debug, FromRow)]
pub(crate) struct Entry {
    /// Its place among those of the same moment.
    pub(crate) key: String,
    /// None: it was given up.
    pub(crate) quota_sync_id: Option<i64>,
    pub(crate) at: Timestamp,
    pub(crate) backend: String,
    pub(crate) quota: Decimal,
    pub(crate) previous_quota: Option<Decimal>,
    pub(crate) changed: bool,
    pub(crate) ledger_version: i64,
    pub(crate) cause: String,
    pub(crate) correlation_id: String,
    pub(crate) failure: Option<String>,
    pub(crate) posting: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) recharge_id: Option<Uuid>,
}

/// What was done to an organization's quota at the backend, newest first, older than `before`. The event that a posting
/// leads to is called `ledger.<word>:<transaction>`. Each kind stops at the limit by itself, in the order of its own index,
/// which is the order of the keys: however long a history is, a page of it costs the same.
pub(crate) async fn history(
    pool: &PgPool,
    organization: &OrganizationId,
    before: Option<(Timestamp, String)>,
    limit: i64,
) -> sqlx::Result<Vec<Entry>> {
    let (at, key) = before.unzip();
    sqlx::query_as(
        r#"SELECT h.*, t.kind AS posting, t.description, COALESCE(h.failed_recharge, t.recharge_id) AS recharge_id
             FROM (
                (SELECT 's' || lpad(id::text, 20, '0') COLLATE "C" AS key, id AS quota_sync_id, synced_at AS at, backend,
                        quota, previous_quota, changed, ledger_version, cause, correlation_id, NULL AS failure,
                        NULL::uuid AS failed_recharge
                   FROM quota_syncs
                  WHERE c_organization_id = $1
                    AND (synced_at, 's' || lpad(id::text, 20, '0') COLLATE "C") < (COALESCE($2::timestamptz, 'infinity'), $3)
                  ORDER BY synced_at DESC, id DESC LIMIT $4)
                UNION ALL
                (SELECT 'f' || cause COLLATE "C", NULL, failed_at, backend, quota, NULL, false, ledger_version, cause,
                        correlation_id, reason, recharge_id
                   FROM quota_failures
                  WHERE c_organization_id = $1
                    AND (failed_at, 'f' || cause COLLATE "C") < (COALESCE($2::timestamptz, 'infinity'), $3)
                  ORDER BY failed_at DESC, cause COLLATE "C" DESC LIMIT $4)
                ORDER BY at DESC, key DESC LIMIT $4
             ) h
             LEFT JOIN ledger_transactions t ON t.c_organization_id = $1 AND t.id =
                CASE WHEN h.cause ~ '^ledger\.[a-z]+:[0-9a-f-]{36}$' THEN split_part(h.cause, ':', 2)::uuid END
            ORDER BY h.at DESC, h.key DESC"#,
    )
    .bind(organization.as_str())
    .bind(at)
    .bind(key)
    .bind(limit)
    .fetch_all(pool)
    .await
}

/// Who started these chains, where a person did: the event of each, and its line in the audit log.
pub(crate) async fn starters(
    pool: &PgPool,
    organization: &OrganizationId,
    correlations: &[&str],
) -> sqlx::Result<Vec<(String, String)>> {
    sqlx::query_as(
        "SELECT after->>'event_id', actor FROM audit_log WHERE c_organization_id = $1 AND after->>'event_id' = ANY($2)",
    )
    .bind(organization.as_str())
    .bind(correlations)
    .fetch_all(pool)
    .await
}

/// The quota that a push put in force.
pub(crate) async fn synced(
    pool: &PgPool,
    organization: &OrganizationId,
    quota_sync_id: i64,
) -> sqlx::Result<Option<Decimal>> {
    sqlx::query_scalar("SELECT quota FROM quota_syncs WHERE id = $1 AND c_organization_id = $2")
        .bind(quota_sync_id)
        .bind(organization.as_str())
        .fetch_optional(pool)
        .await
}

/// The recharge of a refund that is not booked yet, or of a dispute that is not decided, if there is one.
pub(crate) async fn unsettled(
    connection: &mut PgConnection,
    organization: &OrganizationId,
) -> sqlx::Result<Option<Uuid>> {
    sqlx::query_scalar(
        "SELECT recharge_id FROM refunds
          WHERE c_organization_id = $1 AND status IN ('requested', 'pending') AND NOT was_refunded
         UNION ALL
         SELECT recharge_id FROM disputes WHERE c_organization_id = $1 AND stage = 'opened'
         LIMIT 1",
    )
    .bind(organization.as_str())
    .fetch_optional(connection)
    .await
}

/// What is known of a correction that was asked for.
#[derive(Debug, FromRow)]
pub(crate) struct Correction {
    pub(crate) c_organization_id: String,
    pub(super) asked: String,
    /// When the ledger booked it.
    pub(crate) booked_at: Option<Timestamp>,
    /// The newest version of the organization's books.
    pub(super) newest: i64,
}

/// What became of a correction; none when the event is no correction.
pub(crate) async fn correction(pool: &PgPool, event_id: &EventId) -> sqlx::Result<Option<Correction>> {
    sqlx::query_as(
        "SELECT r.c_organization_id, r.asked, t.posted_at AS booked_at,
                COALESCE((SELECT max(q.ledger_version) FROM ledger_quotas q
                           WHERE q.c_organization_id = r.c_organization_id), 0) AS newest
           FROM api_requests r LEFT JOIN ledger_transactions t ON t.business_key = 'adjust:' || r.event_id
          WHERE r.event_id = $1 AND starts_with(r.asked, 'POST /organizations/' || r.c_organization_id || '/quota/restore ')",
    )
    .bind(event_id.as_str())
    .fetch_optional(pool)
    .await
}

/// A push that a chain asked for and that was given up: whose, what the backend said last, and when.
pub(crate) async fn gave_up(pool: &PgPool, event_id: &EventId) -> sqlx::Result<Option<(String, String, Timestamp)>> {
    sqlx::query_as(
        "SELECT c_organization_id, reason, failed_at FROM quota_failures WHERE correlation_id = $1
          ORDER BY failed_at DESC LIMIT 1",
    )
    .bind(event_id.as_str())
    .fetch_optional(pool)
    .await
}
