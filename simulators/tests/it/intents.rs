//! Payment intents, setup intents, customers, lists: what is not a refusal by the bank.

use serde_json::{Value, json};

use crate::support::{Api, charge_of};

const PATH: &str = "/v1/payment_intents";

#[tokio::test]
async fn what_stripe_refuses_before_asking_the_bank() {
    let api = Api::stripe().await;
    // amount, currency, status, code, param
    let rows = [
        ("", "usd", "parameter_missing", "amount"),
        ("ten", "usd", "parameter_invalid_integer", "amount"),
        ("100", "", "parameter_missing", "currency"),
        ("100", "xyz", "", "currency"),
        ("49", "usd", "amount_too_small", "amount"),
        ("49", "eur", "amount_too_small", "amount"),
        ("29", "gbp", "amount_too_small", "amount"),
        ("49", "jpy", "amount_too_small", "amount"),
        ("-5", "usd", "parameter_invalid_integer", "amount"),
        ("100000000", "usd", "amount_too_large", "amount"),
        ("5001", "kwd", "parameter_invalid_integer", "amount"),
    ];
    for (amount, currency, code, param) in rows {
        let answer = api.post(PATH, &[("amount", amount), ("currency", currency)]).await;
        assert_eq!(answer.status, 400, "{amount} {currency}");
        assert_eq!(answer.str("/error/type"), "invalid_request_error");
        assert_eq!(answer.str("/error/code"), code, "{amount} {currency}");
        assert_eq!(answer.str("/error/param"), param, "{amount} {currency}");
    }
    for (amount, currency) in [("50", "usd"), ("30", "gbp"), ("50", "jpy"), ("99999999", "usd"), ("5000", "kwd")] {
        let intent = api.post(PATH, &[("amount", amount), ("currency", currency)]).await.ok();
        assert_eq!(intent["status"], "requires_payment_method");
    }
    let missing = api.get("/v1/payment_intents/pi_missing").await;
    assert_eq!((missing.status, missing.str("/error/code")), (404, "resource_missing"));
    let answer = api.charge("cus_missing", "pm_card_visa").await;
    assert_eq!((answer.status, answer.str("/error/code")), (400, "resource_missing"));
    assert_eq!(answer.str("/error/param"), "customer");
    let unknown = api.get("/v1/nonsense").await;
    assert_eq!(unknown.status, 404);
    assert!(unknown.str("/error/message").starts_with("Unrecognized request URL (GET: /v1/nonsense)"));
}

#[tokio::test]
async fn a_card_of_somebody_else_is_refused() {
    let api = Api::stripe().await;
    let (_, method) = api.customer_with("pm_card_visa").await;
    let (other, _) = api.customer_with("pm_card_visa").await;
    let answer = api.charge(&other, &method).await;
    assert_eq!((answer.status, answer.str("/error/param")), (400, "payment_method"));
    api.post(&format!("/v1/payment_methods/{method}/detach"), &[]).await.ok();
    let answer = api.charge(&other, &method).await;
    assert!(answer.str("/error/message").contains("may not be used again"));
    assert_eq!(api.books().await["payment_intents"], json!({}));
}

#[tokio::test]
async fn a_success_in_every_detail() {
    let api = Api::stripe().await;
    let (customer, method) = api.customer_with("pm_card_visa").await;
    let mut fields = charge_of(&customer, &method).to_vec();
    fields.extend([("expand[]", "latest_charge.balance_transaction"), ("expand[1]", "customer")]);
    let intent = api.post(PATH, &fields).await.ok();
    assert_eq!(intent["status"], "succeeded");
    assert_eq!(intent["amount_received"], 2500);
    assert_eq!(intent["customer"]["id"], *customer);
    let charge = &intent["latest_charge"];
    assert_eq!(charge["amount_captured"], 2500);
    assert_eq!(charge["metadata"]["recharge_id"], "r1");
    assert!(charge["receipt_url"].as_str().unwrap().starts_with("https://"));
    let transaction = &charge["balance_transaction"];
    assert_eq!((&transaction["fee"], &transaction["net"]), (&json!(103), &json!(2397)));
    let id = transaction["id"].as_str().unwrap();
    let read = api.get(&format!("/v1/balance_transactions/{id}")).await.ok();
    assert_eq!(read, *transaction);
    let wrong = api.get(&format!("{PATH}/{}?expand[]=nonsense", intent["id"].as_str().unwrap())).await;
    assert_eq!(wrong.status, 400);
    let books = api.books().await;
    let mine = &books["by_customer"][&customer];
    assert_eq!(mine["captured"], 2500);
    assert_eq!(mine["payment_intents"][0]["metadata"]["recharge_id"], "r1");
    assert_eq!(books["calls"]["POST /v1/payment_methods/:id/attach"], 1);
}

