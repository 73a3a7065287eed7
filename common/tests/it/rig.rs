//! What the tests stand on: a broker of their own, workers with closures for handlers, and waiting for conditions.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_nats::jetstream::consumer::pull;
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::{self, consumer};
use async_nats::{Client, HeaderMap};
use common::broker::{Broker, BrokerAddress, Definitions, MESSAGE_ID};
use common::clock::SystemClock;
use common::config::{Base, Secret};
use common::contract::{Outgoing, organization_of, streams};
use common::dead_letters::DeadLetters;
use common::failure::Failure;
use common::health::Health;
use common::ids::EventId;
use common::parts::Parts;
use common::shutdown::Shutdown;
use common::worker::{self, Delivery, Handler};
use common::{db, telemetry};
use futures_util::StreamExt;
use futures_util::future::join_all;
use tokio::task::{JoinHandle, block_in_place};
use tokio::time::Instant;
use xtask::nats::{NatsServer, Options};
use xtask::tools::NATS_SERVER;

/// The service whose durables the tests use.
pub(crate) const SERVICE: &str = "ledger";
/// The kind of message that most tests send it.
pub(crate) const INPUT: &str = "recharges.charged";

/// No condition takes longer on a machine that works.
const PATIENCE: Duration = Duration::from_secs(40);
const POLL: Duration = Duration::from_millis(20);

/// Waits until the condition holds.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, condition: impl Fn() -> F) {
    assert!(within(PATIENCE, condition).await, "did not happen within {PATIENCE:?}: {what}");
}

/// Whether the condition comes to hold in that time.
pub(crate) async fn within<F: Future<Output = bool>>(limit: Duration, condition: impl Fn() -> F) -> bool {
    let holds = async {
        while !condition().await {
            tokio::time::sleep(POLL).await;
        }
    };
    tokio::time::timeout(limit, holds).await.is_ok()
}

/// A nats-server, without any stream yet.
pub(crate) fn server() -> NatsServer {
    let bin = std::env::var_os(NATS_SERVER).filter(|bin| !bin.is_empty()).map(PathBuf::from);
    assert!(bin.is_some(), "{NATS_SERVER} is not set: run this through `cargo xtask test`");
    NatsServer::start(&bin.unwrap(), Options::default()).unwrap()
}

/// A broker, and an operator's connection to it.
pub(crate) struct Rig {
    pub(crate) server: NatsServer,
    pub(crate) client: Client,
    pub(crate) jetstream: jetstream::Context,
    pub(crate) definitions: Definitions,
}

impl Rig {
    /// With the committed definitions: what is not answered stays away for half a minute, longer than any test waits
    /// for what should come at once.
    pub(crate) async fn start() -> Self {
        Self::start_with_ack_wait(Duration::from_secs(30)).await
    }

    pub(crate) async fn start_with_ack_wait(ack_wait: Duration) -> Self {
        let rig = Self::without_streams(ack_wait).await;
        rig.apply().await;
        rig
    }

    pub(crate) async fn without_streams(ack_wait: Duration) -> Self {
        let server = block_in_place(server);
        let password = server.password_of("setup").unwrap().to_owned();
        let operator = async_nats::ConnectOptions::with_user_and_password("setup".to_owned(), password);
        let client = operator.connect(server.url()).await.unwrap();
        let jetstream = jetstream::new(client.clone());
        let definitions = Definitions::committed().unwrap().with_ack_wait(ack_wait);
        Self { server, client, jetstream, definitions }
    }

    pub(crate) async fn apply(&self) -> Vec<String> {
        self.definitions.apply(&self.jetstream).await.unwrap()
    }

    pub(crate) fn kill_broker(&mut self) {
        block_in_place(|| self.server.kill().unwrap());
    }

    pub(crate) fn start_broker_again(&mut self) {
        block_in_place(|| self.server.start_again().unwrap());
    }

    /// Publishes a message of [`INPUT`] with that id, confirmed; its sequence.
    pub(crate) async fn send(&self, id: &str) -> u64 {
        self.send_body(id, id.as_bytes()).await
    }

    pub(crate) async fn send_body(&self, id: &str, body: &[u8]) -> u64 {
        let mut headers = HeaderMap::new();
        headers.insert(MESSAGE_ID, id);
        let subject = format!("{INPUT}.{id}");
        let confirmed = self.jetstream.publish_with_headers(subject, headers, body.to_vec().into()).await.unwrap();
        confirmed.await.unwrap().sequence
    }

    /// As [`Self::send`], `count` times at once; the ids.
    pub(crate) async fn send_many(&self, count: usize) -> Vec<String> {
        let ids: Vec<String> = (0..count).map(|number| format!("m{number:03}")).collect();
        join_all(ids.iter().map(|id| self.send(id))).await;
        ids
    }

