//! The Key Management System. Deployed versions differ: some lack the single GET or the spend, some write numbers as
//! strings. Both kinds are served; nothing has to be configured.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use backon::{ExponentialBuilder, Retryable as _};
use futures_util::future::BoxFuture;
use prometheus::{HistogramVec, IntCounterVec, Registry};
use reqwest::header::RETRY_AFTER;
use reqwest::{Client, Method};
use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::answer::{self, Answer};
use super::{Account, BackendError, BackendQuota, Breaker, Listing, QuotaBackend, Usage, http};
use crate::ids::OrganizationId;
use crate::money::decimal_to_number;
use crate::telemetry;

pub use super::http::BaseUrl;

/// A backend that failed so often in a row is left alone.
const BREAKER_THRESHOLD: u32 = 5;
/// For so long.
const BREAKER_REST: Duration = Duration::from_secs(2);
/// How long we believe that a deployed version has no single GET; it may be updated while we run.
const GENERATION_MEMORY: Duration = Duration::from_secs(300);

/// Where the KMS is, and how patient to be.
#[derive(Debug, Clone)]
pub struct KmsConfig {
    /// Its address.
    pub url: BaseUrl,
    /// How long a connection may take.
    pub connect_timeout: Duration,
    /// How long a call may take, connection included.
    pub timeout: Duration,
}

impl KmsConfig {
    /// The usual patience: 2 s for a connection, 5 s for a call.
    #[must_use]
    pub fn new(url: BaseUrl) -> Self {
        Self { url, connect_timeout: Duration::from_secs(2), timeout: Duration::from_secs(5) }
    }
}

/// The client.
pub struct Kms {
    url: BaseUrl,
    http: Client,
    breaker: Mutex<Breaker>,
    /// What went wrong the last time: while the breaker is open, that is what is known of it.
    last_trouble: Mutex<String>,
    only_list_until: Mutex<Option<Instant>>,
    metrics: Metrics,
}

/// One call; `name` is its label in the metrics.
struct Call {
    name: &'static str,
    method: Method,
    path: String,
    body: Option<Value>,
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

impl Kms {
    /// A client. Its metrics go to `registry`.
    ///
    /// # Errors
    /// When the HTTP client can't be prepared.
    pub fn new(config: &KmsConfig, registry: &Registry) -> anyhow::Result<Self> {
        Ok(Self {
            url: config.url.clone(),
            http: http::client(&config.url, config.connect_timeout, config.timeout).context("KMS")?,
            // A probe that is not back after a call's longest time was dropped by its caller.
            breaker: Mutex::new(Breaker::new(BREAKER_THRESHOLD, BREAKER_REST, config.timeout + Duration::from_secs(1))),
            last_trouble: Mutex::default(),
            only_list_until: Mutex::new(None),
            metrics: Metrics {
                calls: telemetry::counter_vec(
                    registry,
                    "bill_kms_calls_total",
                    "Calls to the KMS.",
                    &["call", "result"],
                ),
                seconds: telemetry::seconds_vec(registry, "bill_kms_call_seconds", "How long the KMS took.", &["call"]),
            },
        })
    }

    /// A call that may be repeated: reading, or setting an absolute value.
    async fn repeatable(&self, call: Call) -> Result<Answer, BackendError> {
        let schedule = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(50))
            .with_max_delay(Duration::from_millis(400))
            .with_max_times(2)
            .with_jitter();
        (|| self.exchange(&call)).retry(schedule).when(|failed| failed.quick).await.map_err(|failed| failed.error)
    }

    /// A call that is made once.
    async fn once(&self, call: Call) -> Result<Answer, BackendError> {
        self.exchange(&call).await.map_err(|failed| failed.error)
    }

    /// One exchange, counted, under the breaker.
    async fn exchange(&self, call: &Call) -> Result<Answer, Failed> {
        if let Err(wait) = self.breaker().admit(now()) {
            self.metrics.calls.with_label_values(&[call.name, "not_asked"]).inc();
            let last = self.last_trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let reason =
                format!("it did not answer several times in a row, and is left alone for a moment; last: {last}");
            return Err(Failed { error: BackendError::Unavailable { reason, after: Some(wait) }, quick: false });
        }
        let timer = self.metrics.seconds.with_label_values(&[call.name]).start_timer();
        let outcome = self.send(call).await;
        timer.observe_duration();
        self.note(call, &outcome);
        outcome
    }

