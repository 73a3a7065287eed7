//! Recharges, refunds, disputes and events as the API shows them.

use common::clock::Timestamp;
use common::ids::EventId;
use common::money::Currency;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Number, Value};
use uuid::Uuid;

use super::steps::Step;
use crate::outcome::view::RefundAnswer;

/// One attempt to buy quota. Rows from before Bill-Service know little; theirs stay null.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Recharge")]
pub(crate) struct RechargeView {
    pub(super) recharge_id: Uuid,
    /// Whose it is.
    pub(super) c_organization_id: Option<String>,
    /// The quota that was, or is to be, bought.
    pub(super) amount: Number,
    /// What is charged on top of it.
    pub(super) fee: Number,
    /// What is charged.
    pub(super) total_charge: Option<Number>,
    /// What all of these are amounts of.
    pub(super) currency: Currency,
    /// Where it stands: pending, processing, action_required, charged, credited, settled, declined, failed, refunding,
    /// refunded or returning.
    pub(super) status: Option<String>,
    /// What caused it: webhook, sweep or manual.
    pub(super) triggered_by: String,
    /// Whether a webhook caused it.
    pub(super) triggered_by_webhook: bool,
    /// The webhook's event.
    pub(super) webhook_event_id: Option<String>,
    /// Stripe's id of the payment.
    pub(super) payment_intent_id: Option<String>,
    /// When it was claimed.
    pub(super) created_at: Option<Timestamp>,
    /// When the quota was in force.
    pub(super) settled_at: Option<Timestamp>,
    /// The quota that was in force then.
    pub(super) new_quota: Option<Number>,
    /// Why it was not charged, or not yet.
    pub(super) failure: Option<Failure>,
    /// The quota of it that went back so far.
    pub(super) refunded_amount: Number,
    /// What of the charge went back so far.
    pub(super) refunded_total: Number,
    /// What made it go back: credit_overdue, sync_failed, requested, dashboard or payment_failed.
    pub(super) undo_cause: Option<String>,
    /// The same as a sentence.
    pub(super) undo_reason: Option<String>,
    #[serde(flatten)]
    pub(super) confirmation: Option<Confirmation>,
}

/// Where the customer confirms it. Only there while it waits for that.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Confirmation {
    /// The page.
    pub(super) confirmation_url: String,
    /// Until when.
    pub(super) expires_at: Option<Timestamp>,
}

/// Why it was not charged.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(rename = "ChargeFailure")]
pub(crate) struct Failure {
    /// Stripe's code, or ours.
    pub(super) code: Option<String>,
    /// The bank's word for it.
    pub(super) decline_code: Option<String>,
    /// The bank's advice.
    pub(super) advice_code: Option<String>,
    /// Whether it may pass: soft, hard and so on.
    pub(super) class: Option<String>,
    /// A sentence.
    pub(super) message: Option<String>,
    /// Whether automatic recharge was paused because of it.
    pub(super) paused: bool,
}

/// A recharge with the steps of its chain, as far as its own record tells them.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "RechargeWithSteps")]
pub(crate) struct ChainView {
    #[serde(flatten)]
    pub(super) recharge: RechargeView,
    /// The event that caused it.
    pub(super) trigger_event_id: Option<String>,
    /// The event that the whole chain began with: messages and logs name it.
    pub(super) correlation_id: Option<String>,
    /// Stripe's id of the charge.
    pub(super) charge_id: Option<String>,
    /// The ledger's version in which it was credited.
    pub(super) ledger_version: Option<i64>,
    /// What happened, in the order of time.
    pub(super) steps: Vec<Step>,
}

/// A recharge with its whole chain: why it was made, what was charged and booked, when it was in force, and what went
/// back.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "RechargeInFull")]
pub(crate) struct FullChain {
    #[serde(flatten)]
    pub(crate) chain: ChainView,
    /// What went back of it, or is to, in the order in which it was asked for.
    pub(crate) refunds: Vec<RefundView>,
    /// What of it was disputed.
    pub(crate) disputes: Vec<DisputeView>,
}

