//! Callers that wait for the outcome; the test plays the other services.

use std::time::{Duration, Instant};

use common::contract::{
    DeclineClass, QuotaSyncedV1, RechargeActionRequiredV1, RechargeDeclinedV1, RechargeRequestedV1, RechargeSettledV1,
    RechargeSkippedV1, SkipReason, SyncRequestedV1, TriggerKind,
};
use common::ids::{EventId, RechargeId, TeamId};
use common::money::{Currency, Money};
use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::world::{World, exceeded, until};

const PATIENT: [(&str, &str); 2] = [("WEBHOOK_WAIT_MS", "10000"), ("API_WAIT_MS", "10000")];

fn usd(minor: i64) -> Money {
    Money::new(minor, Currency::USD)
}

/// The id that ingress gives to a body.
fn id_of(body: &Value) -> EventId {
    EventId::from_body("evt", body.to_string().as_bytes())
}

fn settled(trigger: &EventId) -> RechargeSettledV1 {
    RechargeSettledV1 {
        recharge_id: RechargeId::for_trigger(trigger),
        triggered_by: TriggerKind::Webhook,
        amount: usd(10_000),
        fee: usd(0),
        total_charge: usd(10_000),
        payment_intent_id: "pi_1".to_owned(),
        new_quota: Decimal::from(600),
        ledger_version: 2,
    }
}

fn skipped(trigger: &EventId, reason: SkipReason) -> RechargeSkippedV1 {
    RechargeSkippedV1 {
        trigger_event_id: trigger.clone(),
        triggered_by: TriggerKind::Webhook,
        reason,
        detail: "the numbers".to_owned(),
        recharge_id: None,
    }
}

#[tokio::test]
async fn a_webhook_hears_how_it_ended() {
    let world = World::new(&PATIENT).await;
    world.organization("acme", json!({})).await;
    let body = exceeded("acme");
    let id = id_of(&body);
    world.soon(&id, "acme", settled(&id));
    // Two copies at once both hear it.
    let text = body.to_string();
    let (one, two) = tokio::join!(world.send(world.hook(&text)), world.send(world.hook(&text)));
    let want = json!({"success": true, "action": "auto_recharged", "recharged_amount": serde_json::from_str::<Value>("100.00").unwrap(),
                      "event_id": id, "recharge_id": RechargeId::for_trigger(&id), "new_quota": serde_json::from_str::<Value>("600.00").unwrap()});
    for got in [one, two] {
        assert_eq!((got.status, got.body), (200, want.clone()));
    }
    assert_eq!(world.get(&format!("/api/events/{id}")).await.body["state"], "settled");

    let with_usage = |usage: u32| {
        let mut body = exceeded("acme");
        body["current_usage"] = json!(usage);
        (id_of(&body), body.to_string())
    };
    let (id, text) = with_usage(1);
    world.soon(&id, "acme", skipped(&id, SkipReason::Cooldown));
    let got = world.send(world.hook(&text)).await;
    let want = json!({"success": false, "action": "skipped", "reason": "cooldown", "message": "the numbers", "recharge_id": null, "event_id": id});
    assert_eq!((got.status, got.body), (200, want));

    let (id, text) = with_usage(2);
    let recharge_id = RechargeId::for_trigger(&id);
    world.soon(
        &id,
        "acme",
        RechargeDeclinedV1 {
            recharge_id,
            triggered_by: TriggerKind::Webhook,
            amount: usd(10_000),
            code: "card_declined".to_owned(),
            decline_code: Some("lost_card".to_owned()),
            advice_code: None,
            class: DeclineClass::Hard,
            message: "Your card was declined.".to_owned(),
            payment_intent_id: None,
            paused: true,
        },
    );
    let got = world.send(world.hook(&text)).await;
    let (action, reason) = (&got.body["action"], &got.body["reason"]);
    assert_eq!(
        (got.status, action, reason, &got.body["paused"]),
        (200, &json!("declined"), &json!("lost_card"), &json!(true))
    );
    assert_eq!((&got.body["success"], &got.body["message"]), (&json!(false), &json!("Your card was declined.")));

    let (id, text) = with_usage(3);
    world.soon(
        &id,
        "acme",
        RechargeActionRequiredV1 {
            recharge_id: RechargeId::for_trigger(&id),
            triggered_by: TriggerKind::Webhook,
            amount: usd(10_000),
            message: "confirm".to_owned(),
            payment_intent_id: None,
            confirmation_url: Some("https://pay.example".to_owned()),
            expires_at: None,
        },
    );
    let got = world.send(world.hook(&text)).await;
    assert_eq!(
        (&got.body["action"], &got.body["confirmation_url"]),
        (&json!("action_required"), &json!("https://pay.example"))
    );

    // Somebody else's chain, and a sync within this one, end nothing.
    let (id, text) = with_usage(4);
    let (other, _) = with_usage(5);
    world.soon(&other, "acme", settled(&other));
    world.soon(&id, "acme", synced());
    let prompt = world.hook(&text).header("prefer", "respond-async");
    assert_eq!(world.send(prompt).await.status, 202);
}

