//! `POST /webhooks/litellm/limit-exceeded`, apart from waiting and from outages.

use std::io::{Read, Write};
use std::net::TcpStream;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use common::contract::{LimitExceededV1, TraceContext};
use hmac::{Hmac, KeyInit, Mac};
use reqwest::header::HeaderValue;
use serde_json::{Value, json};
use sha2::Sha256;

use crate::world::{HOOK, SECRET, World, exceeded, signature};

#[tokio::test]
async fn only_who_has_the_secret_is_heard() {
    let world =
        World::new(&[("LITELLM_WEBHOOK_SECRET", "new_secret,test_secret,whsec_c2l4dGVlbiBieXRlcyBvaw==")]).await;
    world.organization("acme", json!({})).await;
    let body = exceeded("acme").to_string();
    let good = signature(SECRET, body.as_bytes());
    let hex = good.strip_prefix("sha256=").unwrap();
    let send = |value: Option<&[u8]>| {
        let mut request =
            world.http.post(world.url(HOOK)).header("content-type", "application/json").body(body.clone());
        if let Some(value) = value {
            request = request.header("x-webhook-signature", HeaderValue::from_bytes(value).unwrap());
        }
        world.send(request)
    };
    let other = signature("other", body.as_bytes());
    let wrong: [Option<&[u8]>; 10] = [
        None,
        Some(b""),
        Some(b"sha256="),
        Some(&good.as_bytes()[..good.len() - 2]),
        Some(&hex.as_bytes()[..63]),
        Some(other.as_bytes()),
        Some(&[b'g'; 64]),
        Some("sha256=ünïcode".as_bytes()),
        Some(&[0xff; 64]),
        Some(&[b'a'; 4000]),
    ];
    for value in wrong {
        let got = send(value).await;
        assert_eq!(got.status, 401, "{value:?}");
        assert_eq!(got.body, json!({ "error": "Invalid signature", "code": "invalid_signature" }));
    }
    // Nothing about the content is told to whoever has no secret.
    let nonsense = world.http.post(world.url(HOOK)).header("content-type", "text/plain").body("{");
    assert_eq!(world.send(nonsense).await.status, 401);
    assert_eq!(world.count("WEBHOOKS", "webhooks.>").await, 0);

    let upper = hex.to_uppercase();
    let rotated = signature("new_secret", body.as_bytes());
    for right in [good.as_bytes(), hex.as_bytes(), upper.as_bytes(), rotated.as_bytes()] {
        let got = send(Some(right)).await;
        assert_eq!(got.status, 202, "{got:?}");
    }
    // The same bytes four times are one event.
    assert_eq!(world.count("WEBHOOKS", "webhooks.litellm.limit_exceeded.acme").await, 1);
}

