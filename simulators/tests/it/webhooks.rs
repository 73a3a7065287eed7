//! Stripe's webhooks out.

use serde_json::{Value, json};

use crate::support::{Api, Received, Receiver, hmac_hex};

const SECRET: &str = "whsec_test";

async fn with_receiver(statuses: &[u16], mode: Value) -> (Api, Receiver) {
    let api = Api::stripe().await;
    let receiver = Receiver::start(statuses).await;
    let config = json!({ "webhook_url": receiver.url, "webhook_secret": SECRET, "webhook_mode": mode });
    api.sim("config", config).await;
    (api, receiver)
}

fn of_kind<'a>(all: &'a [Received], kind: &str) -> Vec<&'a Received> {
    all.iter().filter(|one| one.body["type"] == kind).collect()
}

#[tokio::test]
async fn every_event_is_signed_and_can_be_read_again() {
    let (api, receiver) = with_receiver(&[], json!({})).await;
    let intent = api.paid().await;
    let all = receiver.until(|all| !of_kind(all, "payment_intent.succeeded").is_empty()).await;
    for one in &all {
        let signature = one.header("stripe-signature");
        let (timestamp, mac) = signature.split_once(",v1=").unwrap();
        let timestamp = timestamp.strip_prefix("t=").unwrap();
        assert_eq!(mac, hmac_hex(SECRET.as_bytes(), &format!("{timestamp}.{}", one.text)));
        assert_eq!((&one.body["object"], &one.body["pending_webhooks"]), (&json!("event"), &json!(1)));
        let id = one.body["id"].as_str().unwrap();
        assert_eq!(api.get(&format!("/v1/events/{id}")).await.ok(), one.body);
    }
    let succeeded = of_kind(&all, "payment_intent.succeeded")[0];
    assert_eq!(succeeded.body["data"]["object"], intent);
    let listed = api.get("/v1/events?type=payment_intent.succeeded").await.ok();
    assert_eq!(listed["data"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn the_events_of_everything_that_happens() {
    let (api, receiver) = with_receiver(&[], json!({})).await;
    let intent = api.paid().await;
    let id = intent["id"].as_str().unwrap();
    let method = intent["payment_method"].as_str().unwrap();
    api.sim(&format!("payment_methods/{method}/auto_update"), json!({})).await;
    api.sim("config", json!({ "refunds": "pending" })).await;
    let refund = api.post("/v1/refunds", &[("payment_intent", id), ("amount", "1")]).await;
    let settle = format!("refunds/{}/settle", refund.str("/id"));
    api.sim(&settle, json!({ "outcome": "failed" })).await;
    let dispute = api.sim("disputes", json!({ "payment_intent": id })).await;
    let close = format!("disputes/{}/close", dispute["id"].as_str().unwrap());
    api.sim(&close, json!({ "status": "lost" })).await;
    let fields = [("payment_method", "pm_card_visa"), ("confirm", "true")];
    api.post("/v1/setup_intents", &fields).await.ok();
    let (customer, processing) = api.customer_with("pm_card_sim_processing").await;
    let intent = api.charge(&customer, &processing).await.ok();
    let settle = format!("payment_intents/{}/settle", intent["id"].as_str().unwrap());
    api.sim(&settle, json!({ "outcome": "failed" })).await;
    let wanted = [
        "customer.created",
        "payment_method.attached",
        "payment_method.automatically_updated",
        "payment_intent.created",
        "payment_intent.succeeded",
        "payment_intent.processing",
        "payment_intent.payment_failed",
        "charge.succeeded",
        "charge.refunded",
        "refund.created",
        "refund.updated",
        "refund.failed",
        "charge.dispute.created",
        "charge.dispute.closed",
        "setup_intent.succeeded",
    ];
    receiver.until(|all| wanted.iter().all(|kind| !of_kind(all, kind).is_empty())).await;
}

#[tokio::test]
async fn what_money_back_sends_names_the_payment() {
    let (api, receiver) = with_receiver(&[], json!({})).await;
    let intent = api.paid().await;
    let id = intent["id"].as_str().unwrap();
    api.sim("config", json!({ "refunds": "pending" })).await;
    let fields = [("payment_intent", id), ("amount", "1"), ("metadata[refund_key]", "k1")];
    let refund = api.post("/v1/refunds", &fields).await;
    api.sim(&format!("refunds/{}/settle", refund.str("/id")), json!({ "outcome": "failed" })).await;
    let dispute = api.sim("disputes", json!({ "payment_intent": id })).await;
    let close = format!("disputes/{}/close", dispute["id"].as_str().unwrap());
    api.sim(&close, json!({ "status": "won" })).await;
    let refunds = ["refund.created", "refund.updated", "refund.failed"];
    let disputes = [
        "charge.dispute.created",
        "charge.dispute.funds_withdrawn",
        "charge.dispute.funds_reinstated",
        "charge.dispute.closed",
    ];
    let all = receiver
        .until(|all| {
            let mut kinds = refunds.iter().chain(&disputes).chain(&["charge.refunded"]);
            kinds.all(|kind| !of_kind(all, kind).is_empty())
        })
        .await;
    let object = |kind: &str| of_kind(&all, kind)[0].body["data"]["object"].clone();
    for kind in refunds {
        let refund = object(kind);
        assert_eq!((&refund["object"], &refund["payment_intent"]), (&json!("refund"), &intent["id"]), "{kind}");
        assert_eq!(refund["charge"], intent["latest_charge"], "{kind}");
        assert_eq!(refund["metadata"], json!({ "refund_key": "k1" }), "{kind}");
    }
    for kind in disputes {
        let dispute = object(kind);
        assert_eq!((&dispute["object"], &dispute["payment_intent"]), (&json!("dispute"), &intent["id"]), "{kind}");
        assert_eq!(dispute["charge"], intent["latest_charge"], "{kind}");
    }
    let charge = object("charge.refunded");
    assert_eq!((&charge["object"], &charge["id"]), (&json!("charge"), &intent["latest_charge"]));
    assert_eq!((&charge["payment_intent"], &charge["metadata"]), (&intent["id"], &intent["metadata"]));
    assert_eq!((&charge["amount_refunded"], &charge["metadata"]["recharge_id"]), (&json!(1), &json!("r1")));
}

#[tokio::test]
async fn refused_deliveries_are_repeated() {
    let (api, receiver) = with_receiver(&[500, 302, 404], json!({})).await;
    api.post("/v1/customers", &[]).await.ok();
    let all = receiver.until(|all| all.len() == 4).await;
    assert!(all.iter().all(|one| one.text == all[0].text));
    let log = api.get("/_sim/webhooks").await.ok();
    assert_eq!(log["attempts"][0]["status"], 500);
}

#[tokio::test]
async fn duplicates_delays_and_the_wrong_order() {
    let (api, receiver) = with_receiver(&[], json!({ "duplicate": true, "delay_ms": 20 })).await;
    api.post("/v1/customers", &[]).await.ok();
    let all = receiver.until(|all| all.len() == 2).await;
    assert_eq!(all[0].body["id"], all[1].body["id"]);

    let (api, receiver) = with_receiver(&[], json!({ "reorder": true })).await;
    let first = api.post("/v1/customers", &[]).await;
    let second = api.post("/v1/customers", &[]).await;
    let all = receiver.until(|all| all.len() == 2).await;
    assert_eq!(all[0].body["data"]["object"]["id"], second.str("/id"));
    assert_eq!(all[1].body["data"]["object"]["id"], first.str("/id"));
    // One that nothing overtakes comes all the same.
    api.post("/v1/customers", &[]).await.ok();
    receiver.until(|all| all.len() == 3).await;
}
