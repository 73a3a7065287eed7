//! `POST /webhooks/stripe`.

use std::time::Duration;

use common::contract::{EvaluateRequestedV1, StripeEventV1};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::waiting::record_recharge;
use crate::world::{Got, STRIPE_SECRET, World, until};

const ROUTE: &str = "/webhooks/stripe";

#[expect(clippy::disallowed_methods, reason = "the service under test has the system's clock")]
pub(crate) fn now() -> i64 {
    chrono::Utc::now().timestamp()
}

pub(crate) fn sign(secret: &str, at: i64, body: impl AsRef<[u8]>) -> String {
    let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    format!("t={at},v1={}", hex::encode(mac.chain_update(format!("{at}.")).chain_update(body).finalize().into_bytes()))
}

fn event(id: &str, kind: &str, object: &Value) -> String {
    json!({ "id": id, "object": "event", "type": kind, "data": { "object": object }, "livemode": false }).to_string()
}

async fn send(world: &World, signature: &str, body: &str) -> Got {
    let request = world.http.post(world.url(ROUTE)).header("content-type", "application/json; charset=utf-8");
    world.send(request.header("stripe-signature", signature).body(body.to_owned())).await
}

async fn signed(world: &World, body: &str) -> Got {
    send(world, &sign(STRIPE_SECRET, now(), body), body).await
}

