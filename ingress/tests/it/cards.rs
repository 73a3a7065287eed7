//! Cards that customers give in their own browsers: setup intents, and pages of Stripe's.

use common::contract::EvaluateRequestedV1;
use serde_json::{Value, json};

use crate::stripe::{now, sign};
use crate::world::{Got, STRIPE_SECRET, World, until};

const HOOK: &str = "/webhooks/stripe";

async fn start(world: &World, id: &str) -> Got {
    world.post(&format!("/api/organizations/{id}/setup-intent"), &json!({})).await
}

/// What the customer's browser does.
async fn confirm(world: &World, setup_intent: &str, card: &str) -> Value {
    let url = format!("{}/v1/setup_intents/{setup_intent}/confirm", world.stripe.url());
    let form = format!("payment_method={card}");
    let request = world.http.post(url).bearer_auth("sk_test_1");
    let got = world.send(request.header("content-type", "application/x-www-form-urlencoded").body(form)).await;
    assert_eq!(got.status, 200, "{got:?}");
    got.body
}

/// Stripe's webhook, told at a time of ours.
async fn completed(world: &World, event: &str, setup_intent: &str, created: i64) -> Got {
    let object = json!({ "id": setup_intent, "object": "setup_intent" });
    let body = json!({ "id": event, "object": "event", "type": "setup_intent.succeeded", "created": created,
        "data": { "object": object } })
    .to_string();
    let request = world.http.post(world.url(HOOK)).header("content-type", "application/json");
    world.send(request.header("stripe-signature", sign(STRIPE_SECRET, now(), &body)).body(body)).await
}

async fn card_of(world: &World) -> Value {
    let config = world.get("/api/organizations/acme/config").await.body;
    assert!(config["updated_at"].is_string(), "{config}");
    config["default_payment_method_id"].clone()
}

#[tokio::test]
async fn a_card_that_was_collected_is_the_one_that_is_charged_unless_a_newer_one_is() {
    let world = World::new(&[]).await;
    world.organization("acme", json!({})).await;
    assert_eq!(start(&world, "nobody").await.status, 404);
    let first = start(&world, "acme").await;
    assert_eq!((first.status, first.header("cache-control")), (201, "no-store"), "{first:?}");
    let second = start(&world, "acme").await.body;
    assert_eq!(second["stripe_customer_id"], first.body["stripe_customer_id"]);
    let secret = first.body["client_secret"].as_str().unwrap();
    assert!(secret.contains("_secret_") && second["client_secret"] != secret);
    let [one, two] = [&first.body, &second].map(|body| body["setup_intent_id"].as_str().unwrap().to_owned());

    // Nothing is collected yet, whatever somebody says.
    assert_eq!(completed(&world, "evt_early", &one, now()).await.status, 200);
    assert_eq!(card_of(&world).await, json!(null));

    // The simulator's own webhook, after the customer is done.
    let config = json!({ "webhook_url": world.url(HOOK), "webhook_secret": STRIPE_SECRET, "webhook_mode": { "duplicate": true } });
    world.sim("config", &config).await;
    let done = confirm(&world, &one, "pm_card_visa").await;
    until("the card to be stored", || async { card_of(&world).await == done["payment_method"] }).await;
    let evaluated = || async { world.count("REQUESTS", "requests.evaluate.acme").await == 1 };
    until("the balance to be looked at", evaluated).await;
    let asked = world.newest::<EvaluateRequestedV1>("requests.evaluate.acme").await.data;
    assert_eq!((asked.reason.as_str(), asked.requested_by.as_str()), ("card_changed", "customer"));

    // A second card, of which Stripe tells while it is down itself: not a word of thanks before it is stored.
    world.sim("config", &json!({ "webhook_url": null })).await;
    let done = confirm(&world, &two, "pm_card_mastercard").await["payment_method"].clone();
    world.sim("faults", &json!(["down:1"])).await;
    let later = now() + 60;
    let got = completed(&world, "evt_2", &two, later).await;
    assert_eq!((got.status, &got.body["code"]), (503, &json!("stripe_unavailable")), "{got:?}");
    until("Stripe to be back", || async { completed(&world, "evt_2", &two, later).await.status == 200 }).await;
    assert_eq!(card_of(&world).await, done);

    // The first comes again, late: the second is newer. One that is not the customer's is not used at all.
    assert_eq!(completed(&world, "evt_1_again", &one, later - 30).await.status, 200);
    assert_eq!(card_of(&world).await, done);
    sqlx::query("UPDATE organization_balance_config SET stripe_customer_id = 'cus_other'")
        .execute(&world.pool)
        .await
        .unwrap();
    assert_eq!(completed(&world, "evt_3", &one, later + 60).await.status, 200);
    assert_eq!(card_of(&world).await, done);

    let lines: Vec<(String, String, Value)> =
        sqlx::query_as("SELECT action, actor, after FROM audit_log WHERE action <> 'organization.created' ORDER BY id")
            .fetch_all(&world.pool)
            .await
            .unwrap();
    let actions: Vec<_> = lines.iter().map(|(action, actor, _)| (action.as_str(), actor.as_str())).collect();
    assert_eq!(
        actions,
        [
            ("stripe_customer.created", "anonymous"),
            ("setup_intent.created", "anonymous"),
            ("setup_intent.created", "anonymous"),
            ("payment_method.set", "customer"),
            ("payment_method.set", "customer"),
        ]
    );
    assert_eq!((&lines[3].2["setup_intent_id"], &lines[4].2["default_payment_method_id"]), (&json!(one), &done));
    assert!(!lines.iter().any(|(_, _, after)| after.to_string().contains("_secret_")), "{lines:?}");
}

