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
async fn the_next_refunds_are_refused_and_their_keys_keep_that() {
    let api = Api::stripe().await;
    let intent = api.paid().await;
    let fields = [("payment_intent", intent["id"].as_str().unwrap()), ("amount", "100")];
    let refund = |key: &'static str| api.post_with_key("/v1/refunds", &fields, key);
    api.sim("config", json!({ "refunds_refuse_next": 2 })).await;
    let first = refund("a").await;
    assert_eq!((first.status, first.str("/error/code")), (400, "balance_insufficient"));
    let again = refund("a").await;
    assert_eq!((again.status, again.header("idempotent-replayed")), (400, "true"));
    assert_eq!(again.text, first.text);
    assert_eq!(api.get("/_sim/config").await.ok()["refunds_refuse_next"], 1);
    assert_eq!(refund("b").await.str("/error/code"), "balance_insufficient");
    let made = refund("c").await;
    assert_eq!((made.status, made.str("/status")), (200, "succeeded"));
    // The refused keys stay refused; a refusal of the parameters is forgotten.
    assert_eq!(refund("b").await.header("idempotent-replayed"), "true");
    let over = [fields[0], ("amount", "9000")];
    for _ in 0..2 {
        let answer = api.post_with_key("/v1/refunds", &over, "d").await;
        assert_eq!((answer.status, answer.header("idempotent-replayed")), (400, ""));
    }
    assert_eq!(refund("d").await.status, 200);
    assert_eq!(api.books().await["refunded"]["usd"], 200);
}

#[tokio::test]
async fn a_payment_may_fail_after_it_had_succeeded() {
    let api = Api::stripe().await;
    let intent = api.paid().await;
    let id = intent["id"].as_str().unwrap();
    let path = format!("payment_intents/{id}/fail_late");
    assert_eq!(api.books().await["captured"]["usd"], 2500);
    let failed = api.sim(&path, json!({})).await;
    assert_eq!(failed["status"], "requires_payment_method");
    assert_eq!(failed["amount_received"], 0);
    assert_eq!(failed["last_payment_error"]["code"], "debit_not_authorized");
    let charge = charge_of(&api, &failed).await;
    assert_eq!(charge["id"], intent["latest_charge"]);
    assert_eq!(
        (&charge["status"], &charge["paid"], &charge["captured"]),
        (&json!("failed"), &json!(false), &json!(false))
    );
    assert_eq!((&charge["amount_captured"], &charge["failure_code"]), (&json!(0), &json!("debit_not_authorized")));
    let books = api.books().await;
    assert_eq!((&books["captured"], &books["charges_succeeded"]), (&json!({}), &json!(0)));
    assert_eq!(refund(&api, &intent, "").await.status, 400);
    let again = api.json("POST", &format!("/_sim/{path}"), json!({})).await;
    assert_eq!(again.str("/error/code"), "payment_intent_unexpected_state");
    for kind in ["charge.failed", "payment_intent.payment_failed"] {
        let events = api.get(&format!("/v1/events?type={kind}")).await.ok();
        assert_eq!(events["data"].as_array().unwrap().len(), 1, "{kind}");
        let object = &events["data"][0]["data"]["object"];
        assert_eq!(*object, if kind == "charge.failed" { charge.clone() } else { failed.clone() });
    }
    let refunded = api.paid().await;
    refund(&api, &refunded, "1").await.ok();
    let path = format!("/_sim/payment_intents/{}/fail_late", refunded["id"].as_str().unwrap());
    assert_eq!(api.json("POST", &path, json!({})).await.status, 400);
}

#[tokio::test]
async fn an_inquiry_moves_no_money() {
    let api = Api::stripe().await;
    let intent = api.paid().await;
    let inquiry = api.sim("disputes", json!({ "payment_intent": intent["id"], "inquiry": true })).await;
    assert_eq!(inquiry["status"], "warning_needs_response");
    assert_eq!((&inquiry["balance_transactions"], &inquiry["is_charge_refundable"]), (&json!([]), &json!(true)));
    assert_eq!(api.books().await["disputed"], json!({}));
    refund(&api, &intent, "100").await.ok();
    let close = format!("disputes/{}/close", inquiry["id"].as_str().unwrap());
    assert_eq!(api.json("POST", &format!("/_sim/{close}"), json!({ "status": "lost" })).await.status, 400);
    assert_eq!(api.sim(&close, json!({ "status": "warning_closed" })).await["status"], "warning_closed");
    assert_eq!(api.json("POST", &format!("/_sim/{close}"), json!({ "status": "warning_closed" })).await.status, 400);
    let withdrawn = api.get("/v1/events?type=charge.dispute.funds_withdrawn").await.ok();
    assert_eq!(withdrawn["data"], json!([]));
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
