//! The one consumer loop. Every service hands it a [`Handler`]; it does the rest, in this order:
//!
//! 1. the handler commits its effects and returns what follows;
//! 2. what follows is published and confirmed by the broker;
//! 3. only then the input is acknowledged.
//!
//! A crash anywhere before 3 brings the message again, and the repeat comes to the same effects and the same
//! follow-ups, because both are keyed by the input. Neither the broker's dedupe window nor confirmed acknowledgements
//! are relied on: both can be lost.
//!
//! A message that fails is brought again after a delay that the loop computes ([`verdict`]); one that can't be
//! understood, or failed often enough, is parked first and dropped second (`dead_letter.rs`). One that takes the process
//! with it each time comes to neither; the broker gives it up after a number of deliveries and says so, and the loop
//! parks it then (`net.rs`).

mod dead_letter;
mod delivery;
mod lag;
mod metrics;
mod net;
mod verdict;

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::consumer::{Consumer, pull};
use async_nats::jetstream::{AckKind, Message};
use futures_util::{FutureExt, StreamExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

pub use delivery::Delivery;
pub use verdict::{ParkReason, RetryPolicy, Verdict, verdict};

use crate::broker::{Broker, Definitions};
use crate::contract::{Outgoing, TraceContext, organization_of, streams};
use crate::failure::Failure;
use crate::ids::EventId;
use crate::parts::Parts;
use crate::shutdown::{FINISH, Shutdown};
use crate::telemetry::spans;
use metrics::Metrics;

/// How long one request for messages waits for them: short, because a shutdown waits for it, too, and because a broker
/// that was restarted has forgotten it. Heartbeats would show that sooner, but the client (async-nats 0.51) misses what
/// comes after one: its `Batch` returns `Pending` for it without having arranged to be woken.
const PULL: Duration = Duration::from_secs(1);
/// By how much the broker's word that a request is over may be late. After that, the broker has forgotten it.
const SLACK: Duration = Duration::from_millis(500);
/// The pause before a lost consumer is looked for again.
const REBIND: Duration = Duration::from_millis(300);

/// What a service does with a message.
pub trait Handler: Send + Sync + 'static {
    /// Handles one message: commits its effects and returns what follows. It is called again with the same message
    /// after any crash, so both must come out the same: effects are keyed by the message, follow-ups by their cause.
    fn handle(&self, delivery: &Delivery) -> impl Future<Output = Result<Vec<Outgoing>, Failure>> + Send;
}

struct Loop<H> {
    service: &'static str,
    broker: Broker,
    handler: H,
    policy: RetryPolicy,
    concurrency: usize,
    metrics: Metrics,
}

/// Runs the loop for every consumer of the service until the shutdown: then what is in flight finishes, and what was
/// delivered but not begun, or does not finish in time ([`FINISH`]), is given back.
///
/// # Errors
/// When the definitions can't be read.
pub async fn run<H: Handler>(parts: &Parts, handler: H, shutdown: Shutdown) -> anyhow::Result<()> {
    let consumers = Definitions::committed()?.consumers_of(parts.service);
    let shared = Arc::new(Loop {
        service: parts.service,
        broker: parts.broker.clone(),
        handler,
        policy: RetryPolicy {
            max_attempts: parts.base.max_attempts,
            first: Duration::from_millis(200),
            cap: parts.base.retry_cap,
        },
        concurrency: parts.base.concurrency.max(1),
        metrics: Metrics::new(&parts.registry),
    });
    let tasks = TaskTracker::new();
    tasks.spawn(lag::watch(parts.broker.clone(), consumers.clone(), parts.registry.clone(), shutdown.clone()));
    for (stream, durable) in consumers {
        tasks.spawn(consume(shared.clone(), stream, durable, shutdown.clone()));
    }
    tasks.close();
    tasks.wait().await;
    Ok(())
}

/// Asks for messages until the shutdown, through every restart of the broker.
async fn consume<H: Handler>(shared: Arc<Loop<H>>, stream: String, durable: String, shutdown: Shutdown) {
    let permits = Arc::new(Semaphore::new(shared.concurrency));
    let tasks = TaskTracker::new();
    while !shutdown.is_given() {
        if let Some(consumer) = bind(&shared.broker, &stream, &durable).await {
            pull_until_error(&shared, &consumer, &permits, &tasks, &shutdown).await;
        }
        tokio::select! {
            () = tokio::time::sleep(REBIND) => {}
            () = shutdown.wait() => {}
        }
    }
    tasks.close();
    tasks.wait().await;
}

