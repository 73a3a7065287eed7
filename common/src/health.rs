//! `/health`, `/health/live`, `/health/ready` and `/metrics`, the same on every service.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::Registry;
use schemars::JsonSchema;
use serde::Serialize;
use tokio::net::TcpListener;
use warp::http::StatusCode;
use warp::{Filter, Reply};

use crate::clock::{SharedClock, Timestamp};
use crate::shutdown::Shutdown;
use crate::telemetry;

/// What a service needs, and whether it is there. Clones share it.
#[derive(Clone)]
pub struct Health {
    service: &'static str,
    clock: SharedClock,
    parts: Arc<Mutex<BTreeMap<&'static str, Part>>>,
}

#[derive(Clone)]
struct Part {
    up: bool,
    since: Timestamp,
    detail: String,
}

impl Health {
    /// A service that needs nothing yet.
    #[must_use]
    pub fn new(service: &'static str, clock: SharedClock) -> Self {
        Self { service, clock, parts: Arc::default() }
    }

    /// Shows the parts among the metrics.
    pub fn show_in(&self, registry: &Registry) {
        let up = self.clone();
        let help = "Whether what the service needs is there: 1 or 0.";
        telemetry::gauge_at_scrape(registry, "bill_part_up", help, &["part"], move |gauges| {
            up.each(|name, part| gauges.with_label_values(&[name]).set(i64::from(part.up)));
        });
        let since = self.clone();
        let help = "Since when what the service needs is there, or is not, in seconds since 1970.";
        telemetry::gauge_at_scrape(registry, "bill_part_changed_seconds", help, &["part"], move |gauges| {
            since.each(|name, part| gauges.with_label_values(&[name]).set(part.since.timestamp()));
        });
    }

    fn each(&self, mut show: impl FnMut(&str, &Part)) {
        let parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        parts.iter().for_each(|(name, part)| show(name, part));
    }

    /// Says that a part is there, or why not. A change is logged.
    pub fn set(&self, part: &'static str, state: Result<(), String>) {
        let (up, detail) = match state {
            Ok(()) => (true, "reachable".to_owned()),
            Err(why) => (false, why),
        };
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.now();
        let known = parts.get(part).map(|known| known.up);
        let changed = known != Some(up);
        if changed {
            if known.is_none() && !up {
                tracing::info!(part, "waiting for the {part}");
            } else if up {
                tracing::info!(part, "{part} is reachable");
            } else {
                tracing::warn!(part, detail, "{part} is not reachable: {detail}");
            }
        }
        let since = parts.get(part).filter(|_| !changed).map_or(now, |known| known.since);
        parts.insert(part, Part { up, since, detail });
    }

    /// Whether everything that the service needs is there.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        !parts.is_empty() && parts.values().all(|part| part.up)
    }

    /// Whether one part is there.
    #[must_use]
    pub fn is_up(&self, part: &str) -> bool {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner).get(part).is_some_and(|part| part.up)
    }

    /// The table for people and programs.
    #[must_use]
    pub fn report(&self) -> Report {
        let status = if self.is_ready() { Readiness::Ready } else { Readiness::NotReady };
        let now = self.clock.now();
        let parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        let part = |part: &Part| PartReport {
            state: if part.up { PartState::Up } else { PartState::Down },
            for_seconds: (now - part.since).num_seconds(),
            detail: part.detail.clone(),
        };
        let parts = parts.iter().map(|(name, known)| ((*name).to_owned(), part(known))).collect();
        Report { service: self.service, status, parts }
    }
}

/// What a service needs, and whether it is there.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(rename = "Health")]
pub struct Report {
    /// The service's name.
    pub service: &'static str,
    /// Whether it can do its work.
    pub status: Readiness,
    /// What it needs, by name: the database, the broker and so on.
    pub parts: BTreeMap<String, PartReport>,
}

/// Whether a service can do its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Readiness {
    /// Everything is there.
    Ready,
    /// Something is missing.
    NotReady,
}

/// One thing that a service needs.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(rename = "HealthOfPart")]
pub struct PartReport {
    /// Whether it is there.
    pub state: PartState,
    /// For how many seconds it has been so.
    pub for_seconds: i64,
    /// `reachable`, or what is wrong.
    pub detail: String,
}

/// Whether something is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum PartState {
    /// It is.
    Up,
    /// It is not.
    Down,
}

