//! Transactions as they stand in the books: rows as values. Holds no SQL.

use common::clock::Timestamp;
use common::contract::PostingKind;
use common::ids::{EventId, OrganizationId, RechargeId};
use common::money::{Currency, Money};
use sqlx::Row;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use crate::posting::{AccountKind, Booked, Entry};

/// What was posted: now, or the first time that the same business event came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Posted {
    /// The transaction
    pub transaction_id: Uuid,
    /// What kind of business event
    pub kind: PostingKind,
    /// The business event
    pub business_key: String,
    /// A sentence for people
    pub description: String,
    /// Whose books
    pub organization: OrganizationId,
    /// The recharge, if it is about one
    pub recharge_id: Option<RechargeId>,
    /// The event that started the chain of events
    pub correlation: EventId,
    /// By how much the quota changed
    pub change: Money,
    /// By how much what is held for disputes changed
    pub held: Money,
    /// The quota after it
    pub quota: Money,
    /// Its place among the organization's transactions
    pub ledger_version: i64,
    /// When it was posted
    pub posted_at: Timestamp,
    /// Whether it was posted before, so that nothing was posted now
    pub was_there_already: bool,
}

/// A row of the transactions, with what its entries change.
pub(crate) fn posted(row: &PgRow) -> Result<Posted, sqlx::Error> {
    let currency: Currency = parsed(row, "currency")?;
    Ok(Posted {
        transaction_id: row.try_get("id")?,
        kind: kind(row)?,
        business_key: row.try_get("business_key")?,
        description: row.try_get("description")?,
        organization: parsed(row, "c_organization_id")?,
        recharge_id: row.try_get::<Option<Uuid>, _>("recharge_id")?.map(RechargeId),
        correlation: parsed(row, "correlation_id")?,
        change: Money::new(row.try_get("change_minor")?, currency),
        held: Money::new(row.try_get("held_minor")?, currency),
        quota: Money::new(row.try_get("quota_after_minor")?, currency),
        ledger_version: row.try_get("version")?,
        posted_at: row.try_get("posted_at")?,
        was_there_already: true,
    })
}

/// A row of a recharge's transactions, with its entries, and whose it is.
pub(crate) fn booked(row: &PgRow) -> Result<(OrganizationId, Booked), sqlx::Error> {
    let booked = Booked { business_key: row.try_get("business_key")?, kind: kind(row)?, entries: entries(row)? };
    Ok((parsed(row, "c_organization_id")?, booked))
}

fn kind(row: &PgRow) -> Result<PostingKind, sqlx::Error> {
    let word: serde_json::Value = row.try_get::<&str, _>("kind")?.into();
    serde_json::from_value(word).map_err(|error| undecodable("kind", error))
}

fn entries(row: &PgRow) -> Result<Vec<Entry>, sqlx::Error> {
    let accounts: Vec<String> = row.try_get("accounts")?;
    let amounts: Vec<i64> = row.try_get("amounts")?;
    accounts
        .iter()
        .zip(amounts)
        .map(|(word, amount)| {
            let account =
                AccountKind::parse(word).ok_or_else(|| undecodable("accounts", UnknownAccount(word.clone())))?;
            Ok(Entry { account, amount })
        })
        .collect()
}

/// A word in the database that no account has.
#[derive(Debug, thiserror::Error)]
#[error("there is no account {0}")]
struct UnknownAccount(String);

fn undecodable(column: &str, error: impl std::error::Error + Send + Sync + 'static) -> sqlx::Error {
    sqlx::Error::ColumnDecode { index: column.to_owned(), source: Box::new(error) }
}

fn parsed<T>(row: &PgRow, column: &str) -> Result<T, sqlx::Error>
where
    T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    row.try_get::<&str, _>(column)?.parse().map_err(|error| undecodable(column, error))
}
