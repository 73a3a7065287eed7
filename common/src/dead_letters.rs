//! Dead letters as a person deals with them: looked at, brought back to the service that gave up, or removed.
//!
//! A dead letter is brought back (redriven) over the stream of requests, to the one service that parked it: nobody else
//! sees the message again. That service's loop hands it to its handler as the message that it was, with its own subject
//! and id, so that nothing is done twice. If it fails again, it is parked again, as a new dead letter.

mod batch;

use std::str::FromStr;

use async_nats::jetstream::context::GetStreamErrorKind;
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::{
    DeleteMessageErrorKind, DirectGetError, DirectGetErrorKind, RawMessageErrorKind, Stream,
};
use async_nats::{HeaderMap, HeaderValue};
use bytes::Bytes;

use crate::broker::{Broker, Definitions, MESSAGE_ID, PublishError, TRACEPARENT, timestamp};
use crate::clock::Timestamp;
use crate::contract::{DeadLetterHeaders, organization_of, streams};
use crate::ids::OrganizationId;

/// Everything in the stream of dead letters.
const ALL: &str = "dead.>";
/// No page is longer than this.
const MAX_PAGE: usize = 1_000;
/// So many letters are looked at for a page of one organization's.
const MAX_SCAN: usize = 200;
/// What the subject of a message that is brought back starts with: ingress publishes it in its stream of requests.
const REDRIVE: &str = "requests.redrive.";

/// The subject on which a dead letter comes back to the service that gave up, and to no other.
#[must_use]
pub fn redrive_subject(service: &str, original: &str) -> String {
    format!("{REDRIVE}{service}.{original}")
}

/// The subject that a message had before it was parked, if this is the subject of one that comes back to the service.
#[must_use]
pub fn redriven<'a>(service: &str, subject: &'a str) -> Option<&'a str> {
    subject.strip_prefix(REDRIVE)?.strip_prefix(service)?.strip_prefix('.')
}

/// A parked message with what is known of it. What a letter does not say (somebody else may have put one there) is empty.
#[derive(Debug, Clone, PartialEq)]
pub struct DeadLetter {
    /// Its sequence in the stream of dead letters.
    pub sequence: u64,
    /// The service that gave up.
    pub service: String,
    /// The subject that the message had.
    pub subject: String,
    /// A stable word: see [`DeadLetterHeaders::REASON`].
    pub reason: String,
    /// The error with its causes.
    pub error: String,
    /// The stream that the message came from.
    pub stream: String,
    /// Its sequence in that stream.
    pub stream_sequence: Option<u64>,
    /// How often it was delivered.
    pub attempts: Option<u32>,
    /// The `Nats-Msg-Id` that it had.
    pub message_id: Option<String>,
    /// The trace context that it had.
    pub traceparent: Option<String>,
    /// Whom it is about, if its subject names one.
    pub organization: Option<OrganizationId>,
    /// When it was parked.
    pub parked_at: Timestamp,
    /// The message, byte for byte.
    pub body: Bytes,
}

/// Why dead letters could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum DeadLettersError {
    /// The broker is away, or did not answer: try again later.
    #[error("the broker does not answer: {0}")]
    Away(String),
    /// The broker said no.
    #[error("the broker refused: {0}")]
    Refused(String),
    /// No service of ours would take the letter if it were brought back.
    #[error("dead letter {sequence} can't be brought back: {reason}")]
    NotRedrivable {
        /// Which one.
        sequence: u64,
        /// Why.
        reason: String,
    },
}

impl From<PublishError> for DeadLettersError {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::NotConfirmed { refused: true, .. } => Self::Refused(error.to_string()),
            PublishError::NotConfirmed { .. } | PublishError::NotConnected => Self::Away(error.to_string()),
        }
    }
}

impl From<DirectGetError> for DeadLettersError {
    fn from(error: DirectGetError) -> Self {
        match error.kind() {
            // Nobody answers for the stream: it does not exist, or has no leader at the moment.
            DirectGetErrorKind::ErrorResponse(async_nats::StatusCode::NO_RESPONDERS, _)
            | DirectGetErrorKind::TimedOut
            | DirectGetErrorKind::Request
            | DirectGetErrorKind::Other => Self::Away(error.to_string()),
            DirectGetErrorKind::ErrorResponse(..)
            | DirectGetErrorKind::InvalidSubject
            | DirectGetErrorKind::NotFound => Self::Refused(error.to_string()),
        }
    }
}

/// The dead letters of every service.
#[derive(Clone)]
pub struct DeadLetters {
    broker: Broker,
}

impl DeadLetters {
    /// Over this connection.
    #[must_use]
    pub const fn new(broker: Broker) -> Self {
        Self { broker }
    }

