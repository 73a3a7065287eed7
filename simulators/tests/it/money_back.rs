//! Refunds and disputes.

use serde_json::{Value, json};

use crate::support::Api;

async fn refund(api: &Api, intent: &Value, amount: &str) -> crate::support::Answer {
    let id = intent["id"].as_str().unwrap();
    let mut fields = vec![("payment_intent", id), ("metadata[recharge_id]", "r1")];
    if !amount.is_empty() {
        fields.push(("amount", amount));
    }
    api.post("/v1/refunds", &fields).await
}

async fn charge_of(api: &Api, intent: &Value) -> Value {
    api.get(&format!("/v1/charges/{}", intent["latest_charge"].as_str().unwrap())).await.ok()
}

#[tokio::test]
async fn never_more_than_was_charged() {
    let api = Api::stripe().await;
    let intent = api.paid().await;
    let over = refund(&api, &intent, "2501").await;
    assert_eq!(over.status, 400);
    let words = "Refund amount ($25.01) is greater than unrefunded amount on charge ($25.00)";
    assert_eq!(over.str("/error/message"), words);
    assert_eq!(refund(&api, &intent, "0").await.status, 400);
    let first = refund(&api, &intent, "1000").await.ok();
    assert_eq!((&first["status"], &first["amount"]), (&json!("succeeded"), &json!(1000)));
    assert_eq!(first["charge"], intent["latest_charge"]);
    let charge = charge_of(&api, &intent).await;
    assert_eq!((&charge["amount_refunded"], &charge["refunded"]), (&json!(1000), &json!(false)));
    assert_eq!(refund(&api, &intent, "1501").await.status, 400);
    assert_eq!(refund(&api, &intent, "").await.ok()["amount"], 1500);
    assert_eq!(charge_of(&api, &intent).await["refunded"], true);
    let again = refund(&api, &intent, "").await;
    assert_eq!(again.str("/error/code"), "charge_already_refunded");
    let id = intent["id"].as_str().unwrap();
    let listed = api.get(&format!("/v1/refunds?payment_intent={id}")).await.ok();
    assert_eq!(listed["data"].as_array().unwrap().len(), 2);
    let books = api.books().await;
    assert_eq!((&books["captured"]["usd"], &books["refunded"]["usd"]), (&json!(2500), &json!(2500)));
}

#[tokio::test]
async fn what_was_not_captured_can_not_be_refunded() {
    let api = Api::stripe().await;
    let (customer, method) = api.customer_with("pm_card_chargeDeclined").await;
    let declined = api.charge(&customer, &method).await;
    let intent = &declined.body["error"]["payment_intent"];
    assert_eq!(refund(&api, intent, "").await.status, 400);
    assert_eq!(api.post("/v1/refunds", &[]).await.status, 400);
    let missing = api.post("/v1/refunds", &[("payment_intent", "pi_missing")]).await;
    assert_eq!((missing.status, missing.str("/error/code")), (400, "resource_missing"));
}

#[tokio::test]
async fn refunds_wait_fail_or_are_refused_on_demand() {
    let api = Api::stripe().await;
    let intent = api.paid().await;
    api.sim("config", json!({ "refunds": "refuse" })).await;
    let refused = refund(&api, &intent, "").await;
    assert_eq!((refused.status, refused.str("/error/code")), (400, "balance_insufficient"));
    api.sim("config", json!({ "refunds": "pending" })).await;
    for (outcome, refunded, left) in [("failed", json!({}), 0), ("succeeded", json!({ "usd": 2500 }), 2500)] {
        let pending = refund(&api, &intent, "").await.ok();
        assert_eq!(pending["status"], "pending");
        assert_eq!(api.books().await["refunds_pending"]["usd"], 2500);
        assert_eq!(refund(&api, &intent, "1").await.str("/error/code"), "charge_already_refunded");
        let path = format!("refunds/{}/settle", pending["id"].as_str().unwrap());
        assert_eq!(api.sim(&path, json!({ "outcome": outcome })).await["status"], outcome);
        assert_eq!(api.books().await["refunded"], refunded);
        assert_eq!(charge_of(&api, &intent).await["amount_refunded"], left);
    }
    assert_eq!(api.json("POST", "/_sim/config", json!({ "refunds": "maybe" })).await.status, 400);
    assert_eq!(api.json("POST", "/_sim/config", json!({ "refund": "refuse" })).await.status, 400);
}

#[tokio::test]
async fn disputes_open_and_close() {
    let api = Api::stripe().await;
    for (status, disputed) in [("won", 0), ("lost", 2500)] {
        let intent = api.paid().await;
        let dispute = api.sim("disputes", json!({ "payment_intent": intent["id"] })).await;
        assert_eq!((&dispute["status"], &dispute["amount"]), (&json!("needs_response"), &json!(2500)));
        assert_eq!(charge_of(&api, &intent).await["disputed"], true);
        assert_eq!(refund(&api, &intent, "").await.str("/error/code"), "charge_disputed");
        let id = dispute["id"].as_str().unwrap();
        let closed = api.sim(&format!("disputes/{id}/close"), json!({ "status": status })).await;
        assert_eq!(closed["status"], status);
        let read = api.get(&format!("/v1/disputes/{id}")).await.ok();
        assert_eq!(read, closed);
        let total = api.books().await["disputed"]["usd"].as_i64().unwrap_or_default();
        assert_eq!(total, disputed);
    }
    let (customer, method) = api.customer_with("pm_card_createDispute").await;
    api.charge(&customer, &method).await.ok();
    let listed = api.get("/v1/disputes").await.ok();
    assert_eq!(listed["data"].as_array().unwrap().len(), 3);
}
