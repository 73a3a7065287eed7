//! LiteLLM itself: a team's `max_budget` is the quota, its `spend` the usage. For organizations without a KMS.
//!
//! What is known of running proxies, and why it is safe:
//! - **Reading sees what was written.** `/team/info` reads the proxy's database, whichever of its workers answers. Only the
//!   *enforcement* of a raise waits, for up to a minute, for other workers' caches; so a push is complete when the budget is
//!   read again, and a worker that still refuses meanwhile only makes alerts with the old budget, which the recharger knows
//!   as already recharged.
//! - **Spend lags** by about ten seconds. It is never ahead: what looks used up is used up, and what is missed now is seen by
//!   the next sweep.
//! - **A 404 may be false**: a proxy whose database is away says that the team is not found. It is believed only when
//!   `/health/readiness` says at that moment that the database is connected. The proxy remembers a good answer for 15 seconds (two
//!   minutes in old versions), so a false one is still possible just after the database went away: an existing team is never
//!   changed by a create, and one that has spent something is never made again.
//! - `budget_duration` is never sent: it would zero the spend, with which the quota is compared. A team that has one is
//!   reported.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use chrono::Datelike as _;
use futures_util::future::BoxFuture;
use prometheus::Registry;
use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::answer::{self, Answer};
use super::caller::{Call, Caller, Confirmation, Target, now};
use super::{Account, BackendError, BackendQuota, BaseUrl, Created, Listing, QuotaBackend, Usage, team};
use crate::clock::Timestamp;
use crate::config::Secret;
use crate::ids::{OrganizationId, TeamId};
use crate::money::decimal_to_number;

/// What makes sure that a team which is not found is not there.
const DATABASE: Confirmation =
    Confirmation { name: "readiness", path: "/health/readiness", is_given: team::database_is_connected };
/// Rows of daily activity on one page: the most that a proxy gives.
const PAGE_SIZE: &str = "1000";
/// A month with more pages than this is not counted: a part of it would be a wrong number.
const PAGES: u32 = 20;
/// How long one whose month could not be told is not asked for.
const ACTIVITY_REST: Duration = Duration::from_secs(600);

/// Where LiteLLM is, and how patient to be.
#[derive(Debug, Clone)]
pub struct LitellmConfig {
    /// Its address.
    pub url: BaseUrl,
    /// Its master key.
    pub key: Secret,
    /// How long a connection may take.
    pub connect_timeout: Duration,
    /// How long a call may take, connection included.
    pub timeout: Duration,
}

impl LitellmConfig {
    /// The usual patience: 2 s for a connection, 5 s for a call.
    #[must_use]
    pub fn new(url: BaseUrl, key: Secret) -> Self {
        Self { url, key, connect_timeout: Duration::from_secs(2), timeout: Duration::from_secs(5) }
    }
}

/// The client.
pub struct Litellm {
    caller: Caller,
    timeout: Duration,
    /// Until when whose activity is not asked for; `None` is everybody.
    rests: Mutex<BTreeMap<Option<TeamId>, Instant>>,
    /// Teams of which it was said that their spend is reset.
    reported: Mutex<BTreeSet<TeamId>>,
}

impl Litellm {
    /// A client. Its metrics go to `registry`.
    ///
    /// # Errors
    /// When the HTTP client can't be prepared, or the key can't be sent.
    pub fn new(config: &LitellmConfig, registry: &Registry) -> anyhow::Result<Self> {
        let LitellmConfig { url, key, connect_timeout, timeout } = config;
        let (connect_timeout, timeout) = (*connect_timeout, *timeout);
        let target = Target { name: "litellm", title: "LiteLLM", url, key: Some(key), connect_timeout, timeout };
        Ok(Self {
            caller: Caller::new(target, registry).context("LiteLLM")?,
            timeout,
            rests: Mutex::default(),
            reported: Mutex::default(),
        })
    }

    async fn info(&self, team: &TeamId) -> Result<Option<Value>, BackendError> {
        let call = Call::get("read", "/team/info").with("team_id", team.as_str()).missing_only_if(&DATABASE);
        match self.caller.repeatable(call).await? {
            Answer::Body(value) => {
                self.report_a_reset(&value, team);
                Ok(Some(value))
            }
            Answer::Rejected { status: 404, .. } => Ok(None),
            Answer::Rejected { status, reason } => Err(refused(status, reason)),
        }
    }

