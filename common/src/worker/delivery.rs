//! A message as a handler sees it.

use async_nats::HeaderMap;
use async_nats::jetstream::Message;
use async_nats::jetstream::message::StreamMessage;
use bytes::Bytes;
use serde::Deserialize;

use crate::broker::{MESSAGE_ID, TRACEPARENT};
use crate::contract::{DeadLetterHeaders, Event, Payload, TraceContext, kind_of};
use crate::dead_letters::redriven;
use crate::failure::Failure;
use crate::ids::EventId;

/// One delivery of a message.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// The subject it was published on.
    pub subject: String,
    /// The message, byte for byte.
    pub body: Bytes,
    /// The stream it is from.
    pub stream: String,
    /// Its sequence in that stream.
    pub sequence: u64,
    /// How often it was delivered, this time included.
    pub attempt: u32,
    /// Its `Nats-Msg-Id`.
    pub message_id: Option<String>,
    /// Its trace context.
    pub traceparent: Option<String>,
}

impl Delivery {
    /// The subject without the organization, such as `recharges.charged`.
    #[must_use]
    pub fn kind(&self) -> &str {
        kind_of(&self.subject)
    }

    /// The event that it carries.
    ///
    /// # Errors
    /// [`Failure::Malformed`] when it is another.
    pub fn decode<T: Payload>(&self) -> Result<Event<T>, Failure> {
        Event::decode(&self.body)
    }

    /// The chain that it is a part of. Its header says the trace; without one, the event in it does.
    pub(super) fn chain(&self) -> Chain {
        let said = serde_json::from_slice::<Said>(&self.body).unwrap_or_default();
        let derived = || Some(TraceContext::of(said.correlationid.as_ref()?, said.id.as_ref()?));
        let trace = self.traceparent.as_deref().and_then(TraceContext::parse).or_else(derived);
        Chain { trace, correlation: said.correlationid }
    }

    /// A message that the broker brought to the service.
    pub(super) fn of(service: &str, message: &Message) -> Result<Self, async_nats::Error> {
        let info = message.info()?;
        let headers = message.headers.clone().unwrap_or_default();
        let stored = Stored { stream: info.stream, sequence: info.stream_sequence, delivered: info.delivered };
        Ok(Self::new(service, message.subject.as_str(), &headers, message.payload.clone(), &stored))
    }

    /// A message that was read from its stream after the broker gave it up.
    pub(super) fn given_up(service: &str, message: &StreamMessage, stream: &str, delivered: i64) -> Self {
        let stored = Stored { stream, sequence: message.sequence, delivered };
        Self::new(service, message.subject.as_str(), &message.headers, message.payload.clone(), &stored)
    }

    /// One that is brought back is what it was: its own subject and id, not the redrive's.
    fn new(service: &str, subject: &str, headers: &HeaderMap, body: Bytes, stored: &Stored<'_>) -> Self {
        let header = |name: &str| headers.get(name).map(|value| value.as_str().to_owned());
        let original = redriven(service, subject);
        Self {
            subject: original.unwrap_or(subject).to_owned(),
            body,
            stream: stored.stream.to_owned(),
            sequence: stored.sequence,
            attempt: u32::try_from(stored.delivered).unwrap_or(u32::MAX),
            message_id: header(if original.is_some() { DeadLetterHeaders::MESSAGE_ID } else { MESSAGE_ID }),
            traceparent: header(TRACEPARENT),
        }
    }

    /// Where in its window this delivery's delay falls: spread over messages, the same for a repeat.
    pub(super) fn spread(&self) -> u32 {
        let mixed = self.sequence.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(self.attempt % 64);
        u32::try_from(mixed % 1000).unwrap_or_default()
    }
}

/// What a message says of its chain.
pub(super) struct Chain {
    /// The trace, and the span that published the message.
    pub(super) trace: Option<TraceContext>,
    /// The event that started the chain.
    pub(super) correlation: Option<EventId>,
}

/// The part of an event that says it, whatever else is in it; a message that is no event of ours has nothing of it.
#[derive(Default, Deserialize)]
struct Said {
    id: Option<EventId>,
    correlationid: Option<EventId>,
}

/// Where a message is stored, and how often it was delivered.
struct Stored<'a> {
    stream: &'a str,
    sequence: u64,
    delivered: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivery(subject: &str) -> Delivery {
        let mut headers = HeaderMap::new();
        headers.insert(MESSAGE_ID, "redrive:7");
        headers.insert(DeadLetterHeaders::MESSAGE_ID, "evt_1");
        let stored = Stored { stream: "REQUESTS", sequence: 9, delivered: 2 };
        Delivery::new("ledger", subject, &headers, "body".into(), &stored)
    }

    #[test]
    fn a_message_says_its_chain_in_its_header_or_in_its_event() {
        let mut message = delivery("recharges.charged.acme");
        assert_eq!((message.chain().trace, message.chain().correlation), (None, None));
        message.body = r#"{"id":"evt_2","correlationid":"evt_1","data":{"amount":1.5}}"#.into();
        let [first, second] = ["evt_1", "evt_2"].map(|id| EventId::parse(id).unwrap());
        let derived = TraceContext::of(&first, &second);
        assert_eq!((message.chain().trace, message.chain().correlation), (Some(derived), Some(first)));
        let carried = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        message.traceparent = Some(carried.to_owned());
        assert_eq!(message.chain().trace, TraceContext::parse(carried));
        message.traceparent = Some("nonsense".to_owned());
        assert_eq!(message.chain().trace, Some(derived));
    }

    #[test]
    fn what_is_brought_back_is_what_it_was() {
        let back = delivery("requests.redrive.ledger.recharges.charged.acme");
        assert_eq!((back.subject.as_str(), back.kind()), ("recharges.charged.acme", "recharges.charged"));
        assert_eq!(back.message_id.as_deref(), Some("evt_1"));
        assert_eq!((back.stream.as_str(), back.sequence, back.attempt), ("REQUESTS", 9, 2));

        for other in ["requests.redrive.syncer.ledger.credited.acme", "requests.adjust.acme"] {
            let plain = delivery(other);
            assert_eq!(plain.subject, other);
            assert_eq!(plain.message_id.as_deref(), Some("redrive:7"));
        }
    }
}
