//! The recharger's process.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use common::clock::SystemClock;

fn main() -> ExitCode {
    common::service::main(recharger::Config::read, |config, shutdown| {
        recharger::run(config, SystemClock::shared(), shutdown)
    })
}
