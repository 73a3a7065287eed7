//! What the recharger is told.

use std::net::SocketAddr;
use std::time::Duration;

use common::clients::stripe::StripeConfig;
use common::config::{Base, ConfigError, Env, Reader};
use common::money::FeePolicy;
use common::pay_link::{self, PayLinks};

use crate::deadlines::Deadlines;
use crate::handlers::Rules;

/// The configuration.
#[derive(Clone)]
pub struct Config {
    /// Broker, database, retries.
    pub base: Base,
    /// `LISTEN`, or `BIND` and `PORT`: where health and metrics are served. 127.0.0.1:9102 by default.
    pub listen: SocketAddr,
    /// Stripe.
    pub stripe: StripeConfig,
    /// `FEE_BPS`, `FEE_FIXED`, `CREDIT_DEADLINE`, `SYNC_DEADLINE`, `CONFIRM_DEADLINE`, `REFUND_RETRY`, `ON_SYNC_FAILURE`,
    /// `MAX_RECHARGES_PER_MINUTE`, `PAY_LINK_SECRET`, `PUBLIC_URL`, `PATROL_LEASE`.
    pub rules: Rules,
    /// `PATROL_INTERVAL`: how often is looked for what is due.
    pub patrol_interval: Duration,
}

/// What happens to a recharge whose quota can't be raised in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnSyncFailure {
    /// The charge is given back.
    Refund,
    /// Nothing is undone: a person decides.
    Hold,
}

impl Config {
    /// Reads the environment.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn read(env: &dyn Env) -> Result<Self, ConfigError> {
        let mut reader = Reader::new(env);
        let rules = rules(&mut reader);
        let config = Self {
            base: Base::read(&mut reader),
            listen: reader.listen(9102),
            stripe: StripeConfig::read(&mut reader, Duration::from_secs(20)),
            rules,
            patrol_interval: reader.duration("PATROL_INTERVAL", Duration::from_secs(1)),
        };
        reader.finish(config)
    }
}

fn rules(reader: &mut Reader<'_>) -> Rules {
    let fees = FeePolicy { bps: reader.parse("FEE_BPS", 0), fixed: reader.parse("FEE_FIXED", 0) };
    if fees.bps >= 10_000 || fees.fixed < 0 {
        reader.problem("FEE_BPS must be below 10000, and FEE_FIXED not negative".to_owned());
    }
    let usual = Deadlines::default();
    let deadlines = Deadlines {
        credit: reader.duration("CREDIT_DEADLINE", usual.credit),
        sync: reader.duration("SYNC_DEADLINE", usual.sync),
        confirm: reader.duration("CONFIRM_DEADLINE", usual.confirm),
        refund_retry: reader.duration("REFUND_RETRY", usual.refund_retry),
    };
    if deadlines.credit.is_zero() || deadlines.sync.is_zero() || deadlines.refund_retry.is_zero() {
        reader.problem("CREDIT_DEADLINE, SYNC_DEADLINE and REFUND_RETRY must be more than nothing".to_owned());
    }
    let on_sync_failure = match reader.optional("ON_SYNC_FAILURE").as_deref().map(str::trim) {
        None | Some("refund") => OnSyncFailure::Refund,
        Some("hold") => OnSyncFailure::Hold,
        Some(other) => {
            reader.problem(format!("ON_SYNC_FAILURE is {other:?}: use refund or hold"));
            OnSyncFailure::Refund
        }
    };
    let public_url = reader.optional("PUBLIC_URL").unwrap_or_else(|| "http://localhost:3000".to_owned());
    Rules {
        fees,
        deadlines,
        on_sync_failure,
        max_recharges_per_minute: reader.parse("MAX_RECHARGES_PER_MINUTE", 300),
        links: PayLinks::new(pay_link::read_secret(reader), &public_url),
        lease: reader.duration("PATROL_LEASE", Duration::from_secs(60)),
    }
}