#[tokio::test]
async fn what_stripe_says_is_published_once() {
    let world = World::new(&[]).await;
    world.organization("acme", json!({})).await;
    let recharge = "0d3c1e3e-6a55-5a6f-9c37-0c8b6f0a3f11";
    let metadata = json!({ "c_organization_id": "acme", "recharge_id": recharge });
    let body =
        event("evt_1", "payment_intent.succeeded", &json!({ "id": "pi_1", "customer": "cus_1", "metadata": metadata }));
    for secret in [STRIPE_SECRET, "whsec_old_secret_0001"] {
        let got = send(&world, &sign(secret, now(), &body), &body).await;
        assert_eq!((got.status, &got.body["event_id"]), (200, &json!("stripe_evt_1")), "{got:?}");
    }
    assert_eq!(world.count("WEBHOOKS", "webhooks.stripe.>").await, 1);
    let published = world.newest::<StripeEventV1>("webhooks.stripe.event.acme").await;
    let want = StripeEventV1 {
        stripe_event_id: "evt_1".to_owned(),
        stripe_type: "payment_intent.succeeded".to_owned(),
        object_id: "pi_1".to_owned(),
        payment_intent_id: Some("pi_1".to_owned()),
        customer_id: Some("cus_1".to_owned()),
        recharge_id: recharge.parse().ok(),
    };
    assert_eq!((published.id.as_str(), published.data), ("stripe_evt_1", want));

    // Nobody handles it: Stripe need not send it again.
    let got = signed(&world, &event("evt_2", "invoice.paid", &json!({ "id": "in_1" }))).await;
    assert_eq!((got.status, &got.body["action"]), (200, &json!("ignored")));
    assert_eq!(world.count("WEBHOOKS", "webhooks.stripe.>").await, 1);
    let metrics = world.http.get(world.url("/metrics")).send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains(r#"bill_webhooks_total{result="ignored",source="stripe"} 1"#), "{metrics}");
}

#[tokio::test]
async fn whose_it_is_comes_from_the_database_where_the_object_does_not_say() {
    let world = World::new(&[]).await;
    world.organization("acme", json!({})).await;
    let trigger = "evt_a".parse().unwrap();
    record_recharge(&world, &trigger, "charged").await;
    sqlx::query("UPDATE organization_balance_config SET stripe_customer_id = 'cus_1'")
        .execute(&world.pool)
        .await
        .unwrap();
    let cases = [
        ("charge.dispute.created", json!({ "id": "dp_1", "payment_intent": "pi_evt_a", "metadata": {} }), "acme"),
        ("setup_intent.succeeded", json!({ "id": "seti_1", "customer": "cus_1" }), "acme"),
        ("charge.refunded", json!({ "id": "ch_1", "customer": "cus_other", "payment_intent": null }), "@unresolved"),
    ];
    for (number, (kind, object, whose)) in cases.into_iter().enumerate() {
        assert_eq!(signed(&world, &event(&format!("evt_{number}"), kind, &object)).await.status, 200);
        let published = world.newest::<StripeEventV1>(&format!("webhooks.stripe.event.{whose}")).await;
        assert_eq!(published.data.stripe_type, kind);
    }
    // Without a database it is published all the same.
    world.database_down().await;
    let got =
        signed(&world, &event("evt_9", "refund.failed", &json!({ "id": "re_1", "payment_intent": "pi_evt_a" }))).await;
    assert_eq!(got.status, 200, "{got:?}");
    assert_eq!(world.count("WEBHOOKS", "webhooks.stripe.event.@unresolved").await, 2);
}

#[tokio::test]
async fn what_is_not_from_stripe_or_not_an_event_is_refused() {
    let mut world = World::new(&[]).await;
    let body = event("evt_1", "charge.refunded", &json!({ "id": "ch_1" }));
    let old = sign(STRIPE_SECRET, now() - 400, &body);
    for wrong in ["", "t=1", "sha256=abc", &sign("whsec_other", now(), &body), &old, &sign(STRIPE_SECRET, now(), "x")] {
        let got = send(&world, wrong, &body).await;
        assert_eq!((got.status, &got.body["code"]), (401, &json!("invalid_signature")), "{wrong}");
    }
    assert_eq!(signed(&world, "{").await.body["code"], "invalid_json");
    assert_eq!(signed(&world, "[]").await.status, 400);
    let got = signed(&world, &event("evt_1", "charge.refunded", &json!({}))).await;
    assert_eq!((got.status, got.fields()), (400, vec!["data.object".to_owned()]));
    let large = format!("{body}{}", " ".repeat(70_000));
    assert_eq!(signed(&world, &large).await.status, 413);
    let plain = world.http.post(world.url(ROUTE)).header("stripe-signature", sign(STRIPE_SECRET, now(), &body));
    let got = world.send(plain.header("content-type", "text/plain").body(body.clone())).await;
    assert_eq!(got.status, 415);
    assert_eq!(world.count("WEBHOOKS", "webhooks.>").await, 0);

    world.nats.down();
    until("ingress to notice", || async { world.get("/health/ready").await.status == 503 }).await;
    let got = signed(&world, &body).await;
    assert_eq!((got.status, got.header("retry-after")), (503, "2"), "{got:?}");

    let none = World::new(&[("STRIPE_WEBHOOK_SECRET", "")]).await;
    let got = signed(&none, &body).await;
    assert_eq!((got.status, &got.body["code"]), (404, &json!("stripe_webhook_not_configured")));
    assert!(got.body["error"].as_str().unwrap().contains("STRIPE_WEBHOOK_SECRET"));
}

#[tokio::test]
async fn an_updated_card_is_read_again() {
    let world = World::new(&[]).await;
    world.organization("acme", json!({})).await;
    let card = json!({ "payment_method_id": "pm_card_visa", "set_as_default": true });
    let got = world.post("/api/organizations/acme/payment-method", &card).await;
    let card = got.body["payment_method_id"].as_str().unwrap().to_owned();
    sqlx::query(
        "UPDATE organization_balance_config SET payment_method_last4 = '0000', payment_method_fingerprint = 'old'",
    )
    .execute(&world.pool)
    .await
    .unwrap();
    let before = world.count("REQUESTS", "requests.evaluate.acme").await;
    let body = event("evt_1", "payment_method.automatically_updated", &json!({ "id": card }));
    assert_eq!(signed(&world, &body).await.status, 200);
    let evaluated = || async { world.count("REQUESTS", "requests.evaluate.acme").await > before };
    until("the balance to be looked at", evaluated).await;
    let asked = world.newest::<EvaluateRequestedV1>("requests.evaluate.acme").await;
    assert_eq!((asked.data.reason.as_str(), asked.data.requested_by.as_str()), ("card_changed", "stripe"));
    let stored: (String, Option<String>) =
        sqlx::query_as("SELECT payment_method_last4, payment_method_fingerprint FROM organization_balance_config")
            .fetch_one(&world.pool)
            .await
            .unwrap();
    assert!(stored.0 == "4242" && stored.1.is_some_and(|fingerprint| fingerprint != "old"));
    // Stripe away: the webhook is accepted all the same.
    world.sim("faults", &json!(["down:1"])).await;
    let again = body.replace("evt_1", "evt_2");
    assert_eq!(signed(&world, &again).await.status, 200);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(world.count("REQUESTS", "requests.evaluate.acme").await, before + 1);
}

/// The simulator's own events, with its own signature.
#[tokio::test]
async fn the_simulators_events_arrive() {
    let world = World::new(&[]).await;
    world.organization("acme", json!({})).await;
    let config = json!({ "webhook_url": world.url(ROUTE), "webhook_secret": STRIPE_SECRET });
    world.sim("config", &config).await;
    let card = json!({ "payment_method_id": "pm_card_visa", "set_as_default": true });
    let got = world.post("/api/organizations/acme/payment-method", &card).await;
    let form = format!(
        "amount=5000&currency=usd&confirm=true&off_session=true&customer={}&payment_method={}&metadata[c_organization_id]=acme",
        got.body["stripe_customer_id"].as_str().unwrap(),
        got.body["payment_method_id"].as_str().unwrap()
    );
    let request = world.http.post(format!("{}/v1/payment_intents", world.stripe.url())).bearer_auth("sk_test_1");
    let got = world.send(request.header("content-type", "application/x-www-form-urlencoded").body(form)).await;
    assert_eq!(got.status, 200, "{got:?}");
    let paid = || async { world.count("WEBHOOKS", "webhooks.stripe.event.acme").await > 0 };
    until("payment_intent.succeeded", paid).await;
    let published = world.newest::<StripeEventV1>("webhooks.stripe.event.acme").await;
    assert_eq!(json!(published.data.payment_intent_id), got.body["id"]);
}
