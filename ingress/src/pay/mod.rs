//! `/pay/<token>`: the bank wants the customer to confirm. The link is opened without an account, so the token is all
//! that is asked for. Opening it changes nothing (programs that scan mail open links); the button confirms *the same*
//! payment intent that was made when the card was charged, so there is one way to pay for each recharge, used once.

mod page;
mod record;
mod repo;

pub(crate) use page::escape;

use std::time::Duration;

use common::clients::stripe::{ChargeOutcome, Confirmation, FaultKind, StripeFault};
use common::contract::{Event, RecheckRequestedV1};
use common::ids::RechargeId;
use common::telemetry::spans;
use serde_json::json;
use tracing::Span;
use warp::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, LOCATION, REFERRER_POLICY, RETRY_AFTER, X_FRAME_OPTIONS,
};
use warp::http::{HeaderName, HeaderValue, Method, StatusCode};

use crate::api::operation::Operation;
use crate::app::App;
use crate::http::{Answer, Query, Request};
use crate::organizations::repo::{AuditEntry, audit};
use crate::outcome::Interest;
use record::{Open, Record, State, recheck_cause};

/// Who asked, where a customer did.
const CUSTOMER: &str = "customer";
/// How often a confirmation that Stripe is busy with (the button was pressed twice) is asked for again.
const TRIES: u32 = 4;
/// How long to wait in between.
const PAUSE: Duration = Duration::from_millis(400);
/// The length of an attempt's name.
const ATTEMPT: usize = 32;

/// A page that is not the one that was hoped for.
struct Stop {
    status: StatusCode,
    html: String,
}

impl Stop {
    fn new(status: StatusCode, title: &str, text: &str) -> Self {
        Self { status, html: page::message(title, text) }
    }

    /// Not a word about the money: how the payment stands is just what can't be said at the moment.
    fn unavailable() -> Self {
        let text = "The state of this payment can't be shown at the moment. Please open the link again in a moment; \
                    it is one payment, however often the button is pressed.";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "Not available at the moment", text)
    }
}

impl From<sqlx::Error> for Stop {
    fn from(error: sqlx::Error) -> Self {
        tracing::warn!(%error, "a payment page needs the database, which answered: {error}");
        Self::unavailable()
    }
}

/// The routes.
pub(crate) fn operations() -> Vec<Operation> {
    const TAG: &str = "Customers' pages";
    const HTML: &str = "text/html";
    let documented = |operation: Operation| {
        operation
            .answers_text(200, "The page.", HTML)
            .answers_text(404, "The link is not valid.", HTML)
            .answers_text(410, "The link is used up, or its time is over.", HTML)
            .answers_text(429, "Too many looks at pages from this address.", HTML)
            .answers_text(503, "Not available at the moment.", HTML)
    };
    let show = Operation::open(Method::GET, "/pay/{token}", "show_payment", |app, visit| {
        Box::pin(async move {
            let token = visit.param(0).to_owned();
            Ok(answer(&app, visit.request, &token).await)
        })
    });
    let confirm = Operation::open(Method::POST, "/pay/{token}", "confirm_payment", |app, visit| {
        Box::pin(async move {
            let token = visit.param(0).to_owned();
            Ok(answer(&app, visit.request, &token).await)
        })
    });
    let done = Operation::open(Method::GET, "/pay/{token}/done", "show_payment_done", |app, visit| {
        Box::pin(async move { Ok(done(&app, &visit.request, visit.param(0)).await) })
    });
    vec![
        documented(show.says(TAG, "What a customer's bank wants confirmed, with the button to do so.")),
        documented(confirm.says(TAG, "Confirms the payment, and sends the customer to his bank."))
            .answers_text(303, "On to the bank, or to the end.", HTML)
            .answers_text(400, "The form was not understood.", HTML)
            .answers_text(409, "The card can't be used for it any more.", HTML),
        documented(done.says(TAG, "How a confirmed payment stands.")),
    ]
}

