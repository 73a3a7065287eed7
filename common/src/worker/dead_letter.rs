//! Parking: the message is stored as a dead letter and confirmed before its delivery is dropped. If it can't be
//! stored, it is not dropped.

use async_nats::HeaderMap;

use super::Delivery;
use super::verdict::ParkReason;
use crate::broker::{Broker, Confirmed, MESSAGE_ID, PublishError, TRACEPARENT};
use crate::contract::{DeadLetterHeaders, dead_letter_id, dead_letter_subject};

/// Header values longer than this are cut: the whole error is in the log.
const MAX_HEADER: usize = 1_000;

/// Stores a message as a dead letter. Its id is derived, so that parking it twice stores it once.
///
/// # Errors
/// When the broker did not confirm it.
pub(super) async fn park(
    broker: &Broker,
    service: &str,
    delivery: &Delivery,
    reason: ParkReason,
    error: &str,
) -> Result<Confirmed, PublishError> {
    let headers = headers(service, delivery, reason, error);
    let subject = dead_letter_subject(service, &delivery.subject);
    broker.publish_raw(&subject, headers, delivery.body.clone()).await
}

fn headers(service: &str, delivery: &Delivery, reason: ParkReason, error: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let mut put = |name: &str, value: &str| headers.insert(name, header_value(value).as_str());
    put(MESSAGE_ID, &dead_letter_id(service, &delivery.stream, delivery.sequence, &delivery.body));
    put(DeadLetterHeaders::REASON, reason.as_str());
    put(DeadLetterHeaders::ERROR, error);
    put(DeadLetterHeaders::STREAM, &delivery.stream);
    put(DeadLetterHeaders::CONSUMER, service);
    put(DeadLetterHeaders::SEQUENCE, &delivery.sequence.to_string());
    put(DeadLetterHeaders::ATTEMPTS, &delivery.attempt.to_string());
    put(DeadLetterHeaders::SUBJECT, &delivery.subject);
    if let Some(id) = &delivery.message_id {
        put(DeadLetterHeaders::MESSAGE_ID, id);
    }
    if let Some(traceparent) = &delivery.traceparent {
        put(TRACEPARENT, traceparent);
    }
    headers
}

/// One line of printable text: a header can't hold a line break.
pub(super) fn header_value(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_HEADER).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_can_not_break_the_headers() {
        assert_eq!(header_value("a\r\nNats-Msg-Id: b"), "a  Nats-Msg-Id: b");
        assert_eq!(header_value(&"x".repeat(5_000)).len(), MAX_HEADER);
    }
}
