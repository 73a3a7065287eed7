//! The API's documentation is true: schemathesis calls every route as the document describes it, and as it does not,
//! and holds the answers against the document. Things are there to be found, so that more than 404s are seen.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, ensure};
use e2e::client::Client;
use e2e::{Options, Stack, wait};
use serde_json::{Value, json};
use tokio::process::Command;
use xtask::tools::SCHEMATHESIS;

const LITELLM_SECRET: &str = "q7Rk2vXw9LmT4bNc8ZsY";
const STRIPE_SECRET: &str = "whsec_H5jPd3Fg6QwE1uKx0VtA";
const ALERT_TOKEN: &str = "n2Bv6Cx9Mz4Kj7Hg1Fd5";

/// With more of them, and other seeds, it can be run by hand: `OPENAPI_EXAMPLES=100 OPENAPI_SEED=7`.
fn setting(name: &str, default: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| default.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_is_as_the_document_says() -> anyhow::Result<()> {
    let options = Options::default()
        .with("API_AUTH", "on")
        .with("DEV_ROUTES", "off")
        .with("LITELLM_WEBHOOK_SECRET", LITELLM_SECRET)
        .with("STRIPE_WEBHOOK_SECRET", STRIPE_SECRET)
        .with("LITELLM_ALERT_TOKEN", ALERT_TOKEN)
        .with("PAY_LINK_SECRET", "m8Xc5Vb2Nn7Lk4Jh1Gf6")
        .with("WEBHOOK_RATE_PER_SECOND", "0")
        .with("PAY_RATE_PER_SECOND", "0")
        .with("AUTH_FAILURES_PER_MINUTE", "0")
        .with("WEBHOOK_WAIT_MS", "300")
        .with("API_WAIT_MS", "300");
    let stack = Stack::start(options).await?;
    let token = stack.first_token("schemathesis").await?;
    let things = Things::make(&stack, &token).await?;
    let folder = xtask::paths::target_dir().join("openapi").join(std::process::id().to_string());
    std::fs::create_dir_all(&folder)?;
    let document = stack.client.get("/api/openapi.json").await?.1;
    // From a file: read from its address, that address would not be called.
    std::fs::write(folder.join("openapi.json"), document.to_string())?;
    let config = things.config();
    let both = tokio::join!(run(&stack, &folder, &config, Some(&token)), run(&stack, &folder, &config, None));
    let (known, unknown) = (both.0?, both.1?);
    covered(&document, &known, |_, statuses| statuses.iter().any(|status| (200..400).contains(status)))?;
    covered(&document, &unknown, |operation, statuses| match operation["security"].as_array() {
        Some(needed) if !needed.is_empty() => *statuses == BTreeSet::from([401]),
        _ => !statuses.is_empty(),
    })?;
    std::fs::remove_dir_all(&folder)?;
    stack.stop().await
}

/// What each operation was answered with, by method and path.
type Seen = BTreeMap<String, BTreeSet<u16>>;

/// Calls that are refused for reasons which no schema can say.
const REFUSES_MORE: [(&str, &str); 17] = [
    ("change_organization", "amounts are the currency's"),
    ("confirm_payment", "a link is used once"),
    ("create_card_page", "the address to come back to is ours"),
    ("create_organization", "amounts are the currency's"),
    ("create_token", "a token's end is in the future, and who has which role decides about the organization"),
    ("get_usage", "the days, or from and to, in this order"),
    ("list_recharges", "from and to, in this order"),
    ("list_standings", "a cursor goes with its order"),
    ("list_webhook_events", "from and to, in this order"),
    ("receive_limit_exceeded", "not every text with the shape of a time is one"),
    ("receive_stripe_event", "of the types that are handled, the object has an id"),
    ("refund_recharge", "at most what is left"),
    ("set_payment_method", "Stripe knows which cards there are"),
    ("show_payment", "a link is used once"),
    ("simulate_recharges", "days in digits, amounts of the currency, an amount by itself"),
    ("start_recharge", "amounts are the currency's"),
    ("start_reconciliation", "between 1970 and now"),
];

/// What there is to be found, by the name of the dictionary that it stands in.
struct Things(BTreeMap<&'static str, Vec<Value>>);

impl Things {
    async fn make(stack: &Stack, token: &str) -> anyhow::Result<Self> {
        let mut headers = reqwest::header::HeaderMap::new();
        headers.insert(reqwest::header::AUTHORIZATION, format!("Bearer {token}").parse()?);
        let http = reqwest::Client::builder().default_headers(headers).build()?;
        let client = Client { http, ..stack.client.clone() };
        let mut team = String::new();
        for (organization, card) in [
            ("acme", "pm_card_visa"),
            ("poor", "pm_card_chargeCustomerFail"),
            ("careful", "pm_card_authenticationRequired"),
        ] {
            team = client.ready_organization(organization, card, json!({ "auto_recharge_enabled": false })).await?;
        }
        let settled = recharge(&client, "acme", "settled").await?;
        let declined = recharge(&client, "poor", "declined").await?;
        let waiting = recharge(&client, "careful", "action_required").await?;
        let pay = waiting["confirmation_url"].as_str().and_then(|url| url.rsplit('/').next()).context("no link")?;
        let (status, refund) = client
            .post(&format!("/api/recharges/{}/refund", recharge_id(&settled)), &json!({ "amount": 1, "reason": "x" }))
            .await?;
        ensure!(status.is_success(), "{refund}");
        told_step_by_step(&client, [&settled, &declined, &waiting]).await?;
        let (_, sync) = client.post("/api/organizations/acme/sync", &json!({})).await?;
        let (_, history) = client.get("/api/organizations/acme/quota-history").await?;
        let (_, run) = client.post("/api/reconciliations", &json!({})).await?;
        let (mut closing, mut tokens) = (Vec::new(), Vec::new());
        for number in 1..=3 {
            let organization = format!("closing-{number}");
            let body = json!({ "c_organization_id": organization });
            ensure!(client.post("/api/organizations", &body).await?.0 == 201, "{organization} was not created");
            closing.push(json!(organization));
            let (status, made) = client.post("/api/tokens", &json!({ "name": "x", "role": "viewer" })).await?;
            ensure!(status == 201, "{made}");
            tokens.push(made["id"].clone());
        }
        let letters = letters(stack, &client).await?;
        // What is done with one letter is not done with another.
        let (letters, others) = letters.split_at(LETTERS / 2);
        let (redrive, discard) = others.split_at(LETTERS / 4);
        let id = |recharge: &Value| recharge["recharge_id"].clone();
        let things = BTreeMap::from([
            ("organizations", vec![json!("acme"), json!("poor"), json!("careful")]),
            ("closing", closing),
            ("teams", vec![json!(team)]),
            ("recharges", [&settled, &declined, &waiting].map(id).to_vec()),
            ("settled", vec![id(&settled)]),
            ("events", vec![settled["trigger_event_id"].clone(), refund["event_id"].clone(), sync["event_id"].clone()]),
            ("tokens", tokens),
            ("letters", letters.to_vec()),
            ("to_redrive", redrive.to_vec()),
            ("to_discard", discard.to_vec()),
            ("syncs", vec![history["items"][0]["quota_sync_id"].clone()]),
            ("runs", vec![run["run_id"].clone()]),
            ("pay", vec![json!(pay)]),
            ("alerts", vec![json!(ALERT_TOKEN)]),
            ("cards", vec![json!("pm_card_visa"), json!("pm_card_mastercard")]),
        ]);
        ensure!(!things.values().flatten().any(Value::is_null), "not everything was made: {things:?}");
        Ok(Self(things))
    }

    /// schemathesis' configuration: where these may stand.
    fn config(&self) -> String {
        let hooks = xtask::paths::root().join("e2e/tests/it/schemathesis/hooks.py");
        let mut config = format!("hooks = {}\n{SETTINGS}", json!(hooks));
        for (name, values) in &self.0 {
            config += &format!("[dictionaries.{name}]\nvalues = {}\n", json!(values));
        }
        for (path, parameters) in PLACES {
            let bound = parameters.iter().map(|(parameter, dictionary)| {
                format!("\"{parameter}\" = {{ dictionary = \"{dictionary}\", probability = 0.8 }}")
            });
            let bound: Vec<String> = bound.collect();
            let path = json!(format!("^{path}$"));
            config +=
                &format!("[[operations]]\ninclude-path-regex = {path}\nparameters = {{ {} }}\n", bound.join(", "));
        }
        for (operation, _) in REFUSES_MORE {
            config += &format!(
                "[[operations]]\ninclude-operation-id = \"{operation}\"\nchecks.positive_data_acceptance.enabled = false\n"
            );
        }
        config
    }
}

/// What is the same in every run. What one call is answered with is not put into another: a run would be another one each
/// time. One worker, because Python's parser, which is used for describing values, minds threads.
const SETTINGS: &str = r#"
workers = 1
continue-on-failure = true
suppress-health-check = ["all"]
generation.database = "none"
warnings = false

[checks]
enabled = false
not_a_server_error.enabled = true
status_code_conformance.enabled = true
content_type_conformance.enabled = true
response_schema_conformance.enabled = true
response_headers_conformance.enabled = true
negative_data_rejection.enabled = true
positive_data_acceptance.enabled = true
ignored_auth.enabled = true
unsupported_method.enabled = true
allow_header_conformance.enabled = true
missing_required_header.enabled = true

[phases]
examples.enabled = false
stateful.enabled = false
coverage.extra-data-sources.responses = false
coverage.unexpected-methods = ["PUT", "TRACE"]
fuzzing.extra-data-sources.responses = false
"#;

/// Where things may stand: the operations' path, the parameter, the dictionary.
const PLACES: [(&str, &[(&str, &str)]); 16] = [
    (r"/api/organizations/\{id\}", &[("path.id", "closing")]),
    (
        r"/api/organizations/\{id\}/(config|sync|recharge|recharge-history|webhook-events|balance|usage|users|reopen)",
        ORGANIZATION,
    ),
    (r"/api/organizations/\{id\}/(quota-history|setup-intent|card-page|simulate)", ORGANIZATION),
    (r"/api/organizations/\{id\}/payment-method", &[("path.id", "organizations"), ("body.payment_method_id", "cards")]),
    (r"/api/organizations/\{id\}/quota/restore", &[("path.id", "organizations"), ("body.quota_sync_id", "syncs")]),
    (r"/api/users", &[("body.c_organization_id", "organizations")]),
    (r"/api/recharges/\{id\}", &[("path.id", "recharges")]),
    (r"/api/recharges/\{id\}/refund", &[("path.id", "settled")]),
    (r"/api/events/\{id\}", &[("path.id", "events")]),
    (r"/api/tokens/\{id\}", &[("path.id", "tokens")]),
    (r"/api/dead-letters/\{sequence\}", &[("path.sequence", "letters")]),
    (r"/api/dead-letters/\{sequence\}/redrive", &[("path.sequence", "to_redrive")]),
    (r"/api/dead-letters/\{sequence\}/discard", &[("path.sequence", "to_discard")]),
    (r"/api/reconciliations/\{id\}", &[("path.id", "runs")]),
    (r"/pay/\{token\}(/done)?", &[("path.token", "pay")]),
    (r"/webhooks/litellm/(limit-exceeded|alerts/\{token\})", &[("path.token", "alerts"), ("body.team_id", "teams")]),
];
const ORGANIZATION: &[(&str, &str)] = &[("path.id", "organizations")];

fn recharge_id(recharge: &Value) -> String {
    recharge["recharge_id"].as_str().unwrap_or_default().to_owned()
}

/// A manual recharge that has come to this.
async fn recharge(client: &Client, organization: &str, status: &str) -> anyhow::Result<Value> {
    let (answered, body) =
        client.post(&format!("/api/organizations/{organization}/recharge"), &json!({ "amount": 25 })).await?;
    ensure!(answered.is_success(), "{body}");
    wait::until(status, || async {
        let recharge = client.history(organization).await?.into_iter().next().context("none")?;
        ensure!(recharge["status"] == status, "{recharge}");
        let path = format!("/api/recharges/{}", recharge_id(&recharge));
        Ok(client.get(&path).await?.1)
    })
    .await
}

/// A chain is told step by step, with what was booked for every cent.
async fn told_step_by_step(client: &Client, [settled, declined, waiting]: [&Value; 3]) -> anyhow::Result<()> {
    let names = |chain: &Value| -> Vec<String> {
        let steps = chain["steps"].as_array().cloned().unwrap_or_default();
        steps.iter().filter_map(|step| step["step"].as_str().map(str::to_owned)).collect()
    };
    let before = ["received", "decided", "claimed"];
    let paid = ["charged", "booked", "credited", "synced", "settled"];
    assert_eq!(names(settled), [before.as_slice(), &paid].concat(), "{settled}");
    assert_eq!(names(declined), [before.as_slice(), &["declined"]].concat(), "{declined}");
    assert_eq!(names(waiting), [before.as_slice(), &["action_required"]].concat(), "{waiting}");
    wait::until("the refund in the chain", || async {
        let chain = client.get(&format!("/api/recharges/{}", recharge_id(settled))).await?.1;
        let names = names(&chain);
        ensure!(names.iter().any(|name| name == "refund_ended"), "{chain}");
        let booked: Vec<_> =
            chain["steps"].as_array().into_iter().flatten().filter(|s| s["step"] == "booked").collect();
        let booked: Vec<_> = booked.iter().map(|s| (s["kind"].as_str(), s["amount"].to_string())).collect();
        ensure!(booked == [(Some("charge"), "25.00".to_owned()), (Some("refund"), "-1.00".to_owned())], "{chain}");
        Ok(())
    })
    .await
}

/// How many dead letters are made.
const LETTERS: usize = 12;

/// Dead letters: messages that nobody can read.
async fn letters(stack: &Stack, client: &Client) -> anyhow::Result<Vec<Value>> {
    for number in 0..LETTERS {
        let subject = format!("recharges.charged.lost-{number}");
        stack.broker.jetstream().publish(subject, format!("no event {number}").into()).await?.await?;
    }
    wait::until("the dead letters", || async {
        let (_, page) = client.get("/api/dead-letters?limit=100").await?;
        let letters = page["items"].as_array().context("no page")?;
        ensure!(letters.len() >= LETTERS, "{} letters", letters.len());
        Ok(letters.iter().map(|letter| letter["sequence"].clone()).collect())
    })
    .await
}

/// One run of schemathesis. What it saw: for each operation, the statuses of its answers.
async fn run(stack: &Stack, folder: &Path, config: &str, token: Option<&str>) -> anyhow::Result<Seen> {
    let python = std::env::var_os(SCHEMATHESIS).with_context(|| format!("{SCHEMATHESIS} is not set"))?;
    let name = if token.is_some() { "known" } else { "unknown" };
    let (settings, report) = (folder.join(format!("{name}.toml")), folder.join(format!("{name}.ndjson")));
    std::fs::write(&settings, config)?;
    // Without a token there is little to see: the same answer for whatever is sent.
    let (phases, examples) = match token {
        Some(_) => ("coverage,fuzzing", setting("OPENAPI_EXAMPLES", "2")),
        None => ("fuzzing", setting("OPENAPI_EXAMPLES", "1")),
    };
    let mut command = Command::new(python);
    command.args(["-m", "schemathesis.cli", "--config-file"]).arg(&settings);
    command.args(["run", "openapi.json", "--url", &stack.client.ingress]);
    command.args(["--phases", phases, "--no-color"]);
    command.args(["--seed", &setting("OPENAPI_SEED", "1"), "--max-examples", &examples]);
    command.args(["--report", "ndjson", "--report-ndjson-path"]).arg(&report);
    if let Some(token) = token {
        command.arg("--header").arg(format!("Authorization: Bearer {token}"));
    }
    command.env("OPENAPI_LITELLM_SECRET", LITELLM_SECRET).env("OPENAPI_STRIPE_SECRET", STRIPE_SECRET);
    command.env("PYTHONDONTWRITEBYTECODE", "1").current_dir(folder);
    let output = command.output().await?;
    ensure!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    seen(&report)
}

/// The statuses of each operation's answers in a report, where the operation was called with its own method.
fn seen(report: &Path) -> anyhow::Result<Seen> {
    let mut seen = Seen::new();
    for line in std::fs::read_to_string(report)?.lines() {
        let event: Value = serde_json::from_str(line)?;
        let recorder = &event["ScenarioFinished"]["recorder"];
        let Some(label) = recorder["label"].as_str() else { continue };
        for interaction in recorder["interactions"].as_object().into_iter().flat_map(|all| all.values()) {
            let called = interaction["request"]["method"].as_str().is_some_and(|method| label.starts_with(method));
            let status = interaction["response"]["status_code"].as_u64().and_then(|status| u16::try_from(status).ok());
            if let Some(status) = status.filter(|_| called) {
                seen.entry(label.to_owned()).or_default().insert(status);
            }
        }
    }
    Ok(seen)
}

/// Every operation of the document was called, and had answers that are enough.
fn covered(document: &Value, seen: &Seen, enough: impl Fn(&Value, &BTreeSet<u16>) -> bool) -> anyhow::Result<()> {
    let mut missing = Vec::new();
    for (path, operations) in document["paths"].as_object().context("no paths")? {
        for (method, operation) in operations.as_object().context("no operations")? {
            let statuses = seen.get(&format!("{} {path}", method.to_uppercase())).cloned().unwrap_or_default();
            if !enough(operation, &statuses) {
                missing.push(format!("{}: {statuses:?}", operation["operationId"]));
            }
        }
    }
    ensure!(missing.is_empty(), "answers are missing: {missing:#?}");
    Ok(())
}
