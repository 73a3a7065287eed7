//! Which tables and columns there are, and which are gone afterwards.

use std::collections::BTreeMap;
use std::fmt;

use sqlx::{AssertSqlSafe, PgConnection, Row};

use super::{list, quoted};

/// A table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Table {
    /// Each column with its type, in their order; without those that the database computes.
    columns: Vec<(String, String)>,
    /// The columns of its primary key.
    key: Vec<String>,
}

/// Every table of this schema but the list of migrations, by name.
pub(super) type Shape = BTreeMap<String, Table>;

/// What a migration takes with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Loss {
    /// Of which table.
    pub(super) table: String,
    /// These columns.
    pub(super) columns: Vec<String>,
    /// Those of them that stay under their names, as another type.
    pub(super) retyped: Vec<String>,
    /// The primary key of the table, where it stays.
    pub(super) key: Option<Vec<String>>,
}

/// What is there.
pub(super) async fn shape(connection: &mut PgConnection) -> sqlx::Result<Shape> {
    let sql = "SELECT c.relname::text AS table_name, a.attname::text AS column_name,
            format_type(a.atttypid, a.atttypmod) AS type, COALESCE(a.attnum = ANY (i.indkey), false) AS is_key
        FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
        LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary
        WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
            AND c.relname <> '_sqlx_migrations'
        ORDER BY c.relname, a.attnum";
    let mut shape = Shape::new();
    for row in sqlx::query(sql).fetch_all(connection).await? {
        let table: &mut Table = shape.entry(row.try_get("table_name")?).or_default();
        let column: String = row.try_get("column_name")?;
        if row.try_get("is_key")? {
            table.key.push(column.clone());
        }
        table.columns.push((column, row.try_get("type")?));
    }
    Ok(shape)
}

/// Whatever is in the one and not in the other; a column with another type is another column.
pub(super) fn losses(before: Shape, after: &Shape) -> Vec<Loss> {
    let mut losses = Vec::new();
    for (table, Table { columns, key }) in before {
        let stays = after.get(&table);
        let gone = columns.into_iter().filter(|column| stays.is_none_or(|after| !after.columns.contains(column)));
        let columns: Vec<String> = gone.map(|(name, _)| name).collect();
        let is_there = |name: &String| stays.is_some_and(|after| after.columns.iter().any(|(other, _)| other == name));
        if !columns.is_empty() {
            let retyped = columns.iter().filter(|name| is_there(name)).cloned().collect();
            losses.push(Loss { table, columns, retyped, key: stays.map(|_| key) });
        }
    }
    losses
}

impl Loss {
    /// Whether anything is in it.
    pub(super) async fn has_data(&self, connection: &mut PgConnection) -> sqlx::Result<bool> {
        let table = quoted(&self.table);
        let sql = match self.key {
            None => format!("SELECT EXISTS (SELECT FROM {table})"),
            Some(_) => return has_values(connection, &self.table, &self.columns).await,
        };
        sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(connection).await
    }

    /// Refuses what the release before goes on writing under the same name: putting back would overwrite it.
    pub(super) async fn can_be_put_back(&self, connection: &mut PgConnection, version: i64) -> anyhow::Result<()> {
        let clash = !self.retyped.is_empty() && has_values(connection, &self.table, &self.retyped).await?;
        anyhow::ensure!(
            !clash,
            "migration {version:04} can't be taken back: {} ({}) has values, and would have another type; what is written \
             meanwhile could not be told from what was put aside",
            self.table,
            self.retyped.join(", ")
        );
        Ok(())
    }
}

/// Whether one of these columns is not null in any row.
async fn has_values(connection: &mut PgConnection, table: &str, columns: &[String]) -> sqlx::Result<bool> {
    let sql = format!("SELECT EXISTS (SELECT FROM {} WHERE num_nonnulls({}) > 0)", quoted(table), list(columns));
    sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(connection).await
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.key {
            None => f.write_str(&self.table),
            Some(_) => write!(f, "{} ({})", self.table, self.columns.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(columns: &[(&str, &str)]) -> Table {
        let columns = columns.iter().map(|(name, kind)| ((*name).to_owned(), (*kind).to_owned())).collect();
        Table { columns, key: vec!["id".to_owned()] }
    }

    #[test]
    fn what_is_gone_afterwards_is_lost() {
        let before = Shape::from([
            ("a".to_owned(), table(&[("id", "bigint"), ("x", "text"), ("y", "integer"), ("z", "text")])),
            ("b".to_owned(), table(&[("id", "bigint")])),
            ("c".to_owned(), table(&[("id", "bigint")])),
        ]);
        let mut after = before.clone();
        assert_eq!(losses(before.clone(), &after), []);
        after.insert("a".to_owned(), table(&[("id", "bigint"), ("y", "bigint"), ("z", "text"), ("new", "text")]));
        after.remove("b");
        let lost = losses(before, &after);
        let words: Vec<String> = lost.iter().map(ToString::to_string).collect();
        assert_eq!(words, ["a (x, y)", "b"]);
        assert_eq!((lost[0].retyped.as_slice(), lost[1].retyped.len()), (["y".to_owned()].as_slice(), 0));
        assert_eq!((lost[0].key.as_deref(), &lost[1].key), (Some(["id".to_owned()].as_slice()), &None));
    }
}
