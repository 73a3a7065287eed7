//! One stream, from files back to the broker.

use anyhow::{Context, ensure};
use async_nats::jetstream::{self, consumer, stream};
use async_nats::{Client, Request};
use bytes::Bytes;
use futures_util::TryStreamExt;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::fs::{self, File};
use tokio::io::AsyncReadExt;

use super::folder::{DATA, Entry, Folder, META};
use super::snapshot::number;
use super::{CHUNK, IDLE, Saved, WHOLE, answer};
use crate::broker::{Broker, is_missing_stream};

/// Where the broker wants the pieces.
#[derive(Debug, Deserialize)]
struct Beginning {
    deliver_subject: String,
}

/// What the broker made of them.
#[derive(Debug, Deserialize)]
struct End {
    state: Value,
}

/// A stream that was never written to may be replaced: somebody prepared the broker before restoring.
pub(super) async fn must_be_empty(jetstream: &jetstream::Context, name: &str) -> anyhow::Result<()> {
    let last = match jetstream.get_stream(name).await {
        Ok(stream) => stream.cached_info().state.last_sequence,
        Err(error) if is_missing_stream(&error) => 0,
        Err(error) => anyhow::bail!("stream {name}: {error}"),
    };
    ensure!(
        last == 0,
        "stream {name} is there and has had {last} messages: restore into an empty broker, or remove the stream first"
    );
    Ok(())
}

pub(super) async fn restore(broker: &Broker, folder: &Folder, entry: &Entry, replicas: usize) -> anyhow::Result<Saved> {
    let (client, name) = (broker.client(), &entry.stream);
    match broker.jetstream().delete_stream(name).await {
        Ok(_) => tracing::info!("stream {name} was there and empty: it is replaced"),
        Err(error) => tracing::debug!("stream {name} was not there: {error}"),
    }
    let mut meta: Value = serde_json::from_slice(&fs::read(folder.file(name, META)).await?)?;
    meta["config"]["num_replicas"] = json!(replicas);
    let subject = format!("$JS.API.STREAM.RESTORE.{name}");
    let begin = client.request(subject, serde_json::to_vec(&meta)?.into()).await?;
    let Beginning { deliver_subject } = answer(&begin.payload)?;

    let mut file = File::open(folder.file(name, DATA)).await?;
    loop {
        let mut piece = Vec::with_capacity(CHUNK);
        (&mut file).take(u64::try_from(CHUNK)?).read_to_end(&mut piece).await?;
        if piece.is_empty() {
            break;
        }
        let said = send(client, &deliver_subject, piece.into(), IDLE).await?;
        if !said.is_empty() {
            answer::<Value>(&said)?;
        }
    }
    let End { state } = answer(&send(client, &deliver_subject, Bytes::new(), WHOLE).await?)?;
    let (messages, last_sequence) = (number(&state, "messages"), number(&state, "last_seq"));
    ensure!(
        last_sequence >= entry.last_sequence,
        "its last message is {last_sequence}, and was {} when it was saved",
        entry.last_sequence
    );
    Ok(Saved { stream: name.clone(), messages, last_sequence, bytes: entry.bytes })
}

async fn send(client: &Client, subject: &str, piece: Bytes, limit: std::time::Duration) -> anyhow::Result<Bytes> {
    let request = Request::new().payload(piece).timeout(Some(limit));
    let said =
        client.send_request(subject.to_owned(), request).await.context("the broker does not take the next piece")?;
    Ok(said.payload)
}

/// Brokers before 2.15 save consumers after messages, so that a consumer may have gone further than the stream that was saved
/// with it. It would leave out as many new messages: it is made again, and reads its stream from the beginning.
pub(super) async fn mend_consumers(jetstream: &jetstream::Context, name: &str) -> anyhow::Result<Vec<String>> {
    let stream = jetstream.get_stream(name).await?;
    let last = stream.cached_info().state.last_sequence;
    let consumers: Vec<consumer::Info> = stream.consumers().try_collect().await?;
    let mut lines = Vec::new();
    for found in consumers.into_iter().filter(|found| is_ahead(found.delivered.stream_sequence, last)) {
        remake(&stream, &found).await?;
        lines.push(format!("consumer {} on {name} was ahead of it, and reads it again from the beginning", found.name));
    }
    Ok(lines)
}

async fn remake(stream: &stream::Stream, found: &consumer::Info) -> anyhow::Result<()> {
    stream.delete_consumer(&found.name).await?;
    stream.create_consumer(found.config.clone()).await?;
    Ok(())
}

fn is_ahead(delivered: u64, last: u64) -> bool {
    delivered > last
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_consumer_at_the_end_is_not_ahead() {
        assert_eq!(
            [(0, 0), (7, 7), (6, 7), (8, 7)].map(|(delivered, last)| is_ahead(delivered, last)),
            [false, false, false, true]
        );
    }
}
