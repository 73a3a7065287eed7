//! Refunds, disputes, and what there is to compare.

use common::clients::stripe::{
    Captured, ChargeOutcome, DisputeStatus, FaultKind, RefundOrder, RefundStatus, StripeFault,
};
use common::clock::Timestamp;
use serde_json::json;

use super::{Shop, acme, recharge_id, refusal, usd};

fn refund_of(paid: &Captured, key: &str, minor: i64) -> RefundOrder {
    RefundOrder {
        refund_key: format!("refund-{key}"),
        idempotency_key: format!("idempotency-{key}"),
        recharge_id: recharge_id("r1"),
        organization: acme(),
        payment_intent_id: paid.payment_intent_id.clone(),
        amount: usd(minor),
    }
}

#[tokio::test]
async fn a_charge_says_when_it_was_made() {
    let shop = Shop::with("pm_card_visa").await;
    let paid = shop.paid("r1").await;
    let intents = shop.stripe.list_intents_since(Timestamp::UNIX_EPOCH, None).await.unwrap().0;
    assert_eq!(paid.captured_at, Some(intents[0].created));
    assert!(paid.captured_at.unwrap() > Timestamp::UNIX_EPOCH);
}

#[tokio::test]
async fn a_refund_is_made_once_and_seen_as_it_was_ordered() {
    let shop = Shop::with("pm_card_visa").await;
    let paid = shop.paid("r1").await;
    let order = refund_of(&paid, "a", 1_000);
    let refund = shop.stripe.refund(&order).await.unwrap();
    assert_eq!(refund.status, RefundStatus::Succeeded);
    assert_eq!(refund.amount, usd(1_000));
    assert_eq!(refund.refund_key.as_deref(), Some("refund-a"));
    assert_eq!(refund.recharge_id, Some(recharge_id("r1")));
    assert_eq!(refund.payment_intent_id.as_ref(), Some(&paid.payment_intent_id));
    assert_eq!(refund.charge_id, paid.charge_id);
    assert_eq!(shop.stripe.refund(&order).await.unwrap(), refund);
    assert_eq!(shop.stripe.read_refund(&refund.refund_id).await.unwrap(), refund);
    assert_eq!(shop.stripe.list_refunds(&paid.payment_intent_id).await.unwrap(), [refund]);
    assert_eq!(shop.books().await["refunded"]["usd"], 1_000);
    let missing = shop.stripe.read_refund("re_missing").await.unwrap_err();
    assert_eq!(refusal(missing), "resource_missing");
}

#[tokio::test]
async fn a_refusal_to_refund_has_its_code_and_is_replayed() {
    let shop = Shop::with("pm_card_visa").await;
    let paid = shop.paid("r1").await;
    shop.sim("config", json!({ "refunds_refuse_next": 1 })).await;
    for _ in 0..2 {
        let fault = shop.stripe.refund(&refund_of(&paid, "a", 2_500)).await.unwrap_err();
        assert_eq!(refusal(fault), "balance_insufficient");
    }
    assert_eq!(shop.books().await["idempotent_replays"], 1);
    shop.stripe.refund(&refund_of(&paid, "b", 2_500)).await.unwrap();
    let fault = shop.stripe.refund(&refund_of(&paid, "c", 1)).await.unwrap_err();
    assert_eq!(refusal(fault), "charge_already_refunded");
    let other = shop.paid("r2").await;
    shop.sim("disputes", json!({ "payment_intent": other.payment_intent_id })).await;
    let fault = shop.stripe.refund(&refund_of(&other, "d", 2_500)).await.unwrap_err();
    assert_eq!(refusal(fault), "charge_disputed");
    let fault = shop.stripe.refund(&refund_of(&paid, "b", 2_499)).await.unwrap_err();
    assert_eq!(refusal(fault), "idempotency_error");
    assert_eq!(shop.books().await["refunded"]["usd"], 2_500);
}

