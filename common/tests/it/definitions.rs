//! Streams and consumers come to be as `nats/` defines them, and what differs is named.

use std::process::{Command, Output};
use std::time::Duration;

use common::broker::Definitions;
use common::contract::streams;
use tokio::task::block_in_place;

use crate::rig::{Rig, SERVICE, Settings, server};

const ACK_WAIT: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn applying_creates_what_is_missing_and_a_repeat_changes_nothing() {
    let rig = Rig::without_streams(ACK_WAIT).await;
    let lines = rig.apply().await;
    assert_eq!(lines.len(), rig.definitions.streams.len() + rig.definitions.consumers.len());
    assert!(lines.contains(&"stream WEBHOOKS is missing".to_owned()), "{lines:?}");
    assert!(lines.contains(&"consumer syncer on LEDGER is missing".to_owned()), "{lines:?}");

    assert_eq!(rig.definitions.drift(&rig.jetstream).await.unwrap(), Vec::<String>::new());
    assert_eq!(rig.apply().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_setting_is_named_and_repaired() {
    let rig = Rig::start().await;
    let stream = rig.jetstream.get_stream(streams::QUOTAS).await.unwrap();
    let mut config = stream.cached_info().config.clone();
    config.max_age = Duration::from_secs(3_600);
    config.description = None;
    rig.jetstream.update_stream(config).await.unwrap();
    let ours = |name: Option<&str>, stream: &str| name == Some(SERVICE) && stream == streams::QUOTAS;
    let defined = rig.definitions.consumers.iter().find(|one| ours(one.config.durable_name.as_deref(), &one.stream));
    let mut consumer = defined.unwrap().config.clone();
    consumer.max_ack_pending = 7;
    rig.jetstream.create_consumer_on_stream(consumer, streams::QUOTAS).await.unwrap();

    let drift = rig.definitions.drift(&rig.jetstream).await.unwrap();
    assert_eq!(drift.len(), 3, "{drift:?}");
    let named = |words: [&str; 3]| drift.iter().any(|line| words.iter().all(|word| line.contains(word)));
    assert!(named(["stream QUOTAS", "max_age", "3600000000000"]), "{drift:?}");
    assert!(named(["stream QUOTAS", "description", "null"]), "{drift:?}");
    assert!(named(["consumer ledger on QUOTAS", "max_ack_pending is 7", "256"]), "{drift:?}");

    assert_eq!(rig.apply().await, drift);
    assert_eq!(rig.definitions.drift(&rig.jetstream).await.unwrap(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_does_not_answer_is_not_taken_for_an_empty_one() {
    let mut rig = Rig::start().await;
    block_in_place(|| rig.server.pause().unwrap());
    let drift = rig.definitions.drift(&rig.jetstream).await;
    assert!(drift.is_err(), "{drift:?}");
}

/// As the definitions were before dead letters could be brought back.
fn without_redrive_and_net(definitions: &Definitions) -> Definitions {
    let mut before = definitions.clone();
    before.streams.retain(|stream| stream.name != streams::ADVISORIES);
    before.consumers.retain(|consumer| consumer.stream != streams::ADVISORIES);
    for consumer in &mut before.consumers {
        consumer.config.filter_subjects.retain(|subject| !subject.contains(".redrive."));
    }
    before
}

#[tokio::test(flavor = "multi_thread")]
async fn an_installation_without_redrive_is_upgraded_in_place() {
    let rig = Rig::without_streams(ACK_WAIT).await;
    let before = without_redrive_and_net(&rig.definitions);
    before.apply(&rig.jetstream).await.unwrap();
    let jetstream = rig.jetstream.clone();
    let publish = async |subject: &'static str| {
        jetstream.publish(subject, "".into()).await.unwrap().await.unwrap();
    };
    publish("requests.adjust.acme").await;
    let worker = rig.worker(Settings::default(), |_| async { Ok(Vec::new()) }).await;
    rig.until_nothing_is_open_on(streams::REQUESTS).await;
    worker.end().await;

    let drift = rig.apply().await;
    let has = |words: [&str; 2]| drift.iter().any(|line| words.iter().all(|word| line.contains(word)));
    assert!(has(["stream ADVISORIES", "missing"]), "{drift:?}");
    assert!(has(["consumer ledger on REQUESTS", "requests.redrive.ledger.>"]), "{drift:?}");
    assert_eq!(drift.len(), 1 + 3 + 3, "{drift:?}");
    assert_eq!(rig.definitions.drift(&rig.jetstream).await.unwrap(), Vec::<String>::new());

    let upgraded = rig.consumer_of(SERVICE, streams::REQUESTS).await.unwrap();
    assert_eq!(upgraded.delivered.stream_sequence, 1, "it goes on where it was");
    publish("requests.redrive.ledger.recharges.charged.acme").await;
    let upgraded = rig.consumer_of(SERVICE, streams::REQUESTS).await.unwrap();
    assert_eq!(upgraded.num_pending, 1);
}

fn setup(url: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bill-setup"));
    command.args(arguments).env("NATS_URL", url);
    for variable in ["RUST_LOG", "LOG_FORMAT", "NATS_REPLICAS", "CONSUMER_ACK_WAIT"] {
        command.env_remove(variable);
    }
    command.output().unwrap()
}

#[test]
fn bill_setup_checks_and_applies() {
    let server = server();
    let check = || setup(&server.url(), &["streams", "--check"]);
    let before = check();
    assert!(!before.status.success());
    let said = String::from_utf8_lossy(&before.stdout);
    for missing in ["stream DEAD_LETTERS is missing", "consumer recharger on WEBHOOKS is missing"] {
        assert!(said.contains(missing), "{said}");
    }
    let complaint = String::from_utf8_lossy(&before.stderr);
    assert!(complaint.contains("differences from nats/; run `bill-setup streams`"), "{complaint}");

    for _ in 0..2 {
        let applied = setup(&server.url(), &["streams"]);
        assert!(applied.status.success(), "{applied:?}");
        let after = check();
        assert!(after.status.success(), "{after:?}");
    }
    // Another waiting time than the one that was applied is a difference, too.
    let other = Command::new(env!("CARGO_BIN_EXE_bill-setup"))
        .args(["streams", "--check"])
        .env("NATS_URL", server.url())
        .env("CONSUMER_ACK_WAIT", "5s")
        .output()
        .unwrap();
    assert!(!other.status.success());
    assert!(String::from_utf8_lossy(&other.stdout).contains("ack_wait"), "{other:?}");
}
