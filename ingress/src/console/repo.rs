//! `console_sessions`.

use common::clock::Timestamp;
use sqlx::PgPool;
use uuid::Uuid;

use crate::tokens::Digest;

/// Begins a session, and forgets those that are over.
pub(super) async fn begin(
    pool: &PgPool,
    digest: &Digest,
    token: Uuid,
    now: Timestamp,
    until: Timestamp,
) -> sqlx::Result<()> {
    let mut transaction = pool.begin().await?;
    sqlx::query("DELETE FROM console_sessions WHERE expires_at <= $1").bind(now).execute(&mut *transaction).await?;
    sqlx::query(
        "INSERT INTO console_sessions (session_hash, token_id, created_at, expires_at) VALUES ($1, $2, $3, $4)",
    )
    .bind(digest.as_slice())
    .bind(token)
    .bind(now)
    .bind(until)
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await
}

/// The token that a session was begun with, while the session lasts.
pub(super) async fn token(pool: &PgPool, digest: &Digest, now: Timestamp) -> sqlx::Result<Option<Uuid>> {
    sqlx::query_scalar("SELECT token_id FROM console_sessions WHERE session_hash = $1 AND expires_at > $2")
        .bind(digest.as_slice())
        .bind(now)
        .fetch_optional(pool)
        .await
}

/// Ends a session.
pub(super) async fn end(pool: &PgPool, digest: &Digest) -> sqlx::Result<()> {
    sqlx::query("DELETE FROM console_sessions WHERE session_hash = $1")
        .bind(digest.as_slice())
        .execute(pool)
        .await
        .map(drop)
}
