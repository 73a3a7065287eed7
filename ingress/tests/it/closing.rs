//! Closing an organization, and opening it again.

use common::ids::EventId;
use serde_json::{Value, json};

use crate::waiting::record_recharge;
use crate::world::{Got, World, exceeded, until};

async fn close(world: &World, id: &str) -> Got {
    world.send(world.http.delete(world.url(&format!("/api/organizations/{id}")))).await
}

async fn listed(world: &World, query: &str) -> Vec<Value> {
    let got = world.get(&format!("/api/organizations{query}")).await;
    assert_eq!(got.status, 200, "{got:?}");
    got.body["items"].as_array().unwrap().iter().map(|item| item["c_organization_id"].clone()).collect()
}

#[tokio::test]
async fn a_closed_organization_is_only_read_and_can_come_back() {
    let world = World::new(&[]).await;
    for id in ["acme", "other"] {
        world.organization(id, json!({})).await;
    }
    assert_eq!(close(&world, "nobody").await.status, 404);
    let closed = close(&world, "acme").await;
    assert_eq!((closed.status, closed.body["closed_at"].is_string()), (200, true), "{closed:?}");
    assert_eq!(close(&world, "acme").await.body, closed.body, "closing it again changes nothing");

    // Nothing is recharged or changed any more.
    assert_eq!(world.send(world.hook(&exceeded("acme").to_string())).await.status, 404);
    let post = async |path: &str, body: Value| {
        let got = world.post(path, &body).await;
        (got.status, got.body["code"].as_str().unwrap_or_default().to_owned())
    };
    for (path, body) in [
        ("payment-method", json!({ "payment_method_id": "pm_card_visa" })),
        ("setup-intent", json!({})),
        ("card-page", json!({})),
        ("sync", json!({})),
        ("recharge", json!({ "amount": 5 })),
        ("simulate", json!({})),
        ("quota/restore", json!({ "quota_sync_id": 1, "reason": "x" })),
    ] {
        let refused = post(&format!("/api/organizations/acme/{path}"), body).await;
        assert_eq!(refused, (409, "organization_closed".to_owned()), "{path}");
    }
    let user = json!({ "email": "ann@example.com", "c_organization_id": "acme" });
    assert_eq!(post("/api/users", user).await, (409, "organization_closed".to_owned()));
    let patched = world.patch("/api/organizations/acme/config", &json!({ "target_balance": 5 })).await;
    assert_eq!((patched.status, &patched.body["code"]), (409, &json!("organization_closed")));
    // Its id and its team stay its own.
    let again = world.post("/api/organizations", &json!({ "c_organization_id": "acme" })).await;
    assert_eq!((again.status, &again.body["code"]), (409, &json!("organization_exists")));
    assert_eq!(again.body["closed_at"], closed.body["closed_at"]);
    let team = json!({ "c_organization_id": "new", "litellm_team_id": "acme" });
    assert_eq!(post("/api/organizations", team).await, (409, "team_taken".to_owned()));

    // What happened can still be read.
    for path in ["config", "balance", "usage", "users", "quota-history", "recharge-history", "webhook-events"] {
        let got = world.get(&format!("/api/organizations/acme/{path}")).await;
        assert_eq!(got.status, 200, "{path}: {got:?}");
    }
    assert_eq!(world.get("/api/organizations/acme/config").await.body["closed_at"], closed.body["closed_at"]);
    assert_eq!(listed(&world, "").await, [json!("other")]);
    assert_eq!(listed(&world, "?closed=true").await, [json!("acme"), json!("other")]);
    assert_eq!(world.get("/api/organizations?closed=maybe").await.status, 400);

    for _ in 0..2 {
        let got = world.post("/api/organizations/acme/reopen", &json!({})).await;
        assert_eq!((got.status, &got.body["closed_at"]), (200, &json!(null)), "{got:?}");
    }
    assert_eq!(world.post("/api/organizations/nobody/reopen", &json!({})).await.status, 404);
    assert_eq!(world.send(world.hook(&exceeded("acme").to_string())).await.status, 202);
    assert_eq!(world.count("REQUESTS", "requests.evaluate.acme").await, 1);
    let lines: Vec<(String, Option<String>, Option<String>)> = sqlx::query_as(
        "SELECT action, before->>'closed_at', after->>'closed_at' FROM audit_log
          WHERE c_organization_id = 'acme' AND action <> 'organization.created' ORDER BY id",
    )
    .fetch_all(&world.pool)
    .await
    .unwrap();
    let at = closed.body["closed_at"].as_str().map(str::to_owned);
    let want = [("organization.closed".to_owned(), None, at.clone()), ("organization.reopened".to_owned(), at, None)];
    assert_eq!(lines, want);
}

#[tokio::test]
async fn nothing_is_closed_while_a_recharge_is_in_flight_or_is_being_claimed() {
    let world = World::new(&[]).await;
    world.organization("acme", json!({})).await;
    // A claim that has begun, as the recharger begins one.
    let mut claim = world.pool.begin().await.unwrap();
    sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended('recharges:acme', 0))")
        .execute(&mut *claim)
        .await
        .unwrap();
    let waits = async {
        let waiting = "SELECT EXISTS (SELECT FROM pg_locks l JOIN pg_stat_activity a USING (pid)
            WHERE l.locktype = 'advisory' AND NOT l.granted AND a.datname = current_database())";
        until("the closing to wait for the claim", || async {
            sqlx::query_scalar(waiting).fetch_one(&world.pool).await.unwrap()
        })
        .await;
        record_recharge(&world, &EventId::parse("evt_1").unwrap(), "pending").await;
        claim.commit().await.unwrap();
    };
    let (got, ()) = tokio::join!(close(&world, "acme"), waits);
    assert_eq!((got.status, &got.body["code"]), (409, &json!("recharge_in_flight")), "{got:?}");
    for (status, closes) in [("action_required", 409), ("credited", 409), ("refunding", 409), ("settled", 200)] {
        sqlx::query("UPDATE recharge_records SET status = $1").bind(status).execute(&world.pool).await.unwrap();
        assert_eq!(close(&world, "acme").await.status, closes, "{status}");
    }
}
