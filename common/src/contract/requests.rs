//! Published by `ingress`: what a person or a program asked for over the API.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Payload;
use crate::clock::Timestamp;
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
    /// The ledger's version that the amount was worked out from: it is booked only while that is the newest, and refused
    /// afterwards. Absent: it is booked on top of whatever was booked since
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basis_version: Option<i64>,
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

/// Look at an organization's balance now: its policy, its card or a pause changed, or somebody hinted that little is left.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EvaluateRequestedV1 {
    /// Why, as a stable word: `policy_changed`, `card_changed`, `resumed`, `hint`
    pub reason: String,
    /// Who asked
    pub requested_by: String,
}

impl Payload for EvaluateRequestedV1 {
    const KIND: &'static str = "requests.evaluate";
    const TYPE: &'static str = "bill.request.evaluate.v1";
    const PUBLISHER: &'static str = "ingress";
    const SUMMARY: &'static str = "Look at an organization's balance now.";
}

/// Read a recharge's payment at Stripe again: the customer came back from the bank's page, or a person asks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RecheckRequestedV1 {
    /// Which recharge
    pub recharge_id: RechargeId,
    /// Who asked
    pub requested_by: String,
}

impl Payload for RecheckRequestedV1 {
    const KIND: &'static str = "requests.recheck";
    const TYPE: &'static str = "bill.request.recheck.v1";
    const PUBLISHER: &'static str = "ingress";
    const SUMMARY: &'static str = "Read a recharge's payment at Stripe again.";
}

/// Compare all books: Stripe, the recharge records, the ledger, the quota backend. Each service compares its part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ReconcileRequestedV1 {
    /// The run that the findings belong to
    pub run_id: String,
    /// What happened at Stripe since then is compared; balances are compared whole
    pub since: Timestamp,
    /// Who asked; `schedule` for the hourly one
    pub requested_by: String,
}

impl Payload for ReconcileRequestedV1 {
    const KIND: &'static str = "requests.reconcile";
    const TYPE: &'static str = "bill.request.reconcile.v1";
    const PUBLISHER: &'static str = "ingress";
    const SUMMARY: &'static str = "Compare Stripe, records, ledger and quota backend.";
}
