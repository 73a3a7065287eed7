//! The only publisher. What it returned from is on the broker's disk.

use std::time::Duration;

use common::broker::{Broker, Confirmed};
use common::contract::{Event, Payload};

use crate::http::Problem;
use crate::metrics::Metrics;

/// The longest that a caller waits for the broker's confirmation. Below the five seconds that a sender of webhooks waits.
const PATIENCE: Duration = Duration::from_millis(4_500);

/// An event that the broker did not confirm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unpublished {
    /// It was never sent: it is certain that nobody has it.
    NotSent,
    /// It was sent, or may have been: whether the broker has it, nobody knows.
    Unconfirmed,
}

/// For whoever sends the same event again by sending the same request again (a webhook), or does no harm with another one.
/// A call that moves money has to tell the two apart.
impl From<Unpublished> for Problem {
    fn from(unpublished: Unpublished) -> Self {
        let error = match unpublished {
            Unpublished::NotSent => "The message broker is not available; nothing was accepted, send it again",
            Unpublished::Unconfirmed => "The message broker did not confirm it in time; send it again",
        };
        Self::unavailable("broker_unavailable", error)
    }
}

/// Publishes events. Clones share the connection.
#[derive(Clone)]
pub(crate) struct Publisher {
    broker: Broker,
    metrics: Metrics,
}

impl Publisher {
    pub(crate) fn new(broker: Broker, metrics: Metrics) -> Self {
        Self { broker, metrics }
    }

    /// The connection, for what is asked and not published.
    pub(crate) fn broker(&self) -> &Broker {
        &self.broker
    }

    /// Whether there is a connection at this moment.
    pub(crate) fn is_connected(&self) -> bool {
        self.broker.is_connected()
    }

    /// Publishes an event and waits until the broker has it. Without a connection it says so at once.
    pub(crate) async fn publish<T: Payload>(&self, event: Event<T>) -> Result<Confirmed, Unpublished> {
        let count = |result: &str| self.metrics.published.with_label_values(&[T::KIND, result]).inc();
        let id = event.id.clone();
        let outgoing = event.outgoing().map_err(|error| {
            tracing::error!(event_id = %id, %error, "the event {id} can't be written");
            Unpublished::NotSent
        })?;
        // Asked before anything is sent. Later the lack of a connection proves nothing: an earlier try may have arrived, and
        // the client may send what it holds when the connection is back.
        if !self.is_connected() {
            count("failed");
            tracing::warn!(event_id = %id, "the event {id} was not sent: the broker is not connected");
            return Err(Unpublished::NotSent);
        }
        let confirmed = match tokio::time::timeout(PATIENCE, self.broker.publish(&outgoing)).await {
            Ok(Ok(confirmed)) => confirmed,
            Ok(Err(error)) => {
                count("failed");
                tracing::warn!(event_id = %id, %error, "the event {id} is not confirmed: {error}");
                return Err(Unpublished::Unconfirmed);
            }
            Err(_) => {
                count("failed");
                tracing::warn!(event_id = %id, "the event {id} is not confirmed: the broker did not answer in time");
                return Err(Unpublished::Unconfirmed);
            }
        };
        count(if confirmed.duplicate { "duplicate" } else { "stored" });
        Ok(confirmed)
    }
}
