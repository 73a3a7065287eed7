//! The parts that development and tests stand on: finding or installing nats-server and PostgreSQL,
//! starting them in private folders, and child processes that never outlive their parent.
//!
//! `cargo xtask` (the binary) uses this library, and so do the end-to-end tests and the demo. It
//! depends on `anyhow` and std only, so that `cargo xtask` compiles in seconds on a fresh machine.
//! Everything here blocks; asynchronous callers wrap it in `spawn_blocking`.
#![forbid(unsafe_code)]

mod args;
pub mod bench;
pub mod demo;
pub mod doctor;
pub mod folder;
pub mod identity;
pub mod nats;
pub mod paths;
pub mod ports;
pub mod postgres;
pub mod process;
pub mod processes;
mod random;
pub mod screenshots;
mod spawner;
pub mod tools;
pub mod torture;
pub mod user;

/// How a program ends whose outcome this is: whether everything was as it should be, or why it could not be done, which is
/// told.
#[expect(clippy::print_stderr, reason = "a command-line tool tells its failure on stderr")]
pub fn end(outcome: anyhow::Result<bool>) -> std::process::ExitCode {
    match outcome {
        Ok(true) => std::process::ExitCode::SUCCESS,
        Ok(false) => std::process::ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            std::process::ExitCode::FAILURE
        }
    }
}

/// One line about what is being done, for the person waiting.
#[expect(clippy::print_stdout, reason = "a command-line tool tells what it does on stdout")]
pub fn say(line: impl std::fmt::Display) {
    println!("{line}");
}
