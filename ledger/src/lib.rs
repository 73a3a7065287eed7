#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod chain;
pub mod config;
pub mod doctor;
pub mod handlers;
pub mod posted;
pub mod posting;
pub mod reconcile;
pub mod repo;
pub mod verify;

use common::clock::SharedClock;
use common::parts::Parts;
use common::service::consume;
use common::shutdown::Shutdown;
use common::{db, telemetry};

use crate::config::Config;
use crate::handlers::LedgerHandler;
use crate::verify::{Gauges, Report};

/// The service's name.
pub const SERVICE: &str = "ledger";

/// Runs the ledger until the shutdown.
///
/// # Errors
/// When it can't be started.
pub async fn run(config: Config, clock: SharedClock, shutdown: Shutdown) -> anyhow::Result<()> {
    let parts = Parts::prepare(SERVICE, config.base, clock.clone(), &shutdown).await?;
    let gauges = Gauges {
        drift: telemetry::gauge(&parts.registry, "bill_ledger_drift", "What the last check of the books found wrong."),
        verified_at: telemetry::gauge(
            &parts.registry,
            "bill_ledger_verified_timestamp_seconds",
            "When the books were last checked; 0 before the first time.",
        ),
    };
    tokio::spawn(verify::repeat(parts.pool.clone(), config.verify_interval, gauges, clock.clone(), shutdown.clone()));
    let handler = LedgerHandler::new(parts.pool.clone(), clock, &parts.registry);
    consume(parts, config.listen, handler, std::future::ready(()), shutdown).await
}

/// Verifies the books once: `ledger verify`.
///
/// # Errors
/// When the database can't be asked.
pub async fn verify_once(config: &Config) -> anyhow::Result<Report> {
    let pool = db::pool(&config.base.database_url, SERVICE, 1)?;
    let report = verify::verify(&pool).await?;
    pool.close().await;
    Ok(report)
}
