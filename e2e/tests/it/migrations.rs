//! Migrations go up, down and up again: on an empty database, and on one from before Bill-Service.

use anyhow::Context;
use common::config::Secret;
use common::db;
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool, Row};

/// The tables as an older system may have them, with rows: among others `user_id NOT NULL`, and columns that we need, too.
const OLD: &str = "
    CREATE TABLE users (id serial PRIMARY KEY, email text NOT NULL UNIQUE, created_at timestamptz NOT NULL DEFAULT now());
    CREATE TABLE balance_configs (id serial PRIMARY KEY, user_id integer NOT NULL REFERENCES users (id), minimum_balance numeric(10,2) NOT NULL);
    CREATE TABLE recharge_records (id serial PRIMARY KEY, user_id integer NOT NULL REFERENCES users (id), amount numeric(10,2) NOT NULL,
        status varchar(32) NOT NULL DEFAULT 'completed', payment_intent_id text, currency text, updated_at timestamptz,
        created_at timestamptz NOT NULL DEFAULT now());
    INSERT INTO users (email) VALUES ('a@example.com'), ('b@example.com');
    INSERT INTO balance_configs (user_id, minimum_balance) VALUES (1, 10);
    INSERT INTO recharge_records (user_id, amount, payment_intent_id) VALUES (1, 12.34, 'pi_old'), (1, 5, 'pi_old'), (2, 1, NULL);";

/// Columns, indexes and constraints: what must be the same after up, down, up.
async fn shape(pool: &PgPool) -> anyhow::Result<Vec<String>> {
    let sql = "SELECT table_name || '.' || column_name || ' ' || data_type || ' ' || is_nullable FROM information_schema.columns WHERE table_schema = 'public'
        UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'
        UNION ALL SELECT conname || ' ' || pg_get_constraintdef(oid) FROM pg_constraint WHERE connamespace = 'public'::regnamespace
        UNION ALL SELECT tgname || ' ' || pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1";
    Ok(sqlx::query_scalar(sql).fetch_all(pool).await?)
}

async fn up_down_up(name: &str, before: &str) -> anyhow::Result<PgPool> {
    let admin_url = std::env::var(xtask::tools::TEST_DATABASE_URL)?;
    let name = format!("migrations_{name}_{}", std::process::id());
    let mut admin = PgConnection::connect(&admin_url).await?;
    sqlx::raw_sql(AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut admin).await?;
    let (server, _) = admin_url.rsplit_once('/').context("no database in the URL")?;
    let pool = db::pool(&Secret::new(format!("{server}/{name}")), "migrations", 2)?;
    sqlx::raw_sql(AssertSqlSafe(before.to_owned())).execute(&pool).await?;
    db::migrate_up(&pool).await?;
    let first = shape(&pool).await?;
    db::migrate_up(&pool).await?;
    db::migrate_down(&pool, 0, true).await?;
    let gone: Option<String> =
        sqlx::query_scalar("SELECT to_regclass('organization_balance_config')::text").fetch_one(&pool).await?;
    assert_eq!(gone, None);
    db::migrate_up(&pool).await?;
    assert_eq!(shape(&pool).await?, first);
    Ok(pool)
}

#[tokio::test]
async fn on_an_empty_database() -> anyhow::Result<()> {
    up_down_up("empty", "").await?.close().await;
    Ok(())
}

#[tokio::test]
async fn on_a_database_from_before() -> anyhow::Result<()> {
    let pool = up_down_up("old", OLD).await?;
    let rows = sqlx::query(
        "SELECT user_id, amount::text, status, trigger_event_id, triggered_by FROM recharge_records ORDER BY id",
    )
    .fetch_all(&pool)
    .await?;
    assert_eq!(rows.len(), 3, "old rows stay");
    assert_eq!(rows[0].get::<String, _>("amount"), "12.34");
    assert_eq!(rows[0].get::<String, _>("status"), "completed");
    assert_eq!(rows[0].get::<Option<String>, _>("trigger_event_id"), None);
    let users: i64 = sqlx::query_scalar("SELECT count(*) FROM users").fetch_one(&pool).await?;
    let configs: i64 = sqlx::query_scalar("SELECT count(*) FROM balance_configs").fetch_one(&pool).await?;
    assert_eq!((users, configs), (2, 1));
    // The old program can still write, and so can ours.
    sqlx::query("INSERT INTO recharge_records (user_id, amount, status) VALUES (2, 3, 'pending')")
        .execute(&pool)
        .await?;
    sqlx::query(
        "INSERT INTO recharge_records (c_organization_id, amount, fee, total_charge, currency, status, trigger_event_id, correlation_id)
        VALUES ('acme', 10, 0, 10, 'usd', 'pending', 'evt_1', 'evt_1')",
    )
    .execute(&pool)
    .await?;
    pool.close().await;
    Ok(())
}
