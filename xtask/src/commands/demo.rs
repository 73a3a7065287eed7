//! `cargo xtask demo`: the whole system on this machine.

use std::env;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use xtask::demo::{HELP, Request};
use xtask::tools::{self, Tools};
use xtask::{folder, paths, say};

use crate::cargo;

const PACKAGES: [&str; 7] = ["ingress", "recharger", "ledger", "syncer", "simulators", "e2e", "common"];

/// Builds what the demo needs, and becomes the demo.
pub(crate) fn run(args: &[OsString]) -> Result<ExitCode> {
    let Request::Run(options) = Request::parse(args)? else {
        say(HELP);
        return Ok(ExitCode::SUCCESS);
    };
    options.ports.check()?;
    folder::sweep();
    let tools = Tools::find_or_install()?;
    say("building for release (the first time takes minutes) …");
    let packages = PACKAGES.iter().flat_map(|package| ["--package", package]);
    cargo::program().args(["build", "--release", "--bins"]).args(packages).run().context("building the demo")?;
    let bin_dir = paths::target_dir().join("release");
    let demo = bin_dir.join("demo");
    let mut command = Command::new(&demo);
    command.args(args).envs(tools.envs()).env(tools::BIN_DIR, bin_dir);
    // All of it is on this machine: a proxy that the environment names could not reach it.
    for variable in ["NO_PROXY", "no_proxy"] {
        let others = env::var(variable).unwrap_or_default();
        command.env(variable, format!("127.0.0.1,localhost,{others}"));
    }
    // Not as a child: a Ctrl-C would end us at once, and the shell's prompt would come back while
    // the demo is still tidying up. Returns only if it fails.
    Err(command.exec()).with_context(|| format!("starting {}", demo.display()))
}
