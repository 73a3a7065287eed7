//! `cargo xtask doctor`, once everything is built.

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use common::config::ProcessEnv;
use common::doctor::USAGE_CODE;
use e2e::doctor;
use xtask::doctor::{HELP, Request};
use xtask::say;

#[tokio::main]
async fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    let looked = match Request::parse(&args) {
        Ok(Request::Run(options)) => doctor::look(options, &ProcessEnv).await.map(|report| (report, options.json)),
        Ok(Request::Help) => {
            say(HELP);
            return ExitCode::SUCCESS;
        }
        Err(error) => Err(error),
    };
    match looked {
        Ok((report, json)) => report.write(json),
        Err(error) => {
            drop(writeln!(std::io::stderr(), "error: {error:#}"));
            ExitCode::from(USAGE_CODE)
        }
    }
}
