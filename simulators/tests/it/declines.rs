//! Every test card, off session, by magic token and by number.

use serde_json::json;

use crate::support::Api;

/// token, number, code, decline code, advice code
type Row = (&'static str, &'static str, &'static str, &'static str, &'static str);

const DECLINED: &[Row] = &[
    ("pm_card_chargeDeclined", "4000000000000002", "card_declined", "generic_decline", "try_again_later"),
    ("pm_card_visa_chargeDeclined", "4000000000000002", "card_declined", "generic_decline", "try_again_later"),
    (
        "pm_card_chargeDeclinedInsufficientFunds",
        "4000000000009995",
        "card_declined",
        "insufficient_funds",
        "try_again_later",
    ),
    (
        "pm_card_visa_chargeDeclinedInsufficientFunds",
        "4000000000009995",
        "card_declined",
        "insufficient_funds",
        "try_again_later",
    ),
    ("pm_card_visa_chargeDeclinedLostCard", "4000000000009987", "card_declined", "lost_card", "do_not_try_again"),
    ("pm_card_visa_chargeDeclinedStolenCard", "4000000000009979", "card_declined", "stolen_card", "do_not_try_again"),
    ("pm_card_chargeDeclinedExpiredCard", "4000000000000069", "expired_card", "", "confirm_card_data"),
    ("pm_card_chargeDeclinedIncorrectCvc", "4000000000000127", "incorrect_cvc", "", "confirm_card_data"),
    ("pm_card_chargeDeclinedProcessingError", "4000000000000119", "processing_error", "", "try_again_later"),
    (
        "pm_card_visa_chargeDeclinedVelocityLimitExceeded",
        "4000000000006975",
        "card_declined",
        "card_velocity_exceeded",
        "try_again_later",
    ),
    ("pm_card_radarBlock", "4100000000000019", "card_declined", "fraudulent", "do_not_try_again"),
    ("pm_card_chargeCustomerFail", "4000000000000341", "card_declined", "generic_decline", "try_again_later"),
    ("pm_card_authenticationRequired", "4000002760003184", "authentication_required", "authentication_required", ""),
    (
        "pm_card_authenticationRequiredOnSetup",
        "4000002500003155",
        "authentication_required",
        "authentication_required",
        "",
    ),
];

async fn check(api: &Api, row: &Row, customer: &str, method: &str) {
    let (token, _, code, decline_code, advice_code) = *row;
    let answer = api.charge(customer, method).await;
    assert_eq!(answer.status, 402, "{token}");
    assert_eq!(answer.str("/error/type"), "card_error");
    assert_eq!(answer.str("/error/code"), code, "{token}");
    assert_eq!(answer.str("/error/decline_code"), decline_code, "{token}");
    assert_eq!(answer.str("/error/advice_code"), advice_code, "{token}");
    assert!(!answer.str("/error/message").is_empty());
    assert!(answer.str("/error/doc_url").ends_with(&code.replace('_', "-")));
    assert_eq!(answer.str("/error/payment_method/id"), method);
    let intent = answer.body["error"]["payment_intent"].clone();
    assert_eq!(intent["status"], "requires_payment_method");
    assert_eq!(intent["last_payment_error"]["code"], code);
    assert_eq!(intent["last_payment_error"]["payment_method"]["id"], method);
    assert_eq!(intent["amount_received"], 0);
    assert_eq!(intent["latest_charge"], answer.body["error"]["charge"]);
    let charge = api.get(&format!("/v1/charges/{}", answer.str("/error/charge"))).await.ok();
    assert_eq!((&charge["status"], &charge["failure_code"]), (&json!("failed"), &json!(code)));
    let read = api.get(&format!("/v1/payment_intents/{}", intent["id"].as_str().unwrap())).await;
    assert_eq!(read.ok(), intent);
}

#[tokio::test]
async fn every_declining_card() {
    let api = Api::stripe().await;
    for row in DECLINED {
        let (customer, method) = api.customer_with(row.0).await;
        assert!(method.starts_with("pm_") && method != row.0);
        check(&api, row, &customer, &method).await;
        // The raw number is the same card.
        let fields = [
            ("type", "card"),
            ("card[number]", row.1),
            ("card[exp_month]", "12"),
            ("card[exp_year]", "2040"),
            ("card[cvc]", "123"),
        ];
        let raw = api.post("/v1/payment_methods", &fields).await;
        let (customer, by_number) = api.customer_with(raw.str("/id")).await;
        check(&api, row, &customer, &by_number).await;
        let by_token = api.get(&format!("/v1/payment_methods/{method}")).await.ok();
        assert_eq!(by_token["card"]["fingerprint"], raw.body["card"]["fingerprint"]);
    }
    let books = api.books().await;
    assert_eq!((&books["captured"], &books["charges_succeeded"]), (&json!({}), &json!(0)));
    assert_eq!(books["payment_intents"]["requires_payment_method"], DECLINED.len() * 2);
}

#[tokio::test]
async fn every_good_card() {
    let api = Api::stripe().await;
    let tokens = ["visa", "visa_debit", "mastercard", "amex", "discover", "diners", "jcb", "unionpay"];
    for name in tokens {
        let fields = [("type", "card"), ("card[token]", &*format!("tok_{name}"))];
        let method = api.post("/v1/payment_methods", &fields).await;
        assert_eq!(method.str("/card/brand"), name.split('_').next().unwrap());
        let (customer, method) = api.customer_with(method.str("/id")).await;
        assert_eq!(api.charge(&customer, &method).await.ok()["status"], "succeeded");
    }
    assert_eq!(api.books().await["captured"]["usd"], 2500 * tokens.len());
}

#[tokio::test]
async fn attaching_is_strict_on_demand() {
    let api = Api::stripe().await;
    api.sim("config", json!({ "strict_attach": true })).await;
    let customer = api.post("/v1/customers", &[]).await;
    let customer = customer.str("/id");
    let attach = |token: &str| {
        let path = format!("/v1/payment_methods/{token}/attach");
        let api = &api;
        async move { api.post(&path, &[("customer", customer)]).await }
    };
    let refused = attach("pm_card_chargeDeclined").await;
    assert_eq!((refused.status, refused.str("/error/decline_code")), (402, "generic_decline"));
    let good = attach("pm_card_chargeCustomerFail").await;
    assert_eq!(good.status, 200);
    assert_eq!(api.charge(customer, good.str("/id")).await.status, 402);
    let unknown = attach("pm_card_nonsense").await;
    assert_eq!((unknown.status, unknown.str("/error/code")), (404, "resource_missing"));
}

#[tokio::test]
async fn numbers_that_are_no_test_cards() {
    let api = Api::stripe().await;
    let mut fields =
        [("type", "card"), ("card[number]", "4242424242424241"), ("card[exp_month]", "12"), ("card[exp_year]", "2040")];
    let answer = api.post("/v1/payment_methods", &fields).await;
    assert_eq!((answer.status, answer.str("/error/code")), (402, "incorrect_number"));
    fields[1].1 = "4111111111111111";
    let answer = api.post("/v1/payment_methods", &fields).await;
    assert_eq!((answer.status, answer.str("/error/decline_code")), (402, "test_mode_live_card"));
    fields[1].1 = "4242 4242 4242 4242";
    fields[3].1 = "2001";
    let answer = api.post("/v1/payment_methods", &fields).await;
    assert_eq!((answer.status, answer.str("/error/code")), (402, "invalid_expiry_year"));
}
