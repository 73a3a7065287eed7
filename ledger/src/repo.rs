//! The SQL of posting.

use common::clock::Timestamp;
use common::ids::{OrganizationId, RechargeId};
use common::money::{Currency, Money};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, PgPool, Postgres, Row, Transaction};

use crate::chain::{self, GENESIS, Hash, Record, RecordEntry};
use crate::posted::{self, Posted};
use crate::posting::{Posting, RechargeBooks};

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
    /// The same business event was posted for another recharge
    #[error("{business_key} was posted for another recharge, so it can't be posted for {recharge_id}")]
    OtherRecharge {
        /// The business event
        business_key: String,
        /// The recharge that it was said to be about now
        recharge_id: RechargeId,
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

/// One organization's books, for one database transaction: whoever holds them is the only one who posts there, so what is
/// read stays true until the commit. Dropped without one, nothing was posted.
pub struct Books {
    tx: Transaction<'static, Postgres>,
    organization: OrganizationId,
}

impl Books {
    /// Waits for the organization's books, and opens them.
    ///
    /// # Errors
    /// What the database says.
    pub async fn open(pool: &PgPool, organization: &OrganizationId) -> Result<Self, PostError> {
        // Whoever posts must see what was committed while he waited for the lock, and so reads a snapshot per statement.
        let mut tx = pool.begin_with("BEGIN ISOLATION LEVEL READ COMMITTED").await?;
        lock(&mut tx, organization).await?;
        Ok(Self { tx, organization: organization.clone() })
    }

    /// All that is booked of a recharge, and the database's time.
    ///
    /// # Errors
    /// [`PostError::OtherOrganization`] when it is in somebody else's books; what the database says.
    pub async fn of_recharge(&mut self, recharge_id: RechargeId) -> Result<RechargeBooks, PostError> {
        let mut all = Vec::new();
        for row in booked(&mut self.tx, recharge_id).await? {
            let (organization, booked) = posted::booked(&row)?;
            self.ours(organization, &booked.business_key)?;
            all.push(booked);
        }
        Ok(RechargeBooks { recharge_id, now: clock(&mut self.tx).await?, booked: all })
    }

    /// What was posted for a business event, and all that was written together with it, in order: so whoever repeats one
    /// of several postings says them all again.
    ///
    /// # Errors
    /// [`PostError`].
    pub async fn posted(&mut self, business_key: &str) -> Result<Vec<Posted>, PostError> {
        let all = find(&mut self.tx, business_key).await?;
        all.iter().try_for_each(|posted| self.ours(posted.organization.clone(), &posted.business_key))?;
        Ok(all)
    }

    /// The newest version of the organization's books, as readers see it; 0 before anything was booked.
    ///
    /// # Errors
    /// What the database says.
    pub async fn version(&mut self) -> Result<i64, PostError> {
        let newest = sqlx::query_scalar("SELECT max(ledger_version) FROM ledger_quotas WHERE c_organization_id = $1");
        let newest: Option<i64> = newest.bind(self.organization.as_str()).fetch_one(&mut *self.tx).await?;
        Ok(newest.unwrap_or(0))
    }

    /// Posts a transaction, or finds that it was posted before.
    ///
    /// # Errors
    /// [`PostError`]; nothing may be committed then.
    pub async fn post(&mut self, posting: &Posting) -> Result<Posted, PostError> {
        self.ours(posting.organization().clone(), posting.business_key())?;
        let there = self.posted(posting.business_key()).await?;
        if let Some(posted) = there.into_iter().find(|posted| posted.business_key == posting.business_key()) {
            return match posting.recharge_id() {
                Some(recharge_id) if posted.recharge_id != Some(recharge_id) => {
                    Err(PostError::OtherRecharge { business_key: posted.business_key, recharge_id })
                }
                _ => Ok(posted),
            };
        }
        let tx = &mut *self.tx;
        let head = head(tx, posting).await?;
        let record = record(posting, &head, clock(tx).await?)?;
        let hash = chain::link(&head.hash, &record);
        insert_accounts(tx, &record).await?;
        insert_transaction(tx, &record, &head.hash, &hash).await?;
        insert_entries(tx, &record).await?;
        Ok(Posted {
            transaction_id: record.id,
            kind: posting.kind(),
            business_key: record.business_key,
            description: record.description,
            organization: posting.organization().clone(),
            recharge_id: posting.recharge_id(),
            correlation: posting.correlation().clone(),
            change: Money::new(posting.quota_change(), posting.currency()),
            held: Money::new(posting.held_change(), posting.currency()),
            quota: Money::new(record.quota_after, posting.currency()),
            ledger_version: record.version,
            posted_at: record.posted_at,
            was_there_already: false,
        })
    }

    /// Commits what was posted, all at once.
    ///
    /// # Errors
    /// What the database says; nothing was posted then.
    pub async fn commit(self) -> Result<(), PostError> {
        Ok(self.tx.commit().await?)
    }

    /// Closes the books without posting anything.
    ///
    /// # Errors
    /// What the database says.
    pub async fn close(self) -> Result<(), PostError> {
        Ok(self.tx.rollback().await?)
    }

    /// Refuses what is in another organization's books, or is to be posted there.
    fn ours(&self, first: OrganizationId, business_key: &str) -> Result<(), PostError> {
        if first == self.organization {
            return Ok(());
        }
        let (business_key, organization) = (business_key.to_owned(), self.organization.clone());
        Err(PostError::OtherOrganization { business_key, first, organization })
    }
}

/// Posts one transaction, or finds that it was posted before; in a database transaction of its own.
///
/// # Errors
/// [`PostError`]; nothing was posted then.
pub async fn post(pool: &PgPool, posting: &Posting) -> Result<Posted, PostError> {
    let mut books = Books::open(pool, posting.organization()).await?;
    let posted = books.post(posting).await?;
    books.commit().await?;
    Ok(posted)
}

async fn clock(tx: &mut PgConnection) -> Result<Timestamp, sqlx::Error> {
    sqlx::query_scalar("SELECT clock_timestamp()").fetch_one(tx).await
}

/// One posting at a time per organization. An advisory lock, because the service's role may not update, and so not lock, rows.
async fn lock(tx: &mut PgConnection, organization: &OrganizationId) -> Result<(), sqlx::Error> {
    sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended('ledger:' || $1, 0))")
        .bind(organization.as_str())
        .execute(tx)
        .await
        .map(drop)
}

