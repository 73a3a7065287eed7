//! The transport under async-stripe's typed requests. Its own client opens a connection for each call, has no timeout
//! by default, and loses headers and the status of unreadable answers; this one keeps all four.

use std::time::Duration;

use bytes::Bytes;
use prometheus::{HistogramVec, IntCounterVec, Registry};
use reqwest::header::{HeaderMap, HeaderValue};
use stripe_client_core::{
    CustomizedStripeRequest, RequestBuilder, RequestStrategy, StripeClient, StripeClientErr, StripeMethod, VERSION,
};
use tracing::Instrument as _;

use super::outcome::{AnswerHeaders, FaultKind, StripeFault, classify};
use crate::config::{Reader, Secret, is_this_machine};
use crate::telemetry::{self, spans};

/// An answer larger than this is not Stripe's.
const MAX_ANSWER: usize = 4 * 1024 * 1024;

/// Where Stripe is and who we are.
#[derive(Debug, Clone)]
pub struct StripeConfig {
    /// `STRIPE_URL`, without `/v1`.
    pub url: String,
    /// `STRIPE_SECRET_KEY`.
    pub secret_key: Secret,
    /// `STRIPE_TIMEOUT`: how long one call may take.
    pub timeout: Duration,
}

/// How a key begins that is for a simulator. Stripe has no such keys, so that it may travel in the open.
const SIMULATED: &str = "sk_sim_";

impl StripeConfig {
    /// Reads `STRIPE_URL`, `STRIPE_SECRET_KEY` and `STRIPE_TIMEOUT`.
    pub fn read(reader: &mut Reader<'_>, usual_timeout: Duration) -> Self {
        let url = reader.optional("STRIPE_URL").unwrap_or_else(|| "https://api.stripe.com".to_owned());
        let url = url.trim().trim_end_matches('/').to_owned();
        let secret_key =
            reader.secret("STRIPE_SECRET_KEY", "the secret key of the Stripe account, sk_test_… or sk_live_…");
        let key = secret_key.expose();
        match reqwest::Url::parse(&url) {
            Ok(parsed) if parsed.scheme() == "https" => {}
            // The simulator. Anywhere else the key would travel in the open, unless it is none of Stripe's.
            Ok(parsed) if parsed.scheme() == "http" && (is_this_machine(&parsed) || key.starts_with(SIMULATED)) => {}
            _ => reader.problem(format!(
                "STRIPE_URL is not valid: use https://…, or http on this machine, or, for a simulator, a key {SIMULATED}…"
            )),
        }
        if !key.is_empty()
            && !["sk_", "rk_"].iter().any(|prefix| key.starts_with(prefix) && key.len() > prefix.len() + 4)
        {
            reader.problem(
                "STRIPE_SECRET_KEY is no secret key: use sk_test_…, sk_live_… or a restricted one, rk_…".to_owned(),
            );
        }
        Self { url, secret_key, timeout: reader.duration("STRIPE_TIMEOUT", usual_timeout) }
    }
}

/// Sends requests over pooled connections. Clones share them.
#[derive(Clone)]
pub struct Transport {
    http: reqwest::Client,
    config: StripeConfig,
    calls: IntCounterVec,
    seconds: HistogramVec,
}

impl StripeClientErr for StripeFault {
    fn deserialize_err(message: impl std::fmt::Display) -> Self {
        // The status was a success: the call worked, and only we can't tell with what result.
        Self::unknown(Some(200), format!("the answer can't be read: {message}"))
    }
}

impl Transport {
    /// A transport whose calls are counted in `registry`.
    ///
    /// # Errors
    /// When the HTTP client can't be made.
    pub fn new(config: StripeConfig, registry: &Registry) -> anyhow::Result<Self> {
        crate::clients::install_tls();
        let http = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(5))
            .timeout(config.timeout)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent("Bill-Service")
            .build()?;
        let calls = telemetry::counter_vec(
            registry,
            "bill_stripe_calls_total",
            "Calls to Stripe by result.",
            &["call", "result"],
        );
        let seconds =
            telemetry::seconds_vec(registry, "bill_stripe_call_seconds", "How long calls to Stripe take.", &["call"]);
        Ok(Self { http, config, calls, seconds })
    }

    async fn send(&self, request: &RequestBuilder, key: Option<&str>) -> Result<Bytes, StripeFault> {
        let mut url = format!("{}/v1{}", self.config.url.trim_end_matches('/'), request.path);
        if let Some(query) = &request.query {
            url = format!("{url}?{query}");
        }
        let mut call = match request.method {
            StripeMethod::Get => self.http.get(url),
            StripeMethod::Post => self.http.post(url),
            StripeMethod::Delete => self.http.delete(url),
        }
        .bearer_auth(self.config.secret_key.expose())
        .header("stripe-version", VERSION.as_str());
        if let Some(body) = &request.body {
            call = call.header("content-type", "application/x-www-form-urlencoded").body(body.clone());
        }
        if let Some(key) = key {
            call = call.header("idempotency-key", key);
        }
        let answer = call.send().await.map_err(|error| no_answer(&error))?;
        let status = answer.status().as_u16();
        let headers = answer_headers(answer.headers());
        let body = read_all(answer).await.map_err(|error| StripeFault::unknown(Some(status), error))?;
        if (200..300).contains(&status) { Ok(body) } else { Err(classify(status, &headers, &body)) }
    }
}

