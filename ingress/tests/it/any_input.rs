//! Whatever is sent: an answer in JSON, never a 5xx, and the service goes on. A reproducible sequence of 20,000 requests,
//! half of them signed.

use std::sync::Arc;

use reqwest::Method;
use reqwest::header::{HeaderName, HeaderValue};
use serde_json::json;

use crate::stripe;
use crate::world::{HOOK, SECRET, STRIPE_SECRET, World, exceeded, signature};

const REQUESTS: u64 = 20_000;
const AT_ONCE: u64 = 32;

/// splitmix64: small, and the same on every machine.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(u64::try_from(length).unwrap())).unwrap()
    }

    fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.index(from.len())]
    }

    fn bytes(&mut self, longest: usize) -> Vec<u8> {
        let length = self.index(longest + 1);
        (0..length).map(|_| u8::try_from(self.below(256)).unwrap()).collect()
    }
}

const PATHS: [&str; 31] = [
    HOOK,
    HOOK,
    HOOK,
    HOOK,
    HOOK,
    HOOK,
    HOOK,
    HOOK,
    HOOK,
    "/webhooks/litellm/alerts/alert-token-one",
    "/webhooks/litellm/alerts/alert-token-one",
    "/webhooks/litellm/alerts/alert-token-one",
    "/api/organizations",
    "/api/organizations/acme/config",
    "/api/organizations/acme/recharge",
    "/api/organizations/acme/payment-method",
    "/api/organizations/acme/recharge-history",
    "/api/standings",
    "/api/events/x",
    "/api/organizations/%00/sync",
    "/test/organization-config",
    "/health",
    "/webhooks/stripe",
    "/pay/x",
    "/pay/x/done",
    "/api/recharges/x/refund",
    "/api/recharges/0d3c1e3e-6a55-5a6f-9c37-0c8b6f0a3f11/refund",
    "/api/dead-letters/18446744073709551615",
    "/api/dead-letters/1/discard",
    "/api/dead-letters/redrive",
    "/api/reconciliations",
];
const VALUES: [&str; 18] = [
    "1",
    "-1",
    "1e999",
    "1e-400",
    "0.1e+5",
    "\"\\u0000\"",
    "\"\\ud83d\"",
    "null",
    "true",
    "[]",
    "{}",
    "\"x\"",
    "99999999999999999999999999999999",
    "\"1970-01-01T00:00:00Z\"",
    "\"+262143-12-31T23:59:59Z\"",
    "{\"$serde_json::private::Number\":\"x\"}",
    "-0",
    "\"\u{202e}\"",
];
const FIELDS: [&str; 20] = [
    "event_type",
    "team_id",
    "current_usage",
    "current_limit",
    "exceeded_by",
    "timestamp",
    "organization_id",
    "event",
    "event_group",
    "spend",
    "max_budget",
    "amount",
    "c_organization_id",
    "target_balance",
    "reason",
    "since",
    "sequences",
    "id",
    "type",
    "data",
];

fn body(dice: &mut Dice) -> Vec<u8> {
    let mut good = exceeded(dice.pick(&["acme", "nobody"])).to_string().into_bytes();
    match dice.below(6) {
        0 => dice.bytes(400),
        1 => {
            let (at, byte) = (dice.index(good.len()), dice.bytes(1));
            good.splice(at..at, byte);
            good
        }
        2 => {
            good.truncate(dice.index(good.len()));
            good
        }
        3 => {
            let depth = dice.index(300);
            let value = format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
            String::from_utf8(good).unwrap().replacen("520", &value, 1).into_bytes()
        }
        4 => good,
        _ => {
            let fields: Vec<_> =
                (0..dice.below(9)).map(|_| format!("\"{}\":{}", dice.pick(&FIELDS), dice.pick(&VALUES))).collect();
            format!("{{{}}}", fields.join(",")).into_bytes()
        }
    }
}

fn request(world: &World, dice: &mut Dice) -> reqwest::RequestBuilder {
    let methods = [
        Method::POST,
        Method::POST,
        Method::POST,
        Method::GET,
        Method::PATCH,
        Method::PUT,
        Method::DELETE,
        Method::OPTIONS,
        Method::HEAD,
    ];
    let method = methods[dice.index(methods.len())].clone();
    let mut path = dice.pick(&PATHS).to_owned();
    if dice.below(8) == 0 {
        path = format!(
            "{path}?limit={}&before={}&{}",
            dice.pick(&VALUES),
            hex::encode(dice.bytes(9)),
            hex::encode(dice.bytes(3))
        );
    }
    let body = body(dice);
    let mut request = world.http.request(method, world.url(&path));
    if dice.below(2) == 0 {
        request = request.header("x-webhook-signature", signature(SECRET, &body));
    }
    if path == "/webhooks/stripe" && dice.below(2) == 0 {
        request = request.header("stripe-signature", stripe::sign(STRIPE_SECRET, stripe::now(), &body));
    }
    if dice.below(4) != 0 {
        request = request.header("content-type", "application/json");
    }
    for name in [
        "x-webhook-signature",
        "webhook-id",
        "webhook-timestamp",
        "webhook-signature",
        "stripe-signature",
        "content-type",
        "prefer",
        "idempotency-key",
        "authorization",
        "traceparent",
        "x-request-id",
    ] {
        if dice.below(10) == 0 {
            // Any byte that HTTP lets into a header.
            let value: Vec<u8> = dice.bytes(90).into_iter().filter(|byte| *byte >= 32 && *byte != 127).collect();
            let name = HeaderName::from_static(name);
            request = request.header(name, HeaderValue::from_bytes(&value).unwrap());
        }
    }
    request.body(body)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_is_sent_makes_a_5xx() {
    let world = Arc::new(World::new(&[("DEV_ROUTES", "on"), ("WEBHOOK_RATE_PER_SECOND", "0")]).await);
    world.organization("acme", json!({})).await;
    let workers = (0..AT_ONCE).map(|worker| {
        let world = world.clone();
        tokio::spawn(async move {
            for number in (worker..REQUESTS).step_by(usize::try_from(AT_ONCE).unwrap()) {
                let request = request(&world, &mut Dice(number));
                let answer = request.send().await.unwrap_or_else(|error| panic!("request {number}: {error}"));
                let (status, method_had_body) =
                    (answer.status().as_u16(), answer.headers().contains_key("content-type"));
                let text = answer.text().await.unwrap();
                assert!(status < 500, "request {number}: {status} {text}");
                assert!(method_had_body, "request {number}: {status} has no content-type");
                assert!(text.is_empty() || text.starts_with(['{', '<']), "request {number}: {status} {text}");
            }
        })
    });
    for worker in workers.collect::<Vec<_>>() {
        worker.await.unwrap();
    }
    assert_eq!(world.get("/health/ready").await.status, 200);
    let published = world.count("WEBHOOKS", "webhooks.>").await;
    assert!(published > 100, "{published}");
}
