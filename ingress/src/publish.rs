//! The only publisher. What it returned from is on the broker's disk.

use std::time::Duration;

use common::broker::{Broker, Confirmed};
use common::contract::{Event, Payload};
use common::ids::IdSource;

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

/// The trace that a request belongs to, or a new one (W3C Trace Context).
pub(crate) fn traceparent(given: Option<&str>, ids: &dyn IdSource) -> String {
    given.filter(|text| is_traceparent(text)).map_or_else(
        || {
            let (trace, span) = (ids.fresh().simple().to_string(), ids.fresh().simple().to_string());
            format!("00-{trace}-{}-01", &span[..16])
        },
        str::to_owned,
    )
}

fn is_traceparent(text: &str) -> bool {
    let hex = |part: &str, length: usize| {
        part.len() == length
            && part.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
            && part.bytes().any(|byte| byte != b'0')
    };
    match text.split('-').collect::<Vec<_>>().as_slice() {
        ["00", trace, span, flags] => hex(trace, 32) && hex(span, 16) && flags.len() == 2,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use common::ids::RandomIds;

    use super::*;

    #[test]
    fn a_trace_is_kept_or_begun() {
        let given = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(traceparent(Some(given), &RandomIds), given);
        for bad in [None, Some(""), Some("00-x-y-01"), Some("00-00000000000000000000000000000000-00f067aa0ba902b7-01")]
        {
            let begun = traceparent(bad, &RandomIds);
            assert!(is_traceparent(&begun), "{begun}");
        }
    }
}