    /// The service's consumer of the inputs, if the broker answers.
    pub(crate) async fn consumer(&self) -> Option<consumer::Info> {
        self.consumer_of(SERVICE, streams::RECHARGES).await
    }

    /// A service's consumer on a stream, if the broker answers.
    pub(crate) async fn consumer_of(&self, service: &str, stream: &str) -> Option<consumer::Info> {
        let consumer = self.jetstream.get_consumer_from_stream::<pull::Config, _, _>(service, stream).await.ok()?;
        Some(consumer.cached_info().clone())
    }

    /// How many messages a stream holds; `None` while there is no such stream, or no broker.
    pub(crate) async fn count(&self, stream: &str) -> Option<u64> {
        Some(self.jetstream.get_stream(stream).await.ok()?.cached_info().state.messages)
    }

    async fn last_sequence(&self, stream: &str) -> Option<u64> {
        Some(self.jetstream.get_stream(stream).await.ok()?.cached_info().state.last_sequence)
    }

    pub(crate) async fn message(&self, stream: &str, sequence: u64) -> StreamMessage {
        self.jetstream.get_stream(stream).await.unwrap().get_raw_message(sequence).await.unwrap()
    }

    /// Waits until every input was delivered and is acknowledged or terminated.
    pub(crate) async fn until_nothing_is_open(&self) {
        self.until_nothing_is_open_on(streams::RECHARGES).await;
    }

    /// The same of what the service reads from another stream.
    ///
    /// The consumer's own count of what waits comes a moment after the stream's: a message that was just stored counts
    /// as open by the stream's last sequence, which every consumer of these tests reads up to.
    pub(crate) async fn until_nothing_is_open_on(&self, stream: &str) {
        eventually("everything is acknowledged or terminated", || async {
            let Some(info) = self.consumer_of(SERVICE, stream).await else { return false };
            let Some(last) = self.last_sequence(stream).await else { return false };
            info.delivered.stream_sequence == last
                && info.num_pending == 0
                && info.num_ack_pending == 0
                && info.ack_floor.stream_sequence == info.delivered.stream_sequence
        })
        .await;
    }

    /// Waits until so many dead letters are stored.
    pub(crate) async fn until_dead_letters(&self, count: u64) {
        eventually("the dead letter", || async { self.count(streams::DEAD_LETTERS).await == Some(count) }).await;
    }

    /// Listens to everything that passes over the broker.
    pub(crate) async fn tap(&self) -> Tap {
        let tap = Tap::default();
        let mut all = self.client.subscribe(">").await.unwrap();
        let heard = tap.clone();
        tokio::spawn(async move {
            while let Some(message) = all.next().await {
                heard.0.lock().unwrap().push((message.subject.to_string(), message.payload.to_vec()));
            }
        });
        self.client.publish("tap.listens", "".into()).await.unwrap();
        eventually("the tap listens", || async { tap.position("tap.listens", "").is_some() }).await;
        tap
    }

    /// The dead letters, over a connection of their own.
    pub(crate) async fn dead_letters(&self) -> DeadLetters {
        let url = Secret::new(self.server.url());
        let health = Health::new("ingress", SystemClock::shared());
        let broker = Broker::connect(&url, "ingress", health).await.unwrap();
        eventually("connected", || async { broker.is_connected() }).await;
        DeadLetters::new(broker)
    }

    /// Starts a worker of [`SERVICE`] with this handler.
    pub(crate) async fn worker<F, R>(&self, settings: Settings, handler: F) -> Worker
    where
        F: Fn(Delivery) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Vec<Outgoing>, Failure>> + Send + 'static,
    {
        self.worker_of(SERVICE, settings, handler).await
    }

    /// Starts a worker of that service with this handler.
    pub(crate) async fn worker_of<F, R>(&self, service: &'static str, settings: Settings, handler: F) -> Worker
    where
        F: Fn(Delivery) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Vec<Outgoing>, Failure>> + Send + 'static,
    {
        let url = Secret::new(self.server.url());
        // The loop itself uses no database.
        let nowhere = Secret::new("postgres://nobody:nothing@nowhere.invalid/none");
        let clock = SystemClock::shared();
        let health = Health::new(service, clock.clone());
        let parts = Parts {
            service,
            base: Base {
                broker: BrokerAddress::from(&url),
                database_url: nowhere.clone(),
                database_pool: 1,
                concurrency: settings.concurrency,
                max_attempts: settings.max_attempts,
                retry_cap: settings.retry_cap,
            },
            clock,
            health: health.clone(),
            registry: telemetry::registry(service),
            pool: db::pool(&nowhere, service, 1).unwrap(),
            broker: Broker::connect(&url, service, health).await.unwrap(),
        };
        let shutdown = Shutdown::new();
        let running = tokio::spawn({
            let (parts, shutdown) = (parts.clone(), shutdown.clone());
            async move { worker::run(&parts, Closure(handler), shutdown).await }
        });
        Worker { parts, shutdown, running }
    }
}

/// How a worker is set up.
pub(crate) struct Settings {
    pub(crate) concurrency: usize,
    pub(crate) max_attempts: u32,
    pub(crate) retry_cap: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { concurrency: 8, max_attempts: 40, retry_cap: Duration::from_secs(60) }
    }
}

