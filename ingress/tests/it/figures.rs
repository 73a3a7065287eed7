//! What an organization spent, who its users are, and what was done to its quota.

use common::config::Secret;
use common::contract::{AdjustRequestedV1, QuotaSyncedV1, SyncRequestedV1};
use common::money::{Currency, Money};
use reqwest::Method;
use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::access::{call, guarded, make};
use crate::waiting::{record_recharge, trigger_on};
use crate::world::{Got, World, until};

#[tokio::test]
async fn usage_over_time_and_this_month() {
    let world = World::new(&[]).await;
    world.organization("acme", json!({})).await;
    let usage = async |query: &str| world.get(&format!("/api/organizations/acme/usage{query}")).await;
    let got = usage("").await;
    assert_eq!((got.status, &got.body["usage"], &got.body["month"]["source"]), (200, &json!(null), &json!(null)));
    assert_eq!((&got.body["points"], got.body["month"]["paid"].to_string()), (&json!([]), "0.00".to_owned()));

    // A look every minute for two days before the month began, and one a second ago; 1 usd each.
    sqlx::query(
        "INSERT INTO usage_snapshots (c_organization_id, usage, quota, taken_at)
         SELECT 'acme', row_number() OVER (ORDER BY at), 5000, at FROM (
            SELECT generate_series(month - interval '2 days', month - interval '1 minute', '1 minute') AS at
              FROM (SELECT date_trunc('month', now(), 'UTC') AS month) m
            UNION ALL SELECT greatest(now() - interval '1 second', date_trunc('month', now(), 'UTC'))) looks",
    )
    .execute(&world.pool)
    .await
    .unwrap();
    record_recharge(&world, &"evt_1".parse().unwrap(), "settled").await;
    sqlx::query("UPDATE recharge_records SET charged_at = now(), refunded_total = 30, refunded_amount = 30")
        .execute(&world.pool)
        .await
        .unwrap();
    let got = usage("?days=60").await.body;
    let month = &got["month"];
    assert_eq!((&month["source"], month["usage"].to_string()), (&json!("snapshots"), "1.00".to_owned()), "{month}");
    assert_eq!(["captured", "refunded", "paid"].map(|name| month[name].to_string()), ["100.00", "30.00", "70.00"]);
    assert_eq!((got["usage"].to_string(), got["available"].to_string()), ("2881.00".into(), "-2881.00".into()));
    let points = got["points"].as_array().unwrap();
    assert!((2..=30).contains(&points.len()), "60 days in 500 parts: {}", points.len());
    assert_eq!((&points[0]["usage"], points[0]["available"].to_string()), (&got["usage"], "2119.00".to_owned()));
    let times: Vec<_> = points.iter().map(|point| point["at"].as_str().unwrap()).collect();
    assert!(times.is_sorted_by(|newer, older| newer > older), "{times:?}");
    let (from, to): (String, String) = sqlx::query_as(
        "SELECT to_char(at - interval '1 day', f), to_char(at, f)
           FROM (SELECT date_trunc('month', now(), 'UTC') AT TIME ZONE 'UTC' AS at, 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"' AS f) x",
    )
    .fetch_one(&world.pool)
    .await
    .unwrap();
    let got = usage(&format!("?from={from}&to={to}")).await.body;
    assert_eq!(got["points"].as_array().unwrap().len(), 500, "a day of 1440 looks");
    // Where the backend counts, it is right.
    sqlx::query("UPDATE usage_snapshots SET month_usage = 7.125 WHERE usage = 2881")
        .execute(&world.pool)
        .await
        .unwrap();
    let month = usage("").await.body["month"].clone();
    assert_eq!((&month["source"], month["usage"].to_string()), (&json!("backend"), "7.125".to_owned()));
    for bad in ["?days=0", "?days=1&to=2026-01-01T00:00:00Z", "?from=soon"] {
        let got = usage(bad).await;
        assert_eq!((got.status, &got.body["code"]), (400, &json!("invalid_query")), "{bad}");
    }
    assert_eq!(world.get("/api/organizations/nobody/usage").await.status, 404);
}

#[tokio::test]
async fn users_of_an_organization() {
    let (world, ann) = guarded(&[]).await;
    let post = async |by: &Secret, path: &str, body: Value| call(&world, by, Method::POST, path, Some(&body)).await;
    let get = async |by: &Secret, path: &str| call(&world, by, Method::GET, path, None).await;
    for id in ["acme", "other"] {
        assert_eq!(post(&ann, "/api/organizations", json!({ "c_organization_id": id })).await.status, 201);
    }
    let (admin, _) =
        make(&world, &ann, &json!({ "name": "bob", "role": "org_admin", "c_organization_id": "acme" })).await;
    let wrong = post(&admin, "/api/users", json!({ "email": "ann@", "litellm_team_id": "", "admin": true })).await;
    assert_eq!(
        (wrong.status, wrong.fields()),
        (400, ["email", "c_organization_id", "litellm_team_id", "admin"].map(str::to_owned).to_vec())
    );
    for (by, organization, status) in [(&admin, "other", 404), (&ann, "nobody", 404), (&ann, "other", 201)] {
        let user = json!({ "email": "eve@example.com", "c_organization_id": organization });
        assert_eq!(post(by, "/api/users", user).await.status, status, "{organization}");
    }
    sqlx::query("CREATE UNIQUE INDEX ON users (email) WHERE c_organization_id = 'acme'")
        .execute(&world.pool)
        .await
        .unwrap();
    for number in 0..3 {
        let user =
            json!({ "email": format!("u{number}@example.com"), "c_organization_id": "acme", "litellm_team_id": "t" });
        let got = post(&admin, "/api/users", user.clone()).await;
        assert_eq!((got.status, &got.body["email"], got.body["created_at"].is_string()), (201, &user["email"], true));
        // Whoever is limited to an organization is not told why: it may be for what others have.
        for (by, code) in [(&admin, "user_not_insertable"), (&ann, "user_exists")] {
            let again = post(by, "/api/users", user.clone()).await;
            assert_eq!((again.status, &again.body["code"]), (409, &json!(code)), "{again:?}");
        }
    }
    let first = get(&admin, "/api/organizations/acme/users?limit=2").await.body;
    let next = first["next_cursor"].as_str().unwrap();
    let second = get(&admin, &format!("/api/organizations/acme/users?limit=2&after={next}")).await.body;
    let all: Vec<_> = [&first, &second].iter().flat_map(|page| page["items"].as_array().unwrap()).collect();
    assert_eq!((all.len(), &second["next_cursor"]), (3, &json!(null)));
    assert!(all.iter().all(|user| user["c_organization_id"] == "acme" && user["litellm_team_id"] == "t"), "{all:?}");
    assert_eq!(get(&admin, "/api/organizations/other/users").await.status, 404);
    assert_eq!(get(&admin, "/api/organizations/acme/users?after=%00").await.status, 400);
    let lines = get(&admin, "/api/audit-log").await.body;
    let created = lines["items"].as_array().unwrap().iter().filter(|line| line["action"] == "user.created");
    assert_eq!(created.count(), 3, "what was refused is not there");
}

async fn add_sync(world: &World, cause: &str, correlation: &str, quota: i64) -> i64 {
    sqlx::query_scalar(
        "INSERT INTO quota_syncs (c_organization_id, backend, ledger_version, previous_quota, quota, changed, cause,
                correlation_id, synced_at)
         VALUES ('acme', 'kms', 1, 0, $1, true, $2, $3, now()) RETURNING id",
    )
    .bind(Decimal::from(quota))
    .bind(cause)
    .bind(correlation)
    .fetch_one(&world.pool)
    .await
    .unwrap()
}

