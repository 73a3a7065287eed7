//! Every card that Stripe's documentation offers for declines: nothing is booked, nothing is raised, and answer and
//! history say why.

use e2e::client::limit_exceeded;
use e2e::{Options, Stack, books};
use serde_json::json;

/// Payment method, Stripe's code, the bank's reason, whether automatic recharge pauses at once.
const CARDS: [(&str, &str, Option<&str>, bool); 9] = [
    ("pm_card_chargeDeclined", "card_declined", Some("generic_decline"), false),
    ("pm_card_chargeDeclinedInsufficientFunds", "card_declined", Some("insufficient_funds"), false),
    ("pm_card_chargeDeclinedLostCard", "card_declined", Some("lost_card"), true),
    ("pm_card_chargeDeclinedStolenCard", "card_declined", Some("stolen_card"), true),
    ("pm_card_chargeDeclinedExpiredCard", "expired_card", None, true),
    ("pm_card_chargeDeclinedIncorrectCvc", "incorrect_cvc", None, false),
    ("pm_card_chargeDeclinedProcessingError", "processing_error", None, false),
    ("pm_card_chargeCustomerFail", "card_declined", Some("generic_decline"), false),
    ("pm_card_authenticationRequired", "authentication_required", None, false),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_declined_card_changes_nothing_and_says_why() -> anyhow::Result<()> {
    let stack = Stack::start(Options::default()).await?;
    for (index, (card, code, decline_code, pauses)) in CARDS.into_iter().enumerate() {
        let organization = format!("org{index}");
        let team = stack.client.ready_organization(&organization, card, json!({})).await?;
        let (status, answer) =
            stack.client.webhook(&stack.client.ingress, limit_exceeded(&team, "520", "500", index)).await?;
        assert_eq!(status, 200, "{card}: {answer}");
        assert_eq!(answer["success"], false, "{card}: {answer}");
        let bank = code == "authentication_required";
        assert_eq!(answer["action"], if bank { "action_required" } else { "declined" }, "{card}: {answer}");
        let history = stack.client.history(&organization).await?;
        assert_eq!(history.len(), 1, "{card}");
        assert_eq!(history[0]["status"], if bank { "action_required" } else { "declined" }, "{card}");
        assert_eq!(history[0]["failure"]["code"], code, "{card}: {}", history[0]);
        assert_eq!(history[0]["failure"]["decline_code"], json!(decline_code), "{card}: {}", history[0]);
        assert_eq!(history[0]["failure"]["paused"], pauses, "{card}: {}", history[0]);
        // The next trigger is not charged again: back-off follows the outcome, not the balance. What waits for the customer
        // may be paid at any moment, and is in flight.
        let (_, answer) =
            stack.client.webhook(&stack.client.ingress, limit_exceeded(&team, "520", "500", 1000 + index)).await?;
        let reason = match (bank, pauses) {
            (true, _) => "in_flight",
            (false, true) => "paused",
            (false, false) => "cooldown",
        };
        assert_eq!(answer["reason"], reason, "{card}: {answer}");
    }
    let totals = books::quiet_and_balanced(&stack).await?;
    assert_eq!((totals.captured, totals.settled), (0, 0));
    let calls = stack.client.stripe_books().await?["calls"]["POST /v1/payment_intents"].clone();
    assert_eq!(calls, json!(CARDS.len()), "one attempt for each card");
    stack.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_card_lifts_the_pause_that_the_old_one_caused() -> anyhow::Result<()> {
    let stack = Stack::start(Options::default()).await?;
    let team = stack.client.ready_organization("acme", "pm_card_chargeDeclinedLostCard", json!({})).await?;
    let send = |nonce| stack.client.webhook(&stack.client.ingress, limit_exceeded(&team, "520", "500", nonce));
    assert_eq!(send(1).await?.1["action"], "declined");
    assert_eq!(send(2).await?.1["reason"], "paused");
    let card = json!({ "payment_method_id": "pm_card_visa", "set_as_default": true });
    let (status, answer) = stack.client.post("/api/organizations/acme/payment-method", &card).await?;
    assert!(status.is_success(), "{answer}");
    let (_, answer) = send(3).await?;
    assert_eq!(answer["success"], true, "{answer}");
    books::quiet_and_balanced(&stack).await?;
    stack.stop().await
}
