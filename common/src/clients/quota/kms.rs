//! The Key Management System. Deployed versions differ: some lack the single GET or the spend, some write numbers as
//! strings. Both kinds are served; nothing has to be configured.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use futures_util::future::BoxFuture;
use prometheus::Registry;
use rust_decimal::Decimal;
use serde_json::json;

use super::answer::{self, Answer};
use super::caller::{Call, Caller, Target, now};
use super::{Account, BackendError, BackendQuota, Created, Listing, QuotaBackend, Usage};
use crate::ids::OrganizationId;
use crate::money::decimal_to_number;

pub use super::http::BaseUrl;

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
    caller: Caller,
    only_list_until: Mutex<Option<Instant>>,
}

impl Kms {
    /// A client. Its metrics go to `registry`.
    ///
    /// # Errors
    /// When the HTTP client can't be prepared.
    pub fn new(config: &KmsConfig, registry: &Registry) -> anyhow::Result<Self> {
        let KmsConfig { url, connect_timeout, timeout } = config;
        let (connect_timeout, timeout) = (*connect_timeout, *timeout);
        let target = Target { name: "kms", title: "the KMS", url, key: None, connect_timeout, timeout };
        let caller = Caller::new(target, registry).context("KMS")?;
        Ok(Self { caller, only_list_until: Mutex::new(None) })
    }

    /// Whether it says that it is well.
    ///
    /// # Errors
    /// What it says, or that it says nothing.
    pub async fn health(&self) -> Result<(), BackendError> {
        match self.caller.once(Call::get("health", "/health")).await? {
            Answer::Body(_) => Ok(()),
            // A version without it: what the sweep asks for will do.
            Answer::Rejected { status: 404 | 405, .. } => self.everybody().await.map(drop),
            Answer::Rejected { status, reason } => Err(BackendError::Refused { status, reason }),
        }
    }

    fn has_only_the_list(&self) -> bool {
        let until = *self.only_list_until.lock().unwrap_or_else(PoisonError::into_inner);
        until.is_some_and(|until| now() < until)
    }

    fn remember_that_it_has_only_the_list(&self) {
        let until = now() + GENERATION_MEMORY;
        let before = self.only_list_until.lock().unwrap_or_else(PoisonError::into_inner).replace(until);
        if before.is_none() {
            tracing::info!(url = ?self.caller.url(), "this KMS has no GET of a single organization: its list is used");
        }
    }

    async fn find(&self, wanted: &OrganizationId) -> Result<Option<BackendQuota>, BackendError> {
        if self.has_only_the_list() {
            return self.find_in_list(wanted).await?.or_refused();
        }
        match self.caller.repeatable(Call::get("read", format!("/organizations/{wanted}"))).await? {
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
        match self.caller.repeatable(Call::get("list", "/organizations/")).await? {
            Answer::Body(list) => Ok(answer::in_list(&list, wanted)?.map_or(Listed::Absent, Listed::Found)),
            Answer::Rejected { status: status @ (404 | 405), reason } => Ok(Listed::NoList { status, reason }),
            Answer::Rejected { status, reason } => Err(BackendError::Refused { status, reason }),
        }
    }

    async fn everybody(&self) -> Result<Option<Listing>, BackendError> {
        match self.caller.repeatable(Call::get("list", "/organizations/")).await? {
            Answer::Body(list) => answer::listing(&list).map(Some),
            Answer::Rejected { status: 404 | 405, .. } => Ok(None),
            Answer::Rejected { status, reason } => Err(BackendError::Refused { status, reason }),
        }
    }

    async fn make(&self, wanted: &OrganizationId, quota: Decimal) -> Result<Created, BackendError> {
        let body = json!({ "c_organization_id": wanted, "quota": decimal_to_number(quota) });
        match self.caller.once(Call::post("create", "/organizations/", body)).await? {
            Answer::Body(value) => Ok(Created { quota: answer::organization(&value, wanted)?, made: true }),
            Answer::Rejected { status, reason } if answer::says_it_exists(status, &reason) => {
                let found = self.find(wanted).await?;
                found.map(|quota| Created { quota, made: false }).ok_or_else(|| {
                    BackendError::unavailable(format!("{wanted} exists and yet is not to be found ({reason})"))
                })
            }
            Answer::Rejected { status, reason } => Err(BackendError::Refused { status, reason }),
        }
    }

    async fn put(&self, wanted: &OrganizationId, quota: Decimal) -> Result<(), BackendError> {
        let body = json!({ "new_quota": decimal_to_number(quota) });
        match self.caller.repeatable(Call::put("set", format!("/organizations/{wanted}/quota"), body)).await? {
            Answer::Body(_) => Ok(()),
            // Somebody else changes it at this moment: that passes.
            Answer::Rejected { status: 409, reason } => Err(BackendError::unavailable(format!("409: {reason}"))),
            Answer::Rejected { status, reason } => Err(BackendError::Refused { status, reason }),
        }
    }

    async fn spent(&self, wanted: &OrganizationId) -> Result<Usage, BackendError> {
        match self.caller.repeatable(Call::get("spend", format!("/spend/org/{wanted}"))).await? {
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
    fn create<'a>(&'a self, account: &'a Account, quota: Decimal) -> BoxFuture<'a, Result<Created, BackendError>> {
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
