//! Putting aside what a migration takes with it.

use sqlx::{AssertSqlSafe, PgConnection};

use super::shape::Loss;
use super::{KEPT, list, quoted};

/// PostgreSQL cuts longer names short.
const LONGEST_NAME: usize = 63;

/// Puts it aside. Returns a line about it.
pub(super) async fn keep(tx: &mut PgConnection, version: i64, loss: &Loss) -> anyhow::Result<String> {
    let name = format!("{version:04}_{}", loss.table);
    anyhow::ensure!(name.len() <= LONGEST_NAME, "{name} is too long for a table's name");
    let mut columns = loss.columns.clone();
    if let Some(key) = &loss.key {
        anyhow::ensure!(!key.is_empty(), "{loss} can't be put aside: the table has no primary key to find its rows by");
        columns.extend(key.iter().filter(|column| !loss.columns.contains(column)).cloned());
    }
    // Nobody is granted anything here: what is put aside may have been for few.
    let sql = format!(
        "CREATE SCHEMA IF NOT EXISTS {KEPT};
        CREATE TABLE IF NOT EXISTS {KEPT}.kept (version bigint NOT NULL, table_name text NOT NULL, kept_as text NOT NULL,
            columns text[] NOT NULL, key text[], kept_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (version, table_name))"
    );
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *tx).await?;
    let (kept_as, columns, table) = (quoted(&name), list(&columns), quoted(&loss.table));
    let sql = format!("CREATE TABLE {KEPT}.{kept_as} AS SELECT {columns} FROM {table}");
    let rows = sqlx::query(AssertSqlSafe(sql)).execute(&mut *tx).await?.rows_affected();
    let sql =
        format!("INSERT INTO {KEPT}.kept (version, table_name, kept_as, columns, key) VALUES ($1, $2, $3, $4, $5)");
    sqlx::query(AssertSqlSafe(sql))
        .bind(version)
        .bind(&loss.table)
        .bind(&name)
        .bind(&loss.columns)
        .bind(&loss.key)
        .execute(tx)
        .await?;
    Ok(format!("{rows} rows of {loss} are put aside in {KEPT}.{name}"))
}
