//! `bill`, the program that people use, against a whole system that asks everybody for a token.

use std::process::Stdio;

use anyhow::{Context, ensure};
use common::broker::Definitions;
use e2e::{Options, Stack, books, service};
use serde_json::{Value, json};
use tokio::process::Command;
use xtask::ports;

/// What a command wrote, and how it ended.
#[derive(Debug)]
struct Ended {
    code: i32,
    out: String,
    err: String,
}

impl Ended {
    /// The one JSON document that it wrote.
    fn json(&self) -> anyhow::Result<Value> {
        serde_json::from_str(&self.out).with_context(|| format!("not JSON: {self:?}"))
    }
}

fn program(name: &str) -> anyhow::Result<Command> {
    let mut command = Command::new(service::program(name)?);
    command.stdin(Stdio::null()).env("TZ", "UTC").env("NO_PROXY", "127.0.0.1").kill_on_drop(true);
    Ok(command)
}

async fn ended(command: &mut Command) -> anyhow::Result<Ended> {
    let output = command.output().await?;
    let code = output.status.code().context("it was killed")?;
    Ok(Ended { code, out: String::from_utf8(output.stdout)?, err: String::from_utf8(output.stderr)? })
}

/// The value on the line of a field.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.trim_start().strip_prefix(name)?.strip_prefix("  ").map(str::trim))
}

/// A person at a terminal.
struct Person {
    url: String,
    token: String,
}

impl Person {
    async fn bill(&self, words: &str) -> anyhow::Result<Ended> {
        let mut command = program("bill")?;
        command.args(words.split_whitespace()).env("BILL_URL", &self.url).env("BILL_TOKEN", &self.token);
        let ended = ended(&mut command).await?;
        ensure!(!ended.err.contains(&self.token), "it tells the token");
        Ok(ended)
    }

    /// What a command writes that works.
    async fn does(&self, words: &str) -> anyhow::Result<String> {
        let ended = self.bill(words).await?;
        ensure!(ended.code == 0 && ended.err.is_empty(), "bill {words}: {ended:?}");
        Ok(ended.out)
    }

