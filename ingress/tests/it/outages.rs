//! The broker or the database is away.

use std::time::{Duration, Instant};

use common::contract::LimitExceededV1;
use serde_json::json;

use crate::waiting::record_recharge;
use crate::world::{World, exceeded, until};

#[tokio::test]
async fn without_a_broker_nothing_is_pretended() {
    let mut world = World::new(&[("WEBHOOK_WAIT_MS", "10000")]).await;
    world.organization("acme", json!({})).await;
    world.nats.down();
    until("ingress to notice", || async { world.get("/health/ready").await.status == 503 }).await;
    let body = exceeded("acme").to_string();
    let begun = Instant::now();
    for _ in 0..3 {
        let got = world.send(world.hook(&body)).await;
        assert_eq!(
            (got.status, &got.body["code"], got.header("retry-after")),
            (503, &json!("broker_unavailable"), "2")
        );
    }
    let alert = include_str!("fixtures/team_budget_crossed.json");
    let got = world.send(world.http.post(world.url("/webhooks/litellm/alerts/alert-token-one")).body(alert)).await;
    assert_eq!((got.status, &got.body["code"]), (503, &json!("broker_unavailable")));
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    // What is wrong is wrong with or without a broker, and what needs none works.
    assert_eq!(world.send(world.http.post(world.url(crate::world::HOOK)).body("x")).await.status, 401);
    assert_eq!(world.get("/api/organizations/acme/config").await.status, 200);
    world.nats.up();
    let ready = || async { world.get("/health/ready").await.status == 200 };
    until("ingress to be back", ready).await;
    let request = || world.hook(&body).header("prefer", "respond-async");
    until("an accepted webhook", || async { world.send(request()).await.status == 202 }).await;
    assert_eq!(world.count("WEBHOOKS", "webhooks.>").await, 1);
}

#[tokio::test]
async fn without_a_database_webhooks_are_still_taken() {
    let world = World::new(&[("DIRECTORY_TTL", "1s")]).await;
    world.organization("acme", json!({})).await;
    world.database_down().await;
    // A team that is in memory works as ever; of another nobody can say at the moment that there is none.
    for round in 0..3 {
        let got = world.send(world.hook(&exceeded("acme").to_string())).await;
        assert_eq!(got.status, 202, "{got:?}");
        let got = world.send(world.hook(&exceeded(&format!("new-{round}")).to_string())).await;
        assert_eq!((got.status, &got.body["accepted"]), (202, &json!(true)), "{got:?}");
        tokio::time::sleep(Duration::from_millis(700)).await;
    }
    assert_eq!(world.count("WEBHOOKS", "webhooks.litellm.limit_exceeded.acme").await, 1);
    assert_eq!(world.count("WEBHOOKS", "webhooks.litellm.limit_exceeded.@unresolved").await, 3);
    let event = world.newest::<LimitExceededV1>("webhooks.litellm.limit_exceeded.@unresolved").await;
    assert_eq!((event.subject, event.data.team_id.as_str()), (None, "new-2"));
    let got = world.send(world.hook(&exceeded("acme").to_string())).await;
    let status = world.get(&format!("/api/events/{}", got.body["event_id"].as_str().unwrap())).await;
    assert_eq!((status.status, &status.body["state"]), (200, &json!("accepted")));
    for got in [
        world.get("/api/organizations/acme/config").await,
        world.post("/api/organizations", &json!({ "c_organization_id": "b" })).await,
        world.post("/api/organizations/acme/recharge", &json!({ "amount": 5 })).await,
    ] {
        assert_eq!((got.status, &got.body["code"]), (503, &json!("database_unavailable")), "{got:?}");
    }
    assert_eq!(world.count("REQUESTS", "requests.>").await, 0);
}

