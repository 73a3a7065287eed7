//! An organization as the API shows it.

use common::clock::Timestamp;
use common::ids::{OrganizationId, TeamId};
use common::money::{Currency, Money};
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Number;

use super::Organization;

/// An organization with its policy and its card. Amounts are in its currency.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Organization")]
pub(crate) struct OrganizationView {
    /// Its id, chosen by the customer.
    c_organization_id: OrganizationId,
    /// Its team in LiteLLM; null: not known yet.
    litellm_team_id: Option<TeamId>,
    /// Its customer at Stripe; null: none was made yet.
    stripe_customer_id: Option<String>,
    /// What it pays in.
    currency: Currency,
    /// Below this it is recharged.
    minimum_balance: Number,
    /// Up to this it is recharged.
    target_balance: Number,
    /// What the target is compared with: the quota in force, or what is left of it.
    #[schemars(with = "TargetBasis")]
    target_basis: String,
    /// Whether it is recharged by itself.
    auto_recharge_enabled: bool,
    /// The least that is charged at once.
    minimum_recharge_amount: Number,
    /// So many recharges are made in a day (UTC) at most.
    max_daily_recharges: i32,
    /// So much is charged in a day (UTC) at most; null: any amount.
    max_daily_amount: Option<Number>,
    /// So much is charged in a month (UTC) at most; null: any amount.
    max_monthly_amount: Option<Number>,
    /// How long automatic recharge rests after a decline that may pass, in seconds.
    cooldown_seconds: i32,
    /// What is credited when its team at LiteLLM turns out to be unlimited; null: a person has to decide.
    opening_quota: Option<Number>,
    /// The card that is charged, by Stripe's id; null: there is none.
    default_payment_method_id: Option<String>,
    /// The card's brand, such as visa.
    payment_method_brand: Option<String>,
    /// The card's last four digits.
    payment_method_last4: Option<String>,
    /// When a person last ended a pause; null: never.
    resumed_at: Option<Timestamp>,
    /// Since when it is closed; null: it is open.
    closed_at: Option<Timestamp>,
    /// When it was created.
    created_at: Timestamp,
    /// When something of it last changed.
    updated_at: Timestamp,
}

/// What the target is compared with.
#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case", inline)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) enum TargetBasis {
    Quota,
    Available,
}

impl OrganizationView {
    /// The organization as the API shows it.
    pub(crate) fn of(organization: &Organization) -> Self {
        let policy = &organization.policy;
        let card = organization.card.as_ref();
        let number = |value| amount(value, policy.currency);
        Self {
            c_organization_id: organization.id.clone(),
            litellm_team_id: policy.litellm_team_id.clone(),
            stripe_customer_id: organization.stripe_customer_id.clone(),
            currency: policy.currency,
            minimum_balance: number(policy.minimum_balance),
            target_balance: number(policy.target_balance),
            target_basis: policy.target_basis.clone(),
            auto_recharge_enabled: policy.auto_recharge_enabled,
            minimum_recharge_amount: number(policy.minimum_recharge_amount),
            max_daily_recharges: policy.max_daily_recharges,
            max_daily_amount: policy.max_daily_amount.map(number),
            max_monthly_amount: policy.max_monthly_amount.map(number),
            cooldown_seconds: policy.cooldown_seconds,
            opening_quota: policy.opening_quota.map(number),
            default_payment_method_id: card.map(|card| card.id.clone()),
            payment_method_brand: card.and_then(|card| card.brand.clone()),
            payment_method_last4: card.and_then(|card| card.last4.clone()),
            resumed_at: organization.resumed_at,
            closed_at: organization.closed_at,
            created_at: organization.created_at,
            updated_at: organization.updated_at,
        }
    }
}

fn amount(value: Decimal, currency: Currency) -> Number {
    // The columns have two decimals whatever the currency, but no currency's amounts are stored with more than it has.
    Money::covering(value, currency).unwrap_or(Money::zero(currency)).to_number()
}
