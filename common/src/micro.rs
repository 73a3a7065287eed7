//! The NATS services API: `nats micro ls`, `info` and `stats` find every replica, with its version and its health, and
//! `nats request health.<service>` asks one of them, where its HTTP can't be reached.
//! Source: <https://github.com/nats-io/nats-architecture-and-design/blob/main/adr/ADR-32.md>

use async_nats::service::{Request, Service, ServiceExt};
use futures_util::StreamExt;

use crate::broker::Broker;
use crate::health::Health;
use crate::shutdown::Shutdown;

/// Where the health of a service is asked for.
#[must_use]
pub fn health_subject(service: &str) -> String {
    format!("health.{service}")
}

/// Answers until the shutdown. A service that can't do this works all the same: what is wrong is logged.
pub async fn answer(broker: Broker, service: &'static str, health: Health, shutdown: Shutdown) {
    let told = async {
        let micro = start(&broker, service, &health).await?;
        let endpoint = micro.endpoint_builder().name("health").add(health_subject(service)).await?;
        Ok::<_, async_nats::Error>((micro, endpoint))
    };
    let (micro, mut endpoint) = match told.await {
        Ok(told) => told,
        Err(error) => return tracing::error!(%error, "{service} can't answer the broker's services API: {error}"),
    };
    loop {
        let request = tokio::select! {
            request = endpoint.next() => request,
            () = shutdown.wait() => break,
        };
        let Some(request) = request else { break };
        respond(&request, &health).await;
    }
    drop(endpoint);
    if let Err(error) = micro.stop().await {
        tracing::debug!(%error, "the services API was not left in order");
    }
}

async fn start(broker: &Broker, service: &'static str, health: &Health) -> Result<Service, async_nats::Error> {
    let health = health.clone();
    broker
        .client()
        .service_builder()
        .description(format!("Bill-Service: {service}"))
        .stats_handler(move |_, _| serde_json::to_value(health.report()).unwrap_or_default())
        .start(service, env!("CARGO_PKG_VERSION"))
        .await
}

async fn respond(request: &Request, health: &Health) {
    let Ok(body) = serde_json::to_vec(&health.report()) else { return };
    if let Err(error) = request.respond(Ok(body.into())).await {
        tracing::debug!(%error, "a question for the health was not answered: {error}");
    }
}
