//! What could not be handled: listed, brought back once, thrown away.

use std::time::Duration;

use common::contract::{DeadLetterHeaders, dead_letter_subject};
use common::dead_letters::DeadLetters;
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::world::World;

/// Parks a message as a service does.
pub(crate) async fn park(world: &World, service: &str, subject: &str, body: &[u8]) -> u64 {
    let mut headers = async_nats::HeaderMap::new();
    for (name, value) in [
        (DeadLetterHeaders::REASON, "malformed"),
        (DeadLetterHeaders::ERROR, "recharge 0d3c1e3e-6a55-5a6f-9c37-0c8b6f0a3f11 is gone"),
        (DeadLetterHeaders::STREAM, "RECHARGES"),
        (DeadLetterHeaders::SEQUENCE, "7"),
        (DeadLetterHeaders::ATTEMPTS, "3"),
        (DeadLetterHeaders::MESSAGE_ID, "recharges.charged:1"),
    ] {
        headers.insert(name, value);
    }
    let subject = dead_letter_subject(service, subject);
    world.broker.publish_raw(&subject, headers, body.to_vec().into()).await.unwrap().sequence
}

async fn act(world: &World, sequence: u64, action: &str, body: Value) -> crate::world::Got {
    world.post(&format!("/api/dead-letters/{sequence}/{action}"), &body).await
}

async fn one(world: &World, query: &str) -> i64 {
    sqlx::query_scalar(sqlx::AssertSqlSafe(query.to_owned())).fetch_one(&world.pool).await.unwrap()
}

#[tokio::test]
async fn letters_are_listed_and_grouped() {
    let world = World::new(&[]).await;
    for number in 0..5_u32 {
        park(&world, "ledger", "recharges.charged.acme", format!("{{\"n\":{number}}}").as_bytes()).await;
    }
    park(&world, "syncer", "ledger.credited.beta", &[0xff; 4_000]).await;
    let page = world.get("/api/dead-letters?limit=4").await.body;
    let items = page["items"].as_array().unwrap();
    assert_eq!((items.len(), &page["next_cursor"]), (4, &json!("4")));
    let first = &items[0];
    assert_eq!((&first["service"], &first["subject"]), (&json!("ledger"), &json!("recharges.charged.acme")));
    assert_eq!(
        (&first["preview"], &first["c_organization_id"], &first["attempts"]),
        (&json!({"n": 0}), &json!("acme"), &json!(3))
    );
    let rest = world.get("/api/dead-letters?limit=4&after=4").await.body;
    assert_eq!((rest["items"].as_array().unwrap().len(), &rest["next_cursor"]), (2, &Value::Null));
    assert!(rest["items"][1]["preview"].as_str().unwrap().chars().count() <= 2_048);

    let groups = world.get("/api/dead-letters?group=reason").await.body;
    assert_eq!((groups["grouped"].as_array().unwrap().len(), &groups["counted"]), (2, &json!(6)), "{groups}");
    assert_eq!(
        (&groups["grouped"][0]["count"], &groups["grouped"][0]["error"]),
        (&json!(5), &json!("recharge # is gone"))
    );
    let full = world.get("/api/dead-letters/1").await.body;
    assert_eq!(
        (&full["body"], &full["action"], &full["message_id"]),
        (&json!({"n": 0}), &Value::Null, &json!("recharges.charged:1"))
    );
    for (path, status) in
        [("/7", 404), ("/0", 404), ("/x", 404), ("?after=x", 400), ("?group=x", 400), ("?limit=0", 400)]
    {
        assert_eq!(world.get(&format!("/api/dead-letters{path}")).await.status, status, "{path}");
    }
}

