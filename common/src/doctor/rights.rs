//! What each service's SQL needs, as migrations grant it to its role. A test compares this with both.

/// Rights, and the tables that they are needed on. A right to some of a table's columns is one, too.
pub type Rights = (&'static [&'static str], &'static [&'static str]);

const READ: &[&str] = &["SELECT"];
const ADD: &[&str] = &["SELECT", "INSERT"];
const CHANGE: &[&str] = &["SELECT", "INSERT", "UPDATE"];
const ALL: &[&str] = &["SELECT", "INSERT", "UPDATE", "DELETE"];

/// What ingress needs.
pub const INGRESS: &[Rights] = &[
    (CHANGE, &["organization_balance_config", "api_tokens", "api_requests", "reconciliation_runs"]),
    (ADD, &["users", "audit_log"]),
    (ALL, &["dead_letter_actions"]),
    (&["SELECT", "INSERT", "DELETE"], &["console_sessions"]),
    (READ, &["recharge_records", "webhook_events", "recharge_state", "refunds", "disputes"]),
    (READ, &["ledger_quotas", "ledger_accounts", "ledger_transactions", "ledger_entries"]),
    (READ, &["quota_targets", "quota_syncs", "quota_failures", "usage_snapshots"]),
    (READ, &["reconciliation_parts", "reconciliation_findings"]),
];

/// What recharger needs.
pub const RECHARGER: &[Rights] = &[
    (CHANGE, &["recharge_records", "recharge_state", "refunds", "disputes"]),
    (ADD, &["webhook_events", "reconciliation_parts"]),
    (&["INSERT"], &["reconciliation_findings"]),
    (READ, &["organization_balance_config", "usage_snapshots"]),
];

/// What the ledger needs.
pub const LEDGER: &[Rights] = &[
    (
        ADD,
        &["ledger_organizations", "ledger_accounts", "ledger_transactions", "ledger_entries", "reconciliation_parts"],
    ),
    (&["INSERT"], &["reconciliation_findings"]),
    (READ, &["ledger_quotas", "recharge_records", "refunds"]),
];

/// What the syncer needs.
pub const SYNCER: &[Rights] = &[
    (CHANGE, &["quota_targets"]),
    (ADD, &["quota_syncs", "quota_failures", "reconciliation_parts"]),
    (ALL, &["quota_repairs", "usage_snapshots"]),
    (&["INSERT"], &["reconciliation_findings"]),
    (&["SELECT", "UPDATE"], &["organization_balance_config"]),
    (READ, &["ledger_quotas", "ledger_transactions"]),
];

/// Each right with each of its tables.
pub fn pairs(rights: &'static [Rights]) -> impl Iterator<Item = (&'static str, &'static str)> {
    rights
        .iter()
        .flat_map(|(rights, tables)| rights.iter().flat_map(|right| tables.iter().map(|table| (*right, *table))))
}
