//! Checkout Sessions: a customer gives a card on the simulator's page.

use serde_json::{Value, json};

use crate::support::{Answer, Api, form, read};

const PATH: &str = "/v1/checkout/sessions";
const SUCCESS: &str = "https://shop.example/done?session={CHECKOUT_SESSION_ID}";
const BACK: &str = "https://shop.example/cards?a=1&b=2";

async fn customer(api: &Api) -> String {
    api.post("/v1/customers", &[("email", "jenny@example.com")]).await.str("/id").to_owned()
}

fn wanted(customer: &str) -> Vec<(&str, &str)> {
    vec![
        ("mode", "setup"),
        ("customer", customer),
        ("currency", "USD"),
        ("allowed_payment_method_types[0]", "card"),
        ("setup_intent_data[metadata][c_organization_id]", "acme"),
        ("metadata[a]", "b"),
        ("success_url", SUCCESS),
        ("cancel_url", BACK),
    ]
}

async fn open(api: &Api, customer: &str) -> Value {
    api.post(PATH, &wanted(customer)).await.ok()
}

/// A browser that shows where it is sent, instead of going there.
struct Browser<'a> {
    api: &'a Api,
    client: reqwest::Client,
}

impl<'a> Browser<'a> {
    fn of(api: &'a Api) -> Self {
        Self { api, client: reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap() }
    }

    async fn look(&self, url: &str) -> Answer {
        read(self.client.get(url).send().await.unwrap()).await
    }

    async fn press(&self, url: &str, fields: &[(&str, &str)]) -> Answer {
        let request = self.client.post(url).header("content-type", "application/x-www-form-urlencoded");
        read(request.body(form(fields)).send().await.unwrap()).await
    }

    async fn save(&self, url: &str, card: &str) -> Answer {
        self.press(url, &[("card", card), ("button", "save")]).await
    }

    /// Presses a button, which must lead on.
    async fn led(&self, url: &str, fields: &[(&str, &str)]) -> String {
        let answer = self.press(url, fields).await;
        assert_eq!(answer.status, 303, "{}", answer.text);
        answer.header("location").to_owned()
    }

    async fn events(&self, kind: &str) -> usize {
        self.api.get(&format!("/v1/events?type={kind}")).await.ok()["data"].as_array().unwrap().len()
    }
}

#[tokio::test]
async fn what_stripe_refuses() {
    let api = Api::stripe().await;
    let customer = customer(&api).await;
    let (too_long, now) =
        (format!("https://shop.example/{}", "x".repeat(5000)), api.sim("clock", json!({ "advance_seconds": 0 })).await);
    let at = |seconds: i64| (now["now"].as_i64().unwrap() + seconds).to_string();
    // A parameter that is sent otherwise than it should be, code, which one is to blame
    let rows = [
        ("mode", "", "parameter_missing", "mode"),
        ("mode", "payment", "", "mode"),
        ("mode", "subscription", "", "mode"),
        ("mode", "nonsense", "", "mode"),
        ("customer", "cus_missing", "resource_missing", "customer"),
        ("currency", "", "parameter_missing", "currency"),
        ("currency", "xyz", "", "currency"),
        ("allowed_payment_method_types[0]", "sepa_debit", "", "allowed_payment_method_types"),
        ("success_url", "", "parameter_missing", "success_url"),
        ("success_url", "shop.example/done", "url_invalid", "success_url"),
        ("cancel_url", "javascript:alert(1)", "url_invalid", "cancel_url"),
        ("success_url", &too_long, "", "success_url"),
        ("line_items[0][price]", "price_1", "", "line_items"),
        ("payment_intent_data[description]", "x", "", "payment_intent_data"),
        ("ui_mode", "embedded_page", "", "ui_mode"),
        ("expires_at", &at(60), "", "expires_at"),
        ("expires_at", &at(86_400 + 600), "", "expires_at"),
    ];
    for (name, value, code, param) in rows {
        let mut fields = wanted(&customer);
        fields.retain(|(field, _)| *field != name);
        fields.push((name, value));
        let answer = api.post(PATH, &fields).await;
        assert_eq!(answer.status, 400, "{name}={value}: {}", answer.text);
        assert_eq!((answer.str("/error/code"), answer.str("/error/param")), (code, param), "{name}={value}");
    }
    assert_eq!(api.get(PATH).await.ok()["data"], json!([]));
    let missing = api.get(&format!("{PATH}/cs_test_missing")).await;
    assert_eq!((missing.status, missing.str("/error/code")), (404, "resource_missing"));
}

