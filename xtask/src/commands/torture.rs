//! `cargo xtask torture`: a fault campaign against the whole system.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;
use xtask::say;
use xtask::torture::{HELP, Request};

use super::release;

/// Builds what the campaign needs, and becomes the campaign.
pub(crate) fn run(args: &[OsString]) -> Result<ExitCode> {
    if Request::parse(args)? == Request::Help {
        say(HELP);
        return Ok(ExitCode::SUCCESS);
    }
    release::become_program("torture", args, &[])
}
