//! Questions and answers over the broker.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::broker::Broker;
use common::clock::SystemClock;
use common::config::Secret;
use common::contract::Query;
use common::health::Health;
use common::ids::OrganizationId;
use common::queries::{Answerer, AskError, INVALID, NoAnswer, PATIENCE, ask, serve};
use common::shutdown::Shutdown;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::rig::{Rig, eventually};

#[derive(Serialize, Deserialize)]
struct Twice {
    number: u32,
}

impl Query for Twice {
    const KIND: &'static str = "queries.twice";
    type Answer = u32;
}

/// What it does depends on whom it is asked about.
#[derive(Clone, Default)]
struct Mood {
    answered: Arc<AtomicUsize>,
    begun: Arc<AtomicUsize>,
    go_on: Arc<Notify>,
}

impl Mood {
    fn begun(&self) -> usize {
        self.begun.load(Ordering::SeqCst)
    }

    fn answered(&self) -> usize {
        self.answered.load(Ordering::SeqCst)
    }
}

impl Answerer<Twice> for Mood {
    #[expect(clippy::panic, reason = "what it is for")]
    async fn answer(&self, organization: &OrganizationId, query: Twice) -> Result<u32, NoAnswer> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        match organization.as_str() {
            "panics" => panic!("on purpose"),
            "fails" => return Err(NoAnswer::Failed(anyhow::anyhow!("a secret of the database"))),
            "refuses" => return Err(NoAnswer::refused("not_today", "not today")),
            "waits" => self.go_on.notified().await,
            _ => {}
        }
        self.answered.fetch_add(1, Ordering::SeqCst);
        Ok(query.number * 2)
    }
}

async fn connect(rig: &Rig, service: &'static str) -> Broker {
    let url = Secret::new(rig.server.url());
    let broker = Broker::connect(&url, service, Health::new(service, SystemClock::shared())).await.unwrap();
    eventually("connected", || async { broker.is_connected() }).await;
    broker
}

/// A replica. As in a service, the connection is closed after everything is answered.
async fn start(rig: &Rig, mood: &Mood, shutdown: &Shutdown) -> JoinHandle<()> {
    let broker = connect(rig, "recharger").await;
    let (mood, shutdown) = (mood.clone(), shutdown.clone());
    tokio::spawn(async move {
        serve(broker.clone(), "recharger", mood, shutdown).await;
        broker.close().await;
    })
}

async fn twice(broker: &Broker, whom: &str, patience: Duration) -> Result<u32, AskError> {
    ask(broker, &OrganizationId::parse(whom).unwrap(), &Twice { number: 21 }, patience).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_question_gets_an_answer_or_a_reason() {
    let rig = Rig::without_streams(Duration::from_secs(30)).await;
    let asker = connect(&rig, "ingress").await;
    assert!(matches!(twice(&asker, "acme", PATIENCE).await, Err(AskError::NoResponder)));

    let (mood, shutdown) = (Mood::default(), Shutdown::new());
    let replica = start(&rig, &mood, &shutdown).await;
    eventually("somebody answers", || async { twice(&asker, "acme", PATIENCE).await.is_ok() }).await;
    let said = twice(&asker, "refuses", PATIENCE).await;
    assert!(matches!(&said, Err(AskError::Refused { code, message }) if code == "not_today" && message == "not today"));
    for bad in ["panics", "fails"] {
        let said = twice(&asker, bad, PATIENCE).await;
        assert!(matches!(&said, Err(AskError::Failed(text)) if !text.contains("secret")), "{bad}: {said:?}");
    }
    let said = rig.client.request("queries.twice.acme", "{}".into()).await.unwrap();
    let said: serde_json::Value = serde_json::from_slice(&said.payload).unwrap();
    assert_eq!(said["refused"]["code"], INVALID);
    let (begun, answered) = (mood.begun(), mood.answered());
    assert!(matches!(twice(&asker, "waits", Duration::from_millis(200)).await, Err(AskError::TimedOut)));
    eventually("it is being answered", || async { mood.begun() > begun }).await;
    mood.go_on.notify_one();
    eventually("it is answered, for nobody", || async { mood.answered() > answered }).await;
    assert_eq!(twice(&asker, "acme", PATIENCE).await.unwrap(), 42, "nothing of this has stopped it");

    // What is being answered at the shutdown is finished, and then there is nobody.
    let begun = mood.begun();
    let last = tokio::spawn({
        let asker = asker.clone();
        async move { twice(&asker, "waits", PATIENCE).await }
    });
    eventually("it is being answered", || async { mood.begun() > begun }).await;
    shutdown.give();
    mood.go_on.notify_one();
    assert_eq!(last.await.unwrap().unwrap(), 42);
    replica.await.unwrap();
    eventually("nobody is there", || async {
        matches!(twice(&asker, "acme", PATIENCE).await, Err(AskError::NoResponder))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_share_questions_and_each_is_answered_once() {
    let rig = Rig::without_streams(Duration::from_secs(30)).await;
    let asker = connect(&rig, "ingress").await;
    let (one, other, shutdown) = (Mood::default(), Mood::default(), Shutdown::new());
    let replicas = [start(&rig, &one, &shutdown).await, start(&rig, &other, &shutdown).await];
    let asked = AtomicUsize::new(0);
    eventually("both answer", || async {
        if twice(&asker, "acme", PATIENCE).await.is_ok() {
            asked.fetch_add(1, Ordering::SeqCst);
        }
        one.answered() > 0 && other.answered() > 0
    })
    .await;
    assert_eq!(one.answered() + other.answered(), asked.load(Ordering::SeqCst));
    shutdown.give();
    for replica in replicas {
        replica.await.unwrap();
    }
}
