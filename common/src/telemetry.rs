//! Logs and metrics, the same way in every service.

use prometheus::{Encoder, Registry, TextEncoder};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;

use crate::config::{ConfigError, Env};

/// Where logs go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogsTo {
    /// A service's own output.
    Stdout,
    /// Beside what a command-line tool prints.
    Stderr,
}

/// Starts logging: `LOG_FORMAT=pretty|json`, filtered by `RUST_LOG` (`info` by default).
///
/// # Errors
/// When one of the two is not valid.
pub fn init_logs(env: &dyn Env, to: LogsTo) -> Result<(), ConfigError> {
    let wanted = env.get("RUST_LOG").unwrap_or_else(|| "info,sqlx=warn,async_nats=warn".to_owned());
    let filter =
        EnvFilter::try_new(&wanted).map_err(|error| ConfigError(vec![format!("RUST_LOG is not valid: {error}")]))?;
    let writer = match to {
        LogsTo::Stdout => BoxMakeWriter::new(std::io::stdout),
        LogsTo::Stderr => BoxMakeWriter::new(std::io::stderr),
    };
    let builder = tracing_subscriber::fmt().with_writer(writer).with_env_filter(filter).with_target(false);
    let started = match env.get("LOG_FORMAT").as_deref() {
        None | Some("pretty") => builder.with_ansi(false).try_init(),
        Some("json") => builder.json().flatten_event(true).with_current_span(true).with_span_list(false).try_init(),
        Some(other) => return Err(ConfigError(vec![format!("LOG_FORMAT is {other:?}: use pretty or json")])),
    };
    // Already started: a test that runs several services in one process.
    drop(started);
    Ok(())
}

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

/// A histogram of seconds by labels, from a millisecond to a minute.
///
/// # Panics
/// As [`counter_vec`].
#[must_use]
#[expect(clippy::expect_used, reason = "the names are constants; a wrong one shows in the first test")]
pub fn seconds_vec(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> prometheus::HistogramVec {
    let buckets = vec![0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
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
