//! NATS JetStream: the connection, confirmed publishing, and the streams and consumers as `nats/` defines them.

mod address;
mod connection;
mod progress;

use std::time::Duration;

use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::{self, consumer, stream};
use async_nats::{Client, HeaderMap};
use backon::{ExponentialBuilder, Retryable};
use bytes::Bytes;
use serde::Deserialize;
use tokio::sync::watch;
use tracing::Instrument as _;

pub use self::address::BrokerAddress;
pub(crate) use self::progress::timestamp;
pub use self::progress::{Progress, Unknown};
use crate::config::Reader;
use crate::contract::Outgoing;
use crate::dead_letters::redrive_subject;
use crate::health::Health;
use crate::telemetry::spans;

/// How long the broker may take to confirm a message before it is sent again with the same id.
const CONFIRM: Duration = Duration::from_secs(3);
/// The header that carries the W3C trace context.
pub const TRACEPARENT: &str = "traceparent";
/// The header that the broker dedupes on.
pub const MESSAGE_ID: &str = "Nats-Msg-Id";

/// A message that the broker did not confirm. It may have been stored all the same: send it again with the same id.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// There is no connection.
    #[error("the broker is not connected")]
    NotConnected,
    /// The broker did not answer, or refused.
    #[error("the broker did not confirm {subject}: {reason}")]
    NotConfirmed {
        /// Where to.
        subject: String,
        /// What it said.
        reason: String,
        /// Whether it said no, rather than nothing.
        refused: bool,
    },
}

/// The broker's confirmation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Confirmed {
    /// The message's sequence in its stream.
    pub sequence: u64,
    /// Whether the broker had it already.
    pub duplicate: bool,
}

/// A connection that comes back by itself. Clones share it.
#[derive(Clone)]
pub struct Broker {
    client: Client,
    jetstream: jetstream::Context,
    closed: watch::Receiver<bool>,
}

impl Broker {
    /// Connects, and goes on trying for ever in the background: a service may start before its broker. What happens
    /// to the connection is logged and told to `health`, permission denials included: they otherwise look like timeouts.
    ///
    /// # Errors
    /// When the address can't be understood.
    pub async fn connect(address: impl Into<BrokerAddress>, service: &str, health: Health) -> anyhow::Result<Self> {
        let (closed_tx, closed) = watch::channel(false);
        let client = connection::open(&address.into(), service, health, closed_tx).await?;
        let mut jetstream = jetstream::new(client.clone());
        jetstream.set_timeout(CONFIRM);
        Ok(Self { client, jetstream, closed })
    }

    /// Whether there is a connection at this moment.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.client.connection_state() == async_nats::connection::State::Connected
    }

    /// The plain client, for core subscriptions and acknowledgements.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// JetStream, for consumers and administration.
    #[must_use]
    pub fn jetstream(&self) -> &jetstream::Context {
        &self.jetstream
    }

    /// Publishes an event and waits for the broker's confirmation; a lost confirmation is asked for again with the same id.
    ///
    /// # Errors
    /// When it was not confirmed after three tries, or there is no connection.
    pub async fn publish(&self, message: &Outgoing) -> Result<Confirmed, PublishError> {
        let mut headers = HeaderMap::new();
        headers.insert(MESSAGE_ID, message.id.as_str());
        if let Some(traceparent) = &message.traceparent {
            headers.insert(TRACEPARENT, traceparent.as_str());
        }
        let span = spans::publish(message);
        let published =
            self.publish_raw(&message.subject, headers, message.body.clone()).instrument(span.clone()).await;
        match &published {
            Ok(confirmed) if confirmed.duplicate => spans::duplicate(&span),
            Ok(_) => {}
            Err(_) => spans::failed(&span),
        }
        published
    }

    /// As [`Self::publish`], for bytes with headers.
    ///
    /// # Errors
    /// As [`Self::publish`].
    pub async fn publish_raw(&self, subject: &str, headers: HeaderMap, body: Bytes) -> Result<Confirmed, PublishError> {
        let once = || async {
            if !self.is_connected() {
                return Err(PublishError::NotConnected);
            }
            let sent = self.jetstream.publish_with_headers(subject.to_owned(), headers.clone(), body.clone()).await;
            let confirmed = match sent {
                Ok(waiting) => waiting.await,
                Err(error) => Err(error),
            };
            confirmed.map(|ack| Confirmed { sequence: ack.sequence, duplicate: ack.duplicate }).map_err(|error| {
                let (subject, reason) = (subject.to_owned(), error.to_string());
                PublishError::NotConfirmed { subject, reason, refused: is_refusal(error.kind()) }
            })
        };
        once.retry(ExponentialBuilder::default().with_min_delay(Duration::from_millis(50)).with_max_times(2))
            .when(|error| matches!(error, PublishError::NotConfirmed { .. }))
            .await
    }

    /// Sends what is buffered and closes the connection. Waits for the closing itself: after `drain` returns, the
    /// client still says that it is connected.
    pub async fn close(&self) {
        if self.client.drain().await.is_err() {
            return;
        }
        let mut closed = self.closed.clone();
        drop(tokio::time::timeout(Duration::from_secs(3), closed.wait_for(|closed| *closed)).await);
    }
}

