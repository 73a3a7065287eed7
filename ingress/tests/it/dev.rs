//! The development routes.

use common::contract::{QuotaSyncedV1, SyncRequestedV1};
use common::ids::TeamId;
use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::world::{World, exceeded, signature, until};

#[tokio::test]
async fn the_original_plans_commands() {
    let world = World::new(&[("DEV_ROUTES", "on")]).await;
    let got = world
        .post(
            "/test/db-insert",
            &json!({ "email": "a@b.c", "c_organization_id": "acme", "litellm_team_id": "t", "other": 1 }),
        )
        .await;
    assert_eq!(got.status, 201, "{got:?}");
    let user = world.get(&format!("/test/db-query/{}", got.body["id"].as_str().unwrap())).await;
    assert_eq!((user.status, &user.body["c_organization_id"]), (200, &json!("acme")));
    assert_eq!(world.get("/test/db-query/nobody").await.status, 404);

    let config = json!({ "c_organization_id": "acme", "target_balance": 500, "unknown": true });
    assert_eq!(world.post("/test/organization-config", &config).await.status, 201);
    let got =
        world.post("/test/organization-config", &json!({ "c_organization_id": "acme", "minimum_balance": 50 })).await;
    assert_eq!(
        (got.status, got.body["target_balance"].to_string(), got.body["minimum_balance"].to_string()),
        (200, "500.00".into(), "50.00".into())
    );
    let both = world.get("/test/organization-with-users/acme").await;
    assert_eq!(
        (&both.body["organization"]["c_organization_id"], &both.body["users"][0]["email"]),
        (&json!("acme"), &json!("a@b.c"))
    );

    let got = world.post("/test/kms/create-org", &json!({ "c_organization_id": "acme", "quota": "100" })).await;
    assert_eq!((got.status, got.body["l_team_id"].is_string()), (201, true), "{got:?}");
    let put = world.http.put(world.url("/test/kms/update-quota")).header("content-type", "application/json");
    let got = world.send(put.body(r#"{"c_organization_id":"acme","quota":250.5}"#)).await;
    assert_eq!((got.status, got.body["quota"].to_string()), (200, "250.5".into()), "{got:?}");
    let got = world.get("/test/kms/get-org/acme").await;
    assert_eq!(got.body["quota"].to_string().parse::<Decimal>().unwrap(), Decimal::new(2505, 1), "{got:?}");
    assert_eq!(world.get("/test/kms/get-org/nobody").await.status, 404);
    assert_eq!(world.get("/test/kms/create-org").await.header("allow"), "POST");
    assert_eq!(world.get("/test/nothing").await.status, 404);

    let body = "any bytes";
    let verify = |signed: String| {
        world.send(world.http.post(world.url("/test/webhook/verify")).header("x-webhook-signature", signed).body(body))
    };
    assert_eq!(verify(signature("test_secret", body.as_bytes())).await.body["valid"], true);
    let wrong = verify(signature("other", body.as_bytes())).await;
    assert_eq!((wrong.status, &wrong.body["valid"], wrong.body["reason"].is_string()), (200, &json!(false), true));
}

#[tokio::test]
async fn a_webhook_test_is_set_up_and_set_up_again() {
    let world = World::new(&[("DEV_ROUTES", "on"), ("API_WAIT_MS", "10000")]).await;
    for round in 1..=2 {
        let play = async {
            until("the sync", || async { world.count("REQUESTS", "requests.sync.>").await == round }).await;
            let asked = world.newest::<SyncRequestedV1>("requests.sync.webhook-test-team_webhook_001").await;
            world.soon(
                &asked.id,
                "webhook-test-team_webhook_001",
                QuotaSyncedV1 {
                    backend: "kms".to_owned(),
                    quota: Decimal::from(500),
                    previous_quota: None,
                    ledger_version: 1,
                    litellm_team_id: Some(TeamId::parse("team_1").unwrap()),
                    changed: false,
                },
            );
        };
        let body = json!({ "team_id": "team_webhook_001", "whatever": [1] });
        let (got, ()) = tokio::join!(world.post("/test/setup-webhook-test", &body), play);
        assert_eq!(
            (got.status, &got.body["success"], &got.body["sync"]["success"]),
            (200, &json!(true), &json!(true)),
            "{got:?}"
        );
        assert_eq!(
            (&got.body["created"], &got.body["c_organization_id"]),
            (&json!(round == 1), &json!("webhook-test-team_webhook_001"))
        );
        let organization = &got.body["organization"];
        let amounts = ["target_balance", "minimum_recharge_amount"].map(|name| organization[name].to_string());
        assert_eq!(
            (amounts, &organization["litellm_team_id"]),
            (["500.00".to_owned(), "100.00".to_owned()], &json!("team_webhook_001"))
        );
    }
    let config = world.get("/api/organizations/webhook-test-team_webhook_001/config").await.body;
    assert_eq!(config["payment_method_last4"], "4242");
    let kms: Value = world.get("/test/kms/get-org/webhook-test-team_webhook_001").await.body;
    assert_eq!(kms["quota"].to_string().parse::<Decimal>().unwrap(), Decimal::from(500), "{kms}");
    assert_eq!(world.send(world.hook(&exceeded("team_webhook_001").to_string())).await.status, 202);
}
