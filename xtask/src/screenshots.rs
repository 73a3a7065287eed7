//! What `cargo xtask screenshots` is told. It is here and not with the taking itself, so that a mistake is told before
//! anything is built.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::{args, paths};

/// What `--help` says.
pub const HELP: &str = "\
cargo xtask screenshots [--only NAME] [--language en|zh]

Builds everything, starts it for real on a small year of data, and takes a picture of every page of the console as a
phone (360 pixels wide) and a desktop (1440) show it, light and dark; of the main pages in English and in Chinese, of
the others in English. They go to target/screenshots, with an index.html that shows them all.

Each page is looked at meanwhile: nothing may be wider than the window, axe-core may find nothing serious, and the
browser may have nothing to complain of.

  --only NAME      this page alone (`chain`), or one of its states (`chain-disputed`)
  --language en    in this language alone: en or zh

The command exits with 0 only if nothing is wrong with any page.";

/// A language of the console.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// English.
    English,
    /// Chinese.
    Chinese,
}

impl Language {
    /// Every language.
    pub const ALL: [Self; 2] = [Self::English, Self::Chinese];

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Chinese => "zh",
        }
    }
}

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// The text above.
    Help,
    /// Taking pictures.
    Run(Options),
}

/// Which pictures are taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// The only page, or the only state of one; all where none is named.
    pub only: Option<String>,
    /// The only language.
    pub language: Option<Language>,
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
            if !matches!(name, "--only" | "--language") {
                bail!("screenshots doesn't know `{arg}`\n\n{HELP}");
            }
            let value = value.or_else(|| rest.next().map(Into::into)).unwrap_or_default();
            match name {
                "--language" => match Language::ALL.into_iter().find(|language| language.as_str() == value) {
                    Some(language) => options.language = Some(language),
                    None => bail!("--language must be en or zh, not `{value}`"),
                },
                _ if value.is_empty() => bail!("--only needs the name of a page"),
                _ => options.only = Some(value),
            }
        }
        Ok(Self::Run(options))
    }
}

/// Where the pictures go.
#[must_use]
pub fn folder() -> PathBuf {
    paths::target_dir().join("screenshots")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Request> {
        Request::parse(&args.iter().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn arguments() {
        assert_eq!(parse(&[]).unwrap(), Request::Run(Options::default()));
        assert_eq!(parse(&["--only", "chain", "-h"]).unwrap(), Request::Help);
        let want = Options { only: Some("chain".to_owned()), language: Some(Language::Chinese) };
        assert_eq!(parse(&["--only=chain", "--language", "zh"]).unwrap(), Request::Run(want));
        for (args, named) in [
            (&["--page", "chain"][..], "`--page`"),
            (&["--only"], "the name of a page"),
            (&["--language=de"], "en or zh, not `de`"),
        ] {
            let error = parse(args).unwrap_err().to_string();
            assert!(error.contains(named), "{args:?}: {error}");
        }
    }
}
