//! Putting back what was put aside, byte for byte, past the triggers that would take it for something new.

use std::collections::BTreeSet;

use sqlx::{AssertSqlSafe, PgConnection, Row};

use super::{KEPT, list, quoted};

/// Something that was put aside.
struct Kept {
    table: String,
    kept_as: String,
    columns: Vec<String>,
    /// By which its rows are found, if the table had stayed.
    key: Option<Vec<String>>,
}

/// The migrations of which something is put aside, in order.
pub(super) async fn versions(connection: &mut PgConnection) -> sqlx::Result<Vec<i64>> {
    if !is_there(connection).await? {
        return Ok(Vec::new());
    }
    let sql = format!("SELECT DISTINCT version FROM {KEPT}.kept ORDER BY version");
    sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(connection).await
}

/// The tables of which something is put aside with this migration.
pub(super) async fn tables(connection: &mut PgConnection, version: i64) -> sqlx::Result<Vec<String>> {
    if !is_there(connection).await? {
        return Ok(Vec::new());
    }
    let sql = format!("SELECT table_name FROM {KEPT}.kept WHERE version = $1 ORDER BY table_name");
    sqlx::query_scalar(AssertSqlSafe(sql)).bind(version).fetch_all(connection).await
}

async fn is_there(connection: &mut PgConnection) -> sqlx::Result<bool> {
    let sql = format!("SELECT to_regclass('{KEPT}.kept') IS NOT NULL");
    sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(connection).await
}

/// Puts back what belongs to a migration, which is applied. Returns a line for each table.
pub(super) async fn put_back(tx: &mut PgConnection, version: i64) -> anyhow::Result<Vec<String>> {
    let mut lines = Vec::new();
    for kept in in_order(tx, version).await? {
        let Kept { table, kept_as, columns, key } = &kept;
        let triggers = disable_triggers(tx, table).await?;
        let rows = sqlx::query(AssertSqlSafe(statement(&kept))).execute(&mut *tx).await?.rows_affected();
        // What would be checked at the end: before that no trigger can be enabled.
        sqlx::raw_sql("SET CONSTRAINTS ALL IMMEDIATE").execute(&mut *tx).await?;
        enable_triggers(tx, table, triggers).await?;
        advance_sequences(tx, table, columns).await?;
        sqlx::raw_sql(AssertSqlSafe(format!("DROP TABLE {KEPT}.{}", quoted(kept_as)))).execute(&mut *tx).await?;
        let what = if key.is_none() { table.clone() } else { format!("{table} ({})", columns.join(", ")) };
        lines.push(format!("{rows} rows of {what} are back"));
    }
    let sql = format!("DELETE FROM {KEPT}.kept WHERE version = $1");
    sqlx::query(AssertSqlSafe(sql)).bind(version).execute(&mut *tx).await?;
    if versions(tx).await?.is_empty() {
        sqlx::raw_sql(AssertSqlSafe(format!("DROP TABLE {KEPT}.kept; DROP SCHEMA {KEPT}"))).execute(tx).await?;
    }
    Ok(lines)
}

fn statement(kept: &Kept) -> String {
    let (table, from) = (quoted(&kept.table), format!("{KEPT}.{}", quoted(&kept.kept_as)));
    let pairs = |names: &[String], left: &str, between: &str| {
        let pair = |name: &String| format!("{left}{name} = k.{name}", name = quoted(name));
        names.iter().map(pair).collect::<Vec<_>>().join(between)
    };
    match &kept.key {
        None => {
            let columns = list(&kept.columns);
            format!("INSERT INTO {table} ({columns}) OVERRIDING SYSTEM VALUE SELECT {columns} FROM {from}")
        }
        // A row that was deleted meanwhile stays deleted, and one that was added has what the migration gave it.
        Some(key) => {
            let (set, matches) = (pairs(&kept.columns, "", ", "), pairs(key, "t.", " AND "));
            format!("UPDATE {table} AS t SET {set} FROM {from} AS k WHERE {matches}")
        }
    }
}

