//! The ledger as a program: `ledger` runs the service, `ledger verify` checks the books and fails when they are damaged,
//! `ledger doctor` looks at what the service needs.
#![forbid(unsafe_code)]

use std::io::Write;
use std::process::ExitCode;

use common::clock::SystemClock;
use common::config::ProcessEnv;
use common::service;
use ledger::config::Config;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(("doctor", rest)) = arguments.split_first().map(|(word, rest)| (word.as_str(), rest)) {
        return common::doctor::main(ledger::SERVICE, rest, || ledger::doctor::look(&ProcessEnv, &SystemClock));
    }
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => service::main(Config::read, |config, shutdown| ledger::run(config, SystemClock::shared(), shutdown)),
        ["verify"] => service::main(Config::read, |config, _| verify(config)),
        _ => service::other(ledger::SERVICE, &arguments, "[verify | doctor [--json] | --version]"),
    }
}

async fn verify(config: Config) -> anyhow::Result<()> {
    let report = ledger::verify_once(&config).await?;
    writeln!(std::io::stdout(), "{report}")?;
    anyhow::ensure!(report.drifts.is_empty(), "the books are damaged");
    Ok(())
}
