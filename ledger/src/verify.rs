//! Proves the books: recomputes from the entries everything that is cached or chained, and names what differs.

mod kinds;
mod repo;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use common::clock::SharedClock;
use common::shutdown::Shutdown;
use prometheus::IntGauge;
use sqlx::PgPool;
use uuid::Uuid;

use crate::chain::{self, GENESIS};
use kinds::Holds;
use repo::{Books, StoredAccount, StoredTransaction};

/// How many organizations are looked up at once.
const ORGANIZATIONS: i64 = 200;
/// How many transactions are held in memory at once.
const TRANSACTIONS: i64 = 500;
/// How soon a check that could not be made is tried again.
const AGAIN: Duration = Duration::from_secs(30);

/// What a check found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// How many organizations were looked at
    pub organizations: u64,
    /// How many transactions were looked at
    pub transactions: u64,
    /// All that is not as it should be
    pub drifts: Vec<Drift>,
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drift {
    /// Whose books
    pub organization: String,
    /// The transaction, or none when it is about an account
    pub transaction_id: Option<Uuid>,
    /// What differs
    pub difference: Difference,
}

/// What differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// An account's cached balance is not the sum of its entries
    Balance {
        /// The account's kind
        account: String,
        /// What is cached
        cached: i64,
        /// What the entries sum to
        entries: i128,
    },
    /// An account's cached version is not that of its last transaction
    AccountVersion {
        /// The account's kind
        account: String,
        /// What is cached
        cached: i64,
        /// The last transaction's
        entries: i64,
    },
    /// Entries belong to an account that the organization does not have
    ForeignAccount {
        /// The account's id
        account: i64,
    },
    /// A transaction's entries don't balance
    Unbalanced {
        /// How many there are
        entries: usize,
        /// What they sum to
        sum: i128,
    },
    /// An entry has another currency than its transaction
    Currency,
    /// A version is missing, or there twice
    Version {
        /// The one that should come
        expected: i64,
        /// The one that came
        found: i64,
    },
    /// The quota after a transaction is not what the transactions make
    QuotaAfter {
        /// What is stored
        stored: i64,
        /// What the entries make
        entries: i128,
    },
    /// A transaction does to the quota, or to what is held, what its kind can't do
    Kind {
        /// Its kind
        kind: String,
        /// By how much it changes the quota
        quota: i128,
        /// By how much it changes what is held
        held: i128,
    },
    /// A decided dispute ends another amount than its opening holds
    Hold {
        /// What is held
        open: i128,
        /// What it ends
        ended: i128,
    },
    /// A transaction is not chained to the one before it: that one was changed and its hash with it, or is missing
    Chain,
    /// A transaction, or one of its entries, is not what it was when it was posted
    Content,
}

impl Difference {
    /// The stable word of each, by which docs/RUNBOOK.md tells what to do.
    pub const WORDS: [&'static str; 11] = [
        "balance",
        "account_version",
        "foreign_account",
        "unbalanced",
        "currency",
        "version",
        "quota_after",
        "kind",
        "hold",
        "chain",
        "content",
    ];

    /// Its stable word.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        // Taken apart, so that no word can be forgotten here, and none can be told that is not among them.
        let [
            balance,
            account_version,
            foreign_account,
            unbalanced,
            currency,
            version,
            quota_after,
            kind,
            hold,
            chain,
            content,
        ] = Self::WORDS;
        match self {
            Self::Balance { .. } => balance,
            Self::AccountVersion { .. } => account_version,
            Self::ForeignAccount { .. } => foreign_account,
            Self::Unbalanced { .. } => unbalanced,
            Self::Currency => currency,
            Self::Version { .. } => version,
            Self::QuotaAfter { .. } => quota_after,
            Self::Kind { .. } => kind,
            Self::Hold { .. } => hold,
            Self::Chain => chain,
            Self::Content => content,
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Balance { account, cached, entries } => {
                write!(f, "account {account}: balance {cached}, but its entries sum to {entries}")
            }
            Self::AccountVersion { account, cached, entries } => {
                write!(f, "account {account}: version {cached}, but its last transaction has {entries}")
            }
            Self::ForeignAccount { account } => {
                write!(f, "entries on account {account}, which the organization does not have")
            }
            Self::Unbalanced { entries, sum } => write!(f, "not balanced: {entries} entries, which sum to {sum}"),
            Self::Currency => f.write_str("an entry has another currency than its transaction"),
            Self::Version { expected, found } => write!(f, "version {found} where {expected} should be"),
            Self::QuotaAfter { stored, entries } => {
                write!(f, "quota after it {stored}, but the entries make it {entries}")
            }
            Self::Kind { kind, quota, held } => {
                write!(f, "a {kind} can't change the quota by {quota} and what is held by {held}")
            }
            Self::Hold { open, ended } => write!(f, "ends a hold of {ended}, but {open} is held"),
            Self::Chain => {
                f.write_str("does not continue the chain: the transaction before it was replaced or removed")
            }
            Self::Content => f.write_str("the row or its entries are not what was posted: the hash differs"),
        }
    }
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.organization)?;
        if let Some(id) = self.transaction_id {
            write!(f, "transaction {id}: ")?;
        }
        write!(f, "{} [{}]", self.difference, self.difference.word())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for drift in &self.drifts {
            writeln!(f, "{drift}")?;
        }
        let Self { organizations, transactions, drifts } = self;
        write!(f, "{organizations} organizations, {transactions} transactions, {} drifts", drifts.len())
    }
}

