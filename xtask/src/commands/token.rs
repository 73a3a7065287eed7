//! `cargo xtask token`: makes an API token, the first one above all.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use xtask::paths;

use crate::cargo;

/// Builds `ingress`, and becomes `ingress token` with these arguments.
pub(crate) fn run(args: &[OsString]) -> Result<ExitCode> {
    cargo::program().args(["build", "--quiet", "--package", "ingress"]).run().context("building ingress")?;
    let program = paths::target_dir().join("debug").join("ingress");
    // Returns only if it fails.
    Err(Command::new(&program).arg("token").args(args).exec())
        .with_context(|| format!("starting {}", program.display()))
}
