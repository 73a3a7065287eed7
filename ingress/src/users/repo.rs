//! `users`. A table from before Bill-Service has columns that we do not know, and may lack those that we would make: rows are
//! read as JSON, and only what we know is shown.

use common::ids::{OrganizationId, TeamId};
use serde_json::Value;
use sqlx::{FromRow, PgConnection, PgPool};

/// A user to be added.
pub(crate) struct NewUser {
    pub(crate) email: Option<String>,
    pub(crate) organization: Option<OrganizationId>,
    pub(crate) team: Option<TeamId>,
}

/// What we know of a user.
#[derive(Debug, FromRow)]
pub(crate) struct User {
    pub(crate) id: String,
    pub(crate) email: Option<String>,
    pub(crate) c_organization_id: Option<String>,
    pub(crate) litellm_team_id: Option<String>,
    pub(crate) created_at: Option<String>,
}

/// Adds a user. Returns its id.
pub(crate) async fn insert(connection: &mut PgConnection, user: &NewUser) -> sqlx::Result<String> {
    sqlx::query_scalar(
        "INSERT INTO users (email, c_organization_id, litellm_team_id) VALUES ($1, $2, $3) RETURNING id::text",
    )
    .bind(&user.email)
    .bind(user.organization.as_ref().map(OrganizationId::as_str))
    .bind(user.team.as_ref().map(TeamId::as_str))
    .fetch_one(connection)
    .await
}

/// One user.
pub(crate) async fn find(connection: &mut PgConnection, id: &str) -> sqlx::Result<Option<User>> {
    sqlx::query_as(
        "SELECT u.id::text AS id, to_jsonb(u)->>'email' AS email, u.c_organization_id, u.litellm_team_id,
                to_jsonb(u)->>'created_at' AS created_at
           FROM users u WHERE u.id::text = $1",
    )
    .bind(id)
    .fetch_optional(connection)
    .await
}

/// An organization's users in the order of their ids, after one of them.
pub(crate) async fn list(
    pool: &PgPool,
    organization: &OrganizationId,
    after: &str,
    limit: i64,
) -> sqlx::Result<Vec<User>> {
    sqlx::query_as(
        r#"SELECT u.id::text AS id, to_jsonb(u)->>'email' AS email, u.c_organization_id, u.litellm_team_id,
                  to_jsonb(u)->>'created_at' AS created_at
             FROM users u WHERE u.c_organization_id = $1 AND u.id::text > $2 COLLATE "C"
            ORDER BY u.id::text COLLATE "C" LIMIT $3"#,
    )
    .bind(organization.as_str())
    .bind(after)
    .bind(limit)
    .fetch_all(pool)
    .await
}

/// A user with all its columns, for the development routes.
pub(crate) async fn whole(pool: &PgPool, id: &str) -> sqlx::Result<Option<Value>> {
    sqlx::query_scalar("SELECT to_jsonb(u) FROM users u WHERE u.id::text = $1").bind(id).fetch_optional(pool).await
}

/// An organization's users with all their columns, for the development routes.
pub(crate) async fn all_of(connection: &mut PgConnection, organization: &OrganizationId) -> sqlx::Result<Vec<Value>> {
    sqlx::query_scalar("SELECT to_jsonb(u) FROM users u WHERE u.c_organization_id = $1 ORDER BY u.id::text LIMIT 1000")
        .bind(organization.as_str())
        .fetch_all(connection)
        .await
}
