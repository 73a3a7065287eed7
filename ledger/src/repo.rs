//! The SQL of posting.

use common::clock::Timestamp;
use common::ids::{EventId, OrganizationId, RechargeId};
use common::money::{Currency, Money};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, PgPool, Postgres, Row, Transaction};
use uuid::Uuid;

use crate::chain::{self, GENESIS, Hash, Record, RecordEntry};
use crate::posting::Posting;

/// What was posted: now, or the first time that the same business event came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Posted {
    /// The transaction
    pub transaction_id: Uuid,
    /// Whose books
    pub organization: OrganizationId,
    /// The recharge, if it is about one
    pub recharge_id: Option<RechargeId>,
    /// The event that started the chain of events
    pub correlation: EventId,
    /// By how much the quota changed
    pub change: Money,
    /// The quota after it
    pub quota: Money,
    /// Its place among the organization's transactions
    pub ledger_version: i64,
    /// When it was posted
    pub posted_at: Timestamp,
    /// Whether it was posted before, so that nothing was posted now
    pub was_there_already: bool,
}

/// Why nothing was posted.
#[derive(Debug, thiserror::Error)]
pub enum PostError {
    /// The organization's books are in another currency
    #[error("the books of {organization} are in {books}, so {currency} can't be posted")]
    Currency {
        /// Whose books
        organization: OrganizationId,
        /// What they are in
        books: String,
        /// What was to be posted
        currency: Currency,
    },
    /// The same business event was posted for another organization
    #[error("{business_key} was posted for {first}, so it can't be posted for {organization}")]
    OtherOrganization {
        /// The business event
        business_key: String,
        /// Whose it was
        first: OrganizationId,
        /// Whose it was said to be now
        organization: OrganizationId,
    },
    /// The quota would be more than can be counted
    #[error("the quota of {0} would be too large")]
    Range(OrganizationId),
    /// The database said no
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Where an organization's books stand.
struct Head {
    version: i64,
    hash: Hash,
    quota: i64,
}

/// Posts a transaction, or finds that it was posted before; in one database transaction, under the role `role` if given.
///
/// # Errors
/// [`PostError`]; nothing was posted then.
pub async fn post(pool: &PgPool, role: Option<&str>, posting: &Posting) -> Result<Posted, PostError> {
    let mut tx = begin(pool, role).await?;
    lock(&mut tx, posting.organization()).await?;
    if let Some(posted) = find(&mut tx, posting.business_key()).await? {
        tx.rollback().await?;
        return same_organization(posted, posting);
    }
    let head = head(&mut tx, posting).await?;
    let posted_at: Timestamp = sqlx::query_scalar("SELECT clock_timestamp()").fetch_one(&mut *tx).await?;
    let record = record(posting, &head, posted_at)?;
    let hash = chain::link(&head.hash, &record);
    insert_accounts(&mut tx, &record).await?;
    insert_transaction(&mut tx, &record, &head.hash, &hash).await?;
    insert_entries(&mut tx, &record).await?;
    tx.commit().await?;
    Ok(Posted {
        transaction_id: record.id,
        organization: posting.organization().clone(),
        recharge_id: posting.recharge_id(),
        correlation: posting.correlation().clone(),
        change: Money::new(posting.quota_change(), posting.currency()),
        quota: Money::new(record.quota_after, posting.currency()),
        ledger_version: record.version,
        posted_at,
        was_there_already: false,
    })
}

/// Whether a business event is in an organization's books.
///
/// # Errors
/// What the database says.
pub async fn is_posted(pool: &PgPool, organization: &OrganizationId, business_key: &str) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM ledger_transactions WHERE business_key = $1 AND c_organization_id = $2)",
    )
    .bind(business_key)
    .bind(organization.as_str())
    .fetch_one(pool)
    .await
}

async fn begin(pool: &PgPool, role: Option<&str>) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
    // Whoever waited for the lock must see what was committed meanwhile: a snapshot per statement, whatever the default is.
    let mut tx = pool.begin_with("BEGIN ISOLATION LEVEL READ COMMITTED").await?;
    if let Some(role) = role {
        // SET LOCAL ROLE, as a function that takes the name as a value.
        sqlx::query("SELECT set_config('role', $1, true)").bind(role).execute(&mut *tx).await?;
    }
    Ok(tx)
}

/// One posting at a time per organization. An advisory lock, because the service's role may not update, and so not lock, rows.
async fn lock(tx: &mut PgConnection, organization: &OrganizationId) -> Result<(), sqlx::Error> {
    sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended('ledger:' || $1, 0))")
        .bind(organization.as_str())
        .execute(tx)
        .await
        .map(drop)
}

async fn find(tx: &mut PgConnection, business_key: &str) -> Result<Option<Posted>, sqlx::Error> {
    let row = sqlx::query(
        "SELECT t.*, (SELECT COALESCE(sum(e.amount_minor), 0)::bigint FROM ledger_entries e
                        JOIN ledger_accounts a ON a.id = e.account_id AND a.kind = 'balance'
                       WHERE e.transaction_id = t.id) AS change_minor
           FROM ledger_transactions t WHERE t.business_key = $1",
    )
    .bind(business_key)
    .fetch_optional(tx)
    .await?;
    row.map(|row| posted(&row)).transpose()
}

fn posted(row: &PgRow) -> Result<Posted, sqlx::Error> {
    let currency: Currency = parsed(row, "currency")?;
    Ok(Posted {
        transaction_id: row.try_get("id")?,
        organization: parsed(row, "c_organization_id")?,
        recharge_id: row.try_get::<Option<Uuid>, _>("recharge_id")?.map(RechargeId),
        correlation: parsed(row, "correlation_id")?,
        change: Money::new(row.try_get("change_minor")?, currency),
        quota: Money::new(row.try_get("quota_after_minor")?, currency),
        ledger_version: row.try_get("version")?,
        posted_at: row.try_get("posted_at")?,
        was_there_already: true,
    })
}

