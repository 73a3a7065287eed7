//! The table of routes.

use std::sync::Arc;

use common::health::{self, Health};
use prometheus::Registry;
use warp::Filter;
use warp::http::{HeaderName, HeaderValue, Method, StatusCode};
use warp::reply::Response;

use crate::app::App;
use crate::http::{Answer, Problem, Request, incoming};
use crate::webhooks::{alerts, litellm, stripe};
use crate::{api, dev, pay};

const REQUEST_ID: &str = "x-request-id";

/// A place that can be asked for; the text is what an operator sees in metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place<'a> {
    /// The health routes, which have answered already where the method was right.
    Health,
    LimitExceeded,
    Alerts(&'a str),
    Stripe,
    Pay(&'a str),
    PayDone(&'a str),
    Organizations,
    Config(&'a str),
    PaymentMethod(&'a str),
    Sync(&'a str),
    Recharge(&'a str),
    RechargeHistory(&'a str),
    WebhookEvents(&'a str),
    Balance(&'a str),
    Event(&'a str),
    OneRecharge(&'a str),
    Refund(&'a str),
    DeadLetters,
    RedriveAll,
    DeadLetter(&'a str),
    Redrive(&'a str),
    Discard(&'a str),
    Reconciliations,
    Reconciliation(&'a str),
    Development(&'a str, Option<&'a str>, Option<&'a str>),
}

impl<'a> Place<'a> {
    fn find(path: &'a str, dev_routes: bool) -> Option<Self> {
        let mut segments: Vec<&str> = path.strip_prefix('/')?.split('/').collect();
        // `/api/organizations/` is `/api/organizations`.
        if segments.len() > 1 && segments.last() == Some(&"") {
            segments.pop();
        }
        Some(match segments.as_slice() {
            ["health"] | ["health", "live" | "ready"] | ["metrics"] => Self::Health,
            ["webhooks", "litellm", "limit-exceeded"] => Self::LimitExceeded,
            ["webhooks", "litellm", "alerts", token] => Self::Alerts(token),
            ["webhooks", "stripe"] => Self::Stripe,
            ["pay", token] => Self::Pay(token),
            ["pay", token, "done"] => Self::PayDone(token),
            ["api", "organizations"] => Self::Organizations,
            ["api", "organizations", id, "config"] => Self::Config(id),
            ["api", "organizations", id, "payment-method"] => Self::PaymentMethod(id),
            ["api", "organizations", id, "sync"] => Self::Sync(id),
            ["api", "organizations", id, "recharge"] => Self::Recharge(id),
            ["api", "organizations", id, "recharge-history"] => Self::RechargeHistory(id),
            ["api", "organizations", id, "webhook-events"] => Self::WebhookEvents(id),
            ["api", "organizations", id, "balance"] => Self::Balance(id),
            ["api", "events", id] => Self::Event(id),
            ["api", "recharges", id] => Self::OneRecharge(id),
            ["api", "recharges", id, "refund"] => Self::Refund(id),
            ["api", "dead-letters"] => Self::DeadLetters,
            ["api", "dead-letters", "redrive"] => Self::RedriveAll,
            ["api", "dead-letters", sequence] => Self::DeadLetter(sequence),
            ["api", "dead-letters", sequence, "redrive"] => Self::Redrive(sequence),
            ["api", "dead-letters", sequence, "discard"] => Self::Discard(sequence),
            ["api", "reconciliations"] => Self::Reconciliations,
            ["api", "reconciliations", id] => Self::Reconciliation(id),
            ["test", one] if dev_routes => Self::Development(one, None, None),
            ["test", one, two] if dev_routes => Self::Development(one, Some(two), None),
            ["test", one, two, three] if dev_routes => Self::Development(one, Some(two), Some(three)),
            _ => return None,
        })
    }

    fn pattern(self) -> &'static str {
        match self {
            Self::Health => "/health",
            Self::LimitExceeded => "/webhooks/litellm/limit-exceeded",
            Self::Alerts(_) => "/webhooks/litellm/alerts/:token",
            Self::Stripe => "/webhooks/stripe",
            Self::Pay(_) => "/pay/:token",
            Self::PayDone(_) => "/pay/:token/done",
            Self::Organizations => "/api/organizations",
            Self::Config(_) => "/api/organizations/:id/config",
            Self::PaymentMethod(_) => "/api/organizations/:id/payment-method",
            Self::Sync(_) => "/api/organizations/:id/sync",
            Self::Recharge(_) => "/api/organizations/:id/recharge",
            Self::RechargeHistory(_) => "/api/organizations/:id/recharge-history",
            Self::WebhookEvents(_) => "/api/organizations/:id/webhook-events",
            Self::Balance(_) => "/api/organizations/:id/balance",
            Self::Event(_) => "/api/events/:id",
            Self::OneRecharge(_) => "/api/recharges/:id",
            Self::Refund(_) => "/api/recharges/:id/refund",
            Self::DeadLetters => "/api/dead-letters",
            Self::RedriveAll => "/api/dead-letters/redrive",
            Self::DeadLetter(_) => "/api/dead-letters/:seq",
            Self::Redrive(_) => "/api/dead-letters/:seq/redrive",
            Self::Discard(_) => "/api/dead-letters/:seq/discard",
            Self::Reconciliations => "/api/reconciliations",
            Self::Reconciliation(_) => "/api/reconciliations/:id",
            Self::Development(..) => "/test",
        }
    }

    /// The methods, as the `allow` header has them.
    fn allowed(self) -> &'static str {
        match self {
            Self::Organizations | Self::Reconciliations | Self::Pay(_) => "GET, POST",
            Self::Config(_) => "GET, PATCH",
            Self::LimitExceeded
            | Self::Alerts(_)
            | Self::Stripe
            | Self::PaymentMethod(_)
            | Self::Sync(_)
            | Self::Recharge(_)
            | Self::Refund(_)
            | Self::RedriveAll
            | Self::Redrive(_)
            | Self::Discard(_) => "POST",
            Self::Health
            | Self::RechargeHistory(_)
            | Self::WebhookEvents(_)
            | Self::Balance(_)
            | Self::Event(_)
            | Self::OneRecharge(_)
            | Self::PayDone(_)
            | Self::DeadLetters
            | Self::DeadLetter(_)
            | Self::Reconciliation(_) => "GET",
            Self::Development(..) => "GET, POST, PUT",
        }
    }

    fn takes(self, method: &Method) -> bool {
        self.allowed().split(", ").any(|allowed| allowed == method.as_str())
    }
}

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
        .map(move |reply| finished(warp::Reply::into_response(reply), &plain.ids.fresh().to_string()));
    let rest = incoming().then(move |request| Box::pin(answer(app.clone(), request)));
    health.or(rest).unify().recover(move |rejection| recover(rejection, refused.ids.fresh().to_string())).unify()
}

async fn answer(app: Arc<App>, request: Request) -> Response {
    let id = request_id(&request, &app);
    let path = request.path.clone();
    let place = Place::find(&path, app.config.dev_routes);
    let answer = match place {
        None => Problem::no_route().into(),
        Some(place) if !place.takes(&request.method) => Problem::method(place.allowed()).into(),
        Some(place) => dispatch(&app, place, request, &id).await,
    };
    let status = answer.status;
    app.metrics.requests.with_label_values(&[place.map_or("none", Place::pattern), status.as_str()]).inc();
    if status.is_server_error() {
        tracing::warn!(
            request_id = id,
            status = status.as_u16(),
            route = place.map(Place::pattern),
            "a request could not be done"
        );
    }
    finished(answer.into_response(), &id)
}

async fn dispatch(app: &Arc<App>, place: Place<'_>, request: Request, id: &str) -> Answer {
    let caller = match place {
        Place::Health => return Problem::no_route().into(),
        Place::LimitExceeded => return litellm::post(app, request).await,
        Place::Alerts(token) => return alerts::post(app, request, token).await,
        Place::Stripe => return stripe::post(app, request).await,
        Place::Pay(token) => return pay::answer(app, request, token).await,
        Place::PayDone(token) => return pay::done(app, &request, token).await,
        _ => match app.auth.caller(&request, id) {
            Ok(caller) => caller,
            Err(problem) => return problem.into(),
        },
    };
    // Said at once, not after waiting for a connection. The status URL knows something without the database, and dead
    // letters are in the broker: when the database is down is when somebody looks at them.
    let without = matches!(place, Place::Event(_) | Place::Development(..) | Place::DeadLetters | Place::DeadLetter(_));
    if !without && !app.directory.database_is_up() {
        return Problem::no_database().into();
    }
    let done = match place {
        Place::Organizations if request.method == Method::POST => {
            api::organizations::create(app, request, &caller).await
        }
        Place::Organizations => api::organizations::list(app, &request).await,
        Place::Config(id) if request.method == Method::PATCH => {
            api::organizations::change(app, request, id, &caller).await
        }
        Place::Config(id) => api::organizations::show(app, id).await,
        Place::PaymentMethod(id) => api::payment_method::set(app, request, id, &caller).await,
        Place::Sync(id) => api::sync::start(app, &request, id, &caller).await,
        Place::Recharge(id) => api::recharge::start(app, request, id, &caller).await,
        Place::RechargeHistory(id) => api::history::recharges(app, &request, id).await,
        Place::WebhookEvents(id) => api::history::events(app, &request, id).await,
        Place::Balance(id) => api::balance::show(app, id).await,
        Place::Event(id) => api::events::show(app, id).await,
        Place::OneRecharge(id) => api::events::recharge(app, id).await,
        Place::Refund(id) => api::refund::start(app, request, id, &caller).await,
        Place::DeadLetters => api::dead_letters::list(app, &request).await,
        Place::RedriveAll => api::dead_letters::redrive_all(app, request, &caller).await,
        Place::DeadLetter(sequence) => api::dead_letters::show(app, sequence).await,
        Place::Redrive(sequence) => api::dead_letters::redrive(app, sequence, &caller).await,
        Place::Discard(sequence) => api::dead_letters::discard(app, request, sequence, &caller).await,
        Place::Reconciliations if request.method == Method::POST => {
            api::reconciliations::start(app, request, &caller).await
        }
        Place::Reconciliations => api::reconciliations::list(app, &request).await,
        Place::Reconciliation(id) => api::reconciliations::show(app, &request, id).await,
        Place::Development(one, two, three) => dev::answer(app, request, (one, two, three), &caller).await,
        Place::Health | Place::LimitExceeded | Place::Alerts(_) | Place::Stripe | Place::Pay(_) | Place::PayDone(_) => {
            Err(Problem::no_route())
        }
    };
    done.unwrap_or_else(Answer::from)
}

/// The caller's name for the request, if it is a harmless one, else a new one.
fn request_id(request: &Request, app: &App) -> String {
    request
        .header(REQUEST_ID)
        .filter(|id| !id.is_empty() && id.len() <= 128 && id.bytes().all(|byte| byte.is_ascii_graphic()))
        .map_or_else(|| app.ids.fresh().to_string(), str::to_owned)
}

fn finished(mut response: Response, id: &str) -> Response {
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(id) {
        headers.insert(HeaderName::from_static(REQUEST_ID), value);
    }
    headers.insert(HeaderName::from_static("x-content-type-options"), HeaderValue::from_static("nosniff"));
    response
}

/// What the framework itself refuses; no request is known that gets here.
async fn recover(rejection: warp::Rejection, id: String) -> Result<Response, std::convert::Infallible> {
    tracing::warn!(?rejection, "the framework refused a request");
    let problem = Problem::new(StatusCode::BAD_REQUEST, "bad_request", "The request can't be understood");
    Ok(finished(Answer::from(problem).into_response(), &id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let find = |path| Place::find(path, false);
        assert_eq!(find("/webhooks/litellm/limit-exceeded"), Some(Place::LimitExceeded));
        assert_eq!(find("/webhooks/litellm/alerts/x"), Some(Place::Alerts("x")));
        assert_eq!(find("/api/organizations/"), Some(Place::Organizations));
        assert_eq!(find("/api/organizations/a/config"), Some(Place::Config("a")));
        assert_eq!((find("/pay/x"), find("/pay/x/done")), (Some(Place::Pay("x")), Some(Place::PayDone("x"))));
        assert_eq!(find("/api/dead-letters/redrive"), Some(Place::RedriveAll));
        assert_eq!(find("/api/dead-letters/7/redrive"), Some(Place::Redrive("7")));
        assert_eq!((find("/pay/x/y"), find("/pay")), (None, None));
        for none in [
            "",
            "/",
            "//",
            "/api",
            "/api/organizations//",
            "/api/organizations/a",
            "/test/db-insert",
            "/webhooks/litellm/alerts",
        ] {
            assert!(find(none).is_none_or(|place| place == Place::Alerts("")), "{none}");
        }
        assert_eq!(Place::find("/test/db-query/7", true), Some(Place::Development("db-query", Some("7"), None)));
    }
}
