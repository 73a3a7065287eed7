//! The broker dies, is not there yet, or has no streams yet.

use std::time::Duration;

use async_nats::jetstream::consumer::pull;
use common::contract::streams;
use common::worker::Delivery;

use crate::rig::{Journal, Rig, SERVICE, Settings, Worker, eventually, follow_up};

/// A worker that notes each message and follows it up.
async fn noting(rig: &Rig, journal: &Journal) -> Worker {
    let journal = journal.clone();
    rig.worker(Settings::default(), move |delivery: Delivery| {
        let journal = journal.clone();
        async move {
            // Work takes a while, so that some of it is under way whenever the broker dies.
            tokio::time::sleep(Duration::from_millis(10)).await;
            journal.note(&delivery);
            Ok(vec![follow_up(&delivery)])
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_message_is_handled_though_the_broker_is_killed_in_the_middle() {
    let mut rig = Rig::start_with_ack_wait(Duration::from_secs(2)).await;
    let journal = Journal::default();
    let ids = rig.send_many(200).await;
    let worker = noting(&rig, &journal).await;
    for share in [50, 120] {
        eventually("a share is handled", || async { journal.counts().len() >= share }).await;
        rig.kill_broker();
        rig.start_broker_again();
    }
    rig.until_nothing_is_open().await;

    assert_eq!(journal.counts().into_keys().collect::<Vec<_>>(), ids);
    assert_eq!(rig.count(streams::DEAD_LETTERS).await, Some(0));
    // Each follow-up is there. Stored twice it can't be either: its id is the same, and the broker still knew it.
    assert_eq!(rig.count(streams::LEDGER).await, Some(200));
    assert!(worker.is_running());
    worker.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_waits_for_a_broker_that_is_not_there() {
    let mut rig = Rig::start().await;
    rig.kill_broker();
    let journal = Journal::default();
    let worker = noting(&rig, &journal).await;
    assert!(!worker.parts.broker.is_connected());
    assert!(!worker.parts.health.is_up("broker"));

    rig.start_broker_again();
    eventually("the worker sees it", || async { worker.parts.health.is_up("broker") }).await;
    rig.send("acme").await;
    // A consumer that has just been restored may say for a moment that nothing is left.
    eventually("the message is handled", || async { journal.attempts("acme") == [1] }).await;
    rig.until_nothing_is_open().await;
    worker.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_can_stop_while_the_broker_is_away() {
    let mut rig = Rig::start().await;
    let journal = Journal::default();
    let worker = noting(&rig, &journal).await;
    eventually("connected", || async { worker.parts.broker.is_connected() }).await;
    rig.kill_broker();
    eventually("noticed", || async { !worker.parts.health.is_up("broker") }).await;
    let ended = tokio::time::timeout(Duration::from_secs(20), worker.end());
    assert!(ended.await.is_ok(), "it did not stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_waits_for_its_consumer() {
    let rig = Rig::without_streams(Duration::from_secs(30)).await;
    let tap = rig.tap().await;
    let journal = Journal::default();
    let worker = noting(&rig, &journal).await;
    let looks = "$JS.API.CONSUMER.INFO.RECHARGES.ledger";
    eventually("it looks for its consumer", || async { tap.position(looks, "").is_some() }).await;
    assert!(worker.is_running());

    rig.apply().await;
    rig.send("acme").await;
    rig.until_nothing_is_open().await;
    assert_eq!(journal.attempts("acme"), [1]);
    worker.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_goes_on_when_its_consumer_was_made_anew() {
    let rig = Rig::start().await;
    let journal = Journal::default();
    let worker = noting(&rig, &journal).await;
    rig.send("before").await;
    rig.until_nothing_is_open().await;

    let stream = rig.jetstream.get_stream(streams::RECHARGES).await.unwrap();
    stream.delete_consumer(SERVICE).await.unwrap();
    assert!(stream.get_consumer::<pull::Config>(SERVICE).await.is_err());
    rig.apply().await;
    rig.send("after").await;
    eventually("the next one is handled", || async { journal.has("after") }).await;
    rig.until_nothing_is_open().await;
    // A new consumer starts at the beginning; the same input leads to the same follow-up.
    assert_eq!(rig.count(streams::LEDGER).await, Some(2));
    worker.end().await;
}
