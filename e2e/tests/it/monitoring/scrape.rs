//! What the four services show of themselves after a run of which everything is known.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::Stdio;

use anyhow::{Context, ensure};
use e2e::client::limit_exceeded;
use e2e::stack::SERVICES;
use e2e::{Options, Stack, wait};
use rust_decimal::Decimal;
use serde_json::json;

use super::asked::{self, Names};
use super::exposition::Exposition;
use super::rules;

/// How many recharges settle.
const SETTLED: usize = 3;
/// Whoever has a quota needs no recharge by the sweep, which would be one more.
const QUOTA: u32 = 500;

async fn scrape(stack: &Stack) -> anyhow::Result<BTreeMap<String, (String, Exposition)>> {
    let mut all = BTreeMap::new();
    for service in &stack.services {
        let answer = stack.client.http.get(format!("{}/metrics", service.url)).send().await?.error_for_status()?;
        let text = answer.text().await?;
        let read = Exposition::read(&text).with_context(|| service.label.clone())?;
        all.insert(service.label.trim_end_matches("-1").to_owned(), (text, read));
    }
    Ok(all)
}

async fn organization(stack: &Stack, name: &str, card: &str) -> anyhow::Result<String> {
    let known = json!({ "c_organization_id": name, "quota": QUOTA });
    let url = format!("{}/organizations/", stack.kms.url());
    stack.client.http.post(url).json(&known).send().await?.error_for_status()?;
    stack.client.ready_organization(name, card, json!({})).await
}

/// Three recharges settle, one of them is given back in part, one is declined; a webhook has a wrong signature, a message
/// can't be read, and the books are compared. Returns the teams.
async fn run(stack: &Stack) -> anyhow::Result<Vec<String>> {
    let client = &stack.client;
    let team = organization(stack, "acme", "pm_card_visa").await?;
    let penniless = organization(stack, "penniless", "pm_card_chargeDeclined").await?;
    let mut recharge = json!(null);
    for number in 0..SETTLED {
        let limit = (QUOTA as usize + 200 * number).to_string();
        let (status, answer) = client.webhook(&client.ingress, limit_exceeded(&team, &limit, &limit, number)).await?;
        ensure!(status == 200 && answer["success"] == true, "{status} {answer}");
        recharge = answer["recharge_id"].clone();
    }
    let (_, answer) = client.webhook(&client.ingress, limit_exceeded(&penniless, "500", "500", 0)).await?;
    ensure!(answer["action"] == "declined", "{answer}");
    let forged = client.http.post(format!("{}/webhooks/litellm/limit-exceeded", client.ingress));
    let forged = forged.header("x-webhook-signature", "sha256=00").body(limit_exceeded(&team, "1", "1", 9));
    ensure!(forged.send().await?.status() == 401, "a wrong signature");
    let path = format!("/api/recharges/{}/refund", recharge.as_str().context("no recharge")?);
    let (status, answer) = client.post(&path, &json!({ "amount": 1, "reason": "for the books" })).await?;
    ensure!(status.is_success(), "{status} {answer}");
    stack.broker.jetstream().publish("recharges.charged.lost", "no event".into()).await?.await?;
    let (status, answer) = client.post("/api/reconciliations", &json!({})).await?;
    ensure!(status.is_success(), "{status} {answer}");
    Ok(vec![team, penniless])
}