#[tokio::test]
async fn a_letter_is_brought_back_once() {
    let world = World::new(&[]).await;
    let sequence = park(&world, "ledger", "recharges.charged.acme", b"{\"n\":1}").await;
    let all = join_all((0..5).map(|_| act(&world, sequence, "redrive", json!({})))).await;
    let done: Vec<_> = all.iter().filter(|got| got.status == 200).collect();
    assert_eq!(done.len(), 1, "{all:?}");
    assert_eq!((&done[0].body["action"], &done[0].body["success"]), (&json!("redriven"), &json!(true)));
    for got in all.iter().filter(|got| got.status != 200) {
        assert_eq!((got.status, &got.body["code"]), (409, &json!("already_redriven")));
        assert!(got.body["action"]["done_at"].is_string() && got.body["action"]["actor"] == "anonymous", "{got:?}");
    }
    assert_eq!(world.count("REQUESTS", "requests.redrive.ledger.recharges.charged.acme").await, 1);
    assert_eq!(world.count("DEAD_LETTERS", "dead.>").await, 0);
    let got = act(&world, sequence, "discard", json!({ "reason": "x" })).await;
    assert_eq!((got.status, &got.body["code"]), (409, &json!("already_redriven")));
    let shown = world.get(&format!("/api/dead-letters/{sequence}")).await.body;
    assert_eq!((&shown["body"], &shown["action"]["action"]), (&json!({"n": 1}), &json!("redriven")));
    assert_eq!(one(&world, "SELECT count(*) FROM audit_log WHERE action = 'dead_letter.redriven'").await, 1);
    assert_eq!(
        one(&world, "SELECT count(*) FROM dead_letter_actions WHERE done_at IS NOT NULL AND body IS NOT NULL").await,
        1
    );
    // It failed again: a new letter, with a number of its own.
    let again = park(&world, "ledger", "recharges.charged.acme", b"{\"n\":1}").await;
    assert_ne!(again, sequence);
    assert_eq!(act(&world, again, "redrive", json!({})).await.status, 200);
    assert_eq!(act(&world, 99, "redrive", json!({})).await.status, 404);
}

/// Each place where a replica may die, by taking back what it had not done yet.
#[tokio::test]
async fn what_was_cut_short_is_finished_by_the_same_call() {
    let world = World::new(&[]).await;
    let letters = DeadLetters::new(world.broker.clone());
    let count = async || world.count("REQUESTS", "requests.redrive.>").await;
    for (number, crash) in ["after the row", "after publishing", "after removing"].into_iter().enumerate() {
        let sequence = park(&world, "ledger", "recharges.charged.acme", b"{}").await;
        let letter = letters.get(sequence).await.unwrap().unwrap();
        sqlx::query(
            "INSERT INTO dead_letter_actions (sequence, parked_at, action, service, subject, reason, error, headers, body,
                    c_organization_id, actor, at)
             VALUES ($1, $2, 'redriven', 'ledger', 'recharges.charged.acme', 'malformed', 'e', '{}', '{}', 'acme', 'ann', now())",
        )
        .bind(i64::try_from(sequence).unwrap())
        .bind(letter.parked_at)
        .execute(&world.pool)
        .await
        .unwrap();
        if crash != "after the row" {
            letters.redrive(&letter).await.unwrap();
        }
        if crash == "after removing" {
            assert!(letters.remove(sequence).await.unwrap());
        }
        let got = act(&world, sequence, "discard", json!({ "reason": "x" })).await;
        assert_eq!((got.status, &got.body["code"]), (409, &json!("redrive_begun")), "{crash}");
        let got = act(&world, sequence, "redrive", json!({})).await;
        assert_eq!((got.status, &got.body["actor"]), (200, &json!("ann")), "{crash}: {got:?}");
        assert_eq!((count().await, letters.get(sequence).await.unwrap()), (number + 1, None), "{crash}");
        assert_eq!(act(&world, sequence, "redrive", json!({})).await.status, 409, "{crash}");
    }
}