#[tokio::test]
async fn the_standard_webhooks_form() {
    let world = World::new(&[("LITELLM_WEBHOOK_SECRET", "test_secret,whsec_c2l4dGVlbiBieXRlcyBvaw==")]).await;
    world.organization("acme", json!({})).await;
    let body = exceeded("acme").to_string();
    #[expect(clippy::disallowed_methods, reason = "ingress runs on the system clock here, so the sender must too")]
    let now = chrono::Utc::now().timestamp();
    let send = |id: &str, at: i64, key: &[u8]| {
        let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
        mac.update(format!("{id}.{at}.{body}").as_bytes());
        let signature = format!("v1,AAAA v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
        let request =
            world.http.post(world.url(HOOK)).header("content-type", "application/json").header("webhook-id", id);
        world.send(request.header("webhook-timestamp", at).header("webhook-signature", signature).body(body.clone()))
    };
    let got = send("msg_1", now, b"sixteen bytes ok").await;
    assert_eq!((got.status, &got.body["event_id"]), (202, &json!("wh_msg_1")));
    // The same id is the same event; another id is another, although the body is the same.
    assert_eq!(send("msg_1", now - 5, b"test_secret").await.body["event_id"], json!("wh_msg_1"));
    assert_eq!(send("msg_2", now, b"test_secret").await.body["event_id"], json!("wh_msg_2"));
    let strange = send("a b/ü".trim_end_matches('ü'), now, b"test_secret").await;
    assert!(strange.body["event_id"].as_str().unwrap().starts_with("wh_"), "{strange:?}");
    assert_eq!(world.count("WEBHOOKS", "webhooks.>").await, 3);
    for at in [now - 400, now + 400, 0] {
        assert_eq!(send("msg_3", at, b"test_secret").await.status, 401);
    }
    assert_eq!(send("msg_3", now, b"other").await.status, 401);
    // An id that is not signed does not make a new event of an old one.
    let unsigned = |id: &'static str| world.send(world.hook(&body).header("webhook-id", id));
    assert_eq!(unsigned("x").await.body["event_id"], unsigned("y").await.body["event_id"]);
}

#[tokio::test]
async fn what_is_wrong_with_a_body_is_said() {
    let world = World::new(&[]).await;
    world.organization("acme", json!({})).await;
    let send = |content_type: &'static str, body: String| {
        let signed = signature(SECRET, body.as_bytes());
        let mut request = world.http.post(world.url(HOOK)).header("x-webhook-signature", signed).body(body);
        if !content_type.is_empty() {
            request = request.header("content-type", content_type);
        }
        world.send(request)
    };
    let good = exceeded("acme").to_string();
    for other in ["", "text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin1"] {
        let got = send(other, good.clone()).await;
        assert_eq!((got.status, &got.body["code"]), (415, &json!("unsupported_media_type")), "{other}");
    }
    assert_eq!(send("application/json; charset=utf-8", good.clone()).await.status, 202);

    let got = send("application/json", "{\n \"event_type\": }".to_owned()).await;
    assert_eq!((got.status, &got.body["code"]), (400, &json!("invalid_json")));
    assert_eq!((&got.body["line"], &got.body["column"]), (&json!(2), &json!(16)));
    for not_json in ["", "{", "nonsense", "{\"a\":01}", "\u{0}"] {
        assert_eq!(send("application/json", not_json.to_owned()).await.body["code"], "invalid_json", "{not_json:?}");
    }
    let got = send("application/json", json!({ "team_id": 7, "current_usage": "x", "timestamp": 1 }).to_string()).await;
    assert_eq!((got.status, &got.body["code"]), (400, &json!("invalid_body")));
    assert_eq!(got.fields(), ["event_type", "team_id", "current_usage", "current_limit", "timestamp"]);
    assert!(got.body["error"].as_str().unwrap().contains("current_limit"), "{got:?}");

    let got = send("application/json", exceeded("nobody").to_string()).await;
    assert_eq!(got.status, 404);
    assert_eq!(
        got.body,
        json!({ "error": "Organization not found for team_id", "code": "unknown_team", "team_id": "nobody" })
    );
    assert_eq!(world.count("WEBHOOKS", "webhooks.>").await, 1);
}

#[tokio::test]
async fn a_body_has_an_end() {
    let world = World::new(&[]).await;
    world.organization("acme", json!({})).await;
    let padded = |bytes: usize| {
        let mut body = exceeded("acme");
        body["padding"] = json!("");
        let size = body.to_string().len();
        body["padding"] = json!("x".repeat(bytes - size));
        body.to_string()
    };
    assert_eq!(world.send(world.hook(&padded(64 * 1024))).await.status, 202);
    let got = world.send(world.hook(&padded(64 * 1024 + 1))).await;
    assert_eq!((got.status, &got.body["code"]), (413, &json!("body_too_large")));
    assert_eq!(world.send(world.hook(&padded(5_000_000))).await.status, 413);

    let host = format!("POST {HOOK} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n");
    let chunk = format!("{:x}\r\n{}\r\n", 60_000, "x".repeat(60_000));
    for (raw, want) in [
        // Chunked and without end in sight: neither 411 nor 500.
        (format!("{host}transfer-encoding: chunked\r\n\r\n{chunk}{chunk}0\r\n\r\n"), "413"),
        (format!("{host}transfer-encoding: chunked\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n"), "401"),
        // Announces more than anybody wants to read.
        (format!("{host}content-length: 99999999999\r\n\r\n"), "413"),
        (format!("{host}content-length: 0\r\n\r\n"), "401"),
        // No length at all: then there is no body.
        (format!("{host}\r\n"), "401"),
        (format!("{host}content-length: -5\r\n\r\n"), "400"),
        (format!("{host}transfer-encoding: chunked\r\n\r\nzz\r\n"), "400"),
    ] {
        let address = world.address;
        let answer = tokio::task::spawn_blocking(move || {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.set_read_timeout(Some(std::time::Duration::from_secs(5))).unwrap();
            stream.write_all(raw.as_bytes()).unwrap();
            let mut answer = [0; 512];
            let size = stream.read(&mut answer).unwrap();
            String::from_utf8_lossy(&answer[..size]).into_owned()
        });
        let answer = answer.await.unwrap();
        assert_eq!(answer.split(' ').nth(1), Some(want), "{answer}");
    }
}

