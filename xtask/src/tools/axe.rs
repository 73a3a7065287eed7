//! axe-core, which finds what keeps people with a screen reader, a keyboard or weak eyes from using a page.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context, Result, bail};

use super::{AXE, apt, install_into, output_of, run};
use crate::{paths, say};

const PACKAGE: &str = "axe-core";
const VERSION: &str = "4.14.1";
/// The SHA-512 of the package, as npm writes it. We check it ourselves: npm would take what the registry says of it.
const INTEGRITY: &str =
    "sha512-FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ==";
const SCRIPT: &str = "axe.min.js";
/// How the script begins, in every version.
const BEGINNING: &str = "/*! axe v";
/// Tells a file's SHA-512. Where npm is, there is node.
const HASH: &str = "const bytes = require('fs').readFileSync(process.argv[1]); \
    console.log('sha512-' + require('crypto').createHash('sha512').update(bytes).digest('base64'))";

/// The script.
pub(super) fn find_or_install() -> Result<PathBuf> {
    if let Some(named) = env::var_os(AXE).filter(|named| !named.is_empty()) {
        let named = PathBuf::from(named);
        let version = version_of(&named)
            .with_context(|| format!("{AXE} names {}, which is not axe-core's {SCRIPT}", named.display()))?;
        return Ok(found(named, &version));
    }
    let installed = paths::tools_dir().join(PACKAGE).join(SCRIPT);
    match version_of(&installed) {
        Some(version) if version == VERSION => Ok(found(installed, &version)),
        _ => install(),
    }
}

fn found(script: PathBuf, version: &str) -> PathBuf {
    say(format_args!("axe-core {version}: found at {}", script.display()));
    script
}

fn version_of(script: &Path) -> Option<String> {
    let text = fs::read_to_string(script).ok()?;
    Some(text.strip_prefix(BEGINNING)?.split_whitespace().next()?.to_owned())
}

fn install() -> Result<PathBuf> {
    let into = paths::tools_dir().join(PACKAGE);
    say(format_args!("axe-core {VERSION}: installing the hash-pinned package into {} …", into.display()));
    let (npm, node) = npm_and_node()?;
    let folder = install_into(PACKAGE, |folder| {
        // In the folder itself: older versions of npm know no option for where to put it.
        let pack = format!("{PACKAGE}@{VERSION}");
        run(Command::new(npm).args(["pack", "--silent", &pack]).current_dir(folder)).context("fetching axe-core")?;
        let package = folder.join(format!("{PACKAGE}-{VERSION}.tgz"));
        check(&node, &package)?;
        let files = [SCRIPT, "LICENSE"].map(|file| format!("package/{file}"));
        let unpack = ["--strip-components=1", "-xzf"];
        run(Command::new("tar").arg("-C").arg(folder).args(unpack).arg(&package).args(files)).context("unpacking")?;
        fs::remove_file(&package).context("removing the package")
    })?;
    let script = folder.join(SCRIPT);
    if version_of(&script).as_deref() != Some(VERSION) {
        bail!("{} is not the {SCRIPT} of axe-core {VERSION}", script.display());
    }
    Ok(script)
}

fn npm_and_node() -> Result<(PathBuf, PathBuf)> {
    let find = || paths::on_path("npm").zip(paths::on_path("node"));
    if let Some(both) = find() {
        return Ok(both);
    }
    // Debian's npm brings node.
    apt::install(&["npm"], "npm with node")?;
    find().context("Debian's npm is installed, but npm and node are not on PATH")
}

fn check(node: &Path, package: &Path) -> Result<()> {
    let integrity = output_of(Command::new(node).args(["-e", HASH]).arg(package)).context("hashing with node")?;
    if integrity != INTEGRITY {
        bail!("the package of axe-core {VERSION} is not the one that is pinned: {integrity}");
    }
    Ok(())
}
