//! A crash, or an answer that was lost, at every point: the repeat comes to the same end, and nothing is adopted that is ours.

use std::time::Duration;

use crate::kms::{BOTH, Generation, Kms};
use crate::world::{World, charged, decimal, sync, usd};

/// Handles one event for each row of `faults`, whose first attempts meet these; the repeats must end with the quota
/// raised, recorded once. Each attempt is a replica of its own, as after a crash.
async fn survives(faults: &[Vec<&str>]) {
    for generation in BOTH {
        let kms = Kms::start(generation).await;
        let world = World::start(kms.url()).await;
        for (index, faults) in faults.iter().enumerate() {
            let id = format!("acme_{index}");
            kms.faults(faults).await;
            let event = charged(&id, 1, usd("500"));
            let mut outcome = world.replica().handle(&event).await;
            for _ in 0..3 {
                if outcome.is_err() {
                    outcome = world.replica().handle(&event).await;
                }
            }
            let outcome = outcome.unwrap();
            let repeated = world.replica().handle(&event).await.unwrap();
            assert_eq!(outcome, repeated, "{faults:?}");
            assert_eq!(outcome[0].subject, format!("quotas.synced.{id}"), "{faults:?}");
            assert_eq!(kms.quota(&id).await, Some(decimal("500")), "{faults:?}");
            assert_eq!(world.recorded(&id).await, (Some("created".to_owned()), Some(1), 1), "{faults:?}");
        }
        world.end().await;
    }
}

const TROUBLE: [&str; 6] = ["drop_before", "drop_after", "500_before", "500_after", "html502", "429"];

#[tokio::test]
async fn around_the_creation() {
    let late = vec!["slow:600"];
    survives(&TROUBLE.iter().map(|fault| vec![*fault]).chain([late]).collect::<Vec<_>>()).await;
}

#[tokio::test]
async fn around_the_write() {
    let once = TROUBLE.iter().map(|fault| vec!["ok", fault]);
    // The two repeats in place do not help either: the event comes again.
    let always = TROUBLE.iter().map(|fault| vec!["ok", fault, fault, fault]);
    survives(&once.chain(always).chain([vec!["ok", "slow:600"]]).collect::<Vec<_>>()).await;
}

#[tokio::test]
async fn after_the_write_and_before_it_is_recorded() {
    let kms = Kms::start(Generation::New).await;
    let world = World::start(kms.url()).await;
    let event = charged("acme", 1, usd("500"));
    // The quota is written, the answer is lost three times over: nothing is recorded of the push.
    kms.faults(&["ok", "drop_after", "drop_after", "drop_after"]).await;
    world.replica().retried(&event).await;
    assert_eq!(kms.quota("acme").await, Some(decimal("500")));
    assert_eq!(world.recorded("acme").await, (Some("created".to_owned()), None, 0));
    // The repeat sees our own 500 and must not take it for somebody else's.
    let synced = world.replica().synced(&event).await;
    assert_eq!((synced.data.quota, synced.data.changed), (decimal("500"), false));
    world.end().await;
}

#[tokio::test]
async fn a_create_whose_answer_was_lost_is_not_adopted() {
    let kms = Kms::start(Generation::New).await;
    let world = World::start(kms.url()).await;
    world.organization("acme", "usd", None).await;
    kms.faults(&["drop_after"]).await;
    world.replica().retried(&sync("acme", "req_1")).await;
    assert_eq!(kms.quota("acme").await, Some(decimal("0")));
    // Meanwhile the ledger booked a charge.
    let synced = world.replica().synced(&charged("acme", 1, usd("100"))).await;
    assert_eq!(synced.data.quota, decimal("100"));
    let synced = world.replica().synced(&sync("acme", "req_1")).await;
    assert_eq!((synced.data.quota, synced.data.ledger_version), (decimal("100"), 1));
    assert_eq!(kms.calls("POST /organizations").await, 1);
    assert_eq!(kms.writes("acme").await, [decimal("0"), decimal("100")]);
    world.end().await;
}

#[tokio::test]
async fn a_write_that_arrives_after_a_newer_one_is_repaired_by_its_repeat() {
    let kms = Kms::start(Generation::New).await;
    let world = World::start(kms.url()).await;
    let replica = world.replica();
    replica.synced(&charged("acme", 1, usd("100"))).await;
    // Longer than we wait for the KMS: given up on, yet on its way.
    kms.faults(&["slow:1500"]).await;
    replica.retried(&charged("acme", 2, usd("200"))).await;
    replica.synced(&charged("acme", 3, usd("300"))).await;
    assert_eq!(kms.quota("acme").await, Some(decimal("300")));
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(kms.quota("acme").await, Some(decimal("200")));
    let repaired = replica.synced(&charged("acme", 2, usd("200"))).await;
    assert_eq!((repaired.data.ledger_version, repaired.data.changed), (3, true));
    assert_eq!(kms.quota("acme").await, Some(decimal("300")));
    world.end().await;
}

#[tokio::test]
async fn after_it_is_recorded_and_before_it_is_acknowledged() {
    let kms = Kms::start(Generation::New).await;
    let world = World::start(kms.url()).await;
    let replica = world.replica();
    let event = charged("acme", 1, usd("500"));
    let first = replica.handle(&event).await.unwrap();
    replica.synced(&charged("acme", 2, usd("900"))).await;
    world.clock.advance(chrono::Duration::seconds(90));
    // The repeat says what it said, and leaves the newer quota alone; the KMS is not even asked.
    kms.goes_away().await;
    assert_eq!(world.replica().handle(&event).await.unwrap(), first);
    assert_eq!(kms.quota("acme").await, Some(decimal("900")));
    assert_eq!(world.recorded("acme").await.2, 2);
    world.end().await;
}
