//! The SQL of verifying: it only reads.

use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgPool, Postgres, Row, Transaction};

use crate::chain::{Record, RecordEntry};

/// An account as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub(super) struct StoredAccount {
    /// Its id
    pub(super) id: i64,
    /// Its kind
    pub(super) kind: String,
    /// The cached balance
    pub(super) balance_minor: i64,
    /// The cached version
    pub(super) version: i64,
}

/// A transaction as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StoredTransaction {
    /// What its hash covers
    pub(super) record: Record,
    /// The account of each entry, in the order of the record's entries
    pub(super) accounts: Vec<i64>,
    /// The hash before it
    pub(super) previous_hash: Vec<u8>,
    /// Its hash
    pub(super) hash: Vec<u8>,
}

/// One organization's books, read as they stood at one moment.
pub(super) struct Books(Transaction<'static, Postgres>);

impl Books {
    /// Begins to read.
    ///
    /// # Errors
    /// What the database says.
    pub(super) async fn open(pool: &PgPool) -> Result<Self, sqlx::Error> {
        pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await.map(Self)
    }

    /// The accounts.
    ///
    /// # Errors
    /// What the database says.
    pub(super) async fn accounts(&mut self, organization: &str) -> Result<Vec<StoredAccount>, sqlx::Error> {
        sqlx::query_as(
            "SELECT id, kind, balance_minor, version FROM ledger_accounts WHERE c_organization_id = $1 ORDER BY kind",
        )
        .bind(organization)
        .fetch_all(&mut *self.0)
        .await
    }

    /// The next `limit` transactions after the version `after`.
    ///
    /// # Errors
    /// What the database says.
    pub(super) async fn transactions(
        &mut self,
        organization: &str,
        after: i64,
        limit: i64,
    ) -> Result<Vec<StoredTransaction>, sqlx::Error> {
        let rows = sqlx::query(
            "SELECT t.*, e.accounts, e.kinds, e.currencies, e.amounts FROM ledger_transactions t
               CROSS JOIN LATERAL (
                   SELECT COALESCE(array_agg(e.account_id ORDER BY e.id), '{}') AS accounts,
                          COALESCE(array_agg(a.kind ORDER BY e.id), '{}') AS kinds,
                          COALESCE(array_agg(e.currency ORDER BY e.id), '{}') AS currencies,
                          COALESCE(array_agg(e.amount_minor ORDER BY e.id), '{}') AS amounts
                     FROM ledger_entries e JOIN ledger_accounts a ON a.id = e.account_id WHERE e.transaction_id = t.id) e
              WHERE t.c_organization_id = $1 AND t.version > $2 ORDER BY t.version LIMIT $3",
        )
        .bind(organization)
        .bind(after)
        .bind(limit)
        .fetch_all(&mut *self.0)
        .await?;
        rows.iter().map(stored).collect()
    }
}

fn stored(row: &PgRow) -> Result<StoredTransaction, sqlx::Error> {
    let kinds: Vec<String> = row.try_get("kinds")?;
    let currencies: Vec<String> = row.try_get("currencies")?;
    let amounts: Vec<i64> = row.try_get("amounts")?;
    let entries = kinds
        .into_iter()
        .zip(currencies)
        .zip(amounts)
        .map(|((account, currency), amount)| RecordEntry { account, currency, amount })
        .collect();
    Ok(StoredTransaction {
        record: Record {
            id: row.try_get("id")?,
            business_key: row.try_get("business_key")?,
            kind: row.try_get("kind")?,
            organization: row.try_get("c_organization_id")?,
            recharge_id: row.try_get("recharge_id")?,
            correlation_id: row.try_get("correlation_id")?,
            description: row.try_get("description")?,
            currency: row.try_get("currency")?,
            posted_at: row.try_get("posted_at")?,
            version: row.try_get("version")?,
            quota_after: row.try_get("quota_after_minor")?,
            entries,
        },
        accounts: row.try_get("accounts")?,
        previous_hash: row.try_get("previous_hash")?,
        hash: row.try_get("hash")?,
    })
}

/// The next `limit` organizations that have books, after `after`.
///
/// # Errors
/// What the database says.
pub(super) async fn organizations(pool: &PgPool, after: &str, limit: i64) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT c_organization_id FROM ledger_organizations WHERE c_organization_id > $1 ORDER BY c_organization_id LIMIT $2",
    )
    .bind(after)
    .bind(limit)
    .fetch_all(pool)
    .await
}