/// The broker has it, and the confirmation does not arrive.
#[tokio::test]
async fn money_is_not_asked_for_twice_when_a_confirmation_is_lost() {
    let world = World::new(&[]).await;
    world.organization("acme", json!({})).await;
    let settled = common::ids::EventId::parse("evt_1").unwrap();
    record_recharge(&world, &settled, "settled").await;
    let recharge = format!("/api/recharges/{}/refund", common::ids::RechargeId::for_trigger(&settled));
    let calls = [
        ("/api/organizations/acme/recharge", json!({ "amount": 5 }), "requests.recharge.acme"),
        (recharge.as_str(), json!({ "reason": "too much" }), "requests.refund.acme"),
    ];
    let post = |path: &str, key: &str, body: &serde_json::Value| {
        let request =
            world.http.post(world.url(path)).header("content-type", "application/json").body(body.to_string());
        world.send(if key.is_empty() { request } else { request.header("idempotency-key", key) })
    };
    world.nats.freeze();
    let hook = exceeded("acme").to_string();
    let (first, second, hooked) = tokio::join!(
        post(calls[0].0, "", &calls[0].1),
        post(calls[1].0, "mine", &calls[1].1),
        world.send(world.hook(&hook))
    );
    // A webhook is the same event whenever it is sent again.
    assert_eq!((hooked.status, hooked.header("retry-after")), (503, "2"), "{hooked:?}");
    for got in [&first, &second] {
        assert_eq!((got.status, &got.body["state"]), (202, &json!("unconfirmed")), "{got:?}");
        assert!(got.body["accepted"].is_null() && got.header("retry-after").is_empty(), "{got:?}");
        let status = world.get(&format!("/api/events/{}", got.body["event_id"].as_str().unwrap())).await;
        assert_eq!((status.status, &status.body["state"]), (200, &json!("unconfirmed")), "{status:?}");
        assert_eq!(status.body["c_organization_id"], "acme");
    }
    assert_eq!(second.body["idempotency_key"], "mine");
    world.nats.thaw();
    for ((path, body, subject), got) in calls.iter().zip([first, second]) {
        until("the stored event", || async { world.count("REQUESTS", subject).await == 1 }).await;
        let again = post(path, got.body["idempotency_key"].as_str().unwrap(), body).await;
        assert_eq!((again.status, &again.body["accepted"]), (202, &json!(true)), "{again:?}");
        assert_eq!(again.body["event_id"], got.body["event_id"]);
        assert_eq!(world.count("REQUESTS", subject).await, 1);
        // Without the key it is another one.
        let other = post(path, "", body).await;
        assert_ne!(other.body["event_id"], got.body["event_id"]);
    }
}

#[tokio::test]
async fn what_was_certainly_not_sent_can_be_sent_again() {
    let mut world = World::new(&[]).await;
    world.organization("acme", json!({})).await;
    world.nats.down();
    until("ingress to notice", || async { world.get("/health/ready").await.status == 503 }).await;
    let got = world.post("/api/organizations/acme/recharge", &json!({ "amount": 5 })).await;
    assert_eq!((got.status, &got.body["code"], got.header("retry-after")), (503, &json!("broker_unavailable"), "2"));
}

#[tokio::test]
async fn dead_letters_are_shown_without_a_database() {
    let world = World::new(&[]).await;
    let letter =
        world.broker.publish_raw("dead.ledger.recharges.charged.acme", async_nats::HeaderMap::new(), "{}".into());
    let sequence = letter.await.unwrap().sequence;
    world.database_down().await;
    until("ingress to notice", || async { world.get("/health/ready").await.status == 503 }).await;
    let list = world.get("/api/dead-letters").await;
    assert_eq!((list.status, list.body["items"].as_array().unwrap().len()), (200, 1), "{list:?}");
    assert_eq!(world.get("/api/dead-letters?group=reason").await.body["counted"], 1);
    let one = world.get(&format!("/api/dead-letters/{sequence}")).await;
    assert_eq!((one.status, &one.body["action_known"]), (200, &json!(false)), "{one:?}");
    for got in [
        world.get(&format!("/api/dead-letters/{}", sequence + 1)).await,
        world.post(&format!("/api/dead-letters/{sequence}/redrive"), &json!({})).await,
    ] {
        assert_eq!((got.status, &got.body["code"]), (503, &json!("database_unavailable")), "{got:?}");
    }
}