async fn bind(broker: &Broker, stream: &str, durable: &str) -> Option<Consumer<pull::Config>> {
    if !broker.is_connected() {
        return None;
    }
    match broker.jetstream().get_consumer_from_stream(durable, stream).await {
        Ok(consumer) => Some(consumer),
        Err(error) => {
            tracing::warn!(stream, durable, %error, "waiting for consumer {durable} on {stream}: is `bill-setup` done?");
            None
        }
    }
}

/// Asks for as many messages as can be begun at once, so that none waits in memory while its time runs.
async fn pull_until_error<H: Handler>(
    shared: &Arc<Loop<H>>,
    consumer: &Consumer<pull::Config>,
    permits: &Arc<Semaphore>,
    tasks: &TaskTracker,
    shutdown: &Shutdown,
) {
    let ack_wait = consumer.cached_info().config.ack_wait;
    while !shutdown.is_given() && shared.broker.is_connected() {
        let Some(first) = one_permit(permits, shutdown).await else { return };
        let free = permits.available_permits() + 1;
        drop(first);
        let mut batch = match consumer.batch().max_messages(free).expires(PULL).messages().await {
            Ok(batch) => batch,
            Err(error) => return tracing::debug!(%error, "asking for messages failed"),
        };
        let over = Instant::now() + PULL + SLACK;
        let mut late = Vec::new();
        let error = loop {
            let message = match tokio::time::timeout_at(over, batch.next()).await {
                Ok(Some(Ok(message))) => message,
                Ok(Some(Err(error))) => break Some(error.to_string()),
                Ok(None) => break None,
                Err(_) => break Some("the broker has forgotten the request".to_owned()),
            };
            match one_permit(permits, shutdown).await {
                Some(permit) if !shutdown.is_given() => {
                    tasks.spawn(process(shared.clone(), message, ack_wait, permit, shutdown.clone()));
                }
                _ => late.push(message),
            }
        };
        // Not before the request is over: the broker would bring them to it again, and count an attempt each time.
        for message in &late {
            give_back(message).await;
        }
        if let Some(error) = error {
            return tracing::debug!(error, "waiting for messages failed");
        }
    }
}

async fn one_permit(permits: &Arc<Semaphore>, shutdown: &Shutdown) -> Option<OwnedSemaphorePermit> {
    tokio::select! {
        permit = permits.clone().acquire_owned() => permit.ok(),
        () = shutdown.wait() => None,
    }
}

async fn give_back(message: &Message) {
    if let Err(error) = message.ack_with(AckKind::Nak(None)).await {
        tracing::debug!(%error, "a message could not be given back; it comes again by itself");
    }
}

async fn process<H: Handler>(
    shared: Arc<Loop<H>>,
    message: Message,
    ack_wait: Duration,
    permit: OwnedSemaphorePermit,
    shutdown: Shutdown,
) {
    match Delivery::of(shared.service, &message) {
        Ok(delivery) => {
            let organization = organization_of(&delivery.subject).map(String::from).unwrap_or_default();
            let chain = delivery.chain();
            let span = tracing::info_span!(
                "worker.message.handle",
                trace_id = chain.trace.as_ref().map(TraceContext::trace_id),
                correlation_id = chain.correlation.as_ref().map(EventId::as_str),
                subject = delivery.subject,
                sequence = delivery.sequence,
                attempt = delivery.attempt,
                c_organization_id = organization,
                redriven = delivery.subject != message.subject.as_str(),
                event_id = delivery.message_id.as_deref().unwrap_or_default(),
            );
            spans::handle(&span, &delivery.subject, chain.trace);
            let work = shared.process(&message, &delivery, ack_wait);
            async {
                // As after a crash: whatever it has done so far, the repeat comes to the same.
                if shutdown.cut(FINISH, work).await.is_none() {
                    tracing::warn!("did not finish in time and is given back");
                    give_back(&message).await;
                }
            }
            .instrument(span)
            .await;
        }
        Err(error) => {
            tracing::error!(%error, subject = %message.subject, "a message without JetStream's reply subject")
        }
    }
    drop(permit);
}