#[tokio::test]
async fn step_by_step_update_capture_cancel() {
    let api = Api::stripe().await;
    let (customer, method) = api.customer_with("pm_card_visa").await;
    let fields = [
        ("amount", "1000"),
        ("currency", "USD"),
        ("customer", &*customer),
        ("payment_method_types[]", "card"),
        ("capture_method", "manual"),
    ];
    let intent = api.post(PATH, &fields).await.ok();
    assert_eq!(intent["currency"], "usd");
    let path = format!("{PATH}/{}", intent["id"].as_str().unwrap());
    let no_card = api.post(&format!("{path}/confirm"), &[]).await;
    assert_eq!(no_card.str("/error/code"), "payment_intent_unexpected_state");
    let update = [("amount", "1200"), ("metadata[a]", "1"), ("payment_method", &*method)];
    let intent = api.post(&path, &update).await.ok();
    assert_eq!((&intent["amount"], &intent["status"]), (&json!(1200), &json!("requires_confirmation")));
    let intent = api.post(&format!("{path}/confirm"), &[]).await.ok();
    assert_eq!(intent["status"], "requires_capture");
    assert_eq!(api.books().await["captured"], json!({}));
    let intent = api.post(&format!("{path}/capture"), &[("amount_to_capture", "700")]).await.ok();
    assert_eq!((&intent["status"], &intent["amount_received"]), (&json!("succeeded"), &json!(700)));
    assert_eq!(api.books().await["captured"]["usd"], 700);
    for action in ["confirm", "cancel", "capture"] {
        let answer = api.post(&format!("{path}/{action}"), &[]).await;
        assert_eq!(answer.str("/error/code"), "payment_intent_unexpected_state", "{action}");
        assert_eq!(answer.str("/error/payment_intent/status"), "succeeded");
    }
    let (customer, method) = api.customer_with("pm_card_authenticationRequired").await;
    let waiting = api.charge(&customer, &method).await;
    let waiting = format!("{PATH}/{}", waiting.str("/error/payment_intent/id"));
    let fields = [("payment_method", &*method), ("return_url", "https://shop.example/done"), ("off_session", "false")];
    let asked = api.post(&format!("{waiting}/confirm"), &fields).await.ok();
    assert_eq!(asked["status"], "requires_action");
    let canceled = api.post(&format!("{waiting}/cancel"), &[]).await.ok();
    assert_eq!((&canceled["status"], &canceled["next_action"]), (&json!("canceled"), &Value::Null));
    for action in ["confirm", "cancel"] {
        let answer = api.post(&format!("{waiting}/{action}"), &fields).await;
        assert_eq!(answer.str("/error/code"), "payment_intent_unexpected_state", "{action}");
    }
    let other = api.post(PATH, &[("amount", "1000"), ("currency", "usd")]).await;
    let canceled = api.post(&format!("{PATH}/{}/cancel", other.str("/id")), &[]).await.ok();
    assert_eq!(canceled["status"], "canceled");
}

