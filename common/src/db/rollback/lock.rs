//! Nobody else may use what is put aside and dropped: a row that is committed in between would be in neither place.

use std::time::Duration;

use sqlx::{AssertSqlSafe, PgConnection, PgPool};

use super::quoted;
use super::shape::Loss;

/// Waits no longer than this for a lock, from here to the end of the transaction.
pub(super) async fn limit(tx: &mut PgConnection, patience: Duration) -> sqlx::Result<()> {
    let sql = format!("SET LOCAL lock_timeout = {}", patience.as_millis().max(1));
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(tx).await?;
    Ok(())
}

/// Has them for this transaction alone, all or none. They are told in one order, so that two who do this wait for each other.
pub(super) async fn lock(tx: &mut PgConnection, losses: &[Loss]) -> sqlx::Result<()> {
    if losses.is_empty() {
        return Ok(());
    }
    let tables: Vec<String> = losses.iter().map(|loss| quoted(&loss.table)).collect();
    let sql = format!("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE", tables.join(", "));
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(tx).await?;
    Ok(())
}

/// Whether it failed because others would not let a table go: no lock in time, or each waited for the other.
pub(super) fn in_use(error: &anyhow::Error) -> bool {
    let mut causes = error.chain().filter_map(|cause| cause.downcast_ref::<sqlx::Error>());
    causes.any(|cause| {
        let code = cause.as_database_error().and_then(sqlx::error::DatabaseError::code);
        code.is_some_and(|code| code == "55P03" || code == "40P01")
    })
}

/// What to say then: who is to be stopped.
pub(super) async fn trouble(pool: &PgPool) -> anyhow::Error {
    match users(pool).await {
        Ok(users) if users.is_empty() => {
            anyhow::anyhow!("tables were in use until now; nothing is changed. Stop every service, and try again")
        }
        Ok(users) => {
            let users = users.join(", ");
            anyhow::anyhow!("tables are in use by {users}; nothing is changed. Stop every service, and try again")
        }
        Err(error) => anyhow::Error::new(error).context("tables are in use; nothing is changed"),
    }
}

/// Who holds a table of ours, by program and login.
async fn users(pool: &PgPool) -> sqlx::Result<Vec<String>> {
    let sql = "SELECT DISTINCT concat_ws(' as ', NULLIF(a.application_name, ''), a.usename)
        FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid JOIN pg_class c ON c.oid = l.relation
        WHERE l.granted AND l.pid <> pg_backend_pid() AND a.datname = current_database()
            AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
            AND c.relnamespace = current_schema()::regnamespace
        ORDER BY 1";
    sqlx::query_scalar(sql).fetch_all(pool).await
}