/// A refund.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Refund")]
pub(crate) struct RefundView {
    /// What it derives from: `undo:…`, `request:<event>` or `stripe:<refund>`.
    pub(super) refund_key: String,
    /// Stripe's id of it; null: it was not made yet.
    pub(super) refund_id: Option<String>,
    /// Where it stands: requested, pending, succeeded or failed.
    pub(super) status: String,
    /// What made it necessary: credit_overdue, sync_failed, requested, dashboard or payment_failed.
    pub(super) cause: String,
    /// The same as a sentence.
    pub(super) reason: String,
    /// Who asked for it; null: nobody had to.
    pub(super) requested_by: Option<String>,
    /// The quota that goes with it.
    pub(super) amount: Number,
    /// What the customer gets back.
    pub(super) total: Number,
    pub(super) currency: String,
    /// How often Stripe was asked.
    pub(super) tries: i32,
    /// What Stripe said last, if it was no.
    pub(super) last_error: Option<String>,
    pub(super) created_at: Timestamp,
    /// When it succeeded, or failed for good.
    pub(super) ended_at: Option<Timestamp>,
}

/// A dispute.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Dispute")]
pub(crate) struct DisputeView {
    /// Stripe's id of it.
    pub(super) dispute_id: String,
    /// Where it stands: opened, won or lost.
    pub(super) stage: String,
    /// The bank's word for why.
    pub(super) reason: String,
    /// The quota that it is about.
    pub(super) amount: Number,
    /// What of the charge it is about.
    pub(super) total: Number,
    pub(super) currency: String,
    pub(super) opened_at: Timestamp,
    /// When it was won or lost.
    pub(super) closed_at: Option<Timestamp>,
}

/// Something that came in, and what was decided about it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Event")]
pub(crate) struct EventView {
    pub(super) event_id: String,
    /// Where it is from: litellm, stripe, api or sweep.
    pub(super) source: String,
    /// What the sender calls it.
    pub(super) event_type: String,
    pub(super) c_organization_id: Option<String>,
    pub(super) litellm_team_id: Option<String>,
    /// The event that the chain began with: itself, but where it followed from another.
    pub(super) correlation_id: String,
    /// When it happened, as its sender says.
    pub(super) occurred_at: Option<Timestamp>,
    pub(super) received_at: Timestamp,
    /// What was decided: charge, skipped, recorded or refund.
    pub(super) decision: String,
    /// Why, as a stable word.
    pub(super) reason: Option<String>,
    /// Why, as a sentence with its numbers.
    pub(super) message: Option<String>,
    /// The recharge that it led to, or that was in its way.
    pub(super) recharge_id: Option<Uuid>,
    pub(super) decided_at: Timestamp,
    /// What the sender sent.
    pub(super) payload: Value,
}

/// Where an event got to.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum EventStatus {
    Recorded(Box<RecordedStatus>),
    Refund(Box<RefundStatus>),
    Synced(SyncStatus),
    Quota(QuotaStatus),
    Unconfirmed(UnconfirmedStatus),
    Remembered(RememberedStatus),
}

impl EventStatus {
    /// Whose event it is.
    pub(crate) fn organization(&self) -> Option<&str> {
        match self {
            Self::Recorded(status) => status.c_organization_id.as_deref(),
            Self::Refund(status) => Some(&status.c_organization_id),
            Self::Synced(status) => Some(&status.c_organization_id),
            Self::Quota(status) => Some(&status.c_organization_id),
            Self::Unconfirmed(status) => Some(&status.c_organization_id),
            Self::Remembered(status) => status.c_organization_id.as_deref(),
        }
    }
}

/// A sync, or an earlier quota that is put back, which is not in force at the backend.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct QuotaStatus {
    pub(crate) event_id: EventId,
    /// `booked`: the ledger has it, and it is being pushed. `refused`: the books changed before it was booked, so it never
    /// will be. `failed`: the backend did not take it in time; the sweep goes on trying.
    pub(crate) state: &'static str,
    pub(crate) c_organization_id: String,
    /// When that happened; null: nobody noted it.
    pub(crate) at: Option<Timestamp>,
    /// What the backend said last, or what to do.
    pub(crate) message: Option<String>,
}

