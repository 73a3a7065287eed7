//! How a chain ended, as callers are told. An answer says `success` only when what was asked for is done.

use common::clock::Timestamp;
use common::ids::{EventId, RechargeId, TeamId};
use common::money::Currency;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Number;

/// What the sender of a webhook is told in the end.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum WebhookAnswer {
    Recharged(AutoRecharged),
    NoRecharge(NoRecharge),
    Otherwise(Otherwise),
}

/// The quota was raised.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct AutoRecharged {
    #[schemars(extend("const" = true))]
    pub(super) success: bool,
    #[schemars(extend("const" = "auto_recharged"))]
    pub(super) action: &'static str,
    /// By how much.
    pub(super) recharged_amount: Number,
    /// The event that the webhook became.
    pub(super) event_id: EventId,
    /// The recharge.
    pub(super) recharge_id: RechargeId,
    /// The quota that is in force; null: not known here.
    pub(super) new_quota: Option<Number>,
}

/// The organization is not recharged by itself. The event is recorded.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct NoRecharge {
    message: &'static str,
    #[schemars(extend("const" = "none"))]
    action: &'static str,
    /// The event that the webhook became.
    event_id: EventId,
}

impl NoRecharge {
    pub(crate) fn of(event_id: EventId) -> Self {
        Self { message: "Auto recharge disabled", action: "none", event_id }
    }
}

/// What the caller of a manual recharge is told.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum RechargeAnswer {
    Recharged(Recharged),
    Otherwise(Otherwise),
}

/// The card was charged and the quota raised.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Recharged {
    #[schemars(extend("const" = true))]
    pub(super) success: bool,
    #[schemars(extend("const" = "recharged"))]
    pub(super) action: &'static str,
    /// By how much the quota was raised.
    pub(super) recharged_amount: Number,
    /// What was charged on top of it.
    pub(super) fee: Number,
    /// What was charged.
    pub(super) total_charge: Number,
    /// What all of these are amounts of.
    pub(super) currency: Currency,
    /// The event that the call became.
    pub(super) event_id: EventId,
    /// The recharge.
    pub(super) recharge_id: RechargeId,
    /// The quota that is in force; null: not known here.
    pub(super) new_quota: Option<Number>,
}

/// What the caller of a refund is told.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum RefundAnswer {
    Refunded(Refunded),
    Otherwise(Otherwise),
}

/// The money went back and the quota was taken back.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Refunded {
    #[schemars(extend("const" = true))]
    pub(super) success: bool,
    #[schemars(extend("const" = "refunded"))]
    pub(super) action: &'static str,
    /// Stripe's id of the refund; null: not known here.
    pub(super) refund_id: Option<String>,
    /// The quota that was taken back.
    pub(super) refunded_amount: Number,
    /// What the customer got back.
    pub(super) refunded_total: Number,
    /// What both are amounts of.
    pub(super) currency: Currency,
    /// Why.
    pub(super) reason: String,
    /// The event that the call became.
    pub(super) event_id: EventId,
    /// The recharge.
    pub(super) recharge_id: RechargeId,
}

/// What the caller of a sync is told.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum SyncAnswer {
    InForce(QuotaInForce),
    Refused(QuotaRefused),
    Otherwise(Otherwise),
}

/// The quota backend enforces the ledger's quota.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct QuotaInForce {
    #[schemars(extend("const" = true))]
    pub(super) success: bool,
    /// The quota that is in force.
    pub(super) quota: Number,
    /// The ledger's version that it is the quota of; 0: nothing is booked yet.
    pub(super) ledger_version: i64,
    /// The organization's team there; null: the backend has not said.
    pub(super) litellm_team_id: Option<TeamId>,
    /// Whether the backend had another quota before.
    pub(super) changed: bool,
    /// The event that the call became.
    pub(super) event_id: EventId,
}

/// The quota backend would not have it in time.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct QuotaRefused {
    #[schemars(extend("const" = false))]
    pub(super) success: bool,
    #[schemars(extend("const" = "backend_refused"))]
    pub(super) reason: &'static str,
    /// What the backend said last.
    pub(super) message: String,
    /// The quota that should be in force.
    pub(super) quota: Number,
    /// The ledger's version that it is the quota of.
    pub(super) ledger_version: i64,
    /// The event that the call became.
    pub(super) event_id: EventId,
}

/// It was done, or it was not; if not, the `action` says what was done instead, and the `reason` is a stable word or the
/// words of whoever refused.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Otherwise {
    Not(NotDone),
    Done(Done),
}

/// It is done.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Done {
    #[schemars(extend("const" = true))]
    pub(super) success: bool,
    /// The event that the call became.
    pub(super) event_id: EventId,
}

/// Why it was not done.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(tag = "action", rename_all = "snake_case")]
pub(crate) enum NotDone {
    /// The bank said no. Nothing was charged.
    Declined {
        #[schemars(extend("const" = false))]
        success: bool,
        /// The bank's word for it, or Stripe's.
        reason: String,
        /// A sentence.
        message: String,
        /// Whether it may pass: soft, hard and so on; null: not known here.
        class: Option<String>,
        /// Whether automatic recharge was paused because of it.
        paused: bool,
        /// The quota that would have been bought.
        amount: Number,
        currency: Currency,
        recharge_id: RechargeId,
        /// The event that the call became.
        event_id: EventId,
    },
    /// The bank wants the customer to confirm. Nothing was charged.
    ActionRequired {
        #[schemars(extend("const" = false))]
        success: bool,
        #[schemars(extend("const" = "authentication_required"))]
        reason: &'static str,
        /// A sentence.
        message: String,
        /// The page where the customer does it; null: not known here.
        confirmation_url: Option<String>,
        /// Until when.
        expires_at: Option<Timestamp>,
        /// The quota that will be bought.
        amount: Number,
        currency: Currency,
        recharge_id: RechargeId,
        /// The event that the call became.
        event_id: EventId,
    },
    /// Nothing was tried, for a reason.
    Skipped {
        #[schemars(extend("const" = false))]
        success: bool,
        /// A stable word.
        reason: String,
        /// A sentence.
        message: String,
        /// The recharge that was in its way, if one was.
        recharge_id: Option<RechargeId>,
        /// The event that the call became.
        event_id: EventId,
    },
    /// The card was charged, and the charge was given back.
    Refunded {
        #[schemars(extend("const" = false))]
        success: bool,
        /// Why.
        reason: String,
        /// A sentence.
        message: &'static str,
        /// The quota that went with it.
        amount: Number,
        /// What the customer got back.
        refunded_total: Number,
        /// Stripe's id of the refund; null: not known here.
        refund_id: Option<String>,
        currency: Currency,
        recharge_id: RechargeId,
        /// The event that the call became.
        event_id: EventId,
    },
    /// The refund did not work yet.
    RefundFailed {
        #[schemars(extend("const" = false))]
        success: bool,
        /// What Stripe said last.
        reason: String,
        /// How often it was tried.
        attempts: u32,
        /// A sentence.
        message: &'static str,
        /// What the customer is to get back.
        refunded_total: Number,
        currency: Currency,
        recharge_id: RechargeId,
        /// The event that the call became.
        event_id: EventId,
    },
    /// The quota backend would not have the quota.
    Failed {
        #[schemars(extend("const" = false))]
        success: bool,
        #[schemars(extend("const" = "backend_refused"))]
        reason: &'static str,
        /// What the backend said last.
        message: String,
        /// The event that the call became.
        event_id: EventId,
    },
}
