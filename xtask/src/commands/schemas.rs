//! `cargo xtask schemas`: the contract, written as JSON Schemas and an AsyncAPI document.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use xtask::paths;

use crate::cargo;

/// Becomes the example of the `common` crate that writes them.
pub(crate) fn run(args: &[OsString]) -> Result<ExitCode> {
    let mut command = Command::new(cargo::path());
    for variable in cargo::added_variables() {
        command.env_remove(variable);
    }
    command.args(["run", "--quiet", "--package", "common", "--example", "schemas", "--"]).args(args);
    // Returns only if it fails.
    Err(command.current_dir(paths::root()).exec()).context("running the schemas example")
}
