//! What the services' logs must not hold: panics and secrets.

use std::path::Path;

use anyhow::Context;

/// What was found in the logs.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// Lines that tell of a panic.
    pub(super) panics: Vec<String>,
    /// Logs that hold a secret; which secret is not repeated.
    pub(super) secrets: Vec<String>,
}

/// Looks through every service's log.
///
/// # Errors
/// When the folder can't be read.
pub(super) fn look_through(folder: &Path, secrets: &[String]) -> anyhow::Result<Found> {
    let mut found = Found::default();
    for entry in std::fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        let path = entry?.path();
        let text = std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        look_at(&name, &String::from_utf8_lossy(&text), secrets, &mut found);
    }
    Ok(found)
}

fn look_at(name: &str, text: &str, secrets: &[String], found: &mut Found) {
    for (number, line) in text.lines().enumerate() {
        if line.contains("panicked") {
            found.panics.push(format!("{name}:{}: {line}", number + 1));
        }
        if let Some(which) = secrets.iter().position(|secret| line.contains(secret.as_str())) {
            found.secrets.push(format!("{name}:{}: secret number {}", number + 1, which + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panics_and_secrets_are_found_and_secrets_not_repeated() {
        let mut found = Found::default();
        let text = "all is well\nthread 'main' panicked at src/main.rs\nconnecting with hunter2\n";
        look_at("ledger-1.log", text, &["swordfish".to_owned(), "hunter2".to_owned()], &mut found);
        assert_eq!(found.panics, ["ledger-1.log:2: thread 'main' panicked at src/main.rs"]);
        assert_eq!(found.secrets, ["ledger-1.log:3: secret number 2"]);
    }
}
