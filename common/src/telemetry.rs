//! Logs, traces and metrics, the same way in every service.

pub mod export;
mod layer;
mod logs;
pub mod spans;

use std::sync::{Mutex, PoisonError};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Encoder, Registry, TextEncoder};

pub use self::logs::{LogsTo, init_logs};

/// A registry for one service, which carries its name and build.
///
/// # Panics
/// Never: the names are constants that the library accepts.
#[must_use]
pub fn registry(service: &'static str) -> Registry {
    let registry = Registry::new();
    let opts = prometheus::opts!("bill_build_info", "Which build runs; always 1.")
        .const_label("service", service)
        .const_label("version", env!("CARGO_PKG_VERSION"));
    if let Ok(gauge) = prometheus::IntGauge::with_opts(opts) {
        gauge.set(1);
        drop(registry.register(Box::new(gauge)));
    }
    // When it started, its memory and its open files; Linux tells.
    #[cfg(target_os = "linux")]
    drop(registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self())));
    registry
}

/// Registers a metric. A name that is taken or malformed is a mistake of ours: it is logged, and the metric counts for nobody.
pub fn register<M: prometheus::core::Collector + Clone + 'static>(registry: &Registry, metric: &M) {
    if let Err(error) = registry.register(Box::new(metric.clone())) {
        tracing::error!(%error, "a metric could not be registered");
    }
}

/// A counter by labels.
///
/// # Panics
/// When the name or a label is not one that Prometheus takes: a constant of ours is wrong.
#[must_use]
#[expect(clippy::expect_used, reason = "the names are constants; a wrong one shows in the first test")]
pub fn counter_vec(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> prometheus::IntCounterVec {
    let metric = prometheus::IntCounterVec::new(prometheus::opts!(name, help), labels).expect("valid metric");
    register(registry, &metric);
    metric
}

/// A gauge.
///
/// # Panics
/// As [`counter_vec`].
#[must_use]
#[expect(clippy::expect_used, reason = "the names are constants; a wrong one shows in the first test")]
pub fn gauge(registry: &Registry, name: &str, help: &str) -> prometheus::IntGauge {
    let metric = prometheus::IntGauge::new(name, help).expect("valid metric");
    register(registry, &metric);
    metric
}

/// A gauge by labels.
///
/// # Panics
/// As [`counter_vec`].
#[must_use]
#[expect(clippy::expect_used, reason = "the names are constants; a wrong one shows in the first test")]
pub fn gauge_vec(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> prometheus::IntGaugeVec {
    let metric = prometheus::IntGaugeVec::new(prometheus::opts!(name, help), labels).expect("valid metric");
    register(registry, &metric);
    metric
}

/// A gauge by labels whose values are found when somebody asks for them: `fill` sets those that there are at that moment.
///
/// # Panics
/// As [`counter_vec`].
#[expect(clippy::expect_used, reason = "the names are constants; a wrong one shows in the first test")]
pub fn gauge_at_scrape(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
    fill: impl Fn(&prometheus::IntGaugeVec) + Send + Sync + 'static,
) {
    let gauges = prometheus::IntGaugeVec::new(prometheus::opts!(name, help), labels).expect("valid metric");
    let collector = AtScrape { gauges, turn: Mutex::new(()), fill };
    if let Err(error) = registry.register(Box::new(collector)) {
        tracing::error!(%error, "a metric could not be registered");
    }
}

struct AtScrape<F> {
    gauges: prometheus::IntGaugeVec,
    /// Two who ask at once do not empty each other's.
    turn: Mutex<()>,
    fill: F,
}

impl<F: Fn(&prometheus::IntGaugeVec) + Send + Sync> Collector for AtScrape<F> {
    fn desc(&self) -> Vec<&Desc> {
        self.gauges.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.gauges.reset();
        (self.fill)(&self.gauges);
        self.gauges.collect()
    }
}

/// A histogram of seconds by labels, from a millisecond to a minute.
///
/// # Panics
/// As [`counter_vec`].
#[must_use]
pub fn seconds_vec(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> prometheus::HistogramVec {
    let buckets = vec![0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
    buckets_vec(registry, name, help, labels, buckets)
}

/// A histogram of seconds by labels, from ten milliseconds to an hour: for what may wait for other services, or for a person.
///
/// # Panics
/// As [`counter_vec`].
#[must_use]
pub fn long_seconds_vec(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> prometheus::HistogramVec {
    let buckets = vec![0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0];
    buckets_vec(registry, name, help, labels, buckets)
}

#[expect(clippy::expect_used, reason = "the names are constants; a wrong one shows in the first test")]
fn buckets_vec(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
    buckets: Vec<f64>,
) -> prometheus::HistogramVec {
    let opts = prometheus::histogram_opts!(name, help, buckets);
    let metric = prometheus::HistogramVec::new(opts, labels).expect("valid metric");
    register(registry, &metric);
    metric
}

/// The registry in Prometheus's text format.
#[must_use]
pub fn exposition(registry: &Registry) -> String {
    let mut buffer = Vec::new();
    if let Err(error) = TextEncoder::new().encode(&registry.gather(), &mut buffer) {
        tracing::error!(%error, "metrics could not be written");
    }
    String::from_utf8(buffer).unwrap_or_default()
}
