//! Faults on demand.

use std::time::{Duration, Instant};

use serde_json::json;
use simulators::kms::Kms;
use simulators::stripe::Stripe;

use crate::support::{Api, any_port, charge_of};

const PATH: &str = "/v1/payment_intents";

#[tokio::test]
async fn a_cut_connection_gives_no_answer_and_the_retry_finds_the_effect() {
    for (fault, effects) in [("drop_before", 0), ("drop_after", 1)] {
        let api = Api::stripe().await;
        let (customer, method) = api.customer_with("pm_card_visa").await;
        let fields = charge_of(&customer, &method);
        api.faults(json!([fault])).await;
        let error = api.try_post(PATH, &fields, Some("k")).await.unwrap_err();
        assert!(error.is_request(), "{error:?}");
        assert_eq!(api.books().await["charges_succeeded"], effects);
        let again = api.post_with_key(PATH, &fields, "k").await;
        assert_eq!(again.status, 200);
        assert_eq!(again.header("idempotent-replayed") == "true", effects == 1);
        assert_eq!(api.books().await["charges_succeeded"], 1);
        assert_eq!(api.get("/_sim/faults").await.body["injected"], json!({ fault: 1 }));
    }
}

#[tokio::test]
async fn faults_meet_calls_that_change_something_in_their_order() {
    let api = Api::stripe().await;
    api.faults(json!(["ok", "500_before", "", "429"])).await;
    let mut statuses = Vec::new();
    for _ in 0..5 {
        assert_eq!(api.get("/v1/customers").await.status, 200);
        statuses.push(api.post("/v1/customers", &[]).await.status);
    }
    assert_eq!(statuses, [200, 500, 200, 429, 200]);
}

#[tokio::test]
async fn a_fault_may_wait_for_a_route() {
    let api = Api::stripe().await;
    let list = json!([{ "fault": "500_before", "route": "POST /v1/customers/:id" }]);
    api.faults(list).await;
    let customer = api.post("/v1/customers", &[]).await;
    let path = format!("/v1/customers/{}", customer.str("/id"));
    assert_eq!(api.post(&path, &[("name", "Jenny")]).await.status, 500);
    assert_eq!(api.post(&path, &[("name", "Jenny")]).await.status, 200);
}

#[tokio::test]
async fn clearing_and_unknown_faults() {
    let api = Api::stripe().await;
    let wrong = api.json("POST", "/_sim/faults", json!(["429", "slow:soon"])).await;
    assert_eq!(wrong.status, 400);
    assert!(wrong.text.contains("slow:soon"));
    assert_eq!(api.get("/_sim/faults").await.body["left"], json!([]));
    api.faults(json!(["429", "down:60"])).await;
    assert!(api.try_post("/v1/customers", &[], None).await.is_err());
    api.delete("/_sim/faults").await.ok();
    assert_eq!(api.post("/v1/customers", &[]).await.status, 200);
}

#[tokio::test]
async fn slow_calls_take_effect_though_the_caller_has_gone() {
    let api = Api::stripe().await;
    let (customer, method) = api.customer_with("pm_card_visa").await;
    api.faults(json!(["slow:1000"])).await;
    let request = api
        .client
        .post(api.url(PATH))
        .bearer_auth("sk_test_tests")
        .timeout(Duration::from_millis(50))
        .body(crate::support::form(&charge_of(&customer, &method)));
    assert!(request.send().await.unwrap_err().is_timeout());
    assert_eq!(api.books().await["charges_succeeded"], 0);
    while api.books().await["charges_succeeded"] != 1 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_service_that_is_down_cuts_reads_too_and_comes_back() {
    let api = Api::stripe().await;
    let started = Instant::now();
    api.faults(json!(["down:1.5"])).await;
    assert!(api.client.get(api.url("/v1/customers")).send().await.is_err());
    assert_eq!(api.get("/_sim/health").await.status, 200);
    while api.client.get(api.url("/v1/customers")).bearer_auth("k").send().await.is_err() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(started.elapsed() >= Duration::from_millis(1500));
}

#[tokio::test]
async fn the_same_faults_on_the_kms() {
    let api = Api::new(Kms::start(any_port()).await.unwrap());
    let organization = json!({ "c_organization_id": "acme", "quota": 100 });
    api.faults(json!(["drop_before", "drop_after", "500_after", "html502", "429"])).await;
    assert!(api.try_json("POST", "/organizations/", organization.clone()).await.is_err());
    assert!(api.try_json("POST", "/organizations/", organization.clone()).await.is_err());
    let path = "/organizations/acme/quota";
    let mut statuses = Vec::new();
    for quota in [200, 300, 400, 500] {
        statuses.push(api.json("PUT", path, json!({ "new_quota": quota })).await.status);
    }
    assert_eq!(statuses, [500, 502, 429, 200]);
    let books = api.books().await;
    assert_eq!(books["organizations"]["acme"]["quota_writes"], json!([100, 200, 500]));
    assert_eq!(books["calls"]["PUT /organizations/:id/quota"], 4);
}

#[tokio::test]
async fn stopping_frees_the_port_and_a_taken_port_is_named() {
    let running = Stripe::start(any_port()).await.unwrap();
    let address = running.addr();
    let error = Stripe::start(address).await.unwrap_err();
    assert!(format!("{error:#}").contains(&address.to_string()), "{error:#}");
    let client = crate::support::http_client();
    client.get(format!("{}/_sim/health", running.url())).send().await.unwrap();
    running.stop().await;
    assert!(client.get(format!("http://{address}/_sim/health")).send().await.is_err());
    Stripe::start(address).await.unwrap();
}
