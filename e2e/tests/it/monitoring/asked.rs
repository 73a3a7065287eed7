//! Whether what alerts and the dashboard ask for is there to be asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use anyhow::{Context, ensure};

use super::expression::Expression;
use super::{dashboard, rules};

/// What appears only when something has gone wrong in a way that a healthy run does not know, or is configured otherwise. It
/// is looked up where it is registered.
const QUIET: [&str; 10] = [
    "bill_captured_unsettled_minor",
    "bill_certificate_end_seconds",
    "bill_patrol_looks_total",
    "bill_quota_drift_total",
    "bill_quota_lows_total",
    "bill_quota_usage_resets_total",
    "bill_reconciliation_findings_total",
    "bill_redeliveries_total",
    "bill_refund_failures_total",
    "bill_team_mismatch_total",
];
/// What Prometheus itself adds to every sample.
const OF_THE_TARGET: [&str; 2] = ["job", "instance"];

/// What Prometheus and Alertmanager show of themselves. Whether they do is seen where both run.
pub(crate) const OF_THE_WATCH: [(&str, &[&str]); 3] = [
    ("prometheus_notifications_dropped_total", &[]),
    ("prometheus_notifications_errors_total", &["alertmanager"]),
    ("alertmanager_notifications_failed_total", &["integration"]),
];

/// Metrics and their labels.
pub(crate) type Names = BTreeMap<String, BTreeSet<String>>;

fn labels(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Checks every question of the alerts and of the dashboard against what services were seen to show.
pub(crate) fn everything_asked_for_exists(seen: &Names) -> anyhow::Result<()> {
    let mut known = seen.clone();
    known.insert("up".to_owned(), BTreeSet::new());
    known.insert("ALERTS".to_owned(), labels(&["alertname", "alertstate", "severity"]));
    known.extend(OF_THE_WATCH.map(|(name, its)| (name.to_owned(), labels(its))));
    let sources = sources()?;
    for name in QUIET {
        let found = registered(&sources, name).with_context(|| format!("nobody registers {name}"))?;
        known.entry(name.to_owned()).or_insert(found);
    }
    // Both backends are called by the same code, which puts their name in.
    let of_the_kms = seen.iter().filter(|(name, _)| name.starts_with("bill_kms_"));
    known.extend(of_the_kms.map(|(name, labels)| (name.replace("_kms_", "_litellm_"), labels.clone())));
    let rules = rules::committed()?;
    for rule in rules.iter().filter(|rule| !rule.is_alert) {
        known.insert(rule.name.clone(), Expression::read(rule.field("expr")?).grouped);
    }
    let mut wrong = Vec::new();
    for rule in &rules {
        if let Err(error) = check(rule.field("expr")?, &BTreeSet::new(), &known) {
            wrong.push(format!("alerts.yml, {}: {error}", rule.name));
        }
    }
    for query in dashboard::queries()? {
        if let Err(error) = check(&query.expr, &query.legend, &known) {
            wrong.push(format!("the dashboard, {}: {error}", query.panel));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

fn check(expr: &str, legend: &BTreeSet<String>, known: &Names) -> anyhow::Result<()> {
    let expression = Expression::read(expr);
    ensure!(!expression.metrics.is_empty() || expr == rules::ALWAYS, "{expr} asks for nothing");
    let mut there = labels(&OF_THE_TARGET);
    for (name, selected) in &expression.metrics {
        let its = known.get(name).with_context(|| format!("there is no {name}"))?;
        there.extend(its.iter().cloned());
        let own: BTreeSet<String> = its.iter().cloned().chain(labels(&OF_THE_TARGET)).collect();
        ensure!(selected.is_subset(&own), "{name} has the labels {own:?}, not all of {selected:?}");
    }
    ensure!(expression.grouped.is_subset(&there), "{expr} groups by what is not in {there:?}");
    let shown = if expression.is_aggregated || !expression.grouped.is_empty() { &expression.grouped } else { &there };
    ensure!(legend.is_subset(shown), "the legend shows {legend:?}, and there is {shown:?}");
    Ok(())
}

/// The code of the services, without what tests say.
fn sources() -> anyhow::Result<String> {
    let mut text = String::new();
    let mut folders: Vec<_> = ["common", "ingress", "recharger", "ledger", "syncer"]
        .map(|krate| xtask::paths::root().join(krate).join("src"))
        .into();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)?.collect::<std::io::Result<Vec<_>>>()? {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let code = fs::read_to_string(&path)?;
                text.push_str(code.split("#[cfg(test)]").next().unwrap_or_default());
            }
        }
    }
    Ok(text)
}

/// The labels with which a metric is registered: `counter_vec(registry, "name", "Help.", &["label"])`. Help is no single word.
fn registered(sources: &str, name: &str) -> Option<BTreeSet<String>> {
    let call = sources.split_once(&format!("\"{name}\","))?.1;
    let end = [";", "])", "\"bill_"].iter().filter_map(|end| call.find(end)).min().unwrap_or(call.len());
    let is_label = |word: &&str| !word.is_empty() && word.chars().all(|char| char.is_ascii_lowercase() || char == '_');
    Some(call[..end].split('"').skip(1).step_by(2).filter(is_label).map(str::to_owned).collect())
}
