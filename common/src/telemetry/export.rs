//! Spans for whoever collects them, over OTLP (HTTP, protobuf), when `OTEL_EXPORTER_OTLP_ENDPOINT` says where that is.
//! Whatever goes wrong with it is not the work's business: spans wait in a queue with an end, are sent from a thread of
//! their own, and are lost rather than waited for.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry_otlp::WithExportConfig as _;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{BatchSpanProcessor, SpanData, SpanExporter, SpanProcessor as _};
use reqwest::Url;

use crate::clients::install_tls;
use crate::config::{ConfigError, Env, value};

/// How long a process that ends waits for its last spans to be taken, after everything else has ended.
const LAST_SPANS: Duration = Duration::from_millis(500);

/// What exports, once it is known which service this is.
static PROCESSOR: OnceLock<BatchSpanProcessor> = OnceLock::new();
/// Where to, since the logs began.
static ENDPOINT: OnceLock<String> = OnceLock::new();

/// Where spans are to be sent, if anywhere: `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`, or what
/// `OTEL_EXPORTER_OTLP_ENDPOINT` has below `/v1/traces`.
///
/// # Errors
/// When that is no address, or another protocol is asked for.
pub(super) fn endpoint(env: &dyn Env) -> Result<Option<String>, ConfigError> {
    let read = |name: &str| value(env, name).map_err(|problem| ConfigError(vec![problem]));
    let refuse = |name: &str, why: &str| Err(ConfigError(vec![format!("{name} is not usable: {why}")]));
    let (own, base) = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT");
    let (name, endpoint) = match (read(own)?, read(base)?) {
        (Some(endpoint), _) => (own, endpoint),
        (None, Some(endpoint)) => (base, format!("{}/v1/traces", endpoint.trim_end_matches('/'))),
        (None, None) => return Ok(None),
    };
    match Url::parse(&endpoint) {
        Ok(url) if !["http", "https"].contains(&url.scheme()) => return refuse(name, "use http://… or https://…"),
        // It would be in what is logged of trouble.
        Ok(url) if url.password().is_some() || !url.username().is_empty() => {
            return refuse(name, "a password belongs into OTEL_EXPORTER_OTLP_HEADERS");
        }
        Ok(_) => {}
        Err(_) => return refuse(name, "it is no address; use http://host:4318"),
    }
    for name in ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"] {
        if read(name)?.is_some_and(|protocol| protocol != "http/protobuf") {
            return refuse(name, "only http/protobuf is spoken");
        }
    }
    Ok(Some(endpoint))
}

/// Spans will be sent to `endpoint` as soon as the process says which service it is.
pub(super) fn send_to(endpoint: String) {
    drop(ENDPOINT.set(endpoint));
}

/// Takes a span that has ended.
pub(super) fn take(span: SpanData) {
    if let Some(processor) = PROCESSOR.get() {
        processor.on_end(span);
    }
}

/// Begins to export as this service. Without an endpoint nothing is begun: no thread, no queue.
///
/// # Errors
/// When the exporter can't be made: a variable of the standard (`OTEL_EXPORTER_OTLP_…`) is not understood.
pub fn start(service: &'static str) -> anyhow::Result<()> {
    let Some(endpoint) = ENDPOINT.get() else { return Ok(()) };
    if PROCESSOR.get().is_some() {
        return Ok(());
    }
    install_tls();
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_protocol(opentelemetry_otlp::Protocol::HttpBinary)
        .with_endpoint(endpoint)
        .build()?;
    let mut processor = BatchSpanProcessor::builder(Watched { exporter, failing: AtomicBool::new(false) }).build();
    let resource = Resource::builder()
        .with_service_name(service)
        .with_attributes([
            KeyValue::new("service.namespace", "bill-service"),
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        ])
        .build();
    processor.set_resource(&resource);
    tracing::info!(endpoint, "spans are exported to {endpoint}");
    drop(PROCESSOR.set(processor));
    Ok(())
}

/// Sends what is still there, for a moment at most.
pub(crate) fn finish() {
    if let Some(processor) = PROCESSOR.get()
        && let Err(error) = processor.shutdown_with_timeout(LAST_SPANS)
    {
        tracing::debug!(%error, "the last spans may be lost: {error}");
    }
}

/// Says when exporting begins to fail, and when it works again; not each time.
#[derive(Debug)]
struct Watched {
    exporter: opentelemetry_otlp::SpanExporter,
    failing: AtomicBool,
}

impl SpanExporter for Watched {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let lost = batch.len();
        let result = self.exporter.export(batch).await;
        let failed_before = self.failing.swap(result.is_err(), Ordering::Relaxed);
        match &result {
            Err(error) if !failed_before => {
                tracing::warn!(%error, lost, "spans can't be exported, and are lost until they can: {error}");
            }
            Ok(()) if failed_before => tracing::info!("spans are exported again"),
            _ => {}
        }
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Option<String>, ConfigError> {
        let env: BTreeMap<_, _> =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        endpoint(&env)
    }

    #[test]
    fn spans_are_exported_where_the_standard_variables_say() {
        let base = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318/");
        assert_eq!(read(&[]).unwrap(), None);
        assert_eq!(read(&[base]).unwrap().as_deref(), Some("http://collector:4318/v1/traces"));
        let own = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://traces.example/in");
        assert_eq!(read(&[base, own]).unwrap().as_deref(), Some("https://traces.example/in"));
        assert!(read(&[base, ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")]).is_ok());

        for wrong in [
            &[("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318")][..],
            &[("OTEL_EXPORTER_OTLP_ENDPOINT", "collector")],
            &[("OTEL_EXPORTER_OTLP_ENDPOINT", "https://user:hunter2@collector")],
            &[base, ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")],
        ] {
            let said = read(wrong).unwrap_err().to_string();
            assert!(said.contains("OTEL_EXPORTER_OTLP_") && !said.contains("hunter2"), "{said}");
        }
    }
}
