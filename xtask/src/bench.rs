//! What `cargo xtask bench` is told. It is here and not with the measuring itself, so that a mistake is told before
//! minutes of building.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::args::{self, number};

/// What `--help` says.
pub const HELP: &str = "\
cargo xtask bench [--only PART] [--times N] [--seed N] [--save FILE]

Builds everything for release, starts nats-server, PostgreSQL, the simulators and the services for real, fills the
database with 2,000 organizations that have been in use for a year, and measures. Each number stands beside its
limit, and beside the time of what costs nothing but the way there and back, measured in the same run.

  --only PART   measure this part alone:
                pages    how long each page takes to be answered, with the whole database behind it
  --times N     how often each thing is measured (30)
  --seed N      what the content of the database follows from (1)
  --save FILE   write the figures as JSON, too

The command exits with 0 only if everything is within its limit.";

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// How long pages take.
    Pages,
}

impl Part {
    /// Every part, in the order in which they are measured.
    pub const ALL: [Self; 1] = [Self::Pages];

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pages => "pages",
        }
    }
}

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// The text above.
    Help,
    /// Measuring.
    Run(Options),
}

/// How it is measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The only part that is measured; all where none is named.
    pub only: Option<Part>,
    /// How often each thing is measured.
    pub times: usize,
    /// What the content of the database follows from.
    pub seed: u64,
    /// Where the figures are written to, besides.
    pub save: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self { only: None, times: 30, seed: 1, save: None }
    }
}

impl Options {
    /// The parts that are measured.
    pub fn parts(&self) -> impl Iterator<Item = Part> {
        let only = self.only;
        Part::ALL.into_iter().filter(move |part| only.is_none_or(|only| only == *part))
    }
}

impl Request {
    /// Reads the arguments.
    ///
    /// # Errors
    /// Which argument is a mistake, and what it should be.
    pub fn parse(given: &[OsString]) -> Result<Self> {
        let mut options = Options::default();
        let mut rest = given.iter().map(|arg| arg.to_string_lossy());
        while let Some(arg) = rest.next() {
            let (name, value) = args::split(&arg);
            if matches!(name, "--help" | "-h") && value.is_none() {
                return Ok(Self::Help);
            }
            if !matches!(name, "--only" | "--times" | "--seed" | "--save") {
                bail!("bench doesn't know `{arg}`\n\n{HELP}");
            }
            let value = value.or_else(|| rest.next().map(Into::into)).unwrap_or_default();
            match name {
                "--only" => options.only = Some(part(&value)?),
                "--times" => options.times = number(name, &value, 1, 100_000).map(usize::try_from)??,
                "--seed" => options.seed = number(name, &value, 0, u64::MAX)?,
                _ if value.is_empty() => bail!("--save needs the name of a file"),
                _ => options.save = Some(value.into()),
            }
        }
        Ok(Self::Run(options))
    }
}

fn part(value: &str) -> Result<Part> {
    let found = Part::ALL.into_iter().find(|part| part.as_str() == value);
    found.with_context(|| format!("--only must be one of {}, not `{value}`", Part::ALL.map(Part::as_str).join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Request> {
        Request::parse(&args.iter().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn arguments() {
        let Request::Run(usual) = parse(&[]).unwrap() else { panic!("no help was asked for") };
        assert_eq!((usual.parts().collect::<Vec<_>>(), usual.times, usual.save), (Part::ALL.to_vec(), 30, None));
        assert_eq!(parse(&["--only", "pages", "-h"]).unwrap(), Request::Help);
        let want = Options { only: Some(Part::Pages), times: 5, seed: 7, save: Some("f.json".into()) };
        let args = ["--only=pages", "--times", "5", "--seed=7", "--save", "f.json"];
        assert_eq!(parse(&args).unwrap(), Request::Run(want));
    }

    #[test]
    fn mistakes_are_named() {
        for (args, named) in [
            (&["--part", "pages"][..], "`--part`"),
            (&["pages"], "`pages`"),
            (&["--only", "charts"], "--only must be one of pages, not `charts`"),
            (&["--only"], "not ``"),
            (&["--times", "0"], "from 1 to 100000, not `0`"),
            (&["--seed=x"], "--seed must be a number"),
            (&["--save"], "the name of a file"),
        ] {
            let error = parse(args).unwrap_err().to_string();
            assert!(error.contains(named), "{args:?}: {error}");
        }
    }
}
