//! `recharger doctor`: what the recharger needs, looked at from where it runs.

use common::clock::Clock;
use common::config::Env;
use common::doctor::{self, Check, Service, configuration, outside, rights, within};
use futures_util::future::join;

use crate::{Config, SERVICE};

/// Looks at everything that the recharger needs.
pub async fn look(env: &dyn Env, clock: &dyn Clock) -> Vec<Check> {
    let service = Service { name: SERVICE, rights: rights::RECHARGER };
    let stripe = within("Stripe", outside::stripe(env));
    let (common, stripe) = join(doctor::of_service(service, env, clock), stripe).await;
    let mut checks = configuration::check(SERVICE, "recharger/README.md", &Config::read(env));
    checks.extend(common);
    checks.extend(stripe);
    checks.push(outside::public_url(env));
    checks
}
