//! The dashboard as it is committed. Grafana itself is not there: what can be told without it is.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use xtask::folder::PrivateFolder;

use super::rules;

/// What Grafana puts in the place of its own variables.
const RATE_INTERVAL: &str = "$__rate_interval";

/// A question of a panel.
#[derive(Debug)]
pub(crate) struct Query {
    pub(crate) panel: String,
    pub(crate) expr: String,
    /// The labels that its legend shows.
    pub(crate) legend: BTreeSet<String>,
}

fn read(path: &str) -> anyhow::Result<String> {
    fs::read_to_string(xtask::paths::root().join("ops/grafana").join(path)).context(path.to_owned())
}

fn committed() -> anyhow::Result<Value> {
    Ok(serde_json::from_str(&read("dashboards/bill-service.json")?)?)
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// Every question that the dashboard asks, alerts beside the graphs included.
pub(crate) fn queries() -> anyhow::Result<Vec<Query>> {
    let dashboard = committed()?;
    let mut queries = Vec::new();
    let mut add = |panel: &Value, target: &Value| {
        let panel = panel.as_str().context("a panel without a title")?.to_owned();
        let expr = target["expr"].as_str().context(panel.clone())?.replace(RATE_INTERVAL, "5m");
        let legend = target["legendFormat"].as_str().unwrap_or_default();
        let legend = legend.split("{{").skip(1).filter_map(|part| part.split("}}").next()).map(str::to_owned).collect();
        queries.push(Query { panel, expr, legend });
        anyhow::Ok(())
    };
    for panel in list(&dashboard["panels"]) {
        for target in list(&panel["targets"]) {
            add(&panel["title"], target)?;
        }
    }
    for annotation in list(&dashboard["annotations"]["list"]) {
        add(&annotation["name"], annotation)?;
    }
    Ok(queries)
}

/// The cells of the grid that a panel covers.
fn cells(panel: &Value) -> anyhow::Result<Vec<(u64, u64)>> {
    let number = |name: &str| panel["gridPos"][name].as_u64().with_context(|| format!("{name} of {panel}"));
    let (x, y, w, h) = (number("x")?, number("y")?, number("w")?, number("h")?);
    ensure!(w > 0 && h > 0 && x + w <= 24, "{} is wider than the grid", panel["title"]);
    Ok((x..x + w).flat_map(|column| (y..y + h).map(move |row| (column, row))).collect())
}

#[test]
fn the_dashboard_has_the_shape_that_grafana_loads() -> anyhow::Result<()> {
    let dashboard = committed()?;
    ensure!(dashboard["schemaVersion"].as_u64().is_some_and(|version| version >= 36), "schemaVersion");
    ensure!(dashboard["uid"] == "bill-service" && dashboard["title"] == "Bill-Service", "uid and title");
    let provisioned = read("provisioning/datasources/prometheus.yml")?;
    let uid = provisioned.lines().find_map(|line| line.trim().strip_prefix("uid: ")).context("no uid")?;
    let source = json!({ "type": "prometheus", "uid": uid });
    let (mut ids, mut covered) = (BTreeSet::new(), BTreeSet::new());
    for panel in list(&dashboard["panels"]) {
        let title = panel["title"].as_str().filter(|title| !title.is_empty()).context("a panel without a title")?;
        ensure!(ids.insert(panel["id"].as_u64().context("an id")?), "{title} has the id of another panel");
        for cell in cells(panel)? {
            ensure!(covered.insert(cell), "{title} covers another panel at {cell:?}");
        }
        if panel["type"] == "row" {
            continue;
        }
        ensure!(["timeseries", "stat"].iter().any(|kind| panel["type"] == *kind), "{title}: {}", panel["type"]);
        ensure!(panel["description"].as_str().is_some_and(|text| !text.is_empty()), "{title} says nothing of itself");
        ensure!(panel["datasource"] == source && !list(&panel["targets"]).is_empty(), "{title} asks nobody");
        let mut references = BTreeSet::new();
        for target in list(&panel["targets"]) {
            ensure!(target["datasource"] == source, "{title} asks {}", target["datasource"]);
            ensure!(references.insert(target["refId"].as_str().context("refId")?), "{title} has a refId twice");
        }
    }
    Ok(())
}

/// Prometheus's own reader has the last word: each question is one of its recording rules for a moment.
#[test]
fn prometheus_understands_every_question() -> anyhow::Result<()> {
    let mut text = "groups:\n  - name: dashboard\n    rules:\n".to_owned();
    for (number, query) in queries()?.iter().enumerate() {
        ensure!(!query.expr.contains("$__"), "{}: only {RATE_INTERVAL} is replaced: {}", query.panel, query.expr);
        // A string of JSON is one of YAML.
        writeln!(text, "      - record: dashboard:query:number{number}\n        expr: {}", json!(query.expr))?;
    }
    let folder = PrivateFolder::create("dashboard", None)?;
    let file = folder.path().join("queries.yml");
    fs::write(&file, text)?;
    rules::succeeds(rules::promtool()?.args(["check", "rules"]).arg(&file))
}
