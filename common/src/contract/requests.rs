//! Published by `ingress`: what a person or a program asked for over the API.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Payload;
use crate::ids::{RechargeId, TeamId};
use crate::money::Money;

/// A manual recharge.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RechargeRequestedV1 {
    /// How much quota to buy
    pub amount: Money,
    /// Who asked
    pub requested_by: String,
}

impl Payload for RechargeRequestedV1 {
    const KIND: &'static str = "requests.recharge";
    const TYPE: &'static str = "bill.request.recharge.v1";
    const PUBLISHER: &'static str = "ingress";
    const SUMMARY: &'static str = "Somebody asked for a recharge of a given amount.";
}

/// A refund by a person.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RefundRequestedV1 {
    /// Which recharge
    pub recharge_id: RechargeId,
    /// How much of the quota to give back; all of it when absent
    pub amount: Option<Money>,
    /// Why
    pub reason: String,
    /// Who asked
    pub requested_by: String,
}

impl Payload for RefundRequestedV1 {
    const KIND: &'static str = "requests.refund";
    const TYPE: &'static str = "bill.request.refund.v1";
    const PUBLISHER: &'static str = "ingress";
    const SUMMARY: &'static str = "Somebody asked for a refund of a recharge.";
}

/// A correction of the ledger by a person.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AdjustRequestedV1 {
    /// By how much the quota changes; negative takes away
    pub amount: Money,
    /// Why
    pub reason: String,
    /// Who asked
    pub requested_by: String,
}

impl Payload for AdjustRequestedV1 {
    const KIND: &'static str = "requests.adjust";
    const TYPE: &'static str = "bill.request.adjust.v1";
    const PUBLISHER: &'static str = "ingress";
    const SUMMARY: &'static str = "Somebody asked for a correction of the ledger.";
}

/// Push the quota to the backend now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SyncRequestedV1 {
    /// Who asked
    pub requested_by: String,
    /// The team that the organization is linked to, as far as ingress knows
    pub litellm_team_id: Option<TeamId>,
}

impl Payload for SyncRequestedV1 {
    const KIND: &'static str = "requests.sync";
    const TYPE: &'static str = "bill.request.sync.v1";
    const PUBLISHER: &'static str = "ingress";
    const SUMMARY: &'static str = "Somebody asked that the quota be pushed to the backend now.";
}
