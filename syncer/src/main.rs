//! The syncer as a program.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use common::clock::SystemClock;
use syncer::Config;

fn main() -> ExitCode {
    common::service::main(Config::read, |config, shutdown| syncer::run(config, SystemClock::shared(), shutdown))
}
