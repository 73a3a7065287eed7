//! The net under the loop. A message that kills the process each time never gets parked by it: the broker delivers it
//! again and again, until it reaches the consumer's `max_deliver`, and then never again. It says so in an advisory, which
//! a stream keeps; the loop takes the advisories of its own service's consumers and parks what they are about.

use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::{DirectGetErrorKind, RawMessageErrorKind};
use serde::Deserialize;

use super::verdict::ParkReason;
use super::{Delivery, Handler, Loop, dead_letter};
use crate::broker::Broker;
use crate::failure::Failure;

/// The broker gave a message up. Source: `JSConsumerDeliveryExceededAdvisory` of nats-server.
#[derive(Debug, Deserialize)]
struct GivenUp {
    stream: String,
    consumer: String,
    stream_seq: u64,
    deliveries: i64,
}

impl<H: Handler> Loop<H> {
    /// Parks the message that an advisory is about, under the id that it has when the loop parks it: both at once come
    /// to one dead letter. Nothing needs to be told to the consumer: it never delivers the message again.
    pub(super) async fn park_given_up(&self, advisory: &Delivery) -> Result<(), Failure> {
        let given_up = GivenUp::read(self.service, &advisory.body)?;
        let GivenUp { stream, stream_seq, deliveries, .. } = &given_up;
        let Some(message) = stored(&self.broker, stream, *stream_seq).await.map_err(Failure::retry)? else {
            tracing::warn!(
                stream,
                stream_seq,
                deliveries,
                "message {stream_seq} of {stream} was given up after {deliveries} deliveries, and is gone meanwhile"
            );
            return Ok(());
        };
        let delivery = Delivery::given_up(self.service, &message, stream, *deliveries);
        let error = format!(
            "the broker gave up after {deliveries} deliveries without an answer, as when the process dies while it handles the message"
        );
        let reason = ParkReason::MaxDeliveries;
        let parked = dead_letter::park(&self.broker, self.service, &delivery, reason, &error).await;
        if !parked.map_err(Failure::retry)?.duplicate {
            self.metrics.parked.with_label_values(&[stream.as_str(), reason.as_str()]).inc();
        }
        tracing::error!(
            reason = reason.as_str(),
            stream,
            stream_seq,
            event_id = delivery.message_id.as_deref().unwrap_or_default(),
            "parked {} as a dead letter of {}: {error}",
            delivery.subject,
            self.service,
        );
        Ok(())
    }
}

impl GivenUp {
    fn read(service: &str, body: &[u8]) -> Result<Self, Failure> {
        let given_up: Self = serde_json::from_slice(body)
            .map_err(|error| Failure::malformed(anyhow::Error::new(error).context("not an advisory of the broker")))?;
        if given_up.consumer != service {
            return Err(Failure::malformed(anyhow::anyhow!("an advisory for {}, not {service}", given_up.consumer)));
        }
        Ok(given_up)
    }
}

/// A message of a stream, if it is still there. A replica may lag behind, so only its leader's word counts that it is not.
async fn stored(broker: &Broker, stream: &str, sequence: u64) -> anyhow::Result<Option<StreamMessage>> {
    let stream = broker.jetstream().get_stream_no_info(stream).await?;
    match stream.direct_get(sequence).await {
        Ok(message) => return Ok(Some(message)),
        Err(error) if error.kind() == DirectGetErrorKind::NotFound => {}
        Err(error) => return Err(error.into()),
    }
    match stream.get_raw_message(sequence).await {
        Ok(message) => Ok(Some(message)),
        Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_advisory_is_read_as_the_broker_writes_it() {
        let body = br#"{"type":"io.nats.jetstream.advisory.v1.max_deliver","id":"x","timestamp":"2026-11-22T10:00:00Z",
            "stream":"RECHARGES","consumer":"ledger","stream_seq":7,"deliveries":1000}"#;
        let read = GivenUp::read("ledger", body).unwrap();
        assert_eq!((read.stream.as_str(), read.stream_seq, read.deliveries), ("RECHARGES", 7, 1000));
        assert!(matches!(GivenUp::read("syncer", body), Err(Failure::Malformed(_))));
        assert!(matches!(GivenUp::read("ledger", b"{}"), Err(Failure::Malformed(_))));
    }
}
