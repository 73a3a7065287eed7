//! `cargo xtask doctor`: every program's own `doctor`, each with its own variables, as one report.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use common::config::Env;
use common::doctor::{Check, Report};
use futures_util::future::join_all;
use tokio::process::Command;
use xtask::doctor::Options;
use xtask::{paths, processes};

use crate::service::program;
use crate::stack::SERVICES;

/// Variables that each service has of its own: written with its name before them.
const OWN: [&str; 4] = ["DATABASE_URL", "DATABASE_URL_FILE", "NATS_URL", "NATS_URL_FILE"];
/// The longest that one program may take: `bill doctor --recharge` waits for a recharge and for its refund.
const LIMIT: Duration = Duration::from_secs(600);

/// A program, how it is called, and the variables that it gets besides those of this process.
struct Examiner {
    program: &'static str,
    words: &'static [&'static str],
    variables: BTreeMap<String, String>,
}

/// Asks all of them at once.
///
/// # Errors
/// When nobody says where the programs are, or the file of a demo that runs can't be read.
pub async fn look(options: Options, caller: &dyn Env) -> anyhow::Result<Report> {
    let deployment = if options.environment { BTreeMap::new() } else { demo()? };
    let examiners = examiners(options, &deployment, caller);
    // Here, and not in each of them: it would be the same message six times.
    program("ingress")?;
    Ok(Report::merged(join_all(examiners.into_iter().map(Examiner::ask)).await))
}

/// What the demo that runs has written down; nothing, if none runs.
fn demo() -> anyhow::Result<BTreeMap<String, String>> {
    let file = paths::target_dir().join("demo").join("env");
    if !file.exists() {
        return Ok(BTreeMap::new());
    }
    let text = std::fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    let pairs: BTreeMap<String, String> = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    // A demo that was killed leaves its file.
    let runs = pairs.get("DEMO_PID").and_then(|pid| pid.parse().ok()).is_some_and(processes::is_running);
    Ok(if runs { pairs } else { BTreeMap::new() })
}

fn examiners(options: Options, deployment: &BTreeMap<String, String>, caller: &dyn Env) -> Vec<Examiner> {
    let value = |name: &str| deployment.get(name).cloned().or_else(|| caller.get(name));
    let services = SERVICES.iter().map(|service| {
        let own = OWN.iter().filter_map(|name| {
            let own = value(&format!("{}_{name}", service.to_uppercase()))?;
            Some(((*name).to_owned(), own))
        });
        let variables = deployment.clone().into_iter().chain(own).collect();
        Examiner { program: service, words: &["doctor", "--json"], variables }
    });
    let setup = Examiner { program: "bill-setup", words: &["doctor", "--json"], variables: deployment.clone() };
    let mut variables = deployment.clone();
    if let Some(url) = deployment.get("INGRESS_URL") {
        variables.insert("BILL_URL".to_owned(), url.clone());
    }
    let words: &[&str] = if options.no_recharge { &["--json", "doctor"] } else { &["--json", "doctor", "--recharge"] };
    let bill = Examiner { program: "bill", words, variables };
    services.chain([setup, bill]).collect()
}

impl Examiner {
    /// What it found, or that it could not look.
    async fn ask(self) -> Report {
        self.output().await.unwrap_or_else(|error| {
            let found = format!("it could not look: {error:#}");
            let fix = format!("Run `{} {}` by itself.", self.program, self.words.join(" "));
            Report::of(self.program, vec![Check::failed("doctor", found, fix)])
        })
    }

    async fn output(&self) -> anyhow::Result<Report> {
        let mut command = Command::new(program(self.program)?);
        command.args(self.words).envs(&self.variables).stdin(Stdio::null()).kill_on_drop(true);
        let output = tokio::time::timeout(LIMIT, command.output()).await.context("it did not end in time")??;
        let said = String::from_utf8_lossy(&output.stderr);
        serde_json::from_slice(&output.stdout).with_context(|| said.lines().last().unwrap_or_default().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_its_own_variables() {
        let pairs = [
            ("DATABASE_URL", "owner"),
            ("LEDGER_DATABASE_URL", "ledger"),
            ("INGRESS_URL", "http://ingress"),
            ("KMS_URL", "http://kms"),
        ];
        let deployment: BTreeMap<String, String> =
            pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into_iter().collect();
        let caller: BTreeMap<String, String> = [("SYNCER_DATABASE_URL".to_owned(), "syncer".to_owned())].into();
        let found = examiners(Options { no_recharge: true, ..Options::default() }, &deployment, &caller);
        let variable = |program: &str, name: &str| {
            let examiner = found.iter().find(|examiner| examiner.program == program).unwrap();
            examiner.variables.get(name).cloned().unwrap_or_default()
        };
        for (program, want) in
            [("ledger", "ledger"), ("syncer", "syncer"), ("ingress", "owner"), ("bill-setup", "owner")]
        {
            assert_eq!(variable(program, "DATABASE_URL"), want, "{program}");
        }
        assert_eq!(
            (variable("bill", "BILL_URL"), variable("syncer", "KMS_URL")),
            ("http://ingress".into(), "http://kms".into())
        );
        assert!(found.iter().all(|examiner| !examiner.words.contains(&"--recharge")));
    }
}
