//! The books of one organization, chained by the ledger's own function. Pure.

use chrono::Duration;
use common::clock::Timestamp;
use common::contract::PostingKind;
use common::money::Money;
use ledger::chain::{self, GENESIS, Hash, Record, RecordEntry};
use ledger::posting::Posting;
use serde_json::json;
use uuid::Uuid;

use super::profile::Profile;
use super::rows::{Rows, Transaction};

/// Where the books stand.
#[derive(Debug)]
pub(super) struct Books {
    pub(super) version: i64,
    pub(super) quota: i64,
    hash: Hash,
    /// When something was posted last: versions follow time.
    posted_at: Timestamp,
}

/// A transaction that was posted.
#[derive(Debug)]
pub(super) struct Posted {
    pub(super) version: i64,
    pub(super) quota: Money,
    /// The event that told of it.
    pub(super) event: String,
}

impl Books {
    pub(super) const fn empty() -> Self {
        Self { version: 0, quota: 0, hash: GENESIS, posted_at: Timestamp::UNIX_EPOCH }
    }

    /// Posts a transaction.
    pub(super) fn post(&mut self, who: &Profile, rows: &mut Rows, posting: &Posting, posted_at: Timestamp) -> Posted {
        let currency = who.currency.code().to_owned();
        if self.version == 0 {
            rows.ledger_organizations.push(json!({ "c_organization_id": who.id, "currency": currency }));
        }
        self.version += 1;
        self.posted_at = posted_at.max(self.posted_at + Duration::milliseconds(1));
        let posted_at = self.posted_at;
        self.quota += posting.quota_change();
        let record = Record {
            id: posting.transaction_id(),
            business_key: posting.business_key().to_owned(),
            kind: posting.kind().as_str().to_owned(),
            organization: who.id.to_string(),
            recharge_id: posting.recharge_id().map(|id| id.0),
            correlation_id: posting.correlation().to_string(),
            description: posting.description().to_owned(),
            currency: currency.clone(),
            posted_at,
            version: self.version,
            quota_after: self.quota,
            entries: posting
                .entries()
                .iter()
                .map(|entry| line(entry.account.as_str(), &currency, entry.amount))
                .collect(),
        };
        let hash = chain::link(&self.hash, &record);
        let previous = std::mem::replace(&mut self.hash, hash);
        for entry in posting.entries() {
            rows.accounts.insert((record.organization.clone(), entry.account.as_str(), currency.clone()));
        }
        rows.transactions.push(Transaction {
            posted_at,
            entries: entries(&record),
            row: json!({
                "id": record.id, "business_key": record.business_key, "kind": record.kind,
                "c_organization_id": record.organization, "recharge_id": record.recharge_id,
                "correlation_id": record.correlation_id, "description": record.description, "currency": record.currency,
                "posted_at": record.posted_at, "version": record.version, "quota_after_minor": record.quota_after,
                "previous_hash": bytes(&previous), "hash": bytes(&self.hash),
            }),
        });
        let event = told_as(posting, record.id);
        Posted { version: self.version, quota: Money::new(self.quota, who.currency), event }
    }
}

fn line(account: &str, currency: &str, amount: i64) -> RecordEntry {
    RecordEntry { account: account.to_owned(), currency: currency.to_owned(), amount }
}

fn entries(record: &Record) -> Vec<serde_json::Value> {
    let entry = |entry: &RecordEntry| {
        json!({ "transaction_id": record.id, "c_organization_id": record.organization, "kind": entry.account,
                "amount_minor": entry.amount, "currency": entry.currency })
    };
    record.entries.iter().map(entry).collect()
}

/// As PostgreSQL reads bytes.
fn bytes(hash: &Hash) -> String {
    format!("\\x{}", hex::encode(hash))
}

/// The id of the ledger's event.
fn told_as(posting: &Posting, id: Uuid) -> String {
    let word = match posting.kind() {
        PostingKind::Charge | PostingKind::Opening | PostingKind::RefundFailed => "credited",
        PostingKind::Adjustment if posting.quota_change() > 0 => "credited",
        PostingKind::Adjustment | PostingKind::Refund | PostingKind::Void | PostingKind::DisputeLost => "reversed",
        PostingKind::Hold | PostingKind::Release => "held",
    };
    format!("ledger.{word}:{id}")
}
