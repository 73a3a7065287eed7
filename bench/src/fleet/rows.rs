//! Rows before they are stored, as JSON: the database turns them into its own types.

use std::collections::BTreeSet;

use common::clock::Timestamp;
use common::money::Money;
use serde_json::{Value, json};

/// A row, and when it came to be: they are stored in that order, as they would have been.
pub(crate) type Timed = (Timestamp, Value);

/// Everything that is to be stored, by table.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    pub(crate) organizations: Vec<Value>,
    pub(crate) users: Vec<Value>,
    pub(crate) tokens: Vec<Value>,
    pub(crate) api_requests: Vec<Value>,
    pub(crate) audit_log: Vec<Timed>,
    pub(crate) events: Vec<Timed>,
    pub(crate) recharges: Vec<Timed>,
    pub(crate) states: Vec<Value>,
    pub(crate) refunds: Vec<Value>,
    pub(crate) disputes: Vec<Value>,
    pub(crate) ledger_organizations: Vec<Value>,
    /// Organization, kind, currency.
    pub(crate) accounts: BTreeSet<(String, &'static str, String)>,
    pub(crate) transactions: Vec<Transaction>,
    pub(crate) targets: Vec<Value>,
    pub(crate) syncs: Vec<Timed>,
    pub(crate) failures: Vec<Value>,
    pub(crate) snapshots: Vec<Timed>,
    pub(crate) runs: Vec<Value>,
    pub(crate) parts: Vec<Value>,
    pub(crate) findings: Vec<Value>,
}

impl Rows {
    /// Puts what came to be one after the other in the order of time, whosever it is.
    pub(super) fn sort(&mut self) {
        for table in [&mut self.audit_log, &mut self.events, &mut self.recharges, &mut self.syncs, &mut self.snapshots]
        {
            table.sort_by_key(|(at, _)| *at);
        }
        self.transactions.sort_by_key(|transaction| transaction.posted_at);
    }
}

/// A ledger transaction with its entries: they must be stored together.
#[derive(Debug)]
pub(crate) struct Transaction {
    pub(crate) posted_at: Timestamp,
    pub(crate) row: Value,
    pub(crate) entries: Vec<Value>,
}

/// An amount with its currency's decimals, exactly.
pub(super) fn exact(amount: Money) -> Value {
    json!(amount.to_decimal().to_string())
}
