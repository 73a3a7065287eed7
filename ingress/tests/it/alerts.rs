//! LiteLLM's own alerts, with the bodies of a real proxy.

use common::contract::{IgnoredWebhookV1, LimitExceededV1, LimitSource, LowBalanceHintV1};
use serde_json::json;

use crate::world::World;

const TEAM: &str = include_str!("fixtures/team_budget_crossed.json");
const OTHERS: [&str; 5] = [
    include_str!("fixtures/key_budget_crossed.json"),
    include_str!("fixtures/key_threshold_crossed.json"),
    include_str!("fixtures/organization_budget_crossed.json"),
    include_str!("fixtures/customer_spend_tracked.json"),
    include_str!("fixtures/health_services_webhook_test.json"),
];
const ROUTE: &str = "/webhooks/litellm/alerts/alert-token-two";

#[tokio::test]
async fn what_litellm_says_is_taken_at_once() {
    let world = World::new(&[("WEBHOOK_WAIT_MS", "30000")]).await;
    let post = |body: String| {
        world.send(world.http.post(world.url(ROUTE)).header("content-type", "application/json").body(body))
    };
    // Before anybody has the team, and after, the same alert.
    let got = post(TEAM.to_owned()).await;
    assert_eq!((got.status, &got.body["received"], &got.body["reason"]), (200, &json!(true), &json!("unknown_team")));
    world.organization("team-acme", json!({})).await;
    let got = post(TEAM.to_owned()).await;
    assert_eq!((got.status, &got.body["action"]), (200, &json!("recharge_considered")), "{got:?}");
    let event = world.newest::<LimitExceededV1>("webhooks.litellm.limit_exceeded.team-acme").await;
    assert_eq!(event.data.source, LimitSource::LitellmAlert);
    assert_eq!(
        (event.data.current_usage.to_string(), event.data.current_limit.to_string()),
        ("0.06".into(), "0.05".into())
    );

    // A dozen refused requests bring a dozen copies, each with a little more spent.
    for more in 1..=12 {
        let copy = TEAM.replace("\"spend\":0.06", &format!("\"spend\":0.0600{more:02}"));
        assert_eq!(post(copy).await.status, 200);
    }
    assert_eq!(world.count("WEBHOOKS", "webhooks.litellm.limit_exceeded.>").await, 1);

    let hint = TEAM.replace("\"event\":\"budget_crossed\"", "\"event\":\"threshold_crossed\"");
    assert_eq!(post(hint).await.body["action"], "hint");
    let event = world.newest::<LowBalanceHintV1>("webhooks.litellm.hint.team-acme").await;
    assert_eq!(event.data.event_type, "threshold_crossed");

    for body in OTHERS.into_iter().chain(["{}", "[]", "null", "3"]) {
        let got = post(body.to_owned()).await;
        assert_eq!(
            (got.status, &got.body["received"], &got.body["action"]),
            (200, &json!(true), &json!("ignored")),
            "{body}"
        );
    }
    let event = world.newest::<IgnoredWebhookV1>("webhooks.litellm.ignored.@unresolved").await;
    assert_eq!(event.data.reason, "not an alert of LiteLLM");
    assert_eq!(post("{".to_owned()).await.status, 400);
    assert_eq!(post("x".repeat(70_000)).await.status, 413);
}

#[tokio::test]
async fn without_the_token_there_is_nothing() {
    let world = World::new(&[]).await;
    for wrong in
        ["", "x", "alert-token-on", "alert-token-one,alert-token-two", "alert%2Dtoken-one", "alert-token-one/x"]
    {
        let got = world.send(world.http.post(world.url(&format!("/webhooks/litellm/alerts/{wrong}"))).body(TEAM)).await;
        assert_eq!((got.status, &got.body["code"]), (404, &json!("no_such_route")), "{wrong}");
    }
    let none = World::new(&[("LITELLM_ALERT_TOKEN", "")]).await;
    assert_eq!(none.send(none.http.post(none.url("/webhooks/litellm/alerts/")).body(TEAM)).await.status, 404);
    let metrics = world.http.get(world.url("/metrics")).send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("/webhooks/litellm/alerts/{token}") && !metrics.contains("alert-token"), "{metrics}");
}
