//! From a request to its route, and from the answer to what is sent.

use std::sync::Arc;

use common::contract::TraceContext;
use common::health::{self, Health};
use common::telemetry::spans;
use prometheus::Registry;
use tracing::field::Empty;
use tracing::{Instrument, Span};
use warp::Filter;
use warp::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use warp::http::{HeaderName, HeaderValue, Method, StatusCode};
use warp::reply::Response;

use crate::api::access::{Access, Verdict, forbidden};
use crate::api::calls;
use crate::api::operation::{Call, Operation, Run, Visit};
use crate::api::table;
use crate::app::App;
use crate::http::{Answer, Found, Problem, Request, incoming};
use crate::{console, dev};

const REQUEST_ID: &str = "x-request-id";

/// Every route of the service, health and metrics included.
pub(crate) fn routes(
    app: Arc<App>,
    health: Health,
    registry: Registry,
) -> impl Filter<Extract = (Response,), Error = std::convert::Infallible> + Clone + Send + Sync + 'static {
    // Only their own paths reach the health routes: they look at the method first, and would make every unknown path a 405.
    let theirs = warp::path::full().and_then(|path: warp::path::FullPath| async move {
        let path = path.as_str();
        let ours = path == "/metrics" || path == "/health" || path.starts_with("/health/");
        if ours { Ok(()) } else { Err(warp::reject::not_found()) }
    });
    let (plain, refused) = (app.clone(), app.clone());
    let health = theirs
        .untuple_one()
        .and(health::routes(health, registry))
        .map(move |reply| finished(&plain, warp::Reply::into_response(reply), &plain.ids.fresh().to_string()));
    let rest = incoming().then(move |request| Box::pin(answer(app.clone(), request)));
    health.or(rest).unify().recover(move |rejection| recover(refused.clone(), rejection)).unify()
}

async fn answer(app: Arc<App>, request: Request) -> Response {
    let id = request_id(&request, &app);
    let caller = request.header("traceparent").and_then(TraceContext::parse);
    // Whatever is logged on the way names the request, and the chain that it starts. A chain has a trace of its own, which
    // can be told from the database; the caller's is named beside it.
    let span = tracing::info_span!(
        "request",
        request_id = id,
        caller_trace_id = caller.as_ref().map(TraceContext::trace_id),
        trace_id = Empty,
        correlation_id = Empty,
    );
    spans::serve(&span, caller);
    respond(app, request, id).instrument(span).await
}

async fn respond(app: Arc<App>, request: Request, id: String) -> Response {
    let method = request.method.clone();
    if console::has(&request.path) {
        let response = console::respond(&app, request, &id).await;
        return counted(&app, &method, console::PREFIX, response, &id);
    }
    let found = table::find(&request.method, &request.path);
    let (route, answer) = match found {
        Found::Route(operation, params) => (operation.path, perform(&app, operation, params, request, &id).await),
        Found::Methods(allowed) => ("none", Problem::method(&allowed).into()),
        Found::Nothing if app.config.dev_routes && request.path.starts_with(dev::PREFIX) => {
            ("/test", develop(&app, request, &id).await.unwrap_or_else(Answer::from))
        }
        Found::Nothing => ("none", Problem::no_route().into()),
    };
    counted(&app, &method, route, answer.into_response(), &id)
}

fn counted(app: &App, method: &Method, route: &str, response: Response, id: &str) -> Response {
    let status = response.status();
    app.metrics.requests.with_label_values(&[route, status.as_str()]).inc();
    spans::answered(&Span::current(), method.as_str(), route, status.as_u16());
    if status.is_server_error() {
        tracing::warn!(status = status.as_u16(), route, "a request could not be done");
    }
    finished(app, response, id)
}

async fn perform(app: &Arc<App>, operation: &Operation, params: Vec<String>, request: Request, id: &str) -> Answer {
    let done = match operation.run {
        Run::Before => Err(Problem::no_route()),
        Run::Open(run) => run(app.clone(), Visit::new(request, params)).await,
        Run::Known(run) => match app.auth.caller(&request, id, app.clock.now()).await {
            Ok(caller) => calls::perform(app, operation, run, Call::new(request, caller, params)).await,
            Err(problem) => Err(problem),
        },
    };
    done.unwrap_or_else(Answer::from)
}

/// The development routes: for operators, which with `API_AUTH=off` everybody is.
async fn develop(app: &App, request: Request, id: &str) -> Result<Answer, Problem> {
    let caller = app.auth.caller(&request, id, app.clock.now()).await?;
    if Access::OperateFleet.verdict(&caller.grant, None) != Verdict::Allowed {
        return Err(forbidden(&caller.grant));
    }
    dev::answer(app, request, &caller).await
}

/// The caller's name for the request, if it is a harmless one, else a new one.
fn request_id(request: &Request, app: &App) -> String {
    request
        .header(REQUEST_ID)
        .filter(|id| !id.is_empty() && id.len() <= 128 && id.bytes().all(|byte| byte.is_ascii_graphic()))
        .map_or_else(|| app.ids.fresh().to_string(), str::to_owned)
}

/// What every answer says to browsers: nothing here is kept, framed, sniffed or told to others, unless a page says more.
const HEADERS: [(HeaderName, &str); 5] = [
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (CACHE_CONTROL, "no-store"),
    (REFERRER_POLICY, "no-referrer"),
    (X_FRAME_OPTIONS, "DENY"),
    (CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
];

fn finished(app: &App, mut response: Response, id: &str) -> Response {
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(id) {
        headers.insert(HeaderName::from_static(REQUEST_ID), value);
    }
    for (name, value) in HEADERS {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    if app.config.public_url.starts_with("https:") {
        headers.insert(STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000"));
    }
    response
}

/// What the framework itself refuses; no request is known that gets here.
async fn recover(app: Arc<App>, rejection: warp::Rejection) -> Result<Response, std::convert::Infallible> {
    tracing::warn!(?rejection, "the framework refused a request");
    let problem = Problem::new(StatusCode::BAD_REQUEST, "bad_request", "The request can't be understood");
    Ok(finished(&app, Answer::from(problem).into_response(), &app.ids.fresh().to_string()))
}
