//! Comparisons of the books as the API shows them.

use common::clock::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

/// A comparison of all books.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Reconciliation")]
pub(crate) struct RunView {
    pub(super) run_id: String,
    /// From when on everything is compared.
    pub(super) since: Timestamp,
    /// Who asked for it.
    pub(super) requested_by: String,
    pub(super) requested_at: Timestamp,
    /// Whether every part is there.
    pub(super) finished: bool,
    /// Whether parts are missing, and nobody waits for them any more.
    pub(super) given_up: bool,
    /// So many of the three parts are finished.
    pub(super) parts_finished: i64,
    /// So many things were compared.
    pub(super) checked: i64,
    /// So many disagreements were found.
    pub(super) findings: i64,
    /// So many of them were repaired.
    pub(super) repaired: i64,
    /// So many of them need a person.
    pub(super) reported: i64,
}

/// A finished part of a comparison.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ReconciliationPart")]
pub(crate) struct PartView {
    /// charges (Stripe and records), bookings (records and ledger) or quotas (ledger and backend).
    pub(super) part: String,
    /// So many things were compared.
    pub(super) checked: i64,
    /// So many disagreements were found.
    pub(super) findings: i64,
    pub(super) finished_at: Timestamp,
}

/// A disagreement.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Finding")]
pub(crate) struct FindingView {
    /// Grows from finding to finding.
    pub(super) id: i64,
    /// The part that found it.
    pub(super) part: String,
    /// What it is, as a stable word such as quota_drift.
    pub(super) kind: String,
    /// Whom it is about, if about one.
    pub(super) c_organization_id: Option<String>,
    pub(super) recharge_id: Option<Uuid>,
    /// What it is about at the other side: a payment intent, a refund, a ledger transaction.
    pub(super) reference: Option<String>,
    /// What should be there.
    pub(super) expected: Option<String>,
    /// What is there.
    pub(super) found: Option<String>,
    /// What was done about it: repaired, or reported where a person must decide.
    pub(super) action: String,
    /// A sentence.
    pub(super) detail: String,
    pub(super) found_at: Timestamp,
}

/// A comparison with its parts and a page of what it found.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ReconciliationInFull")]
pub(crate) struct FullRun {
    #[serde(flatten)]
    pub(crate) run: RunView,
    /// The parts that are finished.
    pub(crate) parts: Vec<PartView>,
    /// A page of findings.
    pub(crate) items: Vec<FindingView>,
    /// What to ask for the next page with; null: there is none.
    pub(crate) next_cursor: Option<String>,
}

/// A comparison that was begun and has not ended.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ReconciliationBegun")]
pub(crate) struct Begun {
    #[schemars(extend("const" = true))]
    pub(crate) accepted: bool,
    pub(crate) run_id: String,
    /// Where to ask what came of it.
    pub(crate) status_url: String,
}
