//! Sending events: signed, retried, and on demand late, twice, or in the wrong order.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use super::config::Config;
use super::world::text;
use crate::clock::Clock;
use crate::http::lock;
use crate::outbound::{client, post, stripe_signature};

const LONGEST_PAUSE_MS: u64 = 2000;
/// How long an event that is to be overtaken waits for one that overtakes it.
const HELD_FOR: Duration = Duration::from_millis(500);

/// The sender, and a log of what it did.
#[derive(Debug)]
pub(super) struct Deliveries {
    client: reqwest::Client,
    log: Mutex<Vec<Value>>,
    held: Mutex<Option<Value>>,
}

impl Deliveries {
    pub(super) fn new() -> anyhow::Result<Self> {
        Ok(Self { client: client()?, log: Mutex::default(), held: Mutex::default() })
    }

    /// Every attempt so far.
    pub(super) fn log(&self) -> Vec<Value> {
        lock(&self.log).clone()
    }

    /// Starts sending; returns at once.
    pub(super) fn send(self: &Arc<Self>, config: &Config, events: Vec<Value>) {
        let Some(url) = config.webhook_url.clone() else { return };
        for event in events {
            let target = Target { url: url.clone(), config: config.clone() };
            if !config.webhook_mode.reorder {
                tokio::spawn(Arc::clone(self).deliver(target, event));
                continue;
            }
            let overtaken = lock(&self.held).take();
            match overtaken {
                Some(earlier) => {
                    let sender = Arc::clone(self);
                    tokio::spawn(async move {
                        Arc::clone(&sender).deliver(target.clone(), event).await;
                        sender.deliver(target, earlier).await;
                    });
                }
                None => {
                    *lock(&self.held) = Some(event);
                    tokio::spawn(Arc::clone(self).release(target));
                }
            }
        }
    }

    /// Nothing came to overtake the held event: send it all the same.
    async fn release(self: Arc<Self>, target: Target) {
        tokio::time::sleep(HELD_FOR).await;
        let event = lock(&self.held).take();
        if let Some(event) = event {
            self.deliver(target, event).await;
        }
    }

    async fn deliver(self: Arc<Self>, target: Target, event: Value) {
        let mode = target.config.webhook_mode;
        tokio::time::sleep(Duration::from_millis(mode.delay_ms)).await;
        let copies = if mode.duplicate { 2 } else { 1 };
        for _ in 0..copies {
            self.deliver_once(&target, &event).await;
        }
    }

    async fn deliver_once(&self, target: &Target, event: &Value) {
        let body = event.to_string();
        let mut pause = 100;
        for attempt in 1..=target.config.webhook_attempts.max(1) {
            let timestamp = Clock::machine_now();
            let secret = target.config.webhook_secret.as_deref().unwrap_or_default();
            let headers = [
                ("stripe-signature", stripe_signature(secret, timestamp, &body)),
                ("user-agent", "Stripe/1.0 (+https://stripe.com/docs/webhooks)".to_owned()),
            ];
            let outcome = post(&self.client, &target.url, &headers, &body).await;
            let ok = matches!(outcome, Ok((status, _)) if (200..300).contains(&status));
            let (status, error) = match outcome {
                Ok((status, _)) => (Some(status), None),
                Err(error) => (None, Some(error)),
            };
            lock(&self.log).push(json!({
                "event": text(event, "id"),
                "type": text(event, "type"),
                "attempt": attempt,
                "status": status,
                "error": error,
            }));
            if ok {
                return;
            }
            tokio::time::sleep(Duration::from_millis(pause)).await;
            pause = (pause * 2).min(LONGEST_PAUSE_MS);
        }
        tracing::warn!(event = %text(event, "id"), "webhook given up");
    }
}

#[derive(Debug, Clone)]
struct Target {
    url: String,
    config: Config,
}
