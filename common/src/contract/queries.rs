//! Queries: questions that a service answers at once, from what it knows, without changing anything. They are asked with a
//! core NATS request, `queries.<question>.<organization>`, and answered on the asker's inbox with exactly one message. No
//! stream keeps them: a question whose asker is gone has no meaning. They are between our services, no public contract, and
//! so stand in neither `nats/schemas` nor the AsyncAPI document; the answer's schema is a part of the API's OpenAPI document.
//!
//! How they are asked and answered is in `common/src/queries.rs`.

use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Number, Value};

use super::SkipReason;
use crate::clock::Timestamp;
use crate::ids::OrganizationId;
use crate::money::{Currency, decimal_from_json};

/// A question about one organization.
pub trait Query: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The subject without its last token, the organization: `queries.simulate`.
    const KIND: &'static str;
    /// What is answered.
    type Answer: Serialize + DeserializeOwned + Send + Sync + 'static;

    /// Where the question about this organization is asked.
    #[must_use]
    fn subject(organization: &OrganizationId) -> String {
        format!("{}.{organization}", Self::KIND)
    }
}

/// A dry run: what would be charged? With an event: for that. With days: over so many days of usage. With an amount: for
/// a person who asks for it. With none of them: now, as the sweep would see it. Nothing is charged or stored. Answered by
/// `recharger`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SimulationRequestV1 {
    /// A limit-exceeded webhook as it would come
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<SimulatedEventV1>,
    /// Over how many of the last days the usage is replayed
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 90))]
    pub days: Option<u32>,
    /// What a person asks for, in the organization's currency; neither with an event nor with days
    #[serde(default, deserialize_with = "exact_or_null", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "exact_or_null_schema")]
    pub amount: Option<Decimal>,
    /// What of the policy is different from what is saved
    #[serde(default)]
    pub policy: PolicyChangesV1,
}

impl SimulationRequestV1 {
    /// Over so many days usage is replayed at most.
    pub const MOST_DAYS: u32 = 90;
}

impl Query for SimulationRequestV1 {
    const KIND: &'static str = "queries.simulate";
    type Answer = SimulationV1;
}

/// The numbers of a limit-exceeded webhook.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SimulatedEventV1 {
    /// What was spent in total, in the organization's currency
    #[serde(deserialize_with = "exact")]
    #[schemars(schema_with = "exact_schema")]
    pub current_usage: Decimal,
    /// The limit that was in force
    #[serde(deserialize_with = "exact")]
    #[schemars(schema_with = "exact_schema")]
    pub current_limit: Decimal,
    /// By how much it was exceeded, as the sender says
    #[serde(default, deserialize_with = "exact_or_null", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "exact_or_null_schema")]
    pub exceeded_by: Option<Decimal>,
}

/// What a policy's target balance is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TargetBasisV1 {
    /// The quota in force: the target is a quota to reach
    Quota,
    /// What is left of it: fill up to the target every time
    Available,
}

/// Changes to a policy that are tried and not saved. What is absent stays as it is saved. Amounts are in the
/// organization's currency.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PolicyChangesV1 {
    /// Whether it recharges by itself
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auto_recharge_enabled: Option<bool>,
    /// Below this much available, a recharge is wanted
    #[serde(deserialize_with = "exact_or_null", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "exact_schema")]
    pub minimum_balance: Option<Decimal>,
    /// What a recharge aims at
    #[serde(deserialize_with = "exact_or_null", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "exact_schema")]
    pub target_balance: Option<Decimal>,
    /// What that is compared with
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_basis: Option<TargetBasisV1>,
    /// The least that is bought at once
    #[serde(deserialize_with = "exact_or_null", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "exact_schema")]
    pub minimum_recharge_amount: Option<Decimal>,
    /// How many automatic recharges a UTC day may have
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_daily_recharges: Option<u32>,
    /// How much a UTC day may cost; null: as much as it takes
    #[serde(deserialize_with = "clearable", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "exact_or_null_schema")]
    pub max_daily_amount: Option<Option<Decimal>>,
    /// How much a UTC month may cost; null: as much as it takes
    #[serde(deserialize_with = "clearable", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "exact_or_null_schema")]
    pub max_monthly_amount: Option<Option<Decimal>>,
}

/// What the policy would have done. Amounts are exact, in the organization's currency and with its decimals.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SimulationV1 {
    /// Whose policy it is
    pub c_organization_id: OrganizationId,
    /// What all amounts are in
    pub currency: Currency,
    /// What would be done about the event, about the amount, or now; absent when only days were asked for
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<SimulatedDecisionV1>,
    /// What would have been done over the days; absent when they were not asked for
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay: Option<SimulatedReplayV1>,
}

/// What a decision comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Would {
    /// The card would be charged
    Charge,
    /// It would not
    Skip,
    /// It would not yet: a decline was too recent
    Hold,
}