/// Checks all books. Each organization is read in a short transaction of its own, in bounded pieces.
///
/// # Errors
/// What the database says.
pub async fn verify(pool: &PgPool) -> Result<Report, sqlx::Error> {
    let mut report = Report::default();
    let mut after = String::new();
    loop {
        let batch = repo::organizations(pool, &after, ORGANIZATIONS).await?;
        let Some(last) = batch.last() else { return Ok(report) };
        after.clone_from(last);
        for organization in &batch {
            verify_organization(pool, organization, &mut report).await?;
        }
    }
}

async fn verify_organization(pool: &PgPool, organization: &str, report: &mut Report) -> Result<(), sqlx::Error> {
    let mut books = Books::open(pool).await?;
    let mut check = Check::new(organization);
    let mut after = 0;
    loop {
        let page = books.transactions(organization, after, TRANSACTIONS).await?;
        let Some(last) = page.last() else { break };
        after = last.record.version;
        page.iter().for_each(|transaction| check.transaction(transaction));
    }
    check.accounts(&books.accounts(organization).await?);
    report.organizations += 1;
    report.transactions += check.transactions;
    report.drifts.append(&mut check.drifts);
    Ok(())
}

/// What was seen so far of one organization's books. Pure.
struct Check<'a> {
    organization: &'a str,
    transactions: u64,
    version: i64,
    quota: i128,
    hash: Vec<u8>,
    holds: Holds,
    /// Sum of entries and last version, by account.
    accounts: BTreeMap<i64, (i128, i64)>,
    drifts: Vec<Drift>,
}

impl<'a> Check<'a> {
    fn new(organization: &'a str) -> Self {
        Self {
            organization,
            transactions: 0,
            version: 0,
            quota: 0,
            hash: GENESIS.to_vec(),
            holds: Holds::default(),
            accounts: BTreeMap::new(),
            drifts: Vec::new(),
        }
    }

    fn found(&mut self, transaction_id: Option<Uuid>, difference: Difference) {
        self.drifts.push(Drift { organization: self.organization.to_owned(), transaction_id, difference });
    }

    fn transaction(&mut self, stored: &StoredTransaction) {
        let record = &stored.record;
        let id = Some(record.id);
        self.transactions += 1;

        let expected = self.version.saturating_add(1);
        if record.version != expected {
            self.found(id, Difference::Version { expected, found: record.version });
        }
        let sum: i128 = record.entries.iter().map(|entry| i128::from(entry.amount)).sum();
        if sum != 0 || record.entries.len() < 2 {
            self.found(id, Difference::Unbalanced { entries: record.entries.len(), sum });
        }
        if record.entries.iter().any(|entry| entry.currency != record.currency) {
            self.found(id, Difference::Currency);
        }
        let on_balance = record.entries.iter().filter(|entry| entry.account == "balance");
        self.quota += on_balance.map(|entry| i128::from(entry.amount)).sum::<i128>();
        if i128::from(record.quota_after) != self.quota {
            self.found(id, Difference::QuotaAfter { stored: record.quota_after, entries: self.quota });
        }
        if let Some(difference) = self.holds.check(record) {
            self.found(id, difference);
        }
        if stored.previous_hash != self.hash {
            self.found(id, Difference::Chain);
        }
        if stored.hash != chain::link(&stored.previous_hash, record) {
            self.found(id, Difference::Content);
        }

        for (account, entry) in stored.accounts.iter().zip(&record.entries) {
            let (sum, version) = self.accounts.entry(*account).or_default();
            *sum += i128::from(entry.amount);
            *version = record.version;
        }
        // What follows is compared with what is stored, so that one damaged row is reported once, not for ever after.
        self.version = record.version;
        self.quota = i128::from(record.quota_after);
        self.hash.clone_from(&stored.hash);
    }

    fn accounts(&mut self, stored: &[StoredAccount]) {
        let mut seen = std::mem::take(&mut self.accounts);
        for account in stored {
            let (entries, version) = seen.remove(&account.id).unwrap_or_default();
            if i128::from(account.balance_minor) != entries {
                let (kind, cached) = (account.kind.clone(), account.balance_minor);
                self.found(None, Difference::Balance { account: kind, cached, entries });
            }
            if account.version != version {
                let (kind, cached) = (account.kind.clone(), account.version);
                self.found(None, Difference::AccountVersion { account: kind, cached, entries: version });
            }
        }
        for account in seen.into_keys() {
            self.found(None, Difference::ForeignAccount { account });
        }
    }
}

/// The gauges that the repeated check keeps.
#[derive(Clone)]
pub struct Gauges {
    /// `bill_ledger_drift`
    pub drift: IntGauge,
    /// `bill_ledger_verified_timestamp_seconds`
    pub verified_at: IntGauge,
}

/// Checks all books every `interval` until the shutdown. Every replica does so on its own: its gauge then stands for what
/// it has seen itself, and the check only reads.
pub async fn repeat(pool: PgPool, interval: Duration, gauges: Gauges, clock: SharedClock, shutdown: Shutdown) {
    loop {
        let outcome = tokio::select! {
            outcome = verify(&pool) => outcome,
            () = shutdown.wait() => return,
        };
        let pause = match outcome {
            Ok(report) => {
                tell(&report);
                gauges.drift.set(i64::try_from(report.drifts.len()).unwrap_or(i64::MAX));
                gauges.verified_at.set(clock.now().timestamp());
                interval
            }
            Err(error) => {
                tracing::warn!(%error, "the books could not be verified; trying again");
                interval.min(AGAIN)
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = shutdown.wait() => return,
        }
    }
}

fn tell(report: &Report) {
    for drift in &report.drifts {
        let transaction_id = drift.transaction_id.map(tracing::field::display);
        tracing::error!(c_organization_id = drift.organization, transaction_id, "the books are damaged: {drift}");
    }
    tracing::debug!("books verified: {} organizations, {} transactions", report.organizations, report.transactions);
}