async fn find(tx: &mut PgConnection, business_key: &str) -> Result<Vec<Posted>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT t.*, COALESCE(e.change_minor, 0) AS change_minor, COALESCE(e.held_minor, 0) AS held_minor
           FROM (SELECT o.id FROM ledger_transactions o WHERE o.business_key = $1
                 UNION
                 SELECT w.id FROM ledger_transactions o
                   JOIN ledger_transactions w ON w.recharge_id = o.recharge_id AND w.written_by = o.written_by
                  WHERE o.business_key = $1) AS together
           JOIN ledger_transactions t ON t.id = together.id
          CROSS JOIN LATERAL (
               SELECT sum(e.amount_minor) FILTER (WHERE a.kind = 'balance')::bigint AS change_minor,
                      sum(e.amount_minor) FILTER (WHERE a.kind = 'disputes_held')::bigint AS held_minor
                 FROM ledger_entries e JOIN ledger_accounts a ON a.id = e.account_id WHERE e.transaction_id = t.id) e
          ORDER BY t.version",
    )
    .bind(business_key)
    .fetch_all(tx)
    .await?;
    rows.iter().map(posted::posted).collect()
}

async fn booked(tx: &mut PgConnection, recharge_id: RechargeId) -> Result<Vec<PgRow>, sqlx::Error> {
    sqlx::query(
        "SELECT t.business_key, t.kind, t.c_organization_id, e.accounts, e.amounts FROM ledger_transactions t
          CROSS JOIN LATERAL (
               SELECT COALESCE(array_agg(a.kind ORDER BY e.id), '{}') AS accounts,
                      COALESCE(array_agg(e.amount_minor ORDER BY e.id), '{}') AS amounts
                 FROM ledger_entries e JOIN ledger_accounts a ON a.id = e.account_id WHERE e.transaction_id = t.id) e
          WHERE t.recharge_id = $1 ORDER BY t.version",
    )
    .bind(recharge_id.0)
    .fetch_all(tx)
    .await
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
            .execute(&mut *tx)
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