    async fn send(&self, call: &Call) -> Result<Answer, Failed> {
        let mut request = self.http.request(call.method.clone(), self.url.at(&call.path));
        if let Some(body) = &call.body {
            request = request.json(body);
        }
        let response = request.send().await.map_err(Failed::on_the_way)?;
        let status = response.status().as_u16();
        let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let body = response.bytes().await.map_err(Failed::on_the_way)?;
        answer::classify(status, retry_after.as_deref(), &body).map_err(Failed::answered)
    }

    /// Tells the breaker and the metrics what became of a call.
    fn note(&self, call: &Call, outcome: &Result<Answer, Failed>) {
        let result = match outcome {
            Ok(Answer::Body(_)) => "ok",
            Ok(Answer::Rejected { status: 404 | 405, .. }) => "missing",
            Ok(Answer::Rejected { .. }) => "refused",
            Err(_) => "unavailable",
        };
        self.metrics.calls.with_label_values(&[call.name, result]).inc();
        // A refusal is an answer: the KMS is there.
        match outcome {
            Ok(_) => {
                if self.breaker().succeeded() {
                    tracing::info!(kms = ?self.url, "the KMS answers again");
                }
            }
            Err(failed) => {
                let error = &failed.error;
                if let BackendError::Unavailable { reason, .. } = error {
                    self.last_trouble.lock().unwrap_or_else(PoisonError::into_inner).clone_from(reason);
                }
                if self.breaker().failed(now()) {
                    tracing::warn!(kms = ?self.url, %error, "the KMS does not answer: it is asked only now and then until it does");
                }
            }
        }
    }

    fn breaker(&self) -> std::sync::MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_only_the_list(&self) -> bool {
        let until = *self.only_list_until.lock().unwrap_or_else(PoisonError::into_inner);
        until.is_some_and(|until| now() < until)
    }

    fn remember_that_it_has_only_the_list(&self) {
        let until = now() + GENERATION_MEMORY;
        let before = self.only_list_until.lock().unwrap_or_else(PoisonError::into_inner).replace(until);
        if before.is_none() {
            tracing::info!(kms = ?self.url, "this KMS has no GET of a single organization: its list is used");
        }
    }

    async fn find(&self, wanted: &OrganizationId) -> Result<Option<BackendQuota>, BackendError> {
        if self.has_only_the_list() {
            return self.find_in_list(wanted).await?.or_refused();
        }
        match self.repeatable(Call::get("read", format!("/organizations/{wanted}"))).await? {
            Answer::Body(value) => answer::organization(&value, wanted).map(Some),
            // Either the organization or the route is missing: the list knows.
            Answer::Rejected { status: 404, .. } => match self.find_in_list(wanted).await? {
                Listed::Found(found) => {
                    self.remember_that_it_has_only_the_list();
                    Ok(Some(found))
                }
                // Without a list the single GET is all there is to believe.
                Listed::Absent | Listed::NoList { .. } => Ok(None),
            },
            Answer::Rejected { status: 405, .. } => {
                self.remember_that_it_has_only_the_list();
                self.find_in_list(wanted).await?.or_refused()
            }
            Answer::Rejected { status, reason } => Err(BackendError::Refused { status, reason }),
        }
    }

    async fn find_in_list(&self, wanted: &OrganizationId) -> Result<Listed, BackendError> {
        match self.repeatable(Call::get("list", "/organizations/".to_owned())).await? {
            Answer::Body(list) => Ok(answer::in_list(&list, wanted)?.map_or(Listed::Absent, Listed::Found)),
            Answer::Rejected { status: status @ (404 | 405), reason } => Ok(Listed::NoList { status, reason }),
            Answer::Rejected { status, reason } => Err(BackendError::Refused { status, reason }),
        }
    }

