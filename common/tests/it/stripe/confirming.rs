//! The customer confirms, or nobody does any more.

use common::clients::stripe::{ChargeOutcome, Confirmation, FaultKind, StripeFault};
use serde_json::json;

use super::{BACK, Shop, captured, refusal, usd};

fn page(confirmation: Confirmation) -> String {
    match confirmation {
        Confirmation::Redirect { url } => url,
        other @ Confirmation::Outcome(_) => unreachable!("{other:?}"),
    }
}

fn refused_outcome(outcome: ChargeOutcome) -> String {
    match outcome {
        ChargeOutcome::Fault(fault) => refusal(fault),
        other => unreachable!("{other:?}"),
    }
}

#[tokio::test]
async fn what_is_not_paid_can_be_canceled_and_nobody_pays_it_then() {
    let shop = Shop::with("pm_card_authenticationRequired").await;
    let intent = shop.unconfirmed().await;
    page(shop.confirm(&intent, &shop.card, "confirm-1").await.unwrap());
    shop.sim("faults", json!(["drop_after"])).await;
    let lost = shop.stripe.cancel_charge(&intent, "cancel", usd(2_500)).await.unwrap_err();
    assert_eq!(lost.kind, FaultKind::Unknown { replayed: false });
    for key in ["cancel", "another"] {
        let outcome = shop.stripe.cancel_charge(&intent, key, usd(2_500)).await.unwrap();
        assert_eq!(refused_outcome(outcome), "payment_intent_canceled");
    }
    let Confirmation::Outcome(outcome) = shop.confirm(&intent, &shop.card, "confirm-2").await.unwrap() else {
        unreachable!()
    };
    assert_eq!(refused_outcome(outcome), "payment_intent_canceled");
    assert_eq!(shop.books().await["captured"], json!({}));

    let declined = Shop::with("pm_card_chargeDeclined").await;
    let ChargeOutcome::Fault(fault) = declined.stripe.charge(&declined.order("r1", 2_500)).await else {
        unreachable!()
    };
    let FaultKind::Declined { payment_intent_id: Some(id), .. } = fault.kind else { unreachable!() };
    let outcome = declined.stripe.cancel_charge(&id, "cancel", usd(2_500)).await.unwrap();
    assert_eq!(refused_outcome(outcome), "payment_intent_canceled");
    let missing = declined.stripe.cancel_charge("pi_missing", "cancel-2", usd(2_500)).await.unwrap_err();
    assert_eq!(refusal(missing), "resource_missing");
}

#[tokio::test]
async fn what_succeeded_is_not_canceled_but_told() {
    let shop = Shop::with("pm_card_visa").await;
    let paid = shop.paid("r1").await;
    let outcome = shop.stripe.cancel_charge(&paid.payment_intent_id, "cancel", usd(2_500)).await.unwrap();
    assert_eq!(captured(outcome), paid);
    // Nothing to confirm either, and no call that could change something.
    let before = shop.books().await["calls"]["POST /v1/payment_intents/:id/confirm"].clone();
    let Confirmation::Outcome(outcome) = shop.confirm(&paid.payment_intent_id, &shop.card, "confirm").await.unwrap()
    else {
        unreachable!()
    };
    assert_eq!(captured(outcome), paid);
    assert_eq!(shop.books().await["calls"]["POST /v1/payment_intents/:id/confirm"], before);
}

#[tokio::test]
async fn the_customer_confirms_and_the_same_payment_intent_is_paid() {
    let shop = Shop::with("pm_card_authenticationRequired").await;
    let intent = shop.unconfirmed().await;
    let url = page(shop.confirm(&intent, &shop.card, "confirm-1").await.unwrap());
    assert!(url.starts_with(&shop.server.url()), "{url}");
    // The link pressed again: the same page, whatever the key.
    assert_eq!(page(shop.confirm(&intent, &shop.card, "confirm-1").await.unwrap()), url);
    assert_eq!(page(shop.confirm(&intent, &shop.card, "confirm-2").await.unwrap()), url);
    assert_eq!(shop.books().await["calls"]["POST /v1/payment_intents/:id/confirm"], 1);

    let back = shop.press(&url, "failed").await;
    assert!(back.ends_with("redirect_status=failed"), "{back}");
    let outcome = shop.stripe.read_charge(&intent, usd(2_500)).await.unwrap();
    let ChargeOutcome::Fault(StripeFault { kind: FaultKind::Declined { code, .. }, .. }) = outcome else {
        unreachable!("{outcome:?}")
    };
    assert_eq!(code, "payment_intent_authentication_failure");

    let url = page(shop.confirm(&intent, &shop.card, "confirm-3").await.unwrap());
    let back = shop.press(&url, "succeeded").await;
    assert!(back.starts_with(&format!("{BACK}?payment_intent={intent}&")), "{back}");
    assert!(back.ends_with("redirect_status=succeeded"), "{back}");
    let Confirmation::Outcome(outcome) = shop.confirm(&intent, &shop.card, "confirm-4").await.unwrap() else {
        unreachable!()
    };
    let paid = captured(outcome);
    assert_eq!((paid.payment_intent_id, paid.received), (intent, usd(2_500)));
    assert_eq!(shop.books().await["captured"]["usd"], 2_500);
}

#[tokio::test]
async fn a_confirmation_whose_answer_was_lost_is_found_by_the_next() {
    let shop = Shop::with("pm_card_authenticationRequired").await;
    let intent = shop.unconfirmed().await;
    shop.sim("faults", json!(["drop_after"])).await;
    let lost = shop.confirm(&intent, &shop.card, "confirm").await.unwrap_err();
    assert_eq!(lost.kind, FaultKind::Unknown { replayed: false });
    page(shop.confirm(&intent, &shop.card, "confirm").await.unwrap());
    assert_eq!(shop.books().await["calls"]["POST /v1/payment_intents/:id/confirm"], 1);
}

#[tokio::test]
async fn another_card_confirms_without_the_page_or_is_declined() {
    let shop = Shop::with("pm_card_authenticationRequired").await;
    let intent = shop.unconfirmed().await;
    page(shop.confirm(&intent, &shop.card, "confirm-1").await.unwrap());
    let broke = shop.stripe.attach_payment_method("pm_card_chargeDeclinedInsufficientFunds", &shop.customer, "b");
    let broke = broke.await.unwrap();
    let confirmation = shop.confirm(&intent, &broke.id, "confirm-2").await.unwrap();
    let Confirmation::Outcome(ChargeOutcome::Fault(fault)) = confirmation else { unreachable!("{confirmation:?}") };
    let FaultKind::Declined { decline_code, payment_intent_id, .. } = fault.kind else { unreachable!() };
    assert_eq!(decline_code.as_deref(), Some("insufficient_funds"));
    assert_eq!(payment_intent_id.as_ref(), Some(&intent));
    let good = shop.stripe.attach_payment_method("pm_card_visa", &shop.customer, "g").await.unwrap();
    let Confirmation::Outcome(outcome) = shop.confirm(&intent, &good.id, "confirm-3").await.unwrap() else {
        unreachable!()
    };
    assert_eq!(captured(outcome).payment_intent_id, intent);
}