#[tokio::test]
async fn an_accepted_webhook_is_an_event() {
    let world = World::new(&[("PUBLIC_URL", "https://bill.example/")]).await;
    world.organization("acme", json!({})).await;
    world.organization("off", json!({ "auto_recharge_enabled": false })).await;
    let mut body = exceeded("acme");
    body["current_usage"] = json!(500);
    body["odd\u{0}"] = json!("\u{0}");
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let request = world.hook(&body.to_string()).header("traceparent", trace).header("x-request-id", "mine-1");
    let got = world.send(request).await;
    let id = got.body["event_id"].as_str().unwrap().to_owned();
    assert_eq!(got.status, 202);
    assert_eq!(got.body["status_url"], json!(format!("https://bill.example/api/events/{id}")));
    assert_eq!((got.header("x-request-id"), got.header("x-content-type-options")), ("mine-1", "nosniff"));
    let event = world.newest::<LimitExceededV1>("webhooks.litellm.limit_exceeded.acme").await;
    assert_eq!((event.id.as_str(), event.correlationid.as_str()), (id.as_str(), id.as_str()));
    // The chain's trace can be told from its events and from the database, whoever called: the caller's is in the log.
    let own = TraceContext::of(&event.id, &event.id).to_string();
    assert_eq!(event.traceparent, Some(own));
    assert_eq!(event.data.current_usage, event.data.current_limit);
    // What PostgreSQL can't store is not passed on to those who store it.
    assert!(!event.data.raw.to_string().contains("\\u0000"), "{}", event.data.raw);
    assert_eq!(world.get(&format!("/api/events/{id}")).await.body["state"], "accepted");

    let got = world.send(world.hook(&exceeded("acme").to_string()).header("prefer", "respond-async")).await;
    assert_eq!((got.status, got.header("preference-applied")), (202, "respond-async"));

    // Switched off: said at once, and published all the same, so that the log has it.
    let got = world.send(world.hook(&exceeded("off").to_string())).await;
    assert_eq!(
        (got.status, &got.body["message"], &got.body["action"]),
        (200, &json!("Auto recharge disabled"), &json!("none"))
    );
    assert_eq!(world.count("WEBHOOKS", "webhooks.litellm.limit_exceeded.off").await, 1);

    // An organization that nobody has linked to the team yet, but that the sender names.
    let mut named = exceeded("new-team");
    named["organization_id"] = json!("acme");
    assert_eq!(world.send(world.hook(&named.to_string())).await.status, 202);
    assert_eq!(world.count("WEBHOOKS", "webhooks.litellm.limit_exceeded.acme").await, 3);
    named["organization_id"] = json!("nobody");
    assert_eq!(world.send(world.hook(&named.to_string())).await.status, 404);
}

#[tokio::test]
async fn two_hundred_copies_at_once_are_one_event() {
    let world = World::new(&[]).await;
    world.organization("acme", json!({})).await;
    let body = exceeded("acme").to_string();
    let all = (0..200).map(|_| world.send(world.hook(&body)));
    let answers = futures_util::future::join_all(all).await;
    let ids: std::collections::BTreeSet<_> = answers.iter().map(|got| got.body["event_id"].to_string()).collect();
    assert!(answers.iter().all(|got| got.status == 202), "{answers:?}");
    assert_eq!((ids.len(), world.count("WEBHOOKS", "webhooks.>").await), (1, 1));
}

#[tokio::test]
async fn one_address_has_an_allowance() {
    let world = World::new(&[("WEBHOOK_RATE_PER_SECOND", "1"), ("WEBHOOK_RATE_BURST", "5")]).await;
    world.organization("acme", json!({})).await;
    let statuses = async |count: usize| -> Vec<Value> {
        let mut statuses = Vec::new();
        for number in 0..count {
            let mut body = exceeded("acme");
            body["current_usage"] = json!(number);
            let got = world.send(world.hook(&body.to_string())).await;
            if got.status == 429 {
                assert!(got.header("retry-after").parse::<u64>().unwrap() >= 1);
            }
            statuses.push(json!(got.status));
        }
        statuses
    };
    // Whoever has no secret uses up nothing.
    for _ in 0..20 {
        assert_eq!(world.send(world.http.post(world.url(HOOK)).body("x")).await.status, 401);
    }
    let got = statuses(8).await;
    assert_eq!(&got[..5], [202, 202, 202, 202, 202].map(Value::from));
    assert!(got[5..].contains(&json!(429)), "{got:?}");
}