/// `GET` and `POST /pay/<token>`
async fn answer(app: &App, mut request: Request, token: &str) -> Answer {
    let answer = match open(app, &request, token).await {
        Ok(id) if request.method == Method::POST => confirm(app, &mut request, id, token).await,
        Ok(id) => show(app, id, token).await,
        Err(stop) => Err(stop),
    };
    finished(app, answer)
}

/// `GET /pay/<token>/done`
async fn done(app: &App, request: &Request, token: &str) -> Answer {
    let answer = match open(app, request, token).await {
        Ok(id) => stand(app, id, token).await,
        Err(stop) => Err(stop),
    };
    finished(app, answer)
}

/// Nothing of a page is kept, framed, or told to where it links.
fn finished(app: &App, answer: Result<Answer, Stop>) -> Answer {
    let answer = answer.unwrap_or_else(|stop| {
        let answer = Answer::page(stop.status, stop.html);
        match stop.status {
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => answer.with(RETRY_AFTER, "5"),
            _ => answer,
        }
    });
    let plain = [&app.config.stripe.url, &app.config.public_url].into_iter().any(|url| url.starts_with("http:"));
    answer
        .with(CONTENT_SECURITY_POLICY, &page::policy(plain))
        .with(REFERRER_POLICY, "no-referrer")
        .with(CACHE_CONTROL, "no-store")
        .with(X_FRAME_OPTIONS, "DENY")
        .with(HeaderName::from_static("x-robots-tag"), "noindex, nofollow")
}

/// The recharge that the token is for.
async fn open(app: &App, request: &Request, token: &str) -> Result<RechargeId, Stop> {
    let too_many = |_| {
        Stop::new(StatusCode::TOO_MANY_REQUESTS, "Too many requests", "Please wait a moment and open the link again.")
    };
    let text = "Check that the whole link was copied.";
    let wrong = || Stop::new(StatusCode::NOT_FOUND, "This link is not valid", text);
    // The token first: behind a proxy all come from one address, and whoever has no link must not use up what is there
    // for those who have one.
    let id = app.links.verify(token).ok_or_else(wrong)?;
    app.pay_limit.check(request.peer).map_err(too_many)?;
    Ok(id)
}

async fn find(app: &App, id: RechargeId) -> Result<Record, Stop> {
    if !app.directory.database_is_up() {
        return Err(Stop::unavailable());
    }
    let text = "There is no payment for it any more.";
    let gone = || Stop::new(StatusCode::GONE, "This link is no longer valid", text);
    repo::find(&app.pool, id).await?.ok_or_else(gone)
}

/// Where the browser finds the link's page: below the path that `PUBLIC_URL` has, if it has one.
fn path(app: &App, token: &str) -> String {
    format!("{}/pay/{token}", base_path(&app.config.public_url))
}

/// The path of an address, without a slash at its end.
fn base_path(url: &str) -> &str {
    let after_scheme = url.split_once("://").map_or(url, |(_, rest)| rest);
    after_scheme.find('/').map_or("", |slash| after_scheme[slash..].trim_end_matches('/'))
}

fn gone(app: &App, state: State<'_>, token: &str) -> Stop {
    Stop { status: StatusCode::GONE, html: page::gone(state, &path(app, token)) }
}

async fn show(app: &App, id: RechargeId, token: &str) -> Result<Answer, Stop> {
    let record = find(app, id).await?;
    match record.state(app.clock.now()) {
        State::Open(open) => {
            let attempt = app.ids.fresh().simple().to_string();
            Ok(Answer::page(StatusCode::OK, page::confirm(&record, &open, &path(app, token), &attempt)))
        }
        other => Err(gone(app, other, token)),
    }
}