#[tokio::test]
async fn a_refund_whose_answer_was_lost_is_not_made_twice() {
    let shop = Shop::with("pm_card_visa").await;
    let paid = shop.paid("r1").await;
    shop.sim("faults", json!(["drop_after", "ok", "500_after", "html502", "429"])).await;
    let lost = shop.stripe.refund(&refund_of(&paid, "a", 1_000)).await.unwrap_err();
    assert_eq!(lost.kind, FaultKind::Unknown { replayed: false });
    let again = shop.stripe.refund(&refund_of(&paid, "a", 1_000)).await.unwrap();
    // Made, but answered with a 500, which comes again for ever: only the list tells.
    for kind in [
        FaultKind::Unknown { replayed: false },
        FaultKind::Unknown { replayed: false },
        FaultKind::Busy,
        FaultKind::Unknown { replayed: true },
        FaultKind::Unknown { replayed: true },
    ] {
        assert_eq!(shop.stripe.refund(&refund_of(&paid, "b", 500)).await.unwrap_err().kind, kind);
    }
    let listed = shop.stripe.list_refunds(&paid.payment_intent_id).await.unwrap();
    let keys: Vec<_> = listed.iter().map(|refund| refund.refund_key.as_deref().unwrap()).collect();
    assert_eq!(keys, ["refund-b", "refund-a"]);
    assert_eq!(listed[1], again);
    assert_eq!(shop.books().await["refunded"]["usd"], 1_500);
}

#[tokio::test]
async fn a_refund_that_waits_may_fail() {
    let shop = Shop::with("pm_card_visa").await;
    let paid = shop.paid("r1").await;
    shop.sim("config", json!({ "refunds": "pending" })).await;
    let refund = shop.stripe.refund(&refund_of(&paid, "a", 2_500)).await.unwrap();
    assert_eq!(refund.status, RefundStatus::Pending);
    let settle = format!("refunds/{}/settle", refund.refund_id);
    shop.sim(&settle, json!({ "outcome": "failed" })).await;
    let failed = shop.stripe.read_refund(&refund.refund_id).await.unwrap();
    assert_eq!(failed.status, RefundStatus::Failed);
    assert_eq!(failed.failure_reason.as_deref(), Some("expired_or_canceled_card"));
}

