//! Comparing the books: asked for, by itself, and after a crash. The test plays the services.

use common::contract::Payload;
use common::contract::ReconcileRequestedV1;
use serde_json::{Value, json};

use crate::world::{World, until};

const SUBJECT: &str = "requests.reconcile.@unresolved";

async fn finish(world: &World, run: &str, part: &str) {
    sqlx::query("INSERT INTO reconciliation_parts (run_id, part, checked, finished_at) VALUES ($1, $2, 10, now())")
        .bind(run)
        .bind(part)
        .execute(&world.pool)
        .await
        .unwrap();
}

async fn find(world: &World, run: &str, kind: &str, action: &str) {
    sqlx::query(
        "INSERT INTO reconciliation_findings (run_id, part, kind, c_organization_id, action, detail, found_at)
         VALUES ($1, 'charges', $2, 'acme', $3, 'a sentence', now())",
    )
    .bind(run)
    .bind(kind)
    .bind(action)
    .execute(&world.pool)
    .await
    .unwrap();
}

#[tokio::test]
async fn a_run_is_asked_for_and_read() {
    let world = World::new(&[("API_WAIT_MS", "10000")]).await;
    let play = async {
        until("the request", || async { world.count("REQUESTS", SUBJECT).await == 1 }).await;
        let asked = world.newest::<ReconcileRequestedV1>(SUBJECT).await;
        let run = asked.data.run_id.clone();
        find(&world, &run, "charge_unknown", "reported").await;
        find(&world, &run, "refund_not_recorded", "repaired").await;
        for part in ["charges", "bookings", "quotas"] {
            finish(&world, &run, part).await;
        }
        asked
    };
    let (got, asked) = tokio::join!(world.send(world.http.post(world.url("/api/reconciliations"))), play);
    assert_eq!((got.status, &got.body["finished"], &got.body["findings"]), (200, &json!(true), &json!(2)), "{got:?}");
    assert_eq!(
        (&got.body["checked"], &got.body["repaired"], &got.body["run_id"]),
        (&json!(30), &json!(1), &json!(asked.data.run_id))
    );
    assert_eq!(asked.time - asked.data.since, chrono::TimeDelta::hours(48));
    assert_eq!(asked.id.as_str(), format!("{}:{}", ReconcileRequestedV1::KIND, asked.data.run_id));

    let shown = world.get(&format!("/api/reconciliations/{}?limit=1", asked.data.run_id)).await.body;
    assert_eq!((shown["parts"].as_array().unwrap().len(), shown["items"].as_array().unwrap().len()), (3, 1));
    let rest = format!("/api/reconciliations/{}?after={}", asked.data.run_id, shown["next_cursor"].as_str().unwrap());
    let rest = world.get(&rest).await.body;
    assert_eq!((&rest["items"][0]["kind"], &rest["next_cursor"]), (&json!("refund_not_recorded"), &Value::Null));
    let audited: i64 = sqlx::query_scalar("SELECT count(*) FROM audit_log WHERE action = 'reconciliation.requested'")
        .fetch_one(&world.pool)
        .await
        .unwrap();
    assert_eq!(audited, 1);
    assert_eq!(world.get("/api/reconciliations/nobody").await.body["code"], "unknown_reconciliation");
    assert_eq!(world.get("/api/reconciliations/a%20b").await.status, 404);
}

#[tokio::test]
async fn a_key_is_one_run_and_what_lasts_longer_is_a_202() {
    let world = World::new(&[("API_WAIT_MS", "200")]).await;
    let post = |key: &str, body: Value| {
        let request = world.http.post(world.url("/api/reconciliations")).header("idempotency-key", key);
        world.send(request.header("content-type", "application/json").body(body.to_string()))
    };
    let first = post("k", json!({ "since": "2026-01-01T00:00:00Z" })).await;
    assert_eq!((first.status, &first.body["accepted"]), (202, &json!(true)), "{first:?}");
    let path = first.body["status_url"].as_str().unwrap().split_once("/api").unwrap().1.to_owned();
    assert_eq!(world.get(&format!("/api{path}")).await.body["finished"], false);
    let again = post("k", json!({})).await;
    assert_eq!(again.body["run_id"], first.body["run_id"]);
    let other = post("k", json!({ "since": "2026-01-02T00:00:00Z" })).await;
    assert_eq!((other.status, &other.body["code"]), (409, &json!("idempotency_key_reuse")));
    assert_eq!(world.count("REQUESTS", SUBJECT).await, 1);
    for bad in ["yesterday", "2999-01-01T00:00:00Z", "1969-01-01T00:00:00Z", "+262142-01-01T00:00:00Z"] {
        assert_eq!(post("b", json!({ "since": bad })).await.fields(), ["since"], "{bad}");
    }
    post("l", json!({})).await;
    let page = world.get("/api/reconciliations?limit=1").await.body;
    assert_ne!(page["items"][0]["run_id"], first.body["run_id"]);
    let next = world.get(&format!("/api/reconciliations?before={}", page["next_cursor"].as_str().unwrap())).await.body;
    assert_eq!((&next["items"][0]["run_id"], next["items"].as_array().unwrap().len()), (&first.body["run_id"], 1));
}