/// A running loop.
pub(crate) struct Worker {
    pub(crate) parts: Parts,
    shutdown: Shutdown,
    running: JoinHandle<anyhow::Result<()>>,
}

impl Worker {
    pub(crate) fn is_running(&self) -> bool {
        !self.running.is_finished()
    }

    /// Asks it to stop.
    pub(crate) fn shut_down(&self) {
        self.shutdown.give();
    }

    /// Asks it to stop and waits until it has.
    pub(crate) async fn end(self) {
        self.shut_down();
        self.running.await.unwrap().unwrap();
        self.parts.broker.close().await;
    }

    /// The line of a metric, such as `bill_messages_total{…result="ok"…}`, by words that it contains.
    pub(crate) fn metric(&self, words: &[&str]) -> Option<String> {
        let text = telemetry::exposition(&self.parts.registry);
        let line = text.lines().find(|line| words.iter().all(|word| line.contains(word)))?;
        line.rsplit(' ').next().map(String::from)
    }
}

struct Closure<F>(F);

impl<F, R> Handler for Closure<F>
where
    F: Fn(Delivery) -> R + Send + Sync + 'static,
    R: Future<Output = Result<Vec<Outgoing>, Failure>> + Send + 'static,
{
    fn handle(&self, delivery: &Delivery) -> impl Future<Output = Result<Vec<Outgoing>, Failure>> + Send {
        (self.0)(delivery.clone())
    }
}

/// What follows from a message: its id derives from the message's.
pub(crate) fn follow_up(delivery: &Delivery) -> Outgoing {
    let cause = delivery.message_id.clone().unwrap();
    Outgoing {
        subject: format!("ledger.credited.{}", organization_of(&delivery.subject).unwrap()),
        id: EventId::following("ledger.credited", &cause),
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
        body: format!("after {cause}").into(),
    }
}

/// The deliveries that handlers were given, in order, with their times.
#[derive(Clone, Default)]
pub(crate) struct Journal(Arc<Mutex<Vec<(Delivery, Instant)>>>);

impl Journal {
    pub(crate) fn note(&self, delivery: &Delivery) {
        self.0.lock().unwrap().push((delivery.clone(), Instant::now()));
    }

    pub(crate) fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    /// The last delivery.
    pub(crate) fn last(&self) -> Option<Delivery> {
        self.0.lock().unwrap().last().map(|(delivery, _)| delivery.clone())
    }

    /// How often each message was delivered, by its id.
    pub(crate) fn counts(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for (delivery, _) in self.0.lock().unwrap().iter() {
            *counts.entry(delivery.message_id.clone().unwrap()).or_default() += 1;
        }
        counts
    }

    pub(crate) fn has(&self, id: &str) -> bool {
        !self.of(id).is_empty()
    }

    /// The deliveries of one message: which attempt, and when.
    pub(crate) fn of(&self, id: &str) -> Vec<(u32, Instant)> {
        let entries = self.0.lock().unwrap();
        let of_it = entries.iter().filter(|(delivery, _)| delivery.message_id.as_deref() == Some(id));
        of_it.map(|(delivery, at)| (delivery.attempt, *at)).collect()
    }

    pub(crate) fn attempts(&self, id: &str) -> Vec<u32> {
        self.of(id).into_iter().map(|(attempt, _)| attempt).collect()
    }
}

/// What passed over the broker: subjects and bodies, in the order in which the broker passed them on.
#[derive(Clone, Default)]
pub(crate) struct Tap(Arc<Mutex<Vec<Heard>>>);

/// A subject and a body.
type Heard = (String, Vec<u8>);

impl Tap {
    /// Where the first message stands whose subject and body start so.
    pub(crate) fn position(&self, subject: &str, body: &str) -> Option<usize> {
        let heard = self.0.lock().unwrap();
        heard.iter().position(|(on, what)| on.starts_with(subject) && what.starts_with(body.as_bytes()))
    }
}
