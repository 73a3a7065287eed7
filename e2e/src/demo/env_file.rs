//! `target/demo/env`: what other programs need to join in.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;

/// The file, removed when dropped, unless another demo has put its own there meanwhile.
pub(super) struct EnvFile {
    path: PathBuf,
    text: String,
}

impl EnvFile {
    /// Writes `KEY=VALUE` lines. Who reads the file finds all of them or no file.
    pub(super) fn write(path: PathBuf, pairs: &[(String, String)]) -> anyhow::Result<Self> {
        let text: String = pairs.iter().map(|(key, value)| format!("{key}={value}\n")).collect();
        let unfinished = path.with_extension(format!("{}.unfinished", std::process::id()));
        // It holds the database's password.
        let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
        file.write_all(text.as_bytes()).with_context(|| format!("writing {}", unfinished.display()))?;
        fs::rename(&unfinished, &path).with_context(|| format!("renaming {}", unfinished.display()))?;
        Ok(Self { path, text })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for EnvFile {
    fn drop(&mut self) {
        if fs::read_to_string(&self.path).is_ok_and(|text| text == self.text) {
            // Nothing useful can be done about a failure here; the next demo removes it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ones_own_file_is_removed() {
        let folder = xtask::folder::PrivateFolder::create("demo-env", None).unwrap();
        let path = folder.path().join("env");
        let pairs = |value: &str| [("A".to_owned(), value.to_owned()), ("B".to_owned(), "x=y".to_owned())];
        let first = EnvFile::write(path.clone(), &pairs("1")).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "A=1\nB=x=y\n");
        let second = EnvFile::write(path.clone(), &pairs("2")).unwrap();
        drop(first);
        assert_eq!(fs::read_to_string(&path).unwrap(), "A=2\nB=x=y\n");
        drop(second);
        assert!(!path.exists());
    }
}
