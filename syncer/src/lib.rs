#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod config;
mod handlers;
mod metrics;
mod plan;
mod push;
mod repo;

use std::sync::Arc;

use common::clients::quota::QuotaBackend;
use common::clients::quota::kms::Kms;
use common::clock::SharedClock;
use common::parts::Parts;
use common::service;
use common::shutdown::Shutdown;

pub use config::{Backend, Config};
pub use handlers::Syncer;

/// Runs the service until the shutdown.
///
/// # Errors
/// When it can't start: an address is taken or not valid, or the definitions of the streams can't be read.
pub async fn run(config: Config, clock: SharedClock, shutdown: Shutdown) -> anyhow::Result<()> {
    let parts = Parts::prepare("syncer", config.base.clone(), clock, &shutdown).await?;
    let backend: Arc<dyn QuotaBackend> = match &config.quota_backend {
        Backend::Kms(kms) => Arc::new(Kms::new(kms, &parts.registry)?),
    };
    let connections = parts.base.database_pool;
    let handler = Syncer::new(parts.pool.clone(), connections, backend, parts.clock.clone(), &parts.registry);
    service::consume(parts, config.listen, handler, shutdown).await
}