    /// The same, for programs.
    async fn json(&self, words: &str) -> anyhow::Result<Value> {
        let ended = self.bill(&format!("--json {words}")).await?;
        ensure!(ended.code == 0, "bill {words}: {ended:?}");
        ended.json()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn people_do_their_work_with_the_command_line() -> anyhow::Result<()> {
    let stack = Stack::start(Options::default().with("API_AUTH", "on")).await?;
    let person = Person { url: stack.client.ingress.clone(), token: stack.first_token("ops").await? };

    organizations(&person).await?;
    let recharge = recharges(&person).await?;
    overview(&person).await?;
    wrong_commands(&person, &recharge).await?;
    viewer(&person).await?;

    let totals = books::quiet_and_balanced(&stack).await?;
    assert_eq!((totals.captured, totals.settled), (2_550, 1));
    a_reader_may_go_away().await?;
    let away = Person { url: format!("http://127.0.0.1:{}", ports::free_port()?), ..person };
    let unreachable = away.bill("--json recharge acme 5 --key k-1").await?;
    assert_eq!(unreachable.code, 3, "{unreachable:?}");
    assert_eq!(unreachable.json()?["idempotency_key"], "k-1");
    assert!(unreachable.err.contains("trying again with Idempotency-Key k-1"), "{unreachable:?}");
    stack.stop().await
}

/// What an operator looks at first: everything can be told, with what ingress may ask.
async fn overview(person: &Person) -> anyhow::Result<()> {
    let told = person.json("pipeline").await?;
    let consumers = told["consumers"].as_array().context("no consumers")?;
    assert_eq!(consumers.len(), Definitions::committed()?.consumers.len(), "{told}");
    assert!(consumers.iter().all(|one| one["problem"].is_null() && one["pending"].is_u64()), "{told}");
    assert_eq!((&told["unknown"], &told["dead_letters"]["count"]), (&json!([]), &json!(0)), "{told}");
    assert_eq!(told["outside"]["stripe"]["last_answer"]["outcome"], "charged", "{told}");
    assert!(person.does("pipeline").await?.contains("consumers"));

    let told = person.json("standings --search ACM").await?;
    let acme = &told["items"][0];
    let stands = ["quota", "synced_quota", "behind"].map(|name| acme[name].to_string());
    assert_eq!(stands, ["25.50", "25.50", "false"], "{told}");
    assert_eq!(acme["last_recharge"]["status"], "settled", "{told}");
    let all = person.does("standings").await?;
    assert!(all.contains("acme") && all.contains("beta"), "{all}");

    let would = person.json("simulate acme --amount 25").await?;
    assert_eq!((&would["decision"]["would"], &would["decision"]["usage"]), (&json!("charge"), &json!(null)), "{would}");
    Ok(())
}

async fn organizations(person: &Person) -> anyhow::Result<()> {
    let create = "org create acme --minimum-balance 100 --target-balance 500 --minimum-recharge 10";
    let told = person.does(create).await?;
    assert_eq!(field(&told, "target_balance"), Some("500.00 USD"), "{told}");
    let told = person.does("org card acme pm_card_visa").await?;
    assert_eq!(field(&told, "brand"), Some("visa"), "{told}");
    let told = person.does("org set acme auto_recharge_enabled=false target_balance=600.50").await?;
    assert_eq!(field(&told, "auto_recharge_enabled"), Some("no"), "{told}");
    assert_eq!(field(&told, "target_balance"), Some("600.50 USD"), "{told}");
    person.does("org create beta").await?;
    let all = person.json("org list").await?;
    assert_eq!(all["items"].as_array().map(Vec::len), Some(2), "{all}");
    let one = person.does("org list --limit 1").await?;
    assert!(one.contains("acme") && !one.contains("beta") && one.contains("There are more"), "{one}");
    Ok(())
}

/// Recharges once, and returns its id.
async fn recharges(person: &Person) -> anyhow::Result<String> {
    let told = person.does("recharge acme 25.50 --key order-1").await?;
    assert!(told.starts_with("Recharged by 25.50 USD. The quota is 25.50 USD now.\n"), "{told}");
    let again = person.json("recharge acme 25.50 --key order-1").await?;
    let id = again["recharge_id"].as_str().context("no recharge")?.to_owned();
    assert!(told.contains(&id), "{told}");
    let history = person.does("history acme").await?;
    assert!(history.lines().count() == 2 && history.contains(&id) && history.contains("25.50 USD"), "{history}");
    let chain = person.does(&format!("chain {id}")).await?;
    for step in ["claimed", "charged", "credited", "settled"] {
        assert!(chain.lines().any(|line| line.contains(&format!("  {step}"))), "{step}: {chain}");
    }
    assert!(field(&chain, "payment_intent_id").is_some_and(|id| id.starts_with("pi_")), "{chain}");
    let event = person.does(&format!("event {}", again["event_id"].as_str().context("no event")?)).await?;
    assert_eq!(field(&event, "state"), Some("settled"), "{event}");
    assert!(event.contains(&format!("recharge {id}\n")), "{event}");
    let balance = person.does("org balance acme").await?;
    assert_eq!(field(&balance, "quota"), Some("25.50 USD"), "{balance}");
    let would = person.json("simulate acme --usage 520 --limit 500 --set auto_recharge_enabled=true").await?;
    assert_eq!(would["decision"]["would"], "charge", "{would}");
    let audit = person.does("audit acme").await?;
    assert!(audit.contains("auto_recharge_enabled: yes → no"), "{audit}");
    Ok(id)
}

async fn wrong_commands(person: &Person, recharge: &str) -> anyhow::Result<()> {
    let refused = person.bill("org set acme target_balance=-1 surprise=1").await?;
    assert_eq!((refused.code, refused.out.as_str()), (1, ""), "{refused:?}");
    assert_eq!(field(&refused.err, "code"), Some("invalid_body"), "{refused:?}");
    for name in ["target_balance", "surprise", "x-request-id"] {
        assert!(field(&refused.err, name).is_some(), "{name}: {refused:?}");
    }
    let other = person.bill("--json recharge acme 26 --key order-1").await?;
    assert_eq!((other.code, other.json()?["code"].as_str()), (1, Some("idempotency_key_reuse")), "{other:?}");
    let declined = person.bill("recharge beta 5").await?;
    assert_eq!(declined.code, 1, "{declined:?}");
    assert!(declined.out.starts_with("Not done: skipped: no_payment_method"), "{declined:?}");
    let much = person.bill(&format!("refund {recharge} 9999 --reason test")).await?;
    assert_eq!(much.code, 1, "{much:?}");
    assert_eq!(person.bill("recharge acme ten").await?.code, 2);
    assert_eq!(person.bill("org list --url ftp://x").await?.code, 2);
    Ok(())
}

/// `bill … | head`: what is written into a closed pipe is more than a pipe holds, and ends quietly.
async fn a_reader_may_go_away() -> anyhow::Result<()> {
    let mut command = program("bill")?;
    command.args(["completions", "bash"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    drop(child.stdout.take());
    let ended = child.wait_with_output().await?;
    ensure!(ended.status.success() && ended.stderr.is_empty(), "{ended:?}");
    Ok(())
}

/// Somebody who may only look.
async fn viewer(person: &Person) -> anyhow::Result<()> {
    let made = person.json("token create --name dashboard --role viewer --organization acme --expires 1d").await?;
    let token = made["token"].as_str().context("no token")?.to_owned();
    let viewer = Person { url: person.url.clone(), token };
    assert!(viewer.does("org show acme").await?.contains("acme"));
    let refused = viewer.bill("recharge acme 5").await?;
    assert_eq!(refused.code, 1, "{refused:?}");
    assert_eq!(field(&refused.err, "code"), Some("forbidden"), "{refused:?}");
    let id = made["id"].as_str().context("no id")?;
    person.does(&format!("token revoke {id}")).await?;
    let gone = viewer.bill("--json org show acme").await?;
    assert_eq!((gone.code, gone.json()?["code"].as_str()), (1, Some("invalid_token")), "{gone:?}");
    Ok(())
}
