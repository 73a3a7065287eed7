//! Idempotency keys, case by case.

use futures_util::future::join_all;
use serde_json::json;

use crate::support::{Api, charge_of};

const PATH: &str = "/v1/payment_intents";

#[tokio::test]
async fn a_success_is_replayed_with_the_same_body() {
    let api = Api::stripe().await;
    let (customer, method) = api.customer_with("pm_card_visa").await;
    let fields = charge_of(&customer, &method);
    let first = api.post_with_key(PATH, &fields, "k").await;
    let again = api.post_with_key(PATH, &fields, "k").await;
    assert_eq!((first.status, again.status), (200, 200));
    assert_eq!(first.text, again.text);
    assert_eq!(first.header("idempotent-replayed"), "");
    assert_eq!(again.header("idempotent-replayed"), "true");
    assert_eq!(again.header("original-request"), first.header("request-id"));
    assert_ne!(again.header("request-id"), first.header("request-id"));
    let books = api.books().await;
    assert_eq!(books["charges_succeeded"], 1);
    assert_eq!(books["idempotent_replays"], 1);
}

#[tokio::test]
async fn a_decline_is_replayed() {
    let api = Api::stripe().await;
    let (customer, method) = api.customer_with("pm_card_chargeDeclined").await;
    let fields = charge_of(&customer, &method);
    let first = api.post_with_key(PATH, &fields, "k").await;
    let again = api.post_with_key(PATH, &fields, "k").await;
    assert_eq!((first.status, again.status), (402, 402));
    assert_eq!(first.text, again.text);
    assert_eq!(api.books().await["payment_intents"]["requires_payment_method"], 1);
}

#[tokio::test]
async fn a_500_after_the_effect_is_replayed_for_ever() {
    let api = Api::stripe().await;
    let (customer, method) = api.customer_with("pm_card_visa").await;
    let fields = charge_of(&customer, &method);
    api.faults(json!(["500_after"])).await;
    for replayed in ["", "true", "true"] {
        let answer = api.post_with_key(PATH, &fields, "k").await;
        assert_eq!((answer.status, answer.header("idempotent-replayed")), (500, replayed));
        assert_eq!(answer.str("/error/type"), "api_error");
    }
    let listed = api.get(&format!("{PATH}?customer={customer}")).await.ok();
    assert_eq!(listed["data"].as_array().unwrap().len(), 1);
    assert_eq!(listed["data"][0]["status"], "succeeded");
    assert_eq!(listed["data"][0]["metadata"]["recharge_id"], "r1");
}

#[tokio::test]
async fn other_parameters_or_another_path_are_refused() {
    let api = Api::stripe().await;
    let (customer, method) = api.customer_with("pm_card_visa").await;
    let mut fields = charge_of(&customer, &method);
    api.post_with_key(PATH, &fields, "k").await.ok();
    fields[0] = ("amount", "2600");
    let other = api.post_with_key(PATH, &fields, "k").await;
    assert_eq!((other.status, other.str("/error/type")), (400, "idempotency_error"));
    let elsewhere = api.post_with_key("/v1/customers", &[("email", "a@b.c")], "k").await;
    assert_eq!((elsewhere.status, elsewhere.str("/error/type")), (400, "idempotency_error"));
    // The first answer is still there.
    fields[0] = ("amount", "2500");
    let again = api.post_with_key(PATH, &fields, "k").await;
    assert_eq!(again.header("idempotent-replayed"), "true");
}

#[tokio::test]
async fn keys_of_different_accounts_have_nothing_to_do_with_each_other() {
    let api = Api::stripe().await;
    api.post_with_key("/v1/customers", &[("email", "a@b.c")], "k").await.ok();
    let other = api
        .client
        .post(api.url("/v1/customers"))
        .basic_auth("sk_test_other", Some(""))
        .header("idempotency-key", "k")
        .body("email=x@y.z")
        .send()
        .await
        .unwrap();
    assert_eq!(other.status(), 200);
    assert!(other.headers().get("idempotent-replayed").is_none());
}