/// The process turns.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
pub struct Live {
    /// Always `live`.
    #[schemars(extend("const" = "live"))]
    pub status: &'static str,
}

/// The four routes.
#[must_use]
pub fn routes(
    health: Health,
    registry: Registry,
) -> impl Filter<Extract = (impl Reply,), Error = warp::Rejection> + Clone + Send + Sync + 'static {
    let table = {
        let health = health.clone();
        let accept = warp::header::optional::<String>("accept");
        warp::path!("health").and(accept).map(move |accept: Option<String>| {
            // A browser asks for HTML by name, a program for anything.
            if accept.is_some_and(|accept| accept.contains("text/html")) {
                return warp::reply::html(page(&health.report())).into_response();
            }
            warp::reply::json(&health.report()).into_response()
        })
    };
    let live = warp::path!("health" / "live").map(|| warp::reply::json(&Live { status: "live" }).into_response());
    let ready = warp::path!("health" / "ready").map(move || {
        let status = if health.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        warp::reply::with_status(warp::reply::json(&health.report()), status).into_response()
    });
    let metrics = warp::path!("metrics").map(move || {
        let body = telemetry::exposition(&registry);
        warp::reply::with_header(body, "content-type", "text/plain; version=0.0.4; charset=utf-8").into_response()
    });
    warp::get().and(table.or(live).unify().or(ready).unify().or(metrics).unify())
}

/// The table for people. What is not there may be told in the words of a server: they are shown as text.
fn page(report: &Report) -> String {
    let text = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let row = |(name, part): (&String, &PartReport)| {
        let state = if part.state == PartState::Up { "up" } else { "DOWN" };
        let (name, detail) = (text(name), text(&part.detail));
        format!("<tr><td>{name}<td>{state}<td>{} s<td>{detail}\n", part.for_seconds)
    };
    let rows: String = report.parts.iter().map(row).collect();
    let status = if report.status == Readiness::Ready { "ready" } else { "NOT READY" };
    format!(
        "<!doctype html><html lang=en><meta charset=utf-8><title>{0}: {status}</title>\n\
        <h1>{0} {version}</h1>\n<table border=1 cellpadding=6>\n<tr><th>what it needs<th>state<th>for<th>detail\n\
        <tr><td>process<td>live<td><td>it answers\n{rows}</table>\n<p>{0} is <b>{status}</b>\n",
        report.service,
        version = env!("CARGO_PKG_VERSION"),
    )
}

/// Binds an address.
///
/// # Errors
/// When it is taken or not ours; the message names it.
pub async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .map_err(|error| anyhow::anyhow!("can't listen on {address}: {error}; choose another address or port"))
}

/// Serves the four routes until the shutdown is given: for services that have no other HTTP.
pub async fn serve(listener: TcpListener, health: Health, registry: Registry, shutdown: Shutdown) {
    warp::serve(routes(health, registry)).incoming(listener).graceful(shutdown.wait()).run().await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;

    #[tokio::test]
    async fn people_get_a_table_and_programs_json() {
        let registry = telemetry::registry("ledger");
        let health = Health::new("ledger", SystemClock::shared());
        health.show_in(&registry);
        health.set("broker", Ok(()));
        health.set("database", Err("<b>no</b>".to_owned()));
        let listener = bind(([127, 0, 0, 1], 0).into()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = Shutdown::new();
        let serving = tokio::spawn(serve(listener, health, registry, shutdown.clone()));
        crate::clients::install_tls();
        let client = reqwest::Client::new();
        let get = async |path: &str, accept: &str| {
            let request = client.get(format!("http://{address}{path}")).header("accept", accept);
            request.send().await.unwrap().text().await.unwrap()
        };
        let page = get("/health", "text/html,*/*").await;
        assert!(page.contains("NOT READY") && page.contains("<td>broker<td>up"), "{page}");
        assert!(page.contains("&lt;b&gt;no") && !page.contains("<b>no"), "{page}");
        let json = get("/health", "*/*").await;
        let report: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!((&report["status"], &report["parts"]["broker"]["state"]), (&"not_ready".into(), &"up".into()));
        let metrics = get("/metrics", "*/*").await;
        for line in
            ["bill_part_up{part=\"broker\"} 1", "bill_part_up{part=\"database\"} 0", "process_start_time_seconds"]
        {
            assert!(metrics.contains(line), "{metrics}");
        }
        drop(client);
        shutdown.give();
        serving.await.unwrap();
    }
}
