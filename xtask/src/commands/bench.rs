//! `cargo xtask bench`: the numbers, each beside the limit that it is measured against.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;
use xtask::bench::{HELP, Request};
use xtask::say;

use super::release;

/// Builds what is measured, and becomes what measures it.
pub(crate) fn run(args: &[OsString]) -> Result<ExitCode> {
    if Request::parse(args)? == Request::Help {
        say(HELP);
        return Ok(ExitCode::SUCCESS);
    }
    release::become_program("bench", args, &[])
}