#[tokio::test]
async fn every_page_of_refunds_is_read() {
    let shop = Shop::with("pm_card_visa").await;
    let paid = shop.paid("r1").await;
    let other = shop.paid("r2").await;
    shop.stripe.refund(&refund_of(&other, "other", 1)).await.unwrap();
    for number in 0..205 {
        shop.stripe.refund(&refund_of(&paid, &number.to_string(), 1)).await.unwrap();
    }
    let listed = shop.stripe.list_refunds(&paid.payment_intent_id).await.unwrap();
    let keys: Vec<_> = listed.iter().map(|refund| refund.refund_key.clone().unwrap()).collect();
    let wanted: Vec<_> = (0..205).rev().map(|number| format!("refund-{number}")).collect();
    assert_eq!(keys, wanted);

    let (mut pages, mut after) = (Vec::new(), None);
    loop {
        let (page, next) = shop.stripe.list_refunds_since(Timestamp::UNIX_EPOCH, after.as_deref()).await.unwrap();
        pages.push(page.len());
        after = next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(pages, [100, 100, 6]);
    assert_eq!(shop.stripe.list_refunds("pi_without_any").await.unwrap(), []);
}

#[tokio::test]
async fn payment_intents_are_listed_from_a_moment_on() {
    let shop = Shop::with("pm_card_visa").await;
    let first = shop.paid("early").await;
    shop.sim("clock", json!({ "advance_seconds": 60 })).await;
    let second = shop.paid("r1").await;
    shop.stripe.refund(&refund_of(&second, "a", 700)).await.unwrap();
    let since = second.captured_at.unwrap();
    let (seen, next) = shop.stripe.list_intents_since(since, None).await.unwrap();
    assert_eq!((seen.len(), next), (1, None));
    let seen = &seen[0];
    assert_eq!(seen.payment_intent_id, second.payment_intent_id);
    assert_eq!((seen.recharge_id, seen.organization.as_ref()), (Some(recharge_id("r1")), Some(&acme())));
    assert_eq!(seen.customer_id.as_ref(), Some(&shop.customer));
    assert_eq!((seen.amount, seen.received, seen.refunded), (2_500, 2_500, 700));
    assert_eq!((seen.status.as_str(), seen.currency.as_str(), seen.created), ("succeeded", "usd", since));

    // Somebody else's, and not paid.
    let url = format!("{}/v1/payment_intents", shop.server.url());
    let request = shop.http.post(url).bearer_auth("sk_test_1").body("amount=50&currency=eur&metadata[recharge_id]=x");
    assert_eq!(request.send().await.unwrap().status(), 200);
    for number in 0..99 {
        shop.paid(&format!("more-{number}")).await;
    }
    let (page, next) = shop.stripe.list_intents_since(since, None).await.unwrap();
    assert_eq!(page.len(), 100);
    let theirs = &page[99];
    assert_eq!((theirs.recharge_id, theirs.organization.as_ref(), theirs.customer_id.as_ref()), (None, None, None));
    assert_eq!((theirs.received, theirs.refunded, theirs.currency.as_str()), (0, 0, "eur"));
    let (page, next) = shop.stripe.list_intents_since(since, next.as_deref()).await.unwrap();
    assert_eq!((page.len(), next), (1, None));
    let after = Some(page[0].payment_intent_id.as_str());
    let (older, _) = shop.stripe.list_intents_since(first.captured_at.unwrap(), after).await.unwrap();
    assert_eq!(older[0].payment_intent_id, first.payment_intent_id);
}

#[tokio::test]
async fn disputes_say_where_the_money_is() {
    let shop = Shop::with("pm_card_visa").await;
    let cases = [
        (json!({}), "won", DisputeStatus::Open, DisputeStatus::Won),
        (json!({ "amount": 900 }), "lost", DisputeStatus::Open, DisputeStatus::Lost),
        (json!({ "inquiry": true }), "warning_closed", DisputeStatus::Inquiry, DisputeStatus::Inquiry),
    ];
    for (number, (mut body, end, before, after)) in cases.into_iter().enumerate() {
        let paid = shop.paid(&format!("r{number}")).await;
        assert_eq!(shop.stripe.list_disputes(&paid.payment_intent_id).await.unwrap(), []);
        body["payment_intent"] = json!(paid.payment_intent_id);
        let amount = usd(body["amount"].as_i64().unwrap_or(2_500));
        shop.sim("disputes", body).await;
        let seen = shop.stripe.list_disputes(&paid.payment_intent_id).await.unwrap();
        let [dispute] = seen.as_slice() else { unreachable!("{seen:?}") };
        assert_eq!((dispute.status, dispute.amount, dispute.reason.as_str()), (before, amount, "fraudulent"));
        assert_eq!(dispute.payment_intent_id.as_ref(), Some(&paid.payment_intent_id));
        assert_eq!(dispute.charge_id, paid.charge_id);
        shop.sim(&format!("disputes/{}/close", dispute.dispute_id), json!({ "status": end })).await;
        assert_eq!(shop.stripe.list_disputes(&paid.payment_intent_id).await.unwrap()[0].status, after);
    }
}

#[tokio::test]
async fn money_that_is_taken_back_late_is_no_longer_captured() {
    let shop = Shop::with("pm_card_visa").await;
    let paid = shop.paid("r1").await;
    shop.sim(&format!("payment_intents/{}/fail_late", paid.payment_intent_id), json!({})).await;
    let outcome = shop.stripe.read_charge(&paid.payment_intent_id, usd(2_500)).await.unwrap();
    let ChargeOutcome::Fault(StripeFault { kind: FaultKind::Declined { code, .. }, .. }) = outcome else {
        unreachable!("{outcome:?}")
    };
    assert_eq!(code, "debit_not_authorized");
    let seen = shop.stripe.list_intents_since(Timestamp::UNIX_EPOCH, None).await.unwrap().0;
    assert_eq!((seen[0].status.as_str(), seen[0].received), ("requires_payment_method", 0));
    let fault = shop.stripe.refund(&refund_of(&paid, "a", 2_500)).await.unwrap_err();
    assert_eq!(refusal(fault), "payment_intent_unexpected_state");
}

#[tokio::test]
async fn a_saved_card_is_read_again() {
    let shop = Shop::with("pm_card_visa").await;
    let card = shop.stripe.read_payment_method(&shop.card).await.unwrap();
    assert_eq!(
        (card.id, card.brand.as_deref(), card.last4.as_deref()),
        (shop.card.clone(), Some("visa"), Some("4242"))
    );
    assert!(card.fingerprint.is_some());
    let fault = shop.stripe.read_payment_method("pm_missing").await.unwrap_err();
    assert_eq!(refusal(fault), "resource_missing");
}
