//! THE contract: every stream, subject and payload that travels over the broker. `recharges.>`, `ledger.>` and
//! `quotas.>` are public: other teams subscribe to them. JSON Schemas and the AsyncAPI document in `nats/` are generated
//! from here (`cargo xtask schemas`), and a test fails when they differ.
//!
//! A payload that is no longer sent stays, with a comment saying who may still hold it. A change that an old reader would
//! not understand is a new type `…V2` beside the old one.

mod dead_letters;
mod envelope;
mod ledger;
mod queries;
mod quotas;
mod recharges;
mod requests;
pub mod schemas;
mod trace;
mod webhooks;

pub use dead_letters::{DeadLetterHeaders, dead_letter_id, dead_letter_subject};
pub use envelope::{Event, Outgoing, Payload, kind_of, organization_of};
pub use ledger::{LedgerCreditedV1, LedgerHeldV1, LedgerReversedV1, PostingKind};
pub use queries::{
    PolicyChangesV1, Query, SimulatedDecisionV1, SimulatedEventV1, SimulatedRechargeV1, SimulatedReplayV1,
    SimulatedSkipV1, SimulationRequestV1, SimulationV1, TargetBasisV1, Would,
};
pub use quotas::{QuotaAdoptedV1, QuotaFailedV1, QuotaLowV1, QuotaSyncedV1};
pub use recharges::{
    DeclineClass, DisputeStage, RechargeActionRequiredV1, RechargeChargedV1, RechargeDeclinedV1, RechargeDisputedV1,
    RechargeRefundFailedV1, RechargeRefundedV1, RechargeSettledV1, RechargeSkippedV1, RefundCause, SkipReason,
    TriggerKind,
};
pub use requests::{
    AdjustRequestedV1, EvaluateRequestedV1, RechargeRequestedV1, RecheckRequestedV1, ReconcileRequestedV1,
    RefundRequestedV1, SyncRequestedV1,
};
pub use trace::TraceContext;
pub use webhooks::{IgnoredWebhookV1, LimitExceededV1, LimitSource, LowBalanceHintV1, StripeEventV1};

/// The subject token of an event whose organization is not known yet. No organization can have this id.
pub const UNRESOLVED: &str = "@unresolved";

/// The names of the streams; their settings stand in `nats/streams.json`.
pub mod streams {
    /// What came in from outside, verified.
    pub const WEBHOOKS: &str = "WEBHOOKS";
    /// What people asked for.
    pub const REQUESTS: &str = "REQUESTS";
    /// What became of recharges. Public.
    pub const RECHARGES: &str = "RECHARGES";
    /// What was booked. Public.
    pub const LEDGER: &str = "LEDGER";
    /// What the quota backend was told. Public.
    pub const QUOTAS: &str = "QUOTAS";
    /// What could not be handled.
    pub const DEAD_LETTERS: &str = "DEAD_LETTERS";
    /// What the broker itself says of messages that it no longer delivers: the net under the consumer loop.
    pub const ADVISORIES: &str = "ADVISORIES";

    /// The stream that holds a subject.
    #[must_use]
    pub fn of(subject: &str) -> Option<&'static str> {
        Some(match subject.split('.').next()? {
            "webhooks" => WEBHOOKS,
            "requests" => REQUESTS,
            "recharges" => RECHARGES,
            "ledger" => LEDGER,
            "quotas" => QUOTAS,
            "dead" => DEAD_LETTERS,
            "$JS" => ADVISORIES,
            _ => return None,
        })
    }
}