#[tokio::test]
async fn what_did_not_execute_is_not_kept() {
    let api = Api::stripe().await;
    let (customer, method) = api.customer_with("pm_card_visa").await;
    let mut fields = charge_of(&customer, &method);
    fields[0] = ("amount", "49");
    let small = api.post_with_key(PATH, &fields, "k").await;
    assert_eq!((small.status, small.str("/error/code")), (400, "amount_too_small"));
    fields[0] = ("amount", "2500");
    api.faults(json!(["429", "500_before", "html502"])).await;
    let limited = api.post_with_key(PATH, &fields, "k").await;
    assert_eq!((limited.status, limited.str("/error/code")), (429, "rate_limit"));
    assert_eq!(api.post_with_key(PATH, &fields, "k").await.status, 500);
    let page = api.post_with_key(PATH, &fields, "k").await;
    assert_eq!((page.status, page.header("content-type")), (502, "text/html"));
    assert!(page.text.starts_with("<html>"));
    let no_key =
        api.client.post(api.url(PATH)).header("idempotency-key", "k").body("amount=2500").send().await.unwrap();
    assert_eq!(no_key.status(), 401);
    let done = api.post_with_key(PATH, &fields, "k").await;
    assert_eq!((done.status, done.header("idempotent-replayed")), (200, ""));
    assert_eq!(api.books().await["charges_succeeded"], 1);
}

#[tokio::test]
async fn a_key_in_flight_is_a_conflict() {
    let api = Api::stripe().await;
    let (customer, method) = api.customer_with("pm_card_visa").await;
    let fields = charge_of(&customer, &method);
    api.faults(json!(["slow:1500"])).await;
    let first = api.post_with_key(PATH, &fields, "k");
    let second = async {
        // The first request has arrived when its fault is gone.
        while !api.get("/_sim/faults").await.body["left"].as_array().unwrap().is_empty() {}
        api.post_with_key(PATH, &fields, "k").await
    };
    let (first, second) = tokio::join!(first, second);
    assert_eq!(first.status, 200);
    assert_eq!((second.status, second.str("/error/code")), (409, "idempotency_key_in_use"));
    assert_eq!(second.header("stripe-should-retry"), "true");
    let again = api.post_with_key(PATH, &fields, "k").await;
    assert_eq!(again.text, first.text);
}

#[tokio::test]
async fn twenty_at_once_make_one_charge() {
    for latency in [0, 100] {
        let api = Api::stripe().await;
        let (customer, method) = api.customer_with("pm_card_visa").await;
        let fields = charge_of(&customer, &method);
        api.sim("config", json!({ "latency_ms": latency })).await;
        let answers = join_all((0..20).map(|_| api.post_with_key(PATH, &fields, "k"))).await;
        let succeeded: Vec<_> = answers.iter().filter(|answer| answer.status == 200).collect();
        assert!(!succeeded.is_empty());
        assert!(succeeded.iter().all(|answer| answer.text == succeeded[0].text));
        let conflicts = answers.iter().filter(|answer| answer.status == 409).count();
        assert_eq!(succeeded.len() + conflicts, 20);
        assert!(latency == 0 || conflicts > 0);
        assert_eq!(api.books().await["charges_succeeded"], 1);
    }
}

#[tokio::test]
async fn a_key_is_forgotten_after_a_day() {
    let api = Api::stripe().await;
    let (customer, method) = api.customer_with("pm_card_visa").await;
    let fields = charge_of(&customer, &method);
    api.post_with_key(PATH, &fields, "k").await.ok();
    api.sim("clock", json!({ "advance_seconds": 86_399 - 60 })).await;
    let before = api.post_with_key(PATH, &fields, "k").await;
    assert_eq!(before.header("idempotent-replayed"), "true");
    api.sim("clock", json!({ "advance_seconds": 61 })).await;
    let after = api.post_with_key(PATH, &fields, "k").await;
    assert_eq!((after.status, after.header("idempotent-replayed")), (200, ""));
    assert_eq!(api.books().await["charges_succeeded"], 2);
}
