//! The syncer as a program; `syncer doctor` looks at what it needs.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use common::clock::SystemClock;
use common::config::ProcessEnv;
use syncer::Config;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.split_first() {
        Some((word, rest)) if word == "doctor" => {
            common::doctor::main("syncer", rest, || syncer::doctor::look(&ProcessEnv, &SystemClock))
        }
        None => {
            common::service::main(Config::read, |config, shutdown| syncer::run(config, SystemClock::shared(), shutdown))
        }
        _ => common::service::other("syncer", &arguments, "[doctor [--json] | --version]"),
    }
}
