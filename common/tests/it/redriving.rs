//! Dead letters are looked at, brought back to the service that gave up, and removed.

use anyhow::anyhow;
use async_nats::HeaderMap;
use common::broker::MESSAGE_ID;
use common::contract::{DeadLetterHeaders, dead_letter_id, streams};
use common::dead_letters::{DeadLetter, DeadLetters, DeadLettersError, redrive_subject};
use common::failure::Failure;
use common::ids::OrganizationId;
use common::worker::Delivery;
use tokio::task::block_in_place;

use crate::rig::{Journal, Rig, SERVICE, Settings, Worker, eventually, follow_up};

const BODY: &[u8] = b"\x00\xff not json \r\n\xc3\x28";

/// A worker that understands a message only when it is brought back for the `nth` time (0: when it comes first).
async fn worker_that_understands(rig: &Rig, journal: &Journal, nth: usize) -> Worker {
    let journal = journal.clone();
    rig.worker(Settings::default(), move |delivery: Delivery| {
        journal.note(&delivery);
        let understood = journal.len() > nth;
        async move {
            if understood { Ok(vec![follow_up(&delivery)]) } else { Err(Failure::malformed(anyhow!("no idea"))) }
        }
    })
    .await
}

async fn letters(of: &DeadLetters) -> Vec<DeadLetter> {
    let (letters, more) = of.page(0, 100).await.unwrap();
    assert_eq!(more, None);
    letters
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_brought_back_reaches_the_service_that_gave_up_and_no_other() {
    let rig = Rig::start().await;
    let (journal, others) = (Journal::default(), Journal::default());
    let worker = worker_that_understands(&rig, &journal, 1).await;
    let mut bystanders = Vec::new();
    for service in ["recharger", "syncer"] {
        let others = others.clone();
        let handler = move |delivery: Delivery| {
            others.note(&delivery);
            async { Ok(Vec::new()) }
        };
        bystanders.push(rig.worker_of(service, Settings::default(), handler).await);
    }
    rig.send_body("acme", BODY).await;
    rig.until_dead_letters(1).await;

    let dead_letters = rig.dead_letters().await;
    let letter = letters(&dead_letters).await.remove(0);
    assert_eq!((letter.sequence, letter.service.as_str()), (1, SERVICE));
    assert_eq!((letter.subject.as_str(), &letter.body[..]), ("recharges.charged.acme", BODY));
    assert_eq!((letter.reason.as_str(), letter.error.as_str()), ("malformed", "malformed: no idea"));
    assert_eq!((letter.stream.as_str(), letter.stream_sequence, letter.attempts), ("RECHARGES", Some(1), Some(1)));
    assert_eq!((letter.message_id.as_deref(), letter.traceparent.as_deref()), (Some("acme"), None));
    assert_eq!(letter.organization, Some(OrganizationId::parse("acme").unwrap()));
    let stored = rig.message(streams::DEAD_LETTERS, 1).await;
    assert_eq!(i128::from(letter.parked_at.timestamp_nanos_opt().unwrap()), stored.time.unix_timestamp_nanos());

    dead_letters.redrive(&letter).await.unwrap();
    eventually("it is handled", || async { rig.count(streams::LEDGER).await == Some(1) }).await;
    rig.until_nothing_is_open_on(streams::REQUESTS).await;
    let handled = journal.last().unwrap();
    assert_eq!((handled.subject.as_str(), handled.kind()), ("recharges.charged.acme", "recharges.charged"));
    assert_eq!((&handled.body[..], handled.message_id.as_deref()), (BODY, Some("acme")));
    assert_eq!((handled.stream.as_str(), handled.attempt), (streams::REQUESTS, 1));
    assert_eq!(journal.len(), 2);

    // Nobody else was brought it, now or later. (The syncer heard of what followed.)
    for service in ["recharger", "syncer"] {
        let info = rig.consumer_of(service, streams::REQUESTS).await.unwrap();
        assert_eq!((info.delivered.consumer_sequence, info.num_pending), (0, 0), "{service}");
    }
    assert!(!others.has("acme"));
    // The letter stays until somebody removes it.
    assert_eq!(letters(&dead_letters).await, [letter]);
    worker.end().await;
    for bystander in bystanders {
        bystander.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_again_is_parked_again() {
    let rig = Rig::start().await;
    let journal = Journal::default();
    let worker = worker_that_understands(&rig, &journal, 2).await;
    let mut headers = HeaderMap::new();
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    headers.insert(MESSAGE_ID, "evt_1");
    headers.insert("traceparent", trace);
    let sent = rig.jetstream.publish_with_headers("recharges.charged.acme", headers, BODY.into()).await.unwrap();
    sent.await.unwrap();
    rig.until_dead_letters(1).await;

    let dead_letters = rig.dead_letters().await;
    let first = dead_letters.get(1).await.unwrap().unwrap();
    dead_letters.redrive(&first).await.unwrap();
    rig.until_dead_letters(2).await;
    let second = dead_letters.get(2).await.unwrap().unwrap();
    let of_requests = DeadLetter { stream: "REQUESTS".to_owned(), sequence: 2, ..first.clone() };
    assert_eq!(DeadLetter { parked_at: first.parked_at, ..second.clone() }, of_requests);
    assert_eq!((second.message_id.as_deref(), second.traceparent.as_deref()), (Some("evt_1"), Some(trace)));
    let stored = rig.message(streams::DEAD_LETTERS, 2).await;
    assert_eq!(stored.subject.as_str(), "dead.ledger.recharges.charged.acme");
    let id = dead_letter_id("ledger", "REQUESTS", 1, &first.body);
    assert_eq!(stored.headers.get(MESSAGE_ID).unwrap().as_str(), id);
    assert_eq!(stored.headers.get(DeadLetterHeaders::SUBJECT).unwrap().as_str(), "recharges.charged.acme");

    // The second is brought back like the first.
    dead_letters.redrive(&second).await.unwrap();
    eventually("it is handled", || async { rig.count(streams::LEDGER).await == Some(1) }).await;
    rig.until_nothing_is_open_on(streams::REQUESTS).await;
    assert_eq!(journal.counts()["evt_1"], 3);
    assert_eq!(journal.last().unwrap().traceparent.as_deref(), Some(trace));
    assert_eq!(rig.count(streams::DEAD_LETTERS).await, Some(2));
    worker.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bringing_a_letter_back_twice_delivers_it_once() {
    let rig = Rig::start().await;
    let journal = Journal::default();
    let worker = worker_that_understands(&rig, &journal, 1).await;
    rig.send("acme").await;
    rig.until_dead_letters(1).await;
    let dead_letters = rig.dead_letters().await;
    let letter = dead_letters.get(1).await.unwrap().unwrap();
    let (one, other) = tokio::join!(dead_letters.redrive(&letter), dead_letters.redrive(&letter));
    one.unwrap();
    other.unwrap();
    eventually("it is handled", || async { rig.count(streams::LEDGER).await == Some(1) }).await;
    dead_letters.redrive(&letter).await.unwrap();
    assert_eq!(rig.count(streams::REQUESTS).await, Some(1));
    rig.until_nothing_is_open_on(streams::REQUESTS).await;
    assert_eq!(journal.counts()["acme"], 2);
    worker.end().await;
}

/// Parks a message as somebody might who does not know the rules.
async fn foreign(rig: &Rig, subject: &str, headers: &[(&str, &str)]) -> u64 {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.insert(*name, *value);
    }
    let sent = rig.jetstream.publish_with_headers(subject.to_owned(), map, "x".into()).await.unwrap();
    sent.await.unwrap().sequence
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_are_listed_in_pages_over_holes_and_whatever_they_say() {
    let rig = Rig::start().await;
    let dead_letters = rig.dead_letters().await;
    assert_eq!(dead_letters.page(0, 10).await.unwrap(), (Vec::new(), None));
    assert_eq!(dead_letters.get(1).await.unwrap(), None);

    // No headers at all, no subject, and headers that say nonsense, in the broker's own words, too.
    rig.client.publish("dead.nobody", "bare".into()).await.unwrap();
    eventually("it is stored", || async { rig.count(streams::DEAD_LETTERS).await == Some(1) }).await;
    let nonsense = [
        (DeadLetterHeaders::SEQUENCE, "many"),
        (DeadLetterHeaders::ATTEMPTS, "-1"),
        (DeadLetterHeaders::SUBJECT, "elsewhere.entirely"),
        ("Nats-Sequence", "abc"),
        ("Nats-Time-Stamp", "noon"),
        ("Nats-Subject", "a..b"),
        ("Nats-Stream", "OTHER"),
    ];
    foreign(&rig, "dead.ledger.recharges.charged.@unresolved", &nonsense).await;
    for number in 3..=9 {
        foreign(&rig, &format!("dead.syncer.ledger.credited.org{number}"), &[]).await;
    }
    let bare = dead_letters.get(1).await.unwrap().unwrap();
    assert_eq!((bare.service.as_str(), bare.subject.as_str(), &bare.body[..]), ("nobody", "", &b"bare"[..]));
    assert_eq!((bare.reason.as_str(), bare.error.as_str(), bare.stream.as_str()), ("", "", ""));
    assert_eq!((bare.stream_sequence, bare.attempts, bare.message_id, bare.organization), (None, None, None, None));
    let odd = dead_letters.get(2).await.unwrap().unwrap();
    assert_eq!((odd.sequence, odd.subject.as_str()), (2, "recharges.charged.@unresolved"));
    assert_eq!((odd.stream_sequence, odd.attempts, odd.organization), (None, None, None));

    for hole in [3, 4, 5, 9] {
        assert!(dead_letters.remove(hole).await.unwrap(), "{hole}");
        assert!(!dead_letters.remove(hole).await.unwrap(), "{hole}");
        assert_eq!(dead_letters.get(hole).await.unwrap(), None, "{hole}");
    }
    for never in [0, 10, 1_000, u64::MAX] {
        assert!(!dead_letters.remove(never).await.unwrap(), "{never}");
        assert_eq!(dead_letters.get(never).await.unwrap(), None, "{never}");
    }
    let mut pages = Vec::new();
    let mut after = Some(0);
    while let Some(sequence) = after {
        let (letters, next) = dead_letters.page(sequence, 2).await.unwrap();
        pages.push(letters.iter().map(|letter| letter.sequence).collect::<Vec<_>>());
        after = next;
    }
    assert_eq!(pages, [vec![1, 2], vec![6, 7], vec![8]]);
    assert_eq!(dead_letters.page(4, 0).await.unwrap().1, Some(6), "a page is never empty when there is more");
    for beyond in [8, 9, u64::MAX - 1, u64::MAX] {
        assert_eq!(dead_letters.page(beyond, 5).await.unwrap(), (Vec::new(), None), "{beyond}");
    }

    // Nobody would take these.
    let bare = dead_letters.get(1).await.unwrap().unwrap();
    let of_nobody = DeadLetter { service: "notifier".to_owned(), ..dead_letters.get(6).await.unwrap().unwrap() };
    let broken = DeadLetter { message_id: Some("a\r\nb".to_owned()), ..dead_letters.get(6).await.unwrap().unwrap() };
    for letter in [bare, of_nobody, broken] {
        let refused = dead_letters.redrive(&letter).await;
        assert!(matches!(&refused, Err(DeadLettersError::NotRedrivable { .. })), "{refused:?}");
    }
    assert_eq!(rig.count(streams::REQUESTS).await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn away_and_refused_are_told_apart() {
    let mut rig = Rig::start().await;
    let dead_letters = rig.dead_letters().await;
    foreign(&rig, "dead.ledger.recharges.charged.acme", &[]).await;
    let letter = dead_letters.get(1).await.unwrap().unwrap();

    // Full: a definite no.
    let mut config = rig.jetstream.get_stream(streams::REQUESTS).await.unwrap().cached_info().config.clone();
    config.max_messages = 1;
    rig.jetstream.update_stream(config).await.unwrap();
    let subject = redrive_subject("nobody", "x");
    rig.jetstream.publish(subject, "".into()).await.unwrap().await.unwrap();
    let full = dead_letters.redrive(&letter).await;
    assert!(matches!(&full, Err(DeadLettersError::Refused(why)) if why.contains("maximum")), "{full:?}");

    // No stream: nobody answers.
    rig.jetstream.delete_stream(streams::DEAD_LETTERS).await.unwrap();
    let listed = dead_letters.page(0, 10).await;
    assert!(matches!(listed, Err(DeadLettersError::Away(_))), "{listed:?}");

    block_in_place(|| rig.server.kill().unwrap());
    let away = |error: Option<DeadLettersError>| matches!(error, Some(DeadLettersError::Away(_)));
    assert!(away(dead_letters.page(0, 10).await.err()));
    assert!(away(dead_letters.get(1).await.err()));
    assert!(away(dead_letters.redrive(&letter).await.err()));
    assert!(away(dead_letters.remove(1).await.err()));
}
