//! What the loop counts.

use prometheus::{HistogramVec, IntCounterVec, Registry};

use crate::telemetry;

#[derive(Clone)]
pub(super) struct Metrics {
    pub(super) messages: IntCounterVec,
    pub(super) seconds: HistogramVec,
    pub(super) redeliveries: IntCounterVec,
    pub(super) parked: IntCounterVec,
}

impl Metrics {
    pub(super) fn new(registry: &Registry) -> Self {
        let counter = |name, help, labels: &[&str]| telemetry::counter_vec(registry, name, help, labels);
        Self {
            messages: counter("bill_messages_total", "Messages handled, by stream and result.", &["stream", "result"]),
            seconds: telemetry::seconds_vec(
                registry,
                "bill_message_seconds",
                "How long handling a message takes.",
                &["stream"],
            ),
            redeliveries: counter("bill_redeliveries_total", "Messages that were delivered again.", &["stream"]),
            parked: counter("bill_dead_letters_total", "Messages that were parked, by reason.", &["stream", "reason"]),
        }
    }
}