fn synced() -> QuotaSyncedV1 {
    QuotaSyncedV1 {
        backend: "kms".to_owned(),
        quota: Decimal::from(500),
        previous_quota: None,
        ledger_version: 1,
        litellm_team_id: Some(TeamId::parse("team_1").unwrap()),
        changed: true,
    }
}

#[tokio::test]
async fn what_lasts_longer_is_a_202_and_the_database_knows_it_later() {
    let world = World::new(&[("WEBHOOK_WAIT_MS", "400"), ("API_WAIT_MS", "400")]).await;
    world.organization("acme", json!({})).await;
    let body = exceeded("acme");
    let (id, text) = (id_of(&body), body.to_string());
    let begun = Instant::now();
    let got = world.send(world.hook(&text)).await;
    assert_eq!((got.status, &got.body["accepted"], &got.body["event_id"]), (202, &json!(true), &json!(id)));
    assert!(begun.elapsed() >= Duration::from_millis(400) && begun.elapsed() < Duration::from_secs(4));

    record_event(&world, &id, "charge", None).await;
    assert_eq!(world.get(&format!("/api/events/{id}")).await.body["state"], "decided");
    record_recharge(&world, &id, "charged").await;
    assert_eq!(world.get(&format!("/api/events/{id}")).await.body["state"], "charged");
    assert_eq!(world.send(world.hook(&text)).await.status, 202);
    sqlx::query("UPDATE recharge_records SET status = 'settled', settled_at = now(), new_quota = 600")
        .execute(&world.pool)
        .await
        .unwrap();
    // A repeat of something that ended long ago is answered without waiting.
    let begun = Instant::now();
    let got = world.send(world.hook(&text)).await;
    assert_eq!(
        (got.status, &got.body["action"], got.body["new_quota"].to_string()),
        (200, &json!("auto_recharged"), "600.00".to_owned())
    );
    assert!(begun.elapsed() < Duration::from_millis(390), "{:?}", begun.elapsed());
    let status = world.get(&format!("/api/events/{id}")).await;
    assert_eq!(
        (&status.body["state"], &status.body["recharge"]["payment_intent_id"]),
        (&json!("settled"), &json!(format!("pi_{id}")))
    );
    let got = world.get(&format!("/api/recharges/{}", RechargeId::for_trigger(&id))).await;
    let steps = got.body["steps"].as_array().unwrap();
    let steps: Vec<_> = steps.iter().map(|step| step["step"].as_str().unwrap()).collect();
    assert_eq!((got.status, steps), (200, vec!["received", "decided", "claimed", "settled"]), "{got:?}");
}

pub(crate) async fn record_event(world: &World, id: &EventId, decision: &str, reason: Option<&str>) {
    sqlx::query(
        "INSERT INTO webhook_events (event_id, source, event_type, c_organization_id, correlation_id, payload, received_at, decision, reason)
         VALUES ($1, 'litellm', 'limit_exceeded', 'acme', $1, '{}', now(), $2, $3)",
    )
    .bind(id.as_str())
    .bind(decision)
    .bind(reason)
    .execute(&world.pool)
    .await
    .unwrap();
}

pub(crate) async fn record_recharge(world: &World, id: &EventId, status: &str) {
    sqlx::query(
        "INSERT INTO recharge_records (recharge_id, c_organization_id, amount, fee, total_charge, currency, status, triggered_by,
                triggered_by_webhook, webhook_event_id, trigger_event_id, correlation_id, payment_intent_id)
         VALUES ($1, 'acme', 100, 0, 100, 'usd', $2, 'webhook', true, $3, $3, $3, 'pi_' || $3)",
    )
    .bind(RechargeId::for_trigger(id).0)
    .bind(status)
    .bind(id.as_str())
    .execute(&world.pool)
    .await
    .unwrap();
}

/// Plays the other services: answers the first message that appears on a subject.
pub(crate) async fn trigger_on(world: &World, subject: &str) -> EventId {
    let name = common::contract::streams::of(subject).unwrap();
    let stream = world.broker.jetstream().get_stream(name).await.unwrap();
    until(subject, || async { stream.get_last_raw_message_by_subject(subject).await.is_ok() }).await;
    let message = stream.get_last_raw_message_by_subject(subject).await.unwrap();
    let event: Value = serde_json::from_slice(&message.payload).unwrap();
    EventId::parse(event["id"].as_str().unwrap()).unwrap()
}