#[tokio::test]
async fn authentication_on_session() {
    let api = Api::stripe().await;
    let (customer, method) = api.customer_with("pm_card_authenticationRequired").await;
    let refused = api.charge(&customer, &method).await;
    // The link that the customer gets confirms the same intent.
    let id = refused.str("/error/payment_intent/id").to_owned();
    let confirm = format!("{PATH}/{id}/confirm");
    let no_return = api.post(&confirm, &[("payment_method", &method)]).await;
    assert_eq!(no_return.str("/error/param"), "return_url");
    let back = "https://shop.example/done?x=1";
    let waiting = api.post(&confirm, &[("payment_method", &method), ("return_url", back)]).await.ok();
    assert_eq!(waiting["status"], "requires_action");
    let page = waiting["next_action"]["redirect_to_url"]["url"].as_str().unwrap();
    let shown = api.client.get(page).send().await.unwrap().text().await.unwrap();
    assert!(shown.contains("name=\"outcome\" value=\"succeeded\">Authenticate</button>"), "{shown}");
    assert!(shown.contains("name=\"outcome\" value=\"failed\">Fail</button>"), "{shown}");
    let failed = api.sim(&format!("payment_intents/{id}/authenticate"), json!({ "outcome": "failed" })).await;
    assert_eq!(failed["status"], "requires_payment_method");
    assert_eq!(failed["last_payment_error"]["code"], "payment_intent_authentication_failure");
    api.post(&confirm, &[("payment_method", &method), ("return_url", back)]).await.ok();
    let no_follow = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let form = format!("outcome=succeeded&return_url={back}");
    let request = no_follow.post(page).header("content-type", "application/x-www-form-urlencoded");
    let again = request.try_clone().unwrap();
    let answer = request.body(form.clone()).send().await.unwrap();
    assert_eq!(answer.status(), 303);
    let location = answer.headers()["location"].to_str().unwrap();
    assert!(location.starts_with("https://shop.example/done?x=1&payment_intent=pi_"), "{location}");
    assert!(location.ends_with("&redirect_status=succeeded"));
    // The button pressed twice leads to the same place, the page opened again says that it is over.
    let second = again.body(form).send().await.unwrap();
    assert_eq!((second.status(), &second.headers()["location"]), (answer.status(), &answer.headers()["location"]));
    let over = api.client.get(page).send().await.unwrap().text().await.unwrap();
    assert!(over.contains("is succeeded") && !over.contains("<form"), "{over}");
    for kind in ["payment_intent.requires_action", "payment_intent.payment_failed", "payment_intent.succeeded"] {
        let events = api.get(&format!("/v1/events?type={kind}")).await.ok();
        assert!(!events["data"].as_array().unwrap().is_empty(), "{kind}");
    }
    assert_eq!(api.get(&format!("{PATH}/{id}")).await.ok()["status"], "succeeded");
    assert_eq!(api.books().await["charges_succeeded"], 1);
}

#[tokio::test]
async fn a_card_set_up_before_needs_no_authentication() {
    let api = Api::stripe().await;
    let customer = api.post("/v1/customers", &[]).await;
    let customer = customer.str("/id");
    let fields = [
        ("customer", customer),
        ("usage", "off_session"),
        ("payment_method", "pm_card_authenticationRequiredOnSetup"),
        ("confirm", "true"),
        ("payment_method_types[0]", "card"),
    ];
    let intent = api.post("/v1/setup_intents", &fields).await.ok();
    assert_eq!(intent["status"], "requires_action");
    assert_eq!(intent["next_action"]["type"], "use_stripe_sdk");
    let id = intent["id"].as_str().unwrap();
    let done = api.sim(&format!("setup_intents/{id}/authenticate"), json!({ "outcome": "succeeded" })).await;
    assert_eq!(done["status"], "succeeded");
    let method = done["payment_method"].as_str().unwrap();
    let attached = api.get(&format!("/v1/payment_methods?customer={customer}&type=card")).await.ok();
    assert_eq!(attached["data"][0]["id"], method);
    assert_eq!(api.charge(customer, method).await.ok()["status"], "succeeded");
}

#[tokio::test]
async fn processing_ends_when_it_is_told_to() {
    for (outcome, status) in [("succeeded", "succeeded"), ("failed", "requires_payment_method")] {
        let api = Api::stripe().await;
        let (customer, method) = api.customer_with("pm_card_sim_processing").await;
        let intent = api.charge(&customer, &method).await.ok();
        assert_eq!((&intent["status"], &intent["amount_received"]), (&json!("processing"), &json!(0)));
        assert_eq!(api.books().await["captured"], json!({}));
        let path = format!("payment_intents/{}/settle", intent["id"].as_str().unwrap());
        assert_eq!(api.sim(&path, json!({ "outcome": outcome })).await["status"], status);
        let again = api.json("POST", &format!("/_sim/{path}"), json!({ "outcome": outcome })).await;
        assert_eq!(again.status, 400);
        let captured = if outcome == "succeeded" { json!({ "usd": 2500 }) } else { json!({}) };
        assert_eq!(api.books().await["captured"], captured);
    }
}

