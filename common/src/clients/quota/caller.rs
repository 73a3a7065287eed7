//! Calls to one backend over HTTP: counted, timed, repeated where that is safe, and under a circuit breaker.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use backon::{ExponentialBuilder, Retryable as _};
use bytes::Bytes;
use prometheus::{HistogramVec, IntCounterVec, Registry};
use reqwest::header::{AUTHORIZATION, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Method, Url};
use serde_json::Value;
use tracing::Instrument as _;

use super::answer::{self, Answer};
use super::http::{self, BaseUrl};
use super::{BackendError, Breaker};
use crate::config::Secret;
use crate::telemetry::{self, spans};

/// A backend that failed so often in a row is left alone.
const BREAKER_THRESHOLD: u32 = 5;
/// For so long.
const BREAKER_REST: Duration = Duration::from_secs(2);

/// Which backend it is, and how to reach it.
pub(super) struct Target<'a> {
    /// Its name in metrics: `kms`.
    pub(super) name: &'static str,
    /// Its name in sentences: `the KMS`.
    pub(super) title: &'static str,
    pub(super) url: &'a BaseUrl,
    pub(super) key: Option<&'a Secret>,
    pub(super) connect_timeout: Duration,
    pub(super) timeout: Duration,
}

/// Calls one backend.
pub(super) struct Caller {
    name: &'static str,
    title: &'static str,
    url: BaseUrl,
    key: Option<Key>,
    http: Client,
    breaker: Mutex<Breaker>,
    /// What went wrong the last time: while the breaker is open, that is what is known of it.
    last_trouble: Mutex<String>,
    metrics: Metrics,
}

/// The key, and the header that carries it.
struct Key {
    secret: Secret,
    header: HeaderValue,
}

/// One call; `name` is its label in the metrics.
pub(super) struct Call {
    name: &'static str,
    method: Method,
    path: String,
    query: Vec<(&'static str, String)>,
    body: Option<Value>,
    confirmation: Option<&'static Confirmation>,
}

/// What must be so before a 404 is believed, because the backend also says that when it can't tell.
pub(super) struct Confirmation {
    /// Its label in the metrics.
    pub(super) name: &'static str,
    pub(super) path: &'static str,
    pub(super) is_given: fn(&Value) -> bool,
}

/// A failed exchange, and whether to repeat it at once.
struct Failed {
    error: BackendError,
    quick: bool,
}

struct Metrics {
    calls: IntCounterVec,
    seconds: HistogramVec,
}

impl Caller {
    /// A caller. Its metrics go to `registry`.
    ///
    /// # Errors
    /// When the HTTP client can't be prepared, or the key can't be sent.
    pub(super) fn new(target: Target<'_>, registry: &Registry) -> anyhow::Result<Self> {
        let Target { name, title, url, key, connect_timeout, timeout } = target;
        let calls = format!("bill_{name}_calls_total");
        let seconds = format!("bill_{name}_call_seconds");
        Ok(Self {
            name,
            title,
            url: url.clone(),
            key: key.map(Key::new).transpose()?,
            http: http::client(url, connect_timeout, timeout)?,
            // A probe that is not back after a call's longest time was dropped by its caller.
            breaker: Mutex::new(Breaker::new(BREAKER_THRESHOLD, BREAKER_REST, timeout + Duration::from_secs(1))),
            last_trouble: Mutex::default(),
            metrics: Metrics {
                calls: telemetry::counter_vec(registry, &calls, &format!("Calls to {title}."), &["call", "result"]),
                seconds: telemetry::seconds_vec(registry, &seconds, &format!("How long {title} took."), &["call"]),
            },
        })
    }

    /// A call that may be repeated: reading, or setting an absolute value.
    pub(super) async fn repeatable(&self, call: Call) -> Result<Answer, BackendError> {
        let schedule = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(50))
            .with_max_delay(Duration::from_millis(400))
            .with_max_times(2)
            .with_jitter();
        (|| self.exchange(&call)).retry(schedule).when(|failed| failed.quick).await.map_err(|failed| failed.error)
    }

    /// A call that is made once.
    pub(super) async fn once(&self, call: Call) -> Result<Answer, BackendError> {
        self.exchange(&call).await.map_err(|failed| failed.error)
    }

    /// A call for something that is only nice to have: it is not made while the backend is left alone, and that it fails
    /// says nothing of the calls that matter.
    pub(super) async fn aside(&self, call: Call) -> Result<Answer, BackendError> {
        if !self.breaker().is_closed() {
            return Err(self.left_alone(&call, None));
        }
        let outcome = self.timed(&call).await;
        self.count(&call, &outcome);
        outcome.map_err(|failed| failed.error)
    }

    /// Where it is, for logs: without a user and password.
    pub(super) fn url(&self) -> &BaseUrl {
        &self.url
    }

    /// One exchange, counted, under the breaker.
    async fn exchange(&self, call: &Call) -> Result<Answer, Failed> {
        if let Err(wait) = self.breaker().admit(now()) {
            return Err(Failed { error: self.left_alone(call, Some(wait)), quick: false });
        }
        let mut outcome = self.timed(call).await;
        self.count(call, &outcome);
        if let (Ok(Answer::Rejected { status: 404, .. }), Some(confirmation)) = (&outcome, call.confirmation)
            && let Err(failed) = self.confirm(call, confirmation).await
        {
            outcome = Err(failed);
        }
        self.note(&outcome);
        outcome
    }

