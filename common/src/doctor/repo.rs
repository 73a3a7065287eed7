//! What the database tells about itself, its migrations and its roles.

use sqlx::{FromRow, PgConnection};

use super::migrations::Applied;
use super::rights::{Rights, pairs};
use crate::clock::Timestamp;

/// What any login may ask.
#[derive(Debug, FromRow)]
pub(super) struct Facts {
    /// Such as 150013.
    pub(super) version_number: i32,
    /// Such as `15.13`.
    pub(super) version: String,
    /// Who we are.
    pub(super) login: String,
    /// Whether nothing holds this login back.
    pub(super) superuser: bool,
    /// Whether the connection is encrypted.
    pub(super) encrypted: bool,
}

pub(super) async fn facts(connection: &mut PgConnection) -> sqlx::Result<Facts> {
    sqlx::query_as(
        "SELECT current_setting('server_version_num')::int AS version_number,
                split_part(current_setting('server_version'), ' ', 1) AS version, current_user::text AS login,
                COALESCE((SELECT rolsuper FROM pg_roles WHERE rolname = current_user), false) AS superuser,
                COALESCE((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false) AS encrypted",
    )
    .fetch_one(connection)
    .await
}

pub(super) async fn now(connection: &mut PgConnection) -> sqlx::Result<Timestamp> {
    sqlx::query_scalar("SELECT clock_timestamp()").fetch_one(connection).await
}

/// What is applied. An error with the code 42P01: nothing ever was.
pub(super) async fn applied(connection: &mut PgConnection) -> sqlx::Result<Vec<Applied>> {
    let rows: Vec<(i64, bool, Vec<u8>)> =
        sqlx::query_as("SELECT version, success, checksum FROM _sqlx_migrations ORDER BY version")
            .fetch_all(connection)
            .await?;
    Ok(rows.into_iter().map(|(version, ended, checksum)| Applied { version, ended, checksum }).collect())
}

/// Whether this login has the rights of a role; nothing when there is no such role.
pub(super) async fn has_role(connection: &mut PgConnection, role: &str) -> sqlx::Result<Option<bool>> {
    sqlx::query_scalar("SELECT pg_has_role(current_user, oid, 'USAGE') FROM pg_roles WHERE rolname = $1")
        .bind(role)
        .fetch_optional(connection)
        .await
}

/// Those of these rights, each on a table, that this login lacks: for every right the tables. One that is not there is lacked.
pub(super) async fn lacking(
    connection: &mut PgConnection,
    rights: &'static [Rights],
) -> sqlx::Result<Vec<(String, Vec<String>)>> {
    let (rights, tables): (Vec<&str>, Vec<&str>) = pairs(rights).unzip();
    // Some columns are enough: which ones, migrations say. Rows are deleted whole.
    sqlx::query_as(
        "SELECT w.wanted, array_agg(t ORDER BY t)
           FROM unnest($1::text[], $2::text[]) AS w (wanted, t)
          WHERE NOT COALESCE(CASE w.wanted WHEN 'DELETE' THEN has_table_privilege(to_regclass(t), w.wanted)
                                           ELSE has_any_column_privilege(to_regclass(t), w.wanted) END, false)
          GROUP BY w.wanted ORDER BY w.wanted",
    )
    .bind(rights)
    .bind(tables)
    .fetch_all(connection)
    .await
}

/// A login that a service is to have, and what there is of it.
#[derive(Debug, FromRow)]
pub(super) struct LoginState {
    /// The role whose rights it is to have.
    pub(super) role: String,
    /// Its name.
    pub(super) login: String,
    /// Whether there is such a role.
    pub(super) role_exists: bool,
    /// Whether it may log in; null: it does not exist.
    pub(super) can_log_in: Option<bool>,
    /// Whether it has the role's rights; null where one of the two does not exist.
    pub(super) member: Option<bool>,
    /// Whether no grant holds it back; null: it does not exist.
    pub(super) unbound: Option<bool>,
}

/// The state of these pairs of a role and a login.
pub(super) async fn logins(
    connection: &mut PgConnection,
    roles: &[String],
    logins: &[String],
) -> sqlx::Result<Vec<LoginState>> {
    sqlx::query_as(
        "SELECT w.role, w.login, r.oid IS NOT NULL AS role_exists, l.rolcanlogin AS can_log_in,
                pg_has_role(l.oid, r.oid, 'USAGE') AS member,
                l.rolsuper OR l.rolbypassrls OR l.rolcreaterole AS unbound
           FROM unnest($1::text[], $2::text[]) AS w (role, login)
           LEFT JOIN pg_roles r ON r.rolname = w.role
           LEFT JOIN pg_roles l ON l.rolname = w.login",
    )
    .bind(roles)
    .bind(logins)
    .fetch_all(connection)
    .await
}