#[tokio::test]
async fn lists_page_and_filter() {
    let api = Api::stripe().await;
    let (customer, method) = api.customer_with("pm_card_visa").await;
    let mut made: Vec<Value> = Vec::new();
    for _ in 0..5 {
        made.push(api.charge(&customer, &method).await.ok());
        api.sim("clock", json!({ "advance_seconds": 10 })).await;
    }
    api.paid().await;
    let ids = |answer: Value| -> Vec<usize> {
        let place = |one: &Value| made.iter().position(|intent| intent["id"] == one["id"]).unwrap();
        answer["data"].as_array().unwrap().iter().map(place).collect()
    };
    let list = |query: String| {
        let path = format!("{PATH}?customer={customer}&{query}");
        let api = &api;
        async move { api.get(&path).await.ok() }
    };
    let id = |place: usize| made[place]["id"].as_str().unwrap();
    let created = |place: usize| made[place]["created"].as_i64().unwrap();
    let first = list("limit=2".into()).await;
    assert_eq!(first["has_more"], true);
    assert_eq!(ids(first), [4, 3]);
    assert_eq!(ids(list(format!("limit=2&starting_after={}", id(3))).await), [2, 1]);
    let last = list(format!("limit=2&starting_after={}", id(1))).await;
    assert_eq!(last["has_more"], false);
    assert_eq!(ids(last), [0]);
    assert_eq!(ids(list(format!("limit=2&ending_before={}", id(1))).await), [3, 2]);
    assert_eq!(ids(list(format!("created[gte]={}", created(3))).await), [4, 3]);
    assert_eq!(ids(list(format!("created%5Bgt%5D={}", created(3))).await), [4]);
    let query = format!("created[lt]={}&created[lte]={}", created(2), created(1));
    assert_eq!(ids(list(query).await), [1, 0]);
    assert_eq!(api.get(&format!("{PATH}?limit=101")).await.status, 400);
    assert_eq!(api.get(&format!("{PATH}?customer=cus_missing")).await.status, 400);
}

#[tokio::test]
async fn customers_and_their_default_card() {
    let api = Api::stripe().await;
    let (customer, method) = api.customer_with("pm_card_mastercard").await;
    let path = format!("/v1/customers/{customer}");
    let default = "invoice_settings[default_payment_method]";
    let foreign = api.paid().await;
    let foreign = foreign["payment_method"].as_str().unwrap();
    assert_eq!(api.post(&path, &[(default, foreign)]).await.status, 400);
    let fields = [(default, &*method), ("metadata[a]", "1"), ("metadata[b]", "2")];
    let updated = api.post(&path, &fields).await.ok();
    assert_eq!(updated["invoice_settings"]["default_payment_method"], *method);
    let updated = api.post(&path, &[("metadata[a]", ""), ("name", "Jenny Rosen")]).await.ok();
    assert_eq!(updated["metadata"], json!({ "b": "2" }));
    assert_eq!(updated["invoice_settings"]["default_payment_method"], *method);
    let expanded = api.get(&format!("{path}?expand[]=invoice_settings.default_payment_method")).await;
    assert_eq!(expanded.str("/invoice_settings/default_payment_method/card/brand"), "mastercard");
    let other = api.post("/v1/customers", &[("email", "other@example.com")]).await;
    let found = api.get("/v1/customers?email=other%40example.com").await.ok();
    assert_eq!(found["data"], json!([other.body]));
    let methods = api.get(&format!("{path}/payment_methods")).await.ok();
    assert_eq!(methods["data"][0]["id"], *method);
    api.delete(&path).await.ok();
    assert_eq!(api.get(&path).await.ok()["deleted"], true);
    assert_eq!(api.post(&path, &[]).await.status, 404);
    assert_eq!(api.charge(&customer, "pm_card_visa").await.status, 400);
    let detached = api.get(&format!("/v1/payment_methods/{method}")).await.ok();
    assert_eq!(detached["customer"], Value::Null);
}
