//! What a server proves its name with, when connections to it are encrypted.

use std::fs::{File, remove_file};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::folder;
use crate::user::User;

/// A certificate and its key, both as PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The server's certificate, and those that lead from it to its authority.
    pub certificate: String,
    /// Its private key.
    pub key: String,
}

impl Identity {
    /// Writes both where [`certificate_in`] and [`key_in`] say, readable for the server only.
    pub(crate) fn write(&self, folder: &Path, user: Option<&User>) -> Result<()> {
        for (path, text) in [(certificate_in(folder), &self.certificate), (key_in(folder), &self.key)] {
            match remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("removing {}", path.display()));
                }
                _ => {}
            }
            let file = File::options().write(true).create_new(true).mode(0o600).open(&path);
            file.and_then(|mut file| file.write_all(text.as_bytes()))
                .with_context(|| format!("writing {}", path.display()))?;
            folder::give_to(&path, user)?;
        }
        Ok(())
    }
}

/// Where the certificate is, of a server with this folder.
pub(crate) fn certificate_in(folder: &Path) -> PathBuf {
    folder.join("server.pem")
}

/// Where the key is, of a server with this folder.
pub(crate) fn key_in(folder: &Path) -> PathBuf {
    folder.join("server-key.pem")
}
