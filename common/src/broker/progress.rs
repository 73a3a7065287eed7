//! How far consumers are.

use async_nats::jetstream::consumer::{Info, pull};
use async_nats::jetstream::stream::ConsumerErrorKind;
use chrono::DateTime;

use super::{Broker, is_missing_consumer};
use crate::clock::Timestamp;

/// How far a consumer is with its stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// So many messages wait that were never delivered.
    pub pending: u64,
    /// So many were delivered and not acknowledged yet.
    pub ack_pending: u64,
    /// So many of these were delivered more than once.
    pub redelivered: u64,
    /// So many requests for messages wait for one: with none, no replica of the service is there.
    pub asking: u64,
    /// When a message was last delivered.
    pub delivered_at: Option<Timestamp>,
    /// When one was last acknowledged.
    pub acked_at: Option<Timestamp>,
}

/// Why it is not known how far a consumer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unknown {
    /// There is no connection, or no answer in time. An answer that may not be asked for does not come either.
    #[error("the message broker does not answer")]
    Away,
    /// There is no such consumer.
    #[error("there is no such consumer: were the streams set up?")]
    Missing,
    /// The broker said no.
    #[error("the message broker refused")]
    Refused,
}

impl Broker {
    /// How far a consumer is.
    ///
    /// # Errors
    /// [`Unknown`].
    pub async fn progress(&self, stream: &str, consumer: &str) -> Result<Progress, Unknown> {
        if !self.is_connected() {
            return Err(Unknown::Away);
        }
        match self.jetstream.get_consumer_from_stream::<pull::Config, _, _>(consumer, stream).await {
            Ok(found) => Ok(Progress::of(found.cached_info())),
            Err(error) if is_missing_consumer(&error) => Err(Unknown::Missing),
            Err(error) => Err(match error.kind() {
                ConsumerErrorKind::TimedOut | ConsumerErrorKind::Request => Unknown::Away,
                _ => Unknown::Refused,
            }),
        }
    }
}

impl Progress {
    fn of(info: &Info) -> Self {
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        Self {
            pending: info.num_pending,
            ack_pending: count(info.num_ack_pending),
            redelivered: count(info.num_redelivered),
            asking: count(info.num_waiting),
            delivered_at: info.delivered.last_active.map(|at| timestamp(at.unix_timestamp_nanos())),
            acked_at: info.ack_floor.last_active.map(|at| timestamp(at.unix_timestamp_nanos())),
        }
    }
}

/// The broker's time, which is later than 1677 and earlier than 2262.
pub(crate) fn timestamp(nanoseconds: i128) -> Timestamp {
    DateTime::from_timestamp_nanos(i64::try_from(nanoseconds).unwrap_or_default())
}
