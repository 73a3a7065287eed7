//! A real Prometheus and a real Alertmanager with what is committed: the KMS goes away, the right alert reaches whoever is to
//! be told, and is taken back when the KMS is there again.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, ensure};
use e2e::client::limit_exceeded;
use e2e::stack::SERVICES;
use e2e::{Options, Stack, wait};
use serde_json::{Value, json};
use warp::Filter;
use xtask::folder::PrivateFolder;
use xtask::ports;
use xtask::process::{ManagedChild, Output, Program};
use xtask::tools::{self, Tools};

use super::{asked, rules};

/// Every span of the committed files is so many times shorter here: five minutes are ten seconds.
const QUICKER: u64 = 30;
/// What Prometheus counts for each Alertmanager is not there before it has failed to reach it.
const ONLY_AFTER_A_FAILURE: &str = "prometheus_notifications_errors_total";
const ALERT: &str = "BillQuotaBackendErrors";

/// The text with every span (`5m`, `1h`) shortened. What is compared with a number of seconds stays as it is.
fn quicker(text: &str) -> String {
    let mut shortened = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        let is_word = |char: char| char.is_ascii_alphanumeric() || char == '_';
        let end = rest.find(|char| !is_word(char)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        match millis(word) {
            Some(millis) => shortened.push_str(&format!("{}ms", millis / QUICKER)),
            None => shortened.push_str(word),
        }
        let other = after.find(is_word).unwrap_or(after.len());
        shortened.push_str(&after[..other]);
        rest = &after[other..];
    }
    shortened
}

fn millis(word: &str) -> Option<u64> {
    let (number, unit) = word.split_at_checked(word.len().checked_sub(1)?)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return None,
    };
    Some(number.parse::<u64>().ok()? * seconds * 1000)
}

#[test]
fn spans_are_shortened_and_nothing_else() {
    for (text, shorter) in [
        ("for: 5m", "for: 10000ms"),
        ("rate(a_total{b=\"5mm\"}[90m] offset 1d) > 60", "rate(a_total{b=\"5mm\"}[180000ms] offset 2880000ms) > 60"),
        ("a:increase15m [15s]\n", "a:increase15m [500ms]\n"),
        ("m 1 s5 für 3 * 3600", "m 1 s5 für 3 * 3600"),
    ] {
        assert_eq!(quicker(text), shorter);
    }
}

/// Where each service is, instead of the names that it has in a compose network.
fn with_targets(config: &str, stack: &Stack) -> anyhow::Result<String> {
    let mut text = String::new();
    let (mut job, mut skipped, mut replaced) = ("", None, 0);
    for line in config.lines() {
        let indent = line.len() - line.trim_start().len();
        if skipped.is_some_and(|above| indent > above) && !line.trim().is_empty() {
            continue;
        }
        skipped = None;
        job = line.trim().strip_prefix("- job_name: ").unwrap_or(job);
        if line.trim() == "dns_sd_configs:" {
            let its = stack.services.iter().filter(|service| service.label.starts_with(job));
            let targets: Vec<&str> = its.map(|service| service.url.trim_start_matches("http://")).collect();
            text.push_str(&format!("    static_configs: [{{ targets: {} }}]\n", json!(targets)));
            (skipped, replaced) = (Some(indent), replaced + 1);
        } else {
            text.push_str(&format!("{line}\n"));
        }
    }
    ensure!(replaced == SERVICES.len(), "{replaced} jobs are found by name");
    Ok(text)
}

/// Takes what Alertmanager sends: one message after the other.
#[derive(Clone, Default)]
struct Receiver(Arc<Mutex<Vec<Value>>>);

