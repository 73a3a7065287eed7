//! What the recharger is told.

use std::net::SocketAddr;
use std::time::Duration;

use common::clients::stripe::StripeConfig;
use common::config::{Base, ConfigError, Env, Reader};
use common::money::FeePolicy;

/// The configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Broker, database, retries.
    pub base: Base,
    /// `LISTEN`: where health and metrics are served.
    pub listen: SocketAddr,
    /// Stripe.
    pub stripe: StripeConfig,
    /// `FEE_BPS`, `FEE_FIXED`: the processing cost that is passed on.
    pub fees: FeePolicy,
}

impl Config {
    /// Reads the environment.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn read(env: &dyn Env) -> Result<Self, ConfigError> {
        let mut reader = Reader::new(env);
        let config = Self {
            base: Base::read(&mut reader),
            listen: reader.parse("LISTEN", SocketAddr::from(([127, 0, 0, 1], 9102))),
            stripe: StripeConfig {
                url: reader.optional("STRIPE_URL").unwrap_or_else(|| "https://api.stripe.com".to_owned()),
                secret_key: reader
                    .secret("STRIPE_SECRET_KEY", "the secret key of the Stripe account, sk_test_… or sk_live_…"),
                timeout: reader.duration("STRIPE_TIMEOUT", Duration::from_secs(20)),
            },
            fees: FeePolicy { bps: reader.parse("FEE_BPS", 0), fixed: reader.parse("FEE_FIXED", 0) },
        };
        if config.fees.bps >= 10_000 || config.fees.fixed < 0 {
            reader.problem("FEE_BPS must be below 10000, and FEE_FIXED not negative".to_owned());
        }
        reader.finish(config)
    }
}
