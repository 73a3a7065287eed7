//! Organizations and their policy: what the API and the development routes do with them.

mod policy;
pub(crate) mod repo;

use common::clock::Timestamp;
use common::ids::OrganizationId;
use common::money::{Currency, Money};
use rust_decimal::Decimal;
use serde_json::{Value, json};

pub(crate) use policy::{Change, NewOrganization, Policy, charge_amount, positive_amount};

/// An organization as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Organization {
    pub(crate) id: OrganizationId,
    pub(crate) policy: Policy,
    pub(crate) stripe_customer_id: Option<String>,
    pub(crate) card: Option<SavedCard>,
    pub(crate) resumed_at: Option<Timestamp>,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
}

/// The card that is charged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SavedCard {
    pub(crate) id: String,
    pub(crate) brand: Option<String>,
    pub(crate) last4: Option<String>,
    /// The same for the same card, whoever saved it.
    pub(crate) fingerprint: Option<String>,
}

impl Organization {
    /// The organization as the API shows it.
    pub(crate) fn to_json(&self) -> Value {
        let policy = &self.policy;
        let card = self.card.as_ref();
        json!({
            "c_organization_id": self.id,
            "litellm_team_id": policy.litellm_team_id,
            "stripe_customer_id": self.stripe_customer_id,
            "currency": policy.currency,
            "minimum_balance": amount(policy.minimum_balance, policy.currency),
            "target_balance": amount(policy.target_balance, policy.currency),
            "target_basis": policy.target_basis,
            "auto_recharge_enabled": policy.auto_recharge_enabled,
            "minimum_recharge_amount": amount(policy.minimum_recharge_amount, policy.currency),
            "max_daily_recharges": policy.max_daily_recharges,
            "max_daily_amount": policy.max_daily_amount.map(|value| amount(value, policy.currency)),
            "max_monthly_amount": policy.max_monthly_amount.map(|value| amount(value, policy.currency)),
            "cooldown_seconds": policy.cooldown_seconds,
            "default_payment_method_id": card.map(|card| card.id.as_str()),
            "payment_method_brand": card.and_then(|card| card.brand.as_deref()),
            "payment_method_last4": card.and_then(|card| card.last4.as_deref()),
            "resumed_at": self.resumed_at,
            "created_at": self.created_at,
            "updated_at": self.updated_at,
        })
    }

    pub(crate) fn currency(&self) -> Currency {
        self.policy.currency
    }
}

fn amount(value: Decimal, currency: Currency) -> Value {
    // The columns have two decimals whatever the currency, but no currency's amounts are stored with more than it has.
    let money = Money::covering(value, currency).unwrap_or(Money::zero(currency));
    Value::Number(money.to_number())
}
