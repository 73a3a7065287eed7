//! A release is taken back with its migrations, and applied again: whatever was in the tables is there again.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::ensure;
use common::config::Secret;
use common::db::rollback::{self, OLDEST, PATIENCE, Rollback};
use common::db::{self, MIGRATOR};
use e2e::client::limit_exceeded;
use e2e::{Options, Stack, books, service, wait};
use serde_json::json;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::postgres::PgPoolOptions;
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool, SqlSafeStr};
use tokio::process::Command;

/// A checksum of each table's rows; of what is put aside, too.
async fn checksums(pool: &PgPool) -> anyhow::Result<BTreeMap<String, (i64, Option<String>)>> {
    let sql = "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables
        WHERE schemaname IN ('public', 'bill_kept') AND tablename <> '_sqlx_migrations'";
    let tables: Vec<String> = sqlx::query_scalar(sql).fetch_all(pool).await?;
    let mut sums = BTreeMap::new();
    for table in tables {
        let sql = format!("SELECT count(*), md5(string_agg(t::text, E'\\n' ORDER BY t::text)) FROM {table} t");
        sums.insert(table, sqlx::query_as(AssertSqlSafe(sql)).fetch_one(pool).await?);
    }
    Ok(sums)
}

async fn bill_setup(stack: &Stack, words: &str) -> anyhow::Result<(bool, String)> {
    let mut command = Command::new(service::program("bill-setup")?);
    command.args(words.split_whitespace()).env("DATABASE_URL", stack.database.url()).env("RUST_LOG", "info");
    let output = command.output().await?;
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Ok((output.status.success(), said))
}