/// Nobody there (no stream, or no leader of it at the moment) and no answer are no refusals.
fn is_refusal(kind: PublishErrorKind) -> bool {
    use PublishErrorKind::{BrokenPipe, MaxAckPending, StreamNotFound, TimedOut};
    !matches!(kind, StreamNotFound | TimedOut | BrokenPipe | MaxAckPending)
}

/// A durable consumer, as `nats/consumers.json` defines it.
#[derive(Debug, Clone, Deserialize)]
pub struct ConsumerDefinition {
    /// The stream it reads.
    pub stream: String,
    /// Its settings, in the words of the JetStream API.
    pub config: consumer::pull::Config,
}

/// What differs between deployments.
#[derive(Debug, Clone, Copy)]
pub struct Deployed {
    /// `NATS_REPLICAS`: so many replicas of each stream. 1 by default; 3 for a cluster of three.
    pub replicas: usize,
    /// `CONSUMER_ACK_WAIT`: how long a consumer waits for an acknowledgement. 30 seconds by default.
    pub ack_wait: Duration,
}

impl Default for Deployed {
    fn default() -> Self {
        Self { replicas: 1, ack_wait: Duration::from_secs(30) }
    }
}

impl Deployed {
    /// Reads both variables.
    pub fn read(reader: &mut Reader<'_>) -> Self {
        let usual = Self::default();
        Self {
            replicas: reader.parse("NATS_REPLICAS", usual.replicas),
            ack_wait: reader.duration("CONSUMER_ACK_WAIT", usual.ack_wait),
        }
    }
}

/// What `nats/` says should exist.
#[derive(Debug, Clone)]
pub struct Definitions {
    /// The streams.
    pub streams: Vec<stream::Config>,
    /// The consumers.
    pub consumers: Vec<ConsumerDefinition>,
}

impl Definitions {
    /// The committed definitions.
    ///
    /// # Errors
    /// When the files can't be read as what they should be; a test checks that they can.
    pub fn committed() -> anyhow::Result<Self> {
        Ok(Self {
            streams: serde_json::from_str(include_str!("../../nats/streams.json"))?,
            consumers: serde_json::from_str(include_str!("../../nats/consumers.json"))?,
        })
    }

    /// The same for a deployment.
    #[must_use]
    pub fn deployed(self, deployed: Deployed) -> Self {
        self.with_replicas(deployed.replicas).with_ack_wait(deployed.ack_wait)
    }

    /// The same with so many replicas of each stream: 3 for a cluster of three.
    #[must_use]
    pub fn with_replicas(mut self, replicas: usize) -> Self {
        for stream in &mut self.streams {
            stream.num_replicas = replicas;
        }
        self
    }

    /// The same with another time that a consumer waits for an acknowledgement.
    #[must_use]
    pub fn with_ack_wait(mut self, ack_wait: Duration) -> Self {
        for consumer in &mut self.consumers {
            consumer.config.ack_wait = ack_wait;
        }
        self
    }

    /// The same with another number of deliveries before the broker gives a message up, where there is such a number.
    #[must_use]
    pub fn with_max_deliver(mut self, max_deliver: i64) -> Self {
        for consumer in self.consumers.iter_mut().filter(|consumer| consumer.config.max_deliver > 0) {
            consumer.config.max_deliver = max_deliver;
        }
        self
    }

    /// Whether the service has a consumer for dead letters that come back to it.
    #[must_use]
    pub fn takes_redrives(&self, service: &str) -> bool {
        let subject = redrive_subject(service, ">");
        let mut own = self.consumers.iter().filter(|consumer| consumer.name() == service);
        own.any(|consumer| consumer.config.filter_subjects.contains(&subject))
    }

    /// The consumers of one service: stream and durable name.
    #[must_use]
    pub fn consumers_of(&self, service: &str) -> Vec<(String, String)> {
        self.consumers
            .iter()
            .filter_map(|consumer| Some((consumer.stream.clone(), consumer.config.durable_name.clone()?)))
            .filter(|(_, durable)| durable == service)
            .collect()
    }

    /// Creates what is missing and changes what differs (an upsert: the `get_or_create` calls keep old settings
    /// silently). Returns a line for everything that was missing or differed.
    ///
    /// # Errors
    /// What the broker says.
    pub async fn apply(&self, jetstream: &jetstream::Context) -> anyhow::Result<Vec<String>> {
        let drift = self.drift(jetstream).await?;
        for stream in &self.streams {
            jetstream
                .create_or_update_stream(stream.clone())
                .await
                .map_err(|error| anyhow::anyhow!("stream {}: {error}", stream.name))?;
        }
        for consumer in &self.consumers {
            jetstream
                .create_consumer_on_stream(consumer.config.clone(), consumer.stream.as_str())
                .await
                .map_err(|error| anyhow::anyhow!("consumer {} on {}: {error}", consumer.name(), consumer.stream))?;
        }
        Ok(drift)
    }

