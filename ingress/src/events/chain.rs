//! What the other services wrote down about a recharge: bookings, pushes of the quota, and those that were given up.

use common::clock::Timestamp;
use common::money::{Currency, Money};
use rust_decimal::Decimal;
use serde_json::Number;
use sqlx::FromRow;
use uuid::Uuid;

use super::steps::{Entry, Step};
use crate::outcome::quota_number;

/// A transaction of the ledger with one of its entries. Amounts are minor units.
#[derive(Debug, Clone, FromRow)]
pub(crate) struct BookedEntry {
    id: Uuid,
    kind: String,
    description: String,
    currency: String,
    posted_at: Timestamp,
    version: i64,
    quota_after_minor: i64,
    account: String,
    amount_minor: i64,
}

/// Entries, in the order of their transactions, as one step for each transaction.
pub(super) fn bookings(rows: &[BookedEntry]) -> Vec<Step> {
    rows.chunk_by(|one, other| one.id == other.id).filter_map(booking).collect()
}

fn booking(rows: &[BookedEntry]) -> Option<Step> {
    let first = rows.first()?;
    let currency = first.currency.parse().unwrap_or(Currency::USD);
    let number = |minor| Money::new(minor, currency).to_number();
    let on_balance = rows.iter().filter(|row| row.account == "balance").map(|row| row.amount_minor).sum();
    let entries = rows.iter().map(|row| Entry { account: row.account.clone(), amount: number(row.amount_minor) });
    Some(Step::Booked {
        at: first.posted_at,
        transaction_id: first.id,
        kind: first.kind.clone(),
        description: first.description.clone(),
        version: first.version,
        amount: number(on_balance),
        quota_after: number(first.quota_after_minor),
        currency,
        entries: entries.collect(),
    })
}

/// A row of `quota_syncs`.
#[derive(Debug, Clone, FromRow)]
pub(crate) struct Push {
    backend: String,
    ledger_version: i64,
    previous_quota: Option<Decimal>,
    quota: Decimal,
    changed: bool,
    litellm_team_id: Option<String>,
    synced_at: Timestamp,
}

impl Push {
    pub(super) fn step(&self, currency: Currency) -> Step {
        let number = |quota: Decimal| -> Number { quota_number(quota, currency) };
        Step::Synced {
            at: self.synced_at,
            backend: self.backend.clone(),
            ledger_version: self.ledger_version,
            previous_quota: self.previous_quota.map(number),
            quota: number(self.quota),
            changed: self.changed,
            litellm_team_id: self.litellm_team_id.clone(),
        }
    }
}

/// A row of `quota_failures`.
#[derive(Debug, Clone, FromRow)]
pub(crate) struct GivenUp {
    backend: String,
    ledger_version: i64,
    quota: Decimal,
    reason: String,
    failed_at: Timestamp,
}

impl GivenUp {
    pub(super) fn step(&self, currency: Currency) -> Step {
        Step::SyncFailed {
            at: self.failed_at,
            backend: self.backend.clone(),
            ledger_version: self.ledger_version,
            quota: quota_number(self.quota, currency),
            reason: self.reason.clone(),
        }
    }
}
