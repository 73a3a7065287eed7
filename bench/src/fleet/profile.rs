//! Who an organization is: its policy, its card, its team. Pure.

use chrono::Duration;
use common::clock::Timestamp;
use common::ids::{OrganizationId, TeamId};
use common::money::{Currency, Money};
use e2e::random::Random;
use serde_json::{Value, json};

use super::drawn_name;
use super::rows::exact;

const FIRST: [&str; 12] = [
    "amber", "brisk", "cedar", "delta", "ember", "fjord", "granite", "harbor", "indigo", "juniper", "kestrel", "lumen",
];
const SECOND: [&str; 10] =
    ["analytics", "bio", "cloud", "design", "energy", "foods", "games", "health", "labs", "robotics"];
const CARDS: [(&str, &str); 4] = [("visa", "4242"), ("mastercard", "4444"), ("amex", "0005"), ("visa", "5556")];
/// What it is recharged up to, in major units (hundreds of them, where there are no minor ones).
const TARGETS: [i64; 4] = [100, 200, 500, 1_000];

/// Who an organization is.
#[derive(Debug)]
pub(super) struct Profile {
    pub(super) id: OrganizationId,
    pub(super) team: TeamId,
    pub(super) currency: Currency,
    pub(super) created_at: Timestamp,
    /// The quota that the KMS had before us, if it had one.
    pub(super) adopted: Option<Money>,
    pub(super) customer: String,
    pub(super) card: Card,
    pub(super) enabled: bool,
    pub(super) minimum_balance: Money,
    pub(super) target: Money,
    pub(super) minimum_recharge: Money,
    pub(super) max_daily: i64,
}

/// The card that is charged.
#[derive(Debug)]
pub(super) struct Card {
    pub(super) id: String,
    brand: &'static str,
    last4: &'static str,
    pub(super) fingerprint: String,
}

impl Profile {
    pub(super) fn draw(number: usize, recharges: usize, now: Timestamp, random: &mut Random) -> anyhow::Result<Self> {
        let name = match number {
            0 => "northwind-trading".to_owned(),
            _ => format!("{}-{}-{number:04}", random.pick(&FIRST), random.pick(&SECOND)),
        };
        let id = OrganizationId::parse(name)?;
        // The first ones are looked at by people, who compare them.
        let code =
            if number < 10 { "usd" } else { *random.pick(&["usd", "usd", "usd", "usd", "usd", "eur", "eur", "jpy"]) };
        let currency: Currency = code.parse()?;
        let target = in_major_units(*random.pick(&TARGETS), currency);
        let share = |of_a_hundred: i64| Money::new(target.minor * of_a_hundred / 100, currency);
        let age = if number == 0 { Duration::days(400) } else { Duration::hours(drawn(random, 30 * 24, 400 * 24)) };
        let (brand, last4) = *random.pick(&CARDS);
        Ok(Self {
            team: TeamId::parse(format!("team_{id}"))?,
            created_at: now - age,
            adopted: (number == 0 || random.percent(60))
                .then(|| Money::new(target.minor * drawn(random, 1, 5), currency)),
            customer: drawn_name("cus", random),
            card: Card { id: drawn_name("pm", random), brand, last4, fingerprint: drawn_name("fp", random) },
            enabled: number < 10 || random.percent(90),
            minimum_balance: share(drawn(random, 1, 4) * 10),
            minimum_recharge: share(50),
            max_daily: if recharges > 1_000 { 50 } else { 5 },
            id,
            currency,
            target,
        })
    }

    /// Its row, when a person lifted its last pause.
    pub(super) fn row(&self, resumed_at: Option<Timestamp>) -> Value {
        json!({
            "c_organization_id": self.id, "stripe_customer_id": self.customer, "litellm_team_id": self.team,
            "currency": self.currency, "minimum_balance": exact(self.minimum_balance), "target_balance": exact(self.target),
            "target_basis": "available", "auto_recharge_enabled": self.enabled,
            "minimum_recharge_amount": exact(self.minimum_recharge), "max_daily_recharges": self.max_daily,
            "max_monthly_amount": null, "cooldown_seconds": 3600, "default_payment_method_id": self.card.id,
            "payment_method_brand": self.card.brand, "payment_method_last4": self.card.last4,
            "payment_method_fingerprint": self.card.fingerprint, "payment_method_set_at": self.created_at,
            "resumed_at": resumed_at, "created_at": self.created_at,
            "updated_at": resumed_at.unwrap_or(self.created_at + Duration::minutes(2)),
        })
    }
}

/// A round amount in any currency: a hundred dollars, a hundred euros, ten thousand yen.
fn in_major_units(number: i64, currency: Currency) -> Money {
    let minor = if currency.digits() == 0 { 100 } else { 10_i64.pow(currency.digits()) };
    Money::new(number * minor, currency)
}

/// A number from `least` to `most`.
pub(super) fn drawn(random: &mut Random, least: u64, most: u64) -> i64 {
    i64::try_from(random.between(least, most)).unwrap_or(i64::MAX)
}
