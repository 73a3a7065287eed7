//! How the chain is: what is left to do, with all there, without the database, and without the broker.

use common::ids::EventId;
use serde_json::{Value, json};

use crate::dead_letters::park;
use crate::waiting::record_recharge;
use crate::world::{World, exceeded, until};

async fn look(world: &World) -> Value {
    let got = world.get("/api/pipeline").await;
    assert_eq!(got.status, 200, "{got:?}");
    got.body
}

/// One consumer of the answer.
fn consumer<'a>(pipeline: &'a Value, stream: &str, name: &str) -> &'a Value {
    let all = pipeline["consumers"].as_array().unwrap_or_else(|| panic!("{pipeline}"));
    all.iter().find(|one| one["stream"] == stream && one["consumer"] == name).unwrap()
}

/// The parts that are said to be unknown.
fn unknown(pipeline: &Value) -> Vec<&str> {
    let parts = pipeline["unknown"].as_array().unwrap();
    assert!(parts.iter().all(|part| part["reason"].as_str().is_some_and(|reason| !reason.is_empty())), "{pipeline}");
    parts.iter().map(|part| part["part"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn what_is_left_to_do_and_since_when() {
    let mut world = World::new(&[]).await;
    let empty = look(&world).await;
    assert!(unknown(&empty).is_empty() && empty["consumers"].as_array().unwrap().len() >= 12, "{empty}");
    assert_eq!(empty["dead_letters"], json!({ "count": 0, "oldest_at": null }));
    assert_eq!(empty["quotas"], json!({ "behind": 0, "oldest_at": null }));
    assert_eq!(empty["outside"]["stripe"]["last_answer"], Value::Null);
    assert_eq!(empty["reconciliation"], json!({ "last": null }));

    world.organization("acme", json!({})).await;
    world.organization("beta", json!({})).await;
    assert_eq!(world.send(world.hook(&exceeded("acme").to_string())).await.status, 202);
    park(&world, "ledger", "recharges.charged.acme", b"{}").await;
    park(&world, "ledger", "recharges.charged.beta", b"{}").await;
    record_recharge(&world, &EventId::parse("evt:1").unwrap(), "declined").await;
    record_recharge(&world, &EventId::parse("evt:2").unwrap(), "pending").await;
    for sql in [
        "UPDATE recharge_records SET created_at = now() - interval '1 hour', ended_at = CASE status WHEN 'declined' THEN now() - interval '10 minutes' END",
        "INSERT INTO refunds (refund_key, recharge_id, c_organization_id, correlation_id, cause, reason, currency, amount, total, status, refusals,
                last_error, next_at, created_at, updated_at)
         SELECT 'request:' || n, (SELECT min(recharge_id::text)::uuid FROM recharge_records), 'acme', 'e', 'requested', 'r', 'usd', 1, 1, 'requested', n,
                CASE n WHEN 1 THEN 'no funds' END, now(), now() - n * interval '1 hour', now() FROM generate_series(0, 1) n",
        "INSERT INTO quota_failures (cause, c_organization_id, backend, ledger_version, quota, reason, correlation_id, failed_at)
         SELECT 'c' || n, 'acme', 'kms', 1, 1, 'reason ' || n, 'c' || n, now() - n * interval '1 hour' FROM generate_series(1, 2) n",
        "INSERT INTO quota_syncs (c_organization_id, backend, ledger_version, quota, changed, cause, correlation_id, synced_at)
         VALUES ('acme', 'kms', 1, 1, true, 's1', 's1', now() - interval '1 hour')",
        "INSERT INTO usage_snapshots (c_organization_id, usage, quota, taken_at) VALUES ('acme', 1, 1, now() - interval '1 minute')",
    ] {
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned())).execute(&world.pool).await.unwrap();
    }
    book(&world, "beta").await;
    assert_eq!(world.post("/api/reconciliations", &json!({})).await.status, 202);

    let told = look(&world).await;
    assert!(unknown(&told).is_empty(), "{told}");
    let webhooks = consumer(&told, "WEBHOOKS", "recharger");
    let counts = ["pending", "ack_pending", "redelivered", "asking"].map(|name| webhooks[name].as_u64());
    assert_eq!(counts, [Some(1), Some(0), Some(0), Some(0)], "{webhooks}");
    assert_eq!((&webhooks["service"], &webhooks["problem"]), (&json!("recharger"), &Value::Null));
    assert_eq!((&told["dead_letters"]["count"], told["dead_letters"]["oldest_at"].is_string()), (&json!(2), true));
    let lines = told["recharges"].as_array().unwrap();
    let lines: Vec<_> =
        lines.iter().map(|line| (line["status"].as_str().unwrap(), line["count"].as_u64().unwrap())).collect();
    assert_eq!(
        lines,
        [("pending", 1), ("processing", 0), ("action_required", 0), ("charged", 0), ("credited", 0), ("refunding", 0)]
    );
    let refunds = &told["refunds"];
    assert_eq!(
        (&refunds["open"], &refunds["failing"], &refunds["last_error"]),
        (&json!(2), &json!(1), &json!("no funds"))
    );
    assert_eq!(refunds["oldest_at"], refunds["failing_oldest_at"]);
    let (stripe, backend) = (&told["outside"]["stripe"], &told["outside"]["quota_backend"]);
    assert_eq!(
        (&stripe["last_answer"]["outcome"], &stripe["waiting_recharges"], &stripe["waiting_refunds"]),
        (&json!("declined"), &json!(1), &json!(2))
    );
    assert_eq!(
        (&backend["last_success"]["what"], &backend["last_failure"]["reason"]),
        (&json!("look"), &json!("reason 1"))
    );
    assert_eq!((&backend["waiting"], &told["quotas"]["behind"]), (&json!(1), &json!(1)));
    assert_eq!(told["quotas"]["oldest_at"], "2026-01-02T00:00:00Z", "the first was pushed");
    assert_eq!(told["reconciliation"]["last"]["finished"], false);

    // The broker's part is told without the database, and nothing without both.
    world.database_down().await;
    until("the database to be missed", || async { look(&world).await["recharges"].is_null() }).await;
    let told = look(&world).await;
    let of_the_database =
        ["recharges", "refunds", "quotas", "outside.stripe", "outside.quota_backend", "reconciliation"];
    assert_eq!(unknown(&told), of_the_database);
    assert_eq!(
        (&told["outside"], &told["reconciliation"]),
        (&json!({ "stripe": null, "quota_backend": null }), &Value::Null)
    );
    assert_eq!(
        (&consumer(&told, "WEBHOOKS", "recharger")["pending"], &told["dead_letters"]["count"]),
        (&json!(1), &json!(2))
    );
    world.nats.down();
    until("the broker to be missed", || async { look(&world).await["consumers"].is_null() }).await;
    assert_eq!(unknown(&look(&world).await), [&["consumers", "dead_letters"][..], &of_the_database].concat());
}

