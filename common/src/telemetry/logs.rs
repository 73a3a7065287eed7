//! Logs: what they look like and where they go; and beside them the spans that are exported.

use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, layer::SubscriberExt as _};

use super::export;
use super::layer::{EXPORTED_ONLY, Spans};
use crate::config::{ConfigError, Env, value};

/// Where logs go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogsTo {
    /// A service's own output.
    Stdout,
    /// Beside what a command-line tool prints.
    Stderr,
}

/// Starts logging: `LOG_FORMAT=pretty|json`, filtered by `RUST_LOG` (`info` by default). With
/// `OTEL_EXPORTER_OTLP_ENDPOINT`, spans are kept for the exporter, which [`export::start`] starts.
///
/// # Errors
/// When one of them is not valid.
pub fn init_logs(env: &dyn Env, to: LogsTo) -> Result<(), ConfigError> {
    let read = |name| value(env, name).map_err(|problem| ConfigError(vec![problem]));
    let wanted = read("RUST_LOG")?.unwrap_or_else(|| "info,sqlx=warn,async_nats=warn".to_owned());
    let shown = format!("{wanted},{EXPORTED_ONLY}=off");
    let shown =
        EnvFilter::try_new(&shown).map_err(|error| ConfigError(vec![format!("RUST_LOG is not valid: {error}")]))?;
    let writer = match to {
        LogsTo::Stdout => BoxMakeWriter::new(std::io::stdout),
        LogsTo::Stderr => BoxMakeWriter::new(std::io::stderr),
    };
    let lines = tracing_subscriber::fmt::layer().with_writer(writer).with_target(false);
    let lines = match read("LOG_FORMAT")?.as_deref() {
        None | Some("pretty") => lines.with_ansi(false).boxed(),
        Some("json") => lines.json().flatten_event(true).with_current_span(true).with_span_list(false).boxed(),
        Some(other) => return Err(ConfigError(vec![format!("LOG_FORMAT is {other:?}: use pretty or json")])),
    };
    let logs = tracing_subscriber::registry().with(lines.with_filter(shown));
    let started = match export::endpoint(env)? {
        None => logs.try_init(),
        Some(endpoint) => {
            export::send_to(endpoint);
            logs.with(Spans { export: export::take }.with_filter(LevelFilter::INFO)).try_init()
        }
    };
    // Already started: a test that runs several services in one process.
    drop(started);
    Ok(())
}
