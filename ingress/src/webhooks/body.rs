//! What webhooks carry, for the documentation, and what their senders are told at once.

use common::ids::{EventId, OrganizationId, TeamId};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::api::schemas::{Moment, Quantity};

/// A team is over its limit. Fields that are not named here are kept with the event and mean nothing.
#[derive(JsonSchema)]
#[schemars(rename = "LimitExceeded")]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) struct LimitExceededBody {
    #[schemars(extend("const" = "limit_exceeded"))]
    event_type: String,
    /// The team.
    team_id: TeamId,
    /// What it has spent.
    current_usage: Quantity,
    /// What it may spend.
    current_limit: Quantity,
    /// How much too much that is.
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    exceeded_by: Option<Quantity>,
    /// When it happened.
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    timestamp: Option<Moment>,
    /// Whose it is, where nobody has the team.
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    organization_id: Option<OrganizationId>,
}

/// An alert as LiteLLM sends it. Any JSON is taken; these fields are looked at.
#[derive(JsonSchema)]
#[schemars(untagged, rename = "LitellmAlert")]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) enum AlertBody {
    Alert(AlertFields),
    Anything(Value),
}

/// What is looked at.
#[derive(JsonSchema)]
#[schemars(rename = "LitellmAlertFields")]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) struct AlertFields {
    /// What happened; `budget_crossed` and `max_budget_alert` are a reason to recharge, where the group is `team`.
    event: String,
    /// What it happened to: team, key and so on.
    event_group: String,
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    team_id: Option<String>,
    /// What was spent.
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    spend: Option<Quantity>,
    /// What may be spent.
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    max_budget: Option<Quantity>,
}

/// An alert was taken.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct AlertReceived {
    #[schemars(extend("const" = true))]
    received: bool,
    /// The event that it became. Copies of one alert become one event.
    event_id: EventId,
    /// What is done about it.
    #[schemars(extend("enum" = ["recharge_considered", "hint", "ignored"]))]
    action: &'static str,
    /// Why it is ignored.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl AlertReceived {
    pub(super) fn of(event_id: EventId, action: &'static str, reason: Option<String>) -> Self {
        Self { received: true, event_id, action, reason }
    }
}

/// An event as Stripe sends it. These fields are looked at; of the object, only ids.
#[derive(JsonSchema)]
#[schemars(rename = "StripeEvent")]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) struct StripeEventBody {
    #[schemars(regex(pattern = "^[!-~]{1,255}$"))]
    id: String,
    #[schemars(rename = "type", regex(pattern = "^[!-~]{1,255}$"))]
    kind: String,
    /// What changed. Of the types that are handled, `data.object.id` must be there.
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    data: Option<Value>,
}

/// An event of Stripe's was taken.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct StripeEventReceived {
    #[schemars(extend("const" = true))]
    received: bool,
    /// `ignored`: nobody does anything about events of this type.
    #[schemars(extend("enum" = ["accepted", "ignored"]))]
    action: &'static str,
    /// The event that it became.
    #[serde(skip_serializing_if = "Option::is_none")]
    event_id: Option<EventId>,
    /// Stripe's id of the event that is ignored.
    #[serde(skip_serializing_if = "Option::is_none")]
    stripe_event_id: Option<String>,
}

impl StripeEventReceived {
    pub(super) fn accepted(event_id: EventId) -> Self {
        Self { received: true, action: "accepted", event_id: Some(event_id), stripe_event_id: None }
    }

    pub(super) fn ignored(stripe_event_id: String) -> Self {
        Self { received: true, action: "ignored", event_id: None, stripe_event_id: Some(stripe_event_id) }
    }
}
