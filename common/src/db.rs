//! PostgreSQL: the pool and the migrations.

pub mod rollback;

use std::str::FromStr;
use std::time::Duration;

use sqlx::PgPool;
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use self::rollback::{OLDEST, PATIENCE, Rollback};
use crate::config::Secret;
use crate::health::Health;
use crate::shutdown::Shutdown;

/// Every migration, from `migrations/`.
pub static MIGRATOR: Migrator = sqlx::migrate!("../migrations");

/// How long a query waits for a connection before it gives up and is retried with its message.
const ACQUIRE: Duration = Duration::from_secs(5);
/// How often the database is asked whether it is there.
const PROBE: Duration = Duration::from_secs(2);

/// A pool that connects when it is first used, so that a service can start before its database.
///
/// # Errors
/// When the address can't be understood.
pub fn pool(url: &Secret, service: &str, connections: u32) -> anyhow::Result<PgPool> {
    let options = PgConnectOptions::from_str(url.expose())
        .map_err(|_| anyhow::anyhow!("DATABASE_URL is not valid: use postgres://user:password@host:port/name"))?
        .application_name(&format!("bill-{service}"))
        .options([("statement_timeout", "30s"), ("idle_in_transaction_session_timeout", "60s")]);
    Ok(PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(ACQUIRE)
        .idle_timeout(Duration::from_secs(300))
        .connect_lazy_with(options))
}

/// Keeps `health` informed of the database, until the shutdown.
pub async fn watch(pool: PgPool, health: Health, shutdown: Shutdown) {
    let stop = shutdown.wait();
    tokio::pin!(stop);
    loop {
        let state = sqlx::query("SELECT 1").execute(&pool).await.map(drop).map_err(|error| error.to_string());
        health.set("database", state);
        tokio::select! {
            () = tokio::time::sleep(PROBE) => {}
            () = &mut stop => return,
        }
    }
}

/// Waits until the database answers and has our tables, and says so while it does not.
/// Returns false when the shutdown came first.
pub async fn wait_until_ready(pool: &PgPool, shutdown: &Shutdown) -> bool {
    loop {
        // Whether it is there for this login, which need not be allowed to read it.
        let sql = "SELECT to_regclass('organization_balance_config') IS NOT NULL";
        match sqlx::query_scalar::<_, bool>(sql).fetch_one(pool).await {
            Ok(true) => return true,
            Ok(false) => tracing::warn!("waiting for the database's migrations: there are no tables for this login"),
            Err(error) => tracing::warn!(%error, "waiting for the database: {error}"),
        }
        tokio::select! {
            () = tokio::time::sleep(PROBE) => {}
            () = shutdown.wait() => return false,
        }
    }
}

/// Applies every migration that is missing, with what was put aside when it was taken back. Returns a line for each table
/// that got something back.
///
/// # Errors
/// What the database says.
pub async fn migrate_up(pool: &PgPool) -> anyhow::Result<Vec<String>> {
    let lines = rollback::up(&MIGRATOR, pool).await?;
    show_applied(pool).await?;
    Ok(lines)
}

/// Lets everybody who has a role of ours read what is applied, so that each service's `doctor` can name what is missing. The
/// table is sqlx's: it is there before the first migration, and no migration of ours may count on it.
async fn show_applied(pool: &PgPool) -> sqlx::Result<()> {
    let sql = "DO $$
        DECLARE role text;
        BEGIN
            FOR role IN SELECT rolname FROM pg_roles
                WHERE rolname IN ('bill_ingress', 'bill_recharger', 'bill_ledger', 'bill_syncer', 'bill_viewer')
            LOOP
                EXECUTE format('GRANT SELECT ON _sqlx_migrations TO %I', role);
            END LOOP;
        END $$";
    sqlx::raw_sql(sql).execute(pool).await.map(drop)
}

/// Takes back every migration after `to`: what they hold is put aside. Behind the oldest release nothing is, and what is not
/// empty is only dropped if `lose_data`. Returns a line for each migration, and for whatever was put aside.
///
/// # Errors
/// As [`rollback::down`].
pub async fn migrate_down(pool: &PgPool, to: i64, lose_data: bool) -> anyhow::Result<Vec<String>> {
    rollback::down(&MIGRATOR, pool, Rollback { to, oldest: OLDEST, lose_data, patience: PATIENCE }).await
}