#[tokio::test]
async fn a_sync_hears_how_it_ended() {
    let world = World::new(&PATIENT).await;
    world.organization("acme", json!({})).await;
    let play = async {
        let id = trigger_on(&world, "requests.sync.acme").await;
        world.soon(&id, "acme", synced());
    };
    let (got, ()) = tokio::join!(world.send(world.http.post(world.url("/api/organizations/acme/sync"))), play);
    assert_eq!((got.status, &got.body["success"], &got.body["litellm_team_id"]), (200, &json!(true), &json!("team_1")));
    assert_eq!((got.body["quota"].to_string(), &got.body["ledger_version"]), ("500.00".to_owned(), &json!(1)));
    let event = world.newest::<SyncRequestedV1>("requests.sync.acme").await;
    assert_eq!(
        (event.data.requested_by.as_str(), event.data.litellm_team_id.as_ref().unwrap().as_str()),
        ("anonymous", "acme")
    );
    let state = world.get(&format!("/api/events/{}", got.body["event_id"].as_str().unwrap())).await;
    assert_eq!(state.body["state"], "synced");
    assert_eq!(world.send(world.http.post(world.url("/api/organizations/nobody/sync"))).await.status, 404);
}

#[tokio::test]
async fn a_manual_recharge_hears_how_it_ended() {
    let world = World::new(&PATIENT).await;
    world.organization("acme", json!({})).await;
    let recharge = |key: &str, amount: Value| {
        let request =
            world.http.post(world.url("/api/organizations/acme/recharge")).header("content-type", "application/json");
        let request = if key.is_empty() { request } else { request.header("idempotency-key", key) };
        world.send(request.body(json!({ "amount": amount }).to_string()))
    };
    let play = async {
        let id = trigger_on(&world, "requests.recharge.acme").await;
        world.soon(&id, "acme", RechargeSettledV1 { triggered_by: TriggerKind::Manual, ..settled(&id) });
        id
    };
    let (got, id) = tokio::join!(recharge("", json!("100.00")), play);
    assert_eq!(
        (got.status, &got.body["success"], got.body["recharged_amount"].to_string()),
        (200, &json!(true), "100.00".to_owned())
    );
    assert_eq!(got.body["event_id"], json!(id));
    let event = world.newest::<RechargeRequestedV1>("requests.recharge.acme").await;
    assert_eq!(event.data.amount, usd(10_000));

    // Each without a key is one of its own; a key is one for ever.
    let key_id = EventId::from_body("req", b"acme\nk1");
    world.soon(&key_id, "acme", skipped(&key_id, SkipReason::InFlight));
    let got = recharge("k1", json!(25)).await;
    assert_eq!(
        (got.status, &got.body["code"], &got.body["event_id"]),
        (409, &json!("recharge_in_flight"), &json!(key_id))
    );
    assert_eq!(world.count("REQUESTS", "requests.recharge.acme").await, 2);
    record_event(&world, &key_id, "skipped", Some("in_flight")).await;
    let got = recharge("k1", json!("25.00")).await;
    assert_eq!((got.status, &got.body["code"]), (409, &json!("recharge_in_flight")));
    assert_eq!(world.count("REQUESTS", "requests.recharge.acme").await, 2);
    let got = recharge("k1", json!(26)).await;
    assert_eq!((got.status, &got.body["code"]), (409, &json!("idempotency_key_reuse")));
    let audited: i64 = sqlx::query_scalar("SELECT count(*) FROM audit_log WHERE action = 'recharge.requested'")
        .fetch_one(&world.pool)
        .await
        .unwrap();
    assert_eq!(audited, 2);

    for bad in [json!(0), json!(0.49), json!(1_000_000), json!(1.001), json!("x"), json!(null), json!(-5)] {
        let got = recharge("", bad.clone()).await;
        assert_eq!((got.status, got.fields()), (400, vec!["amount".to_owned()]), "{bad}");
    }
    assert_eq!(recharge(&"k".repeat(300), json!(25)).await.body["code"], "invalid_idempotency_key");
}

#[tokio::test]
async fn a_restart_keeps_nobody_waiting() {
    let mut world = World::new(&PATIENT).await;
    world.organization("acme", json!({})).await;
    let request = world.hook(&exceeded("acme").to_string());
    let waiting = tokio::spawn(async move { request.send().await.unwrap().status().as_u16() });
    until("the event", || async { world.count("WEBHOOKS", "webhooks.>").await == 1 }).await;
    let begun = Instant::now();
    world.stop().await;
    assert_eq!(waiting.await.unwrap(), 202);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}
