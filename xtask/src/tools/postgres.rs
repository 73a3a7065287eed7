//! PostgreSQL's programs: the machine's own, or Debian's package.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context, Result};

use super::{POSTGRES_BIN, Version, apt, output_of};
use crate::{paths, say};

const OLDEST: u32 = 15;
const DEBIANS: &str = "/usr/lib/postgresql";
const PROGRAMS: [&str; 3] = ["initdb", "pg_ctl", "postgres"];

pub(super) fn find_or_install() -> Result<PathBuf> {
    if let Some(named) = env::var_os(POSTGRES_BIN).filter(|named| !named.is_empty()) {
        let named = PathBuf::from(named);
        let version = usable(&named).with_context(|| {
            format!("{POSTGRES_BIN} names {}, which hasn't the programs of PostgreSQL 15 or newer", named.display())
        })?;
        return Ok(found(named, &version));
    }
    if let Some((folder, version)) = find() {
        return Ok(found(folder, &version));
    }
    apt::forbid_main_cluster()?;
    apt::install(&["postgresql"], "PostgreSQL 15 or newer")?;
    let (folder, version) = find().context("Debian's package is installed, but it isn't PostgreSQL 15 or newer")?;
    Ok(found(folder, &version))
}

fn found(folder: PathBuf, version: &Version) -> PathBuf {
    say(format_args!("PostgreSQL {version}: found in {}", folder.display()));
    folder
}

fn find() -> Option<(PathBuf, Version)> {
    let others = [on_path(), output_of(Command::new("pg_config").arg("--bindir")).map(PathBuf::from)];
    let mut candidates = debians().into_iter().chain(others.into_iter().flatten());
    candidates.find_map(|folder| usable(&folder).map(|version| (folder, version)))
}

/// Debian has a folder for each major version.
fn debians() -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(DEBIANS) else {
        return Vec::new();
    };
    let mut folders: Vec<PathBuf> = entries.flatten().map(|entry| entry.path().join("bin")).collect();
    // Any will do, but the same one every time.
    folders.sort();
    folders
}

/// The folder that `PATH` leads to. Debian and others put links to single programs there.
fn on_path() -> Option<PathBuf> {
    let program = paths::on_path("pg_ctl").or_else(|| paths::on_path("postgres"))?;
    Some(program.canonicalize().ok()?.parent()?.to_path_buf())
}

fn usable(folder: &Path) -> Option<Version> {
    let complete = PROGRAMS.iter().all(|program| paths::is_executable(&folder.join(program)));
    let version = complete.then(|| Version::of(&folder.join("postgres"), "postgres (PostgreSQL)")).flatten()?;
    version.is_at_least(OLDEST, 0).then_some(version)
}