    /// Compares what exists with what should: a line for each difference.
    ///
    /// # Errors
    /// What the broker says, other than that something does not exist.
    pub async fn drift(&self, jetstream: &jetstream::Context) -> anyhow::Result<Vec<String>> {
        let mut lines = Vec::new();
        for want in &self.streams {
            match jetstream.get_stream(&want.name).await {
                Ok(found) => {
                    let have = serde_json::to_value(&found.cached_info().config)?;
                    lines.extend(differences(&format!("stream {}", want.name), &serde_json::to_value(want)?, &have));
                }
                Err(error) if is_missing_stream(&error) => lines.push(format!("stream {} is missing", want.name)),
                Err(error) => anyhow::bail!("stream {}: {error}", want.name),
            }
        }
        for want in &self.consumers {
            let name = format!("consumer {} on {}", want.name(), want.stream);
            let found = jetstream
                .get_consumer_from_stream::<consumer::pull::Config, _, _>(want.name(), want.stream.as_str())
                .await;
            match found {
                Ok(found) => {
                    let have = serde_json::to_value(&found.cached_info().config)?;
                    lines.extend(differences(&name, &serde_json::to_value(&want.config)?, &have));
                }
                Err(error) if is_missing_consumer(&error) => lines.push(format!("{name} is missing")),
                Err(error) => anyhow::bail!("{name}: {error}"),
            }
        }
        Ok(lines)
    }
}

impl ConsumerDefinition {
    pub(crate) fn name(&self) -> &str {
        self.config.durable_name.as_deref().unwrap_or_default()
    }
}

/// Whether it is only that there is no such stream.
pub(crate) fn is_missing_stream(error: &jetstream::context::GetStreamError) -> bool {
    matches!(error.kind(), jetstream::context::GetStreamErrorKind::JetStream(error) if error.error_code() == jetstream::ErrorCode::STREAM_NOT_FOUND)
}

/// Without its stream a consumer is missing, too.
fn is_missing_consumer(error: &stream::ConsumerError) -> bool {
    let missing = [jetstream::ErrorCode::CONSUMER_NOT_FOUND, jetstream::ErrorCode::STREAM_NOT_FOUND];
    matches!(error.kind(), stream::ConsumerErrorKind::JetStream(error) if missing.contains(&error.error_code()))
}

/// Every setting that the definition names and the broker has otherwise. What the definition leaves out is the broker's choice.
fn differences(what: &str, want: &serde_json::Value, have: &serde_json::Value) -> Vec<String> {
    let Some(want) = want.as_object() else { return Vec::new() };
    want.iter()
        .filter(|(key, value)| {
            let have = &have[key.as_str()];
            **value != *have
                && !(is_default(value) && (have.is_null() || is_default(have)))
                && key.as_str() != "metadata"
        })
        .map(|(key, value)| format!("{what}: {key} is {}, should be {value}", have[key.as_str()]))
        .collect()
}

fn is_default(value: &serde_json::Value) -> bool {
    match value {
        serde_json::Value::Null => true,
        serde_json::Value::Bool(on) => !on,
        serde_json::Value::Number(number) => matches!(number.as_i64(), Some(0 | -1)),
        serde_json::Value::String(text) => text.is_empty(),
        serde_json::Value::Array(items) => items.is_empty(),
        serde_json::Value::Object(fields) => fields.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::streams;

    #[test]
    fn the_committed_definitions_can_be_read_and_fit_together() {
        let definitions = Definitions::committed().unwrap();
        for stream in &definitions.streams {
            assert_eq!(stream.retention, stream::RetentionPolicy::Limits, "{}", stream.name);
            assert_eq!(stream.storage, stream::StorageType::File, "{}", stream.name);
            assert_eq!(stream.discard, stream::DiscardPolicy::New, "{}: nothing unread is thrown away", stream.name);
        }
        for consumer in &definitions.consumers {
            assert!(definitions.streams.iter().any(|stream| stream.name == consumer.stream), "{}", consumer.name());
            for subject in &consumer.config.filter_subjects {
                assert_eq!(streams::of(subject), Some(consumer.stream.as_str()), "{subject}");
            }
        }
        for service in ["recharger", "ledger", "syncer"] {
            let consumers = definitions.consumers_of(service);
            assert!(consumers.contains(&(streams::ADVISORIES.to_owned(), service.to_owned())), "{service}");
            assert!(definitions.takes_redrives(service), "{service}");
        }
        assert!(!definitions.takes_redrives("ingress"));
        // The net has no end of its own, whatever the others have.
        let short = definitions.with_max_deliver(2).consumers;
        assert!(
            short.iter().all(|one| one.config.max_deliver == if one.stream == streams::ADVISORIES { -1 } else { 2 })
        );
    }

    #[test]
    fn drift_names_the_setting() {
        let want = serde_json::json!({ "max_age": 5, "discard": "new", "max_msgs": 0 });
        let have = serde_json::json!({ "max_age": 7, "discard": "new", "max_msgs": -1, "other": 1 });
        assert_eq!(differences("stream X", &want, &have), ["stream X: max_age is 7, should be 5"]);
    }
}
