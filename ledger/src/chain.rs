//! The hash over an organization's transactions: each covers its own content and the hash before it, so that a row which
//! was changed behind the database's back no longer fits. Pure.

use common::clock::Timestamp;
use serde_json::json;
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// A hash of the chain.
pub type Hash = [u8; 32];

/// What the first transaction of an organization is chained to.
pub const GENESIS: Hash = [0; 32];

/// A transaction with all that its hash covers, as it is stored. Plain text where others use types: what `verify` reads
/// may be damaged, and must be looked at all the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The transaction's id
    pub id: Uuid,
    /// The business event
    pub business_key: String,
    /// What kind of business event
    pub kind: String,
    /// Whose books
    pub organization: String,
    /// The recharge, if it is about one
    pub recharge_id: Option<Uuid>,
    /// The event that started the chain of events
    pub correlation_id: String,
    /// A sentence for people
    pub description: String,
    /// The currency
    pub currency: String,
    /// When it was posted
    pub posted_at: Timestamp,
    /// Its place among the organization's transactions
    pub version: i64,
    /// The quota after it
    pub quota_after: i64,
    /// Its entries
    pub entries: Vec<RecordEntry>,
}

/// One entry of a [`Record`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RecordEntry {
    /// The account's kind
    pub account: String,
    /// The currency
    pub currency: String,
    /// Minor units
    pub amount: i64,
}

/// The text that is hashed: JSON, so that no two contents have the same text; entries in an order of their own, so that
/// the order in which they are read does not matter; the time in microseconds, which is all that PostgreSQL keeps.
#[must_use]
pub fn canonical(record: &Record) -> String {
    let mut entries: Vec<&RecordEntry> = record.entries.iter().collect();
    entries.sort();
    let entries: Vec<_> = entries.iter().map(|entry| json!([entry.account, entry.currency, entry.amount])).collect();
    json!([
        "bill-ledger-v1",
        record.id.to_string(),
        record.business_key,
        record.kind,
        record.organization,
        record.recharge_id.map(|id| id.to_string()),
        record.correlation_id,
        record.description,
        record.currency,
        record.posted_at.timestamp_micros(),
        record.version,
        record.quota_after,
        entries,
    ])
    .to_string()
}

/// The hash of a transaction that follows `previous`.
#[must_use]
pub fn link(previous: &[u8], record: &Record) -> Hash {
    Sha256::new().chain_update(previous).chain_update(canonical(record)).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(account: &str, amount: i64) -> RecordEntry {
        RecordEntry { account: account.to_owned(), currency: "usd".to_owned(), amount }
    }

    fn record() -> Record {
        Record {
            id: Uuid::nil(),
            business_key: "adjust:1".to_owned(),
            kind: "adjustment".to_owned(),
            organization: "acme".to_owned(),
            recharge_id: None,
            correlation_id: "evt_1".to_owned(),
            description: "say \"hi\"".to_owned(),
            currency: "usd".to_owned(),
            posted_at: Timestamp::UNIX_EPOCH,
            version: 1,
            quota_after: 5,
            entries: vec![entry("balance", 5), entry("adjustments", -5)],
        }
    }

    /// Stored hashes were made from this text: if this test fails, every ledger in use would be reported as damaged.
    #[test]
    fn the_text_is_fixed() {
        let expected = concat!(
            r#"["bill-ledger-v1","00000000-0000-0000-0000-000000000000","adjust:1","adjustment","acme",null,"evt_1","#,
            r#""say \"hi\"","usd",0,1,5,[["adjustments","usd",-5],["balance","usd",5]]]"#,
        );
        assert_eq!(canonical(&record()), expected);
        let expected = Sha256::digest([&GENESIS[..], expected.as_bytes()].concat());
        assert_eq!(link(&GENESIS, &record())[..], expected[..]);
    }

    #[test]
    fn every_field_counts_and_the_order_of_entries_does_not() {
        let changes: [fn(&mut Record); 12] = [
            |r| r.id = Uuid::max(),
            |r| r.business_key.push('x'),
            |r| r.kind.push('x'),
            |r| r.organization.push('x'),
            |r| r.recharge_id = Some(Uuid::nil()),
            |r| r.correlation_id.push('x'),
            |r| r.description.push('x'),
            |r| r.currency.push('x'),
            |r| r.posted_at += chrono::Duration::microseconds(1),
            |r| r.version += 1,
            |r| r.quota_after += 1,
            |r| r.entries[0].amount += 1,
        ];
        let original = link(&GENESIS, &record());
        for (number, change) in changes.iter().enumerate() {
            let mut changed = record();
            change(&mut changed);
            assert_ne!(link(&GENESIS, &changed), original, "change {number}");
        }
        let mut turned = record();
        turned.entries.reverse();
        assert_eq!(link(&GENESIS, &turned), original);
        assert_ne!(link(&[1; 32], &record()), original);
    }
}