async fn restore(world: &World, key: &str, body: &Value) -> Got {
    let request = world.http.post(world.url("/api/organizations/acme/quota/restore"));
    let request = if key.is_empty() { request } else { request.header("idempotency-key", key) };
    world.send(request.header("content-type", "application/json").body(body.to_string())).await
}

fn in_force(quota: i64) -> QuotaSyncedV1 {
    QuotaSyncedV1 {
        backend: "kms".to_owned(),
        quota: Decimal::from(quota),
        previous_quota: None,
        ledger_version: 2,
        litellm_team_id: None,
        changed: true,
    }
}

#[tokio::test]
async fn an_earlier_quota_is_put_back_once() {
    let world = World::new(&[("API_WAIT_MS", "10000")]).await;
    for id in ["acme", "other"] {
        world.organization(id, json!({})).await;
    }
    let synced = add_sync(&world, "sync:1", "sync:1", 500).await;
    let empty = add_sync(&world, "repair:7", "repair:7", 0).await;
    let wrong = restore(&world, "", &json!({ "quota_sync_id": "x", "quota": 5 })).await;
    assert_eq!((wrong.status, wrong.fields()), (400, ["quota_sync_id", "reason", "quota"].map(str::to_owned).to_vec()));
    let other =
        world.post("/api/organizations/other/quota/restore", &json!({ "quota_sync_id": synced, "reason": "x" })).await;
    assert_eq!((other.status, &other.body["code"]), (404, &json!("unknown_quota_sync")));

    let body = json!({ "quota_sync_id": synced, "reason": "a mistake" });
    let play = async {
        let asked = trigger_on(&world, "requests.adjust.acme").await;
        world.soon(&asked, "acme", in_force(500));
        asked
    };
    let (got, asked) = tokio::join!(restore(&world, "k1", &body), play);
    assert_eq!((got.status, &got.body["success"], &got.body["changed"]), (200, &json!(true), &json!(true)), "{got:?}");
    assert_eq!(["change", "quota"].map(|name| got.body[name].to_string()), ["500.00", "500.00"]);
    let published = world.newest::<AdjustRequestedV1>("requests.adjust.acme").await;
    let data = &published.data;
    assert_eq!((&published.id, data.amount, data.basis_version), (&asked, Money::new(50_000, Currency::USD), Some(0)));
    assert!(published.data.reason.contains("a mistake") && published.data.requested_by == "anonymous");

    // The same call again is the same correction; what the syncer did is in its table by then.
    let pushed = add_sync(&world, "ledger.credited:0d3c1e3e-6a55-5a6f-9c37-0c8b6f0a3f11", asked.as_str(), 500).await;
    let again = restore(&world, "k1", &body).await;
    assert_eq!((again.status, again.body["change"].to_string()), (200, "500.00".to_owned()), "{again:?}");
    assert_eq!(world.count("REQUESTS", "requests.adjust.>").await, 1);
    let reused = restore(&world, "k1", &json!({ "quota_sync_id": empty, "reason": "x" })).await;
    assert_eq!((reused.status, &reused.body["code"]), (409, &json!("idempotency_key_reuse")));

    // Nothing to book: it is pushed all the same. (The ledger of this test is empty.)
    let play = async {
        let asked = trigger_on(&world, "requests.sync.acme").await;
        world.soon(&asked, "acme", in_force(0));
    };
    let nothing = json!({ "quota_sync_id": empty, "reason": "x" });
    let (got, ()) = tokio::join!(restore(&world, "", &nothing), play);
    assert_eq!((got.status, &got.body["changed"], got.body["quota"].to_string()), (200, &json!(false), "0.00".into()));
    assert_eq!(world.newest::<SyncRequestedV1>("requests.sync.acme").await.data.requested_by, "anonymous");

    sqlx::query(
        "INSERT INTO quota_failures (cause, c_organization_id, backend, ledger_version, quota, reason, correlation_id, failed_at)
         VALUES ('ledger.credited:x', 'acme', 'kms', 3, 600, 'out of order', 'evt_9', now())",
    )
    .execute(&world.pool)
    .await
    .unwrap();
    let first = world.get("/api/organizations/acme/quota-history?limit=3").await.body;
    let next = first["next_cursor"].as_str().unwrap();
    let rest = world.get(&format!("/api/organizations/acme/quota-history?limit=3&before={next}")).await.body;
    let entries: Vec<_> = [&first, &rest].iter().flat_map(|page| page["items"].as_array().unwrap()).collect();
    let seen: Vec<_> = entries.iter().map(|entry| (&entry["kind"], &entry["quota_sync_id"], &entry["why"])).collect();
    let want = [
        (json!("failed"), json!(null), json!("sync")),
        (json!("synced"), json!(pushed), json!("sync")),
        (json!("synced"), json!(empty), json!("repair")),
        (json!("synced"), json!(synced), json!("sync")),
    ];
    assert_eq!(seen, want.each_ref().map(|(kind, id, why)| (kind, id, why)));
    assert_eq!((&entries[0]["message"], &entries[1]["requested_by"]), (&json!("out of order"), &json!("anonymous")));
    assert_eq!(world.get("/api/organizations/nobody/quota-history").await.status, 404);
    let lines: Vec<(Value, Value)> =
        sqlx::query_as("SELECT before, after FROM audit_log WHERE action = 'quota.restore_requested' ORDER BY id")
            .fetch_all(&world.pool)
            .await
            .unwrap();
    assert_eq!(lines.len(), 2, "one for each correction: {lines:?}");
    assert_eq!((lines[0].0["quota"].to_string(), lines[0].1["quota"].to_string()), ("0.00".into(), "500.00".into()));
    // A refund that is on its way will take the quota back itself.
    sqlx::query(
        "INSERT INTO recharge_records (recharge_id, c_organization_id, amount, fee, total_charge, currency, status, triggered_by)
         VALUES ('0d3c1e3e-6a55-5a6f-9c37-0c8b6f0a3f11', 'acme', 500, 0, 500, 'usd', 'refunding', 'manual')",
    )
    .execute(&world.pool)
    .await
    .unwrap();
    sqlx::query(
        "INSERT INTO refunds (refund_key, recharge_id, c_organization_id, correlation_id, cause, reason, currency, amount,
                total, status, created_at, updated_at)
         VALUES ('r1', '0d3c1e3e-6a55-5a6f-9c37-0c8b6f0a3f11', 'acme', 'evt_1', 'requested', 'x', 'usd', 500, 500, 'requested',
                now(), now())",
    )
    .execute(&world.pool)
    .await
    .unwrap();
    let got = restore(&world, "k2", &body).await;
    assert_eq!((got.status, &got.body["code"]), (409, &json!("refund_or_dispute_open")), "{got:?}");
    sqlx::query("UPDATE refunds SET was_refunded = true").execute(&world.pool).await.unwrap();
    // With the broker down it is known that nothing was asked for, and under which key it can be.
    let mut world = world;
    world.nats.down();
    until("ingress to notice", || async { world.get("/health/ready").await.status == 503 }).await;
    let got = restore(&world, "k3", &body).await;
    assert_eq!((got.status, &got.body["idempotency_key"]), (503, &json!("k3")), "{got:?}");
}
