//! What becomes of a message by what its handler says.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::anyhow;
use common::broker::{MESSAGE_ID, TRACEPARENT};
use common::contract::streams;
use common::failure::Failure;
use common::worker::Delivery;

use crate::rig::{Journal, Rig, Settings, eventually, follow_up, within};

/// The subject that acknowledgements of the inputs start with.
const ACK: &str = "$JS.ACK.RECHARGES.ledger.";

#[tokio::test(flavor = "multi_thread")]
async fn what_follows_is_published_before_the_input_is_acknowledged() {
    let rig = Rig::start().await;
    let tap = rig.tap().await;
    let worker = rig.worker(Settings::default(), |delivery| async move { Ok(vec![follow_up(&delivery)]) }).await;
    let sequence = rig.send("acme").await;
    rig.until_nothing_is_open().await;

    assert_eq!(rig.consumer().await.unwrap().ack_floor.stream_sequence, sequence);
    assert_eq!(rig.count(streams::LEDGER).await, Some(1));
    let published = rig.message(streams::LEDGER, 1).await;
    assert_eq!(published.subject.as_str(), "ledger.credited.acme");
    assert_eq!(published.headers.get(MESSAGE_ID).unwrap().as_str(), "ledger.credited:acme");
    assert!(published.headers.get(TRACEPARENT).is_some());
    assert_eq!(&published.payload[..], b"after acme");

    eventually("the tap heard the acknowledgement", || async { tap.position(ACK, "").is_some() }).await;
    assert!(tap.position("ledger.credited.acme", "") < tap.position(ACK, ""));
    assert_eq!(worker.metric(&["bill_messages_total", "RECHARGES", "\"ok\""]).as_deref(), Some("1"));
    worker.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_message_comes_again_later_each_time_and_counts_once() {
    let rig = Rig::start().await;
    let (journal, effects) = (Journal::default(), Arc::new(Mutex::new(Vec::new())));
    let keys = Arc::new(Mutex::new(BTreeSet::new()));
    let worker = rig
        .worker(Settings::default(), {
            let (journal, effects, keys) = (journal.clone(), effects.clone(), keys.clone());
            move |delivery: Delivery| {
                journal.note(&delivery);
                // Committed even by the attempts that fail afterwards: the key makes it once.
                let key = delivery.message_id.clone().unwrap();
                if keys.lock().unwrap().insert(key.clone()) {
                    effects.lock().unwrap().push(key);
                }
                async move {
                    if delivery.attempt < 4 {
                        return Err(Failure::retry(anyhow!("not yet")));
                    }
                    Ok(vec![follow_up(&delivery)])
                }
            }
        })
        .await;
    rig.send("acme").await;
    eventually("the follow-up", || async { rig.count(streams::LEDGER).await == Some(1) }).await;
    rig.until_nothing_is_open().await;

    assert_eq!(journal.attempts("acme"), [1, 2, 3, 4]);
    let times: Vec<_> = journal.of("acme").into_iter().map(|(_, at)| at).collect();
    for (pause, least) in times.windows(2).zip([100, 200, 400]) {
        assert!(pause[1] - pause[0] >= Duration::from_millis(least), "{:?} < {least} ms", pause[1] - pause[0]);
    }
    assert_eq!(*effects.lock().unwrap(), ["acme"]);
    assert_eq!(rig.count(streams::DEAD_LETTERS).await, Some(0));
    assert_eq!(worker.metric(&["bill_redeliveries_total", "RECHARGES"]).as_deref(), Some("3"));
    worker.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delay_that_was_asked_for_is_kept() {
    let rig = Rig::start().await;
    let journal = Journal::default();
    let asked = Duration::from_secs(1);
    let worker = rig
        .worker(Settings::default(), {
            let journal = journal.clone();
            move |delivery: Delivery| {
                journal.note(&delivery);
                async move {
                    if delivery.attempt == 1 {
                        return Err(Failure::retry_after(asked, anyhow!("too many requests")));
                    }
                    Ok(Vec::new())
                }
            }
        })
        .await;
    rig.send("acme").await;
    eventually("the second attempt", || async { journal.len() == 2 }).await;
    let times = journal.of("acme");
    assert!(times[1].1 - times[0].1 >= asked);
    rig.until_nothing_is_open().await;
    worker.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_acknowledged_and_nothing_is_parked() {
    let rig = Rig::start().await;
    let journal = Journal::default();
    let worker = rig
        .worker(Settings::default(), {
            let journal = journal.clone();
            move |delivery: Delivery| {
                journal.note(&delivery);
                async { Err(Failure::Refused("the organization is closed".to_owned())) }
            }
        })
        .await;
    let sequence = rig.send("acme").await;
    eventually("handled", || async { journal.len() == 1 }).await;
    rig.until_nothing_is_open().await;

    assert_eq!(rig.consumer().await.unwrap().ack_floor.stream_sequence, sequence);
    assert_eq!(journal.attempts("acme"), [1]);
    assert_eq!(rig.count(streams::DEAD_LETTERS).await, Some(0));
    eventually("the refusal is counted", || async {
        worker.metric(&["bill_messages_total", "\"refused\""]).as_deref() == Some("1")
    })
    .await;
    worker.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_is_a_failed_attempt_and_the_others_go_on() {
    let rig = Rig::start().await;
    let journal = Journal::default();
    let worker = rig
        .worker(Settings::default(), {
            let journal = journal.clone();
            move |delivery: Delivery| {
                journal.note(&delivery);
                let frightful = delivery.message_id.as_deref() == Some("frightful");
                // Before there is a future to wait for …
                assert!(!(frightful && delivery.attempt == 1), "a panic on purpose");
                async move {
                    // … and inside it.
                    assert!(!(frightful && delivery.attempt == 2), "a panic on purpose");
                    Ok(vec![follow_up(&delivery)])
                }
            }
        })
        .await;
    rig.send("frightful").await;
    rig.send_many(20).await;
    eventually("all follow-ups", || async { rig.count(streams::LEDGER).await == Some(21) }).await;
    rig.until_nothing_is_open().await;

    assert_eq!(journal.attempts("frightful"), [1, 2, 3]);
    assert_eq!(journal.len(), 23);
    assert_eq!(rig.count(streams::DEAD_LETTERS).await, Some(0));
    assert!(worker.is_running());
    worker.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poison_message_does_not_hold_up_the_others() {
    let rig = Rig::start().await;
    let journal = Journal::default();
    let one_at_a_time = Settings { concurrency: 1, ..Settings::default() };
    let worker = rig
        .worker(one_at_a_time, {
            let journal = journal.clone();
            move |delivery: Delivery| {
                journal.note(&delivery);
                async move {
                    if delivery.message_id.as_deref() == Some("poison") {
                        return Err(Failure::retry(anyhow!("never")));
                    }
                    Ok(vec![follow_up(&delivery)])
                }
            }
        })
        .await;
    let poison = rig.send("poison").await;
    rig.send_many(30).await;
    eventually("all the others", || async { rig.count(streams::LEDGER).await == Some(30) }).await;

    eventually("only the poison is open", || async {
        let info = rig.consumer().await.unwrap();
        info.num_ack_pending == 1 && info.num_pending == 0
    })
    .await;
    assert!(rig.consumer().await.unwrap().ack_floor.stream_sequence < poison);
    assert_eq!(rig.count(streams::DEAD_LETTERS).await, Some(0));
    worker.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_input_stays_open_until_what_follows_is_stored() {
    let rig = Rig::start().await;
    let journal = Journal::default();
    rig.jetstream.delete_stream(streams::LEDGER).await.unwrap();
    let soon = Settings { retry_cap: Duration::from_millis(300), ..Settings::default() };
    let worker = rig
        .worker(soon, {
            let journal = journal.clone();
            move |delivery: Delivery| {
                journal.note(&delivery);
                async move { Ok(vec![follow_up(&delivery)]) }
            }
        })
        .await;
    rig.send("acme").await;
    eventually("some attempts", || async { journal.len() >= 3 }).await;
    let info = rig.consumer().await.unwrap();
    assert_eq!((info.num_ack_pending, info.ack_floor.stream_sequence), (1, 0));

    rig.apply().await;
    rig.until_nothing_is_open().await;
    assert_eq!(rig.count(streams::LEDGER).await, Some(1));
    assert_eq!(rig.count(streams::DEAD_LETTERS).await, Some(0));
    worker.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn long_work_is_not_delivered_a_second_time() {
    let ack_wait = Duration::from_secs(1);
    let rig = Rig::start_with_ack_wait(ack_wait).await;
    let journal = Journal::default();
    let worker = rig
        .worker(Settings::default(), {
            let journal = journal.clone();
            move |delivery: Delivery| {
                journal.note(&delivery);
                async move {
                    tokio::time::sleep(ack_wait * 3).await;
                    Ok(Vec::new())
                }
            }
        })
        .await;
    rig.send("acme").await;
    eventually("begun", || async { journal.len() == 1 }).await;
    rig.until_nothing_is_open().await;

    assert_eq!(journal.attempts("acme"), [1]);
    assert_eq!(rig.consumer().await.unwrap().delivered.consumer_sequence, 1);
    worker.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_come_now_and_then_are_handled_at_once() {
    let rig = Rig::start().await;
    let journal = Journal::default();
    let worker = rig
        .worker(Settings::default(), {
            let journal = journal.clone();
            move |delivery: Delivery| {
                journal.note(&delivery);
                async { Ok(Vec::new()) }
            }
        })
        .await;
    // Longer apart than one request for messages waits, and shorter: whatever the loop is about to do then.
    let mut quiet = [2_500, 700, 650, 1_100, 900].into_iter().map(Duration::from_millis);
    for id in ["a", "b", "c", "d", "e"] {
        tokio::time::sleep(quiet.next().unwrap()).await;
        rig.send(id).await;
        let soon = Duration::from_secs(3);
        assert!(within(soon, || async { journal.has(id) }).await, "{id} was not handled within {soon:?}");
    }
    worker.end().await;
}