/// Presses a button of Stripe's page, and says where the browser is sent then.
async fn press(world: &World, page: &str, form: &str) -> String {
    let request = world.http.post(page).header("content-type", "application/x-www-form-urlencoded");
    let answer = request.body(form.to_owned()).send().await.unwrap();
    assert_eq!(answer.status(), 303, "{answer:?}");
    answer.headers()["location"].to_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_card_is_given_on_a_page_of_stripes() {
    let world = World::new(&[]).await;
    world.organization("acme", json!({ "currency": "eur" })).await;
    let config = json!({ "webhook_url": world.url(HOOK), "webhook_secret": STRIPE_SECRET, "webhook_mode": { "duplicate": true } });
    world.sim("config", &config).await;
    const PATH: &str = "/api/organizations/acme/card-page";
    assert_eq!(world.post("/api/organizations/nobody/card-page", &json!({})).await.status, 404);

    // The page leads back to us, and to nobody else.
    for (body, field) in [
        (json!({ "return_url": "https://evil.example/" }), "return_url"),
        (json!({ "return_url": format!("http://{}.evil.example/", world.address) }), "return_url"),
        (json!({ "success_url": world.url("/") }), "success_url"),
    ] {
        let got = world.post(PATH, &body).await;
        assert_eq!(
            (got.status, &got.body["code"], got.fields()),
            (400, &json!("invalid_body"), vec![field.to_owned()])
        );
    }
    let got = world.post(PATH, &json!({ "return_url": world.url("/cards?tab=2") })).await;
    assert_eq!(press(&world, got.body["url"].as_str().unwrap(), "button=back").await, world.url("/cards?tab=2"));

    // No body is needed.
    let got = world.send(world.http.post(world.url(PATH))).await;
    assert_eq!((got.status, got.header("cache-control")), (201, "no-store"), "{got:?}");
    let page = got.body["url"].as_str().unwrap().to_owned();
    let session = got.body["checkout_session_id"].as_str().unwrap().to_owned();
    let request = world.http.get(format!("{}/v1/checkout/sessions/{session}", world.stripe.url()));
    let seen = world.send(request.bearer_auth("sk_test_1")).await.body;
    let until_then = chrono::DateTime::parse_from_rfc3339(got.body["expires_at"].as_str().unwrap()).unwrap();
    assert_eq!(seen["expires_at"], json!(until_then.timestamp()));
    assert_eq!((&seen["customer"], &seen["currency"]), (&got.body["stripe_customer_id"], &json!("eur")));
    let shown = world.http.get(&page).send().await.unwrap().text().await.unwrap();
    assert!(shown.contains("name=\"card\" value=\"4242424242424242\""), "{shown}");
    assert_eq!(card_of(&world).await, json!(null));
    let back = press(&world, &page, "card=4242424242424242&button=save").await;
    assert_eq!(back, world.url("/console/organizations/acme?card=saved"));
    until("the card to be stored", || async { card_of(&world).await != json!(null) }).await;
    let config = world.get("/api/organizations/acme/config").await.body;
    let card = config["default_payment_method_id"].as_str().unwrap();
    let request = world.http.get(format!("{}/v1/payment_methods/{card}", world.stripe.url()));
    let saved = world.send(request.bearer_auth("sk_test_1")).await.body;
    assert_eq!((&saved["customer"], &saved["card"]["last4"]), (&got.body["stripe_customer_id"], &json!("4242")));

    // What is in the log is the session, not the page.
    let lines: Vec<(String, Value)> =
        sqlx::query_as("SELECT actor, after FROM audit_log WHERE action = 'card_page.created' ORDER BY id")
            .fetch_all(&world.pool)
            .await
            .unwrap();
    assert_eq!((lines.len(), lines[1].0.as_str()), (2, "anonymous"));
    assert_eq!(
        lines[1].1,
        json!({ "checkout_session_id": session, "stripe_customer_id": got.body["stripe_customer_id"] })
    );
}
