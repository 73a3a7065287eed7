//! The recharger's process; `recharger doctor` looks at what it needs.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use common::clock::SystemClock;
use common::config::ProcessEnv;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.split_first() {
        Some((word, rest)) if word == "doctor" => {
            common::doctor::main(recharger::SERVICE, rest, || recharger::doctor::look(&ProcessEnv, &SystemClock))
        }
        None => common::service::main(recharger::Config::read, |config, shutdown| {
            recharger::run(config, SystemClock::shared(), shutdown)
        }),
        _ => common::service::other(recharger::SERVICE, &arguments, "[doctor [--json] | --version]"),
    }
}