    /// Says once of each team that its spend is no total.
    fn report_a_reset(&self, value: &Value, id: &TeamId) {
        let Some(period) = team::reset_period(value, id) else { return };
        if self.reported.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone()) {
            tracing::error!(
                team = %id, budget_duration = period,
                "team {id} has a budget_duration of {period}: LiteLLM zeroes its spend then, and its quota can be spent again; remove it"
            );
        }
    }

    async fn find(&self, team: &TeamId) -> Result<Option<BackendQuota>, BackendError> {
        self.info(team).await?.map(|value| team::quota(&value, team)).transpose()
    }

    async fn make(
        &self,
        organization: &OrganizationId,
        team: &TeamId,
        quota: Decimal,
    ) -> Result<Created, BackendError> {
        let body = json!({
            "team_id": team,
            "team_alias": organization,
            "max_budget": decimal_to_number(quota),
            "metadata": { "c_organization_id": organization, "created_by": "bill-service" },
        });
        match self.caller.once(Call::post("create", "/team/new", body)).await? {
            Answer::Body(value) => Ok(Created { quota: team::quota(&value, team)?, made: true }),
            Answer::Rejected { status, reason } if answer::says_it_exists(status, &reason) => {
                let found = self.find(team).await?;
                found.map(|quota| Created { quota, made: false }).ok_or_else(|| {
                    BackendError::unavailable(format!("team {team} exists and yet is not to be found ({reason})"))
                })
            }
            Answer::Rejected { status, reason } => Err(refused(status, reason)),
        }
    }

    async fn update(&self, team: &TeamId, quota: Decimal) -> Result<(), BackendError> {
        let body = json!({ "team_id": team, "max_budget": decimal_to_number(quota) });
        let call = Call::post("set", "/team/update", body).missing_only_if(&DATABASE);
        match self.caller.repeatable(call).await? {
            Answer::Body(_) => Ok(()),
            Answer::Rejected { status: 409, reason } => Err(BackendError::unavailable(format!("409: {reason}"))),
            Answer::Rejected { status, reason } => Err(refused(status, reason)),
        }
    }

    async fn spent(&self, team: &TeamId) -> Result<Usage, BackendError> {
        self.info(team).await?.map_or(Ok(Usage::Unavailable), |value| team::spend(&value, team))
    }

    /// What was spent on the days from the month's first until today, or nothing known where that could not be told a
    /// moment ago.
    async fn month(&self, team: &TeamId, at: Timestamp) -> Result<Usage, BackendError> {
        if self.rests(None) || self.rests(Some(team)) {
            return Ok(Usage::Unavailable);
        }
        let told = tokio::time::timeout(self.timeout, self.pages(team, at)).await;
        let told = told.unwrap_or_else(|_| Err(BackendError::unavailable("the month's activity took too long")));
        match told {
            Ok(Usage::Known(_)) => {}
            Ok(Usage::Unavailable) => self.let_rest(Some(team)),
            Err(_) => self.let_rest(None),
        }
        told
    }

    fn rests(&self, team: Option<&TeamId>) -> bool {
        let rests = self.rests.lock().unwrap_or_else(PoisonError::into_inner);
        rests.get(&team.cloned()).is_some_and(|until| now() < *until)
    }

    fn let_rest(&self, team: Option<&TeamId>) {
        let mut rests = self.rests.lock().unwrap_or_else(PoisonError::into_inner);
        rests.insert(team.cloned(), now() + ACTIVITY_REST);
    }

    async fn pages(&self, team: &TeamId, at: Timestamp) -> Result<Usage, BackendError> {
        let today = at.date_naive();
        let first = today.with_day(1).unwrap_or(today);
        let mut spend = Decimal::ZERO;
        for page in 1..=PAGES {
            let call = Call::get("activity", "/team/daily/activity")
                .with("team_ids", team.as_str())
                .with("start_date", first.to_string())
                .with("end_date", today.to_string())
                .with("page", page.to_string())
                .with("page_size", PAGE_SIZE);
            let read = match self.caller.aside(call).await? {
                Answer::Body(value) => team::activity(&value, team)?,
                Answer::Rejected { status, reason } => return Err(refused(status, reason)),
            };
            spend += read.spend;
            if !read.more {
                return Ok(Usage::Known(spend));
            }
        }
        tracing::warn!(%team, "the month's activity of team {team} has more than {PAGES} pages, and is not counted");
        Ok(Usage::Unavailable)
    }
}

/// What LiteLLM says about a key has parts of the key in it: that is not told on.
fn refused(status: u16, reason: String) -> BackendError {
    let reason = if status == 401 { "LITELLM_MASTER_KEY is not accepted".to_owned() } else { reason };
    BackendError::Refused { status, reason }
}

/// The team that is named, else one that is called like the organization.
fn team_of(account: &Account) -> TeamId {
    account.team.clone().unwrap_or_else(|| TeamId::from(&account.organization))
}

impl QuotaBackend for Litellm {
    fn name(&self) -> &'static str {
        "litellm"
    }
    fn team_of(&self, account: &Account) -> Option<TeamId> {
        Some(team_of(account))
    }
    fn forgets_usage(&self) -> bool {
        // Spend is a column of the team's row.
        true
    }
    fn digits(&self) -> Option<u32> {
        Some(team::DIGITS)
    }
    fn read<'a>(&'a self, account: &'a Account) -> BoxFuture<'a, Result<Option<BackendQuota>, BackendError>> {
        Box::pin(async { self.find(&team_of(account)).await })
    }
    fn list(&self) -> BoxFuture<'_, Result<Option<Listing>, BackendError>> {
        // `/team/list` has everybody's teams, with their keys and members, and tells nobody's organization.
        Box::pin(async { Ok(None) })
    }
    fn create<'a>(&'a self, account: &'a Account, quota: Decimal) -> BoxFuture<'a, Result<Created, BackendError>> {
        Box::pin(async move { self.make(&account.organization, &team_of(account), quota).await })
    }
    fn set<'a>(&'a self, account: &'a Account, quota: Decimal) -> BoxFuture<'a, Result<(), BackendError>> {
        Box::pin(async move { self.update(&team_of(account), quota).await })
    }
    fn usage<'a>(&'a self, account: &'a Account) -> BoxFuture<'a, Result<Usage, BackendError>> {
        Box::pin(async { self.spent(&team_of(account)).await })
    }
    fn month_usage<'a>(&'a self, account: &'a Account, now: Timestamp) -> BoxFuture<'a, Result<Usage, BackendError>> {
        Box::pin(async move { self.month(&team_of(account), now).await })
    }
}