/// As when a replica of the stream did not know the letter yet.
#[tokio::test]
async fn a_letter_that_was_left_behind_is_taken_away() {
    let world = World::new(&[]).await;
    let letters = DeadLetters::new(world.broker.clone());
    for (action, left) in [("redriven", "redrive"), ("discarded", "discard"), ("redriven", "discard")] {
        let sequence = park(&world, "ledger", "recharges.charged.acme", b"{}").await;
        let letter = letters.get(sequence).await.unwrap().unwrap();
        let parked_at = |micros: i64| letter.parked_at + chrono::TimeDelta::microseconds(micros);
        // One of an earlier stream that counted the same has nothing to do with it.
        for (at, action) in [(parked_at(0), action), (parked_at(-1), "discarded")] {
            sqlx::query(
                "INSERT INTO dead_letter_actions (sequence, parked_at, action, service, subject, reason, error, headers, body,
                        c_organization_id, actor, at, done_at)
                 VALUES ($1, $2, $3, 'ledger', 'recharges.charged.acme', 'malformed', 'e', '{}', '{}', 'acme', 'ann', now(), now())",
            )
            .bind(i64::try_from(sequence).unwrap())
            .bind(at)
            .bind(action)
            .execute(&world.pool)
            .await
            .unwrap();
        }
        let got = act(&world, sequence, left, json!({ "reason": "x" })).await;
        assert_eq!((got.status, &got.body["code"]), (409, &json!(format!("already_{action}"))), "{got:?}");
        assert_eq!(letters.get(sequence).await.unwrap(), None, "{action} {left}");
    }
    assert_eq!(world.count("REQUESTS", "requests.redrive.>").await, 0);
}

#[tokio::test]
async fn a_letter_is_discarded_and_a_foreign_one_can_be() {
    let world = World::new(&[]).await;
    // Nobody of that name takes it back; and somebody put one there by hand.
    let foreign = park(&world, "somebody", "recharges.charged.acme", b"x").await;
    let by_hand =
        world.broker.publish_raw("dead.by_hand", async_nats::HeaderMap::new(), "\u{0}".into()).await.unwrap().sequence;
    for sequence in [foreign, by_hand] {
        let got = act(&world, sequence, "redrive", json!({})).await;
        assert_eq!((got.status, &got.body["code"]), (409, &json!("not_redrivable")), "{got:?}");
        assert_eq!(act(&world, sequence, "discard", json!({})).await.fields(), ["reason"]);
        let got = act(&world, sequence, "discard", json!({ "reason": "not ours" })).await;
        assert_eq!((got.status, &got.body["action"]), (200, &json!("discarded")), "{got:?}");
        let got = act(&world, sequence, "redrive", json!({})).await;
        assert_eq!(
            (got.status, &got.body["code"], &got.body["action"]["note"]),
            (409, &json!("already_discarded"), &json!("not ours"))
        );
    }
    assert_eq!(world.count("DEAD_LETTERS", "dead.>").await, 0);
    assert_eq!(world.count("REQUESTS", "requests.redrive.>").await, 0);
    assert_eq!(one(&world, "SELECT count(*) FROM audit_log WHERE action = 'dead_letter.discarded'").await, 2);
}

#[tokio::test]
async fn several_at_once_and_none_without_a_broker() {
    let mut world = World::new(&[]).await;
    let mut sequences = Vec::new();
    for _ in 0..3 {
        sequences.push(park(&world, "ledger", "recharges.charged.acme", b"{}").await);
    }
    sequences.push(77);
    let got = world.post("/api/dead-letters/redrive", &json!({ "sequences": sequences })).await;
    assert_eq!((got.status, &got.body["redriven"], &got.body["success"]), (200, &json!(3), &json!(false)), "{got:?}");
    assert_eq!(
        (&got.body["results"][3]["code"], &got.body["results"][3]["sequence"]),
        (&json!("unknown_dead_letter"), &json!(77))
    );
    assert_eq!(world.count("REQUESTS", "requests.redrive.>").await, 3);
    for bad in [json!([]), json!(["1"]), json!([-1]), json!(1), json!(vec![1; 101])] {
        assert_eq!(world.post("/api/dead-letters/redrive", &json!({ "sequences": bad })).await.fields(), ["sequences"]);
    }
    let left = park(&world, "ledger", "recharges.charged.acme", b"{}").await;
    world.nats.down();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let got = act(&world, left, "redrive", json!({})).await;
    assert_eq!((got.status, &got.body["code"]), (503, &json!("broker_unavailable")), "{got:?}");
}
