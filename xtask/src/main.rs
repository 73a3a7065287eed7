//! `cargo xtask`: the commands of the README.

mod cargo;
mod commands;

use std::env;
use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::{Result, bail};
use xtask::say;

const HELP: &str = "\
cargo xtask <command>

  demo [--once] [--port-base N] …   build everything for release, start it for real, and watch a
                                    webhook become a charge, a ledger entry and a raised quota
  test [runner's arguments …]       build everything and run the whole test suite, with cargo-nextest
                                    if it is there, else with `cargo test`
  torture [--seed N] [--minutes M] … start everything for real, break it in every way while it works, and
                                    judge by the books of Stripe and the KMS whether the promise was kept
  bench [--only PART] [--save FILE] …  build everything for release, start it for real on a year of data, and tell
                                    each number beside the limit that it is measured against
  screenshots [--only NAME] [--language en|zh]  start everything for real, take a picture of every page of the
                                    console, and tell what is wrong with one
  doctor [--json] [--no-recharge] … look at the demo that runs, or at the deployment that the environment names: what is
                                    wrong, and what to do about it
  token --name NAME […]             make an API token in the database that DATABASE_URL names, and print it once
  schemas [--check]                 write the JSON Schemas and the AsyncAPI document into nats/
                                    (or fail if they differ)
  help                              this text

demo, test, torture, bench and screenshots look for nats-server (2.11 or newer) and PostgreSQL (15 or newer) and
install what the machine lacks, saying so. To choose them yourself, set BILL_NATS_SERVER (the program) and
BILL_POSTGRES_BIN (the folder of initdb, pg_ctl and postgres).";

fn main() -> ExitCode {
    let mut args = env::args_os().skip(1);
    let command = args.next().unwrap_or_else(|| "help".into());
    match run(&command.to_string_lossy(), args.collect()) {
        Ok(code) => code,
        Err(error) => complain(&error),
    }
}

fn run(command: &str, args: Vec<OsString>) -> Result<ExitCode> {
    match command {
        "bench" => commands::bench::run(&args),
        "demo" => commands::demo::run(&args),
        "doctor" => commands::doctor::run(&args),
        "test" => commands::test::prepare(&args),
        commands::test::SUPERVISE => commands::test::supervise(&args),
        "screenshots" => commands::screenshots::run(&args),
        "schemas" => commands::schemas::run(&args),
        "token" => commands::token::run(&args),
        "torture" => commands::torture::run(&args),
        "help" | "--help" | "-h" => {
            say(HELP);
            Ok(ExitCode::SUCCESS)
        }
        other => bail!("there is no command `{other}`\n\n{HELP}"),
    }
}

#[expect(clippy::print_stderr, reason = "a command-line tool tells its failure on stderr")]
fn complain(error: &anyhow::Error) -> ExitCode {
    eprintln!("error: {error:#}");
    ExitCode::FAILURE
}
