//! Giving money back, and what the answers know of it.

use common::config::Secret;
use common::contract::{
    RechargeRefundFailedV1, RechargeRefundedV1, RechargeSkippedV1, RefundCause, RefundRequestedV1, SkipReason,
    TriggerKind,
};
use common::ids::{EventId, RechargeId};
use common::money::{Currency, Money};
use common::pay_link::PayLinks;
use serde_json::{Value, json};

use crate::waiting::{record_event, record_recharge, trigger_on};
use crate::world::{Got, PAY_SECRET, World, exceeded};

fn usd(minor: i64) -> Money {
    Money::new(minor, Currency::USD)
}

fn id(text: &str) -> EventId {
    EventId::parse(text).unwrap()
}

fn refunded(recharge_id: RechargeId) -> RechargeRefundedV1 {
    RechargeRefundedV1 {
        recharge_id,
        refund_id: "re_1".to_owned(),
        amount: usd(4_000),
        total_refunded: usd(4_100),
        was_credited: true,
        reason: "too much".to_owned(),
        cause: Some(RefundCause::Requested),
        charge_fully_refunded: false,
        total_charge: Some(usd(10_000)),
        processor_fee: None,
    }
}

async fn refund(world: &World, recharge: RechargeId, key: &str, body: Value) -> Got {
    let request = world.http.post(world.url(&format!("/api/recharges/{recharge}/refund")));
    let request = if key.is_empty() { request } else { request.header("idempotency-key", key) };
    world.send(request.header("content-type", "application/json").body(body.to_string())).await
}

#[tokio::test]
async fn a_refund_is_asked_for_once_and_hears_how_it_ended() {
    let world = World::new(&[("API_WAIT_MS", "10000")]).await;
    world.organization("acme", json!({})).await;
    record_recharge(&world, &id("evt_1"), "settled").await;
    let recharge = RechargeId::for_trigger(&id("evt_1"));
    let body = json!({ "amount": "40.00", "reason": "too much" });
    let play = async {
        let asked = trigger_on(&world, "requests.refund.acme").await;
        world.soon(&asked, "acme", refunded(recharge));
        asked
    };
    let (got, asked) = tokio::join!(refund(&world, recharge, "k1", body.clone()), play);
    assert_eq!(
        (got.status, &got.body["success"], &got.body["action"]),
        (200, &json!(true), &json!("refunded")),
        "{got:?}"
    );
    assert_eq!((&got.body["refund_id"], got.body["refunded_amount"].to_string()), (&json!("re_1"), "40.00".to_owned()));
    let published = world.newest::<RefundRequestedV1>("requests.refund.acme").await;
    assert_eq!((&published.id, published.data.amount), (&asked, Some(usd(4_000))));

    // The recharger gave all of it back since; the same call again is still the same call.
    sqlx::query("UPDATE recharge_records SET status = 'refunded', refunded_amount = 100, refunded_total = 100")
        .execute(&world.pool)
        .await
        .unwrap();
    sqlx::query(
        "INSERT INTO refunds (refund_key, recharge_id, c_organization_id, correlation_id, cause, reason, currency, amount, total,
                status, stripe_refund_id, was_refunded, created_at, updated_at)
         VALUES ('request:' || $1, $2, 'acme', $1, 'requested', 'too much', 'usd', 40, 41, 'succeeded', 're_1', true, now(), now())",
    )
    .bind(asked.as_str())
    .bind(recharge.0)
    .execute(&world.pool)
    .await
    .unwrap();
    let got = refund(&world, recharge, "k1", body).await;
    assert_eq!(
        (got.status, &got.body["refund_id"], &got.body["success"]),
        (200, &json!("re_1"), &json!(true)),
        "{got:?}"
    );
    let status = world.get(&format!("/api/events/{asked}")).await;
    assert_eq!((&status.body["state"], &status.body["outcome"]["refund_id"]), (&json!("refunded"), &json!("re_1")));
    assert_eq!(world.count("REQUESTS", "requests.refund.>").await, 1);
    let got = refund(&world, recharge, "k1", json!({ "amount": 41, "reason": "x" })).await;
    assert_eq!((got.status, &got.body["code"]), (409, &json!("idempotency_key_reuse")));
    let got = refund(&world, recharge, "k2", json!({ "reason": "x" })).await;
    assert_eq!((got.status, &got.body["code"]), (409, &json!("already_refunded")));
    let audited: i64 = sqlx::query_scalar("SELECT count(*) FROM audit_log WHERE action = 'refund.requested'")
        .fetch_one(&world.pool)
        .await
        .unwrap();
    assert_eq!(audited, 1);

    let chain = world.get(&format!("/api/recharges/{recharge}")).await.body;
    assert_eq!(
        (&chain["refunds"][0]["refund_id"], chain["refunded_amount"].to_string()),
        (&json!("re_1"), "100.00".into())
    );
    assert_eq!(chain["disputes"], json!([]));
}

