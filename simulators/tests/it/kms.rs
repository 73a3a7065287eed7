//! The KMS, both generations.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use simulators::kms::Kms;

use crate::support::{Api, Receiver, any_port, hmac_hex};

async fn with_organization() -> (Api, Value) {
    let api = Api::new(Kms::start(any_port()).await.unwrap());
    let body = json!({ "c_organization_id": "acme", "quota": 500 });
    let created = api.json("POST", "/organizations/", body).await;
    assert_eq!(created.status, 201, "{}", created.text);
    (api, created.body)
}

#[tokio::test]
async fn create_read_change_list() {
    let (api, created) = with_organization().await;
    for field in ["id", "l_team_id", "created_at", "updated_at"] {
        assert!(created[field].is_string(), "{field}");
    }
    assert_eq!((&created["c_organization_id"], &created["quota"]), (&json!("acme"), &json!(500)));
    assert_eq!(api.get("/health").await.status, 200);
    let twice = json!({ "c_organization_id": "acme", "quota": "1" });
    assert_eq!(api.json("POST", "/organizations", twice).await.status, 409);
    assert_eq!(api.json("POST", "/organizations", json!({ "quota": 1 })).await.status, 422);
    assert_eq!(api.get("/organizations/acme").await.ok(), created);
    assert_eq!(api.get("/organizations/other").await.status, 404);
    let path = "/organizations/acme/quota";
    let changed = api.json("PUT", path, json!({ "new_quota": "600.25" })).await.ok();
    assert_eq!(changed["quota"].to_string(), "600.25");
    assert_eq!(api.json("PUT", path, json!({ "new_quota": "many" })).await.status, 422);
    let unknown = "/organizations/other/quota";
    assert_eq!(api.json("PUT", unknown, json!({ "new_quota": 1 })).await.status, 404);
    for path in ["/organizations/", "/organizations"] {
        assert_eq!(api.get(path).await.ok(), json!([changed]));
    }
    api.sim("quota", json!({ "c_organization_id": "acme", "quota": 7 })).await;
    assert_eq!(api.get("/organizations/acme").await.body["quota"], 7);
    let books = api.books().await;
    assert_eq!(books["organizations"]["acme"]["quota_writes"].to_string(), "[500,600.25]");
    assert_eq!(books["organizations"]["acme"]["quota"], 7);
}

#[tokio::test]
async fn older_generations() {
    let (api, created) = with_organization().await;
    api.sim("usage", json!({ "c_organization_id": "acme", "usage": 12.5 })).await;
    let spend = api.get("/spend/org/acme").await;
    assert_eq!(spend.text, r#"{"quota":500,"remaining":487.5,"spend":12.5}"#);
    api.sim("config", json!({ "numbers": "string" })).await;
    let spend = api.get("/spend/org/acme").await.ok();
    assert_eq!(spend, json!({ "spend": "12.5", "quota": "500", "remaining": "487.5" }));
    assert_eq!(api.get("/organizations/acme").await.ok()["quota"], "500");
    api.sim("config", json!({ "spend_unavailable": true })).await;
    assert_eq!(api.get("/spend/org/acme").await.ok()["spend"], "-1.0");
    api.sim("config", json!({ "single_get": false, "spend_route": false, "numbers": "number" })).await;
    assert_eq!(api.get("/organizations/acme").await.status, 405);
    assert_eq!(api.get("/spend/org/acme").await.status, 404);
    assert_eq!(api.get("/organizations/").await.ok(), json!([created]));
    assert_eq!(api.json("POST", "/_sim/config", json!({ "single_put": true })).await.status, 400);
}

#[tokio::test]
async fn the_webhook_is_sent_on_demand_and_signed() {
    let (api, created) = with_organization().await;
    let receiver = Receiver::start(&[500]).await;
    api.sim("config", json!({ "webhook_url": receiver.url, "webhook_secret": "s3cret" })).await;
    let usage = |usage: i64| json!({ "c_organization_id": "acme", "usage": usage, "webhook": true });
    assert_eq!(api.sim("usage", usage(499)).await["sent"], false);
    let report = api.sim("usage", usage(520)).await;
    assert_eq!((&report["sent"], &report["status"]), (&json!(true), &json!(200)));
    assert_eq!(report["body"], json!({ "seen": true }));
    let all = receiver.all();
    // A 500 is tried again.
    assert_eq!(all.len(), 2);
    let expected = format!("sha256={}", hmac_hex(b"s3cret", &all[1].text));
    assert_eq!(all[1].header("x-webhook-signature"), expected);
    let mut body = all[1].body.clone();
    assert!(body["timestamp"].as_str().unwrap().ends_with('Z'));
    body.as_object_mut().unwrap().remove("timestamp");
    let wanted = json!({
        "event_type": "limit_exceeded",
        "team_id": created["l_team_id"],
        "current_usage": 520,
        "current_limit": 500,
        "exceeded_by": 20,
    });
    assert_eq!(body, wanted);
    // At the limit counts as exceeded.
    assert_eq!(api.sim("usage", usage(500)).await["sent"], true);
}

#[tokio::test]
async fn standard_webhooks() {
    let (api, _) = with_organization().await;
    let receiver = Receiver::start(&[]).await;
    let secret = format!("whsec_{}", STANDARD.encode(b"key bytes"));
    let config = json!({
        "webhook_url": receiver.url,
        "webhook_secret": secret,
        "webhook_style": "standard_webhooks",
    });
    api.sim("config", config).await;
    api.sim("usage", json!({ "c_organization_id": "acme", "usage": 500, "webhook": true })).await;
    let one = receiver.all().remove(0);
    let signed = format!("{}.{}.{}", one.header("webhook-id"), one.header("webhook-timestamp"), one.text);
    let mac = hex::decode(hmac_hex(b"key bytes", &signed)).unwrap();
    assert_eq!(one.header("webhook-signature"), format!("v1,{}", STANDARD.encode(mac)));
}

#[tokio::test]
async fn a_receiver_that_is_away_is_reported() {
    let (api, _) = with_organization().await;
    api.sim("config", json!({ "webhook_url": "http://127.0.0.1:1/", "webhook_secret": "s" })).await;
    let usage = json!({ "c_organization_id": "acme", "usage": 500, "webhook": true });
    let report = api.sim("usage", usage).await;
    assert_eq!((&report["sent"], &report["attempts"]), (&json!(false), &json!(5)));
}
