//! Several replicas, no order: versions never go backwards.

use std::sync::Arc;

use common::contract::QuotaSyncedV1;
use proptest::prelude::*;

use crate::kms::{Generation, Kms};
use crate::world::{World, charged, decimal, sync, usd};

/// The quota of a version: so that what was written says which version it was.
fn quota_of(version: i64) -> String {
    format!("{version}.25")
}

async fn two_replicas(versions: Vec<i64>, generation: Generation) {
    let kms = Kms::start(generation).await;
    let world = World::start(kms.url()).await;
    world.organization("acme", "usd", None).await;
    let replicas = [Arc::new(world.replica()), Arc::new(world.replica())];
    let tasks: Vec<_> = versions
        .iter()
        .enumerate()
        .map(|(index, version)| {
            let replica = Arc::clone(&replicas[index % 2]);
            let event = charged("acme", *version, usd(&quota_of(*version)));
            tokio::spawn(async move { (event.message_id.clone(), replica.handle(&event).await.unwrap()) })
        })
        .collect();
    let mut answers = std::collections::BTreeMap::new();
    for task in tasks {
        let (id, outgoing) = task.await.unwrap();
        let synced = common::contract::Event::<QuotaSyncedV1>::decode(&outgoing[0].body).unwrap();
        // Whoever handled it: one event, one answer.
        assert_eq!(answers.entry(id).or_insert_with(|| synced.clone()), &synced);
    }
    let highest = *versions.iter().max().unwrap();
    assert_eq!(kms.quota("acme").await, Some(decimal(&quota_of(highest))));
    let writes = kms.writes("acme").await;
    assert!(writes.is_sorted(), "an older version overwrote a newer one: {writes:?}");
    assert_eq!(kms.calls("POST /organizations").await, 1);
    let distinct: std::collections::BTreeSet<_> = versions.iter().collect();
    let (contact, version, rows) = world.recorded("acme").await;
    assert_eq!((contact.as_deref(), version), (Some("created"), Some(highest)));
    assert_eq!(usize::try_from(rows).unwrap(), distinct.len(), "one row per event");
    world.end().await;
}

#[test]
fn forty_events_in_any_order() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let versions = prop::collection::vec(1..30_i64, 40);
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 4,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    runner
        .run(&(versions, any::<bool>()), |(versions, old)| {
            runtime.block_on(two_replicas(versions, if old { Generation::Old } else { Generation::New }));
            Ok(())
        })
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn many_organizations_at_once_do_not_starve_the_pool() {
    let kms = Kms::start(Generation::New).await;
    let world = World::start(kms.url()).await;
    let replica = Arc::new(world.replica());
    let tasks: Vec<_> = (0..60)
        .map(|index| {
            let replica = Arc::clone(&replica);
            tokio::spawn(async move { replica.synced(&charged(&format!("org_{index}"), 1, usd("5"))).await })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap().data.quota, decimal("5"));
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_is_adopted_once_by_many() {
    let kms = Kms::start(Generation::New).await;
    let world = World::start(kms.url()).await;
    world.organization("acme", "usd", None).await;
    kms.has("acme", "1000").await;
    let replicas = [Arc::new(world.replica()), Arc::new(world.replica())];
    let tasks: Vec<_> = (0..20)
        .map(|index| {
            let replica = Arc::clone(&replicas[index % 2]);
            tokio::spawn(async move { replica.adopted(&sync("acme", &format!("req_{index}"))).await })
        })
        .collect();
    let mut events = Vec::new();
    for task in tasks {
        events.push(task.await.unwrap());
    }
    events.dedup();
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(kms.writes("acme").await, [decimal("1000")]);
    world.end().await;
}