/// Whole tables first, each after those that it refers to; then columns of tables that stayed.
async fn in_order(tx: &mut PgConnection, version: i64) -> sqlx::Result<Vec<Kept>> {
    let sql =
        format!("SELECT table_name, kept_as, columns, key FROM {KEPT}.kept WHERE version = $1 ORDER BY table_name");
    let mut waiting = Vec::new();
    for row in sqlx::query(AssertSqlSafe(sql)).bind(version).fetch_all(&mut *tx).await? {
        let (table, kept_as) = (row.try_get("table_name")?, row.try_get("kept_as")?);
        waiting.push(Kept { table, kept_as, columns: row.try_get("columns")?, key: row.try_get("key")? });
    }
    let sql = "SELECT a.relname::text, b.relname::text FROM pg_constraint f
        JOIN pg_class a ON a.oid = f.conrelid JOIN pg_class b ON b.oid = f.confrelid
        WHERE f.contype = 'f' AND a.oid <> b.oid AND a.relnamespace = current_schema()::regnamespace";
    let refers: Vec<(String, String)> = sqlx::query_as(sql).fetch_all(tx).await?;
    let mut ordered = Vec::new();
    while !waiting.is_empty() {
        let missing: BTreeSet<&str> =
            waiting.iter().filter(|kept| kept.key.is_none()).map(|kept| kept.table.as_str()).collect();
        let ready = |kept: &Kept| match kept.key {
            None => !refers.iter().any(|(from, to)| *from == kept.table && missing.contains(to.as_str())),
            Some(_) => missing.is_empty(),
        };
        // Tables that refer to each other have no order: the database says whether it minds.
        let next = waiting.iter().position(ready).unwrap_or_default();
        ordered.push(waiting.remove(next));
    }
    Ok(ordered)
}

/// Our own triggers only: references are checked as always. Returns which there were, and when they fire.
async fn disable_triggers(tx: &mut PgConnection, table: &str) -> sqlx::Result<Vec<(String, String)>> {
    let sql =
        "SELECT tgname::text, tgenabled::text FROM pg_trigger WHERE tgrelid = to_regclass($1) AND NOT tgisinternal";
    let triggers = sqlx::query_as(sql).bind(quoted(table)).fetch_all(&mut *tx).await?;
    let sql = format!("ALTER TABLE {} DISABLE TRIGGER USER", quoted(table));
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(tx).await?;
    Ok(triggers)
}

async fn enable_triggers(tx: &mut PgConnection, table: &str, triggers: Vec<(String, String)>) -> sqlx::Result<()> {
    for (name, when) in triggers {
        let word = match when.as_str() {
            "O" => "ENABLE",
            "A" => "ENABLE ALWAYS",
            "R" => "ENABLE REPLICA",
            _ => continue,
        };
        let sql = format!("ALTER TABLE {} {word} TRIGGER {}", quoted(table), quoted(&name));
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *tx).await?;
    }
    Ok(())
}

/// Numbers that the database gives go on after those that were put back.
async fn advance_sequences(tx: &mut PgConnection, table: &str, columns: &[String]) -> sqlx::Result<()> {
    for column in columns {
        let sql = "SELECT pg_get_serial_sequence($1, $2)";
        let sequence: Option<String> =
            sqlx::query_scalar(sql).bind(quoted(table)).bind(column).fetch_one(&mut *tx).await?;
        if let Some(sequence) = sequence {
            let (column, table) = (quoted(column), quoted(table));
            let sql =
                format!("SELECT setval($1::regclass, max({column})) FROM {table} HAVING max({column}) IS NOT NULL");
            sqlx::query(AssertSqlSafe(sql)).bind(sequence).execute(&mut *tx).await?;
        }
    }
    Ok(())
}
