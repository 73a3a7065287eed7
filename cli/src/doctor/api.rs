//! The API itself, the token, and the chain as the API tells it.

use std::time::Duration;

use serde_json::{Value, json};
use uuid::Uuid;

use super::{sentence, unanswered};
use crate::call::Call;
use crate::client::Client;
use crate::failure::Failure;
use crate::show;
use common::doctor::Check;

const API: &str = "API";
const TOKEN: &str = "token";
const CHAIN: &str = "chain";
/// So often a consumer that nobody asks must be seen so, and the time between two looks.
const LOOKS: u32 = 6;
const PAUSE: Duration = Duration::from_millis(400);

/// Looks, and returns Stripe's mode where it is known.
pub(super) async fn look(client: &Client, checks: &mut Vec<Check>) -> Option<String> {
    match client.health().await {
        Ok(answer) => checks.push(health(client, &answer.body)),
        Err(failure) => {
            checks.push(unanswered(API, "ingress", &failure));
            checks.extend([TOKEN, CHAIN].map(|name| Check::skipped(name, "the API does not answer")));
            return None;
        }
    }
    match pipeline(client).await {
        Ok(body) => {
            checks.push(role(client).await);
            checks.extend(chain(&body));
            body["outside"]["stripe"]["mode"].as_str().map(str::to_owned)
        }
        Err(failure) => {
            checks.push(unanswered(TOKEN, "it may not see the chain", &failure));
            checks.push(Check::skipped(CHAIN, "the token may not see it"));
            None
        }
    }
}

/// The chain as the API tells it. Between two requests for messages a service asks for none, so one look does not say that
/// nobody is there.
async fn pipeline(client: &Client) -> Result<Value, Failure> {
    let mut looks = 1;
    loop {
        let body = client.make(&Call::get(&[&"pipeline"], show::outcome)).await?.body;
        if looks == LOOKS || !list(&body["consumers"]).iter().any(is_left_alone) {
            return Ok(body);
        }
        looks += 1;
        tokio::time::sleep(PAUSE).await;
    }
}

fn health(client: &Client, body: &Value) -> Check {
    let place = client.place();
    if body["status"] == "ready" {
        return Check::ok(API, format!("{place} is ready"));
    }
    let parts = body["parts"].as_object().into_iter().flatten().filter(|(_, part)| part["state"] != "up");
    let parts: Vec<String> =
        parts.map(|(name, part)| format!("{name}: {}", part["detail"].as_str().unwrap_or_default())).collect();
    let found = format!("{place} answers, and lacks something: {}", parts.join("; "));
    Check::failed(API, found, "Run `ingress doctor` where ingress runs: it names what is wrong with it.")
}

/// Who the token is. Only a refusal tells a role: what is asked for here is nobody's recharge, and can't be given back.
async fn role(client: &Client) -> Check {
    let call = Call::post(&[&"recharges", &Uuid::nil(), &"refund"], show::outcome);
    let refused = client.make(&Call { body: Some(json!({ "reason": "doctor" })), ..call }).await;
    match refused {
        Err(Failure::Refused(refusal)) if refusal.status == 404 => {
            Check::ok(TOKEN, "it is an operator's, or none is asked for")
        }
        Err(Failure::Refused(refusal)) if refusal.status == 403 => {
            let role = refusal.body["role"].as_str().unwrap_or("another role").to_owned();
            Check::ok(TOKEN, format!("it is a {role}'s: it reads, and changes nothing"))
        }
        Err(failure) => {
            Check::warning(TOKEN, format!("its role is not known: {}", sentence(&failure)), "Ask again later.")
        }
        Ok(_) => Check::failed(
            TOKEN,
            "a recharge that nobody made was given back",
            "Report this with the versions of `bill` and ingress.",
        ),
    }
}

/// What each part of the chain has left to do.
fn chain(body: &Value) -> Vec<Check> {
    let mut checks: Vec<Check> = list(&body["unknown"])
        .iter()
        .map(|one| {
            let found = format!("{} is not known: {}", text(&one["part"]), text(&one["reason"]));
            Check::failed(CHAIN, found, "Run `ingress doctor` where ingress runs: it names what is wrong.")
        })
        .collect();
    let consumers = list(&body["consumers"]);
    checks.extend(consumers.iter().filter_map(consumer));
    if !consumers.is_empty() && checks.is_empty() {
        checks.push(Check::ok(CHAIN, format!("all {} consumers are asking for messages", consumers.len())));
    }
    checks.extend(dead_letters(&body["dead_letters"]));
    checks.extend(refunds(&body["refunds"]));
    checks.extend(reconciliation(&body["reconciliation"]));
    checks
}

