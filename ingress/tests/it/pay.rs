//! `/pay/<token>`: the customer confirms at the bank. The simulator plays Stripe and the bank, the test the recharger.

use common::clients::stripe::{ChargeOrder, ChargeOutcome, FaultKind, Stripe, StripeConfig};
use common::config::Secret;
use common::contract::{Event, RechargeSettledV1, RecheckRequestedV1, TriggerKind};
use common::ids::{EventId, OrganizationId, RechargeId};
use common::money::{Currency, Money};
use common::pay_link::PayLinks;
use reqwest::header::HeaderMap;
use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::world::{PAY_SECRET, World, until};

struct Page {
    status: u16,
    headers: HeaderMap,
    html: String,
}

impl Page {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// An organization whose card the bank wants confirmed, and the link for it.
struct Till {
    world: World,
    intent: String,
    recharge: RechargeId,
    path: String,
}

impl Till {
    async fn open(settings: &[(&str, &str)]) -> Self {
        let world = World::new(settings).await;
        world.organization("acme", json!({})).await;
        let card = json!({ "payment_method_id": "pm_card_authenticationRequired", "set_as_default": true });
        let got = world.post("/api/organizations/acme/payment-method", &card).await;
        assert_eq!(got.status, 200, "{got:?}");
        let trigger = EventId::parse("evt_1").unwrap();
        let recharge = RechargeId::for_trigger(&trigger);
        let config = StripeConfig {
            url: world.stripe.url(),
            secret_key: Secret::new("sk_test_1"),
            timeout: std::time::Duration::from_secs(5),
        };
        let stripe = Stripe::new(config, &prometheus::Registry::new()).unwrap();
        let card = got.body["payment_method_id"].as_str().unwrap().to_owned();
        let order = ChargeOrder {
            recharge_id: recharge,
            organization: OrganizationId::parse("acme").unwrap(),
            trigger: "webhook".to_owned(),
            total: Money::new(10_330, Currency::USD),
            customer_id: got.body["stripe_customer_id"].as_str().unwrap().to_owned(),
            payment_method_id: card.clone(),
        };
        let intent = match stripe.charge(&order).await {
            ChargeOutcome::Fault(fault) => match fault.kind {
                FaultKind::AuthenticationRequired { payment_intent_id: Some(id) } => id,
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        };
        sqlx::query(
            "INSERT INTO recharge_records (recharge_id, c_organization_id, amount, fee, total_charge, currency, status, triggered_by,
                    trigger_event_id, correlation_id, payment_intent_id, payment_method_id, confirm_by)
             VALUES ($1, 'acme', 100, 3.30, 103.30, 'usd', 'action_required', 'webhook', 'evt_1', 'evt_1', $2, $3,
                    now() + interval '23 hours')",
        )
        .bind(recharge.0)
        .bind(&intent)
        .bind(card)
        .execute(&world.pool)
        .await
        .unwrap();
        let token = PayLinks::new(Secret::new(PAY_SECRET), "").token(recharge);
        Self { world, intent, recharge, path: format!("/pay/{token}") }
    }

    async fn page(&self, request: reqwest::RequestBuilder) -> Page {
        let answer = request.send().await.unwrap();
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        Page { status, headers, html: answer.text().await.unwrap() }
    }

    async fn get(&self, more: &str) -> Page {
        self.page(self.world.http.get(self.world.url(&format!("{}{more}", self.path)))).await
    }

    async fn post(&self, form: &str) -> Page {
        let request = self.world.http.post(self.world.url(&self.path)).body(form.to_owned());
        self.page(request.header("content-type", "application/x-www-form-urlencoded")).await
    }

    /// Opens the page and presses its button.
    async fn press(&self) -> Page {
        let page = self.get("").await;
        assert_eq!(page.status, 200, "{}", page.html);
        let attempt = page.html.split("name=\"attempt\" value=\"").nth(1).unwrap().split('"').next().unwrap();
        self.post(&format!("attempt={attempt}")).await
    }

    /// The person at the bank's page.
    async fn at_the_bank(&self, page: &str, outcome: &str) {
        let form = format!("outcome={outcome}&return_url={}/done", self.world.url(&self.path));
        let request = self.world.http.post(page).header("content-type", "application/x-www-form-urlencoded").body(form);
        let back = self.page(request).await;
        assert_eq!(back.status, 303, "{}", back.html);
        assert!(
            back.header("location").starts_with(&self.world.url(&format!("{}/done", self.path))),
            "{}",
            back.header("location")
        );
    }