impl<H: Handler> Loop<H> {
    async fn process(&self, message: &Message, delivery: &Delivery, ack_wait: Duration) {
        let stream = [delivery.stream.as_str()];
        if delivery.attempt > 1 {
            self.metrics.redeliveries.with_label_values(&stream).inc();
        }
        let timer = self.metrics.seconds.with_label_values(&stream).start_timer();
        let outcome = if verdict::is_crash_loop(delivery.attempt, self.policy) {
            // Not once more: whoever handled it never came to park it.
            Err(Failure::retry(anyhow::anyhow!("delivered {} times, and never answered", delivery.attempt)))
        } else {
            keeping_alive(message, ack_wait, self.work_on(delivery)).await
        };
        timer.observe_duration();
        let verdict = verdict(outcome.as_ref().map(drop), delivery.attempt, self.policy, delivery.spread());
        self.log(&outcome, verdict);
        let result = self.carry_out(message, delivery, &outcome, verdict).await;
        self.metrics.messages.with_label_values(&[delivery.stream.as_str(), result]).inc();
    }

    /// What the broker says of the service's own consumers is the loop's business, and the rest the handler's. Told by
    /// the subject: one of the former may be brought back, too.
    async fn work_on(&self, delivery: &Delivery) -> Result<(), Failure> {
        if streams::of(&delivery.subject) == Some(streams::ADVISORIES) {
            return self.park_given_up(delivery).await;
        }
        self.handle_and_publish(delivery).await
    }

    /// Effects first, then what follows from them, each confirmed.
    async fn handle_and_publish(&self, delivery: &Delivery) -> Result<(), Failure> {
        // The call stands inside: a handler may panic before it returns its future, too.
        let handling = AssertUnwindSafe(async { self.handler.handle(delivery).await });
        let follow_ups = handling.catch_unwind().await.unwrap_or_else(|panic| {
            Err(Failure::retry(anyhow::anyhow!("the handler panicked: {}", panic_text(&*panic))))
        })?;
        for event in follow_ups {
            self.broker.publish(&event).await.map_err(Failure::retry)?;
            tracing::debug!(follow_up = %event.id, subject = event.subject, "published {}", event.subject);
        }
        Ok(())
    }

    fn log(&self, outcome: &Result<(), Failure>, verdict: Verdict) {
        match (outcome, verdict) {
            (Ok(()), _) => {}
            (Err(failure), Verdict::Ack) => tracing::info!("not done: {failure:#}"),
            (Err(failure), Verdict::RetryIn(delay)) => tracing::warn!(?delay, "{failure:#}"),
            (Err(failure), Verdict::Park(reason)) => {
                tracing::error!(reason = reason.as_str(), "parked as a dead letter of {}: {failure:#}", self.service);
            }
        }
    }

    /// Returns the result's name. An answer that does not reach the broker is no harm: the message comes again.
    async fn carry_out(
        &self,
        message: &Message,
        delivery: &Delivery,
        outcome: &Result<(), Failure>,
        verdict: Verdict,
    ) -> &'static str {
        let (answer, result) = match verdict {
            Verdict::Ack => (message.ack().await, if outcome.is_ok() { "ok" } else { "refused" }),
            Verdict::RetryIn(delay) => (message.ack_with(AckKind::Nak(Some(delay))).await, "retried"),
            Verdict::Park(reason) => {
                let error = outcome.as_ref().err().map(|failure| format!("{failure:#}")).unwrap_or_default();
                match dead_letter::park(&self.broker, self.service, delivery, reason, &error).await {
                    Ok(_) => {
                        self.metrics.parked.with_label_values(&[delivery.stream.as_str(), reason.as_str()]).inc();
                        (self.terminate(message, reason).await, "parked")
                    }
                    Err(error) => {
                        tracing::error!(%error, "parking failed; the message is kept");
                        (message.ack_with(AckKind::Nak(Some(self.policy.cap))).await, "parking_failed")
                    }
                }
            }
        };
        if let Err(error) = answer {
            tracing::debug!(%error, "the broker was not told; the message comes again");
        }
        result
    }

    /// Drops a delivery and says why: [`AckKind::Term`] has no place for a reason.
    async fn terminate(&self, message: &Message, reason: ParkReason) -> Result<(), async_nats::Error> {
        let Some(reply) = message.reply.clone() else { return Ok(()) };
        let body = format!("+TERM {}", reason.as_str());
        self.broker.client().publish(reply, body.into()).await.map_err(Into::into)
    }
}

/// Tells the broker, while the work goes on, that it goes on.
async fn keeping_alive<T>(message: &Message, ack_wait: Duration, work: impl Future<Output = T>) -> T {
    tokio::pin!(work);
    let every = (ack_wait / 3).max(Duration::from_millis(50));
    loop {
        tokio::select! {
            done = &mut work => return done,
            () = tokio::time::sleep(every) => {
                if let Err(error) = message.ack_with(AckKind::Progress).await {
                    tracing::debug!(%error, "the broker was not told of progress");
                }
            }
        }
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}