#[tokio::test]
async fn a_card_is_saved_on_the_page() {
    let api = Api::stripe().await;
    let browser = Browser::of(&api);
    let customer = customer(&api).await;
    let first = api.post_with_key(PATH, &wanted(&customer), "page-1").await.ok();
    let again = api.post_with_key(PATH, &wanted(&customer), "page-1").await;
    assert_eq!((again.header("idempotent-replayed"), &again.body), ("true", &first));
    let (id, intent) = (first["id"].as_str().unwrap(), first["setup_intent"].as_str().unwrap());
    assert!(id.starts_with("cs_test_"));
    assert_eq!(
        json!([first["status"], first["payment_status"], first["currency"], first["customer"], first["metadata"]["a"]]),
        json!(["open", "no_payment_required", "usd", customer, "b"])
    );
    assert_eq!(first["expires_at"].as_i64().unwrap() - first["created"].as_i64().unwrap(), 86_400);
    let waiting = api.get(&format!("/v1/setup_intents/{intent}")).await.ok();
    assert_eq!(waiting["metadata"], json!({ "c_organization_id": "acme" }));
    assert_eq!((&waiting["status"], &waiting["usage"]), (&json!("requires_payment_method"), &json!("off_session")));
    for action in ["confirm", "cancel"] {
        let path = format!("/v1/setup_intents/{intent}/{action}");
        let refused = api.post(&path, &[("payment_method", "pm_card_visa")]).await;
        assert_eq!(refused.str("/error/code"), "setup_intent_unexpected_state", "{action}");
    }

    let page = first["url"].as_str().unwrap();
    let shown = browser.look(page).await;
    assert!(shown.header("content-type").starts_with("text/html"));
    for part in [
        "<input type=\"radio\" name=\"card\" value=\"4242424242424242\" required checked> 4242 4242 4242 4242 visa: succeeds",
        "value=\"5555555555554444\" required>",
        "<button name=\"button\" value=\"save\">Save card</button>",
        "<button name=\"button\" value=\"back\" formnovalidate>Back</button>",
    ] {
        assert!(shown.text.contains(part), "{part}: {}", shown.text);
    }
    assert_eq!(browser.led(page, &[("button", "back")]).await, BACK);
    assert_eq!(browser.press(page, &[("button", "dance")]).await.status, 400);

    // A card that is refused, a number that is none; and then one that is taken.
    api.sim("config", json!({ "strict_attach": true })).await;
    for (card, words) in [
        ("4000000000009995", "<p role=\"alert\">Your card has insufficient funds.</p>"),
        ("4242424242424241", "<p role=\"alert\">Your card number is incorrect.</p>"),
    ] {
        let refused = browser.save(page, card).await;
        assert!(refused.status == 200 && refused.text.contains(words), "{}", refused.text);
    }
    assert!(browser.look(page).await.text.contains("insufficient funds"), "the page opened again forgot why");
    let done = format!("https://shop.example/done?session={id}");
    for _ in 0..2 {
        let card = [("card", "4242424242424242"), ("button", "save")];
        assert_eq!(browser.led(page, &card).await, done, "the button pressed twice leads to the same place");
    }
    let complete = api.get(&format!("{PATH}/{id}?expand[]=setup_intent")).await.ok();
    assert_eq!((&complete["status"], &complete["url"]), (&json!("complete"), &Value::Null));
    assert_eq!(complete["setup_intent"]["status"], "succeeded");
    let method = complete["setup_intent"]["payment_method"].as_str().unwrap();
    let attached = api.get(&format!("/v1/customers/{customer}/payment_methods")).await.ok();
    assert_eq!((&attached["data"][0]["id"], attached["data"].as_array().unwrap().len()), (&json!(method), 1));
    for (kind, count) in [
        ("setup_intent.created", 1),
        ("setup_intent.setup_failed", 1),
        ("setup_intent.succeeded", 1),
        ("checkout.session.completed", 1),
    ] {
        assert_eq!(browser.events(kind).await, count, "{kind}");
    }
    assert!(browser.look(page).await.text.contains("the session is complete"));
    let late = api.post(&format!("{PATH}/{id}/expire"), &[]).await;
    assert!(late.str("/error/message").ends_with("has a status of complete."), "{}", late.text);
    let calls = &api.books().await["calls"];
    assert_eq!((&calls["POST /v1/checkout/sessions"], &calls["GET /v1/checkout/sessions/:id"]), (&json!(2), &json!(1)));
}

