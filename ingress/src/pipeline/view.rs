//! The state of the pipeline as the API shows it.

use common::broker::{self, Progress};
use common::clients::stripe::Mode;
use common::clock::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use crate::reconciliations::view::RunView;

/// How the chain is. What can't be told at the moment is null, and `unknown` says why.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Pipeline")]
pub(crate) struct PipelineView {
    /// When this was looked at.
    pub(super) at: Timestamp,
    /// Every consumer, in the order of the chain.
    pub(super) consumers: Option<Vec<ConsumerView>>,
    pub(super) dead_letters: Option<DeadLettersView>,
    /// Recharges in flight: one line for each place where they may stand, in the order in which they get there.
    pub(super) recharges: Option<Vec<InFlightView>>,
    pub(super) refunds: Option<RefundsView>,
    pub(super) quotas: Option<WaitingView>,
    pub(super) outside: OutsideView,
    pub(super) reconciliation: Option<ReconciliationView>,
    /// What of this can't be told at the moment.
    pub(super) unknown: Vec<Unknown>,
}

/// A part that can't be told.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "UnknownPart")]
pub(crate) struct Unknown {
    /// Its name, such as `outside.stripe`.
    pub(super) part: &'static str,
    /// Why not, as a sentence.
    pub(super) reason: String,
}

/// How far a consumer is with its stream. Numbers are null where a sentence says why they are not known.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Consumer")]
pub(crate) struct ConsumerView {
    stream: String,
    consumer: String,
    /// Whose it is: consumers have the names of their services.
    service: String,
    /// So many messages wait that were never delivered.
    pending: Option<u64>,
    /// So many were delivered and not acknowledged yet.
    ack_pending: Option<u64>,
    /// So many of these were delivered more than once.
    redelivered: Option<u64>,
    /// So many requests for messages wait for one: with none, no replica of the service is there.
    asking: Option<u64>,
    /// When a message was last delivered; null: never, as far as the broker knows.
    last_delivered_at: Option<Timestamp>,
    /// When one was last acknowledged; null: never, as far as the broker knows.
    last_acked_at: Option<Timestamp>,
    /// Why the rest is not known; null: it is.
    problem: Option<String>,
}

impl ConsumerView {
    pub(super) fn of(stream: &str, service: &str, progress: Result<Progress, broker::Unknown>) -> Self {
        let (progress, problem) = match progress {
            Ok(progress) => (Some(progress), None),
            Err(error) => (None, Some(error.to_string())),
        };
        let count = |of: fn(&Progress) -> u64| progress.as_ref().map(of);
        Self {
            stream: stream.to_owned(),
            consumer: service.to_owned(),
            service: service.to_owned(),
            pending: count(|progress| progress.pending),
            ack_pending: count(|progress| progress.ack_pending),
            redelivered: count(|progress| progress.redelivered),
            asking: count(|progress| progress.asking),
            last_delivered_at: progress.as_ref().and_then(|progress| progress.delivered_at),
            last_acked_at: progress.as_ref().and_then(|progress| progress.acked_at),
            problem,
        }
    }
}

/// What was given up and is still there.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "DeadLettersLeft")]
pub(crate) struct DeadLettersView {
    pub(super) count: u64,
    /// When the oldest was parked; null: there is none.
    pub(super) oldest_at: Option<Timestamp>,
}

/// Recharges that stand at one place.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(rename = "RechargesInFlight")]
pub(crate) struct InFlightView {
    /// pending, processing, action_required, charged, credited or refunding.
    pub(super) status: String,
    pub(super) count: i64,
    /// When the oldest was claimed; null: there is none.
    pub(super) oldest_at: Option<Timestamp>,
}

/// Refunds that have not ended.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "RefundsOpen")]
pub(crate) struct RefundsView {
    pub(super) open: i64,
    /// When the oldest was asked for; null: there is none.
    pub(super) oldest_at: Option<Timestamp>,
    /// So many of them are open although Stripe refused them, or the bank sent them back.
    pub(super) failing: i64,
    /// When the oldest of these was asked for; null: there is none.
    pub(super) failing_oldest_at: Option<Timestamp>,
    /// What Stripe said last about one of these, if it said something.
    pub(super) last_error: Option<String>,
}

/// So many organizations wait for the quota backend to have the ledger's quota.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(rename = "QuotasBehind")]
pub(crate) struct WaitingView {
    pub(super) behind: i64,
    /// When the first thing was booked that the backend does not have; null: there is none.
    pub(super) oldest_at: Option<Timestamp>,
}

/// What is not ours.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Outside")]
pub(crate) struct OutsideView {
    pub(super) stripe: Option<StripeView>,
    pub(super) quota_backend: Option<BackendView>,
}

/// Stripe, as our records know it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "StripeSeen")]
pub(crate) struct StripeView {
    /// test: nobody's money moves. live: real cards are charged. As ingress's key says.
    pub(super) mode: Mode,
    /// The last charge that came to something; null: none ever did.
    pub(super) last_answer: Option<StripeAnswer>,
    /// Recharges that wait for Stripe (pending or processing).
    pub(super) waiting_recharges: i64,
    /// Refunds that wait for Stripe.
    pub(super) waiting_refunds: i64,
    /// Since when the oldest of both does; null: there is none.
    pub(super) waiting_since: Option<Timestamp>,
}

/// What a charge came to.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "StripeAnswer")]
pub(crate) struct StripeAnswer {
    /// charged, declined or failed.
    pub(super) outcome: String,
    pub(super) at: Timestamp,
}

/// The quota backend, as our records know it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "QuotaBackendSeen")]
pub(crate) struct BackendView {
    /// When it last answered; null: it never did.
    pub(super) last_success: Option<BackendSuccess>,
    /// The last push that was given up; null: none ever was.
    pub(super) last_failure: Option<BackendFailure>,
    /// So many organizations wait for their quota there.
    pub(super) waiting: i64,
    /// Since when the first of them does; null: there is none.
    pub(super) waiting_since: Option<Timestamp>,
}

/// What worked.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "QuotaBackendSuccess")]
pub(crate) struct BackendSuccess {
    /// push: a quota is in force there. look: usage and quota were read.
    pub(super) what: String,
    pub(super) at: Timestamp,
}

/// A push that was given up.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "QuotaBackendFailure")]
pub(crate) struct BackendFailure {
    /// kms or litellm.
    pub(super) backend: String,
    /// Whose quota it was.
    pub(super) c_organization_id: String,
    /// What the backend said.
    pub(super) reason: String,
    pub(super) at: Timestamp,
}

/// Comparing the books.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "LastReconciliation")]
pub(crate) struct ReconciliationView {
    /// The newest comparison; null: there was none.
    pub(super) last: Option<RunView>,
}
