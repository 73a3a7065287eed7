//! Several workers on one consumer, and workers that stop.

use std::sync::Arc;
use std::time::Duration;

use common::worker::Delivery;
use tokio::sync::{Barrier, Semaphore};
use tokio::time::Instant;

use crate::rig::{Journal, Rig, Settings, Worker, eventually, within};

/// A worker that notes what it gets, and finishes each only when the gate lets it.
async fn gated(rig: &Rig, concurrency: usize, journal: &Journal, gate: &Arc<Semaphore>) -> Worker {
    let (journal, gate) = (journal.clone(), gate.clone());
    rig.worker(Settings { concurrency, ..Settings::default() }, move |delivery: Delivery| {
        journal.note(&delivery);
        let gate = gate.clone();
        async move {
            drop(gate.acquire().await.unwrap());
            Ok(Vec::new())
        }
    })
    .await
}

/// A worker that only notes what it gets.
async fn noting(rig: &Rig, journal: &Journal) -> Worker {
    gated(rig, 8, journal, &Arc::new(Semaphore::new(8))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn two_workers_share_the_work_and_nothing_is_handled_twice() {
    let rig = Rig::start().await;
    let both = Journal::default();
    // Neither finishes its first before the other has one, too.
    let met = Arc::new(Barrier::new(2));
    let mut workers = Vec::new();
    for _ in 0..2 {
        let (both, met) = (both.clone(), met.clone());
        let own = Journal::default();
        let one_at_a_time = Settings { concurrency: 1, ..Settings::default() };
        let worker = rig.worker(one_at_a_time, move |delivery: Delivery| {
            both.note(&delivery);
            own.note(&delivery);
            let (met, first) = (met.clone(), own.len() == 1);
            async move {
                if first {
                    met.wait().await;
                }
                Ok(Vec::new())
            }
        });
        workers.push(worker.await);
    }
    let ids = rig.send_many(100).await;
    eventually("all were begun", || async { both.counts().len() == ids.len() }).await;
    rig.until_nothing_is_open().await;

    assert_eq!(both.len(), ids.len(), "{:?}", both.counts());
    for worker in workers {
        worker.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopping_worker_finishes_what_it_began_and_leaves_the_rest_to_others() {
    let rig = Rig::start().await;
    let (stopping, other) = (Journal::default(), Journal::default());
    let gate = Arc::new(Semaphore::new(0));
    let leaver = gated(&rig, 2, &stopping, &gate).await;
    rig.send_many(10).await;
    eventually("two are begun", || async { stopping.len() == 2 }).await;

    leaver.shut_down();
    let heir = noting(&rig, &other).await;
    // Sooner than the broker would bring again by itself what nobody answered.
    assert!(within(Duration::from_secs(10), || async { other.counts().len() == 8 }).await, "{:?}", other.counts());
    assert!(leaver.is_running(), "it did not wait for what it began");

    gate.add_permits(2);
    leaver.end().await;
    rig.until_nothing_is_open().await;
    assert_eq!(stopping.len(), 2);
    assert_eq!(other.len(), 8);
    assert!(stopping.counts().keys().all(|id| !other.has(id)));
    heir.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_reaches_a_worker_that_stops_is_given_back_once() {
    let rig = Rig::start().await;
    let (stopping, other) = (Journal::default(), Journal::default());
    let gate = Arc::new(Semaphore::new(0));
    let leaver = gated(&rig, 8, &stopping, &gate).await;
    rig.send("begun").await;
    eventually("it is begun, and more is asked for", || async {
        stopping.len() == 1 && rig.consumer().await.is_some_and(|info| info.num_waiting == 1)
    })
    .await;

    leaver.shut_down();
    rig.send("late").await;
    eventually("the late one was delivered", || async {
        let info = rig.consumer().await.unwrap();
        info.delivered.stream_sequence == 2 || info.num_waiting == 0
    })
    .await;
    let heir = noting(&rig, &other).await;
    assert!(within(Duration::from_secs(10), || async { other.has("late") }).await, "it was not given back");
    // Every delivery counts as an attempt: giving back must not use them up.
    assert!(other.attempts("late")[0] <= 2, "{:?}", other.attempts("late"));
    assert!(!stopping.has("late"));

    gate.add_permits(1);
    leaver.end().await;
    rig.until_nothing_is_open().await;
    heir.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_worker_stops_soon() {
    let rig = Rig::start().await;
    let journal = Journal::default();
    let worker = noting(&rig, &journal).await;
    // Idle for more than a moment: it asked, got nothing, and asks on.
    let tap = rig.tap().await;
    let asks = "$JS.API.CONSUMER.MSG.NEXT.RECHARGES.ledger";
    eventually("it asks again", || async { tap.position(asks, "").is_some() }).await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    let asked_to_stop = Instant::now();
    worker.end().await;
    assert!(asked_to_stop.elapsed() < Duration::from_secs(4), "{:?}", asked_to_stop.elapsed());
}