/// What the run must have left, by service: metric, labels, number.
type Expected = (&'static str, &'static str, &'static [(&'static str, &'static str)], i64);
const EXPECTED: [Expected; 28] = [
    ("ingress", "bill_webhooks_total", &[("source", "limit_exceeded"), ("result", "settled")], 3),
    ("ingress", "bill_webhooks_total", &[("source", "limit_exceeded"), ("result", "declined")], 1),
    ("ingress", "bill_webhooks_total", &[("source", "limit_exceeded"), ("result", "invalid_signature")], 1),
    ("ingress", "bill_webhook_answer_seconds_count", &[("source", "limit_exceeded")], 5),
    (
        "ingress",
        "bill_ingress_published_total",
        &[("kind", "webhooks.litellm.limit_exceeded"), ("result", "stored")],
        4,
    ),
    ("ingress", "bill_dead_letters_waiting", &[], 1),
    ("recharger", "bill_recharges_total", &[("outcome", "charged")], 3),
    ("recharger", "bill_recharges_total", &[("outcome", "settled")], 3),
    ("recharger", "bill_recharges_total", &[("outcome", "declined"), ("reason", "card_declined")], 1),
    ("recharger", "bill_recharges_total", &[("outcome", "refunded")], 1),
    ("recharger", "bill_charged_minor_total", &[("currency", "usd")], 60_000),
    ("recharger", "bill_settled_minor_total", &[("currency", "usd")], 60_000),
    ("recharger", "bill_refunded_minor_total", &[("currency", "usd")], 100),
    ("recharger", "bill_stripe_calls_total", &[("call", "POST payment_intents"), ("result", "ok")], 3),
    ("recharger", "bill_stripe_calls_total", &[("call", "POST payment_intents"), ("result", "declined")], 1),
    ("recharger", "bill_stripe_call_seconds_count", &[("call", "POST payment_intents")], 4),
    ("recharger", "bill_step_seconds_count", &[("step", "charge")], 3),
    ("recharger", "bill_step_seconds_count", &[("step", "book")], 3),
    ("recharger", "bill_step_seconds_count", &[("step", "sync")], 3),
    ("recharger", "bill_recharge_seconds_count", &[("trigger", "webhook")], 3),
    ("recharger", "bill_captured_not_credited", &[], 0),
    ("recharger", "bill_organizations_paused", &[], 0),
    ("ledger", "bill_ledger_postings_total", &[("kind", "charge")], 3),
    ("ledger", "bill_ledger_posted_minor_total", &[("kind", "charge"), ("currency", "usd")], 60_000),
    ("ledger", "bill_dead_letters_total", &[("stream", "RECHARGES"), ("reason", "malformed")], 1),
    ("ledger", "bill_ledger_drift", &[], 0),
    ("syncer", "bill_quota_drifting", &[], 0),
    ("syncer", "bill_sweep_organizations", &[("result", "enough")], 2),
];

/// Times that must have been told by then.
const TOLD: [(&str, &str); 8] = [
    ("ingress", "bill_dead_letters_oldest_seconds"),
    ("recharger", "bill_patrol_last_finished_seconds"),
    ("recharger", "bill_reconciliation_last_finished_seconds"),
    ("recharger", "bill_consumer_last_acked_seconds"),
    ("ledger", "bill_ledger_verified_timestamp_seconds"),
    ("ledger", "bill_reconciliation_last_finished_seconds"),
    ("syncer", "bill_reconciliation_last_finished_seconds"),
    ("syncer", "bill_sweep_last_finished_seconds"),
];

/// Waits until every number is what it has to be: counters are counted after the answer is given.
async fn numbers(stack: &Stack) -> anyhow::Result<BTreeMap<String, (String, Exposition)>> {
    wait::until("the numbers", || async {
        let all = scrape(stack).await?;
        let mut wrong = Vec::new();
        for (service, name, labels, wanted) in EXPECTED {
            let found = all[service].1.sum(name, labels).unwrap_or_default();
            if found != Decimal::from(wanted) {
                wrong.push(format!("{service}: {name}{labels:?} is {found}, not {wanted}"));
            }
        }
        for (service, name) in TOLD {
            if all[service].1.sum(name, &[]).is_none_or(|time| time < Decimal::from(1_700_000_000)) {
                wrong.push(format!("{service}: {name} is not told"));
            }
        }
        ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
        Ok(all)
    })
    .await
}

/// Names, types and help as Prometheus asks for them, and no label that grows with the number of customers.
fn well_formed(service: &str, text: &str, read: &Exposition, names_of_customers: &[String]) -> anyhow::Result<()> {
    let mut check = rules::promtool()?;
    let check = check.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut check = check.spawn()?;
    check.stdin.take().context("no stdin")?.write_all(text.as_bytes())?;
    let checked = check.wait_with_output()?;
    let said = String::from_utf8_lossy(&[checked.stdout, checked.stderr].concat()).into_owned();
    ensure!(checked.status.success() && said.is_empty(), "{service}: promtool check metrics: {said}");
    for (name, family) in &read.0 {
        let ours = name.starts_with("bill_");
        ensure!(ours || name.starts_with("process_"), "{service}: {name} is named otherwise than the others");
        ensure!(["counter", "gauge", "histogram"].contains(&family.kind.as_str()), "{name} is a {}", family.kind);
        ensure!((family.kind == "counter") == name.ends_with("_total"), "{name} is a {}", family.kind);
        ensure!(!ours || family.help.ends_with('.') && family.help.len() > 10, "{name} has the help {:?}", family.help);
        ensure!(!family.samples.is_empty(), "{name} has no sample");
        for sample in &family.samples {
            for (label, value) in &sample.labels {
                let grows = names_of_customers.iter().any(|customer| value.contains(customer.as_str()))
                    || value.split('-').count() == 5 && value.len() == 36;
                ensure!(!grows, "{service}: {name} has {label}={value:?}");
            }
        }
    }
    let version = read.sum("bill_build_info", &[("service", service), ("version", env!("CARGO_PKG_VERSION"))]);
    ensure!(version == Some(Decimal::ONE), "{service} tells another version");
    for part in ["database", "broker"] {
        ensure!(read.sum("bill_part_up", &[("part", part)]) == Some(Decimal::ONE), "{service} is without its {part}");
    }
    Ok(())
}

/// One run for all of it, since starting everything takes the longest.
#[tokio::test(flavor = "multi_thread")]
async fn what_services_measure_is_right_and_all_that_is_asked_for() -> anyhow::Result<()> {
    let stack = Stack::start(Options::default().with("SWEEP_INTERVAL", "500ms").with("SWEEP_REPEAT", "0s")).await?;
    let mut customers = run(&stack).await?;
    customers.extend(["acme".to_owned(), "penniless".to_owned()]);
    let all = numbers(&stack).await?;
    let mut seen = Names::new();
    for service in SERVICES {
        let (text, read) = &all[service];
        well_formed(service, text, read, &customers)?;
        for (name, labels) in read.names() {
            seen.entry(name).or_default().extend(labels);
        }
    }
    asked::everything_asked_for_exists(&seen)?;
    stack.stop().await
}
