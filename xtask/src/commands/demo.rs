//! `cargo xtask demo`: the whole system on this machine.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;
use xtask::demo::{self, Backend, HELP, Request};
use xtask::say;

use super::release;

/// Builds what the demo needs, and becomes the demo.
pub(crate) fn run(args: &[OsString]) -> Result<ExitCode> {
    let Request::Run(options) = Request::parse(args)? else {
        say(HELP);
        return Ok(ExitCode::SUCCESS);
    };
    options.check_ports()?;
    // The key goes on in the environment: other users of the machine see a process's arguments.
    let key = match &options.backend {
        Backend::Proxy(proxy) => Some((demo::KEY_VARIABLE, proxy.key.expose())),
        Backend::Kms | Backend::Litellm => None,
    };
    release::become_program("demo", &demo::without_key(args), key.as_slice())
}
