//! The connection to the broker: it comes back by itself, and says why it is not there.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::{Client, Event, ReconnectToServer, Server};
use tokio::sync::watch;

use super::BrokerAddress;
use crate::health::Health;

const PART: &str = "broker";

/// Opens the connection, which then tries for ever. `closed` is told when it has been closed for good.
pub(super) async fn open(
    address: &BrokerAddress,
    service: &str,
    health: Health,
    closed: watch::Sender<bool>,
) -> anyhow::Result<Client> {
    health.set(PART, Err("not connected yet".to_owned()));
    let (servers, options) = address.resolve()?;
    let reason = Reason::default();
    let tries = {
        let (reason, health) = (reason.clone(), health.clone());
        move |servers: Vec<Server>, _| {
            reason.learn(&servers, &health);
            // Whichever server the client would have chosen.
            std::future::ready(None::<ReconnectToServer>)
        }
    };
    options
        .name(format!("bill-{service}"))
        .custom_inbox_prefix(format!("_INBOX_{service}"))
        .retry_on_initial_connect()
        .max_reconnects(None)
        .connection_timeout(Duration::from_secs(2))
        .ping_interval(Duration::from_secs(10))
        .reconnect_delay_callback(reconnect_delay)
        .reconnect_to_server_callback(tries)
        .event_callback(move |event| {
            tell(&event, &reason, &health);
            if event == Event::Closed {
                closed.send_replace(true);
            }
            std::future::ready(())
        })
        .connect(servers)
        .await
        .map_err(|error| anyhow::anyhow!("NATS_URL is not usable: {error}"))
}

/// Why the last try failed. The client tells its events of connecting without their cause: a certificate that is not
/// trusted is an "IO error" there. It hands the cause to who chooses the next server.
#[derive(Clone, Default)]
struct Reason(Arc<Mutex<Option<String>>>);

impl Reason {
    fn learn(&self, servers: &[Server], health: &Health) {
        let Some((server, error)) =
            servers.iter().find_map(|one| Some((one.addr.as_url_str(), one.last_error.as_ref()?)))
        else {
            return;
        };
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.as_ref() != Some(error) {
            tracing::warn!(server, error, "the broker at {server} can't be connected to: {error}");
            *known = Some(error.clone());
        }
        drop(known);
        health.set(PART, Err(error.clone()));
    }

    fn forget(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn is_known(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }
}

/// Quick at first, then every second: a broker that comes back is noticed soon, and one that is gone is not flooded.
fn reconnect_delay(attempts: usize) -> Duration {
    Duration::from_millis(50).saturating_mul(u32::try_from(attempts.min(20)).unwrap_or(20)).min(Duration::from_secs(1))
}

fn tell(event: &Event, reason: &Reason, health: &Health) {
    match event {
        Event::Connected => {
            reason.forget();
            health.set(PART, Ok(()));
        }
        Event::Disconnected => health.set(PART, Err("disconnected; reconnecting".to_owned())),
        // A subject that this user may not publish or subscribe to is one: it is named.
        Event::ServerError(error) => tracing::error!(%error, "the broker refused something: {error}"),
        Event::ClientError(error) => {
            if !reason.is_known() {
                health.set(PART, Err(error.to_string()));
            }
        }
        Event::SlowConsumer(id) => tracing::warn!(id, "a subscription is too slow; messages were dropped"),
        Event::LameDuckMode | Event::Draining | Event::Closed => tracing::debug!(%event, "broker: {event}"),
    }
}
