//! What callers may write about an organization, for the documentation; `policy.rs` reads it, and its messages say more
//! than a schema could.

use common::ids::{OrganizationId, TeamId};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::policy::{LONGEST_COOLDOWN, MOST_DAILY_RECHARGES};
use super::view::TargetBasis;
use crate::api::schemas::{Amount, PositiveAmount, Whole};

/// When and by how much to recharge. What is absent or null has its default.
#[derive(JsonSchema)]
#[schemars(rename = "NewOrganization", deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) struct NewOrganizationBody {
    /// Its id, for ever.
    c_organization_id: OrganizationId,
    /// What it pays in, for ever: usd unless it is named.
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    currency: Option<CurrencyCode>,
    /// Its team in LiteLLM; without one, the quota backend's answer.
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    litellm_team_id: Option<TeamId>,
    /// Below this it is recharged; 100 unless it is named.
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    minimum_balance: Option<Amount>,
    /// Up to this it is recharged; 1000 unless it is named.
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    target_balance: Option<Amount>,
    /// What the target is compared with: the quota in force (the default), or what is left of it.
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    target_basis: Option<TargetBasis>,
    /// Whether it is recharged by itself; true unless it is named.
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    auto_recharge_enabled: Option<bool>,
    /// The least that is charged at once; 100 unless it is named. From the currency's least charge on (0.50 usd).
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    minimum_recharge_amount: Option<PositiveAmount>,
    /// So many recharges in a day at most; 5 unless it is named.
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    max_daily_recharges: Option<Whole<0, MOST_DAILY_RECHARGES>>,
    /// What is credited when its team at LiteLLM turns out to be unlimited.
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    opening_quota: Option<Amount>,
    /// So much in a day at most.
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    max_daily_amount: Option<Amount>,
    /// So much in a month at most.
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    max_monthly_amount: Option<Amount>,
    /// How long automatic recharge rests after a decline that may pass, in seconds; 3600 unless it is named.
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    cooldown_seconds: Option<Whole<0, LONGEST_COOLDOWN>>,
}

/// What is to change: what is absent stays. Null takes a value away where there may be none; elsewhere it is as good as
/// absent.
#[derive(JsonSchema)]
#[schemars(rename = "OrganizationChange", deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) struct ChangeBody {
    /// Ends a pause.
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    resume: Option<bool>,
    /// Can't be changed: the same again, or a 400.
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    currency: Option<CurrencyCode>,
    /// Its team in LiteLLM. For operators only.
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    litellm_team_id: Option<TeamId>,
    /// Below this it is recharged.
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    minimum_balance: Option<Amount>,
    /// Up to this it is recharged.
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    target_balance: Option<Amount>,
    /// What the target is compared with: the quota in force, or what is left of it.
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    target_basis: Option<TargetBasis>,
    /// Whether it is recharged by itself.
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    auto_recharge_enabled: Option<bool>,
    /// The least that is charged at once.
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    minimum_recharge_amount: Option<PositiveAmount>,
    /// So many recharges in a day at most.
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    max_daily_recharges: Option<Whole<0, MOST_DAILY_RECHARGES>>,
    /// What is credited when its team at LiteLLM turns out to be unlimited. For operators only.
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    opening_quota: Option<Amount>,
    /// So much in a day at most; null: any amount.
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    max_daily_amount: Option<Amount>,
    /// So much in a month at most; null: any amount.
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    max_monthly_amount: Option<Amount>,
    /// How long automatic recharge rests after a decline that may pass, in seconds.
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    cooldown_seconds: Option<Whole<0, LONGEST_COOLDOWN>>,
}

/// A currency as it is taken: in either case.
struct CurrencyCode;

impl JsonSchema for CurrencyCode {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "CurrencyCode".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[A-Za-z]{3}$", "description": "ISO 4217, such as usd." })
    }
}
