//! `cargo xtask torture`, once everything is built.

use std::ffi::OsString;
use std::process::ExitCode;

use common::shutdown::Shutdown;
use e2e::torture::{self, Settings};
use xtask::say;
use xtask::torture::{HELP, Options, Request};

#[tokio::main]
async fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    let outcome = match Request::parse(&args) {
        Ok(Request::Run(options)) => run(&options).await,
        Ok(Request::Help) => {
            say(HELP);
            Ok(true)
        }
        Err(error) => Err(error),
    };
    xtask::end(outcome)
}

/// Whether the verdict is clean.
async fn run(options: &Options) -> anyhow::Result<bool> {
    let shutdown = Shutdown::on_signals()?;
    let settings = Settings::new(options.seed_or_new()?, options.length(), options.organizations);
    let report = torture::run(&settings, &shutdown).await?;
    Ok(report.violations.is_empty())
}
