//! Prometheus: whether it scrapes us, has our rules, tells somebody who is there, and what fires.

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
/// Those of its jobs with which it watches itself and Alertmanager.
const WATCHING: [&str; 2] = ["prometheus", ALERTMANAGER];
const ALERTMANAGER: &str = "alertmanager";
/// The alert that fires always: it is missed when it does not.
const WATCHDOG: &str = "BillWatchdog";
/// How long it may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// What Prometheus says.
struct Told {
    targets: Value,
    rules: Value,
    alerts: Value,
    alertmanagers: Vec<Sender>,
}

/// An Alertmanager that Prometheus tells.
struct Sender {
    /// Its address and port, as Prometheus writes them.
    place: String,
    found: Found,
}

/// What an Alertmanager says to whoever asks it from here.
#[derive(Clone)]
enum Found {
    Ready,
    /// It answers, and this instead.
    NotReady(String),
    /// Nothing is known of it: it may be down, or in another network.
    NotReached(String),
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
    let mut alertmanagers = Vec::new();
    for known in list(&get("alertmanagers").await?["activeAlertmanagers"]) {
        alertmanagers.push(sender(&client, known["url"].as_str().unwrap_or_default()).await);
    }
    Ok(Told {
        targets: get("targets?state=active").await?,
        rules: get("rules?type=alert").await?,
        alerts: get("alerts").await?,
        alertmanagers,
    })
}

/// Asks an Alertmanager whether it is ready. `url` is where Prometheus sends alerts: `http://HOST:9093/api/v2/alerts`.
async fn sender(client: &reqwest::Client, url: &str) -> Sender {
    let ready = format!("{}/-/ready", url.split_once("/api/").map_or(url, |(base, _)| base));
    let found = match client.get(&ready).send().await {
        Ok(answer) if answer.status().is_success() => Found::Ready,
        Ok(answer) => Found::NotReady(answer.status().to_string()),
        Err(error) => Found::NotReached(error.without_url().to_string()),
    };
    Sender { place: place_of(url), found }
}

/// The address and the port of a URL.
fn place_of(url: &str) -> String {
    let port = |url: &Url| url.port_or_known_default().map(|port| format!(":{port}")).unwrap_or_default();
    Url::parse(url)
        .map_or_else(|_| url.to_owned(), |url| format!("{}{}", url.host_str().unwrap_or_default(), port(&url)))
}

fn judge(told: &Told) -> Vec<Check> {
    let mut checks = targets(&list(&told.targets["activeTargets"]));
    checks.push(rules(&told.rules));
    checks.extend(senders(told));
    let firing = list(&told.alerts["alerts"]).into_iter().filter(|alert| {
        let name = &alert["labels"]["alertname"];
        alert["state"] == "firing" && is_ours(name) && name != WATCHDOG
    });
    let firing: Vec<Check> = firing.map(|alert| alert_of(&alert)).collect();
    if firing.is_empty() {
        checks.push(Check::ok(ALERTS, "none of ours fires"));
    }
    checks.extend(firing);
    checks
}

/// Whether each Alertmanager takes what it is told. One that is not reached from here is no trouble if Prometheus reaches it.
fn senders(told: &Told) -> Vec<Check> {
    const START: &str =
        "Start Alertmanager with ops/alertmanager/start.sh; its log says why it ended, as without ALERT_WEBHOOK_URL.";
    if told.alertmanagers.is_empty() {
        let fix = "Start Alertmanager with ops/alertmanager/start.sh, and name it in prometheus.yml.";
        return vec![Check::warning(NAME, "Prometheus knows no Alertmanager: nobody is told of an alert", fix)];
    }
    let targets = list(&told.targets["activeTargets"]);
    let seen_by_prometheus = |place: &str| {
        targets.iter().any(|target| {
            let at = target["scrapeUrl"].as_str().map(place_of);
            job(target) == ALERTMANAGER && target["health"] == "up" && at.as_deref() == Some(place)
        })
    };
    let check = |sender: &Sender| match &sender.found {
        Found::Ready => Check::ok(NAME, format!("Alertmanager at {} is ready", sender.place)),
        Found::NotReady(answer) => Check::failed(
            NAME,
            format!("Alertmanager at {} is not ready ({answer}): nobody may be told of an alert", sender.place),
            START,
        ),
        Found::NotReached(_) if seen_by_prometheus(&sender.place) => Check::ok(
            NAME,
            format!("Alertmanager at {} is not reached from here, and answers Prometheus", sender.place),
        ),
        Found::NotReached(error) => Check::warning(
            NAME,
            format!("Alertmanager at {} is not reached from here; whether it runs is not known: {error}", sender.place),
            START,
        ),
    };
    told.alertmanagers.iter().map(check).collect()
}

