//! Quota backends: where an organization's quota is enforced. One trait, so that the syncer does not know which.
//!
//! Quota is always written as an absolute value, never as a difference: a repeat changes nothing.

mod answer;
mod breaker;
mod caller;
mod http;
pub mod kms;
pub mod litellm;
mod team;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use futures_util::future::{self, BoxFuture};
use rust_decimal::Decimal;

use crate::clock::Timestamp;
use crate::ids::{OrganizationId, TeamId};

pub use breaker::Breaker;
pub use http::BaseUrl;

/// Who is meant at a backend. The KMS knows organizations by our id; LiteLLM itself knows only teams.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The organization.
    pub organization: OrganizationId,
    /// Its team, as far as we know it.
    pub team: Option<TeamId>,
}

/// How much an organization may spend in total, as a backend has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allowance {
    /// So much: it may be finer than the currency.
    Limited(Decimal),
    /// Whatever it wants. Any quota would be less.
    Unlimited,
}

impl Allowance {
    /// The quota, if there is one.
    #[must_use]
    pub const fn limit(self) -> Option<Decimal> {
        match self {
            Self::Limited(quota) => Some(quota),
            Self::Unlimited => None,
        }
    }

    /// Whether it is this quota.
    #[must_use]
    pub fn is(self, quota: Decimal) -> bool {
        self == Self::Limited(quota)
    }
}

impl fmt::Display for Allowance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Limited(quota) => fmt::Display::fmt(&quota.normalize(), f),
            Self::Unlimited => f.write_str("unlimited"),
        }
    }
}

/// What a backend enforces for an organization.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackendQuota {
    /// How much it may spend.
    pub quota: Allowance,
    /// The team it enforces it on.
    pub team_id: Option<TeamId>,
    /// How often it zeroes what was spent, as it words that, where it does. Then usage is no total, and a quota that only
    /// grows could be spent again and again.
    pub usage_reset: Option<String>,
}

/// What a backend has after it was told to make an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Created {
    /// What it enforces.
    pub quota: BackendQuota,
    /// Whether it made the account; otherwise it was there already, and was not changed.
    pub made: bool,
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

    /// The team whose quota would be read and set, where that is known beforehand: two organizations must not both have it.
    fn team_of(&self, _account: &Account) -> Option<TeamId> {
        None
    }

    /// Whether what was spent is forgotten when the account is lost: one that is made again could spend all of it again.
    fn forgets_usage(&self) -> bool {
        false
    }

    /// How many significant digits of a quota it keeps, where it does not keep all.
    fn digits(&self) -> Option<u32> {
        None
    }

    /// What it enforces now; `None` when it does not know the organization.
    fn read<'a>(&'a self, account: &'a Account) -> BoxFuture<'a, Result<Option<BackendQuota>, BackendError>>;

    /// What it enforces for everybody whom it lists, in one call; `None` where it has no list. Whoever is not in it may be
    /// known all the same: [`Self::read`] tells.
    fn list(&self) -> BoxFuture<'_, Result<Option<Listing>, BackendError>>;

    /// Makes the organization known to it. Where it was known already nothing changes, and what it has is returned.
    fn create<'a>(&'a self, account: &'a Account, quota: Decimal) -> BoxFuture<'a, Result<Created, BackendError>>;

    /// Sets the quota to this value.
    fn set<'a>(&'a self, account: &'a Account, quota: Decimal) -> BoxFuture<'a, Result<(), BackendError>>;

    /// What the organization has spent in total.
    fn usage<'a>(&'a self, account: &'a Account) -> BoxFuture<'a, Result<Usage, BackendError>>;

    /// What the organization has spent since the month of `now` began, in UTC. It is nice to have: a backend that fails at
    /// it does not count as one that is away.
    fn month_usage<'a>(&'a self, _account: &'a Account, _now: Timestamp) -> BoxFuture<'a, Result<Usage, BackendError>> {
        Box::pin(future::ready(Ok(Usage::Unavailable)))
    }
}
