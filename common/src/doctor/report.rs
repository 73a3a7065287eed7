//! What was found, for people and for programs. Pure.

use std::fmt::{self, Write as _};

use serde::{Deserialize, Serialize};

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// As it should be.
    Ok,
    /// It works, and somebody should look at it all the same.
    Warning,
    /// It does not work.
    Failed,
    /// It could not be looked at, because of something that another check names.
    Skipped,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "FAILED",
            Self::Skipped => "skipped",
        })
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// Who looked: a service, `bill-setup` or `bill`.
    #[serde(default)]
    pub part: String,
    /// What was looked at.
    pub name: String,
    /// How it came out.
    pub outcome: Outcome,
    /// What was found: the variable, the migration, the stream and its setting, the host.
    pub found: String,
    /// What to do about it, in one sentence; none where nothing is to be done.
    pub fix: Option<String>,
}

impl Check {
    fn new(name: &str, outcome: Outcome, found: String, fix: Option<String>) -> Self {
        Self { part: String::new(), name: name.to_owned(), outcome, found, fix }
    }

    /// As it should be.
    #[must_use]
    pub fn ok(name: &str, found: impl Into<String>) -> Self {
        Self::new(name, Outcome::Ok, found.into(), None)
    }

    /// It works, and somebody should look at it.
    #[must_use]
    pub fn warning(name: &str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::new(name, Outcome::Warning, found.into(), Some(fix.into()))
    }

    /// It does not work.
    #[must_use]
    pub fn failed(name: &str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::new(name, Outcome::Failed, found.into(), Some(fix.into()))
    }

    /// It could not be looked at.
    #[must_use]
    pub fn skipped(name: &str, why: impl Into<String>) -> Self {
        Self::new(name, Outcome::Skipped, why.into(), None)
    }
}

/// All that was looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Whether nothing failed. Warnings don't count.
    pub ok: bool,
    /// Everything, in the order in which it was looked at.
    pub checks: Vec<Check>,
}

impl Report {
    /// The report of one who looked.
    #[must_use]
    pub fn of(part: &str, checks: Vec<Check>) -> Self {
        let checks = checks.into_iter().map(|check| Check { part: part.to_owned(), ..check }).collect();
        Self::merged(vec![Self { ok: true, checks }])
    }

    /// Several reports as one.
    #[must_use]
    pub fn merged(reports: Vec<Self>) -> Self {
        let checks: Vec<Check> = reports.into_iter().flat_map(|report| report.checks).collect();
        Self { ok: checks.iter().all(|check| check.outcome != Outcome::Failed), checks }
    }

    /// 0 when nothing failed, 1 otherwise.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        u8::from(!self.ok)
    }

    /// For programs, or for people.
    #[must_use]
    pub fn text(&self, json: bool) -> String {
        if json { self.to_json() } else { self.to_table() }
    }

    /// One JSON document, with a line break at its end.
    #[must_use]
    pub fn to_json(&self) -> String {
        let document = serde_json::to_string_pretty(self).unwrap_or_default();
        document + "\n"
    }

    /// A table for people, the fix of each trouble below its line, and what it comes to.
    #[must_use]
    pub fn to_table(&self) -> String {
        let parts = self.checks.iter().map(|check| check.part.chars().count()).max().unwrap_or_default();
        let names = self.checks.iter().map(|check| check.name.chars().count()).max().unwrap_or_default();
        let mut table = String::new();
        for Check { part, name, outcome, found, fix } in &self.checks {
            let (found, fix) = (plain(found), fix.as_deref().map(plain));
            // Writing to a text can't fail.
            let _ = writeln!(table, "{part:parts$}  {name:names$}  {outcome:7}  {found}");
            if let Some(fix) = fix {
                let _ = writeln!(table, "{:parts$}  {:names$}  {:7}  -> {fix}", "", "", "");
            }
        }
        let count = |outcome| self.checks.iter().filter(|check| check.outcome == outcome).count();
        let numbers = [
            (count(Outcome::Ok), "ok"),
            (count(Outcome::Warning), "to look at"),
            (count(Outcome::Failed), "failed"),
            (count(Outcome::Skipped), "skipped"),
        ];
        let numbers = numbers.iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!("{count} {word}"));
        let numbers: Vec<String> = numbers.collect();
        let _ = writeln!(table, "\n{} checks: {}", self.checks.len(), numbers.join(", "));
        table
    }
}

/// On one line, and nothing in it that a terminal would obey: what others said stands in it.
fn plain(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").chars().filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_tells_the_fix_below_the_trouble() {
        let fine =
            Report::of("ledger", vec![Check::ok("broker", "nats-server 2.15.0"), Check::skipped("clock", "away")]);
        let bad = Report::of("bill", vec![Check::failed("api", "no\n answer\u{1b}[2J", "Start ingress.")]);
        let report = Report::merged(vec![fine.clone(), bad]);
        assert_eq!(
            report.to_table(),
            "ledger  broker  ok       nats-server 2.15.0\n\
             ledger  clock   skipped  away\n\
             bill    api     FAILED   no answer[2J\n\
             \x20                        -> Start ingress.\n\n\
             3 checks: 1 ok, 1 failed, 1 skipped\n"
        );
        assert_eq!((report.ok, report.exit_code()), (false, 1));
        assert_eq!((fine.ok, fine.exit_code()), (true, 0));
        let warned = Report::of("x", vec![Check::warning("clock", "3 s", "Set it.")]);
        assert_eq!(warned.exit_code(), 0);
    }

    #[test]
    fn programs_read_what_was_written() {
        let report = Report::of("ledger", vec![Check::failed("a", "b", "c"), Check::ok("d", "e")]);
        let text = report.to_json();
        assert!(text.contains(r#""outcome": "failed""#) && text.contains(r#""ok": false"#), "{text}");
        assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
    }
}
