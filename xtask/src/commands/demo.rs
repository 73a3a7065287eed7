//! `cargo xtask demo`: the whole system on this machine.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;
use xtask::demo::{HELP, Request};
use xtask::say;

use super::release;

/// Builds what the demo needs, and becomes the demo.
pub(crate) fn run(args: &[OsString]) -> Result<ExitCode> {
    let Request::Run(options) = Request::parse(args)? else {
        say(HELP);
        return Ok(ExitCode::SUCCESS);
    };
    options.ports.check()?;
    release::become_program("demo", args)
}