#[tokio::test]
async fn once_an_hour_however_many_replicas_there_are() {
    let world = World::new(&[("RECONCILE_INTERVAL", "1h")]).await;
    let other = world.another().await;
    until("the hourly run", || async { world.count("REQUESTS", SUBJECT).await > 0 }).await;
    let list: Value = world.send(world.http.get(format!("{other}/api/reconciliations"))).await.body;
    let runs = list["items"].as_array().unwrap();
    let name = runs[0]["run_id"].as_str().unwrap();
    assert!(name.starts_with("hourly-20") && name.len() == "hourly-2026-11-23T10".len(), "{name}");
    assert_eq!(runs[0]["requested_by"], "schedule");
    assert!(runs.len() <= 2 && world.count("REQUESTS", SUBJECT).await == runs.len(), "{list}");
}

#[tokio::test]
async fn a_run_that_was_written_down_and_never_published_is_published() {
    let world = World::new(&[]).await;
    for (run, minutes, parts) in
        [("lost", 3, 0), ("partly", 4, 2), ("done", 4, 3), ("new", 0, 0), ("slow", 60, 2), ("old", 3_000, 0)]
    {
        sqlx::query(
            "INSERT INTO reconciliation_runs (run_id, since, requested_by, requested_at)
             VALUES ($1, now() - interval '2 days', 'ann', now() - make_interval(mins => $2))",
        )
        .bind(run)
        .bind(minutes)
        .execute(&world.pool)
        .await
        .unwrap();
        for part in ["charges", "bookings", "quotas"].into_iter().take(parts) {
            finish(&world, run, part).await;
        }
    }
    until("both", || async { world.count("REQUESTS", SUBJECT).await == 2 }).await;
    let asked = world.newest::<ReconcileRequestedV1>(SUBJECT).await;
    assert_eq!((asked.data.run_id.as_str(), asked.data.requested_by.as_str()), ("lost", "ann"));
    // Not asked for again before a minute is over, and then by one replica.
    let other = world.another().await;
    let published = || async {
        sqlx::query_scalar::<_, chrono::DateTime<chrono::Utc>>(
            "SELECT published_at FROM reconciliation_runs WHERE published_at IS NOT NULL ORDER BY run_id",
        )
        .fetch_all(&world.pool)
        .await
        .unwrap()
    };
    let first = published().await;
    assert_eq!(first.len(), 2);
    tokio::time::sleep(std::time::Duration::from_secs(7)).await;
    assert_eq!(published().await, first);
    sqlx::query("UPDATE reconciliation_runs SET published_at = published_at - interval '2 minutes'")
        .execute(&world.pool)
        .await
        .unwrap();
    until("both again", || async { published().await.iter().zip(&first).all(|(again, first)| again > first) }).await;
    let times = async || {
        let mut times = 0.0;
        for url in [world.url("/metrics"), format!("{other}/metrics")] {
            let metrics = world.http.get(url).send().await.unwrap().text().await.unwrap();
            let lines = metrics.lines().filter(|line| line.contains("reconcile") && line.contains("published"));
            times += lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>();
        }
        times
    };
    // Counted a moment after it is noted.
    until("both to be counted", || async { times().await > 3.9 }).await;
    let times = times().await;
    assert!((times - 4.0).abs() < 0.1, "published {times} times");
    assert_eq!(world.count("REQUESTS", SUBJECT).await, 2);
    // What a day did not bring is given up.
    for (run, given_up) in [("old", true), ("lost", false), ("done", false)] {
        let shown = world.get(&format!("/api/reconciliations/{run}")).await.body;
        assert_eq!((&shown["given_up"], &shown["finished"]), (&json!(given_up), &json!(run == "done")), "{shown}");
    }
}

#[tokio::test]
async fn after_a_long_outage_everything_since_is_compared() {
    let world = World::new(&[("RECONCILE_INTERVAL", "2s")]).await;
    for (run, by, days) in [("before", "schedule", 5), ("by-hand", "ann", 1)] {
        sqlx::query(
            "INSERT INTO reconciliation_runs (run_id, since, requested_by, requested_at)
             VALUES ($1, now() - make_interval(days => $3 + 2), $2, now() - make_interval(days => $3))",
        )
        .bind(run)
        .bind(by)
        .bind(days)
        .execute(&world.pool)
        .await
        .unwrap();
        finish(&world, run, "charges").await;
    }
    until("a run", || async { world.count("REQUESTS", SUBJECT).await > 0 }).await;
    until("a run that goes back so far", || async {
        let asked = world.newest::<ReconcileRequestedV1>(SUBJECT).await;
        let back = asked.time - asked.data.since;
        back > chrono::TimeDelta::hours(5 * 24) && back < chrono::TimeDelta::hours(5 * 24 + 2)
    })
    .await;
}

#[tokio::test]
async fn without_a_broker_a_run_is_begun_when_it_is_back() {
    let mut world = World::new(&[("API_WAIT_MS", "10000")]).await;
    world.nats.down();
    until("ingress to notice", || async { world.get("/health/ready").await.status == 503 }).await;
    let got = world.send(world.http.post(world.url("/api/reconciliations"))).await;
    assert_eq!(got.status, 202, "{got:?}");
    // As if a minute had gone by.
    sqlx::query(
        "UPDATE reconciliation_runs SET requested_at = requested_at - interval '2 minutes', published_at = NULL",
    )
    .execute(&world.pool)
    .await
    .unwrap();
    world.nats.up();
    until("ingress to be back", || async { world.get("/health/ready").await.status == 200 }).await;
    until("the request", || async { world.count("REQUESTS", SUBJECT).await == 1 }).await;
    let asked = world.newest::<ReconcileRequestedV1>(SUBJECT).await;
    assert_eq!(json!(asked.data.run_id), got.body["run_id"]);
}