impl StripeClient for Transport {
    type Err = StripeFault;

    async fn execute(&self, request: CustomizedStripeRequest) -> Result<Bytes, StripeFault> {
        let (request, overrides) = request.into_pieces();
        // The retry strategies of the library draw random keys: a key is ours, or there is none and one try.
        let key = match overrides.request_strategy {
            Some(RequestStrategy::Idempotent(key)) => Some(key.into_inner()),
            _ => None,
        };
        let call = call_name(&request);
        let timer = self.seconds.with_label_values(&[call.as_str()]).start_timer();
        let span = spans::call("Stripe", &call);
        let outcome = self.send(&request, key.as_deref()).instrument(span.clone()).await;
        span.record("result", result_name(&outcome));
        timer.observe_duration();
        self.calls.with_label_values(&[call.as_str(), result_name(&outcome)]).inc();
        outcome
    }
}

/// The resource without ids, so that the label stays bounded: `POST payment_intents`.
fn call_name(request: &RequestBuilder) -> String {
    let verb = match request.method {
        StripeMethod::Get => "GET",
        StripeMethod::Post => "POST",
        StripeMethod::Delete => "DELETE",
    };
    let resource = request.path.trim_start_matches('/').split('/').next().unwrap_or_default();
    format!("{verb} {resource}")
}

/// A key that is not accepted has a name of its own: what is refused otherwise may be a mistake of whoever called us.
fn result_name(outcome: &Result<Bytes, StripeFault>) -> &'static str {
    match outcome.as_ref().map_err(|fault| (&fault.kind, fault.status)) {
        Ok(_) => "ok",
        Err((FaultKind::Declined { .. }, _)) => "declined",
        Err((FaultKind::AuthenticationRequired { .. }, _)) => "authentication_required",
        Err((FaultKind::Busy, _)) => "busy",
        Err((FaultKind::Unknown { .. }, _)) => "unknown",
        Err((FaultKind::Refused { .. }, Some(401 | 403))) => "unauthorized",
        Err((FaultKind::Refused { .. }, _)) => "refused",
    }
}

/// A connection that was never made carried nothing; anything later may have arrived.
fn no_answer(error: &reqwest::Error) -> StripeFault {
    let mut fault = StripeFault::unknown(None, error.to_string());
    if error.is_connect() {
        fault.kind = FaultKind::Busy;
    }
    fault
}

async fn read_all(mut answer: reqwest::Response) -> Result<Bytes, String> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|error| error.to_string())? {
        if body.len() + chunk.len() > MAX_ANSWER {
            return Err("the answer is too large".to_owned());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.into())
}

fn answer_headers(headers: &HeaderMap) -> AnswerHeaders {
    let text = |name: &str| headers.get(name).map(HeaderValue::to_str).and_then(Result::ok);
    AnswerHeaders {
        request_id: text("request-id").map(str::to_owned),
        should_retry: text("stripe-should-retry").and_then(|value| value.parse().ok()),
        replayed: text("idempotent-replayed") == Some("true"),
        retry_after: text("retry-after").and_then(|value| value.parse().ok()).map(Duration::from_secs),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_is_not_accepted_is_counted_apart_from_a_mistake_in_what_was_asked() {
        let body = br#"{"error":{"type":"invalid_request_error","message":"no"}}"#;
        for (status, name) in [(401, "unauthorized"), (403, "unauthorized"), (400, "refused"), (404, "refused")] {
            assert_eq!(result_name(&Err(classify(status, &AnswerHeaders::default(), body))), name, "{status}");
        }
        assert_eq!(result_name(&Err(classify(429, &AnswerHeaders::default(), body))), "busy");
        // A proxy's own page says nothing of our key.
        assert_eq!(result_name(&Err(classify(403, &AnswerHeaders::default(), b"<html>"))), "unknown");
    }
}