impl Receiver {
    async fn start() -> anyhow::Result<(Self, String)> {
        let receiver = Self::default();
        let taken = receiver.clone();
        let route = warp::post().and(warp::path!("told")).and(warp::body::json()).map(move |message: Value| {
            taken.0.lock().unwrap_or_else(PoisonError::into_inner).push(message);
            warp::reply()
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/told?key=a%20b&c=d", listener.local_addr()?);
        tokio::spawn(warp::serve(route).incoming(listener).run());
        Ok((receiver, url))
    }

    /// What was told of an alert, in order: the receiver's name and the alert.
    fn told_of(&self, name: &str) -> Vec<(Value, Value)> {
        let messages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let alerts = messages.iter().flat_map(|message| {
            let alerts = message["alerts"].as_array().cloned().unwrap_or_default();
            alerts.into_iter().map(|alert| (message["receiver"].clone(), alert))
        });
        alerts.filter(|(_, alert)| alert["labels"]["alertname"] == name).collect()
    }

    async fn hears(&self, watch: &mut Watch, name: &str, status: &str) -> anyhow::Result<(Value, Value)> {
        let watch = tokio::sync::Mutex::new(watch);
        wait::until(&format!("{name} to be {status}"), || async {
            watch.lock().await.check_running()?;
            let told = self.told_of(name);
            let found = told.iter().find(|(_, alert)| alert["status"] == status).cloned();
            found.with_context(|| format!("{} messages, not that one", told.len()))
        })
        .await
    }
}

/// Prometheus and Alertmanager. They end when this is dropped, and then their folder goes.
struct Watch {
    children: Vec<ManagedChild>,
    url: String,
    http: reqwest::Client,
    _folder: PrivateFolder,
}

impl Watch {
    fn start(stack: &Stack, tell: &str) -> anyhow::Result<Self> {
        let found = Tools::from_env()?;
        let prometheus = found.prometheus.with_context(|| format!("{} is not set", tools::PROMETHEUS))?;
        let alertmanager = found.alertmanager.with_context(|| format!("{} is not set", tools::ALERTMANAGER))?;
        let owned = PrivateFolder::create("monitoring", None)?;
        let (folder, ops) = (owned.path(), xtask::paths::root().join("ops"));
        let sender = format!("127.0.0.1:{}", ports::free_port()?);
        let address = format!("127.0.0.1:{}", ports::free_port()?);
        let read = |file: &str| fs::read_to_string(ops.join(file)).context(file.to_owned());
        let config = with_targets(&read("prometheus/prometheus.yml")?, stack)?;
        ensure!(config.contains("alertmanager:9093"), "no Alertmanager is told");
        ensure!(config.contains("localhost:9090"), "Prometheus does not watch itself");
        let config = config.replace("alertmanager:9093", &sender).replace("localhost:9090", &address);
        fs::write(folder.join("prometheus.yml"), quicker(&config))?;
        fs::write(folder.join("alerts.yml"), quicker(&read("prometheus/alerts.yml")?))?;
        fs::write(folder.join("routes.yml"), quicker(&read("alertmanager/alertmanager.yml")?))?;
        fs::write(folder.join("url"), format!("{tell}\n"))?;
        let start = Program::new("sh").arg(ops.join("alertmanager/start.sh"));
        let start = start.env("ALERTMANAGER", alertmanager).env("ALERTMANAGER_CONFIG", folder.join("routes.yml"));
        let start = start.env("ALERTMANAGER_STORAGE", folder).env("ALERT_WEBHOOK_URL_FILE", folder.join("url"));
        let start = start.env_remove("ALERT_WEBHOOK_URL").env_remove("ALERT_WATCHDOG_URL_FILE");
        let start = start.env("ALERT_WATCHDOG_URL", tell);
        let start = start.arg(format!("--web.listen-address={sender}")).arg("--cluster.listen-address=");
        let server = Program::new(prometheus).arg(format!("--config.file={}", folder.join("prometheus.yml").display()));
        let server = server.arg(format!("--storage.tsdb.path={}", folder.join("data").display()));
        let server = server.arg(format!("--web.listen-address={address}"));
        let children = vec![spawn(start, folder, "alertmanager")?, spawn(server, folder, "prometheus")?];
        let http = stack.client.http.clone();
        Ok(Self { children, url: format!("http://{address}"), http, _folder: owned })
    }

    fn check_running(&mut self) -> anyhow::Result<()> {
        for child in &mut self.children {
            if let Some(status) = child.try_wait()? {
                anyhow::bail!("{} ended by itself ({status}){}", child.name(), child.log_tail());
            }
        }
        Ok(())
    }

    async fn get(&self, path: &str) -> anyhow::Result<Value> {
        let answer = self.http.get(format!("{}{path}", self.url)).send().await?.error_for_status()?;
        Ok(answer.json::<Value>().await?["data"].clone())
    }

    /// Waits until every process was reached, and every rule worked out without an error, twice: some ask for others.
    async fn sees_everything(&mut self, processes: usize) -> anyhow::Result<()> {
        let watch = tokio::sync::Mutex::new(self);
        wait::until("Prometheus to see everything", || async {
            let mut watch = watch.lock().await;
            watch.check_running()?;
            let targets = watch.get("/api/v1/targets?state=active").await?;
            let up = each(&targets["activeTargets"]).filter(|target| target["health"] == "up").count();
            // Those two watch themselves, too.
            ensure!(up == processes + 2, "{up} of {processes} and two more are reached: {targets}");
            for (name, _) in asked::OF_THE_WATCH.iter().filter(|(name, _)| *name != ONLY_AFTER_A_FAILURE) {
                let found = watch.get(&format!("/api/v1/query?query={name}")).await?;
                ensure!(each(&found["result"]).next().is_some(), "there is no {name}");
            }
            let groups = watch.get("/api/v1/rules").await?;
            for rule in each(&groups["groups"]).flat_map(|group| each(&group["rules"])) {
                ensure!(rule["health"] == "ok", "{} is {}: {}", rule["name"], rule["health"], rule["lastError"]);
                ensure!(
                    rule["state"] != "firing" || rule["labels"]["severity"] != "critical",
                    "{} fires",
                    rule["name"]
                );
            }
            Ok(())
        })
        .await
    }
}

fn spawn(program: Program, folder: &Path, name: &str) -> anyhow::Result<ManagedChild> {
    program.own_group().cwd(folder).output(Output::File(folder.join(format!("{name}.log")))).spawn()
}

fn each(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

/// With two replicas of each service: rules that take one for granted would not work out.
#[tokio::test(flavor = "multi_thread")]
async fn the_kms_goes_away_and_somebody_is_told_until_it_is_back() -> anyhow::Result<()> {
    // The backend is asked at each sweep: what services wait between two tries is not shortened, as the alert's window is.
    let options =
        Options { replicas: 2, ..Options::default() }.with("SWEEP_INTERVAL", "500ms").with("SWEEP_REPEAT", "0s");
    let stack = Stack::start(options.with("WEBHOOK_WAIT_MS", "0")).await?;
    let team = stack.client.ready_organization("acme", "pm_card_visa", json!({})).await?;
    let (receiver, url) = Receiver::start().await?;
    let mut watch = tokio::task::block_in_place(|| Watch::start(&stack, &url))?;
    watch.sees_everything(stack.services.len()).await?;
    assert!(receiver.told_of(ALERT).is_empty());
    let (receiver_name, _) = receiver.hears(&mut watch, rules::WATCHDOG, "firing").await?;
    assert_eq!(receiver_name, "watchdog", "the sign of life goes its own way");

    stack.client.kms_sim("faults", &json!(["down:600"])).await?;
    let (status, answer) = stack.client.webhook(&stack.client.ingress, limit_exceeded(&team, "800", "800", 1)).await?;
    ensure!(status == 202, "{status} {answer}");
    let (receiver_name, alert) = receiver.hears(&mut watch, ALERT, "firing").await?;
    assert_eq!(receiver_name, "critical");
    assert_eq!((&alert["labels"]["severity"], &alert["labels"]["backend"]), (&json!("critical"), &json!("kms")));
    let summary = alert["annotations"]["summary"].as_str().context("no sentence")?;
    assert!(summary.ends_with("% of the calls to the KMS fail."), "{summary}");
    assert_eq!(alert["annotations"]["runbook_url"], "docs/RUNBOOK.md#billquotabackenderrors");
    assert!(receiver.told_of("BillStripeErrors").is_empty(), "Stripe did nothing");

    stack.client.kms_heals().await?;
    let (receiver_name, _) = receiver.hears(&mut watch, ALERT, "resolved").await?;
    assert_eq!(receiver_name, "critical");
    wait::until("the recharge to settle", || async {
        let history = stack.client.history("acme").await?;
        ensure!(history.iter().any(|recharge| recharge["status"] == "settled"), "{history:?}");
        Ok(())
    })
    .await?;
    drop(watch);
    stack.stop().await
}
