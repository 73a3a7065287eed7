//! Taking migrations back, and applying them again, with what they hold.
//!
//! A down migration drops tables and columns that the release before it does not know. What is in them is first put aside, in
//! the schema `bill_kept`, in the same transaction; applying the migration again puts it back. What a down migration drops is
//! not declared anywhere: it is tried in a savepoint, and looked at. Nobody else uses these tables from then on.

mod keep;
mod lock;
mod put_back;
mod shape;

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Context;
use futures_util::FutureExt;
use sqlx::migrate::{Migrate, Migrator};
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool, Row};

use self::shape::{Loss, losses, shape};

/// sqlx's list of what is applied.
const APPLIED: &str = "_sqlx_migrations";
/// The schema of what was put aside.
const KEPT: &str = "bill_kept";
/// The schema as the oldest release has it: nobody can want to go back behind it, unless to remove everything.
pub const OLDEST: i64 = 13;
/// How long whoever uses a table may take to end: services that stop take less.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// How far a rollback goes, and what it may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rollback {
    /// The newest migration that stays.
    pub to: i64,
    /// Behind this one nothing is put aside: what would be dropped must be empty.
    pub oldest: i64,
    /// Whether it need not be.
    pub lose_data: bool,
    /// How long to wait for whoever uses one of the tables.
    pub patience: Duration,
}

/// A migration, as the database has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Its number.
    pub version: i64,
    /// Its name.
    pub description: String,
    /// Whether it is applied.
    pub applied: bool,
    /// Whether this release knows it.
    pub known: bool,
    /// The tables of which something is put aside until it is applied again.
    pub kept: Vec<String>,
}

/// Applies every migration that is missing, each in one transaction with what was put aside when it was taken back: nobody
/// sees its tables without that. Returns a line for each table that got something back. Safe to repeat.
///
/// # Errors
/// What the database says. What was not put back stays aside then, and its migration not applied.
pub async fn up(migrator: &Migrator, pool: &PgPool) -> anyhow::Result<Vec<String>> {
    let mut lines = Vec::new();
    let kept = put_back::versions(&mut *pool.acquire().await?).await?;
    for version in kept {
        let mut ups = migrator.iter().filter(|migration| !migration.migration_type.is_down_migration());
        let Some(migration) = ups.clone().find(|migration| migration.version == version) else { continue };
        if let Some(before) = ups.by_ref().take_while(|migration| migration.version < version).last() {
            migrator.run_to(before.version, pool).boxed().await?;
        }
        let mut tx = begin(pool).await?;
        // Somebody else may have done all this while we waited for our turn.
        if put_back::versions(&mut tx).await?.contains(&version) {
            if !tx.list_applied_migrations(APPLIED).await?.iter().any(|applied| applied.version == version) {
                tx.apply(APPLIED, migration).await?;
            }
            lines.extend(put_back::put_back(&mut tx, version).await?);
        }
        tx.commit().await?;
    }
    migrator.run(pool).boxed().await?;
    Ok(lines)
}

/// Takes migrations back, all or none. Returns a line for each one, and for whatever was put aside.
///
/// # Errors
/// When there is no such migration, when the database has one that this release does not know, when something would be
/// lost that may not be or could not be put back, when others use the tables and don't let them go (they are named), and what
/// the database says. Nothing is changed then.
pub async fn down(migrator: &Migrator, pool: &PgPool, rollback: Rollback) -> anyhow::Result<Vec<String>> {
    let mut tx = begin(pool).await?;
    match taken_back(migrator, &mut tx, rollback).await {
        Ok(lines) => {
            tx.commit().await?;
            Ok(lines)
        }
        Err(error) => {
            tx.rollback().await?;
            Err(if lock::in_use(&error) { lock::trouble(pool).await } else { error })
        }
    }
}

