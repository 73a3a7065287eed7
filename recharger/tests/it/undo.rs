//! The way back, with a clock that is moved by hand: deadlines, refunds in every mood of Stripe's, what Stripe tells later.
#![expect(clippy::unwrap_used, reason = "constants of the tests; a wrong one shows at once")]

use std::collections::BTreeMap;
use std::time::Duration;

use common::clock::{Clock, ManualClock, SystemClock};
use common::contract::{
    DisputeStage, EvaluateRequestedV1, Event, Outgoing, Payload, QuotaFailedV1, RechargeActionRequiredV1,
    RechargeChargedV1, RechargeDisputedV1, RechargeRefundFailedV1, RechargeRefundedV1, RechargeSkippedV1,
    RecheckRequestedV1, ReconcileRequestedV1, RefundCause, RefundRequestedV1, SkipReason, StripeEventV1,
};
use common::ids::{EventId, RechargeId};
use common::money::{Currency, Money};
use common::shutdown::Shutdown;
use common::worker::Handler;
use recharger::{OnSyncFailure, Recharger, Rules};
use rust_decimal::Decimal;
use serde_json::json;

use crate::world::{Published, World, booked, delivery, in_force, organization, rules};

/// A recharger whose clock is moved by hand, and what it publishes.
pub(crate) struct Scene {
    pub(crate) world: World,
    clock: ManualClock,
    pub(crate) recharger: Recharger,
    published: Published,
    asked: std::sync::atomic::AtomicU32,
}

impl Scene {
    pub(crate) async fn new(card: &str) -> anyhow::Result<Self> {
        Self::with(card, rules()).await
    }

    pub(crate) async fn with(card: &str, rules: Rules) -> anyhow::Result<Self> {
        let world = World::new(card).await?;
        let clock = ManualClock::new(SystemClock.now());
        let recharger = world.recharger_at(&clock, rules)?;
        Ok(Self { world, clock, recharger, published: Published::default(), asked: 0.into() })
    }

    /// Handles an event that somebody else published.
    pub(crate) async fn hear<T: Payload>(&self, data: T) -> anyhow::Result<Vec<Outgoing>> {
        let number = self.asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let id = EventId::parse(format!("evt_heard_{number}"))?;
        let event = Event::first(id, Some(organization()), self.clock.now(), data).outgoing()?;
        let said = self.recharger.handle(&delivery(&event, 1)).await?;
        let again = self.recharger.handle(&delivery(&event, 2)).await?;
        assert_eq!(
            again.iter().map(|e| &e.id).collect::<Vec<_>>(),
            said.iter().map(|e| &e.id).collect::<Vec<_>>(),
            "{}",
            event.subject
        );
        Ok(said)
    }

    /// A recharge that was charged.
    pub(crate) async fn charged(&self) -> anyhow::Result<RechargeChargedV1> {
        let said = self.recharger.handle(&self.world.limit_exceeded("evt_1", "500", 1)).await?;
        Ok(decode::<RechargeChargedV1>(&said))
    }

    pub(crate) async fn credited(&self, charged: &RechargeChargedV1) -> anyhow::Result<()> {
        let data = booked(charged, 1, charged.amount.minor);
        self.hear(data).await.map(drop)
    }

    pub(crate) async fn synced(&self) -> anyhow::Result<Vec<Outgoing>> {
        let data = in_force(1, 20_000);
        self.hear(data).await
    }

    pub(crate) async fn settled(&self) -> anyhow::Result<RechargeChargedV1> {
        let charged = self.charged().await?;
        self.credited(&charged).await?;
        self.synced().await?;
        assert_eq!(self.state(charged.recharge_id).await?, "settled");
        Ok(charged)
    }

    pub(crate) async fn stripe_says(&self, kind: &str, charged: &RechargeChargedV1) -> anyhow::Result<Vec<Outgoing>> {
        let data = StripeEventV1 {
            stripe_event_id: "evt_stripe".to_owned(),
            stripe_type: kind.to_owned(),
            object_id: charged.payment_intent_id.clone(),
            payment_intent_id: Some(charged.payment_intent_id.clone()),
            customer_id: None,
            recharge_id: Some(charged.recharge_id),
        };
        self.hear(data).await
    }

    pub(crate) async fn later(&self, wait: Duration) -> anyhow::Result<Vec<Outgoing>> {
        self.clock.advance(chrono::Duration::from_std(wait)?);
        self.patrol().await
    }