#[tokio::test]
async fn the_bank_may_want_to_see_the_customer() {
    let api = Api::stripe().await;
    let browser = Browser::of(&api);
    let customer = customer(&api).await;
    let session = open(&api, &customer).await;
    let page = session["url"].as_str().unwrap();
    for (outcome, status) in [("failed", "open"), ("succeeded", "complete")] {
        let bank = browser.led(page, &[("card", "4000002500003155"), ("button", "save")]).await;
        assert!(bank.contains("/_sim/setup_intents/seti_"), "{bank}");
        let shown = browser.look(&bank).await.text;
        assert!(shown.contains(&format!("name=\"return_url\" value=\"{page}\"")), "{shown}");
        let back = browser.led(&bank, &[("outcome", outcome), ("return_url", page)]).await;
        let came = browser.look(&back).await;
        let now = api.get(&format!("{PATH}/{}", session["id"].as_str().unwrap())).await.ok();
        assert_eq!(now["status"], status);
        if outcome == "failed" {
            assert!(came.text.contains("unable to authenticate"), "{}", came.text);
        } else {
            assert_eq!(came.status, 303);
            assert!(came.header("location").starts_with("https://shop.example/done?session=cs_test_"));
        }
    }
    let methods = api.get(&format!("/v1/customers/{customer}/payment_methods")).await.ok();
    assert_eq!(api.charge(&customer, methods["data"][0]["id"].as_str().unwrap()).await.ok()["status"], "succeeded");
}

#[tokio::test]
async fn a_session_ends_after_a_day_or_when_it_is_told_to() {
    let api = Api::stripe().await;
    let browser = Browser::of(&api);
    let customer = customer(&api).await;
    let (told, old) = (open(&api, &customer).await, open(&api, &customer).await);
    let id = told["id"].as_str().unwrap();
    let expired = api.post(&format!("{PATH}/{id}/expire"), &[]).await.ok();
    assert_eq!((&expired["status"], &expired["url"]), (&json!("expired"), &Value::Null));
    let intent = api.get(&format!("/v1/setup_intents/{}", expired["setup_intent"].as_str().unwrap())).await.ok();
    assert_eq!(intent["status"], "canceled");
    api.sim("clock", json!({ "advance_seconds": 86_399 })).await;
    let listed = api.get(&format!("{PATH}?status=open")).await.ok();
    assert_eq!((&listed["data"][0]["id"], listed["data"].as_array().unwrap().len()), (&old["id"], 1));
    api.sim("clock", json!({ "advance_seconds": 1 })).await;
    let shown = browser.save(old["url"].as_str().unwrap(), "4242424242424242").await;
    assert!(shown.status == 200 && shown.text.contains("the session is expired"), "{}", shown.text);
    assert_eq!(browser.events("checkout.session.expired").await, 2);
    assert_eq!(api.get(&format!("/v1/customers/{customer}/payment_methods")).await.ok()["data"], json!([]));
}
