//! `ledger doctor`: what the ledger needs, looked at from where it runs.

use common::clock::Clock;
use common::config::Env;
use common::doctor::{self, Check, Service, configuration, rights};

use crate::SERVICE;
use crate::config::Config;

/// Looks at everything that the ledger needs.
pub async fn look(env: &dyn Env, clock: &dyn Clock) -> Vec<Check> {
    let service = Service { name: SERVICE, rights: rights::LEDGER };
    let mut checks = configuration::check(SERVICE, "ledger/README.md", &Config::read(env));
    checks.extend(doctor::of_service(service, env, clock).await);
    checks
}
