//! `users`, for the development routes. Existing tables have columns that we do not know: rows are read as JSON.

use common::ids::{OrganizationId, TeamId};
use serde_json::Value;
use sqlx::{PgConnection, PgPool};

/// A user to be added.
pub(super) struct NewUser {
    pub(super) email: Option<String>,
    pub(super) organization: Option<OrganizationId>,
    pub(super) team: Option<TeamId>,
}

pub(super) async fn insert_user(pool: &PgPool, user: &NewUser) -> sqlx::Result<String> {
    sqlx::query_scalar(
        "INSERT INTO users (email, c_organization_id, litellm_team_id) VALUES ($1, $2, $3) RETURNING id::text",
    )
    .bind(&user.email)
    .bind(user.organization.as_ref().map(OrganizationId::as_str))
    .bind(user.team.as_ref().map(TeamId::as_str))
    .fetch_one(pool)
    .await
}

pub(super) async fn user(pool: &PgPool, id: &str) -> sqlx::Result<Option<Value>> {
    sqlx::query_scalar("SELECT to_jsonb(u) FROM users u WHERE u.id::text = $1").bind(id).fetch_optional(pool).await
}

pub(super) async fn users_of(connection: &mut PgConnection, organization: &OrganizationId) -> sqlx::Result<Vec<Value>> {
    sqlx::query_scalar("SELECT to_jsonb(u) FROM users u WHERE u.c_organization_id = $1 ORDER BY u.id::text LIMIT 1000")
        .bind(organization.as_str())
        .fetch_all(connection)
        .await
}
