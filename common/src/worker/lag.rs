//! How far the service's own consumers are, for whoever watches.

use std::time::Duration;

use prometheus::{IntGaugeVec, Registry};

use crate::broker::{Broker, Progress};
use crate::periodic;
use crate::shutdown::Shutdown;
use crate::telemetry;

/// How often the broker is asked.
const INTERVAL: Duration = Duration::from_secs(5);

#[derive(Clone)]
struct Gauges {
    pending: IntGaugeVec,
    ack_pending: IntGaugeVec,
    last_acked: IntGaugeVec,
}

impl Gauges {
    fn new(registry: &Registry) -> Self {
        let gauge = |name, help| telemetry::gauge_vec(registry, name, help, &["stream"]);
        Self {
            pending: gauge("bill_consumer_pending", "Messages that wait and were never delivered, by stream."),
            ack_pending: gauge(
                "bill_consumer_ack_pending",
                "Messages that were delivered and not acknowledged yet, by stream.",
            ),
            last_acked: gauge(
                "bill_consumer_last_acked_seconds",
                "When a message was last acknowledged, in seconds since 1970; 0 before the first.",
            ),
        }
    }

    fn show(&self, stream: &str, progress: &Progress) {
        let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        self.pending.with_label_values(&[stream]).set(count(progress.pending));
        self.ack_pending.with_label_values(&[stream]).set(count(progress.ack_pending));
        self.last_acked.with_label_values(&[stream]).set(progress.acked_at.map_or(0, |at| at.timestamp()));
    }

    /// Old numbers would look like new ones.
    fn forget(&self) {
        for gauges in [&self.pending, &self.ack_pending, &self.last_acked] {
            gauges.reset();
        }
    }
}

/// Keeps the gauges of these consumers until the shutdown.
pub(super) async fn watch(broker: Broker, consumers: Vec<(String, String)>, registry: Registry, shutdown: Shutdown) {
    let gauges = Gauges::new(&registry);
    periodic::every(INTERVAL, &shutdown, || async {
        for (stream, durable) in &consumers {
            match broker.progress(stream, durable).await {
                Ok(progress) => gauges.show(stream, &progress),
                Err(unknown) => {
                    tracing::debug!(stream, %unknown, "how far {durable} is with {stream} is not known: {unknown}");
                    return gauges.forget();
                }
            }
        }
    })
    .await;
}