fn consumer(one: &Value) -> Option<Check> {
    let (stream, service) = (text(&one["stream"]), text(&one["service"]));
    if let Some(problem) = one["problem"].as_str() {
        let fix = "Run `bill-setup doctor`, which compares streams and consumers with nats/.";
        return Some(Check::failed(CHAIN, format!("{service} on {stream}: {problem}"), fix));
    }
    is_left_alone(one).then(|| {
        let found = format!("no {service} takes from {stream}; {} messages wait", one["pending"]);
        Check::failed(CHAIN, found, format!("Start {service}, and run `{service} doctor` where it runs."))
    })
}

/// Whether nobody asks for its messages, and nobody has any.
fn is_left_alone(consumer: &Value) -> bool {
    consumer["asking"] == 0 && consumer["ack_pending"] == 0
}

fn dead_letters(letters: &Value) -> Option<Check> {
    const NAME: &str = "dead letters";
    let count = letters["count"].as_u64()?;
    if count == 0 {
        return Some(Check::ok(NAME, "there are none"));
    }
    let found = format!("{count}, the oldest since {}", text(&letters["oldest_at"]));
    Some(Check::warning(NAME, found, "Look with `bill dead-letters list`, then redrive or discard them."))
}

fn refunds(refunds: &Value) -> Option<Check> {
    const NAME: &str = "refunds";
    let failing = refunds["failing"].as_u64()?;
    if failing == 0 {
        return Some(Check::ok(NAME, "none fails"));
    }
    let found = format!(
        "{failing} fail, the oldest since {}: {}",
        text(&refunds["failing_oldest_at"]),
        text(&refunds["last_error"])
    );
    Some(Check::warning(NAME, found, "Look at what Stripe says, and give the money back by hand if it stays so."))
}

fn reconciliation(told: &Value) -> Option<Check> {
    const NAME: &str = "books";
    if told.is_null() {
        return None;
    }
    let last = &told["last"];
    let (run, since) = (text(&last["run_id"]), text(&last["requested_at"]));
    Some(if last.is_null() {
        Check::warning(
            NAME,
            "the books were never compared",
            "Compare them with `bill reconcile`; ingress does it every RECONCILE_INTERVAL.",
        )
    } else if last["given_up"] == true {
        Check::warning(
            NAME,
            format!("the comparison {run} of {since} did not end"),
            "See which service is not there, and run `bill reconcile` again.",
        )
    } else if last["reported"].as_u64().unwrap_or_default() > 0 {
        let found = format!("{} disagreements need a person, found {since}", last["reported"]);
        Check::warning(NAME, found, format!("Look with `bill reconcile show {run}`."))
    } else if last["finished"] == true {
        Check::ok(NAME, format!("they agreed, or were repaired, when they were compared at {since}"))
    } else {
        Check::ok(NAME, format!("they are being compared, since {since}"))
    })
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("?")
}

#[cfg(test)]
mod tests {
    use common::doctor::Outcome;

    use super::*;

    fn worst(body: &Value) -> Vec<String> {
        chain(body).into_iter().filter(|check| check.outcome != Outcome::Ok).map(|check| check.found).collect()
    }

    #[test]
    fn each_trouble_of_the_chain_is_named() {
        let asking = json!({ "stream": "LEDGER", "service": "syncer", "asking": 1, "ack_pending": 0, "problem": null });
        let fine = json!({
            "unknown": [], "consumers": [asking], "dead_letters": { "count": 0 }, "refunds": { "failing": 0 },
            "reconciliation": { "last": { "finished": true, "reported": 0, "requested_at": "t", "run_id": "r" } },
        });
        assert_eq!((worst(&fine), chain(&fine).len()), (vec![], 4));
        for (field, value, want) in [
            (
                "consumers",
                json!([{ "stream": "LEDGER", "service": "syncer", "asking": 0, "ack_pending": 0, "pending": 7, "problem": null }]),
                "no syncer takes from LEDGER; 7 messages wait",
            ),
            (
                "consumers",
                json!([{ "stream": "LEDGER", "service": "syncer", "asking": null, "problem": "there is no such consumer" }]),
                "syncer on LEDGER: there is no such consumer",
            ),
            ("dead_letters", json!({ "count": 2, "oldest_at": "t" }), "2, the oldest since t"),
            (
                "refunds",
                json!({ "failing": 1, "failing_oldest_at": "t", "last_error": "no" }),
                "1 fail, the oldest since t: no",
            ),
            ("reconciliation", json!({ "last": null }), "the books were never compared"),
            (
                "reconciliation",
                json!({ "last": { "finished": true, "reported": 3, "requested_at": "t", "run_id": "r" } }),
                "3 disagreements need a person, found t",
            ),
            ("unknown", json!([{ "part": "refunds", "reason": "away" }]), "refunds is not known: away"),
        ] {
            let mut body = fine.clone();
            body[field] = value;
            assert_eq!(worst(&body), [want], "{field}");
        }
        // A service that has all its messages in work asks for no more.
        let mut busy = fine.clone();
        busy["consumers"][0]["asking"] = json!(0);
        busy["consumers"][0]["ack_pending"] = json!(8);
        assert!(worst(&busy).is_empty());
    }
}