    async fn set(&self, sql: &str) {
        let update = format!("UPDATE recharge_records SET {sql}, updated_at = now()");
        sqlx::query(sqlx::AssertSqlSafe(update)).execute(&self.world.pool).await.unwrap();
    }

    async fn sim_get(&self, path: &str) -> Value {
        let request = self.world.http.get(format!("{}{path}", self.world.stripe.url())).bearer_auth("sk_test_1");
        self.world.send(request).await.body
    }

    async fn intent_status(&self) -> Value {
        self.sim_get(&format!("/v1/payment_intents/{}", self.intent)).await["status"].clone()
    }

    async fn calls(&self) -> Value {
        self.sim_get("/_sim/books").await["calls"].clone()
    }

    /// How often Stripe was asked to confirm something.
    async fn confirmations(&self) -> u64 {
        let calls = self.calls().await;
        let confirm = calls.as_object().unwrap().iter().filter(|(route, _)| route.ends_with("/confirm"));
        confirm.filter_map(|(_, count)| count.as_u64()).sum()
    }

    async fn rechecks(&self) -> usize {
        self.world.count("REQUESTS", "requests.recheck.>").await
    }
}

#[tokio::test]
async fn opening_the_link_changes_nothing() {
    let till = Till::open(&[]).await;
    let (before, records) = (till.calls().await, till.world.count("REQUESTS", "requests.>").await);
    let page = till.get("").await;
    assert_eq!(page.status, 200, "{}", page.html);
    for part in [
        "acme",
        "100.00 USD",
        "103.30 USD",
        "Nothing is charged until you confirm",
        "Valid until",
        "<form method=\"post\"",
    ] {
        assert!(page.html.contains(part), "{part}: {}", page.html);
    }
    let want = [
        ("content-type", "text/html; charset=utf-8"),
        ("cache-control", "no-store"),
        ("referrer-policy", "no-referrer"),
        ("x-frame-options", "DENY"),
        ("x-robots-tag", "noindex, nofollow"),
        ("x-content-type-options", "nosniff"),
    ];
    for (name, value) in want {
        assert_eq!(page.header(name), value, "{name}");
    }
    assert!(page.header("content-security-policy").starts_with("default-src 'none'; style-src 'sha256-"));
    assert_eq!(till.calls().await, before);
    assert_eq!(till.world.count("REQUESTS", "requests.>").await, records);
    assert_eq!(till.intent_status().await, "requires_payment_method");
    // Neither the metrics nor anybody's log has the token.
    let metrics = till.world.http.get(till.world.url("/metrics")).send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("/pay/{token}") && !metrics.contains(&till.path["/pay/".len()..]), "{metrics}");
}

#[tokio::test]
async fn the_button_leads_to_the_bank_and_works_once() {
    let till = Till::open(&[]).await;
    let first = till.press().await;
    assert_eq!(first.status, 303, "{}", first.html);
    let bank = first.header("location").to_owned();
    assert!(bank.contains("/authenticate"), "{bank}");
    assert_eq!(till.rechecks().await, 0);
    // Back from a page that was left: the same page again, from a new look or the same.
    assert_eq!(till.confirmations().await, 1);
    for again in [till.press().await, till.post("").await] {
        assert_eq!((again.status, again.header("location")), (303, bank.as_str()), "{}", again.html);
    }
    assert_eq!(till.confirmations().await, 1);
    // Back without an answer: the page waits.
    let done = till.get("/done").await;
    assert!(done.status == 200 && done.html.contains("Waiting for your bank"), "{}", done.html);
    assert_eq!(till.rechecks().await, 1);
    till.at_the_bank(&bank, "succeeded").await;
    assert_eq!(till.intent_status().await, "succeeded");
    // Nothing is left to confirm, although nobody has told the recharger yet.
    let late = till.post("").await;
    assert_eq!((late.status, late.header("location").ends_with("/done")), (303, true), "{}", late.html);
    let asked = till.world.newest::<RecheckRequestedV1>("requests.recheck.acme").await;
    assert_eq!((asked.data.recharge_id, asked.correlationid.as_str()), (till.recharge, "evt_1"));

    for (status, title) in
        [("charged", "Payment confirmed"), ("settled", "Payment complete"), ("refunded", "given back")]
    {
        till.set(&format!("status = '{status}', new_quota = 600")).await;
        assert_eq!((till.get("").await.status, till.post("").await.status), (410, 410), "{status}");
        let done = till.get("/done").await;
        assert!(done.status == 200 && done.html.contains(title), "{status}: {}", done.html);
    }
    let books = till.sim_get("/_sim/books").await;
    assert_eq!((&books["captured"]["usd"], till.confirmations().await), (&json!(10_330), 1), "{books}");
    let audited: Vec<String> =
        sqlx::query_scalar("SELECT actor FROM audit_log WHERE action = 'payment.confirmation_begun'")
            .fetch_all(&till.world.pool)
            .await
            .unwrap();
    assert!(audited.len() == 4 && audited.iter().all(|actor| actor == "customer"), "{audited:?}");
}

