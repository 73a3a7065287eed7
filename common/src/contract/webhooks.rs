//! Published by `ingress`: what came in from outside, verified.

use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Payload;
use crate::clock::Timestamp;
use crate::ids::{OrganizationId, RechargeId, TeamId};

/// Which of the two ways a limit-exceeded webhook came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LimitSource {
    /// Signed, from the KMS: `/webhooks/litellm/limit-exceeded`.
    LimitExceeded,
    /// LiteLLM's own alerting: `/webhooks/litellm/alerts/<token>`.
    LitellmAlert,
}

/// A team is over its limit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LimitExceededV1 {
    /// How it came in
    pub source: LimitSource,
    /// The sender's name for the event: `limit_exceeded`, `budget_crossed`, `max_budget_alert`
    pub event_type: String,
    /// The team that the sender named
    pub team_id: TeamId,
    /// The organization that the sender named, if any
    pub organization_id: Option<OrganizationId>,
    /// What the team has spent in total
    #[schemars(with = "String")]
    pub current_usage: Decimal,
    /// The limit that was in force when it was exceeded
    #[schemars(with = "String")]
    pub current_limit: Decimal,
    /// By how much the limit is exceeded, as the sender says
    #[schemars(with = "Option<String>")]
    pub exceeded_by: Option<Decimal>,
    /// When it happened, as the sender says
    pub occurred_at: Option<Timestamp>,
    /// The body as it was received, for the event log
    pub raw: serde_json::Value,
}

impl Payload for LimitExceededV1 {
    const KIND: &'static str = "webhooks.litellm.limit_exceeded";
    const TYPE: &'static str = "bill.webhook.litellm.limit_exceeded.v1";
    const PUBLISHER: &'static str = "ingress";
    const SUMMARY: &'static str = "A verified webhook says that a team exceeded its limit.";
}

/// LiteLLM says that a team comes near its limit: a reason to look at the balance now, not to recharge blindly.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LowBalanceHintV1 {
    /// The sender's name for the event, such as `threshold_crossed`
    pub event_type: String,
    /// The team that the sender named
    pub team_id: TeamId,
    /// The body as it was received, for the event log
    pub raw: serde_json::Value,
}

impl Payload for LowBalanceHintV1 {
    const KIND: &'static str = "webhooks.litellm.hint";
    const TYPE: &'static str = "bill.webhook.litellm.hint.v1";
    const PUBLISHER: &'static str = "ingress";
    const SUMMARY: &'static str = "A team comes near its limit: look at the balance now.";
}

/// A webhook that is recorded and not acted on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct IgnoredWebhookV1 {
    /// Why it is not acted on
    pub reason: String,
    /// The sender's name for the event, if it has one
    pub event_type: Option<String>,
    /// The team that the sender named, if any
    pub team_id: Option<String>,
    /// The body as it was received, for the event log
    pub raw: serde_json::Value,
}

impl Payload for IgnoredWebhookV1 {
    const KIND: &'static str = "webhooks.litellm.ignored";
    const TYPE: &'static str = "bill.webhook.litellm.ignored.v1";
    const PUBLISHER: &'static str = "ingress";
    const SUMMARY: &'static str = "A verified webhook that is recorded and not acted on.";
}

/// Stripe says that an object changed: a hint to read the object again, never its state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StripeEventV1 {
    /// Stripe's event id
    pub stripe_event_id: String,
    /// Stripe's event type, such as `charge.refunded`
    pub stripe_type: String,
    /// The object that changed
    pub object_id: String,
    /// Its payment intent, if it has one
    pub payment_intent_id: Option<String>,
    /// Its customer, if it has one
    pub customer_id: Option<String>,
    /// The recharge that its metadata names, if any
    #[serde(default)]
    pub recharge_id: Option<RechargeId>,
}

impl Payload for StripeEventV1 {
    const KIND: &'static str = "webhooks.stripe.event";
    const TYPE: &'static str = "bill.webhook.stripe.event.v1";
    const PUBLISHER: &'static str = "ingress";
    const SUMMARY: &'static str = "Stripe says that an object changed.";
}