async fn settle(stack: &Stack, team: &str, limit: &str, recharges: usize) -> anyhow::Result<()> {
    let (status, answer) =
        stack.client.webhook(&stack.client.ingress, limit_exceeded(team, limit, limit, recharges)).await?;
    ensure!(status == 200 || status == 202, "{status} {answer}");
    wait::until("the recharge to settle", || async {
        let history = stack.client.history("acme").await?;
        let settled = history.iter().filter(|recharge| recharge["status"] == "settled").count();
        ensure!(settled == recharges, "{history:?}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_goes_back_and_forth_and_every_row_stays() -> anyhow::Result<()> {
    let options = Options::default();
    let mut stack = Stack::start(options.clone()).await?;
    let team = stack.client.ready_organization("acme", "pm_card_visa", json!({})).await?;
    settle(&stack, &team, "500", 1).await?;
    let (status, _) = stack.client.post("/api/reconciliations", &json!({})).await?;
    ensure!(status == 200, "{status}");
    stack.first_token("ops").await?;
    let session = "INSERT INTO console_sessions (session_hash, token_id, created_at, expires_at)
        SELECT sha256('a'), id, now(), now() + interval '1 hour' FROM api_tokens";
    sqlx::query(session).execute(&stack.pool).await?;
    for service in &mut stack.services {
        service.stop()?;
    }
    let before = checksums(&stack.pool).await?;
    let filled = before.values().filter(|(rows, _)| *rows > 0).count();
    ensure!(filled >= 15, "a run of the chain leaves something in most tables: {before:?}");

    // Nothing goes without saying how far, and nothing behind the oldest release that has data.
    for (words, reason) in [
        ("migrate down", "usage"),
        ("migrate down --to all", "usage"),
        ("migrate down --to 99999", "there is no migration 99999"),
        ("migrate down --to 12", "--lose-data"),
        ("migrate down --to 0", "ledger_entries"),
    ] {
        let (worked, said) = bill_setup(&stack, words).await?;
        ensure!(!worked && said.contains(reason), "{words}: {said}");
        assert_eq!(checksums(&stack.pool).await?, before, "{words}");
    }

    let (worked, said) = bill_setup(&stack, &format!("migrate down --to {OLDEST}")).await?;
    ensure!(worked && said.contains("1 rows of console_sessions are put aside"), "{said}");
    let meanwhile = checksums(&stack.pool).await?;
    assert_eq!(meanwhile["bill_kept.\"0014_console_sessions\""], before["public.console_sessions"]);
    let (_, said) = bill_setup(&stack, "migrate status").await?;
    ensure!(
        said.contains("0013 roles: applied") && said.contains("not applied, put aside: console_sessions"),
        "{said}"
    );
    let (worked, said) = bill_setup(&stack, "migrate down --to 12").await?;
    ensure!(!worked && said.contains("console_sessions (put aside)"), "{said}");

    let (worked, said) = bill_setup(&stack, "migrate up").await?;
    ensure!(worked && said.contains("1 rows of console_sessions are back"), "{said}");
    assert_eq!(checksums(&stack.pool).await?, before);

    stack.start_anew(&options).await?;
    settle(&stack, &team, "700", 2).await?;
    assert_eq!(books::quiet_and_balanced(&stack).await?.settled, 2);
    stack.stop().await
}

fn migration(version: i64, kind: MigrationType, sql: &'static str) -> Migration {
    Migration::new(version, "made up".into(), kind, sql.into_sql_str(), false)
}

/// Everything that a later release may do: tables that refer to each other, columns of a table that nobody may change, one
/// without values that changes its type, numbers that the database gives.
fn made_up() -> Migrator {
    use MigrationType::{ReversibleDown, ReversibleUp};
    let (first, second) = (
        "CREATE TABLE entries (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, amount integer NOT NULL, code integer);
         CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'append-only'; END $$;
         CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON entries FOR EACH ROW EXECUTE FUNCTION refuse();
         ALTER TABLE entries ENABLE ALWAYS TRIGGER append_only;",
        "ALTER TABLE entries ADD COLUMN note text, ADD COLUMN doubled bigint GENERATED ALWAYS AS (id * 2) STORED;
         CREATE TABLE z_parents (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, \"odd \"\"name\" text);
         CREATE TABLE a_children (id serial PRIMARY KEY, entry bigint REFERENCES entries,
            parent bigint NOT NULL REFERENCES z_parents DEFERRABLE INITIALLY DEFERRED, seen integer NOT NULL DEFAULT 0);
         CREATE FUNCTION count_it() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.seen := NEW.seen + 1; RETURN NEW; END $$;
         CREATE TRIGGER count_it BEFORE INSERT ON a_children FOR EACH ROW EXECUTE FUNCTION count_it();",
    );
    Migrator::with_migrations(vec![
        migration(1, ReversibleUp, first),
        migration(1, ReversibleDown, "DROP TABLE entries; DROP FUNCTION refuse"),
        migration(2, ReversibleUp, second),
        migration(
            2,
            ReversibleDown,
            "DROP TABLE a_children, z_parents; DROP FUNCTION count_it; ALTER TABLE entries DROP COLUMN note, DROP COLUMN doubled",
        ),
        migration(3, ReversibleUp, "ALTER TABLE entries ALTER COLUMN code TYPE bigint"),
        migration(3, ReversibleDown, "ALTER TABLE entries ALTER COLUMN code TYPE integer"),
    ])
}

async fn fresh(name: &str) -> anyhow::Result<PgPool> {
    let admin_url = std::env::var(xtask::tools::TEST_DATABASE_URL)?;
    let name = format!("rollback_{name}_{}", std::process::id());
    let mut admin = PgConnection::connect(&admin_url).await?;
    sqlx::raw_sql(AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut admin).await?;
    let server = admin_url.rsplit_once('/').map_or(admin_url.as_str(), |(server, _)| server);
    db::pool(&Secret::new(format!("{server}/{name}")), "rollback", 2)
}

/// More connections to the same database, by another name.
async fn another(pool: &PgPool, name: &str) -> anyhow::Result<PgPool> {
    let options = (*pool.connect_options()).clone().application_name(name);
    Ok(PgPoolOptions::new().max_connections(2).connect_with(options).await?)
}

#[tokio::test]
async fn tables_columns_triggers_and_numbers_of_any_migration_come_back() -> anyhow::Result<()> {
    let (pool, migrator) = (fresh("any").await?, made_up());
    rollback::up(&migrator, &pool).await?;
    let rows = "INSERT INTO entries (amount, note) VALUES (1, 'one'), (2, NULL), (3, 'three');
        INSERT INTO z_parents (\"odd \"\"name\") VALUES ('p'), ('q');
        INSERT INTO a_children (entry, parent) VALUES (1, 1), (3, 2);";
    sqlx::raw_sql(rows).execute(&pool).await?;
    let before = checksums(&pool).await?;
    let down = |to, oldest, lose_data| {
        rollback::down(&migrator, &pool, Rollback { to, oldest, lose_data, patience: PATIENCE })
    };

    // It can be tried as often as one likes, and the release before writes meanwhile.
    for _ in 0..2 {
        down(1, 1, false).await?;
        let rows: (i64, i64) = sqlx::query_as("SELECT count(*), sum(amount) FROM entries").fetch_one(&pool).await?;
        assert_eq!(rows, (3, 6));
        let lines = rollback::up(&migrator, &pool).await?;
        ensure!(lines.iter().any(|line| line == "3 rows of entries (note) are back"), "{lines:?}");
        assert_eq!(checksums(&pool).await?, before);
    }
    down(1, 1, false).await?;
    sqlx::query("INSERT INTO entries (amount) VALUES (4)").execute(&pool).await?;
    // Whoever has rows behind the line must say that they may be lost, and nothing is half done.
    let error = down(0, 1, false).await.unwrap_err().to_string();
    ensure!(error.contains("entries") && error.contains("a_children (put aside)"), "{error}");
    // What can't be put back leaves no table that somebody could write into meanwhile.
    sqlx::raw_sql("UPDATE bill_kept.\"0002_z_parents\" SET id = NULL WHERE id = 1").execute(&pool).await?;
    let aside = checksums(&pool).await?;
    ensure!(rollback::up(&migrator, &pool).await.is_err());
    assert_eq!(checksums(&pool).await?, aside);
    sqlx::raw_sql("UPDATE bill_kept.\"0002_z_parents\" SET id = 1 WHERE id IS NULL").execute(&pool).await?;
    rollback::up(&migrator, &pool).await?;
    let notes: Vec<Option<String>> =
        sqlx::query_scalar("SELECT note FROM entries ORDER BY id").fetch_all(&pool).await?;
    assert_eq!(notes, [Some("one".to_owned()), None, Some("three".to_owned()), None]);
    let next: (i64, i32) = sqlx::query_as(
        "WITH p AS (INSERT INTO z_parents DEFAULT VALUES RETURNING id), c AS (INSERT INTO a_children (parent) VALUES (1) RETURNING id)
            SELECT p.id, c.id FROM p, c",
    )
    .fetch_one(&pool)
    .await?;
    assert_eq!(next, (3, 3), "numbers go on");
    for sql in ["UPDATE entries SET note = 'x'", "DELETE FROM entries"] {
        let error = sqlx::query(sql).execute(&pool).await.unwrap_err().to_string();
        ensure!(error.contains("append-only"), "{error}");
    }
    let always: String = sqlx::query_scalar(
        "SELECT tgenabled::text FROM pg_trigger WHERE tgrelid = 'entries'::regclass AND NOT tgisinternal",
    )
    .fetch_one(&pool)
    .await?;
    assert_eq!(always, "A");
    // The release before would go on writing this column: what came first could not be told from it.
    sqlx::query("INSERT INTO entries (amount, code) VALUES (5, 5)").execute(&pool).await?;
    let before = checksums(&pool).await?;
    let error = down(1, 1, false).await.unwrap_err().to_string();
    ensure!(error.contains("entries (code) has values, and would have another type"), "{error}");
    assert_eq!(checksums(&pool).await?, before);
    ensure!(down(0, 1, true).await?.iter().any(|line| line == "entries is lost"));
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM pg_tables WHERE schemaname IN ('public', 'bill_kept') AND tablename <> '_sqlx_migrations'")
        .fetch_one(&pool)
        .await?;
    assert_eq!(left, 0);
    pool.close().await;
    Ok(())
}

/// Waits until so many sessions of this database wait for a lock.
async fn waiting(pool: &PgPool, sessions: i64) -> anyhow::Result<()> {
    wait::until("sessions to wait for a lock", || async {
        let sql =
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
        let found: i64 = sqlx::query_scalar(sql).fetch_one(pool).await?;
        ensure!(found == sessions, "{found}");
        Ok(())
    })
    .await
}

/// Services ought to be stopped before. Where one is not, what it was told is committed is kept, or nothing is changed.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_writes_meanwhile_loses_nothing() -> anyhow::Result<()> {
    const ROW: &str = "INSERT INTO z_parents (\"odd \"\"name\") VALUES ('p')";
    let (pool, migrator) = (fresh("writer").await?, made_up());
    let (look, writer) = (another(&pool, "look").await?, another(&pool, "writer").await?);
    rollback::up(&migrator, &pool).await?;
    sqlx::query(ROW).execute(&pool).await?;
    let (mut first, mut second) = (writer.begin().await?, writer.begin().await?);
    sqlx::query(ROW).execute(&mut *first).await?;

    let before = checksums(&look).await?;
    let hasty = Rollback { to: 1, oldest: 1, lose_data: false, patience: Duration::from_millis(100) };
    let error = rollback::down(&migrator, &pool, hasty).await.unwrap_err().to_string();
    ensure!(error.contains("in use by writer as ") && error.contains("Stop every service"), "{error}");
    assert_eq!(checksums(&look).await?, before);

    // The first holds up the trial. The second waits behind it, and comes in when what the trial locked is let go.
    let patient = Rollback { patience: Duration::from_secs(60), ..hasty };
    let down = tokio::spawn({
        let (migrator, pool) = (made_up(), pool.clone());
        async move { rollback::down(&migrator, &pool, patient).await }
    });
    waiting(&look, 1).await?;
    let second = tokio::spawn(async move {
        sqlx::query(ROW).execute(&mut *second).await?;
        anyhow::Ok(second)
    });
    waiting(&look, 2).await?;
    first.commit().await?;
    let second = second.await??;
    waiting(&look, 1).await?;
    second.commit().await?;
    let lines = down.await??;
    ensure!(lines.iter().any(|line| line.starts_with("3 rows of z_parents are put aside")), "{lines:?}");
    for pool in [look, writer, pool] {
        pool.close().await;
    }
    Ok(())
}

/// What is dropped is put aside. What a migration that is taken back would change, convert or delete is not: so none does.
#[test]
fn no_migration_that_is_taken_back_changes_rows() {
    for migration in MIGRATOR.iter().filter(|one| one.migration_type.is_down_migration() && one.version > OLDEST) {
        let sql = migration.sql.as_str().to_uppercase();
        for word in ["UPDATE ", "DELETE FROM", "TRUNCATE", "INSERT INTO", " TYPE "] {
            assert!(!sql.contains(word), "{} {}: {word}", migration.version, migration.description);
        }
    }
}
