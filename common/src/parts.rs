//! What every service is made of.

use prometheus::Registry;
use sqlx::PgPool;

use crate::broker::Broker;
use crate::clock::SharedClock;
use crate::config::Base;
use crate::health::Health;
use crate::shutdown::{CLOSE, Shutdown};
use crate::{certificates, db, micro, telemetry};

/// What a service is made of.
#[derive(Clone)]
pub struct Parts {
    /// The service's name: its durable consumers, its inbox prefix, its dead letters.
    pub service: &'static str,
    /// Common configuration.
    pub base: Base,
    /// The time.
    pub clock: SharedClock,
    /// Whether what it needs is there.
    pub health: Health,
    /// Its metrics.
    pub registry: Registry,
    /// The database.
    pub pool: PgPool,
    /// The broker.
    pub broker: Broker,
}

impl Parts {
    /// Prepares the parts. Neither the broker nor the database needs to be there yet.
    ///
    /// # Errors
    /// When an address can't be understood.
    pub async fn prepare(
        service: &'static str,
        base: Base,
        clock: SharedClock,
        shutdown: &Shutdown,
    ) -> anyhow::Result<Self> {
        telemetry::export::start(service)?;
        let health = Health::new(service, clock.clone());
        let registry = telemetry::registry(service);
        health.show_in(&registry);
        certificates::show_in(&registry, &base);
        let pool = db::pool(&base.database_url, service, base.database_pool)?;
        health.set("database", Err("not asked yet".to_owned()));
        let broker = Broker::connect(&base.broker, service, health.clone()).await?;
        tokio::spawn(db::watch(pool.clone(), health.clone(), shutdown.clone()));
        tokio::spawn(micro::answer(broker.clone(), service, health.clone(), shutdown.clone()));
        Ok(Self { service, base, clock, health, registry, pool, broker })
    }

    /// Sends what waits to be sent, and closes the connections; after a signal not beyond [`CLOSE`].
    pub async fn close(&self, shutdown: &Shutdown) {
        let closing = async {
            self.broker.close().await;
            self.pool.close().await;
        };
        if shutdown.cut(CLOSE, closing).await.is_none() {
            tracing::warn!("some connections were still in use and are cut");
        }
    }
}
