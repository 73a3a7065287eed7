//! `cargo xtask screenshots`, once everything is built.

use std::ffi::OsString;
use std::process::ExitCode;

use bench::screenshots;
use xtask::say;
use xtask::screenshots::{HELP, Request};

#[tokio::main]
async fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    let outcome = match Request::parse(&args) {
        Ok(Request::Run(options)) => screenshots::run(&options).await,
        Ok(Request::Help) => {
            say(HELP);
            Ok(true)
        }
        Err(error) => Err(error),
    };
    xtask::end(outcome)
}
