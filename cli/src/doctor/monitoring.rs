//! Prometheus: whether it scrapes us, has our rules, tells somebody, and what fires.

use std::collections::BTreeSet;
use std::time::Duration;

use common::doctor::Check;
use reqwest::Url;
use serde_json::Value;

const NAME: &str = "monitoring";
const ALERTS: &str = "alerts";
/// How the names of our alerts begin.
const OURS: &str = "Bill";
/// The scrape jobs of `ops/prometheus/prometheus.yml`.
const JOBS: [&str; 4] = ["ingress", "recharger", "ledger", "syncer"];
/// How long it may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// What Prometheus says.
struct Told {
    targets: Value,
    rules: Value,
    alerts: Value,
    alertmanagers: Value,
}

/// Looks at Prometheus.
pub(super) async fn look(url: &str) -> Vec<Check> {
    const FIX: &str = "Start Prometheus with ops/prometheus/prometheus.yml, or correct --prometheus.";
    let Ok(base) = Url::parse(url).map(|url| url.as_str().trim_end_matches('/').to_owned()) else {
        return vec![Check::failed(
            NAME,
            "--prometheus (PROMETHEUS_URL) is no address",
            "Write it as http://127.0.0.1:9090.",
        )];
    };
    match ask(&base).await {
        Ok(told) => judge(&told),
        Err(error) => vec![Check::failed(NAME, format!("Prometheus does not answer: {error}"), FIX)],
    }
}

async fn ask(base: &str) -> Result<Told, String> {
    common::clients::install_tls();
    let client = reqwest::Client::builder().timeout(PATIENCE).build().map_err(|error| error.to_string())?;
    let get = async |path: &str| {
        let answer = client.get(format!("{base}/api/v1/{path}")).send().await;
        let answer =
            answer.and_then(reqwest::Response::error_for_status).map_err(|error| error.without_url().to_string())?;
        let mut body: Value = answer.json().await.map_err(|error| error.without_url().to_string())?;
        Ok::<_, String>(body["data"].take())
    };
    Ok(Told {
        targets: get("targets?state=active").await?,
        rules: get("rules?type=alert").await?,
        alerts: get("alerts").await?,
        alertmanagers: get("alertmanagers").await?,
    })
}

fn judge(told: &Told) -> Vec<Check> {
    let mut checks = targets(&list(&told.targets["activeTargets"]));
    checks.push(rules(&told.rules));
    if list(&told.alertmanagers["activeAlertmanagers"]).is_empty() {
        let fix = "Start Alertmanager with ops/alertmanager/alertmanager.yml, and name it in prometheus.yml.";
        checks.push(Check::warning(NAME, "Prometheus knows no Alertmanager: nobody is told of an alert", fix));
    }
    let firing = list(&told.alerts["alerts"])
        .into_iter()
        .filter(|alert| alert["state"] == "firing" && is_ours(&alert["labels"]["alertname"]));
    let firing: Vec<Check> = firing.map(|alert| alert_of(&alert)).collect();
    if firing.is_empty() {
        checks.push(Check::ok(ALERTS, "none of ours fires"));
    }
    checks.extend(firing);
    checks
}

fn targets(targets: &[Value]) -> Vec<Check> {
    let job = |target: &Value| target["labels"]["job"].as_str().unwrap_or_default().to_owned();
    let seen: BTreeSet<String> = targets.iter().map(job).collect();
    let mut checks: Vec<Check> = JOBS
        .iter()
        .filter(|job| !seen.contains(**job))
        .map(|job| {
            let found = format!("Prometheus has no target of the job {job}");
            Check::failed(
                NAME,
                found,
                "Give Prometheus the scrape jobs of ops/prometheus/prometheus.yml, with your addresses.",
            )
        })
        .collect();
    for target in targets.iter().filter(|target| JOBS.contains(&job(target).as_str()) && target["health"] != "up") {
        let place = target["labels"]["instance"].as_str().unwrap_or("?");
        let found = format!(
            "Prometheus can't scrape {} at {place}: {}",
            job(target),
            target["lastError"].as_str().unwrap_or("?")
        );
        checks.push(Check::failed(NAME, found, "Start it, or let Prometheus through to its port."));
    }
    if checks.is_empty() {
        checks.push(Check::ok(NAME, format!("Prometheus scrapes {}", JOBS.join(", "))));
    }
    checks
}