    pub(crate) async fn patrol(&self) -> anyhow::Result<Vec<Outgoing>> {
        self.recharger.patrol(&self.published, &Shutdown::new()).await?;
        Ok(self.published.take())
    }

    pub(crate) fn now(&self) -> common::clock::Timestamp {
        self.clock.now()
    }

    pub(crate) async fn state(&self, id: RechargeId) -> anyhow::Result<String> {
        self.world.state(id).await
    }
}

pub(crate) const MINUTES: fn(u64) -> Duration = |minutes| Duration::from_secs(minutes * 60);

pub(crate) fn decode<T: Payload>(said: &[Outgoing]) -> T {
    let of_kind: Vec<_> = said.iter().filter(|event| event.subject.starts_with(&format!("{}.", T::KIND))).collect();
    assert_eq!(of_kind.len(), 1, "{} in {:?}", T::KIND, subjects(said));
    Event::<T>::decode(&of_kind[0].body).unwrap().data
}

pub(crate) fn subjects(said: &[Outgoing]) -> Vec<&str> {
    said.iter().map(|event| event.subject.as_str()).collect()
}

/// Two have the trigger at once: one writes down what became of the charge and dies, the other, who knew less, acknowledges
/// it. Found by the model.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_moved_is_said_although_nobody_brings_the_message_again() -> anyhow::Result<()> {
    for (card, status, kind) in [
        ("pm_card_visa", "charged", "recharges.charged.acme"),
        ("pm_card_chargeDeclinedInsufficientFunds", "declined", "recharges.declined.acme"),
        ("pm_card_authenticationRequired", "action_required", "recharges.action_required.acme"),
    ] {
        let scene = Scene::new(card).await?;
        let lost = scene.recharger.handle(&scene.world.limit_exceeded("evt_1", "500", 1)).await?;
        assert_eq!(subjects(&lost), [kind]);
        let said = scene.later(MINUTES(2)).await?;
        assert_eq!(said.iter().map(|event| &event.id).collect::<Vec<_>>(), [&lost[0].id], "{status}");
        assert_eq!(said[0].body, lost[0].body, "{status}");
        assert_eq!(subjects(&scene.later(MINUTES(2)).await?), Vec::<&str>::new(), "{status}");
        scene.world.remove().await?;
    }
    Ok(())
}

/// Found by a fault campaign: the process died before it said that the charge was made, and the next look undid it.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_hears_of_the_refund_has_heard_of_the_charge() -> anyhow::Result<()> {
    let scene = Scene::new("pm_card_visa").await?;
    let lost = scene.recharger.handle(&scene.world.limit_exceeded("evt_1", "500", 1)).await?;
    let said = scene.later(MINUTES(11)).await?;
    assert_eq!(subjects(&said), ["recharges.charged.acme", "recharges.refunded.acme"]);
    assert_eq!((&said[0].id, &said[0].body), (&lost[0].id, &lost[0].body));
    scene.world.remove().await
}

