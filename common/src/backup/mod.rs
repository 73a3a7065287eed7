//! Backups of the broker's streams: every message of every stream, and how far each consumer is.
//!
//! A folder has one folder for each stream, with the two files that `nats stream backup` writes and `nats stream restore`
//! reads (`backup.json`, `stream.tar.s2`), and `manifest.json`, which is written last: without it a backup is not complete.

mod folder;
mod restore;
mod snapshot;

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use futures_util::TryStreamExt;
use serde::Deserialize;
use serde_json::Value;

use self::folder::{Folder, Manifest};
use crate::broker::{Broker, Definitions};
use crate::clock::Timestamp;

/// How much of a snapshot is in one message: less than the broker lets us send back (`max_payload`).
const CHUNK: usize = 64 * 1024;
/// How long the broker may take to say the next thing.
const IDLE: Duration = Duration::from_secs(60);
/// How long the broker may take to read a whole stream again: before it begins to send it, and after it has received it.
const WHOLE: Duration = Duration::from_secs(3600);

/// A stream that is in a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saved {
    /// Its name.
    pub stream: String,
    /// How many messages.
    pub messages: u64,
    /// The sequence of the last one.
    pub last_sequence: u64,
    /// How many bytes its file has.
    pub bytes: u64,
}

/// Writes every stream of the account, with its consumers, into a folder that must not have anything in it.
///
/// A stream comes before those that its consumers write to: what is acknowledged in it then has its follow-ups in theirs.
/// Two things can be later than that, and are in the database, whose backup must be taken afterwards: docs/BACKUP.md.
///
/// # Errors
/// When the folder is not empty or can't be written, or the broker refuses or says nothing more. The folder is incomplete
/// then, and says so by having no manifest.
pub async fn backup(broker: &Broker, folder: &Path, now: Timestamp) -> anyhow::Result<Vec<Saved>> {
    let folder = Folder::create(folder).await?;
    let mut names: Vec<String> =
        broker.jetstream().stream_names().try_collect().await.context("listing the streams")?;
    let order: Vec<String> = Definitions::committed()?.streams.into_iter().map(|stream| stream.name).collect();
    names.sort_by_key(|name| (order.iter().position(|one| one == name).unwrap_or(usize::MAX), name.clone()));
    let mut manifest = Manifest::new(now);
    for name in &names {
        let entry =
            snapshot::snapshot(broker.client(), &folder, name).await.with_context(|| format!("stream {name}"))?;
        manifest.streams.push(entry);
    }
    folder.finish(&manifest).await?;
    Ok(manifest.streams.iter().map(folder::Entry::saved).collect())
}

/// Brings back every stream of a backup, with its consumers, as it was; with so many replicas. A stream that is there must
/// be empty, and is replaced. Returns what is there now, and a line for whatever is not as it was.
///
/// # Errors
/// When the backup is not complete or was changed, or a stream is not empty: nothing is changed then. And what the broker
/// says: streams that were restored until then stay, and an empty broker is needed for the next try.
pub async fn restore(broker: &Broker, folder: &Path, replicas: usize) -> anyhow::Result<(Vec<Saved>, Vec<String>)> {
    let folder = Folder::open(folder);
    let manifest = folder.manifest().await?;
    for entry in &manifest.streams {
        folder.check(entry).await?;
        restore::must_be_empty(broker.jetstream(), &entry.stream).await?;
    }
    let (mut restored, mut lines) = (Vec::new(), Vec::new());
    for entry in &manifest.streams {
        let name = &entry.stream;
        let found =
            restore::restore(broker, &folder, entry, replicas).await.with_context(|| format!("stream {name}"))?;
        if found.messages != entry.messages {
            lines.push(format!(
                "{name} has {} of {} messages: others are too old by now",
                found.messages, entry.messages
            ));
        }
        lines.extend(restore::mend_consumers(broker.jetstream(), name).await?);
        restored.push(found);
    }
    Ok((restored, lines))
}

/// An answer of the JetStream API: what was asked for, or why not.
fn answer<T: for<'a> Deserialize<'a>>(body: &[u8]) -> anyhow::Result<T> {
    let value: Value = serde_json::from_slice(body).context("the broker's answer can't be read")?;
    if let Some(error) = value.get("error").filter(|error| !error.is_null()) {
        let (code, description) = (&error["err_code"], error["description"].as_str().unwrap_or("no reason"));
        anyhow::bail!("the broker refuses: {description} ({code})");
    }
    Ok(serde_json::from_value(value)?)
}
