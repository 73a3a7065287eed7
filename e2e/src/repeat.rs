//! Messages that are published again, as if the broker had forgotten that it has them.

use async_nats::HeaderMap;
use async_nats::jetstream::stream::Stream;
use common::broker::{Broker, MESSAGE_ID};
use common::contract::streams;

/// The streams whose messages may be published again.
pub const STREAMS: [&str; 5] =
    [streams::WEBHOOKS, streams::REQUESTS, streams::RECHARGES, streams::LEDGER, streams::QUOTAS];

/// What the id of a message that is published again begins with.
const REPEAT: &str = "repeat:";

/// Publishes the message of this sequence again, under an id that `tag` makes another one each time. One that is a repeat
/// itself is left alone.
///
/// # Errors
/// What the broker says.
pub async fn again(broker: &Broker, stream: &Stream, sequence: u64, tag: &str) -> anyhow::Result<()> {
    let message = stream.get_raw_message(sequence).await?;
    if message.headers.get(MESSAGE_ID).is_some_and(|id| id.as_str().starts_with(REPEAT)) {
        return Ok(());
    }
    let name = &stream.cached_info().config.name;
    let mut headers = HeaderMap::new();
    headers.insert(MESSAGE_ID, format!("{REPEAT}{tag}:{name}:{sequence}").as_str());
    broker.jetstream().publish_with_headers(message.subject, headers, message.payload).await?.await?;
    Ok(())
}
