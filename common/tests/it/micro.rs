//! The NATS services API, as `nats micro` uses it: with the rights of the committed configuration.

use std::collections::BTreeSet;
use std::time::Duration;

use common::broker::Broker;
use common::clock::SystemClock;
use common::config::Secret;
use common::health::Health;
use common::micro::{answer, health_subject};
use common::shutdown::Shutdown;
use futures_util::StreamExt;
use serde_json::Value;
use xtask::nats::NatsServer;

use crate::rig::{eventually, server};

const SERVICES: [&str; 4] = ["ingress", "recharger", "ledger", "syncer"];

async fn connect(server: &NatsServer, user: &'static str) -> (Broker, Health) {
    let health = Health::new(user, SystemClock::shared());
    let broker = Broker::connect(&Secret::new(server.url_of(user)), user, health.clone()).await.unwrap();
    eventually("connected", || async { broker.is_connected() }).await;
    (broker, health)
}

/// Asks everybody, and returns what came until nobody said anything more.
async fn ask_all(viewer: &Broker, subject: &str) -> Vec<Value> {
    let client = viewer.client();
    let inbox = client.new_inbox();
    let mut answers = client.subscribe(inbox.clone()).await.unwrap();
    client.publish_with_reply(subject.to_owned(), inbox, "".into()).await.unwrap();
    let mut said = Vec::new();
    while let Ok(Some(message)) = tokio::time::timeout(Duration::from_millis(500), answers.next()).await {
        // The broker's own word that nobody listens.
        if message.status.is_some() {
            break;
        }
        said.push(serde_json::from_slice(&message.payload).unwrap());
    }
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_answers_people_who_look() {
    let server = tokio::task::block_in_place(server);
    let (viewer, _) = connect(&server, "viewer").await;
    let shutdown = Shutdown::new();
    let mut services = Vec::new();
    for name in SERVICES {
        let (broker, health) = connect(&server, name).await;
        health.set("database", Err("on fire".to_owned()));
        services.push(tokio::spawn(answer(broker, name, health, shutdown.clone())));
    }
    let everybody: BTreeSet<&str> = SERVICES.into();
    let names = |said: &[Value]| -> BTreeSet<String> {
        said.iter().filter_map(|one| Some(one["name"].as_str()?.to_owned())).collect()
    };
    eventually("`nats micro ls` finds all", || async {
        names(&ask_all(&viewer, "$SRV.PING").await).iter().map(String::as_str).eq(everybody.iter().copied())
    })
    .await;

    let info = ask_all(&viewer, "$SRV.INFO.ledger").await;
    assert_eq!(info.len(), 1, "{info:?}");
    assert_eq!((&info[0]["name"], &info[0]["version"]), (&"ledger".into(), &env!("CARGO_PKG_VERSION").into()));
    assert_eq!(info[0]["endpoints"][0]["subject"], health_subject("ledger"));

    for name in SERVICES {
        let one = viewer.client().request(health_subject(name), "".into()).await.unwrap();
        let report: Value = serde_json::from_slice(&one.payload).unwrap();
        assert_eq!((&report["service"], &report["status"]), (&name.into(), &"not_ready".into()), "{report}");
        assert_eq!(report["parts"]["database"]["detail"], "on fire");
    }
    let stats = ask_all(&viewer, "$SRV.STATS.ingress").await;
    let endpoint = &stats[0]["endpoints"][0];
    assert_eq!((&endpoint["num_requests"], &endpoint["data"]["status"]), (&1.into(), &"not_ready".into()), "{stats:?}");

    // Whoever asks can't have the answer published where it pleases.
    let (setup, _) = connect(&server, "setup").await;
    let mut elsewhere = setup.client().subscribe("recharges.forged.acme").await.unwrap();
    setup.client().flush().await.unwrap();
    for name in SERVICES.into_iter().filter(|name| *name != "recharger") {
        let asked = viewer.client().publish_with_reply(health_subject(name), "recharges.forged.acme", "".into());
        asked.await.unwrap();
        // It answers the next, and so has answered that one.
        viewer.client().request(health_subject(name), "".into()).await.unwrap();
    }
    setup.client().publish("recharges.forged.acme", "the last".into()).await.unwrap();
    assert_eq!(elsewhere.next().await.unwrap().payload, "the last");

    shutdown.give();
    for service in services {
        service.await.unwrap();
    }
    eventually("nobody is left", || async { ask_all(&viewer, "$SRV.PING").await.is_empty() }).await;
}
