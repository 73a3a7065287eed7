//! Organizations, cards, histories, and who may call.

use common::ids::EventId;
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::waiting::{record_event, record_recharge};
use crate::world::{World, exceeded, until};

#[tokio::test]
async fn an_organization_is_created_read_and_changed() {
    let world = World::new(&[]).await;
    let body = json!({"c_organization_id": "acme", "minimum_balance": 100, "target_balance": "500", "auto_recharge_enabled": true,
                      "minimum_recharge_amount": 200, "max_daily_amount": 1000.5, "litellm_team_id": "team-1"});
    let got = world.post("/api/organizations", &body).await;
    assert_eq!(got.status, 201, "{got:?}");
    assert_eq!(
        (got.body["target_balance"].to_string(), got.body["max_daily_amount"].to_string()),
        ("500.00".into(), "1000.50".into())
    );
    assert_eq!(
        (&got.body["currency"], &got.body["max_daily_recharges"], &got.body["cooldown_seconds"]),
        (&json!("usd"), &json!(5), &json!(3600))
    );
    assert_eq!(world.get("/api/organizations/acme/config").await.body, got.body);

    let again = world.post("/api/organizations", &body).await;
    assert_eq!((again.status, &again.body["code"]), (409, &json!("organization_exists")));
    let taken = world.post("/api/organizations", &json!({"c_organization_id": "b", "litellm_team_id": "team-1"})).await;
    assert_eq!((taken.status, &taken.body["code"]), (409, &json!("team_taken")));
    let wrong = world
        .post("/api/organizations", &json!({"c_organization_id": "a b", "target_balance": -1, "surprise": true}))
        .await;
    assert_eq!(
        (wrong.status, wrong.fields()),
        (400, vec!["c_organization_id".into(), "target_balance".into(), "surprise".into()])
    );

    let got = world
        .patch(
            "/api/organizations/acme/config",
            &json!({"target_balance": 750.25, "max_daily_amount": null, "resume": true}),
        )
        .await;
    assert_eq!((got.status, got.body["target_balance"].to_string()), (200, "750.25".into()), "{got:?}");
    assert!(got.body["max_daily_amount"].is_null() && got.body["resumed_at"].is_string());
    assert_eq!(got.body["minimum_recharge_amount"].to_string(), "200.00");
    let wrong =
        world.patch("/api/organizations/acme/config", &json!({"currency": "eur", "max_daily_recharges": "many"})).await;
    assert_eq!(wrong.fields(), ["currency", "max_daily_recharges"]);
    world.organization("other", json!({})).await;
    let taken = world.patch("/api/organizations/other/config", &json!({"litellm_team_id": "team-1"})).await;
    assert_eq!((taken.status, &taken.body["code"]), (409, &json!("team_taken")));
    for path in [
        "/api/organizations/nobody/config",
        "/api/organizations/nobody/balance",
        "/api/organizations/nobody/recharge-history",
    ] {
        let got = world.get(path).await;
        assert_eq!((got.status, &got.body["code"]), (404, &json!("unknown_organization")), "{path}");
    }
    assert_eq!(world.get("/api/organizations/a.b/config").await.body["code"], "invalid_organization_id");

    let audit: Vec<(String, String, Option<Value>, Option<Value>)> =
        sqlx::query_as("SELECT actor, action, before, after FROM audit_log ORDER BY id")
            .fetch_all(&world.pool)
            .await
            .unwrap();
    let actions: Vec<_> = audit.iter().map(|(actor, action, ..)| (actor.as_str(), action.as_str())).collect();
    assert_eq!(
        actions,
        [
            ("anonymous", "organization.created"),
            ("anonymous", "organization.resumed"),
            ("anonymous", "organization.created")
        ]
    );
    let (before, after) = (audit[1].2.as_ref().unwrap(), audit[1].3.as_ref().unwrap());
    assert_eq!(
        (before["target_balance"].to_string(), after["target_balance"].to_string()),
        ("500.00".into(), "750.25".into())
    );
    for change in ["UPDATE audit_log SET actor = 'nobody'", "DELETE FROM audit_log", "TRUNCATE audit_log"] {
        assert!(sqlx::query(change).execute(&world.pool).await.is_err(), "{change}");
    }
}

#[tokio::test]
async fn a_team_that_litellm_has_met_stays() {
    let world = World::new(&[]).await;
    world.organization("other", json!({})).await;
    // At the KMS the name is only a name.
    for (backend, wanted, status) in [("kms", "team-3", 200), ("litellm", "team-4", 409), ("litellm", "team-2", 200)] {
        let sql = "INSERT INTO quota_syncs (c_organization_id, backend, ledger_version, quota, changed, cause, correlation_id,
                       litellm_team_id, synced_at)
                   VALUES ('other', $1, 1, 5, true, 'evt_' || $2, 'evt', 'team-2', now())";
        sqlx::query(sql).bind(backend).bind(wanted).execute(&world.pool).await.unwrap();
        let got = world.patch("/api/organizations/other/config", &json!({"litellm_team_id": wanted})).await;
        assert_eq!(got.status, status, "{got:?}");
        assert!(status == 200 || got.body["code"] == "team_met", "{got:?}");
    }
}

