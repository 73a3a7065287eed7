//! `doctor` as a command of a program.

use std::future::Future;
use std::io::Write;
use std::process::ExitCode;

use super::{Check, Report};

/// The exit code when the command is not a command.
pub const USAGE_CODE: u8 = 2;

/// What `doctor` is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arguments {
    /// `--json`: for programs.
    pub json: bool,
}

impl Arguments {
    /// Reads what stands after `doctor`; nothing when that is no command.
    #[must_use]
    pub fn parse(words: &[String]) -> Option<Self> {
        match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            [] => Some(Self { json: false }),
            ["--json"] => Some(Self { json: true }),
            _ => None,
        }
    }
}

impl Report {
    /// Writes it to the standard output, and returns its exit code. Who does not read it knows the code.
    #[must_use]
    pub fn write(&self, json: bool) -> ExitCode {
        drop(std::io::stdout().write_all(self.text(json).as_bytes()));
        ExitCode::from(self.exit_code())
    }
}

/// Looks, writes what was found to the standard output, and ends with 0 when nothing failed, 1 when something did, and
/// 2 when it was called wrongly. Nothing is logged: what a log would tell is in the report.
pub fn main<F: Future<Output = Vec<Check>>>(part: &str, words: &[String], look: impl FnOnce() -> F) -> ExitCode {
    let Some(arguments) = Arguments::parse(words) else {
        drop(writeln!(std::io::stderr(), "usage: {part} doctor [--json]"));
        return ExitCode::from(USAGE_CODE);
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            drop(writeln!(std::io::stderr(), "error: nothing can be looked at: {error}"));
            return ExitCode::from(USAGE_CODE);
        }
    };
    Report::of(part, runtime.block_on(look())).write(arguments.json)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        let parse = |words: &[&str]| Arguments::parse(&words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>());
        assert_eq!(parse(&[]), Some(Arguments { json: false }));
        assert_eq!(parse(&["--json"]), Some(Arguments { json: true }));
        assert_eq!((parse(&["--yaml"]), parse(&["--json", "now"])), (None, None));
    }
}