async fn confirm(app: &App, request: &mut Request, id: RechargeId, token: &str) -> Result<Answer, Stop> {
    let unreadable =
        |_| Stop::new(StatusCode::BAD_REQUEST, "This request can't be read", "Please open the link again.");
    let body = request.bytes().await.map_err(unreadable)?;
    let record = find(app, id).await?;
    let open = match record.state(app.clock.now()) {
        State::Open(open) => open,
        other => return Err(gone(app, other, token)),
    };
    let key = format!("pay-{id}-{}", attempt(&body, &record));
    record_attempt(app, request, &record, &key).await?;
    match ask(app, &record, &open, token, &key).await {
        Ok(Confirmation::Redirect { url }) => {
            tracing::info!(
                recharge_id = %id, c_organization_id = %record.organization, correlation_id = %record.correlation,
                "the customer of recharge {id} confirms it at the bank"
            );
            see_other(&url)
        }
        Ok(Confirmation::Outcome(outcome)) => {
            tracing::info!(
                recharge_id = %id, c_organization_id = %record.organization, correlation_id = %record.correlation,
                "nothing is left to confirm for recharge {id}: {}", word(&outcome)
            );
            recheck(app, &record).await;
            how_it_stands(app, id)
        }
        // It may be confirmed or not: Stripe is read again, and the customer sees what is known then.
        Err(fault) if matches!(fault.kind(), FaultKind::Unknown { .. } | FaultKind::Busy) => {
            tracing::warn!(
                recharge_id = %id, c_organization_id = %record.organization, %fault,
                "nobody knows whether recharge {id} is confirmed: {fault}"
            );
            recheck(app, &record).await;
            how_it_stands(app, id)
        }
        Err(fault) => Err(refused(&record, &fault)),
    }
}

fn how_it_stands(app: &App, id: RechargeId) -> Result<Answer, Stop> {
    let url = format!("{}/done", app.links.url(id));
    let html = page::message_with_link("One moment", "Your browser should go on by itself.", &url, "See how it stands");
    to(&url, html)
}

fn word(outcome: &ChargeOutcome) -> &'static str {
    match outcome {
        ChargeOutcome::Succeeded(_) => "it is paid",
        ChargeOutcome::Processing { .. } => "the bank is at it",
        ChargeOutcome::Fault(_) => "it did not go through",
    }
}

/// The name of the customer's attempt, part of the idempotency key: the page's own, so that the button pressed twice is
/// one attempt, and the page opened anew (after a failure at the bank, say) begins another. A call without the page has
/// one for each state of the record.
fn attempt(body: &[u8], record: &Record) -> String {
    let form = Query::parse(&String::from_utf8_lossy(body));
    let named = form.get("attempt").filter(|name| name.len() == ATTEMPT && name.bytes().all(|b| b.is_ascii_hexdigit()));
    named.map_or_else(|| record.updated_at.timestamp_micros().to_string(), str::to_owned)
}

/// Before Stripe is asked: who began what stays on record whatever happens then.
async fn record_attempt(app: &App, request: &Request, record: &Record, key: &str) -> Result<(), Stop> {
    let mut connection = app.pool.acquire().await?;
    let id = app.ids.fresh().to_string();
    let after = json!({
        "recharge_id": record.id, "payment_intent_id": record.payment_intent_id, "attempt": key,
        "peer": request.peer.map(|peer| peer.to_string()),
    });
    let entry = AuditEntry {
        at: app.clock.now(),
        actor: CUSTOMER,
        action: "payment.confirmation_begun",
        organization: Some(&record.organization),
        request_id: &id,
        before: None,
        after: Some(after),
    };
    Ok(audit(&mut connection, entry).await?)
}

/// Asks Stripe. The button pressed twice finds Stripe busy with the first press, and waits for its answer.
async fn ask(app: &App, record: &Record, open: &Open<'_>, token: &str, key: &str) -> Result<Confirmation, StripeFault> {
    let back = format!("{}/pay/{token}/done", app.config.public_url);
    let (intent, card) = (open.payment_intent_id, open.payment_method_id);
    let mut tries = 1;
    loop {
        match app.stripe.confirm_on_session(intent, card, &back, key, record.total).await {
            Err(fault) if fault.kind == FaultKind::Busy && fault.status == Some(409) && tries < TRIES => {
                tries += 1;
                tokio::time::sleep(PAUSE).await;
            }
            answer => return answer,
        }
    }
}