fn parsed<T>(row: &PgRow, column: &str) -> Result<T, sqlx::Error>
where
    T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    row.try_get::<&str, _>(column)?
        .parse()
        .map_err(|error| sqlx::Error::ColumnDecode { index: column.to_owned(), source: Box::new(error) })
}

fn same_organization(posted: Posted, posting: &Posting) -> Result<Posted, PostError> {
    if posted.organization == *posting.organization() {
        return Ok(posted);
    }
    Err(PostError::OtherOrganization {
        business_key: posting.business_key().to_owned(),
        first: posted.organization,
        organization: posting.organization().clone(),
    })
}

/// The last transaction of the organization, whose books are opened in the posting's currency if there are none.
async fn head(tx: &mut PgConnection, posting: &Posting) -> Result<Head, PostError> {
    let (organization, currency) = (posting.organization(), posting.currency());
    let row = sqlx::query(
        "SELECT o.currency, t.version, t.hash, t.quota_after_minor FROM ledger_organizations o
           LEFT JOIN LATERAL (SELECT l.version, l.hash, l.quota_after_minor FROM ledger_transactions l
                               WHERE l.c_organization_id = o.c_organization_id ORDER BY l.version DESC LIMIT 1) t ON true
          WHERE o.c_organization_id = $1",
    )
    .bind(organization.as_str())
    .fetch_optional(&mut *tx)
    .await?;
    let Some(row) = row else {
        sqlx::query("INSERT INTO ledger_organizations (c_organization_id, currency) VALUES ($1, $2)")
            .bind(organization.as_str())
            .bind(currency.code())
            .execute(tx)
            .await?;
        return Ok(Head { version: 0, hash: GENESIS, quota: 0 });
    };
    let books: String = row.try_get("currency")?;
    if books != currency.code() {
        return Err(PostError::Currency { organization: organization.clone(), books, currency });
    }
    Ok(Head {
        version: row.try_get::<Option<i64>, _>("version")?.unwrap_or(0),
        hash: row.try_get::<Option<Hash>, _>("hash")?.unwrap_or(GENESIS),
        quota: row.try_get::<Option<i64>, _>("quota_after_minor")?.unwrap_or(0),
    })
}

/// The transaction that follows `head`.
fn record(posting: &Posting, head: &Head, posted_at: Timestamp) -> Result<Record, PostError> {
    let too_large = || PostError::Range(posting.organization().clone());
    let currency = posting.currency().code().to_owned();
    let entry = |entry: &crate::posting::Entry| RecordEntry {
        account: entry.account.as_str().to_owned(),
        currency: currency.clone(),
        amount: entry.amount,
    };
    Ok(Record {
        id: posting.transaction_id(),
        business_key: posting.business_key().to_owned(),
        kind: posting.kind().as_str().to_owned(),
        organization: posting.organization().to_string(),
        recharge_id: posting.recharge_id().map(|id| id.0),
        correlation_id: posting.correlation().to_string(),
        description: posting.description().to_owned(),
        posted_at,
        version: head.version.checked_add(1).ok_or_else(too_large)?,
        quota_after: head.quota.checked_add(posting.quota_change()).ok_or_else(too_large)?,
        entries: posting.entries().iter().map(entry).collect(),
        currency,
    })
}

async fn insert_accounts(tx: &mut PgConnection, record: &Record) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO ledger_accounts (c_organization_id, kind, currency)
         SELECT DISTINCT $1, wanted.kind, $2 FROM unnest($3::text[]) AS wanted (kind)
          WHERE NOT EXISTS (SELECT FROM ledger_accounts a
                             WHERE a.c_organization_id = $1 AND a.kind = wanted.kind AND a.currency = $2)",
    )
    .bind(&record.organization)
    .bind(&record.currency)
    .bind(record.entries.iter().map(|entry| entry.account.as_str()).collect::<Vec<_>>())
    .execute(tx)
    .await
    .map(drop)
}

async fn insert_transaction(
    tx: &mut PgConnection,
    record: &Record,
    previous: &Hash,
    hash: &Hash,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO ledger_transactions (id, business_key, kind, c_organization_id, recharge_id, correlation_id, description,
                                          currency, posted_at, version, quota_after_minor, previous_hash, hash)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
    )
    .bind(record.id)
    .bind(&record.business_key)
    .bind(&record.kind)
    .bind(&record.organization)
    .bind(record.recharge_id)
    .bind(&record.correlation_id)
    .bind(&record.description)
    .bind(&record.currency)
    .bind(record.posted_at)
    .bind(record.version)
    .bind(record.quota_after)
    .bind(&previous[..])
    .bind(&hash[..])
    .execute(tx)
    .await
    .map(drop)
}

async fn insert_entries(tx: &mut PgConnection, record: &Record) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO ledger_entries (transaction_id, account_id, amount_minor, currency)
         SELECT $1, a.id, line.amount, $3 FROM unnest($4::text[], $5::bigint[]) WITH ORDINALITY AS line (kind, amount, place)
           JOIN ledger_accounts a ON a.c_organization_id = $2 AND a.kind = line.kind AND a.currency = $3
          ORDER BY line.place",
    )
    .bind(record.id)
    .bind(&record.organization)
    .bind(&record.currency)
    .bind(record.entries.iter().map(|entry| entry.account.as_str()).collect::<Vec<_>>())
    .bind(record.entries.iter().map(|entry| entry.amount).collect::<Vec<_>>())
    .execute(tx)
    .await
    .map(drop)
}
