//! The HTTP server under every simulator.
//!
//! It owns its connections, because a fault may cut one without any answer.

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::faults::{Fault, Faults};
use crate::http::{Call, Reply, lock};
use crate::ids::Ids;

const BODY_LIMIT: usize = 1024 * 1024;
const STOP_PATIENCE: Duration = Duration::from_secs(2);

/// What all simulators have: time, ids, faults, counters.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) clock: Clock,
    pub(crate) ids: Ids,
    pub(crate) faults: Faults,
    calls: Mutex<BTreeMap<String, u64>>,
    connections: AtomicU64,
}

impl Shared {
    pub(crate) fn new() -> Self {
        Self {
            clock: Clock::default(),
            ids: Ids::new(),
            faults: Faults::default(),
            calls: Mutex::default(),
            connections: AtomicU64::new(0),
        }
    }

    /// The calls received so far, by route.
    pub(crate) fn calls(&self) -> BTreeMap<String, u64> {
        lock(&self.calls).clone()
    }

    /// TCP connections accepted so far.
    pub(crate) fn connections(&self) -> u64 {
        self.connections.load(Ordering::SeqCst)
    }
}

/// One simulated service.
pub(crate) trait Service: Send + Sync + 'static {
    /// Its name in logs and errors.
    const NAME: &'static str;

    fn shared(&self) -> &Shared;

    /// The call with ids replaced: `POST /v1/refunds/:id`.
    fn route(&self, call: &Call) -> String;

    /// Plays a call. Faults before the effect and cut connections have been dealt with already.
    fn handle(self: Arc<Self>, call: Call, fault: Fault) -> impl Future<Output = Reply> + Send;

    /// A call to `/_sim`, other than faults and health.
    fn sim(self: Arc<Self>, call: Call) -> impl Future<Output = Reply> + Send;

    /// The service's own words for a 429 or 500.
    fn trouble(&self, status: u16) -> Reply;
}

/// A simulator that is being served. Dropping it stops it.
#[derive(Debug)]
pub struct Running {
    address: SocketAddr,
    stop: CancellationToken,
    task: Option<JoinHandle<()>>,
}

impl Running {
    /// The address it listens on.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// The base URL, without a slash at its end.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Stops: calls in progress are finished first, for up to two seconds.
    pub async fn stop(mut self) {
        self.stop.cancel();
        if let Some(task) = self.task.take()
            && let Err(error) = task.await
        {
            tracing::warn!(%error, "a simulator's server ended badly");
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Binds `address` and serves `service` on it.
pub(crate) async fn start<S: Service>(address: SocketAddr, service: Arc<S>) -> anyhow::Result<Running> {
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("the {} simulator cannot listen on {address}", S::NAME))?;
    let address = listener.local_addr().context("the listener's own address")?;
    let stop = CancellationToken::new();
    let task = tokio::spawn(accept(listener, service, stop.clone()));
    tracing::info!(simulator = S::NAME, %address, "listening");
    Ok(Running { address, stop, task: Some(task) })
}

async fn accept<S: Service>(listener: TcpListener, service: Arc<S>, stop: CancellationToken) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    service.shared().connections.fetch_add(1, Ordering::SeqCst);
                    connections.spawn(connection(stream, Arc::clone(&service), stop.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "accept failed");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
    drop(listener);
    let all_ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(STOP_PATIENCE, all_ended).await.is_err() {
        tracing::debug!("connections still open at the end are cut");
    }
}

/// The service's way to have its connection closed without an answer.
#[derive(Debug)]
struct Cut;

impl std::fmt::Display for Cut {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("connection cut on demand")
    }
}

impl std::error::Error for Cut {}

async fn connection<S: Service>(stream: TcpStream, service: Arc<S>, stop: CancellationToken) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY was refused");
    }
    let handler = service_fn(move |request| Box::pin(answer(Arc::clone(&service), request)));
    let mut connection = http1::Builder::new().serve_connection(TokioIo::new(stream), handler);
    let outcome = tokio::select! {
        outcome = poll_fn(|context| connection.poll_without_shutdown(context)) => outcome,
        () = stop.cancelled() => {
            Pin::new(&mut connection).graceful_shutdown();
            poll_fn(|context| connection.poll_without_shutdown(context)).await
        }
    };
    let mut stream = connection.into_parts().io.into_inner();
    match outcome {
        Ok(()) => {
            if let Err(error) = stream.shutdown().await {
                tracing::debug!(%error, "the peer had closed already");
            }
        }
        // A reset, as when the peer's machine or a proxy on the way dies.
        Err(error) if error.is_user() => {
            if let Err(error) = stream.set_zero_linger() {
                tracing::debug!(%error, "SO_LINGER was refused");
            }
        }
        Err(error) => tracing::debug!(%error, "connection ended"),
    }
}

