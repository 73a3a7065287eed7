//! The alerts as they are committed, and what makes each of them fire. A reader for files of ours, in the shape that they
//! have: promtool reads the same files, and says whether they are well formed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, ensure};
use xtask::tools::Tools;

pub(crate) fn folder() -> PathBuf {
    xtask::paths::root().join("ops/prometheus")
}

pub(crate) fn promtool() -> anyhow::Result<Command> {
    let tools = Tools::from_env()?;
    let program = tools.promtool.with_context(|| format!("{} is not set", xtask::tools::PROMTOOL))?;
    let mut command = Command::new(program);
    command.current_dir(folder());
    Ok(command)
}

/// Runs it to its end, which must be a good one.
pub(crate) fn succeeds(command: &mut Command) -> anyhow::Result<()> {
    let output = command.output().with_context(|| format!("running {command:?}"))?;
    let said = [output.stdout, output.stderr].concat();
    ensure!(output.status.success(), "{command:?} {}\n{}", output.status, String::from_utf8_lossy(&said));
    Ok(())
}

/// An alert, or a record that several alerts ask for.
#[derive(Debug)]
pub(crate) struct Rule {
    /// What it is called.
    pub(crate) name: String,
    pub(crate) is_alert: bool,
    /// Everything that stands in it, by key: `expr`, `severity`, `summary`.
    fields: BTreeMap<String, String>,
}

impl Rule {
    pub(crate) fn field(&self, key: &str) -> anyhow::Result<&str> {
        self.fields.get(key).map(String::as_str).with_context(|| format!("{} has no {key}", self.name))
    }
}

/// The rules of `alerts.yml`.
pub(crate) fn committed() -> anyhow::Result<Vec<Rule>> {
    let text = fs::read_to_string(folder().join("alerts.yml"))?;
    let mut rules: Vec<Rule> = Vec::new();
    // A block of lines belongs to the key above it, as far as it is indented more than that.
    let mut block: Option<(usize, String)> = None;
    for line in text.lines().filter(|line| !line.trim_start().starts_with('#') && !line.trim().is_empty()) {
        let indent = line.len() - line.trim_start().len();
        if let (Some((above, key)), Some(rule)) = (&block, rules.last_mut()) {
            if indent > *above {
                let so_far = rule.fields.entry(key.clone()).or_default();
                *so_far = format!("{so_far} {}", line.trim()).trim().to_owned();
                continue;
            }
            block = None;
        }
        let Some((key, value)) = line.trim().trim_start_matches("- ").split_once(':') else { continue };
        let value = value.trim();
        if line.trim().starts_with("- alert:") || line.trim().starts_with("- record:") {
            rules.push(Rule { name: value.to_owned(), is_alert: key == "alert", fields: BTreeMap::new() });
        } else if let Some(rule) = rules.last_mut() {
            if value == ">-" {
                block = Some((indent, key.to_owned()));
            } else {
                rule.fields.insert(key.to_owned(), value.trim_matches('"').to_owned());
            }
        }
    }
    Ok(rules)
}

/// The alerts that the tests of the rules expect, and those that they expect not to be there.
fn tested() -> anyhow::Result<(BTreeSet<String>, BTreeSet<String>)> {
    let (mut firing, mut quiet) = (BTreeSet::new(), BTreeSet::new());
    for file in TESTS {
        let text = fs::read_to_string(folder().join(file))?;
        let mut lines = text.lines().map(str::trim);
        while let Some(line) = lines.next() {
            let Some(alert) = line.strip_prefix("alertname: ") else { continue };
            match lines.next() {
                Some("exp_alerts:") => firing.insert(alert.to_owned()),
                Some("exp_alerts: []") => quiet.insert(alert.to_owned()),
                other => anyhow::bail!("{file}: {alert} is followed by {other:?}"),
            };
        }
    }
    Ok((firing, quiet))
}

/// The alert that fires always, so that whoever takes it can miss it.
pub(crate) const WATCHDOG: &str = "BillWatchdog";
/// What it asks: nothing that could be wrong.
pub(crate) const ALWAYS: &str = "vector(1)";

const TESTS: [&str; 2] = ["alerts_test.yml", "alerts_week_test.yml"];

#[test]
fn every_alert_fires_when_it_should_and_only_then() -> anyhow::Result<()> {
    succeeds(promtool()?.args(["check", "config", "prometheus.yml"]))?;
    succeeds(promtool()?.args(["check", "rules", "alerts.yml"]))?;
    succeeds(promtool()?.args(["test", "rules"]).args(TESTS))?;
    let (firing, quiet) = tested()?;
    let alerts: BTreeSet<String> =
        committed()?.into_iter().filter(|rule| rule.is_alert).map(|rule| rule.name).collect();
    assert_eq!(firing, alerts, "each has a case in which it fires");
    // What fires always has no case in which it does not; its own words are what it consists of.
    let always: BTreeSet<String> = committed()?
        .into_iter()
        .filter(|rule| rule.field("expr").is_ok_and(|expr| expr == ALWAYS))
        .map(|rule| rule.name)
        .collect();
    assert_eq!(always, BTreeSet::from([WATCHDOG.to_owned()]));
    assert_eq!(quiet, &alerts - &always, "each other has a case in which it does not");
    Ok(())
}

#[test]
fn every_alert_says_what_is_wrong_and_where_it_is_explained() -> anyhow::Result<()> {
    let runbook = fs::read_to_string(xtask::paths::root().join("docs/RUNBOOK.md")).context("docs/RUNBOOK.md")?;
    for rule in committed()?.iter().filter(|rule| rule.is_alert) {
        let (name, severity) = (&rule.name, rule.field("severity")?);
        let severities: &[&str] = if name == WATCHDOG { &["none"] } else { &["critical", "warning", "info"] };
        assert!(severities.contains(&severity), "{name}: {severity}");
        assert!(rule.field("summary")?.len() > 20 && rule.field("description")?.len() > 20, "{name}");
        assert_eq!(rule.field("runbook_url")?, format!("docs/RUNBOOK.md#{}", name.to_lowercase()));
        assert!(runbook.lines().any(|line| line.trim() == format!("### {name}")), "{name} is not in the runbook");
    }
    Ok(())
}
