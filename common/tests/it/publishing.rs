//! Confirmed publishing, and closing the connection.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use common::broker::{Broker, Confirmed, PublishError};
use common::clock::SystemClock;
use common::config::Secret;
use common::contract::{Outgoing, streams};
use common::health::Health;
use common::ids::EventId;
use futures_util::StreamExt;
use tokio::task::block_in_place;
use tokio::time::Instant;

use crate::rig::{Rig, eventually};

fn message(id: &str) -> Outgoing {
    Outgoing {
        subject: "requests.sync.acme".to_owned(),
        id: EventId::parse(id).unwrap(),
        traceparent: None,
        body: id.to_owned().into(),
    }
}

async fn broker(rig: &Rig, service: &str) -> Broker {
    let health = Health::new("ingress", SystemClock::shared());
    Broker::connect(&Secret::new(rig.server.url()), service, health).await.unwrap()
}

async fn connected(rig: &Rig, service: &str) -> Broker {
    let broker = broker(rig, service).await;
    eventually("connected", || async { broker.is_connected() }).await;
    broker
}

/// Says that it is not connected, without waiting for it.
async fn says_so_at_once(broker: &Broker) {
    let asked = Instant::now();
    let outcome = broker.publish(&message("req_1")).await;
    assert!(matches!(outcome, Err(PublishError::NotConnected)), "{outcome:?}");
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_connection_publishing_fails_at_once_and_works_again_with_one() {
    let mut rig = Rig::start().await;
    let before = connected(&rig, "before").await;
    rig.kill_broker();
    eventually("noticed", || async { !before.is_connected() }).await;
    says_so_at_once(&before).await;
    let never = broker(&rig, "never").await;
    says_so_at_once(&never).await;

    rig.start_broker_again();
    for (broker, duplicate) in [(&before, false), (&never, true)] {
        eventually("connected", || async { broker.is_connected() }).await;
        let confirmed = broker.publish(&message("req_1")).await.unwrap();
        assert_eq!(confirmed, Confirmed { sequence: 1, duplicate });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_id_is_stored_once_and_told_apart() {
    let rig = Rig::start().await;
    let broker = connected(&rig, "twice").await;
    assert_eq!(broker.publish(&message("req_1")).await.unwrap(), Confirmed { sequence: 1, duplicate: false });
    assert_eq!(broker.publish(&message("req_1")).await.unwrap(), Confirmed { sequence: 1, duplicate: true });
    assert_eq!(broker.publish(&message("req_2")).await.unwrap(), Confirmed { sequence: 2, duplicate: false });
    assert_eq!(rig.count(streams::REQUESTS).await, Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_confirmation_that_is_late_is_waited_for() {
    let mut rig = Rig::start().await;
    let broker = connected(&rig, "patient").await;
    block_in_place(|| rig.server.pause().unwrap());
    let publishing = tokio::spawn({
        let broker = broker.clone();
        async move { broker.publish(&message("req_1")).await }
    });
    // Longer than the first try waits.
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert!(!publishing.is_finished());
    block_in_place(|| rig.server.resume().unwrap());
    assert_eq!(publishing.await.unwrap().unwrap().sequence, 1);
    assert_eq!(rig.count(streams::REQUESTS).await, Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subject_without_a_stream_is_an_error_that_names_it() {
    let rig = Rig::without_streams(Duration::from_secs(30)).await;
    let broker = connected(&rig, "nowhere").await;
    let outcome = broker.publish(&message("req_1")).await;
    assert!(matches!(&outcome, Err(PublishError::NotConfirmed { subject, .. }) if subject == "requests.sync.acme"));
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_sends_what_is_buffered_and_waits_for_the_end() {
    let rig = Rig::start().await;
    let mut heard = rig.client.subscribe("farewell").await.unwrap();
    rig.client.flush().await.unwrap();
    rig.count(streams::REQUESTS).await.unwrap();
    let broker = connected(&rig, "closing").await;
    assert!(connections(&rig).contains("bill-closing"));

    broker.client().publish("farewell", "buffered".into()).await.unwrap();
    let asked = Instant::now();
    broker.close().await;
    assert!(asked.elapsed() < Duration::from_secs(3), "it waited in vain: {:?}", asked.elapsed());
    assert_eq!(&heard.next().await.unwrap().payload[..], b"buffered");
    eventually("the broker has no such connection", || async { !connections(&rig).contains("bill-closing") }).await;
    assert!(broker.publish(&message("req_1")).await.is_err());
}

/// The broker's table of open connections.
fn connections(rig: &Rig) -> String {
    block_in_place(|| {
        let monitor = rig.server.monitor_url();
        let mut stream = TcpStream::connect(monitor.trim_start_matches("http://")).unwrap();
        write!(stream, "GET /connz HTTP/1.1\r\nHost: broker\r\nConnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    })
}