fn rules(rules: &Value) -> Check {
    let groups = list(&rules["groups"]);
    let all: Vec<Value> = groups.iter().flat_map(|group| list(&group["rules"])).collect();
    let ours: Vec<&Value> = all.iter().filter(|rule| is_ours(&rule["name"])).collect();
    if ours.is_empty() {
        return Check::failed(
            NAME,
            "Prometheus has none of our alert rules",
            "Give it ops/prometheus/alerts.yml under `rule_files`.",
        );
    }
    let sick: Vec<&str> =
        ours.iter().filter(|rule| rule["health"] == "err").filter_map(|rule| rule["name"].as_str()).collect();
    if sick.is_empty() {
        return Check::ok(NAME, format!("Prometheus has {} of our alert rules", ours.len()));
    }
    Check::failed(
        NAME,
        format!("Prometheus can't evaluate {}", sick.join(", ")),
        "Give it the ops/prometheus/alerts.yml of this version.",
    )
}

fn alert_of(alert: &Value) -> Check {
    let labels = &alert["labels"];
    let (name, severity) = (labels["alertname"].as_str().unwrap_or("?"), labels["severity"].as_str().unwrap_or("?"));
    let found =
        format!("{name} fires ({severity}): {}", alert["annotations"]["summary"].as_str().unwrap_or("no summary"));
    let fix = format!("Follow docs/RUNBOOK.md, {name}.");
    if severity == "critical" { Check::failed(ALERTS, found, fix) } else { Check::warning(ALERTS, found, fix) }
}

fn is_ours(name: &Value) -> bool {
    name.as_str().is_some_and(|name| name.starts_with(OURS))
}

fn list(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use common::doctor::Outcome;
    use serde_json::json;

    use super::*;

    fn told() -> Told {
        let target =
            |job: &str| json!({ "labels": { "job": job, "instance": "a:1" }, "health": "up", "lastError": "" });
        Told {
            targets: json!({ "activeTargets": JOBS.map(target) }),
            rules: json!({ "groups": [{ "rules": [
                { "name": "BillServiceDown", "health": "ok" }, { "name": "Other", "health": "err" },
            ] }] }),
            alerts: json!({ "alerts": [] }),
            alertmanagers: json!({ "activeAlertmanagers": [{ "url": "http://a" }] }),
        }
    }

    fn troubles(told: &Told) -> Vec<(Outcome, String)> {
        let checks = judge(told).into_iter().filter(|check| check.outcome != Outcome::Ok);
        checks.map(|check| (check.outcome, check.found)).collect()
    }

    #[test]
    fn each_trouble_is_named() {
        assert_eq!(troubles(&told()), []);
        let mut down = told();
        down.targets["activeTargets"][1]["health"] = json!("down");
        down.targets["activeTargets"][1]["lastError"] = json!("refused");
        assert_eq!(
            troubles(&down),
            [(Outcome::Failed, "Prometheus can't scrape recharger at a:1: refused".to_owned())]
        );
        let missing = Told { targets: json!({ "activeTargets": [] }), rules: json!({ "groups": [] }), ..told() };
        assert_eq!(troubles(&missing).len(), 5);
        let silent = Told { alertmanagers: json!({ "activeAlertmanagers": [] }), ..told() };
        assert_eq!(troubles(&silent)[0].0, Outcome::Warning);
        let alert = |name: &str, severity: &str, state: &str| {
            let labels = json!({ "alertname": name, "severity": severity });
            json!({ "state": state, "labels": labels, "annotations": { "summary": "so" } })
        };
        let alerts = json!({ "alerts": [
            alert("BillLedgerDrift", "critical", "firing"), alert("BillSweepLate", "warning", "firing"),
            alert("BillDeadLetters", "critical", "pending"), alert("NodeDown", "critical", "firing"),
        ] });
        assert_eq!(
            troubles(&Told { alerts, ..told() }),
            [
                (Outcome::Failed, "BillLedgerDrift fires (critical): so".to_owned()),
                (Outcome::Warning, "BillSweepLate fires (warning): so".to_owned()),
            ]
        );
    }
}
