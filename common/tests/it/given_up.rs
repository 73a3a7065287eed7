//! What the broker gives up delivering, because whoever handles it dies of it, is parked all the same.

use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::AckKind;
use async_nats::jetstream::consumer::pull;
use common::broker::MESSAGE_ID;
use common::contract::{DeadLetterHeaders, dead_letter_id, streams};
use common::worker::Delivery;
use futures_util::StreamExt;

use crate::rig::{INPUT, Journal, Rig, SERVICE, Settings, Worker, eventually, follow_up};

const ACK_WAIT: Duration = Duration::from_millis(500);
const MAX_DELIVER: i64 = 2;

async fn rig() -> Rig {
    let mut rig = Rig::without_streams(ACK_WAIT).await;
    rig.definitions = rig.definitions.with_max_deliver(MAX_DELIVER);
    rig.apply().await;
    rig
}

async fn worker(rig: &Rig, journal: &Journal) -> Worker {
    let journal = journal.clone();
    rig.worker(Settings::default(), move |delivery: Delivery| {
        journal.note(&delivery);
        async move { Ok(vec![follow_up(&delivery)]) }
    })
    .await
}

/// Takes the next message of the service's consumer as a process does that dies of it, as often as the broker brings it.
async fn die_of_it(rig: &Rig, stream: &str) {
    let consumer = rig.jetstream.get_consumer_from_stream::<pull::Config, _, _>(SERVICE, stream).await.unwrap();
    for delivery in 1..=MAX_DELIVER {
        let mut batch = consumer.batch().max_messages(1).expires(Duration::from_secs(30)).messages().await.unwrap();
        let message = batch.next().await.unwrap().unwrap();
        assert_eq!(message.info().unwrap().delivered, delivery);
    }
}

/// Asks for the next message, as a process does that was started again: the broker looks at what it should give up only
/// when somebody asks.
async fn until_given_up(rig: &Rig) {
    let consumer =
        rig.jetstream.get_consumer_from_stream::<pull::Config, _, _>(SERVICE, streams::RECHARGES).await.unwrap();
    let mut batch = consumer.batch().max_messages(1).expires(Duration::from_secs(30)).messages().await.unwrap();
    tokio::select! {
        another = batch.next() => panic!("something came: {another:?}"),
        () = eventually("the broker says that it gave up", || async { rig.count(streams::ADVISORIES).await == Some(1) }) => {}
    }
}