    /// The dead letters after that sequence (0: from the first), oldest first, at most `limit` and at least one if there
    /// is one; and the sequence to go on after, if there are more.
    ///
    /// # Errors
    /// [`DeadLettersError::Away`] or [`DeadLettersError::Refused`].
    pub async fn page(&self, after: u64, limit: usize) -> Result<(Vec<DeadLetter>, Option<u64>), DeadLettersError> {
        self.check_connected()?;
        let limit = limit.clamp(1, MAX_PAGE);
        let mut letters: Vec<DeadLetter> = Vec::new();
        let mut last = after;
        // One more than is wanted tells whether there are more.
        while let Some(next) = last.checked_add(1).filter(|_| letters.len() <= limit) {
            let messages = batch::from(&self.broker, next, ALL, limit + 1 - letters.len()).await?;
            let Some(newest) = messages.last() else { return Ok((letters, None)) };
            last = newest.sequence;
            letters.extend(messages.into_iter().map(DeadLetter::of));
        }
        let has_more = letters.len() > limit;
        letters.truncate(limit);
        let next = letters.last().map(|last| last.sequence).filter(|_| has_more);
        Ok((letters, next))
    }

    /// As [`Self::page`], of one organization. So many letters are looked at for a page, whosever they are: it may be
    /// empty, and there may be more all the same.
    ///
    /// # Errors
    /// [`DeadLettersError::Away`] or [`DeadLettersError::Refused`].
    pub async fn page_of(
        &self,
        organization: &OrganizationId,
        after: u64,
        limit: usize,
    ) -> Result<(Vec<DeadLetter>, Option<u64>), DeadLettersError> {
        let (mut letters, mut next) = self.page(after, MAX_SCAN).await?;
        letters.retain(|letter| letter.organization.as_ref() == Some(organization));
        if letters.len() > limit.max(1) {
            letters.truncate(limit.max(1));
            next = letters.last().map(|last| last.sequence);
        }
        Ok((letters, next))
    }

    /// How many dead letters there are, and when the oldest was parked.
    ///
    /// # Errors
    /// [`DeadLettersError::Away`] or [`DeadLettersError::Refused`].
    pub async fn parked(&self) -> Result<(u64, Option<Timestamp>), DeadLettersError> {
        self.check_connected()?;
        let stream =
            self.broker.jetstream().get_stream(streams::DEAD_LETTERS).await.map_err(|error| match error.kind() {
                GetStreamErrorKind::Request => DeadLettersError::Away(error.to_string()),
                _ => DeadLettersError::Refused(error.to_string()),
            })?;
        let state = &stream.cached_info().state;
        let oldest = (state.messages > 0).then(|| timestamp(state.first_timestamp.unix_timestamp_nanos()));
        Ok((state.messages, oldest))
    }

    /// One dead letter; `None` when there is none with this sequence (any more).
    ///
    /// # Errors
    /// [`DeadLettersError::Away`] or [`DeadLettersError::Refused`].
    pub async fn get(&self, sequence: u64) -> Result<Option<DeadLetter>, DeadLettersError> {
        // The broker takes sequence 0 for an empty request.
        if sequence == 0 {
            return Ok(None);
        }
        let message = found(self.stream().await?.direct_get(sequence).await)?;
        Ok(message.map(DeadLetter::of))
    }

    /// Brings a dead letter back to the service that gave up, and waits until the broker has it. The letter itself stays.
    /// Repeating it is harmless: the broker drops the repeat, and after its dedupe window the handler knows the message.
    ///
    /// # Errors
    /// [`DeadLettersError::NotRedrivable`] when no service would take it, else as [`Self::get`].
    pub async fn redrive(&self, letter: &DeadLetter) -> Result<(), DeadLettersError> {
        letter.check_redrivable()?;
        let headers = letter.redrive_headers()?;
        let subject = redrive_subject(&letter.service, &letter.subject);
        let confirmed = self.broker.publish_raw(&subject, headers, letter.body.clone()).await?;
        tracing::info!(
            dead_letter = letter.sequence,
            duplicate = confirmed.duplicate,
            event_id = letter.message_id.as_deref().unwrap_or_default(),
            c_organization_id = letter.organization.as_ref().map(OrganizationId::as_str).unwrap_or_default(),
            "brought dead letter {} ({}) back to {}",
            letter.sequence,
            letter.subject,
            letter.service,
        );
        Ok(())
    }

