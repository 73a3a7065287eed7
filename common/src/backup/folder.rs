//! The folder of a backup, and what must be in it.

use std::fs::Permissions;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::fs::{self, DirBuilder, File, OpenOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{CHUNK, Saved};
use crate::clock::Timestamp;

/// The form that this release writes and reads.
const FORMAT: u32 = 1;
/// Written last.
const MANIFEST: &str = "manifest.json";
/// What only its owner may read and enter.
const FOLDER: u32 = 0o700;
const FILE: u32 = 0o600;
/// A stream's settings and state.
pub(super) const META: &str = "backup.json";
/// A stream's messages and consumers, as the broker packs them.
pub(super) const DATA: &str = "stream.tar.s2";

/// What a complete backup has in it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Manifest {
    format: u32,
    /// When it was begun.
    taken_at: Timestamp,
    pub(super) streams: Vec<Entry>,
}

/// One stream of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) stream: String,
    pub(super) messages: u64,
    pub(super) last_sequence: u64,
    pub(super) bytes: u64,
    /// SHA-256 of each file, in hexadecimal.
    pub(super) data_sha256: String,
    pub(super) meta_sha256: String,
}

impl Entry {
    pub(super) fn saved(&self) -> Saved {
        let Self { stream, messages, last_sequence, bytes, .. } = self.clone();
        Saved { stream, messages, last_sequence, bytes }
    }
}

impl Manifest {
    pub(super) fn new(taken_at: Timestamp) -> Self {
        Self { format: FORMAT, taken_at, streams: Vec::new() }
    }
}

/// The folder.
#[derive(Debug)]
pub(super) struct Folder(PathBuf);

impl Folder {
    /// A new one, or one that is empty. Either way it is its owner's alone, and so is what comes into it: there are
    /// customers' data in it.
    pub(super) async fn create(path: &Path) -> anyhow::Result<Self> {
        let made = || format!("making {}", path.display());
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).await.with_context(made)?;
        }
        match private_folder(path).await {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                let mut entries = fs::read_dir(path).await.with_context(made)?;
                ensure!(entries.next_entry().await?.is_none(), "{} is not empty: name a new folder", path.display());
                fs::set_permissions(path, Permissions::from_mode(FOLDER)).await.with_context(made)?;
            }
            other => other.with_context(made)?,
        }
        Ok(Self(path.to_owned()))
    }

    /// One that is there.
    pub(super) fn open(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// A file of a stream.
    pub(super) fn file(&self, stream: &str, name: &str) -> PathBuf {
        self.0.join(stream).join(name)
    }

    /// A place for a stream's files.
    pub(super) async fn make_room(&self, stream: &str) -> anyhow::Result<()> {
        // Names of streams have no separators: the broker sees to that, and a manifest that was changed does not.
        ensure!(!stream.is_empty() && !stream.contains(['/', '\\', '.']), "{stream} is no name of a stream");
        Ok(private_folder(&self.0.join(stream)).await?)
    }

    /// Says that everything is there: under its name only when it is whole.
    pub(super) async fn finish(&self, manifest: &Manifest) -> anyhow::Result<()> {
        let unfinished = self.0.join("manifest.unfinished");
        write(&unfinished, &serde_json::to_vec_pretty(manifest)?).await?;
        fs::rename(&unfinished, self.0.join(MANIFEST)).await?;
        Ok(File::open(&self.0).await?.sync_all().await?)
    }

    /// What is in it.
    pub(super) async fn manifest(&self) -> anyhow::Result<Manifest> {
        let path = self.0.join(MANIFEST);
        let text = match fs::read(&path).await {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                anyhow::bail!("{} is no complete backup: it has no {MANIFEST}, which is written last", self.0.display())
            }
            Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
        };
        let manifest: Manifest =
            serde_json::from_slice(&text).with_context(|| format!("{} can't be read", path.display()))?;
        ensure!(manifest.format == FORMAT, "{} is of another form: {}", path.display(), manifest.format);
        Ok(manifest)
    }

    /// Whether a stream's files are what was written.
    pub(super) async fn check(&self, entry: &Entry) -> anyhow::Result<()> {
        for (name, want) in [(META, &entry.meta_sha256), (DATA, &entry.data_sha256)] {
            let path = self.file(&entry.stream, name);
            let found = sha256(&path).await.with_context(|| format!("reading {}", path.display()))?;
            ensure!(found == *want, "{} is not what was written: its checksum differs", path.display());
        }
        Ok(())
    }
}

/// Writes a file so that it is there after a power cut.
pub(super) async fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let mut file = private_file(path).await?;
    file.write_all(bytes).await?;
    Ok(file.sync_all().await?)
}

/// A new file, for its owner only whatever the umask is.
pub(super) async fn private_file(path: &Path) -> anyhow::Result<File> {
    let file = OpenOptions::new().write(true).create_new(true).mode(FILE).open(path).await;
    file.with_context(|| format!("writing {}", path.display()))
}

async fn private_folder(path: &Path) -> std::io::Result<()> {
    DirBuilder::new().mode(FOLDER).create(path).await
}

async fn sha256(path: &Path) -> anyhow::Result<String> {
    let (mut file, mut hash, mut buffer) = (File::open(path).await?, Sha256::new(), vec![0; CHUNK]);
    loop {
        let length = file.read(&mut buffer).await?;
        if length == 0 {
            return Ok(hex::encode(hash.finalize()));
        }
        hash.update(buffer.get(..length).unwrap_or_default());
    }
}
