//! The broker or the database is away.

use std::time::{Duration, Instant};

use common::contract::LimitExceededV1;
use serde_json::json;

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