    /// Deletes a dead letter; `false` when it is gone already.
    ///
    /// # Errors
    /// [`DeadLettersError::Away`] or [`DeadLettersError::Refused`].
    pub async fn remove(&self, sequence: u64) -> Result<bool, DeadLettersError> {
        if sequence == 0 {
            return Ok(false);
        }
        let stream = self.stream().await?;
        let Err(error) = stream.delete_message(sequence).await else { return Ok(true) };
        match error.kind() {
            // The broker has no code of its own for what is not there, so it is asked (its leader: a replica may lag).
            DeleteMessageErrorKind::JetStream(_) => match stream.get_raw_message(sequence).await {
                Err(gone) if gone.kind() == RawMessageErrorKind::NoMessageFound => Ok(false),
                _ => Err(DeadLettersError::Refused(error.to_string())),
            },
            DeleteMessageErrorKind::Request | DeleteMessageErrorKind::TimedOut => {
                Err(DeadLettersError::Away(error.to_string()))
            }
        }
    }

    fn check_connected(&self) -> Result<(), DeadLettersError> {
        if self.broker.is_connected() { Ok(()) } else { Err(DeadLettersError::Away("not connected".to_owned())) }
    }

    /// The stream, unasked: its answers tell soon enough whether it is there.
    async fn stream(&self) -> Result<Stream<()>, DeadLettersError> {
        self.check_connected()?;
        let stream = self.broker.jetstream().get_stream_no_info(streams::DEAD_LETTERS).await;
        stream.map_err(|error| DeadLettersError::Refused(error.to_string()))
    }
}

fn found(got: Result<StreamMessage, DirectGetError>) -> Result<Option<StreamMessage>, DeadLettersError> {
    match got {
        Ok(message) => Ok(Some(message)),
        Err(error) if error.kind() == DirectGetErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

impl DeadLetter {
    /// Whose it is, and what subject it had, is in its subject, which the broker vouches for; the rest in its headers.
    fn of(message: StreamMessage) -> Self {
        let header = |name: &str| message.headers.get(name).map(|value| value.as_str().to_owned());
        let parked_on = message.subject.as_str().strip_prefix("dead.").unwrap_or_default();
        let (service, subject) = parked_on.split_once('.').unwrap_or((parked_on, ""));
        Self {
            sequence: message.sequence,
            service: service.to_owned(),
            subject: subject.to_owned(),
            reason: header(DeadLetterHeaders::REASON).unwrap_or_default(),
            error: header(DeadLetterHeaders::ERROR).unwrap_or_default(),
            stream: header(DeadLetterHeaders::STREAM).unwrap_or_default(),
            stream_sequence: header(DeadLetterHeaders::SEQUENCE).and_then(|text| text.parse().ok()),
            attempts: header(DeadLetterHeaders::ATTEMPTS).and_then(|text| text.parse().ok()),
            message_id: header(DeadLetterHeaders::MESSAGE_ID),
            traceparent: header(TRACEPARENT),
            organization: organization_of(subject),
            parked_at: timestamp(message.time.unix_timestamp_nanos()),
            body: message.payload,
        }
    }

    fn redrive_headers(&self) -> Result<HeaderMap, DeadLettersError> {
        let mut headers = HeaderMap::new();
        // With the time: a stream that was made anew counts from 1 again.
        headers.insert(MESSAGE_ID, format!("redrive:{}:{}", self.sequence, self.parked_at.timestamp_micros()));
        let own = [(DeadLetterHeaders::MESSAGE_ID, &self.message_id), (TRACEPARENT, &self.traceparent)];
        for (name, value) in own.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?))) {
            // Read, not taken as it is: the client panics at a line break.
            let value = HeaderValue::from_str(value).map_err(|error| self.refuse(format!("{name}: {error}")))?;
            headers.insert(name, value);
        }
        Ok(headers)
    }

    fn refuse(&self, reason: String) -> DeadLettersError {
        DeadLettersError::NotRedrivable { sequence: self.sequence, reason }
    }

    fn check_redrivable(&self) -> Result<(), DeadLettersError> {
        if self.subject.is_empty() {
            return Err(self.refuse("it does not say which subject the message had".to_owned()));
        }
        let definitions = Definitions::committed().map_err(|error| self.refuse(format!("{error:#}")))?;
        if !definitions.takes_redrives(&self.service) {
            return Err(self.refuse(format!("there is no service {:?} that would take it", self.service)));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_back_has_the_subject_that_it_had() {
        let subject = redrive_subject("ledger", "recharges.charged.acme");
        assert_eq!(subject, "requests.redrive.ledger.recharges.charged.acme");
        assert_eq!(redriven("ledger", &subject), Some("recharges.charged.acme"));
        for other in ["syncer", "ledge", "ledger.recharges", ""] {
            assert_ne!(redriven(other, &subject), Some("recharges.charged.acme"), "{other}");
        }
        assert_eq!(redriven("ledger", "requests.adjust.acme"), None);
        assert_eq!(redriven("ledger", "recharges.charged.acme"), None);
    }
}
