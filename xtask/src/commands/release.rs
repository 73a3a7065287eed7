//! Commands that build everything for release and become one of its programs.

use std::env;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use xtask::tools::{self, Tools};
use xtask::{folder, paths, say};

use crate::cargo;

const PACKAGES: [&str; 8] = ["ingress", "recharger", "ledger", "syncer", "simulators", "e2e", "bench", "common"];

/// Builds the whole system, finds the servers it needs, and becomes this program of it, with these variables besides.
pub(super) fn become_program(name: &str, args: &[OsString], envs: &[(&str, &str)]) -> Result<ExitCode> {
    folder::sweep();
    let tools = Tools::find_or_install()?;
    say("building for release (the first time takes minutes) …");
    let packages = PACKAGES.iter().flat_map(|package| ["--package", package]);
    let build = cargo::program().args(["build", "--release", "--bins"]).args(packages);
    build.run().with_context(|| format!("building for `{name}`"))?;
    become_of(&paths::target_dir().join("release"), name, args, envs, &tools)
}

/// Becomes a program of these that were built, with what was found and these variables besides.
pub(super) fn become_of(
    bin_dir: &Path,
    name: &str,
    args: &[OsString],
    envs: &[(&str, &str)],
    tools: &Tools,
) -> Result<ExitCode> {
    let program = bin_dir.join(name);
    let mut command = Command::new(&program);
    command.args(args).envs(envs.iter().copied()).envs(tools.envs()).env(tools::BIN_DIR, bin_dir);
    // All of it is on this machine: a proxy that the environment names could not reach it.
    for variable in ["NO_PROXY", "no_proxy"] {
        let others = env::var(variable).unwrap_or_default();
        command.env(variable, format!("127.0.0.1,localhost,{others}"));
    }
    // Not as a child: a Ctrl-C would end us at once, and the shell's prompt would come back while
    // the program is still tidying up. Returns only if it fails.
    Err(command.exec()).with_context(|| format!("starting {}", program.display()))
}