/// Found by a fault campaign: a round went on, and the service with it, as long as something came due again.
#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_ends_the_patrol() -> anyhow::Result<()> {
    let scene = Scene::new("pm_card_visa").await?;
    let charged = scene.charged().await?;
    scene.clock.advance(chrono::Duration::minutes(11));
    let shutdown = Shutdown::new();
    shutdown.give();
    scene.recharger.patrol(&scene.published, &shutdown).await?;
    assert_eq!(scene.state(charged.recharge_id).await?, "charged");
    scene.patrol().await?;
    assert_eq!(scene.state(charged.recharge_id).await?, "refunded");
    scene.world.remove().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_charge_that_the_ledger_does_not_book_in_time_is_given_back_once() -> anyhow::Result<()> {
    let scene = Scene::new("pm_card_visa").await?;
    let charged = scene.charged().await?;
    assert!(charged.credit_by.is_some());
    // What nobody has booked within the lease is told once more.
    assert_eq!(subjects(&scene.later(MINUTES(8)).await?), ["recharges.charged.acme"]);
    assert_eq!(subjects(&scene.later(MINUTES(1)).await?), Vec::<&str>::new());
    assert_eq!(scene.state(charged.recharge_id).await?, "charged");
    let refunded: RechargeRefundedV1 = decode(&scene.later(MINUTES(2)).await?);
    assert_eq!((refunded.total_refunded, refunded.charge_fully_refunded), (charged.total_charge, true));
    assert_eq!((refunded.cause, refunded.was_credited), (Some(RefundCause::CreditOverdue), false));
    assert_eq!(scene.state(charged.recharge_id).await?, "refunded");
    assert_eq!(scene.world.held().await?, 0);
    // A credit that comes all the same changes nothing here, and nothing is given back twice.
    scene.credited(&charged).await?;
    assert_eq!(subjects(&scene.later(MINUTES(600)).await?), Vec::<&str>::new());
    assert_eq!(scene.state(charged.recharge_id).await?, "refunded");
    scene.world.remove().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_that_can_not_be_raised_is_given_back_or_held() -> anyhow::Result<()> {
    let told = |charged: &RechargeChargedV1| QuotaFailedV1 {
        backend: "kms".to_owned(),
        quota: Decimal::new(20_000, 2),
        ledger_version: 1,
        reason: "503".to_owned(),
        recharge_id: Some(charged.recharge_id),
    };
    for (credited_first, say) in [(true, true), (false, true), (true, false)] {
        let scene = Scene::new("pm_card_visa").await?;
        let charged = scene.charged().await?;
        if credited_first {
            scene.credited(&charged).await?;
        }
        if say {
            scene.hear(told(&charged)).await?;
        }
        let said = scene.later(if say { Duration::ZERO } else { MINUTES(17) }).await?;
        // Without the syncer's word the overdue step is seen in one round, and refunded in the same or the next.
        let said = if said.is_empty() { scene.patrol().await? } else { said };
        let refunded: RechargeRefundedV1 = decode(&said);
        assert_eq!((refunded.cause, refunded.was_credited), (Some(RefundCause::SyncFailed), credited_first));
        assert_eq!(scene.state(charged.recharge_id).await?, "refunded");
        assert_eq!(scene.world.held().await?, 0);
        // The quota comes into force too late.
        assert_eq!(subjects(&scene.synced().await?), Vec::<&str>::new());
        // And the same limit is not charged again at once.
        let said = scene.recharger.handle(&scene.world.limit_exceeded("evt_2", "500", 1)).await?;
        assert_eq!(decode::<RechargeSkippedV1>(&said).reason, SkipReason::Cooldown);
        scene.world.remove().await?;
    }
    let scene = Scene::with("pm_card_visa", Rules { on_sync_failure: OnSyncFailure::Hold, ..rules() }).await?;
    let charged = scene.charged().await?;
    scene.credited(&charged).await?;
    scene.hear(told(&charged)).await?;
    scene.later(MINUTES(120)).await?;
    assert_eq!(scene.state(charged.recharge_id).await?, "credited");
    scene.synced().await?;
    assert_eq!(scene.state(charged.recharge_id).await?, "settled");
    assert_eq!(scene.world.held().await?, 20_000);
    scene.world.remove().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_that_stripe_refuses_is_tried_again_until_it_is_made_once() -> anyhow::Result<()> {
    let scene = Scene::new("pm_card_visa").await?;
    let charged = scene.charged().await?;
    scene.world.sim("config", &json!({ "refunds_refuse_next": 3 })).await?;
    let said = scene.later(MINUTES(11)).await?;
    let failed: RechargeRefundFailedV1 = decode(&said);
    assert_eq!((failed.attempts, failed.was_refunded), (1, false));
    assert_eq!(scene.state(charged.recharge_id).await?, "refunding");
    for attempts in [2, 3] {
        let failed: RechargeRefundFailedV1 = decode(&scene.later(MINUTES(10)).await?);
        assert_eq!(failed.attempts, attempts);
    }
    assert_eq!(scene.world.held().await?, 20_000);
    let refunded: RechargeRefundedV1 = decode(&scene.later(MINUTES(10)).await?);
    assert_eq!(refunded.total_refunded, charged.total_charge);
    assert_eq!(scene.world.held().await?, 0);
    assert_eq!(scene.state(charged.recharge_id).await?, "refunded");
    assert_eq!(subjects(&scene.later(MINUTES(600)).await?), Vec::<&str>::new());
    scene.world.remove().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_whose_answer_is_lost_is_made_once() -> anyhow::Result<()> {
    for fault in ["drop_before", "drop_after", "500_before", "500_after", "html502", "429", "slow:700"] {
        let scene = Scene::new("pm_card_visa").await?;
        let charged = scene.charged().await?;
        scene.world.faults(&json!([fault, fault])).await?;
        let mut said = scene.later(MINUTES(11)).await?;
        // A slow answer takes its time at Stripe, whatever our clock says.
        for _ in 0..1_000 {
            said.extend(scene.later(MINUTES(30)).await?);
            if scene.state(charged.recharge_id).await? == "refunded" {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        said.extend(scene.later(MINUTES(600)).await?);
        let back: RechargeRefundedV1 = decode(&said);
        assert_eq!(back.total_refunded, charged.total_charge, "{fault}");
        assert_eq!(scene.world.held().await?, 0, "{fault}");
        assert_eq!(scene.world.books().await?["refunded"]["usd"], 20_000, "{fault}");
        assert_eq!(scene.state(charged.recharge_id).await?, "refunded", "{fault}");
        scene.world.remove().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pending_refund_ends_when_stripe_says_and_one_that_comes_back_is_made_again() -> anyhow::Result<()> {
    let scene = Scene::new("pm_card_pendingRefund").await?;
    let charged = scene.charged().await?;
    scene.later(MINUTES(11)).await?;
    assert_eq!(scene.state(charged.recharge_id).await?, "refunding");
    let id: String = sqlx::query_scalar("SELECT stripe_refund_id FROM refunds").fetch_one(&scene.world.pool).await?;
    scene.world.sim(&format!("refunds/{id}/settle"), &json!({ "outcome": "succeeded" })).await?;
    let refunded: RechargeRefundedV1 = decode(&scene.stripe_says("refund.updated", &charged).await?);
    assert_eq!(refunded.refund_id, id);
    assert_eq!(scene.state(charged.recharge_id).await?, "refunded");
    // Days later, the customer's bank sends it back.
    scene.world.sim(&format!("refunds/{id}/settle"), &json!({ "outcome": "failed" })).await?;
    let data = StripeEventV1 {
        stripe_event_id: "evt_late".to_owned(),
        stripe_type: "refund.failed".to_owned(),
        object_id: id.clone(),
        payment_intent_id: Some(charged.payment_intent_id.clone()),
        customer_id: None,
        recharge_id: None,
    };
    let event = Event::first(EventId::parse("stripe_evt_late")?, None, scene.clock.now(), data).outgoing()?;
    let failed: RechargeRefundFailedV1 = decode(&scene.recharger.handle(&delivery(&event, 1)).await?);
    assert_eq!((failed.was_refunded, failed.refund_id.as_deref()), (true, Some(id.as_str())));
    assert_eq!(scene.state(charged.recharge_id).await?, "returning");
    // Another recharge need not wait for it.
    assert_eq!(scene.world.held().await?, 20_000);
    scene.later(MINUTES(5)).await?;
    let ids: Vec<String> = sqlx::query_scalar("SELECT stripe_refund_id FROM refunds WHERE status = 'pending'")
        .fetch_all(&scene.world.pool)
        .await?;
    assert_eq!(ids.len(), 1);
    scene.world.sim(&format!("refunds/{}/settle", ids[0]), &json!({ "outcome": "succeeded" })).await?;
    let refunded: RechargeRefundedV1 = decode(
        &scene
            .stripe_says("refund.updated", &charged)
            .await?
            .into_iter()
            .filter(|event| !String::from_utf8_lossy(&event.body).contains(&id))
            .collect::<Vec<_>>(),
    );
    assert_eq!(refunded.refund_id, ids[0]);
    assert_eq!(scene.state(charged.recharge_id).await?, "refunded");
    assert_eq!(scene.world.held().await?, 0);
    scene.world.remove().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_made_at_stripe_is_seen_and_an_undo_does_not_give_more_than_the_rest() -> anyhow::Result<()> {
    let scene = Scene::new("pm_card_visa").await?;
    let charged = scene.charged().await?;
    refund_at_stripe(&scene, &charged, Some(5_000)).await?;
    // The undo begins before anybody has heard of it: Stripe refuses more than is left.
    let mut said = scene.later(MINUTES(11)).await?;
    said.extend(scene.later(MINUTES(10)).await?);
    // Said again where nobody is sure that it was said: the id is the same.
    let refunds: BTreeMap<String, i64> = said
        .iter()
        .filter(|event| event.subject == "recharges.refunded.acme")
        .map(|event| Event::<RechargeRefundedV1>::decode(&event.body).unwrap().data)
        .map(|refund| (refund.refund_id, refund.total_refunded.minor))
        .collect();
    let mut totals: Vec<i64> = refunds.into_values().collect();
    totals.sort_unstable();
    assert_eq!(totals, [5_000, 15_000]);
    assert_eq!(scene.state(charged.recharge_id).await?, "refunded");
    assert_eq!(scene.world.held().await?, 0);
    scene.world.remove().await?;

    let scene = Scene::new("pm_card_visa").await?;
    let charged = scene.settled().await?;
    refund_at_stripe(&scene, &charged, None).await?;
    let refunded: RechargeRefundedV1 = decode(&scene.stripe_says("charge.refunded", &charged).await?);
    assert_eq!((refunded.cause, refunded.was_credited), (Some(RefundCause::Dashboard), true));
    assert_eq!(scene.state(charged.recharge_id).await?, "refunded");
    scene.world.remove().await
}

pub(crate) async fn refund_at_stripe(
    scene: &Scene,
    charged: &RechargeChargedV1,
    amount: Option<i64>,
) -> anyhow::Result<()> {
    let mut form = format!("payment_intent={}", charged.payment_intent_id);
    if let Some(amount) = amount {
        form.push_str(&format!("&amount={amount}"));
    }
    scene.world.call("refunds", &form).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_refunds_a_part_and_then_the_rest_and_then_nothing() -> anyhow::Result<()> {
    let scene = Scene::new("pm_card_visa").await?;
    let charged = scene.settled().await?;
    let wish = |minor: Option<i64>| RefundRequestedV1 {
        recharge_id: charged.recharge_id,
        amount: minor.map(|minor| Money::new(minor, Currency::USD)),
        reason: "not needed".to_owned(),
        requested_by: "operator".to_owned(),
    };
    let part: RechargeRefundedV1 = decode(&scene.hear(wish(Some(7_500))).await?);
    assert_eq!((part.amount.minor, part.total_refunded.minor, part.charge_fully_refunded), (7_500, 7_500, false));
    assert_eq!(scene.state(charged.recharge_id).await?, "settled");
    let skipped: RechargeSkippedV1 = decode(&scene.hear(wish(Some(12_501))).await?);
    assert_eq!(skipped.reason, SkipReason::AlreadyRefunded);
    let rest: RechargeRefundedV1 = decode(&scene.hear(wish(None)).await?);
    assert_eq!((rest.total_refunded.minor, rest.charge_fully_refunded), (12_500, true));
    assert_eq!(scene.state(charged.recharge_id).await?, "refunded");
    let skipped: RechargeSkippedV1 = decode(&scene.hear(wish(None)).await?);
    assert_eq!(skipped.reason, SkipReason::AlreadyRefunded);
    assert_eq!(scene.world.held().await?, 0);
    scene.world.remove().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_fails_after_it_had_settled_is_a_reversal_like_any_other() -> anyhow::Result<()> {
    let scene = Scene::new("pm_card_visa").await?;
    let charged = scene.settled().await?;
    scene.world.sim(&format!("payment_intents/{}/fail_late", charged.payment_intent_id), &json!({})).await?;
    let refunded: RechargeRefundedV1 = decode(&scene.stripe_says("payment_intent.payment_failed", &charged).await?);
    assert_eq!((refunded.cause, refunded.amount), (Some(RefundCause::PaymentFailed), charged.amount));
    assert_eq!(scene.state(charged.recharge_id).await?, "refunded");
    let said = scene.recharger.handle(&scene.world.limit_exceeded("evt_2", "900", 1)).await?;
    assert_eq!(decode::<RechargeSkippedV1>(&said).reason, SkipReason::Paused);
    scene.world.remove().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dispute_pauses_until_it_is_won() -> anyhow::Result<()> {
    for (outcome, stage) in [("won", DisputeStage::Won), ("lost", DisputeStage::Lost)] {
        let scene = Scene::new("pm_card_visa").await?;
        let charged = scene.settled().await?;
        let dispute = scene.world.sim("disputes", &json!({ "payment_intent": charged.payment_intent_id })).await?;
        let opened: RechargeDisputedV1 = decode(&scene.stripe_says("charge.dispute.created", &charged).await?);
        assert_eq!(
            (opened.stage, opened.amount, opened.total),
            (DisputeStage::Opened, charged.amount, charged.total_charge)
        );
        let said = scene.recharger.handle(&scene.world.limit_exceeded("evt_2", "900", 1)).await?;
        assert_eq!(decode::<RechargeSkippedV1>(&said).reason, SkipReason::Paused);
        let id = dispute["id"].as_str().unwrap();
        scene.world.sim(&format!("disputes/{id}/close"), &json!({ "status": outcome })).await?;
        let closed: RechargeDisputedV1 = decode(&scene.stripe_says("charge.dispute.closed", &charged).await?);
        assert_eq!((closed.stage, closed.amount), (stage, charged.amount));
        let said = scene.recharger.handle(&scene.world.limit_exceeded("evt_3", "900", 1)).await?;
        let paused = subjects(&said) == ["recharges.skipped.acme"];
        assert_eq!(paused, stage == DisputeStage::Lost);
        scene.world.remove().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bank_wants_the_customer_who_comes_or_does_not() -> anyhow::Result<()> {
    // The customer comes: the same payment succeeds.
    let scene = Scene::new("pm_card_authenticationRequired").await?;
    let said = scene.recharger.handle(&scene.world.limit_exceeded("evt_1", "500", 1)).await?;
    let asked: RechargeActionRequiredV1 = decode(&said);
    let link = asked.confirmation_url.clone().unwrap();
    assert!(link.starts_with("http://bill.test/pay/"), "{link}");
    assert_eq!(rules().links.verify(link.rsplit('/').next().unwrap()), Some(asked.recharge_id));
    let said = scene.recharger.handle(&scene.world.limit_exceeded("evt_2", "600", 1)).await?;
    assert_eq!(decode::<RechargeSkippedV1>(&said).reason, SkipReason::InFlight);
    let intent = asked.payment_intent_id.clone().unwrap();
    let card: String =
        sqlx::query_scalar("SELECT payment_method_id FROM recharge_records").fetch_one(&scene.world.pool).await?;
    let form = format!("return_url=http://bill.test&payment_method={card}");
    scene.world.call(&format!("payment_intents/{intent}/confirm"), &form).await?;
    scene.world.sim(&format!("payment_intents/{intent}/authenticate"), &json!({ "outcome": "succeeded" })).await?;
    let recheck = RecheckRequestedV1 { recharge_id: asked.recharge_id, requested_by: "customer".to_owned() };
    let charged: RechargeChargedV1 = decode(&scene.hear(recheck).await?);
    assert_eq!(charged.payment_intent_id, intent);
    assert_eq!(scene.world.held().await?, 20_000);
    scene.world.remove().await?;

    // Nobody comes: after a day the payment is canceled, and automatic recharge pauses.
    let scene = Scene::new("pm_card_authenticationRequired").await?;
    let said = scene.recharger.handle(&scene.world.limit_exceeded("evt_1", "500", 1)).await?;
    let asked: RechargeActionRequiredV1 = decode(&said);
    scene.later(MINUTES(60)).await?;
    assert_eq!(scene.state(asked.recharge_id).await?, "action_required");
    let said = scene.later(MINUTES(24 * 60)).await?;
    assert_eq!(subjects(&said), ["recharges.declined.acme"]);
    assert_eq!(scene.state(asked.recharge_id).await?, "declined");
    let said = scene.recharger.handle(&scene.world.limit_exceeded("evt_2", "600", 1)).await?;
    assert_eq!(decode::<RechargeSkippedV1>(&said).reason, SkipReason::Paused);
    scene.world.remove().await?;

    // Another card was saved meanwhile: the old payment is canceled at once.
    let scene = Scene::new("pm_card_authenticationRequired").await?;
    scene.recharger.handle(&scene.world.limit_exceeded("evt_1", "500", 1)).await?;
    scene.world.save_another_card("pm_card_visa").await?;
    scene.hear(EvaluateRequestedV1 { reason: "card_changed".to_owned(), requested_by: "a".to_owned() }).await?;
    assert_eq!(subjects(&scene.patrol().await?), ["recharges.declined.acme"]);
    let said = scene.recharger.handle(&scene.world.limit_exceeded("evt_3", "500", 1)).await?;
    assert_eq!(subjects(&said), ["recharges.charged.acme"]);
    scene.world.remove().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_processing_payment_is_watched_without_a_message() -> anyhow::Result<()> {
    for (outcome, subject) in [("succeeded", "recharges.charged.acme"), ("failed", "recharges.declined.acme")] {
        let scene = Scene::new("pm_card_sim_processing").await?;
        let said = scene.recharger.handle(&scene.world.limit_exceeded("evt_1", "500", 1)).await?;
        assert_eq!(subjects(&said), Vec::<&str>::new());
        assert_eq!(subjects(&scene.later(MINUTES(5)).await?), Vec::<&str>::new());
        let intent: String =
            sqlx::query_scalar("SELECT payment_intent_id FROM recharge_records").fetch_one(&scene.world.pool).await?;
        scene.world.sim(&format!("payment_intents/{intent}/settle"), &json!({ "outcome": outcome })).await?;
        assert_eq!(subjects(&scene.later(MINUTES(10)).await?), [subject]);
        scene.world.remove().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_whose_message_is_lost_goes_on_and_an_old_one_is_looked_for() -> anyhow::Result<()> {
    // (fault, after how long, whether there is a charge then)
    for (fault, minutes, charged) in [
        ("drop_before", 1, true),
        ("drop_after", 1, true),
        ("500_after", 1, true),
        ("drop_after", 25 * 60, true),
        ("500_after", 25 * 60, true),
        ("drop_before", 25 * 60, false),
        ("500_before", 25 * 60, false),
    ] {
        let scene = Scene::new("pm_card_visa").await?;
        scene.world.faults(&json!([fault])).await?;
        assert!(scene.recharger.handle(&scene.world.limit_exceeded("evt_1", "500", 1)).await.is_err(), "{fault}");
        if minutes > 60 {
            scene.world.sim("clock", &json!({ "advance_seconds": minutes * 60 })).await?;
        }
        let mut said = scene.later(MINUTES(minutes)).await?;
        for _ in 0..1_000 {
            said.extend(scene.later(MINUTES(1)).await?);
            if !said.is_empty() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let want = if charged { "recharges.charged.acme" } else { "recharges.declined.acme" };
        assert!(subjects(&said).contains(&want), "{fault} {minutes}: {:?}", subjects(&said));
        assert_eq!(scene.world.succeeded().await?, i64::from(charged), "{fault} {minutes}");
        scene.world.remove().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn reconciliation_finds_and_repairs_what_no_event_told() -> anyhow::Result<()> {
    let scene = Scene::new("pm_card_visa").await?;
    let charged = scene.settled().await?;
    let since = scene.clock.now() - chrono::Duration::days(1);
    scene.clock.advance(chrono::Duration::minutes(5));
    let run = |name: &str| ReconcileRequestedV1 { run_id: name.to_owned(), since, requested_by: "test".to_owned() };
    let kinds = async |run: &str| -> anyhow::Result<Vec<(String, String)>> {
        let sql = "SELECT kind, action FROM reconciliation_findings WHERE run_id = $1 ORDER BY id";
        Ok(sqlx::query_as(sql).bind(run).fetch_all(&scene.world.pool).await?)
    };
    scene.hear(run("healthy")).await?;
    assert_eq!(kinds("healthy").await?, []);
    // Refunded at Stripe, and the webhook never came.
    refund_at_stripe(&scene, &charged, None).await?;
    let event = Event::first(EventId::parse("evt_rec")?, None, scene.clock.now(), run("refund")).outgoing()?;
    let refunded: RechargeRefundedV1 = decode(&scene.recharger.handle(&delivery(&event, 1)).await?);
    assert_eq!(refunded.cause, Some(RefundCause::Dashboard));
    assert_eq!(kinds("refund").await?, [("refund_not_recorded".to_owned(), "repaired".to_owned())]);
    // A payment that names a recharge that nobody claimed.
    let form = format!(
        "amount=1000&currency=usd&confirm=true&off_session=true&payment_method=pm_card_visa&metadata[recharge_id]={}",
        uuid::Uuid::nil()
    );
    scene.world.call("payment_intents", &form).await?;
    scene.clock.advance(chrono::Duration::minutes(5));
    scene.hear(run("orphan")).await?;
    assert_eq!(kinds("orphan").await?, [("charge_unknown".to_owned(), "reported".to_owned())]);
    scene.world.remove().await
}