/// All of it, in the transaction that is open.
async fn taken_back(migrator: &Migrator, tx: &mut PgConnection, rollback: Rollback) -> anyhow::Result<Vec<String>> {
    let Rollback { to, oldest, lose_data, patience } = rollback;
    anyhow::ensure!(to == 0 || migrator.version_exists(to), "there is no migration {to}");
    lock::limit(tx, patience).await?;
    let mut lines = Vec::new();
    let steps = read(migrator, tx).await?;
    if let Some(unknown) = steps.iter().find(|step| !step.known) {
        anyhow::bail!("the database has migration {}, which only a newer release can take back", unknown.version);
    }
    let behind = to < oldest;
    let mut lost: Vec<String> = Vec::new();
    if behind {
        lost.extend(steps.iter().flat_map(|step| &step.kept).map(|table| format!("{table} (put aside)")));
    }
    for step in steps.iter().rev().filter(|step| step.applied && step.version > to) {
        let losses = trial(migrator, tx, step.version).await?;
        // What the trial locked was let go with it.
        lock::lock(tx, &losses).await?;
        for loss in losses {
            if !loss.has_data(tx).await? {
                continue;
            }
            if behind {
                lost.push(loss.to_string());
            } else {
                loss.can_be_put_back(tx, step.version).await?;
                lines.push(keep::keep(tx, step.version, &loss).await?);
            }
        }
        take_back(migrator, tx, step.version).await?;
        lines.push(format!("{:04} {} is taken back", step.version, step.description));
    }
    if behind {
        anyhow::ensure!(
            lost.is_empty() || lose_data,
            "nothing is put aside behind {oldest:04}, and there is data in {}; `--lose-data` if that is meant",
            lost.join(", ")
        );
        lines.extend(lost.iter().map(|table| format!("{table} is lost")));
        sqlx::raw_sql(AssertSqlSafe(format!("DROP SCHEMA IF EXISTS {KEPT} CASCADE"))).execute(tx).await?;
    }
    Ok(lines)
}

/// Every migration that this release or the database knows, in order.
///
/// # Errors
/// What the database says.
pub async fn status(migrator: &Migrator, pool: &PgPool) -> anyhow::Result<Vec<Step>> {
    read(migrator, &mut *pool.acquire().await?).await
}

async fn read(migrator: &Migrator, connection: &mut PgConnection) -> anyhow::Result<Vec<Step>> {
    let there: bool =
        sqlx::query_scalar("SELECT to_regclass('_sqlx_migrations') IS NOT NULL").fetch_one(&mut *connection).await?;
    let mut applied = Vec::new();
    if there {
        let rows = sqlx::query("SELECT version, description FROM _sqlx_migrations ORDER BY version");
        for row in rows.fetch_all(&mut *connection).await? {
            applied.push((row.try_get::<i64, _>("version")?, row.try_get::<String, _>("description")?));
        }
    }
    let known = migrator.iter().filter(|migration| !migration.migration_type.is_down_migration());
    let known = known.map(|migration| (migration.version, migration.description.to_string()));
    let all: BTreeSet<(i64, String)> = known.chain(applied.iter().cloned()).collect();
    let mut steps = Vec::new();
    for (version, description) in all {
        let kept = put_back::tables(connection, version).await?;
        let applied = applied.iter().any(|(one, _)| *one == version);
        steps.push(Step { version, description, applied, known: migrator.version_exists(version), kept });
    }
    Ok(steps)
}

/// One at a time, and for as long as it takes.
async fn begin(pool: &PgPool) -> sqlx::Result<sqlx::Transaction<'static, sqlx::Postgres>> {
    let mut tx = pool.begin().await?;
    sqlx::raw_sql(
        "SET LOCAL statement_timeout = 0; SELECT pg_advisory_xact_lock(hashtextextended('bill migrations', 0))",
    )
    .execute(&mut *tx)
    .await?;
    Ok(tx)
}

/// Takes one migration back, in the transaction that is open.
async fn take_back(migrator: &Migrator, tx: &mut PgConnection, version: i64) -> anyhow::Result<()> {
    let mut found = migrator.iter().filter(|migration| migration.migration_type.is_down_migration());
    let down = found.find(|migration| migration.version == version);
    let down = down.with_context(|| format!("migration {version:04} can't be taken back: there is no way down"))?;
    tx.revert(APPLIED, down).await?;
    Ok(())
}

/// What taking the newest migration back would drop.
async fn trial(migrator: &Migrator, tx: &mut PgConnection, version: i64) -> anyhow::Result<Vec<Loss>> {
    let before = shape(tx).await?;
    let mut trial = Connection::begin(tx).await?;
    take_back(migrator, &mut trial, version).await?;
    let after = shape(&mut trial).await?;
    trial.rollback().await?;
    Ok(losses(before, &after))
}

/// A name as SQL has it.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Names, separated by commas.
fn list(names: &[String]) -> String {
    names.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", ")
}
