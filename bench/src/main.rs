//! `cargo xtask bench`, once everything is built.

use std::ffi::OsString;
use std::process::ExitCode;

use bench::{figures, parts};
use xtask::bench::{HELP, Options, Request};
use xtask::say;

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

/// Whether everything is within its limit.
async fn run(options: &Options) -> anyhow::Result<bool> {
    let mut reports = Vec::new();
    for part in options.parts() {
        reports.push(parts::run(part, options).await?);
    }
    if let Some(file) = &options.save {
        figures::save(file, &reports)?;
        say(format_args!("the figures are in {}", file.display()));
    }
    Ok(reports.iter().all(|report| report.over().is_empty()))
}
