#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod charge;
mod config;
pub mod decide;
pub mod decline;
mod handlers;
pub mod history;
pub mod policy;
pub mod record;
mod repo;
pub mod saga;

use common::clients::stripe::Stripe;
use common::clock::SharedClock;
use common::parts::Parts;
use common::service;
use common::shutdown::Shutdown;

pub use config::Config;
pub use handlers::Recharger;

/// The service's name: its consumers, its dead letters.
pub const SERVICE: &str = "recharger";

/// Runs the service until the shutdown.
///
/// # Errors
/// When it can't start; once started, it waits for what it needs.
pub async fn run(config: Config, clock: SharedClock, shutdown: Shutdown) -> anyhow::Result<()> {
    let parts = Parts::prepare(SERVICE, config.base, clock.clone(), &shutdown).await?;
    let stripe = Stripe::new(config.stripe, &parts.registry)?;
    let handler = Recharger::new(parts.pool.clone(), stripe, clock, config.fees, &parts.registry);
    service::consume(parts, config.listen, handler, shutdown).await
}
