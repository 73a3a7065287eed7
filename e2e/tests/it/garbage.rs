//! Whatever is sent, ingress answers with a documented refusal: no panic, no 5xx, and the signed webhook still works.

use std::sync::atomic::{AtomicU64, Ordering};

use e2e::client::{limit_exceeded, sign};
use e2e::random::Random;
use e2e::stack::WEBHOOK_SECRET;
use e2e::{Options, Stack, books};
use futures_util::{StreamExt, stream};
use serde_json::json;

const REQUESTS: u64 = 100_000;
const AT_ONCE: usize = 64;

/// A body between pure noise and an almost right one.
fn body(random: &mut Random) -> Vec<u8> {
    let pieces = [
        "null",
        "true",
        "-1",
        "1e999",
        "\"x\"",
        "[]",
        "{}",
        "520",
        "\"520\"",
        "0.1",
        "\"\\u0000\"",
        "99999999999999999999999999999999",
    ];
    match random.below(4) {
        0 => random.bytes(300),
        1 => {
            let mut body = limit_exceeded("team", "520", "500", random.below(1000));
            let at = random.below(body.len());
            body[at] = random.number().to_le_bytes()[0];
            body
        }
        2 => "[".repeat(random.below(5_000)).into_bytes(),
        _ => {
            let fields = [
                "event_type",
                "team_id",
                "current_usage",
                "current_limit",
                "exceeded_by",
                "timestamp",
                "organization_id",
            ];
            let fields: Vec<String> =
                fields.iter().map(|name| format!("\"{name}\":{}", random.pick(&pieces))).collect();
            format!("{{{}}}", fields.join(",")).into_bytes()
        }
    }
}

/// A header value that HTTP can carry, from right to noise.
fn header(random: &mut Random, body: &[u8]) -> Vec<u8> {
    let mut value = match random.below(5) {
        0 => sign(body, WEBHOOK_SECRET).into_bytes(),
        1 => sign(body, "another secret").into_bytes(),
        2 => b"sha256=zz".to_vec(),
        3 => b"v1,AAAA v1,".to_vec(),
        _ => random.bytes(90),
    };
    value.retain(|byte| *byte >= 32 && *byte != 127);
    value
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_random_requests_cause_no_5xx_and_no_panic() -> anyhow::Result<()> {
    let options =
        Options::default().with("WEBHOOK_RATE_PER_SECOND", "0").with("WEBHOOK_WAIT_MS", "0").with("RUST_LOG", "warn");
    let mut stack = Stack::start(options).await?;
    let paths = [
        "/webhooks/litellm/limit-exceeded",
        "/webhooks/litellm/limit-exceeded",
        "/webhooks/litellm/alerts/test_alert_token_0123456789abcdef",
        "/webhooks/litellm/alerts/%00",
        "/api/organizations",
        "/api/organizations/%2e%2e/config",
        "/api/organizations/x/recharge",
        "/nowhere",
    ];
    let headers = [
        "x-webhook-signature",
        "webhook-signature",
        "webhook-id",
        "webhook-timestamp",
        "content-type",
        "prefer",
        "idempotency-key",
        "authorization",
    ];
    let refused = AtomicU64::new(0);
    let (client, base) = (stack.client.http.clone(), stack.client.ingress.clone());
    stream::iter(1..=REQUESTS)
        .for_each_concurrent(AT_ONCE, |seed| {
            let mut random = Random::new(seed);
            let body = body(&mut random);
            let mut request = client.post(format!("{base}{}", random.pick(&paths)));
            for name in headers {
                if random.below(2) == 0 {
                    request = request.header(name, header(&mut random, &body).as_slice());
                }
            }
            if random.below(2) == 0 {
                request = request
                    .header("x-webhook-signature", sign(&body, WEBHOOK_SECRET))
                    .header("content-type", "application/json");
            }
            let refused = &refused;
            async move {
                let answer =
                    request.body(body).send().await.unwrap_or_else(|error| panic!("seed {seed}: no answer: {error}"));
                assert!(answer.status().as_u16() < 500, "seed {seed}: {}", answer.status());
                if answer.status().is_client_error() {
                    refused.fetch_add(1, Ordering::Relaxed);
                }
            }
        })
        .await;
    assert!(refused.load(Ordering::Relaxed) > REQUESTS / 2, "most of it must be refused");
    stack.service("ingress", 1)?.check_running()?;
    let log = stack.service("ingress", 1)?.log();
    assert!(!log.contains("panicked"), "{log}");
    let team = stack.client.ready_organization("acme", "pm_card_visa", json!({})).await?;
    let (status, _) = stack.client.webhook(&stack.client.ingress, limit_exceeded(&team, "520", "500", 0)).await?;
    assert_eq!(status, 202, "with WEBHOOK_WAIT_MS=0 the answer does not wait");
    let totals = books::quiet_and_balanced(&stack).await?;
    assert_eq!(totals.settled, 1);
    stack.stop().await
}
