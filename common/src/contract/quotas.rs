//! Published by `syncer`: what the quota backend was told. Public.

use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Payload;
use crate::ids::{RechargeId, TeamId};
use crate::money::Money;

/// The backend enforces the ledger's quota.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct QuotaSyncedV1 {
    /// Which backend: `kms` or `litellm`
    pub backend: String,
    /// The quota in force now
    #[schemars(with = "String")]
    pub quota: Decimal,
    /// The quota it had before, when known
    #[schemars(with = "Option<String>")]
    pub previous_quota: Option<Decimal>,
    /// The ledger's version of the organization that is in force; 0 before anything was booked
    pub ledger_version: i64,
    /// The team at the backend
    pub litellm_team_id: Option<TeamId>,
    /// Whether the backend had to be changed
    pub changed: bool,
}

impl Payload for QuotaSyncedV1 {
    const KIND: &'static str = "quotas.synced";
    const TYPE: &'static str = "bill.quota.synced.v1";
    const PUBLISHER: &'static str = "syncer";
    const SUMMARY: &'static str = "The backend enforces the ledger's quota.";
}

/// The backend was met for the first time and had a quota already: the ledger books it as an opening credit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct QuotaAdoptedV1 {
    /// Which backend
    pub backend: String,
    /// The quota it had
    pub quota: Money,
    /// The team at the backend
    pub litellm_team_id: Option<TeamId>,
}

impl Payload for QuotaAdoptedV1 {
    const KIND: &'static str = "quotas.adopted";
    const TYPE: &'static str = "bill.quota.adopted.v1";
    const PUBLISHER: &'static str = "syncer";
    const SUMMARY: &'static str = "The backend already had a quota when it was first met; it is kept.";
}

/// The backend could not be brought to the ledger's quota within `SYNC_DEADLINE`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct QuotaFailedV1 {
    /// Which backend
    pub backend: String,
    /// The quota that it should have
    #[schemars(with = "String")]
    pub quota: Decimal,
    /// The ledger's version of the organization
    pub ledger_version: i64,
    /// What the backend said
    pub reason: String,
    /// The recharge whose credit it is about, if it is one
    #[serde(default)]
    pub recharge_id: Option<RechargeId>,
}

impl Payload for QuotaFailedV1 {
    const KIND: &'static str = "quotas.failed";
    const TYPE: &'static str = "bill.quota.failed.v1";
    const PUBLISHER: &'static str = "syncer";
    const SUMMARY: &'static str = "The backend refused the ledger's quota.";
}

/// The sweep saw that little is left.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct QuotaLowV1 {
    /// What the organization has spent in total
    #[schemars(with = "String")]
    pub usage: Decimal,
    /// The quota in force
    #[schemars(with = "String")]
    pub quota: Decimal,
    /// quota − usage
    #[schemars(with = "String")]
    pub available: Decimal,
    /// Below which a recharge is wanted
    #[schemars(with = "String")]
    pub minimum_balance: Decimal,
}

impl Payload for QuotaLowV1 {
    const KIND: &'static str = "quotas.low";
    const TYPE: &'static str = "bill.quota.low.v1";
    const PUBLISHER: &'static str = "syncer";
    const SUMMARY: &'static str = "Little is left of an organization's quota.";
}