fn job(target: &Value) -> &str {
    target["labels"]["job"].as_str().unwrap_or_default()
}

fn targets(targets: &[Value]) -> Vec<Check> {
    let seen: BTreeSet<&str> = targets.iter().map(job).collect();
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
    let watched = |target: &&Value| JOBS.iter().chain(&WATCHING).any(|known| *known == job(target));
    for target in targets.iter().filter(watched).filter(|target| target["health"] != "up") {
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
    for missing in WATCHING.iter().filter(|job| !seen.contains(**job)) {
        let found = format!("Prometheus has no target of the job {missing}: BillAlertsNotDelivered can't fire for it");
        checks.push(Check::warning(NAME, found, "Give Prometheus the scrape jobs of ops/prometheus/prometheus.yml."));
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

    fn at(place: &str, found: Found) -> Sender {
        Sender { place: place.to_owned(), found }
    }

    fn told() -> Told {
        let target = |job: &str| {
            json!({ "labels": { "job": job, "instance": "a:1" }, "health": "up", "lastError": "",
                "scrapeUrl": "http://a:1/metrics" })
        };
        let all: Vec<Value> = JOBS.into_iter().chain(WATCHING).map(target).collect();
        Told {
            targets: json!({ "activeTargets": all }),
            rules: json!({ "groups": [{ "rules": [
                { "name": "BillServiceDown", "health": "ok" }, { "name": "Other", "health": "err" },
            ] }] }),
            alerts: json!({ "alerts": [] }),
            alertmanagers: vec![at("a:1", Found::Ready)],
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
        assert_eq!(troubles(&missing).len(), 7);
        let silent = Told { alertmanagers: Vec::new(), ..told() };
        assert_eq!(troubles(&silent)[0].0, Outcome::Warning);
        let alert = |name: &str, severity: &str, state: &str| {
            let labels = json!({ "alertname": name, "severity": severity });
            json!({ "state": state, "labels": labels, "annotations": { "summary": "so" } })
        };
        let alerts = json!({ "alerts": [
            alert("BillLedgerDrift", "critical", "firing"), alert("BillSweepLate", "warning", "firing"),
            alert("BillDeadLetters", "critical", "pending"), alert("NodeDown", "critical", "firing"),
            alert("BillWatchdog", "none", "firing"),
        ] });
        assert_eq!(
            troubles(&Told { alerts, ..told() }),
            [
                (Outcome::Failed, "BillLedgerDrift fires (critical): so".to_owned()),
                (Outcome::Warning, "BillSweepLate fires (warning): so".to_owned()),
            ]
        );
    }
    #[test]
    fn an_alertmanager_is_only_well_when_somebody_reaches_it() {
        for (place, found, outcome) in [
            ("a:1", Found::Ready, None),
            ("a:1", Found::NotReady("503 Service Unavailable".to_owned()), Some(Outcome::Failed)),
            ("a:1", Found::NotReached("no such host".to_owned()), None),
            ("b:1", Found::NotReached("no such host".to_owned()), Some(Outcome::Warning)),
        ] {
            let told = Told { alertmanagers: vec![at(place, found)], ..told() };
            assert_eq!(troubles(&told).first().map(|(outcome, _)| *outcome), outcome, "{place}");
        }
        let mut down = told();
        down.targets["activeTargets"][5]["health"] = json!("down");
        down.alertmanagers = vec![at("a:1", Found::NotReached("refused".to_owned()))];
        let found: Vec<Outcome> = troubles(&down).into_iter().map(|(outcome, _)| outcome).collect();
        assert_eq!(found, [Outcome::Failed, Outcome::Warning]);
    }

    #[tokio::test]
    async fn an_alertmanager_is_asked_where_prometheus_sends_to() {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

        common::clients::install_tls();
        let client = reqwest::Client::new();
        for (line, is_ready) in [("200 OK", true), ("503 Service Unavailable", false)] {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let place = listener.local_addr().unwrap().to_string();
            let answered = tokio::spawn(async move {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut asked = vec![0; 1024];
                let length = stream.read(&mut asked).await.unwrap();
                let answer = format!("HTTP/1.1 {line}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                stream.write_all(answer.as_bytes()).await.unwrap();
                String::from_utf8_lossy(&asked[..length]).into_owned()
            });
            let sender = sender(&client, &format!("http://{place}/prefix/api/v2/alerts")).await;
            assert_eq!(sender.place, place);
            assert!(matches!((&sender.found, is_ready), (Found::Ready, true) | (Found::NotReady(_), false)));
            assert!(answered.await.unwrap().starts_with("GET /prefix/-/ready "));
            let gone = super::sender(&client, &format!("http://{place}/api/v2/alerts")).await;
            assert!(matches!(gone.found, Found::NotReached(_)), "nobody listens there any more");
        }
    }
}
