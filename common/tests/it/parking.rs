//! What can't be handled is stored as a dead letter first, and dropped second.

use std::time::Duration;

use anyhow::anyhow;
use async_nats::jetstream::message::StreamMessage;
use common::broker::MESSAGE_ID;
use common::contract::{DeadLetterHeaders, dead_letter_id, streams};
use common::failure::Failure;
use common::worker::Delivery;

use crate::rig::{Journal, Rig, Settings, eventually};

fn header<'a>(message: &'a StreamMessage, name: &str) -> &'a str {
    message.headers.get(name).map_or("", |value| value.as_str())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_understood_is_parked_at_once_and_never_comes_again() {
    let rig = Rig::start().await;
    let tap = rig.tap().await;
    let journal = Journal::default();
    let worker = rig
        .worker(Settings::default(), {
            let journal = journal.clone();
            move |delivery: Delivery| {
                journal.note(&delivery);
                async { Err(Failure::malformed(anyhow!("expected an object").context("not an event"))) }
            }
        })
        .await;
    let body = b"\x00\xff not json \r\n\xc3\x28";
    let sequence = rig.send_body("acme", body).await;
    rig.until_dead_letters(1).await;
    rig.until_nothing_is_open().await;

    let dead = rig.message(streams::DEAD_LETTERS, 1).await;
    assert_eq!(dead.subject.as_str(), "dead.ledger.recharges.charged.acme");
    assert_eq!(&dead.payload[..], body);
    let id = dead_letter_id("ledger", "RECHARGES", sequence, &dead.payload);
    let sequence = sequence.to_string();
    for (name, value) in [
        (DeadLetterHeaders::REASON, "malformed"),
        (DeadLetterHeaders::ERROR, "malformed: not an event: expected an object"),
        (DeadLetterHeaders::STREAM, "RECHARGES"),
        (DeadLetterHeaders::CONSUMER, "ledger"),
        (DeadLetterHeaders::SEQUENCE, &sequence),
        (DeadLetterHeaders::ATTEMPTS, "1"),
        (DeadLetterHeaders::SUBJECT, "recharges.charged.acme"),
        (DeadLetterHeaders::MESSAGE_ID, "acme"),
        (MESSAGE_ID, &id),
    ] {
        assert_eq!(header(&dead, name), value, "{name}");
    }

    // Dropped with its reason, after it was parked.
    let (ack, term) = ("$JS.ACK.RECHARGES.ledger.", "+TERM malformed");
    eventually("the tap heard the end", || async { tap.position(ack, term).is_some() }).await;
    assert!(tap.position("dead.ledger.", "") < tap.position(ack, term));
    assert!(tap.position("$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.RECHARGES.ledger", "").is_some());
    assert_eq!(journal.attempts("acme"), [1]);
    assert_eq!(rig.consumer().await.unwrap().delivered.consumer_sequence, 1);
    assert_eq!(worker.metric(&["bill_dead_letters_total", "\"malformed\""]).as_deref(), Some("1"));
    worker.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_failed_often_enough_is_parked() {
    let rig = Rig::start().await;
    let journal = Journal::default();
    let thrice = Settings { max_attempts: 3, ..Settings::default() };
    let worker = rig
        .worker(thrice, {
            let journal = journal.clone();
            move |delivery: Delivery| {
                journal.note(&delivery);
                async move {
                    assert!(delivery.attempt < 3, "a panic on purpose");
                    Err(Failure::retry(anyhow!("the database is away")))
                }
            }
        })
        .await;
    rig.send("acme").await;
    rig.until_dead_letters(1).await;
    rig.until_nothing_is_open().await;

    let dead = rig.message(streams::DEAD_LETTERS, 1).await;
    assert_eq!(header(&dead, DeadLetterHeaders::REASON), "exhausted");
    assert_eq!(header(&dead, DeadLetterHeaders::ATTEMPTS), "3");
    // The last failure was a panic; its text is the error.
    assert!(header(&dead, DeadLetterHeaders::ERROR).contains("a panic on purpose"));
    assert_eq!(journal.attempts("acme"), [1, 2, 3]);
    worker.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_parked_is_kept() {
    let rig = Rig::start().await;
    let journal = Journal::default();
    rig.jetstream.delete_stream(streams::DEAD_LETTERS).await.unwrap();
    let soon = Settings { retry_cap: Duration::from_millis(300), ..Settings::default() };
    let worker = rig
        .worker(soon, {
            let journal = journal.clone();
            move |delivery: Delivery| {
                journal.note(&delivery);
                async { Err(Failure::malformed(anyhow!("not an event"))) }
            }
        })
        .await;
    rig.send("acme").await;
    eventually("it comes again and again", || async { journal.len() >= 3 }).await;
    assert_eq!(rig.consumer().await.unwrap().num_ack_pending, 1);

    rig.apply().await;
    rig.until_dead_letters(1).await;
    rig.until_nothing_is_open().await;
    assert_eq!(rig.count(streams::DEAD_LETTERS).await, Some(1));
    worker.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_of_any_text_can_be_parked() {
    let rig = Rig::start().await;
    let text = format!(" \r\nNats-Msg-Id: other\r\n\r\nbody\0\t\u{7f}\u{85}\u{2028} Über€ {} ", "x".repeat(100_000));
    let worker = rig
        .worker(Settings::default(), move |_| {
            let text = text.clone();
            async move { Err(Failure::malformed(anyhow!(text))) }
        })
        .await;
    rig.send("acme").await;
    rig.until_dead_letters(1).await;
    rig.until_nothing_is_open().await;

    let dead = rig.message(streams::DEAD_LETTERS, 1).await;
    assert_eq!(&dead.payload[..], b"acme");
    assert_eq!(header(&dead, MESSAGE_ID), dead_letter_id("ledger", "RECHARGES", 1, b"acme"));
    assert_eq!(header(&dead, DeadLetterHeaders::SUBJECT), "recharges.charged.acme");
    assert!(header(&dead, DeadLetterHeaders::ERROR).contains("Über€"));
    worker.end().await;
}