    async fn everybody(&self) -> Result<Option<Listing>, BackendError> {
        match self.repeatable(Call::get("list", "/organizations/".to_owned())).await? {
            Answer::Body(list) => answer::listing(&list).map(Some),
            Answer::Rejected { status: 404 | 405, .. } => Ok(None),
            Answer::Rejected { status, reason } => Err(BackendError::Refused { status, reason }),
        }
    }

    async fn make(&self, wanted: &OrganizationId, quota: Decimal) -> Result<BackendQuota, BackendError> {
        let body = json!({ "c_organization_id": wanted, "quota": decimal_to_number(quota) });
        let path = "/organizations/".to_owned();
        match self.once(Call { name: "create", method: Method::POST, path, body: Some(body) }).await? {
            Answer::Body(value) => answer::organization(&value, wanted),
            Answer::Rejected { status, reason } if answer::says_it_exists(status, &reason) => {
                let found = self.find(wanted).await?;
                found.ok_or_else(|| {
                    BackendError::unavailable(format!("{wanted} exists and yet is not to be found ({reason})"))
                })
            }
            Answer::Rejected { status, reason } => Err(BackendError::Refused { status, reason }),
        }
    }

    async fn put(&self, wanted: &OrganizationId, quota: Decimal) -> Result<(), BackendError> {
        let body = json!({ "new_quota": decimal_to_number(quota) });
        let path = format!("/organizations/{wanted}/quota");
        match self.repeatable(Call { name: "set", method: Method::PUT, path, body: Some(body) }).await? {
            Answer::Body(_) => Ok(()),
            // Somebody else changes it at this moment: that passes.
            Answer::Rejected { status: 409, reason } => Err(BackendError::unavailable(format!("409: {reason}"))),
            Answer::Rejected { status, reason } => Err(BackendError::Refused { status, reason }),
        }
    }

    async fn spent(&self, wanted: &OrganizationId) -> Result<Usage, BackendError> {
        match self.repeatable(Call::get("spend", format!("/spend/org/{wanted}"))).await? {
            Answer::Body(value) => answer::spend(&value),
            Answer::Rejected { status: 404 | 405, .. } => Ok(Usage::Unavailable),
            Answer::Rejected { status, reason } => Err(BackendError::Refused { status, reason }),
        }
    }
}

impl QuotaBackend for Kms {
    fn name(&self) -> &'static str {
        "kms"
    }
    fn read<'a>(&'a self, account: &'a Account) -> BoxFuture<'a, Result<Option<BackendQuota>, BackendError>> {
        Box::pin(self.find(&account.organization))
    }
    fn list(&self) -> BoxFuture<'_, Result<Option<Listing>, BackendError>> {
        Box::pin(self.everybody())
    }
    fn create<'a>(&'a self, account: &'a Account, quota: Decimal) -> BoxFuture<'a, Result<BackendQuota, BackendError>> {
        Box::pin(self.make(&account.organization, quota))
    }
    fn set<'a>(&'a self, account: &'a Account, quota: Decimal) -> BoxFuture<'a, Result<(), BackendError>> {
        Box::pin(self.put(&account.organization, quota))
    }
    fn usage<'a>(&'a self, account: &'a Account) -> BoxFuture<'a, Result<Usage, BackendError>> {
        Box::pin(self.spent(&account.organization))
    }
}

/// What the list says of an organization.
enum Listed {
    Found(BackendQuota),
    Absent,
    NoList { status: u16, reason: String },
}

impl Listed {
    /// For a KMS whose list is the only way to read.
    fn or_refused(self) -> Result<Option<BackendQuota>, BackendError> {
        match self {
            Self::Found(found) => Ok(Some(found)),
            Self::Absent => Ok(None),
            Self::NoList { status, reason } => Err(BackendError::Refused { status, reason }),
        }
    }
}

impl Call {
    fn get(name: &'static str, path: String) -> Self {
        Self { name, method: Method::GET, path, body: None }
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

/// The monotonic clock: spans must not jump when the time of day is set.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
