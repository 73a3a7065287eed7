//! A service's variables: a line for each that is missing, weak or wrong. Pure.

use super::Check;
use crate::config::ConfigError;

/// The name of this check.
pub const NAME: &str = "configuration";

/// What reading the configuration of `part` came to; `source` is where its variables are described.
#[must_use]
pub fn check<C>(part: &str, source: &str, read: &Result<C, ConfigError>) -> Vec<Check> {
    match read {
        Ok(_) => vec![Check::ok(NAME, "nothing is missing, wrong or too weak")],
        Err(ConfigError(problems)) => problems.iter().map(|problem| of(part, source, problem)).collect(),
    }
}

/// A problem names its variable first, and says what is wanted.
fn of(part: &str, source: &str, problem: &str) -> Check {
    let variable: String =
        problem.chars().take_while(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || *c == '_').collect();
    let what = if variable.len() < 3 { "it" } else { variable.as_str() };
    Check::failed(NAME, problem, format!("Set {what} as {source} says, and start {part} again."))
}

/// That a check could not be made, because its variables are of no use; the configuration's check says why.
#[must_use]
pub fn unusable(name: &str, variables: &str) -> Check {
    Check::skipped(name, format!("{variables}: see {NAME}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Outcome;

    #[test]
    fn a_line_for_each_problem() {
        let problems = ["A_KEY is weak: use at least 16 random characters", "--x is odd"];
        let read: Result<(), _> = Err(ConfigError(problems.map(str::to_owned).to_vec()));
        let checks = check("ledger", "ledger/README.md", &read);
        let told: Vec<_> = checks.iter().map(|check| (check.found.as_str(), check.fix.as_deref())).collect();
        assert_eq!(
            told,
            [
                (problems[0], Some("Set A_KEY as ledger/README.md says, and start ledger again.")),
                (problems[1], Some("Set it as ledger/README.md says, and start ledger again.")),
            ]
        );
        assert!(checks.iter().all(|check| check.outcome == Outcome::Failed));
        assert_eq!(check("ledger", "ledger/README.md", &Ok(())).len(), 1);
    }
}
