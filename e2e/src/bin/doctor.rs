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
        Ok((report, json)) => {
            let text = if json { report.to_json() } else { report.to_table() };
            // Who does not read it knows the code.
            drop(std::io::stdout().write_all(text.as_bytes()));
            ExitCode::from(report.exit_code())
        }
        Err(error) => {
            drop(writeln!(std::io::stderr(), "error: {error:#}"));
            ExitCode::from(USAGE_CODE)
        }
    }
}