#[tokio::test]
async fn a_refusal_at_the_bank_can_be_tried_again_and_two_presses_are_one() {
    let till = Till::open(&[]).await;
    let page = till.get("").await;
    let attempt = page.html.split("name=\"attempt\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    let form = format!("attempt={attempt}");
    let (one, two) = tokio::join!(till.post(&form), till.post(&form));
    assert_eq!((one.status, two.status), (303, 303), "{} {}", one.html, two.html);
    assert_eq!(one.header("location"), two.header("location"));
    till.at_the_bank(one.header("location"), "failed").await;
    assert_eq!(till.intent_status().await, "requires_payment_method");
    // The recharger leaves it open: a new look is a new attempt.
    let again = till.press().await;
    assert_eq!(again.status, 303, "{}", again.html);
    till.at_the_bank(again.header("location"), "succeeded").await;
    assert_eq!(till.intent_status().await, "succeeded");
    assert_eq!(till.sim_get("/_sim/books").await["captured"]["usd"], 10_330);
}

#[tokio::test]
async fn the_page_hears_how_it_ended() {
    let till = Till::open(&[("WEBHOOK_WAIT_MS", "8000")]).await;
    let (broker, recharge) = (till.world.broker.clone(), till.recharge);
    let play = async {
        until("the recheck", || async { till.rechecks().await == 1 }).await;
        till.set("status = 'settled', new_quota = 600, settled_at = now()").await;
        let correlation = EventId::parse("evt_1").unwrap();
        let settled = RechargeSettledV1 {
            recharge_id: recharge,
            triggered_by: TriggerKind::Webhook,
            amount: Money::new(10_000, Currency::USD),
            fee: Money::new(330, Currency::USD),
            total_charge: Money::new(10_330, Currency::USD),
            payment_intent_id: till.intent.clone(),
            new_quota: Decimal::from(600),
            ledger_version: 2,
        };
        #[expect(clippy::disallowed_methods, reason = "a test's event needs a time, and no test looks at it")]
        let event = Event::following(&recharge, &"acme".parse().unwrap(), chrono::Utc::now(), &correlation, settled);
        broker.publish(&event.outgoing().unwrap()).await.unwrap();
    };
    let begun = std::time::Instant::now();
    let (done, ()) = tokio::join!(till.get("/done"), play);
    assert!(done.html.contains("The quota is 600.00 USD now"), "{}", done.html);
    assert!(begun.elapsed() < std::time::Duration::from_secs(6), "{:?}", begun.elapsed());
    assert!(!done.html.contains("http-equiv=\"refresh\""));
}

#[tokio::test]
async fn reloads_within_a_moment_ask_once() {
    let till = Till::open(&[]).await;
    for _ in 0..10 {
        assert_eq!(till.get("/done").await.status, 200);
    }
    assert!((1..=2).contains(&till.rechecks().await));
    let limits = [
        ("PAY_RATE_PER_SECOND", "1"),
        ("PAY_RATE_BURST", "3"),
        ("WEBHOOK_RATE_PER_SECOND", "1"),
        ("WEBHOOK_RATE_BURST", "1"),
    ];
    let limited = Till::open(&limits).await;
    // Whoever has no link uses up nothing, and nobody's pages use up the webhooks' allowance.
    for _ in 0..10 {
        assert_eq!(limited.page(limited.world.http.get(limited.world.url("/pay/x"))).await.status, 404);
    }
    for _ in 0..3 {
        assert_eq!(limited.get("/done").await.status, 200);
    }
    let page = limited.get("/done").await;
    assert_eq!((page.status, page.header("retry-after")), (429, "5"));
    let hook = || limited.world.send(limited.world.hook(&crate::world::exceeded("acme").to_string()));
    assert_eq!((hook().await.status, hook().await.status), (202, 429));
}

#[tokio::test]
async fn a_link_that_is_over_or_none_says_so() {
    let till = Till::open(&[]).await;
    till.set("confirm_by = now() - interval '1 second'").await;
    for page in [till.get("").await, till.post("").await] {
        assert!(
            page.status == 410 && page.html.contains("has expired") && !page.html.contains("harged"),
            "{}",
            page.html
        );
    }
    till.set("status = 'declined', failure_message = '<script>alert(1)</script>'").await;
    assert_eq!((till.get("").await.status, till.post("").await.status), (410, 410));
    let done = till.get("/done").await;
    assert!(
        done.html.contains("&lt;script&gt;alert(1)&lt;/script&gt;") && !done.html.contains("<script"),
        "{}",
        done.html
    );
    assert_eq!(till.intent_status().await, "requires_payment_method");

    let unknown = PayLinks::new(Secret::new(PAY_SECRET), "").token(RechargeId::for_trigger(&"other".parse().unwrap()));
    let foreign = PayLinks::new(Secret::new("another-secret-of-16"), "").token(till.recharge);
    for (token, status) in
        [(unknown.as_str(), 410), (foreign.as_str(), 404), ("x", 404), ("%00", 404), (&"a".repeat(2000), 404)]
    {
        for path in [format!("/pay/{token}"), format!("/pay/{token}/done")] {
            let page = till.page(till.world.http.get(till.world.url(&path))).await;
            assert_eq!((page.status, page.header("content-type")), (status, "text/html; charset=utf-8"), "{path}");
        }
        let page = till.page(till.world.http.post(till.world.url(&format!("/pay/{token}")))).await;
        assert_eq!(page.status, status);
    }
}

#[tokio::test]
async fn with_another_card_the_link_is_over() {
    let till = Till::open(&[]).await;
    let card = json!({ "payment_method_id": "pm_card_visa", "set_as_default": true });
    assert_eq!(till.world.post("/api/organizations/acme/payment-method", &card).await.status, 200);
    let before = till.calls().await;
    for page in [till.get("").await, till.post("").await] {
        assert!(page.status == 410 && page.html.contains("Another card was saved"), "{} {}", page.status, page.html);
    }
    assert_eq!(till.calls().await, before);
    // The customer may have been at the bank before: Stripe is asked, and the page shows what came of it.
    let done = till.get("/done").await;
    assert!(done.status == 200 && done.html.contains("Another card was saved"), "{}", done.html);
    assert_eq!(till.rechecks().await, 1);
    till.set("status = 'settled', new_quota = 600").await;
    assert!(till.get("/done").await.html.contains("Payment complete"));
}

#[tokio::test]
async fn when_nobody_knows_whether_it_is_confirmed_stripe_is_read_again() {
    for fault in ["drop_after", "500_after", "drop_before", "429"] {
        let till = Till::open(&[]).await;
        till.world.sim("faults", &json!([fault])).await;
        let page = till.press().await;
        let location = format!("{}/done", till.path);
        assert!(page.status == 303 && page.header("location").ends_with(&location), "{fault} {}", page.status);
        assert!(!page.html.contains("harged"), "{fault}: {}", page.html);
        assert_eq!(till.rechecks().await, 1, "{fault}");
        let done = till.get("/done").await;
        assert!(done.html.contains("Waiting for your bank") && !done.html.contains("is charged"), "{}", done.html);
        // The same way on to the bank as ever.
        let again = till.press().await;
        assert!(again.status == 303 && again.header("location").contains("/authenticate"), "{fault} {}", again.html);
        till.at_the_bank(again.header("location"), "succeeded").await;
        assert_eq!(till.sim_get("/_sim/books").await["captured"]["usd"], 10_330, "{fault}");
    }
}

#[tokio::test]
async fn pages_lead_to_where_the_public_url_is() {
    let till = Till::open(&[("PUBLIC_URL", "https://example.com/bill/")]).await;
    let page = till.get("").await;
    assert!(page.html.contains(&format!("<form method=\"post\" action=\"/bill{}\"", till.path)), "{}", page.html);
    let done = till.get("/done").await;
    assert!(done.html.contains(&format!("href=\"/bill{}/done\"", till.path)), "{}", done.html);
}

#[tokio::test]
async fn with_stripe_or_the_database_away_nothing_is_changed() {
    let till = Till::open(&[]).await;
    till.world.sim("faults", &json!(["down:2"])).await;
    let page = till.post("").await;
    assert!(page.status == 303 && page.header("location").ends_with("/done"), "{} {}", page.status, page.html);
    till.world.database_down().await;
    let page = till.get("").await;
    assert!(page.status == 503 && !page.html.contains("harged"), "{}", page.html);
    assert_eq!(page.header("retry-after"), "5");
    let down = || async { till.post("").await.status == 503 && till.get("/done").await.status == 503 };
    until("every page to say so", down).await;
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    assert_eq!(till.intent_status().await, "requires_payment_method");
}
