//! Versions, as programs tell them.

use std::fmt;
use std::path::Path;
use std::process::Command;

use super::output_of;

/// A version: major and minor are all that is compared here; the text is for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    major: u32,
    minor: u32,
    text: String,
}

impl Version {
    /// Reads the first word that looks like a version: `nats-server: v2.15.1`,
    /// `postgres (PostgreSQL) 15.8 (Debian 15.8-1)`, `postgres (PostgreSQL) 18beta1`.
    pub fn parse(said: &str) -> Option<Self> {
        said.split_whitespace().find_map(|word| {
            let text = word.strip_prefix('v').unwrap_or(word);
            let (major, rest) = leading_number(text)?;
            let minor = rest.strip_prefix('.').and_then(leading_number).map_or(0, |(minor, _)| minor);
            Some(Self { major, minor, text: text.to_owned() })
        })
    }

    /// Asks the program with `--version`, and makes sure that it is the one meant: the answer has to
    /// begin with this name.
    pub fn of(program: &Path, name: &str) -> Option<Self> {
        let said = output_of(Command::new(program).arg("--version"))?;
        Self::parse(said.strip_prefix(name)?)
    }

    /// Its first number.
    pub fn major(&self) -> u32 {
        self.major
    }

    /// Whether it is this version or a later one.
    pub fn is_at_least(&self, major: u32, minor: u32) -> bool {
        (self.major, self.minor) >= (major, minor)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn leading_number(text: &str) -> Option<(u32, &str)> {
    let end = text.find(|char: char| !char.is_ascii_digit()).unwrap_or(text.len());
    let (number, rest) = text.split_at(end);
    Some((number.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_programs_say() {
        for (said, version, at_least_2_11, at_least_15) in [
            ("nats-server: v2.15.1", "2.15.1", true, false),
            ("nats-server: v2.9.10", "2.9.10", false, false),
            ("nats-server: v2.11.0-RC.1", "2.11.0-RC.1", true, false),
            ("nats-server: v3.0", "3.0", true, false),
            ("postgres (PostgreSQL) 15.8 (Debian 15.8-0+deb12u1)", "15.8", true, true),
            ("postgres (PostgreSQL) 14.13", "14.13", true, false),
            ("postgres (PostgreSQL) 18beta1", "18beta1", true, true),
        ] {
            let found = Version::parse(said).unwrap();
            assert_eq!(found.to_string(), version);
            assert_eq!(found.is_at_least(2, 11), at_least_2_11, "{said}");
            assert_eq!(found.is_at_least(15, 0), at_least_15, "{said}");
        }
    }

    #[test]
    fn another_program_has_no_version() {
        let sh = Path::new("/bin/sh");
        assert_eq!(Version::of(sh, "nats-server:"), None);
        let cargo = Path::new(env!("CARGO"));
        assert!(Version::of(cargo, "cargo").is_some());
        assert_eq!(Version::of(cargo, "nats-server:"), None);
    }

    #[test]
    fn knows_when_there_is_none() {
        for said in ["", "nats-server: unknown", "version", "99999999999999"] {
            assert_eq!(Version::parse(said), None, "{said}");
        }
    }
}
