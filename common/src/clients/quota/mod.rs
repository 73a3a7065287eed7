//! Quota backends: where an organization's quota is enforced. One trait, so that the syncer does not know which.
//!
//! Quota is always written as an absolute value, never as a difference: a repeat changes nothing.

mod answer;
mod breaker;
mod http;
pub mod kms;

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::BoxFuture;
use rust_decimal::Decimal;

use crate::ids::{OrganizationId, TeamId};

pub use breaker::Breaker;

/// Who is meant at a backend. The KMS knows organizations by our id; LiteLLM itself knows only teams.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The organization.
    pub organization: OrganizationId,
    /// Its team, as far as we know it.
    pub team: Option<TeamId>,
}

/// What a backend enforces for an organization.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackendQuota {
    /// The quota, exactly as the backend has it: it may be finer than the currency.
    pub quota: Decimal,
    /// The team it enforces it on.
    pub team_id: Option<TeamId>,
}

/// The quotas in force, by organization.
pub type Listing = BTreeMap<OrganizationId, BackendQuota>;

/// What an organization has spent in total.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage {
    /// So much.
    Known(Decimal),
    /// The backend answers, but can't tell.
    Unavailable,
}

/// Why a backend did not do what it was asked to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BackendError {
    /// It may work later. A write may have taken effect nevertheless.
    #[error("the quota backend is unavailable: {reason}")]
    Unavailable {
        /// What went wrong.
        reason: String,
        /// How long to leave it alone, where that is known.
        after: Option<Duration>,
    },
    /// It understood and said no: the same call will get the same answer.
    #[error("the quota backend refused ({status}): {reason}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// What it said.
        reason: String,
    },
}

impl BackendError {
    /// Something that may work later.
    pub(crate) fn unavailable(reason: impl Into<String>) -> Self {
        Self::Unavailable { reason: reason.into(), after: None }
    }
}

/// A place that enforces quotas. The futures are boxed because the backend is chosen when the service starts.
pub trait QuotaBackend: Send + Sync + 'static {
    /// The word for it in events, tables and metrics: `kms`, `litellm`.
    fn name(&self) -> &'static str;

    /// What it enforces now; `None` when it does not know the organization.
    fn read<'a>(&'a self, account: &'a Account) -> BoxFuture<'a, Result<Option<BackendQuota>, BackendError>>;

    /// What it enforces for everybody whom it lists, in one call; `None` where it has no list. Whoever is not in it may be
    /// known all the same: [`Self::read`] tells.
    fn list(&self) -> BoxFuture<'_, Result<Option<Listing>, BackendError>>;

    /// Makes the organization known to it. Where it was known already nothing changes, and what it has is returned.
    fn create<'a>(&'a self, account: &'a Account, quota: Decimal) -> BoxFuture<'a, Result<BackendQuota, BackendError>>;

    /// Sets the quota to this value.
    fn set<'a>(&'a self, account: &'a Account, quota: Decimal) -> BoxFuture<'a, Result<(), BackendError>>;

    /// What the organization has spent in total.
    fn usage<'a>(&'a self, account: &'a Account) -> BoxFuture<'a, Result<Usage, BackendError>>;
}