#[tokio::test]
async fn a_team_is_found_as_soon_as_it_is_linked() {
    let world = World::new(&[]).await;
    world.organization("acme", json!({})).await;
    let status = async |team: &str| world.send(world.hook(&exceeded(team).to_string())).await.status;
    assert_eq!((status("acme").await, status("team-2").await), (202, 404));
    world.patch("/api/organizations/acme/config", &json!({"litellm_team_id": "team-2"})).await;
    assert_eq!((status("acme").await, status("team-2").await), (404, 202));
    // Somebody else's change: another replica, or the syncer.
    sqlx::query("UPDATE organization_balance_config SET litellm_team_id = 'team-3'")
        .execute(&world.pool)
        .await
        .unwrap();
    until("the directory", || async { status("team-2").await == 404 }).await;
    assert_eq!(status("team-3").await, 202);
}

#[tokio::test]
async fn organizations_are_listed_in_pages() {
    let world = World::new(&[]).await;
    for id in ["b", "A", "c"] {
        world.organization(id, json!({})).await;
    }
    let ids = |got: &Value| {
        got["items"].as_array().unwrap().iter().map(|item| item["c_organization_id"].clone()).collect::<Vec<_>>()
    };
    let first = world.get("/api/organizations?limit=2").await.body;
    assert_eq!((ids(&first), &first["next_cursor"]), (vec![json!("A"), json!("b")], &json!("b")));
    let second = world.get("/api/organizations?limit=2&after=b").await.body;
    assert_eq!((ids(&second), &second["next_cursor"]), (vec![json!("c")], &Value::Null));
    assert_eq!(world.get("/api/organizations?limit=0").await.body["code"], "invalid_query");
}