/// One decision, as the recharger would take it at this moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SimulatedDecisionV1 {
    /// What would be done
    pub would: Would,
    /// The usage that was decided on: the event's, or the last that was seen; null for an amount, which no usage matters to
    pub usage: Option<Number>,
    /// When that was seen; null for an event or an amount
    pub usage_at: Option<Timestamp>,
    /// The quota that was decided on: the event's limit, or the ledger's quota
    pub quota: Number,
    /// The quota that would be bought; null when nothing would be
    pub amount: Option<Number>,
    /// What the customer would pay on top
    pub fee: Option<Number>,
    /// What would be charged: amount + fee
    pub total_charge: Option<Number>,
    /// The quota after it
    pub new_quota: Option<Number>,
    /// Whether a cap made the amount smaller than wanted
    pub reduced: bool,
    /// Why nothing would be charged
    pub reason: Option<SkipReason>,
    /// Until when automatic recharge rests
    pub until: Option<Timestamp>,
    /// A sentence for people, with the numbers
    pub message: String,
}

/// Usage that was seen, replayed through the policy. It starts with the quota that was in force and goes on with its own:
/// what really was recharged in the meantime is not in it. Every simulated charge works and is in force before the next
/// look; pauses, cooldowns, manual recharges, refunds and corrections are not replayed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SimulatedReplayV1 {
    /// Where the days that were asked for begin
    pub asked_from: Timestamp,
    /// Where the replay begins: later than asked for where usage was not known yet; null where none is known
    pub from: Option<Timestamp>,
    /// Where it ends
    pub to: Timestamp,
    /// How many times usage was looked at in between
    pub snapshots: u64,
    /// Looks that are closer together than this many seconds count with their highest usage and at the time of the last
    pub resolution_seconds: u64,
    /// The usage at the beginning
    pub starting_usage: Option<Number>,
    /// The usage at the end
    pub ending_usage: Option<Number>,
    /// The quota in force at the beginning
    pub starting_quota: Option<Number>,
    /// The simulated quota at the end
    pub ending_quota: Option<Number>,
    /// How many recharges there would have been
    pub recharges: u64,
    /// The quota that they would have bought
    pub total_amount: Number,
    /// What they would have charged
    pub total_charge: Number,
    /// The first of them, oldest first
    pub simulated: Vec<SimulatedRechargeV1>,
    /// Whether there were more than are listed; the totals count all
    pub truncated: bool,
    /// Why nothing was recharged where little was left
    pub skips: Vec<SimulatedSkipV1>,
    /// How many recharges there really were in that time, manual ones included; those that were refused or given back don't count
    pub actual_recharges: u64,
    /// How many of them a person asked for
    pub actual_manual_recharges: u64,
    /// The quota that they bought
    pub actual_amount: Number,
    /// A sentence for people, with the numbers
    pub message: String,
}

/// A recharge that there would have been.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SimulatedRechargeV1 {
    /// When
    pub at: Timestamp,
    /// What was spent in total by then
    pub usage: Number,
    /// The simulated quota before
    pub quota_before: Number,
    /// The quota that would have been bought
    pub amount: Number,
    /// What the customer would have paid on top
    pub fee: Number,
    /// What would have been charged: amount + fee
    pub total_charge: Number,
    /// The simulated quota after: quota_before + amount
    pub quota_after: Number,
    /// Whether a cap made the amount smaller than wanted
    pub reduced: bool,
}

/// Looks at which little was left and nothing would have been recharged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SimulatedSkipV1 {
    /// Why
    pub reason: SkipReason,
    /// How many looks
    pub count: u64,
    /// The first
    pub first: Timestamp,
    /// The last
    pub last: Timestamp,
}

/// An exact decimal from a number or a string.
fn exact<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Decimal, D::Error> {
    decimal_from_json(&Value::deserialize(deserializer)?).map_err(serde::de::Error::custom)
}

/// The same; null is as if it were absent.
fn exact_or_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Decimal>, D::Error> {
    let value = Option::<Value>::deserialize(deserializer)?;
    value.map(|value| decimal_from_json(&value)).transpose().map_err(serde::de::Error::custom)
}

/// The same; null is a value of its own.
fn clearable<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<Decimal>>, D::Error> {
    exact_or_null(deserializer).map(Some)
}

fn exact_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({ "type": ["number", "string"] })
}

fn exact_or_null_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({ "type": ["number", "string", "null"] })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_request_keeps_what_is_absent_apart_from_null() {
        let read = |value: Value| serde_json::from_value::<SimulationRequestV1>(value).unwrap();
        assert_eq!(read(json!({})), SimulationRequestV1::default());
        let asked = read(json!({
            "event": {"current_usage": 520.1, "current_limit": "500", "exceeded_by": null},
            "policy": {"max_daily_amount": null, "max_monthly_amount": "100.10", "target_balance": 0.3, "minimum_balance": null},
        }));
        let tenths = |number| Decimal::new(number, 1);
        assert_eq!(asked.policy.max_daily_amount, Some(None));
        assert_eq!(asked.policy.max_monthly_amount, Some(Some(tenths(1001))));
        assert_eq!((asked.policy.target_balance, asked.policy.minimum_balance), (Some(tenths(3)), None));
        let event = asked.event.as_ref().unwrap();
        assert_eq!((event.current_usage, event.exceeded_by, asked.amount), (tenths(5201), None, None));
        assert_eq!(read(json!({"amount": "0.30"})).amount, Some(Decimal::new(30, 2)));
        let again = serde_json::to_vec(&asked).unwrap();
        assert_eq!(serde_json::from_slice::<SimulationRequestV1>(&again).unwrap(), asked);
        let daily = json!({"policy": {"max_daily_recharges": 1.5}});
        assert!(serde_json::from_value::<SimulationRequestV1>(daily).is_err());
    }
}
