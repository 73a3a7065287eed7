//! `cargo xtask demo`, once everything is built.

use std::ffi::OsString;
use std::process::ExitCode;

use e2e::demo;
use xtask::demo::{HELP, Request};
use xtask::say;

#[tokio::main]
async fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    let outcome = match Request::parse(&args) {
        Ok(Request::Run(options)) => demo::run(&options).await.map(|()| true),
        Ok(Request::Help) => {
            say(HELP);
            Ok(true)
        }
        Err(error) => Err(error),
    };
    xtask::end(outcome)
}