/// Three bookings, of which the first was pushed.
async fn book(world: &World, id: &str) {
    let mut tx = world.pool.begin().await.unwrap();
    for sql in [
        "ALTER TABLE ledger_accounts DISABLE TRIGGER guard_account",
        "ALTER TABLE ledger_transactions DISABLE TRIGGER USER",
        "INSERT INTO ledger_organizations VALUES ('ID', 'usd')",
        "INSERT INTO ledger_accounts (c_organization_id, kind, currency, balance_minor, version) VALUES ('ID', 'balance', 'usd', 300, 3)",
        "INSERT INTO ledger_transactions (id, business_key, kind, c_organization_id, correlation_id, description, currency, posted_at, version, quota_after_minor, previous_hash, hash)
         SELECT gen_random_uuid(), 'k' || n, 'charge', 'ID', 'e', 'd', 'usd', timestamptz '2025-12-31T00:00:00Z' + n * interval '1 day', n, 100 * n, sha256('a'), sha256('b')
           FROM generate_series(1, 3) n",
        "INSERT INTO quota_targets (c_organization_id, currency, target_quota, target_version, pushed_quota, pushed_version, updated_at)
         VALUES ('ID', 'usd', 3, 3, 1, 1, now())",
        "ALTER TABLE ledger_transactions ENABLE TRIGGER USER",
        "ALTER TABLE ledger_accounts ENABLE TRIGGER guard_account",
    ] {
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql.replace("ID", id))).execute(&mut *tx).await.unwrap();
    }
    tx.commit().await.unwrap();
}
