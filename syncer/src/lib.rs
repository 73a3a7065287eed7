#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod config;
mod deadline;
pub mod doctor;
mod given_up;
mod handlers;
mod look;
mod metrics;
pub mod plan;
mod push;
mod reconcile;
mod repo;
mod said;
pub mod standing;
mod sweep;
mod team;
mod trouble;
mod undecided;

use std::sync::Arc;

use common::clients::quota::QuotaBackend;
use common::clients::quota::kms::Kms;
use common::clients::quota::litellm::Litellm;
use common::clock::SharedClock;
use common::parts::Parts;
use common::service;
use common::shutdown::Shutdown;

pub use config::{Backend, Config, DriftPolicy, Policy};
pub use handlers::{Setup, Syncer};
pub use sweep::{Fate, Sweep, Tally};

/// Runs the service until the shutdown.
///
/// # Errors
/// When it can't start: an address is taken or not valid, or the definitions of the streams can't be read.
pub async fn run(config: Config, clock: SharedClock, shutdown: Shutdown) -> anyhow::Result<()> {
    let parts = Parts::prepare("syncer", config.base.clone(), clock, &shutdown).await?;
    let backend: Arc<dyn QuotaBackend> = match &config.quota_backend {
        Backend::Kms(kms) => Arc::new(Kms::new(kms, &parts.registry)?),
        Backend::Litellm(litellm) => Arc::new(Litellm::new(litellm, &parts.registry)?),
    };
    let handler = Syncer::new(Setup {
        pool: parts.pool.clone(),
        connections: parts.base.database_pool,
        max_attempts: parts.base.max_attempts,
        backend,
        clock: parts.clock.clone(),
        policy: config.policy,
        registry: parts.registry.clone(),
    });
    let sweep = handler.sweep(parts.broker.clone());
    let stop = shutdown.clone();
    let background = async move { sweep.run(&stop).await };
    service::consume(parts, config.listen, handler, background, shutdown).await
}
