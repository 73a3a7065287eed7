//! What changes has the balance looked at, at once.

use common::contract::EvaluateRequestedV1;
use serde_json::json;

use crate::world::{World, until};

const SUBJECT: &str = "requests.evaluate.acme";
const TEAM: &str = include_str!("fixtures/team_budget_crossed.json");

#[tokio::test]
async fn a_change_of_policy_or_card_and_a_hint() {
    let mut world = World::new(&[]).await;
    world.organization("acme", json!({ "litellm_team_id": "team-acme" })).await;
    let config = "/api/organizations/acme/config";
    let asked = async |world: &World, count: usize, reason: &str| {
        assert_eq!(world.count("REQUESTS", "requests.evaluate.>").await, count, "{reason}");
        assert_eq!(world.newest::<EvaluateRequestedV1>(SUBJECT).await.data.reason, reason);
    };
    assert_eq!(world.count("REQUESTS", "requests.>").await, 0);
    world.patch(config, &json!({ "target_balance": 2000 })).await;
    asked(&world, 1, "policy_changed").await;
    // The same again changes nothing, and where nothing is recharged there is nothing to look at.
    world.patch(config, &json!({ "target_balance": "2000.00" })).await;
    world.patch(config, &json!({ "auto_recharge_enabled": false })).await;
    asked(&world, 1, "policy_changed").await;
    world.patch(config, &json!({ "auto_recharge_enabled": true, "resume": true })).await;
    asked(&world, 2, "resumed").await;
    let card = |default: bool| json!({ "payment_method_id": "pm_card_visa", "set_as_default": default });
    assert_eq!(world.post("/api/organizations/acme/payment-method", &card(false)).await.status, 200);
    asked(&world, 2, "resumed").await;
    assert_eq!(world.post("/api/organizations/acme/payment-method", &card(true)).await.status, 200);
    asked(&world, 3, "card_changed").await;
    let stored: Option<String> =
        sqlx::query_scalar("SELECT payment_method_fingerprint FROM organization_balance_config")
            .fetch_one(&world.pool)
            .await
            .unwrap();
    assert!(stored.is_some_and(|fingerprint| !fingerprint.is_empty()));

    let hint = TEAM.replace("\"event\":\"budget_crossed\"", "\"event\":\"threshold_crossed\"");
    for _ in 0..3 {
        let post = world.http.post(world.url("/webhooks/litellm/alerts/alert-token-one")).body(hint.clone());
        assert_eq!(world.send(post).await.body["action"], "hint");
    }
    // After the answer.
    until("the look", || async { world.count("REQUESTS", "requests.evaluate.>").await == 4 }).await;
    asked(&world, 4, "hint").await;

    world.nats.down();
    until("ingress to notice", || async { world.get("/health/ready").await.status == 503 }).await;
    let got = world.patch(config, &json!({ "target_balance": 3000 })).await;
    assert_eq!((got.status, got.body["target_balance"].to_string()), (200, "3000.00".to_owned()));
}
