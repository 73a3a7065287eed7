//! The account that a key belongs to: whether Stripe takes the key, and whether real money moves with it.

use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;
use stripe_client_core::StripeRequest;
use stripe_core::payment_intent::ListPaymentIntent;

use super::outcome::StripeFault;
use super::requests::Stripe;
use super::transport::StripeConfig;

/// How keys begin that charge nobody: Stripe's test keys, and those for a simulator.
const HARMLESS: [&str; 3] = ["sk_test_", "rk_test_", "sk_sim_"];

/// Whether cards are really charged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "StripeMode", inline)]
pub enum Mode {
    /// Test cards only.
    Test,
    /// Real cards.
    Live,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Test => "test",
            Self::Live => "live",
        })
    }
}

impl StripeConfig {
    /// The mode, as the key says. A key of a kind that is not known counts as one that charges.
    #[must_use]
    pub fn mode(&self) -> Mode {
        let key = self.secret_key.expose();
        if HARMLESS.iter().any(|prefix| key.starts_with(prefix)) { Mode::Test } else { Mode::Live }
    }
}

impl Stripe {
    /// Whether Stripe takes the key, and lets it read what every service reads that has one.
    ///
    /// # Errors
    /// What Stripe says; [`StripeFault::status`] 401 for a key that is none of its own, and 403 for one that may not read.
    pub async fn check_key(&self) -> Result<(), StripeFault> {
        ListPaymentIntent::new().limit(1).customize().send(&self.transport).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::Secret;

    #[test]
    fn what_is_not_known_to_be_harmless_charges() {
        for (key, mode) in [
            ("sk_test_1234", Mode::Test),
            ("rk_test_1234", Mode::Test),
            ("sk_sim_1234", Mode::Test),
            ("sk_live_1234", Mode::Live),
            ("rk_live_1234", Mode::Live),
            ("sk_org_1234", Mode::Live),
            ("", Mode::Live),
        ] {
            let config =
                StripeConfig { url: String::new(), secret_key: Secret::new(key), timeout: Duration::from_secs(1) };
            assert_eq!(config.mode(), mode, "{key}");
        }
    }
}
