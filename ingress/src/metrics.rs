//! What ingress counts.

use common::telemetry;
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
