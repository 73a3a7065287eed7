//! What ingress counts, and what it looks at for whoever watches.

use std::time::Duration;

use common::dead_letters::DeadLetters;
use common::shutdown::Shutdown;
use common::{periodic, telemetry};
use prometheus::{HistogramVec, IntCounterVec, Registry};

/// The counters. Clones share them.
#[derive(Clone)]
pub(crate) struct Metrics {
    /// `bill_webhooks_total{source,result}`
    pub(crate) webhooks: IntCounterVec,
    /// `bill_webhook_answer_seconds{source}`
    pub(crate) webhook_seconds: HistogramVec,
    /// `bill_http_requests_total{route,status}`
    pub(crate) requests: IntCounterVec,
    /// `bill_ingress_published_total{kind,result}`
    pub(crate) published: IntCounterVec,
}

impl Metrics {
    pub(crate) fn new(registry: &Registry) -> Self {
        let counter = |name: &str, help: &str, labels: &[&str]| telemetry::counter_vec(registry, name, help, labels);
        Self {
            webhooks: counter(
                "bill_webhooks_total",
                "Webhooks by source and what became of them.",
                &["source", "result"],
            ),
            webhook_seconds: telemetry::seconds_vec(
                registry,
                "bill_webhook_answer_seconds",
                "From the first byte of a webhook to its answer, waiting for the outcome included.",
                &["source"],
            ),
            requests: counter("bill_http_requests_total", "HTTP requests by route and status.", &["route", "status"]),
            published: counter(
                "bill_ingress_published_total",
                "Events handed to the broker: stored, duplicate or failed.",
                &["kind", "result"],
            ),
        }
    }
}

/// How often dead letters are counted.
const LETTERS: Duration = Duration::from_secs(5);

/// Counts dead letters until the shutdown. While the broker does not answer the last count stands: letters don't go away by
/// themselves, and that the broker is away is told elsewhere.
pub(crate) async fn watch_dead_letters(letters: DeadLetters, registry: Registry, shutdown: Shutdown) {
    let waiting = telemetry::gauge(
        &registry,
        "bill_dead_letters_waiting",
        "Dead letters that nobody has brought back or discarded.",
    );
    let oldest = telemetry::gauge(
        &registry,
        "bill_dead_letters_oldest_seconds",
        "When the oldest dead letter was parked, in seconds since 1970; 0 when there is none.",
    );
    periodic::every(LETTERS, &shutdown, || async {
        match letters.parked().await {
            Ok((count, since)) => {
                waiting.set(i64::try_from(count).unwrap_or(i64::MAX));
                oldest.set(since.map_or(0, |at| at.timestamp()));
            }
            Err(error) => tracing::debug!(%error, "dead letters could not be counted: {error}"),
        }
    })
    .await;
}
