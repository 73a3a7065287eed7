//! `api_tokens`.

use std::sync::atomic::AtomicI64;

use common::clock::Timestamp;
use common::ids::OrganizationId;
use sqlx::{FromRow, PgConnection, PgPool};
use uuid::Uuid;

use super::{Digest, Token};
use crate::api::access::{Grant, Role};

#[derive(FromRow)]
struct Row {
    id: Uuid,
    name: String,
    token_hash: Vec<u8>,
    role: String,
    c_organization_id: Option<String>,
    expires_at: Option<Timestamp>,
    last_used_at: Option<Timestamp>,
}

impl Row {
    fn read(self) -> sqlx::Result<Token> {
        let wrong = |error: String| sqlx::Error::Decode(format!("api_tokens {}: {error}", self.id).into());
        let digest = self.token_hash.try_into().map_err(|_| wrong("token_hash has not 32 bytes".to_owned()))?;
        Ok(Token {
            id: self.id,
            name: self.name,
            grant: grant(&self.role, self.c_organization_id).map_err(wrong)?,
            expires_at: self.expires_at,
            digest,
            used: AtomicI64::new(self.last_used_at.map_or(0, |at| at.timestamp())),
        })
    }
}

fn grant(role: &str, organization: Option<String>) -> Result<Grant, String> {
    let organization = organization.map(OrganizationId::parse).transpose().map_err(|error| error.to_string())?;
    Grant::new(role.parse::<Role>()?, organization).map_err(str::to_owned)
}

/// Every token that was not revoked and is not over. One that can't be read is nobody's: it must not keep the others from
/// being read, revocations above all.
pub(super) async fn all(pool: &PgPool, now: Timestamp) -> sqlx::Result<Vec<Token>> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT id, name, token_hash, role, c_organization_id, expires_at, last_used_at
           FROM api_tokens WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $1)",
    )
    .bind(now)
    .fetch_all(pool)
    .await?;
    let read = |row: Row| row.read().map_err(|error| tracing::warn!(%error, "a token is not taken: {error}")).ok();
    Ok(rows.into_iter().filter_map(read).collect())
}

/// The token with this digest, unless it was revoked.
pub(super) async fn by_digest(pool: &PgPool, digest: &Digest) -> sqlx::Result<Option<Token>> {
    let row: Option<Row> = sqlx::query_as(
        "SELECT id, name, token_hash, role, c_organization_id, expires_at, last_used_at
           FROM api_tokens WHERE token_hash = $1 AND revoked_at IS NULL",
    )
    .bind(digest.as_slice())
    .fetch_optional(pool)
    .await?;
    row.map(Row::read).transpose()
}

/// The token with this id, unless it was revoked.
pub(super) async fn by_id(pool: &PgPool, id: Uuid) -> sqlx::Result<Option<Token>> {
    let row: Option<Row> = sqlx::query_as(
        "SELECT id, name, token_hash, role, c_organization_id, expires_at, last_used_at
           FROM api_tokens WHERE id = $1 AND revoked_at IS NULL",
    )
    .bind(id)
    .fetch_optional(pool)
    .await?;
    row.map(Row::read).transpose()
}

/// Notes when a token was used last.
pub(super) async fn used(pool: &PgPool, id: Uuid, now: Timestamp) -> sqlx::Result<()> {
    sqlx::query("UPDATE api_tokens SET last_used_at = $2 WHERE id = $1 AND (last_used_at IS NULL OR last_used_at < $2)")
        .bind(id)
        .bind(now)
        .execute(pool)
        .await
        .map(drop)
}

/// A token as people see it: everything but the token.
#[derive(Debug, Clone, FromRow)]
pub(crate) struct Listed {
    pub(crate) id: Uuid,
    pub(crate) name: String,
    pub(crate) role: String,
    pub(crate) c_organization_id: Option<String>,
    pub(crate) created_at: Timestamp,
    pub(crate) created_by: String,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) last_used_at: Option<Timestamp>,
    pub(crate) revoked_at: Option<Timestamp>,
    pub(crate) revoked_by: Option<String>,
}

/// Tokens, newest first: of one organization, or all.
pub(crate) async fn list(
    pool: &PgPool,
    organization: Option<&OrganizationId>,
    before: Option<(Timestamp, Uuid)>,
    limit: i64,
) -> sqlx::Result<Vec<Listed>> {
    let (at, id) = before.unzip();
    sqlx::query_as(
        "SELECT id, name, role, c_organization_id, created_at, created_by, expires_at, last_used_at, revoked_at, revoked_by
           FROM api_tokens
          WHERE ($1::text IS NULL OR c_organization_id = $1)
            AND ($2::timestamptz IS NULL OR (created_at, id) < ($2, $3))
          ORDER BY created_at DESC, id DESC LIMIT $4",
    )
    .bind(organization.map(OrganizationId::as_str))
    .bind(at)
    .bind(id)
    .bind(limit)
    .fetch_all(pool)
    .await
}

/// One token, revoked or not.
pub(crate) async fn find(connection: &mut PgConnection, id: Uuid) -> sqlx::Result<Option<Listed>> {
    sqlx::query_as(
        "SELECT id, name, role, c_organization_id, created_at, created_by, expires_at, last_used_at, revoked_at, revoked_by
           FROM api_tokens WHERE id = $1",
    )
    .bind(id)
    .fetch_optional(connection)
    .await
}

/// How many valid tokens an organization has.
pub(crate) async fn count_live(pool: &PgPool, organization: &OrganizationId, now: Timestamp) -> sqlx::Result<i64> {
    sqlx::query_scalar(
        "SELECT count(*) FROM api_tokens
          WHERE c_organization_id = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $2)",
    )
    .bind(organization.as_str())
    .bind(now)
    .fetch_one(pool)
    .await
}

/// A token to be added.
pub(crate) struct Added<'a> {
    pub(crate) id: Uuid,
    pub(crate) name: &'a str,
    pub(crate) digest: &'a Digest,
    pub(crate) grant: &'a Grant,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) created_by: &'a str,
}

pub(crate) async fn insert(connection: &mut PgConnection, token: &Added<'_>, now: Timestamp) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO api_tokens (id, name, token_hash, role, c_organization_id, created_at, created_by, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(token.id)
    .bind(token.name)
    .bind(token.digest.as_slice())
    .bind(token.grant.role.as_str())
    .bind(token.grant.organization.as_ref().map(OrganizationId::as_str))
    .bind(now)
    .bind(token.created_by)
    .bind(token.expires_at)
    .execute(connection)
    .await
    .map(drop)
}

/// Revokes a token. Whether it was not revoked before.
pub(crate) async fn revoke(connection: &mut PgConnection, id: Uuid, by: &str, now: Timestamp) -> sqlx::Result<bool> {
    let revoked =
        sqlx::query("UPDATE api_tokens SET revoked_at = $2, revoked_by = $3 WHERE id = $1 AND revoked_at IS NULL")
            .bind(id)
            .bind(now)
            .bind(by)
            .execute(connection)
            .await?;
    Ok(revoked.rows_affected() > 0)
}
