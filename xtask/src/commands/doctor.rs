//! `cargo xtask doctor`: what is wrong with a deployment.

use std::env;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use xtask::doctor::{HELP, Request};
use xtask::{paths, say, tools};

use crate::cargo;

/// The exit code when the command is wrong.
const USAGE: u8 = 2;
/// Whose programs look, and whose shows what they found.
const PACKAGES: [&str; 7] = ["ingress", "recharger", "ledger", "syncer", "common", "cli", "e2e"];

/// Builds what looks, unless it is there, and becomes the program that asks all of it.
pub(crate) fn run(args: &[OsString]) -> Result<ExitCode> {
    match Request::parse(args) {
        Ok(Request::Run(_)) => {}
        Ok(Request::Help) => {
            say(HELP);
            return Ok(ExitCode::SUCCESS);
        }
        Err(error) => {
            crate::complain(&error);
            return Ok(ExitCode::from(USAGE));
        }
    }
    let bin_dir = match env::var_os(tools::BIN_DIR) {
        Some(folder) => PathBuf::from(folder),
        None => build()?,
    };
    let program = bin_dir.join("doctor");
    // Returns only if it fails.
    Err(Command::new(&program).args(args).env(tools::BIN_DIR, &bin_dir).exec())
        .with_context(|| format!("starting {}", program.display()))
}

/// For release, because that is how a demo was built. Says nothing: what is shown may be read by a program.
fn build() -> Result<PathBuf> {
    let packages = PACKAGES.iter().flat_map(|package| ["--package", package]);
    let build = cargo::program().args(["build", "--quiet", "--release", "--bins"]).args(packages);
    build.run().context("building for `doctor`")?;
    Ok(paths::target_dir().join("release"))
}
