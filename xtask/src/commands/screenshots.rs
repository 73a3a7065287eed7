//! `cargo xtask screenshots`: a picture of every page of the console.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::{Context, Result};
use xtask::screenshots::{HELP, Request};
use xtask::tools::Tools;
use xtask::{folder, paths, say};

use super::release;
use crate::cargo;

/// Builds what is pictured, and becomes what takes the pictures.
///
/// Built as tests are: nothing here is timed, whoever works on a page has built it already, and taking the pictures takes
/// longer than all that the pages' server does.
pub(crate) fn run(args: &[OsString]) -> Result<ExitCode> {
    if Request::parse(args)? == Request::Help {
        say(HELP);
        return Ok(ExitCode::SUCCESS);
    }
    folder::sweep();
    let tools = Tools::find_or_install_for_screenshots()?;
    say("building …");
    let build = cargo::program().args(["build", "--workspace", "--lib", "--bins"]);
    build.run().context("building for the pictures")?;
    release::become_of(&paths::target_dir().join("debug"), "screenshots", args, &[], &tools)
}
