//! What comes after an undo, or in its way: refunds that are sent back, refunds of somebody else's, disputes that are lost.

use common::contract::{
    DisputeStage, Event, LimitExceededV1, QuotaFailedV1, QuotaLowV1, RechargeChargedV1, RechargeDisputedV1,
    RechargeRefundFailedV1, RechargeRefundedV1, RechargeRequestedV1, RechargeSkippedV1, RefundCause, RefundRequestedV1,
    SkipReason, StripeEventV1,
};
use common::ids::{EventId, OrganizationId};
use common::money::{Currency, Money};
use common::worker::Handler;
use recharger::{OnSyncFailure, Rules};
use rust_decimal::Decimal;
use serde_json::json;

use crate::undo::{MINUTES, Scene, decode, refund_at_stripe, subjects};
use crate::world::{at, delivery, exceeded, rules};

/// The newest refund at Stripe.
async fn newest_refund(scene: &Scene) -> anyhow::Result<String> {
    let sql = "SELECT stripe_refund_id FROM refunds WHERE stripe_refund_id IS NOT NULL ORDER BY created_at DESC, refund_key DESC LIMIT 1";
    Ok(sqlx::query_scalar(sql).fetch_one(&scene.world.pool).await?)
}

async fn settle(scene: &Scene, refund: &str, outcome: &str) -> anyhow::Result<()> {
    scene.world.sim(&format!("refunds/{refund}/settle"), &json!({ "outcome": outcome })).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_that_comes_back_is_told_although_the_first_telling_was_lost() -> anyhow::Result<()> {
    let scene = Scene::new("pm_card_visa").await?;
    let charged = scene.charged().await?;
    scene.later(MINUTES(11)).await?;
    assert_eq!(scene.state(charged.recharge_id).await?, "refunded");
    let refund = newest_refund(&scene).await?;
    settle(&scene, &refund, "failed").await?;
    let data = StripeEventV1 {
        stripe_event_id: "evt_late".to_owned(),
        stripe_type: "refund.failed".to_owned(),
        object_id: refund.clone(),
        payment_intent_id: Some(charged.payment_intent_id.clone()),
        customer_id: None,
        recharge_id: None,
    };
    let event = Event::first(EventId::parse("stripe_evt_late")?, None, scene.now(), data).outgoing()?;
    // The first time it is not published, and Stripe's sibling events come in between.
    let lost: RechargeRefundFailedV1 = decode(&scene.recharger.handle(&delivery(&event, 1)).await?);
    scene.stripe_says("refund.updated", &charged).await?;
    scene.stripe_says("charge.refunded", &charged).await?;
    let again: RechargeRefundFailedV1 = decode(&scene.recharger.handle(&delivery(&event, 2)).await?);
    assert_eq!((lost.was_refunded, &lost), (true, &again));
    // And the patrol says it, should nobody have.
    let said = scene.later(MINUTES(2)).await?;
    assert!(subjects(&said).contains(&"recharges.refund_failed.acme"), "{:?}", subjects(&said));
    scene.later(MINUTES(5)).await?;
    assert_eq!(scene.state(charged.recharge_id).await?, "refunded");
    assert_eq!(scene.world.held().await?, 0);
    scene.world.remove().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undo_that_relied_on_somebody_elses_refund_makes_its_own_when_that_fails() -> anyhow::Result<()> {
    let scene = Scene::new("pm_card_pendingRefund").await?;
    let charged = scene.charged().await?;
    refund_at_stripe(&scene, &charged, None).await?;
    scene.stripe_says("charge.refunded", &charged).await?;
    let theirs = newest_refund(&scene).await?;
    scene.later(MINUTES(11)).await?;
    assert_eq!(scene.state(charged.recharge_id).await?, "refunding");
    settle(&scene, &theirs, "failed").await?;
    scene.stripe_says("refund.failed", &charged).await?;
    scene.later(MINUTES(5)).await?;
    let ours = newest_refund(&scene).await?;
    assert_ne!(ours, theirs);
    settle(&scene, &ours, "succeeded").await?;
    scene.later(MINUTES(60)).await?;
    assert_eq!(scene.state(charged.recharge_id).await?, "refunded");
    assert_eq!(scene.world.held().await?, 0);
    scene.world.remove().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_refund_that_comes_back_stands_only_where_the_recharge_had_settled() -> anyhow::Result<()> {
    let scene = Scene::new("pm_card_visa").await?;
    let charged = scene.charged().await?;
    refund_at_stripe(&scene, &charged, None).await?;
    scene.stripe_says("charge.refunded", &charged).await?;
    assert_eq!(scene.state(charged.recharge_id).await?, "refunded");
    settle(&scene, &newest_refund(&scene).await?, "failed").await?;
    scene.stripe_says("refund.failed", &charged).await?;
    // Never credited: it is owed.
    assert_eq!(scene.state(charged.recharge_id).await?, "returning");
    scene.later(MINUTES(5)).await?;
    assert_eq!(scene.state(charged.recharge_id).await?, "refunded");
    assert_eq!(scene.world.held().await?, 0);
    scene.world.remove().await?;

    let scene = Scene::new("pm_card_visa").await?;
    let charged = scene.settled().await?;
    refund_at_stripe(&scene, &charged, None).await?;
    scene.stripe_says("charge.refunded", &charged).await?;
    settle(&scene, &newest_refund(&scene).await?, "failed").await?;
    let failed: RechargeRefundFailedV1 = decode(&scene.stripe_says("refund.failed", &charged).await?);
    assert!(failed.was_refunded);
    assert_eq!(scene.state(charged.recharge_id).await?, "settled");
    scene.later(MINUTES(600)).await?;
    assert_eq!(scene.world.held().await?, 20_000);
    scene.world.remove().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dispute_that_is_lost_during_the_undo_ends_it() -> anyhow::Result<()> {
    for credited in [true, false] {
        let scene = Scene::new("pm_card_visa").await?;
        let charged = scene.charged().await?;
        if credited {
            scene.credited(&charged).await?;
        }
        let dispute = scene.world.sim("disputes", &json!({ "payment_intent": charged.payment_intent_id })).await?;
        let said = scene.stripe_says("charge.dispute.created", &charged).await?;
        assert_eq!(said.len(), usize::from(credited), "there is something to hold, or not yet");
        scene.later(MINUTES(20)).await?;
        assert_eq!(scene.state(charged.recharge_id).await?, "refunding");
        let id = dispute["id"].as_str().unwrap();
        scene.world.sim(&format!("disputes/{id}/close"), &json!({ "status": "lost" })).await?;
        let closed = scene.stripe_says("charge.dispute.closed", &charged).await?;
        assert_eq!(scene.state(charged.recharge_id).await?, "refunded");
        let said = scene.later(MINUTES(5)).await?;
        if credited {
            let lost: RechargeDisputedV1 = decode(&closed);
            assert_eq!((lost.stage, lost.amount), (DisputeStage::Lost, charged.amount));
        } else {
            let told: RechargeRefundedV1 = decode(&said);
            assert_eq!((told.cause, told.charge_fully_refunded), (Some(RefundCause::PaymentFailed), true));
        }
        // Nothing is tried any more.
        assert_eq!(subjects(&scene.later(MINUTES(6_000)).await?), Vec::<&str>::new());
        let open: i64 = sqlx::query_scalar("SELECT count(*) FROM refunds WHERE next_at IS NOT NULL")
            .fetch_one(&scene.world.pool)
            .await?;
        assert_eq!(open, 0);
        scene.world.remove().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_decides_about_a_recharge_that_is_held() -> anyhow::Result<()> {
    let scene = Scene::with("pm_card_visa", Rules { on_sync_failure: OnSyncFailure::Hold, ..rules() }).await?;
    let charged = scene.charged().await?;
    scene.credited(&charged).await?;
    let failed = QuotaFailedV1 {
        backend: "kms".to_owned(),
        quota: Decimal::new(20_000, 2),
        ledger_version: 1,
        reason: "503".to_owned(),
        recharge_id: Some(charged.recharge_id),
    };
    scene.hear(failed).await?;
    scene.later(MINUTES(30)).await?;
    assert_eq!(scene.state(charged.recharge_id).await?, "credited");
    let wish = RefundRequestedV1 {
        recharge_id: charged.recharge_id,
        amount: None,
        reason: "the KMS is gone for good".to_owned(),
        requested_by: "operator".to_owned(),
    };
    let refunded: RechargeRefundedV1 = decode(&scene.hear(wish).await?);
    assert_eq!((refunded.cause, refunded.was_credited), (Some(RefundCause::SyncFailed), true));
    assert_eq!(scene.state(charged.recharge_id).await?, "refunded");
    assert_eq!(scene.world.held().await?, 0);
    scene.world.remove().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_card_does_not_lift_what_an_open_dispute_has_paused() -> anyhow::Result<()> {
    let scene = Scene::new("pm_card_visa").await?;
    let charged = scene.settled().await?;
    scene.world.sim("disputes", &json!({ "payment_intent": charged.payment_intent_id })).await?;
    scene.stripe_says("charge.dispute.created", &charged).await?;
    // A person recharges by hand with a card that was stolen: that would pause by itself.
    scene.world.save_another_card("pm_card_chargeDeclinedStolenCard").await?;
    let asked = RechargeRequestedV1 { amount: charged.amount, requested_by: "somebody".to_owned() };
    assert_eq!(subjects(&scene.hear(asked).await?), ["recharges.declined.acme"]);
    scene.world.save_another_card("pm_card_mastercard").await?;
    let said = scene.recharger.handle(&scene.world.limit_exceeded("evt_9", "900", 1)).await?;
    assert_eq!(decode::<RechargeSkippedV1>(&said).reason, SkipReason::Paused);
    scene.world.remove().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_organization_is_charged_no_more_and_what_it_paid_can_be_given_back() -> anyhow::Result<()> {
    let scene = Scene::new("pm_card_visa").await?;
    let charged = scene.settled().await?;
    scene.world.policy("closed_at = now()").await?;
    let low = QuotaLowV1 {
        usage: Decimal::from(700),
        quota: Decimal::from(700),
        available: Decimal::ZERO,
        minimum_balance: Decimal::ONE_HUNDRED,
    };
    let manual = RechargeRequestedV1 { amount: Money::new(5_000, Currency::USD), requested_by: "operator".to_owned() };
    for said in [scene.hear(exceeded("700")).await?, scene.hear(low).await?, scene.hear(manual).await?] {
        assert_eq!(decode::<RechargeSkippedV1>(&said).reason, SkipReason::UnknownOrganization);
    }
    // A team that nobody else has is still its own; but whoever the sender names, and who is there, comes first.
    let beta = OrganizationId::parse("beta")?;
    scene.world.add(&beta, "pm_card_visa").await?;
    for (named, subject) in [(None, "recharges.skipped.acme"), (Some(&beta), "recharges.charged.beta")] {
        let data = LimitExceededV1 { organization_id: named.cloned(), ..exceeded("700") };
        let id = EventId::parse(format!("evt_team_{}", named.is_some()))?;
        let event = Event::first(id, None, at(), data).outgoing()?;
        let said = scene.recharger.handle(&delivery(&event, 1)).await?;
        assert_eq!(subjects(&said), [subject]);
    }
    let refund = RefundRequestedV1 {
        recharge_id: charged.recharge_id,
        amount: None,
        reason: "it has left".to_owned(),
        requested_by: "operator".to_owned(),
    };
    let refunded: RechargeRefundedV1 = decode(&scene.hear(refund).await?);
    assert_eq!((refunded.amount, refunded.charge_fully_refunded), (charged.amount, true));
    scene.world.remove().await
}

/// The database of before the charge, and the streams with the trigger still in them, a day later.
#[tokio::test(flavor = "multi_thread")]
async fn a_trigger_that_comes_back_with_a_backup_finds_its_payment() -> anyhow::Result<()> {
    for by_patrol in [false, true] {
        let scene = Scene::new("pm_card_visa").await?;
        let trigger = scene.world.limit_exceeded("evt_1", "500", 1);
        let first = scene.charged().await?;
        let forgotten = "DELETE FROM recharge_records; DELETE FROM webhook_events; DELETE FROM recharge_state";
        sqlx::raw_sql(forgotten).execute(&scene.world.pool).await?;
        scene.world.sim("clock", &json!({ "advance_seconds": 25 * 3_600 })).await?;
        scene.later(MINUTES(25 * 60)).await?;
        let said = if by_patrol {
            // Whoever claims it anew can't ask Stripe.
            scene.world.sim("config", &json!({ "secret_key": "sk_test_of_somebody_else" })).await?;
            assert!(scene.recharger.handle(&trigger).await.is_err());
            scene.world.sim("config", &json!({ "secret_key": "sk_test_1" })).await?;
            scene.later(MINUTES(2)).await?
        } else {
            scene.recharger.handle(&trigger).await?
        };
        let again: RechargeChargedV1 = decode(&said);
        assert_eq!(again.payment_intent_id, first.payment_intent_id, "by the patrol: {by_patrol}");
        assert_eq!(scene.world.succeeded().await?, 1, "nobody was charged twice; by the patrol: {by_patrol}");
        scene.world.remove().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_given_back_before_the_trigger_came_again_is_given_back() -> anyhow::Result<()> {
    let scene = Scene::new("pm_card_visa").await?;
    let trigger = scene.world.limit_exceeded("evt_1", "500", 1);
    let first = scene.charged().await?;
    refund_at_stripe(&scene, &first, None).await?;
    let forgotten = "DELETE FROM recharge_records; DELETE FROM webhook_events; DELETE FROM recharge_state";
    sqlx::raw_sql(forgotten).execute(&scene.world.pool).await?;
    scene.later(MINUTES(25 * 60)).await?;
    let said = scene.recharger.handle(&trigger).await?;
    assert_eq!(scene.state(first.recharge_id).await?, "refunded", "{:?}", subjects(&said));
    assert_eq!((scene.world.succeeded().await?, scene.world.held().await?), (1, 0));
    scene.world.remove().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_trigger_that_nobody_answered_is_charged_once() -> anyhow::Result<()> {
    let scene = Scene::new("pm_card_visa").await?;
    let trigger = scene.world.limit_exceeded("evt_1", "500", 1);
    scene.later(MINUTES(30 * 60)).await?;
    decode::<RechargeChargedV1>(&scene.recharger.handle(&trigger).await?);
    decode::<RechargeChargedV1>(&scene.recharger.handle(&trigger).await?);
    assert_eq!(scene.world.succeeded().await?, 1);
    scene.world.remove().await
}