fn see_other(url: &str) -> Result<Answer, Stop> {
    let html = page::message_with_link("Go on to your bank", "Your browser should go on by itself.", url, "Go on");
    to(url, html)
}

fn to(url: &str, html: String) -> Result<Answer, Stop> {
    let fits = (url.starts_with("https://") || url.starts_with("http://")) && HeaderValue::from_str(url).is_ok();
    if !fits {
        tracing::error!("an address for the customer is none (Stripe's, or PUBLIC_URL)");
        return Err(Stop::unavailable());
    }
    Ok(Answer::page(StatusCode::SEE_OTHER, html).with(LOCATION, url))
}

fn refused(record: &Record, fault: &StripeFault) -> Stop {
    tracing::warn!(
        recharge_id = %record.id, c_organization_id = %record.organization, %fault,
        "recharge {} could not be confirmed: {fault}", record.id
    );
    match fault.kind() {
        FaultKind::Refused { .. } if !matches!(fault.status, Some(401 | 403)) => {
            let text = "The card can't be used for it any more. Save a card again.";
            Stop::new(StatusCode::CONFLICT, "This payment can't be confirmed", text)
        }
        _ => Stop::unavailable(),
    }
}

async fn stand(app: &App, id: RechargeId, token: &str) -> Result<Answer, Stop> {
    let mut record = find(app, id).await?;
    let state = record.state(app.clock.now());
    if state.is_moving() || state.is_up_to_stripe() {
        let waiting = app.outcomes.expect(&record.correlation, Interest::Confirmation);
        let asked = !state.is_up_to_stripe() || recheck(app, &record).await;
        if let Some(mut waiting) = waiting.filter(|_| asked && !app.config.webhook_wait.is_zero()) {
            // Whatever is heard, the row says it better.
            drop(waiting.until(app.config.webhook_wait, &app.shutdown).await);
        }
        record = find(app, id).await?;
    }
    let html = page::standing(&record, record.state(app.clock.now()), &path(app, token));
    Ok(Answer::page(StatusCode::OK, html))
}

/// Has the recharger read the payment at Stripe again. Without a broker it is told by Stripe itself, later.
async fn recheck(app: &App, record: &Record) -> bool {
    let now = app.clock.now();
    let data = RecheckRequestedV1 { recharge_id: record.id, requested_by: CUSTOMER.to_owned() };
    // A step of the recharge's own chain, not a new one.
    spans::resume(&Span::current(), &record.correlation);
    let cause = recheck_cause(record, now);
    let event = Event::following(&cause, &record.organization, now, &record.correlation, data);
    app.publisher.publish(event).await.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_below_the_public_path() {
        for (url, path) in [
            ("http://127.0.0.1:3000", ""),
            ("https://bill.example", ""),
            ("https://bill.example/", ""),
            ("https://example.com/bill", "/bill"),
            ("https://example.com/a/b/", "/a/b"),
        ] {
            assert_eq!(base_path(url), path, "{url}");
        }
    }

    #[test]
    fn an_attempt_is_the_pages_own() {
        let record = record::tests::record("action_required");
        let name = "0123456789abcdef0123456789ABCDEF";
        assert_eq!(attempt(format!("attempt={name}").as_bytes(), &record), name);
        let other = record.updated_at.timestamp_micros().to_string();
        for none in ["", "attempt=", "attempt=x", &format!("attempt={name}0"), "attempt=%00", "\u{fffd}"] {
            assert_eq!(attempt(none.as_bytes(), &record), other, "{none}");
        }
    }
}