    /// Asks once whether a 404 may be believed. It is a part of the exchange: the breaker hears of both as one.
    async fn confirm(&self, missing: &Call, confirmation: &Confirmation) -> Result<(), Failed> {
        let Confirmation { name, path, is_given } = confirmation;
        let call = Call::get(name, *path);
        let outcome = self.timed(&call).await;
        self.count(&call, &outcome);
        let said = match outcome {
            Ok(Answer::Body(body)) if is_given(&body) => return Ok(()),
            Ok(Answer::Body(_)) => "that it is not ready".to_owned(),
            Ok(Answer::Rejected { status, reason }) => format!("{status}: {reason}"),
            Err(failed) => failed.error.to_string(),
        };
        let reason = format!("{} answers 404, which is not to be believed, because {path} says {said}", missing.path);
        Err(Failed { error: BackendError::unavailable(reason), quick: false })
    }

    fn left_alone(&self, call: &Call, after: Option<Duration>) -> BackendError {
        self.metrics.calls.with_label_values(&[call.name, "not_asked"]).inc();
        let last = self.last_trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let reason = format!("it did not answer several times in a row, and is left alone for a moment; last: {last}");
        BackendError::Unavailable { reason, after }
    }

    async fn timed(&self, call: &Call) -> Result<Answer, Failed> {
        let timer = self.metrics.seconds.with_label_values(&[call.name]).start_timer();
        let span = spans::call(self.name, call.name);
        let outcome = self.send(call).instrument(span.clone()).await;
        span.record("result", result_name(&outcome));
        timer.observe_duration();
        outcome
    }

    async fn send(&self, call: &Call) -> Result<Answer, Failed> {
        let mut request = self.http.request(call.method.clone(), call.at(&self.url)?);
        if let Some(key) = &self.key {
            request = request.header(AUTHORIZATION, key.header.clone());
        }
        if let Some(body) = &call.body {
            request = request.json(body);
        }
        let response = request.send().await.map_err(Failed::on_the_way)?;
        let status = response.status().as_u16();
        let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let body = response.bytes().await.map_err(Failed::on_the_way)?;
        let body = if (200..300).contains(&status) { body } else { self.without_key(body) };
        answer::classify(status, retry_after.as_deref(), &body).map_err(Failed::answered)
    }

    /// Backends have been seen to repeat the key in what they complain about, and what they say is logged and published.
    fn without_key(&self, body: Bytes) -> Bytes {
        match &self.key {
            Some(key) => String::from_utf8_lossy(&body).replace(key.secret.expose(), "<key>").into(),
            None => body,
        }
    }

    fn count(&self, call: &Call, outcome: &Result<Answer, Failed>) {
        self.metrics.calls.with_label_values(&[call.name, result_name(outcome)]).inc();
    }

    /// Tells the breaker what became of a call.
    fn note(&self, outcome: &Result<Answer, Failed>) {
        let title = self.title;
        // A refusal is an answer: the backend is there.
        match outcome {
            Ok(_) => {
                if self.breaker().succeeded() {
                    tracing::info!(url = ?self.url, "{title} answers again");
                }
            }
            Err(failed) => {
                let error = &failed.error;
                if let BackendError::Unavailable { reason, .. } = error {
                    self.last_trouble.lock().unwrap_or_else(PoisonError::into_inner).clone_from(reason);
                }
                if self.breaker().failed(now()) {
                    tracing::warn!(
                        url = ?self.url, %error,
                        "{title} does not answer: it is asked only now and then until it does"
                    );
                }
            }
        }
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Key {
    fn new(secret: &Secret) -> anyhow::Result<Self> {
        let mut header = HeaderValue::from_str(&format!("Bearer {}", secret.expose()))
            .context("the key has characters that can't be sent in a header")?;
        header.set_sensitive(true);
        Ok(Self { secret: secret.clone(), header })
    }
}

impl Call {
    pub(super) fn get(name: &'static str, path: impl Into<String>) -> Self {
        Self { name, method: Method::GET, path: path.into(), query: Vec::new(), body: None, confirmation: None }
    }

    pub(super) fn post(name: &'static str, path: impl Into<String>, body: Value) -> Self {
        Self { method: Method::POST, body: Some(body), ..Self::get(name, path) }
    }

    pub(super) fn put(name: &'static str, path: impl Into<String>, body: Value) -> Self {
        Self { method: Method::PUT, body: Some(body), ..Self::get(name, path) }
    }

    fn at(&self, base: &BaseUrl) -> Result<Url, Failed> {
        let url = base.at(&self.path);
        // An empty list of parameters would leave a question mark.
        let url = if self.query.is_empty() { Url::parse(&url) } else { Url::parse_with_params(&url, &self.query) };
        url.map_err(|error| Failed::answered(BackendError::unavailable(format!("{}: {error}", self.path))))
    }

    /// A 404 counts only when this is given; otherwise the backend is unavailable.
    pub(super) fn missing_only_if(mut self, confirmation: &'static Confirmation) -> Self {
        self.confirmation = Some(confirmation);
        self
    }

    /// With this in its query string.
    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.query.push((name, value.into()));
        self
    }
}

impl Failed {
    /// No answer. One that ran out of time has used up the caller's patience, who holds a row of the database meanwhile.
    fn on_the_way(error: reqwest::Error) -> Self {
        let quick = !error.is_timeout();
        Self { error: BackendError::unavailable(format!("{:#}", anyhow::Error::new(error.without_url()))), quick }
    }

    /// An answer that says: not now. One that says when is not asked before that.
    fn answered(error: BackendError) -> Self {
        let quick = matches!(error, BackendError::Unavailable { after: None, .. });
        Self { error, quick }
    }
}

fn result_name(outcome: &Result<Answer, Failed>) -> &'static str {
    match outcome {
        Ok(Answer::Body(_)) => "ok",
        Ok(Answer::Rejected { status: 404 | 405, .. }) => "missing",
        Ok(Answer::Rejected { .. }) => "refused",
        Err(_) => "unavailable",
    }
}

/// The monotonic clock: spans must not jump when the time of day is set.
pub(super) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