/// It was looked at. Once its chain has ended, what its sender would have been told stands beside the rest.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct RecordedStatus {
    pub(super) event_id: String,
    /// `decided`, the status of its recharge, or the decision.
    pub(super) state: String,
    pub(super) c_organization_id: Option<String>,
    /// Where it is from: litellm, stripe, api or sweep.
    pub(super) source: String,
    /// What the sender calls it.
    pub(super) event_type: String,
    pub(super) received_at: Timestamp,
    pub(super) decided_at: Timestamp,
    /// What was decided: charge, skipped, recorded or refund.
    pub(super) decision: String,
    /// Why, as a stable word, or as the bank's.
    pub(super) reason: Option<String>,
    /// The same as a sentence.
    pub(super) message: Option<String>,
    /// The recharge that it led to, or that was in its way.
    pub(super) recharge_id: Option<Uuid>,
    /// The recharge that it led to.
    pub(super) recharge: Option<ChainView>,
    /// The fields of the answer, where it has ended.
    #[serde(flatten)]
    #[schemars(with = "EndFields")]
    pub(super) end: Map<String, Value>,
}

/// What an ended chain adds. Which of these are there is up to the `action`.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is used")]
struct EndFields {
    /// Whether what was asked for is done.
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    success: Option<bool>,
    /// What was done: auto_recharged, declined, action_required, skipped, refunded and so on.
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    action: Option<String>,
    /// By how much the quota was raised.
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    recharged_amount: Option<Number>,
    /// The quota that is in force.
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    new_quota: Option<Number>,
    /// Whether a decline may pass: soft, hard and so on.
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    class: Option<String>,
    /// Whether automatic recharge was paused.
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    paused: Option<bool>,
    /// The quota that it was about.
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    amount: Option<Number>,
    /// What went back.
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    refunded_total: Option<Number>,
    /// Stripe's id of the refund.
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    refund_id: Option<String>,
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    currency: Option<Currency>,
    /// Where the customer confirms it.
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    confirmation_url: Option<String>,
    /// Until when.
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    expires_at: Option<Timestamp>,
}

/// A refund that was asked for.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct RefundStatus {
    pub(super) event_id: EventId,
    /// Where it got to.
    #[schemars(extend("enum" = ["refunding", "refunded", "refund_failed"]))]
    pub(super) state: &'static str,
    pub(super) c_organization_id: String,
    pub(super) recharge_id: Uuid,
    pub(super) refund: RefundView,
    /// What the caller would have been told; absent: it has not ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) outcome: Option<RefundAnswer>,
}

/// A push of the quota that was asked for, and that is in force.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct SyncStatus {
    pub(super) event_id: EventId,
    #[schemars(extend("const" = "synced"))]
    pub(super) state: &'static str,
    pub(super) c_organization_id: String,
    /// The quota backend: kms or litellm.
    pub(super) backend: String,
    /// The ledger's version that it is the quota of.
    pub(super) ledger_version: i64,
    /// The quota that is in force.
    pub(super) quota: Number,
    /// Whether the backend had another quota before.
    pub(super) changed: bool,
    pub(super) litellm_team_id: Option<String>,
    pub(super) synced_at: Timestamp,
}

/// It was asked for, and nobody has said anything of it yet: it may be on its way, or have got lost before the broker had
/// it.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct UnconfirmedStatus {
    pub(crate) event_id: EventId,
    #[schemars(extend("const" = "unconfirmed"))]
    pub(crate) state: &'static str,
    pub(crate) c_organization_id: String,
    /// The call in words.
    pub(crate) request: String,
    pub(crate) requested_at: Timestamp,
    /// What to do.
    pub(crate) message: &'static str,
}

/// It was accepted, and no table knows it yet.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct RememberedStatus {
    pub(crate) event_id: EventId,
    /// `accepted`, or how it ended.
    #[schemars(extend("enum" = ["accepted", "settled", "declined", "action_required", "skipped", "refunded",
                               "refund_failed", "synced", "failed"]))]
    pub(crate) state: &'static str,
    /// What kind of event it is, such as `webhooks.litellm.limit-exceeded`.
    pub(crate) kind: &'static str,
    pub(crate) c_organization_id: Option<String>,
    pub(crate) received_at: Timestamp,
}