#[tokio::test]
async fn what_can_be_told_at_once_is() {
    let world = World::new(&[]).await;
    world.organization("acme", json!({})).await;
    let nobody = RechargeId::for_trigger(&id("nobody"));
    assert_eq!(refund(&world, nobody, "", json!({ "reason": "x" })).await.body["code"], "unknown_recharge");
    record_recharge(&world, &id("evt_1"), "action_required").await;
    let recharge = RechargeId::for_trigger(&id("evt_1"));
    let got = refund(&world, recharge, "", json!({ "reason": "x" })).await;
    assert_eq!((got.status, &got.body["code"]), (409, &json!("not_captured")));
    sqlx::query("UPDATE recharge_records SET status = 'settled', refunded_amount = 60, refunded_total = 60")
        .execute(&world.pool)
        .await
        .unwrap();
    for bad in [json!(0), json!(-1), json!("40.01"), json!(1.001), json!("x"), json!(100)] {
        let got = refund(&world, recharge, "", json!({ "amount": bad, "reason": "x" })).await;
        assert_eq!((got.status, got.fields()), (400, vec!["amount".to_owned()]), "{bad}");
    }
    for reason in [json!(null), json!(""), json!("x".repeat(501)), json!(1)] {
        assert_eq!(refund(&world, recharge, "", json!({ "reason": reason })).await.fields(), ["reason"]);
    }
    assert_eq!(world.count("REQUESTS", "requests.>").await, 0);
    let got = refund(&world, recharge, "", json!({ "amount": 40, "reason": "x" })).await;
    assert_eq!((got.status, &got.body["accepted"]), (202, &json!(true)), "{got:?}");
}

#[tokio::test]
async fn a_refund_that_does_not_work_yet_is_said() {
    let world = World::new(&[("API_WAIT_MS", "10000")]).await;
    world.organization("acme", json!({})).await;
    record_recharge(&world, &id("evt_1"), "settled").await;
    let recharge_id = RechargeId::for_trigger(&id("evt_1"));
    let play = async {
        let asked = trigger_on(&world, "requests.refund.acme").await;
        let failed = RechargeRefundFailedV1 {
            recharge_id,
            total: usd(10_000),
            reason: "insufficient balance".to_owned(),
            attempts: 1,
            refund_id: None,
            amount: None,
            was_refunded: false,
        };
        world.soon(&asked, "acme", failed);
    };
    let (got, ()) = tokio::join!(refund(&world, recharge_id, "", json!({ "reason": "x" })), play);
    assert_eq!((got.status, &got.body["success"], &got.body["action"]), (200, &json!(false), &json!("refund_failed")));
    assert_eq!(got.body["reason"], "insufficient balance");

    // The recharger's no, told now and found in its log later.
    let key = EventId::from_body("req", format!("refund\n{recharge_id}\nk9").as_bytes());
    let skipped = RechargeSkippedV1 {
        trigger_event_id: key.clone(),
        triggered_by: TriggerKind::Manual,
        reason: SkipReason::AlreadyRefunded,
        detail: "60 of 100 went back".to_owned(),
        recharge_id: Some(recharge_id),
    };
    world.soon(&key, "acme", skipped);
    let told = refund(&world, recharge_id, "k9", json!({ "reason": "x" })).await;
    record_event(&world, &key, "skipped", Some("already_refunded")).await;
    for got in [told, refund(&world, recharge_id, "k9", json!({ "reason": "x" })).await] {
        assert_eq!((got.status, &got.body["code"]), (409, &json!("already_refunded")), "{got:?}");
        assert_eq!(got.body["event_id"], json!(key));
    }
}

#[tokio::test]
async fn a_webhook_whose_recharge_was_given_back_is_answered_so() {
    let world = World::new(&[("WEBHOOK_WAIT_MS", "2000")]).await;
    world.organization("acme", json!({})).await;
    let text = exceeded("acme").to_string();
    let event = EventId::from_body("evt", text.as_bytes());
    let recharge = RechargeId::for_trigger(&event);
    assert_eq!(world.send(world.hook(&text).header("prefer", "respond-async")).await.status, 202);
    record_event(&world, &event, "charge", None).await;
    record_recharge(&world, &event, "refunding").await;
    let status = async || world.get(&format!("/api/events/{event}")).await.body;
    assert_eq!((&status().await["state"], &status().await["action"]), (&json!("refunding"), &Value::Null));
    sqlx::query(
        "UPDATE recharge_records SET status = 'refunded', undo_cause = 'sync_failed', undo_reason = 'the backend refused',
                refunded_amount = 100, refunded_total = 100, ended_at = now()",
    )
    .execute(&world.pool)
    .await
    .unwrap();
    let got = status().await;
    assert_eq!(
        (&got["state"], &got["action"], &got["success"]),
        (&json!("refunded"), &json!("refunded"), &json!(false))
    );
    assert_eq!(
        (&got["reason"], &got["recharge"]["undo_cause"]),
        (&json!("the backend refused"), &json!("sync_failed"))
    );
    let again = world.send(world.hook(&text)).await;
    assert_eq!((again.status, &again.body["action"], &again.body["success"]), (200, &json!("refunded"), &json!(false)));

    // What waits for its customer says where, in the answer and in the history.
    sqlx::query("UPDATE recharge_records SET status = 'action_required', confirm_by = now() + interval '1 day'")
        .execute(&world.pool)
        .await
        .unwrap();
    let again = world.send(world.hook(&text)).await;
    let link = PayLinks::new(Secret::new(PAY_SECRET), &world.url("")).url(recharge);
    assert_eq!((&again.body["action"], &again.body["confirmation_url"]), (&json!("action_required"), &json!(link)));
    assert!(again.body["expires_at"].is_string());
    let one = world.get(&format!("/api/recharges/{recharge}")).await.body;
    assert_eq!((&one["confirmation_url"], one["expires_at"].is_string()), (&json!(link), true));
}