async fn answer<S: Service>(service: Arc<S>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Cut> {
    let call = match receive(request).await {
        Ok(call) => call,
        Err(reply) => return Ok(respond(reply)),
    };
    let line = (call.method.clone(), call.path.clone());
    // In a task of its own: what a client no longer waits for takes effect all the same.
    let played = tokio::spawn(play(Arc::clone(&service), call)).await;
    let reply = played.unwrap_or_else(|error| {
        tracing::error!(%error, "a handler panicked");
        Ok(service.trouble(500))
    });
    let status = reply.as_ref().map(|reply| reply.status).unwrap_or_default();
    tracing::info!(simulator = S::NAME, method = %line.0, path = %line.1, status, cut = reply.is_err(), "call");
    reply.map(respond)
}

async fn play<S: Service>(service: Arc<S>, call: Call) -> Result<Reply, Cut> {
    match call.segments().first() {
        Some(&"_sim") => return Ok(sim(service, call).await),
        _ if service.shared().faults.is_down() => {
            service.shared().faults.count_down();
            return Err(Cut);
        }
        _ => {}
    }
    let route = service.route(&call);
    *lock(&service.shared().calls).entry(route.clone()).or_default() += 1;
    let fault = if call.changes() { service.shared().faults.take(&route) } else { Fault::None };
    match fault {
        Fault::DropBefore => return Err(Cut),
        Fault::ErrorBefore => return Ok(service.trouble(500)),
        Fault::TooMany => return Ok(service.trouble(429)),
        Fault::BadGateway => return Ok(Reply::bad_gateway()),
        Fault::None | Fault::DropAfter | Fault::ErrorAfter | Fault::Slow(_) => {}
    }
    let reply = Arc::clone(&service).handle(call, fault).await;
    if service.shared().faults.is_down() {
        service.shared().faults.count_down();
        return Err(Cut);
    }
    if fault == Fault::DropAfter { Err(Cut) } else { Ok(reply) }
}

async fn sim<S: Service>(service: Arc<S>, call: Call) -> Reply {
    let faults = &service.shared().faults;
    match (call.method.clone(), call.path.trim_end_matches('/')) {
        (Method::GET, "/_sim/health") => Reply::json(200, &json!({ "status": "ok", "simulator": S::NAME })),
        (Method::GET, "/_sim/faults") => Reply::json(200, &faults.show()),
        (Method::DELETE, "/_sim/faults") => {
            faults.clear();
            Reply::json(200, &faults.show())
        }
        (Method::POST, "/_sim/faults") => match call.json().map(|list| faults.add(&list)) {
            Ok(Ok(())) => Reply::json(200, &faults.show()),
            Ok(Err(message)) => Reply::problem(400, &message),
            Err(reply) => reply,
        },
        (Method::POST, "/_sim/clock") => advance(service.shared(), &call),
        _ => Arc::clone(&service).sim(call).await,
    }
}

fn advance(shared: &Shared, call: &Call) -> Reply {
    let seconds = match call.json() {
        Ok(body) => body.get("advance_seconds").and_then(Value::as_i64),
        Err(reply) => return reply,
    };
    let Some(seconds) = seconds else {
        return Reply::problem(400, "advance_seconds must be a whole number");
    };
    shared.clock.advance(seconds);
    Reply::json(200, &json!({ "now": shared.clock.now(), "advanced_seconds": shared.clock.advanced_by() }))
}

async fn receive(request: Request<Incoming>) -> Result<Call, Reply> {
    let (parts, body) = request.into_parts();
    let body = Limited::new(body, BODY_LIMIT)
        .collect()
        .await
        .map_err(|error| Reply::problem(413, &format!("the body could not be read: {error}")))?
        .to_bytes();
    Ok(Call {
        method: parts.method,
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers: parts.headers,
        body,
    })
}

fn respond(reply: Reply) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(reply.body));
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(reply.content_type));
    for (name, value) in reply.headers {
        match HeaderValue::from_str(&value) {
            Ok(value) => {
                headers.insert(name, value);
            }
            Err(error) => tracing::debug!(%error, name, "header value left out"),
        }
    }
    response
}
