//! What an organization wants, as plain values.

use common::money::{Currency, Money};
use rust_decimal::Decimal;

/// What the target balance is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetBasis {
    /// The quota in force: the target is a quota to reach.
    Quota,
    /// What is left of it: fill up to the target every time.
    Available,
}

/// An organization's policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Whether it recharges by itself.
    pub auto_recharge_enabled: bool,
    /// What it pays in.
    pub currency: Currency,
    /// Below this much available, the sweep asks for a recharge.
    pub minimum_balance: Decimal,
    /// What a recharge aims at.
    pub target_balance: Decimal,
    /// What that is compared with.
    pub target_basis: TargetBasis,
    /// The least that is bought at once.
    pub minimum_recharge: Money,
    /// How many automatic recharges a UTC day may have.
    pub max_daily_recharges: u32,
    /// How much a UTC day may cost.
    pub max_daily_amount: Option<Money>,
    /// How much a UTC month may cost.
    pub max_monthly_amount: Option<Money>,
    /// Stripe's customer and the saved card, if there are.
    pub card: Option<SavedCard>,
}

/// What to charge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedCard {
    /// Stripe's customer.
    pub customer_id: String,
    /// Stripe's payment method.
    pub payment_method_id: String,
    /// The same for the same card, whoever saved it.
    pub fingerprint: Option<String>,
}