#[tokio::test]
async fn a_card_is_saved_and_parallel_calls_make_one_customer() {
    let world = World::new(&[]).await;
    world.organization("acme", json!({})).await;
    let path = "/api/organizations/acme/payment-method";
    let card = json!({ "payment_method_id": "pm_card_visa", "set_as_default": true });
    let answers = join_all((0..8).map(|_| world.post(path, &card))).await;
    for got in &answers {
        assert_eq!(
            (got.status, &got.body["last4"], &got.body["brand"]),
            (200, &json!("4242"), &json!("visa")),
            "{got:?}"
        );
        assert_eq!(got.body["stripe_customer_id"], answers[0].body["stripe_customer_id"]);
    }
    let books: Value = reqwest_json(&world, &format!("{}/v1/customers", world.stripe.url())).await;
    assert_eq!(books["data"].as_array().unwrap().len(), 1, "{books}");
    let config = world.get("/api/organizations/acme/config").await.body;
    assert_eq!(config["payment_method_last4"], "4242");
    assert_ne!(config["default_payment_method_id"], "pm_card_visa", "the attached card is what can be charged");
    let actions: Vec<String> =
        sqlx::query_scalar("SELECT DISTINCT action FROM audit_log ORDER BY 1").fetch_all(&world.pool).await.unwrap();
    assert_eq!(actions, ["organization.created", "payment_method.set", "stripe_customer.created"]);

    // Attached, but not the one that is charged.
    let got = world.post(path, &json!({ "payment_method_id": "pm_card_mastercard", "set_as_default": false })).await;
    assert_eq!((got.status, &got.body["is_default"], &got.body["brand"]), (200, &json!(false), &json!("mastercard")));
    assert_eq!(world.get("/api/organizations/acme/config").await.body["payment_method_brand"], "visa");

    let got = world.post(path, &json!({ "payment_method_id": "pm_nothing" })).await;
    assert_eq!((got.status, &got.body["code"]), (400, &json!("payment_method_refused")), "{got:?}");
    for bad in [
        json!({}),
        json!({ "payment_method_id": "../customers" }),
        json!({ "payment_method_id": "" }),
        json!({ "payment_method_id": 5 }),
    ] {
        assert_eq!(world.post(path, &bad).await.fields(), ["payment_method_id"], "{bad}");
    }
    assert_eq!(world.post("/api/organizations/nobody/payment-method", &card).await.status, 404);

    order_faults(&world, r#"["down:30"]"#).await;
    let got = world.post(path, &card).await;
    assert_eq!((got.status, &got.body["code"]), (503, &json!("stripe_unavailable")), "{got:?}");
}

/// Webhooks need the connections that there are.
#[tokio::test]
async fn a_slow_stripe_holds_no_connection_to_the_database() {
    let world = World::new(&[("DATABASE_POOL", "4")]).await;
    let names: Vec<String> = (0..6).map(|number| format!("org-{number}")).collect();
    for name in &names {
        world.organization(name, json!({})).await;
    }
    order_faults(&world, r#"["slow:3000","slow:3000","slow:3000","slow:3000","slow:3000","slow:3000"]"#).await;
    let card = json!({ "payment_method_id": "pm_card_visa", "set_as_default": true });
    let saving = join_all(names.iter().map(|name| {
        let (path, card) = (format!("/api/organizations/{name}/payment-method"), &card);
        let world = &world;
        async move { world.post(&path, card).await }
    }));
    let reading = async {
        tokio::time::sleep(std::time::Duration::from_millis(700)).await;
        let begun = std::time::Instant::now();
        let read = world.get("/api/organizations/org-0/balance").await;
        (read.status, begun.elapsed())
    };
    let (saved, (status, took)) = tokio::join!(saving, reading);
    assert_eq!(status, 200);
    assert!(took < std::time::Duration::from_millis(1_500), "{took:?}");
    for got in saved {
        assert_eq!(got.status, 200, "{got:?}");
    }
}

async fn reqwest_json(world: &World, url: &str) -> Value {
    let text = world.http.get(url).bearer_auth("sk_test_1").send().await.unwrap().text().await.unwrap();
    serde_json::from_str(&text).unwrap()
}

async fn order_faults(world: &World, list: &'static str) {
    let got = world.http.post(format!("{}/_sim/faults", world.stripe.url())).body(list).send().await.unwrap();
    assert_eq!(got.status(), 200);
}

#[tokio::test]
async fn histories_have_the_newest_first_in_pages() {
    let world = World::new(&[]).await;
    world.organization("acme", json!({})).await;
    for number in 1..=3 {
        let id = EventId::parse(format!("evt:{number}")).unwrap();
        record_event(&world, &id, "charge", None).await;
        record_recharge(&world, &id, if number == 3 { "declined" } else { "settled" }).await;
    }
    sqlx::query("UPDATE recharge_records SET failure_code = 'card_declined', decline_code = 'lost_card', failure_message = 'no' WHERE status = 'declined'")
        .execute(&world.pool)
        .await
        .unwrap();
    for (list, key) in [("recharge-history", "webhook_event_id"), ("webhook-events", "event_id")] {
        let first = world.get(&format!("/api/organizations/acme/{list}?limit=2")).await.body;
        let ids: Vec<_> = first["items"].as_array().unwrap().iter().map(|item| item[key].clone()).collect();
        assert_eq!(ids, [json!("evt:3"), json!("evt:2")], "{first}");
        let cursor = first["next_cursor"].as_str().unwrap().replace(':', "%3A");
        let second = world.get(&format!("/api/organizations/acme/{list}?limit=2&before={cursor}")).await.body;
        assert_eq!((&second["items"][0][key], &second["next_cursor"]), (&json!("evt:1"), &Value::Null), "{second}");
        for bad in ["x", "1_x_%00", "99999999999999999999_x", "-300000000000000000_x", "-8000000000000000000_x"] {
            let got = world.get(&format!("/api/organizations/acme/{list}?before={bad}")).await;
            assert!(got.status == 400 || list == "webhook-events", "{bad}: {got:?}");
            assert!(got.status < 500, "{bad}: {got:?}");
        }
    }
    narrowed(&world).await;
    let newest = &world.get("/api/organizations/acme/recharge-history").await.body["items"][0];
    assert_eq!(
        (newest["amount"].to_string(), newest["fee"].to_string(), &newest["status"]),
        ("100.00".into(), "0.00".into(), &json!("declined"))
    );
    assert_eq!(newest["failure"]["decline_code"], "lost_card");
    assert_eq!((&newest["triggered_by"], &newest["triggered_by_webhook"]), (&json!("webhook"), &json!(true)));
}

/// The same lists, narrowed; and the audit log, which knows one creation and one change.
async fn narrowed(world: &World) {
    sqlx::query("UPDATE recharge_records SET triggered_by = 'sweep' WHERE trigger_event_id = 'evt:2'")
        .execute(&world.pool)
        .await
        .unwrap();
    assert_eq!(world.patch("/api/organizations/acme/config", &json!({ "minimum_balance": 5 })).await.status, 200);
    let (history, events, audit) =
        ("/api/organizations/acme/recharge-history", "/api/organizations/acme/webhook-events", "/api/audit-log");
    for (path, query, count) in [
        (history, "status=settled", 2),
        (history, "status=declined&triggered_by=webhook", 1),
        (history, "triggered_by=sweep", 1),
        (history, "triggered_by=sweep&status=refunded", 0),
        (history, "from=2020-01-01T00:00:00Z&to=2999-01-01T00:00:00%2B01:00", 3),
        (history, "to=2020-01-01T00:00:00Z", 0),
        (events, "decision=charge&source=litellm", 3),
        (events, "decision=skipped", 0),
        (events, "from=2999-01-01T00:00:00Z", 0),
        (audit, "action=organization", 2),
        (audit, "action=organization.changed&actor=anonymous", 1),
        (audit, "action=organ", 0),
        (audit, "actor=anon", 0),
    ] {
        let got = world.get(&format!("{path}?{query}")).await;
        assert_eq!(got.body["items"].as_array().map(Vec::len), Some(count), "{path} {query}: {got:?}");
    }
    for (path, query) in [
        (history, "status=lost"),
        (history, "triggered_by=me"),
        (history, "from=soon"),
        (history, "from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z"),
        (events, "decision=maybe"),
        (events, "source=moon"),
        (audit, "action=%25"),
        (audit, "actor=%00"),
    ] {
        let got = world.get(&format!("{path}?{query}")).await;
        let sentence = got.body["error"].as_str().unwrap_or_default();
        assert_eq!((got.status, &got.body["code"]), (400, &json!("invalid_query")), "{path} {query}");
        assert!(sentence.contains(" must be "), "{sentence}");
    }
}

#[tokio::test]
async fn the_balance_shows_what_the_others_know() {
    let world = World::new(&[]).await;
    world.organization("acme", json!({})).await;
    let got = world.get("/api/organizations/acme/balance").await.body;
    assert_eq!(
        (got["quota"].to_string(), &got["ledger_version"], &got["usage"], &got["paused"]),
        ("0.00".into(), &json!(0), &Value::Null, &json!(false))
    );
    sqlx::raw_sql(
        "INSERT INTO usage_snapshots (c_organization_id, usage, quota, taken_at) VALUES ('acme', 12.5, 0, now());
         INSERT INTO recharge_state (c_organization_id, synced_quota, paused_at, pause_reason, cooldown_until)
         VALUES ('acme', 600, now(), 'hard_decline', now() + interval '1 hour')",
    )
    .execute(&world.pool)
    .await
    .unwrap();
    let got = world.get("/api/organizations/acme/balance").await.body;
    assert_eq!(
        (got["usage"].to_string(), got["available"].to_string(), got["quota_in_force"].to_string()),
        ("12.50".into(), "-12.50".into(), "600.00".into())
    );
    assert_eq!(
        (&got["paused"], &got["pause_reason"], got["cooldown_until"].is_string()),
        (&json!(true), &json!("hard_decline"), true)
    );
    world.patch("/api/organizations/acme/config", &json!({ "resume": true })).await;
    assert_eq!(world.get("/api/organizations/acme/balance").await.body["paused"], false);
}

#[tokio::test]
async fn every_answer_is_json_with_a_code() {
    let world = World::new(&[]).await;
    for (method, path, status, code) in [
        ("GET", "/api", 404, "no_such_route"),
        ("POST", "/nowhere", 404, "no_such_route"),
        ("GET", "/healthy", 404, "no_such_route"),
        ("GET", "/health/none", 404, "no_such_route"),
        ("POST", "/test/db-insert", 404, "no_such_route"),
        ("POST", "/health", 405, "method_not_allowed"),
        ("DELETE", "/metrics", 405, "method_not_allowed"),
        ("GET", "/webhooks/litellm/limit-exceeded", 405, "method_not_allowed"),
        ("PUT", "/api/organizations", 405, "method_not_allowed"),
        ("DELETE", "/api/organizations/a/config", 405, "method_not_allowed"),
        ("POST", "/api/organizations", 415, "unsupported_media_type"),
        ("PATCH", "/api/organizations/a/config", 415, "unsupported_media_type"),
        ("GET", "/api/events/nothing", 404, "unknown_event"),
        ("GET", "/api/events/%FF%00", 404, "unknown_event"),
        ("GET", "/api/recharges/nothing", 404, "unknown_recharge"),
    ] {
        let request = world.http.request(method.parse().unwrap(), world.url(path));
        let got = world.send(request).await;
        assert_eq!((got.status, &got.body["code"]), (status, &json!(code)), "{method} {path}");
        assert!(got.body["error"].as_str().is_some_and(|error| !error.is_empty()));
        assert!(
            !got.header("x-request-id").is_empty() && got.header("x-content-type-options") == "nosniff",
            "{method} {path}"
        );
        assert_eq!(got.header("allow").is_empty(), status != 405, "{method} {path}");
    }
    let health = world.get("/health").await;
    assert_eq!((health.status, health.header("x-content-type-options")), (200, "nosniff"));
    assert!(!health.header("x-request-id").is_empty());
}
