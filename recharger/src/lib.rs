#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod charge;
mod config;
pub mod deadlines;
pub mod decide;
pub mod decline;
pub mod disputes;
pub mod doctor;
mod figures;
mod handlers;
pub mod history;
mod metrics;
mod patrol;
pub mod policy;
mod queries;
mod reconcile;
pub mod record;
pub mod refunds;
mod repo;
pub mod saga;
pub mod simulate;

use std::time::Duration;

use common::broker::Broker;
use common::clients::stripe::Stripe;
use common::clock::SharedClock;
use common::parts::Parts;
use common::shutdown::Shutdown;
use common::{periodic, service};
use futures_util::future::join;

pub use config::{Config, OnSyncFailure};
pub use handlers::{Recharger, Rules};

/// The service's name: its consumers, its dead letters.
pub const SERVICE: &str = "recharger";

/// Runs the service until the shutdown.
///
/// # Errors
/// When it can't start; once started, it waits for what it needs.
pub async fn run(config: Config, clock: SharedClock, shutdown: Shutdown) -> anyhow::Result<()> {
    let parts = Parts::prepare(SERVICE, config.base, clock.clone(), &shutdown).await?;
    let stripe = Stripe::new(config.stripe, &parts.registry)?;
    let handler = Recharger::new(parts.pool.clone(), stripe, clock, config.rules, &parts.registry);
    let patrol = patrol(handler.clone(), parts.broker.clone(), config.patrol_interval, shutdown.clone());
    let answers = common::queries::serve(parts.broker.clone(), SERVICE, handler.clone(), shutdown.clone());
    let background = async move {
        join(patrol, answers).await;
    };
    service::consume(parts, config.listen, handler, background, shutdown).await
}

async fn patrol(recharger: Recharger, broker: Broker, interval: Duration, shutdown: Shutdown) {
    periodic::every(interval, &shutdown, || async {
        if let Err(failure) = recharger.patrol(&broker, &shutdown).await {
            tracing::warn!("the patrol could not look, and looks again: {failure:#}");
        }
    })
    .await;
}
