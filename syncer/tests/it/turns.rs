//! Several replicas: one sweeps at a time, and another goes on when it dies.

use std::sync::Arc;
use std::time::Duration;

use common::contract::QuotaLowV1;
use common::shutdown::Shutdown;
use syncer::Policy;

use crate::kms::{Generation, Kms};
use crate::world::{World, charged, only, usd};

/// Waits until this holds.
async fn until(mut holds: impl AsyncFnMut() -> bool) {
    let patience = tokio::time::Instant::now() + Duration::from_secs(20);
    while !holds().await {
        assert!(tokio::time::Instant::now() < patience, "it never came to that");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn low() -> (Kms, World) {
    let kms = Kms::start(Generation::New).await;
    let world = World::start(kms.url()).await;
    world.organization("acme", "usd", None).await;
    world.replica().synced(&charged("acme", 1, usd("50"))).await;
    (kms, world)
}

#[tokio::test]
async fn only_one_sweeps_until_it_dies() {
    let (_kms, world) = low().await;
    let (one, two) = (world.sweeper(), world.sweeper());
    assert!(one.try_sweep().await.is_some());
    for _ in 0..3 {
        assert!(two.try_sweep().await.is_none());
        assert!(one.try_sweep().await.is_some());
    }
    assert_eq!(two.replica.gauge("bill_sweep_last_finished_seconds", None), 0);
    assert_eq!((one.said.take().len(), two.said.take().len()), (1, 0));
    one.dies().await;
    // The server notices the lost connection in its own time.
    until(async || two.try_sweep().await.is_some()).await;
    world.end().await;
}

#[tokio::test]
async fn one_whose_session_is_ended_asks_for_its_turn_again() {
    let (_kms, world) = low().await;
    let (one, two) = (world.sweeper(), world.sweeper());
    one.sweep().await;
    let sql = "SELECT count(pg_terminate_backend(pid)) FROM pg_locks WHERE locktype = 'advisory'
               AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    assert_eq!(world.number(sql).await, 1);
    until(async || two.try_sweep().await.is_some()).await;
    assert!(one.try_sweep().await.is_none());
    two.dies().await;
    until(async || one.try_sweep().await.is_some()).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_that_begin_at_once_say_it_once() {
    let (_kms, world) = low().await;
    let (one, two) = (world.sweeper(), world.sweeper());
    let (first, second) = tokio::join!(one.try_sweep(), two.try_sweep());
    assert!(first.is_some() != second.is_some(), "{first:?} {second:?}");
    let said = one.said.take().into_iter().chain(two.said.take()).collect();
    only::<QuotaLowV1>(said);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_goes_on_until_the_shutdown_and_hands_over() {
    let (kms, world) = low().await;
    let policy = Policy { sweep_interval: Duration::from_millis(20), ..Policy::default() };
    let (one, two) = (Arc::new(world.sweeper_with(policy)), world.sweeper());
    let shutdown = Shutdown::new();
    let (stop, running) = (shutdown.clone(), Arc::clone(&one));
    let task = tokio::spawn(async move { running.sweep.run(&stop).await });
    until(async || one.said.take().len() == 1).await;
    kms.spends("acme", "0").await;
    world.replica().synced(&charged("acme", 2, usd("60"))).await;
    until(async || one.said.take().len() == 1).await;
    assert!(two.try_sweep().await.is_none());
    shutdown.give();
    task.await.unwrap();
    // The lock is given back, not left to the server to find out.
    until(async || two.try_sweep().await.is_some()).await;
    world.end().await;
}
