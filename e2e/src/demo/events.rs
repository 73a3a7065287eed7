//! Prints every event as it passes, with the time since its chain began.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use async_nats::{Message, Subscriber};
use common::broker::Broker;
use common::clock::Timestamp;
use common::contract::Event;
use futures_util::stream::SelectAll;
use futures_util::{FutureExt, StreamExt};
use serde_json::Value;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use xtask::say;

use super::describe;
use super::fact::Fact;

/// Everything that services say to each other.
const SUBJECTS: [&str; 6] = ["webhooks.>", "requests.>", "recharges.>", "ledger.>", "quotas.>", "dead.>"];
/// The longest subject that is padded.
const WIDTH: usize = 40;
/// How many chains, and how many events, are remembered.
const REMEMBERED: usize = 10_000;

/// An event of a chain.
pub(super) struct Passed {
    /// When it came by.
    pub(super) at: Instant,
    /// The id of the event that began its chain; empty if it can't be read.
    pub(super) correlation: String,
    /// Whose it is; empty if it can't be read.
    pub(super) organization: String,
    /// It as a sentence.
    pub(super) sentence: String,
    /// What it says.
    pub(super) fact: Fact,
}

/// Hands events to the story. They are printed as long as the program runs, whether it listens or not.
pub(super) struct Watcher(UnboundedReceiver<Passed>);

impl Watcher {
    /// Listens from now on.
    pub(super) async fn start(broker: &Broker) -> anyhow::Result<Self> {
        let mut subscriptions = SelectAll::new();
        for subject in SUBJECTS {
            subscriptions.push(broker.client().subscribe(subject).await?);
        }
        // Only then do we miss nothing of what follows.
        broker.client().flush().await?;
        let (sender, passed) = mpsc::unbounded_channel();
        tokio::spawn(print(subscriptions, sender));
        Ok(Self(passed))
    }

    /// The next event; none if the connection is gone for good.
    pub(super) async fn next(&mut self) -> Option<Passed> {
        self.0.recv().await
    }

    /// Forgets what has passed so far.
    pub(super) fn skip(&mut self) {
        while self.0.try_recv().is_ok() {}
    }
}

async fn print(mut subscriptions: SelectAll<Subscriber>, sender: UnboundedSender<Passed>) {
    let mut chains = HashMap::new();
    let mut told = HashSet::new();
    while let Some(first) = subscriptions.next().await {
        let mut batch = vec![Arrived::of(first)];
        while let Some(Some(more)) = subscriptions.next().now_or_never() {
            batch.push(Arrived::of(more));
        }
        // What comes at once comes in any order, because each subject is a subscription of its own.
        batch.sort_by_key(|arrived| arrived.time);
        for arrived in batch {
            if chains.len() > REMEMBERED || told.len() > REMEMBERED {
                chains.clear();
                told.clear();
            }
            let began = *chains.entry(arrived.correlation.clone()).or_insert(arrived.at);
            // Whoever repeats a step says the same again, under the same id; the broker's streams keep the first.
            if !arrived.id.is_empty() && !told.insert(arrived.name()) {
                arrived.line(began, "(said again, word for word: the stream keeps one)");
                continue;
            }
            // The story may be over.
            let _ = sender.send(arrived.tell(began));
        }
    }
}

struct Arrived {
    message: Message,
    at: Instant,
    time: Option<Timestamp>,
    id: String,
    correlation: String,
    organization: String,
}

impl Arrived {
    fn of(message: Message) -> Self {
        let at = Instant::now();
        let event: Option<Event<Value>> = serde_json::from_slice(&message.payload).ok();
        let time = event.as_ref().map(|event| event.time);
        let organization = event.as_ref().and_then(|event| event.subject.as_ref()).map(ToString::to_string);
        let id = event.as_ref().map(|event| event.id.to_string()).unwrap_or_default();
        let correlation = event.map(|event| event.correlationid.to_string()).unwrap_or_default();
        Self { message, at, time, id, correlation, organization: organization.unwrap_or_default() }
    }

    /// What the broker knows it by: the same for a repeat.
    fn name(&self) -> (String, String) {
        (self.message.subject.to_string(), self.id.clone())
    }

    fn line(&self, began: Instant, sentence: &str) {
        let since = self.at.duration_since(began).as_millis();
        say(format_args!("  {since:>6} ms  {:<WIDTH$}  {sentence}", self.message.subject.as_str()));
    }

    fn tell(self, began: Instant) -> Passed {
        let seen = describe::read(&self.message.subject, self.message.headers.as_ref(), &self.message.payload);
        self.line(began, &seen.sentence);
        let (sentence, fact) = (seen.sentence, seen.fact);
        Passed { at: self.at, correlation: self.correlation, organization: self.organization, sentence, fact }
    }
}
