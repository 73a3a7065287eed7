//! One stream, from the broker into files: a snapshot is sent to us in pieces, and goes on as we answer each.

use anyhow::{Context, ensure};
use async_nats::{Client, Message, Request};
use futures_util::StreamExt;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;

use super::folder::{DATA, Entry, Folder, META, private_file, write};
use super::{CHUNK, IDLE, WHOLE, answer};

/// What the broker says before it begins to send.
#[derive(Debug, Deserialize)]
struct Beginning {
    config: Value,
    state: Value,
}

/// The broker has nothing more to send.
const END: u16 = 204;

pub(super) async fn snapshot(client: &Client, folder: &Folder, stream: &str) -> anyhow::Result<Entry> {
    folder.make_room(stream).await?;
    let inbox = client.new_inbox();
    let mut pieces = client.subscribe(inbox.clone()).await?;
    // Every message's checksum is read before: a snapshot of a damaged stream is refused.
    let request = json!({ "deliver_subject": inbox, "no_consumers": false, "chunk_size": CHUNK, "jsck": true });
    let request = Request::new().payload(serde_json::to_vec(&request)?.into()).timeout(Some(WHOLE));
    let subject = format!("$JS.API.STREAM.SNAPSHOT.{stream}");
    let beginning: Beginning = answer(&client.send_request(subject, request).await?.payload)?;

    let mut file = private_file(&folder.file(stream, DATA)).await?;
    let (mut hash, mut bytes) = (Sha256::new(), 0_u64);
    loop {
        let piece = tokio::time::timeout(IDLE, pieces.next()).await;
        let piece =
            piece.context("the broker sends nothing more")?.context("the connection to the broker was closed")?;
        if piece.payload.is_empty() {
            ended_well(&piece)?;
            break;
        }
        hash.update(&piece.payload);
        bytes = bytes.saturating_add(u64::try_from(piece.payload.len())?);
        file.write_all(&piece.payload).await?;
        if let Some(reply) = piece.reply {
            client.publish(reply, Vec::new().into()).await?;
        }
    }
    file.sync_all().await?;
    pieces.unsubscribe().await?;
    ensure!(bytes > 0, "the broker sent nothing");

    let meta = serde_json::to_vec_pretty(&json!({ "config": beginning.config, "state": beginning.state }))?;
    write(&folder.file(stream, META), &meta).await?;
    Ok(Entry {
        stream: stream.to_owned(),
        messages: number(&beginning.state, "messages"),
        last_sequence: number(&beginning.state, "last_seq"),
        bytes,
        data_sha256: hex::encode(hash.finalize()),
        meta_sha256: hex::encode(Sha256::digest(&meta)),
    })
}

/// Whether the last piece says that it was the last; older brokers say nothing with it.
fn ended_well(last: &Message) -> anyhow::Result<()> {
    let Some(status) = last.status.filter(|status| status.as_u16() != END) else { return Ok(()) };
    let reason = last.description.as_deref().unwrap_or("no reason");
    anyhow::bail!("the broker could not go on: {reason} ({})", status.as_u16())
}

pub(super) fn number(state: &Value, field: &str) -> u64 {
    state[field].as_u64().unwrap_or_default()
}