async fn until_the_net_is_empty(rig: &Rig) {
    rig.until_nothing_is_open_on(streams::ADVISORIES).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_kills_each_time_ends_as_one_dead_letter_and_others_go_on() {
    let rig = rig().await;
    let body = b"\x00\xff deadly \r\n";
    rig.send_body("deadly", body).await;
    die_of_it(&rig, streams::RECHARGES).await;
    let journal = Journal::default();
    let worker = worker(&rig, &journal).await;
    let others = rig.send_many(5).await;
    rig.until_dead_letters(1).await;
    until_the_net_is_empty(&rig).await;
    eventually("the others are handled", || async { others.iter().all(|id| journal.has(id)) }).await;
    assert!(!journal.has("deadly"));
    assert_eq!(journal.len(), others.len(), "the handler does not see advisories");

    let letter = rig.dead_letters().await.get(1).await.unwrap().unwrap();
    assert_eq!((letter.service.as_str(), letter.subject.as_str()), (SERVICE, "recharges.charged.deadly"));
    assert_eq!((letter.reason.as_str(), letter.attempts), ("max_deliveries", Some(2)));
    assert_eq!((letter.stream.as_str(), letter.stream_sequence), (streams::RECHARGES, Some(1)));
    assert_eq!((letter.message_id.as_deref(), &letter.body[..]), (Some("deadly"), &body[..]));
    assert!(letter.error.contains("gave up after 2 deliveries"), "{}", letter.error);
    assert_eq!(worker.metric(&["bill_dead_letters_total", "RECHARGES", "max_deliveries"]).as_deref(), Some("1"));

    // Brought back, it is handled like any other.
    rig.dead_letters().await.redrive(&letter).await.unwrap();
    eventually("it is handled", || async { journal.has("deadly") }).await;
    rig.until_nothing_is_open_on(streams::REQUESTS).await;
    assert_eq!(rig.count(streams::DEAD_LETTERS).await, Some(1));
    worker.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_given_up_after_it_was_brought_back_keeps_its_subject() {
    let rig = rig().await;
    let mut headers = HeaderMap::new();
    headers.insert(MESSAGE_ID, "redrive:1");
    headers.insert(DeadLetterHeaders::MESSAGE_ID, "evt_1");
    let subject = format!("requests.redrive.{SERVICE}.{INPUT}.acme");
    let sent = rig.jetstream.publish_with_headers(subject, headers, "deadly".into()).await.unwrap();
    sent.await.unwrap();
    die_of_it(&rig, streams::REQUESTS).await;

    let worker = worker(&rig, &Journal::default()).await;
    rig.until_dead_letters(1).await;
    until_the_net_is_empty(&rig).await;
    let letter = rig.dead_letters().await.get(1).await.unwrap().unwrap();
    assert_eq!((letter.subject.as_str(), letter.stream.as_str()), ("recharges.charged.acme", streams::REQUESTS));
    assert_eq!(letter.message_id.as_deref(), Some("evt_1"));
    worker.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_was_parked_already_is_not_parked_twice() {
    let rig = rig().await;
    rig.send("deadly").await;
    die_of_it(&rig, streams::RECHARGES).await;
    until_given_up(&rig).await;
    // As the loop leaves it when it dies after parking and before dropping.
    let mut headers = HeaderMap::new();
    headers.insert(MESSAGE_ID, dead_letter_id(SERVICE, "RECHARGES", 1, b"deadly"));
    let subject = format!("dead.{SERVICE}.{INPUT}.deadly");
    let sent = rig.jetstream.publish_with_headers(subject, headers, "deadly".into()).await.unwrap();
    sent.await.unwrap();

    let worker = worker(&rig, &Journal::default()).await;
    eventually("the advisory is taken", || async {
        rig.consumer_of(SERVICE, streams::ADVISORIES).await.is_some_and(|info| info.ack_floor.stream_sequence == 1)
    })
    .await;
    assert_eq!(rig.count(streams::DEAD_LETTERS).await, Some(1));
    assert_eq!(worker.metric(&["bill_dead_letters_total", "max_deliveries"]), None);
    worker.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_gone_meanwhile_is_let_go() {
    let rig = rig().await;
    rig.send("deadly").await;
    die_of_it(&rig, streams::RECHARGES).await;
    until_given_up(&rig).await;
    let stream = rig.jetstream.get_stream(streams::RECHARGES).await.unwrap();
    stream.delete_message(1).await.unwrap();

    let worker = worker(&rig, &Journal::default()).await;
    eventually("the advisory is taken", || async {
        rig.consumer_of(SERVICE, streams::ADVISORIES).await.is_some_and(|info| info.ack_floor.stream_sequence == 1)
    })
    .await;
    assert_eq!(rig.count(streams::DEAD_LETTERS).await, Some(0));
    worker.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_whose_last_delivery_was_given_back_is_caught_too() {
    let rig = rig().await;
    rig.send("deadly").await;
    let consumer =
        rig.jetstream.get_consumer_from_stream::<pull::Config, _, _>(SERVICE, streams::RECHARGES).await.unwrap();
    for _ in 1..=MAX_DELIVER {
        let mut batch = consumer.batch().max_messages(1).expires(Duration::from_secs(30)).messages().await.unwrap();
        let message = batch.next().await.unwrap().unwrap();
        message.ack_with(AckKind::Nak(None)).await.unwrap();
    }
    let worker = worker(&rig, &Journal::default()).await;
    rig.until_dead_letters(1).await;
    until_the_net_is_empty(&rig).await;
    worker.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_given_up_while_the_dead_letters_are_away_is_kept() {
    let rig = rig().await;
    rig.send("deadly").await;
    die_of_it(&rig, streams::RECHARGES).await;
    until_given_up(&rig).await;
    rig.jetstream.delete_stream(streams::DEAD_LETTERS).await.unwrap();
    let worker = worker(&rig, &Journal::default()).await;
    eventually("it is tried and kept", || async {
        let info = rig.consumer_of(SERVICE, streams::ADVISORIES).await;
        info.is_some_and(|info| info.delivered.consumer_sequence >= 3 && info.ack_floor.stream_sequence == 0)
    })
    .await;
    rig.apply().await;
    rig.until_dead_letters(1).await;
    until_the_net_is_empty(&rig).await;
    worker.end().await;
}
