//! A look at one organization: read its quota and what it spent, put right what is wrong, store a snapshot, say what is low.
//! The sweep looks at everybody, and whoever changes a policy or a card asks for one look.
//!
//! Nothing that was found is lost in a crash: a repair is stored before it is made, and stays open until it was said what
//! came of it (`repair.rs`); a snapshot is stored before `quotas.low` is said of it, and that it was said is noted after that.

pub(crate) mod low;
pub(crate) mod repair;
mod repo;

use std::sync::Arc;
use std::time::Duration;

use chrono::Datelike as _;
use common::clients::quota::{Account, Allowance, BackendQuota, Listing, Usage};
use common::clock::Timestamp;
use common::contract::Outgoing;
use common::failure::Failure;
use common::ids::{EventId, OrganizationId, TeamId};
use rust_decimal::Decimal;

use crate::config::Policy;
use crate::push::Pusher;
use crate::said;
use crate::standing::{Book, Standing, is_young, standing};
use crate::trouble::Trouble;
use low::Said;

/// How long an event has to push what it says before a look does it; less where the deadline is shorter.
const GRACE: Duration = Duration::from_secs(60);

/// How long what was read of a month's usage is good enough.
const MONTH_AGE: Duration = Duration::from_secs(10 * 60);

/// Looks at organizations.
pub(crate) struct Looker {
    pub(crate) pusher: Arc<Pusher>,
    pub(crate) policy: Policy,
}

/// What is recorded of an organization.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Subject {
    organization: OrganizationId,
    book: Book,
    team: Option<TeamId>,
    /// Whether a low balance is to be said.
    watch: Option<Watch>,
    /// What was said at the last look, if it was low then.
    said: Option<Said>,
    /// Repairs of which it was not said what came of them.
    open_repairs: Vec<i64>,
    /// When the month's usage was last read.
    month_read_at: Option<Timestamp>,
}

/// The policy of an organization that recharges automatically.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Watch {
    minimum_balance: Decimal,
    updated_at: Timestamp,
}

/// A row of `usage_snapshots`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Snapshot {
    pub(crate) id: i64,
    pub(crate) usage: Decimal,
    pub(crate) quota: Decimal,
    pub(crate) at: Timestamp,
    /// With what it was compared, if it was.
    pub(crate) minimum_balance: Option<Decimal>,
}

/// Who wants to know.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Asker<'a> {
    /// The sweep.
    Sweep,
    /// Somebody, with an event.
    Event {
        /// Its id.
        id: &'a EventId,
        /// The event that started its chain.
        correlation: &'a EventId,
    },
}

/// What a look came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outcome {
    /// There is enough.
    Enough,
    /// Little is left.
    Low,
    /// Nobody wants to know how much is left, or it is unlimited.
    Unwatched,
    /// The backend can't tell what was spent.
    UsageUnavailable,
    /// A push is on its way: what is left is about to change.
    UnderWay,
    /// The ledger is to book what the backend had.
    AwaitsOpening,
    /// It was never synced: it is left alone until somebody does.
    Unmet,
}

/// What was seen, and what follows from it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Looked {
    /// The backend had another quota than was left there.
    pub(crate) drifts: bool,
    /// What is to be published.
    pub(crate) events: Vec<Outgoing>,
    /// Repairs that have ended once it is published.
    pub(crate) repairs: Vec<i64>,
    /// What was said of a low balance once it is published.
    pub(crate) said: Option<Said>,
}

impl Looker {
    /// How long an event has to push what it says.
    pub(crate) fn grace(&self) -> Duration {
        GRACE.min(self.policy.sync_deadline)
    }

    /// What the backend lists, in one call rather than one for each. Whoever is not in it is read by itself; so is everybody
    /// where the list can't be had.
    pub(crate) async fn listing(&self) -> Listing {
        match self.pusher.ask(self.pusher.backend.list()).await {
            Ok(listing) => listing.unwrap_or_default(),
            Err(error) => {
                tracing::debug!(%error, "the backend's list could not be read: {error}");
                Listing::new()
            }
        }
    }

    /// Looks because an event asked for it. A repeat says the same.
    ///
    /// # Errors
    /// When the backend or the database can't tell.
    pub(crate) async fn look_for(
        &self,
        organization: &OrganizationId,
        id: &EventId,
        correlation: &EventId,
    ) -> Result<Vec<Outgoing>, Trouble> {
        let pool = &self.pusher.pool;
        if let Some(snapshot) = repo::snapshot_for(pool, id).await? {
            return Ok(low_of(organization, &snapshot, Some(correlation))?.into_iter().collect());
        }
        let (looked, outcome) = self.look(organization, None, Asker::Event { id, correlation }).await;
        let outcome = outcome?;
        tracing::info!(
            c_organization_id = %organization, event_id = %id, correlation_id = %correlation, ?outcome,
            "looked at {organization}: {outcome:?}"
        );
        if looked.said.is_some() {
            repo::note_said(pool, organization, looked.said).await?;
        }
        // Its repairs stay open: the loop publishes what came of them later, if at all, and the sweep makes sure.
        Ok(looked.events)
    }

    /// Looks. `listed` is what the backend's list has, if somebody has just read that. What was seen and done counts also
    /// when the look does not come to its end, because the backend or the database can't tell the rest.
    pub(crate) async fn look(
        &self,
        organization: &OrganizationId,
        listed: Option<&BackendQuota>,
        asker: Asker<'_>,
    ) -> (Looked, Result<Outcome, Trouble>) {
        let mut looked = Looked::default();
        let outcome = self.look_into(organization, listed.map(|listed| listed.quota), asker, &mut looked).await;
        (looked, outcome)
    }

    async fn look_into(
        &self,
        organization: &OrganizationId,
        mut listed: Option<Allowance>,
        asker: Asker<'_>,
        looked: &mut Looked,
    ) -> Result<Outcome, Trouble> {
        let Some(mut subject) = self.subject(organization).await? else { return Ok(Outcome::Unmet) };
        if !subject.open_repairs.is_empty() {
            self.finish_repairs(&subject, looked).await?;
            listed = None;
            subject = self.subject(organization).await?.unwrap_or(subject);
        }
        if self.stands(&subject, listed) == Standing::Unmet {
            return Ok(Outcome::Unmet);
        }
        let mut quota = match listed {
            Some(quota) => Some(quota),
            None => self.read(&subject.account()).await?,
        };
        let mut now = self.stands(&subject, quota);
        if let Standing::Wrong(_) = now {
            (quota, now) = self.mend(&subject, looked).await?;
            subject = self.subject(organization).await?.unwrap_or(subject);
        }
        self.watch(&subject, now, quota, asker, looked).await
    }

    /// Reads the usage, stores a snapshot, and says what is low.
    async fn watch(
        &self,
        subject: &Subject,
        now: Standing,
        quota: Option<Allowance>,
        asker: Asker<'_>,
        looked: &mut Looked,
    ) -> Result<Outcome, Trouble> {
        let unwatched = match now {
            Standing::InForce | Standing::Wrong(_) => Outcome::Unwatched,
            Standing::UnderWay => Outcome::UnderWay,
            Standing::AwaitsOpening => Outcome::AwaitsOpening,
            Standing::Unmet => Outcome::Unmet,
        };
        let Some(quota) = quota.and_then(Allowance::limit) else { return Ok(unwatched) };
        let account = subject.account();
        let Usage::Known(usage) = self.pusher.ask(self.pusher.backend.usage(&account)).await? else {
            return Ok(Outcome::UsageUnavailable);
        };
        let watch = subject.watch.filter(|_| unwatched == Outcome::Unwatched);
        let cause = match asker {
            Asker::Sweep => None,
            Asker::Event { id, .. } => Some(id),
        };
        let organization = &subject.organization;
        let minimum_balance = watch.map(|watch| watch.minimum_balance);
        let at = self.pusher.clock.now();
        let month_usage = match asker {
            Asker::Sweep => self.month_usage(subject, &account, at).await,
            // Somebody waits for this.
            Asker::Event { .. } => None,
        };
        let seen = repo::Seen { organization, usage, quota, minimum_balance, cause, month_usage };
        let snapshot = repo::take_snapshot(&self.pusher.pool, &seen, at).await?;
        let Some(watch) = watch else { return Ok(unwatched) };
        self.judge(subject, watch, &snapshot, asker, looked).await
    }

    /// What was spent this month, where the backend can tell it and it was not read a moment ago.
    async fn month_usage(&self, subject: &Subject, account: &Account, now: Timestamp) -> Option<Decimal> {
        let read = subject.month_read_at.filter(|read| month_of(*read) == month_of(now));
        if is_young(read, now, MONTH_AGE) {
            return None;
        }
        match self.pusher.ask(self.pusher.backend.month_usage(account, now)).await {
            Ok(Usage::Known(usage)) => Some(usage),
            Ok(Usage::Unavailable) => None,
            Err(trouble) => {
                let organization = &subject.organization;
                tracing::info!(
                    c_organization_id = %organization, error = %trouble,
                    "the month's usage of {organization} could not be read: {trouble}"
                );
                None
            }
        }
    }

    async fn judge(
        &self,
        subject: &Subject,
        watch: Watch,
        snapshot: &Snapshot,
        asker: Asker<'_>,
        looked: &mut Looked,
    ) -> Result<Outcome, Trouble> {
        let organization = &subject.organization;
        let correlation = match asker {
            Asker::Sweep => None,
            Asker::Event { correlation, .. } => Some(correlation),
        };
        let Some(low) = low_of(organization, snapshot, correlation)? else {
            if subject.said.is_some() {
                repo::note_said(&self.pusher.pool, organization, None).await?;
            }
            return Ok(Outcome::Enough);
        };
        let said = Said { at: snapshot.at, version: subject.book.version, config: watch.updated_at };
        if correlation.is_some() || low::shall_be_said(subject.said, said, self.policy.sweep_repeat) {
            let Snapshot { usage, quota, .. } = snapshot;
            self.pusher.metrics.low(if correlation.is_some() { "request" } else { "sweep" });
            tracing::info!(
                c_organization_id = %organization, event_id = %low.id, %usage, %quota, minimum_balance = %watch.minimum_balance,
                "{organization} has used {usage} of {quota}"
            );
            looked.events.push(low);
            looked.said = Some(said);
        }
        Ok(Outcome::Low)
    }

    /// Notes that what a look of the sweep led to is published.
    ///
    /// # Errors
    /// What the database says; then it is said again at the next look.
    pub(crate) async fn settle(&self, organization: &OrganizationId, looked: &Looked) -> Result<(), Trouble> {
        let pool = &self.pusher.pool;
        if !looked.repairs.is_empty() {
            repo::end_repairs(pool, &looked.repairs, self.pusher.clock.now()).await?;
        }
        if looked.said.is_some() {
            repo::note_said(pool, organization, looked.said).await?;
        }
        Ok(())
    }

    async fn subject(&self, organization: &OrganizationId) -> Result<Option<Subject>, Trouble> {
        Ok(repo::subject(&self.pusher.pool, organization, self.pusher.backend.name()).await?)
    }

    fn stands(&self, subject: &Subject, backend: Option<Allowance>) -> Standing {
        standing(&subject.book, backend, self.pusher.clock.now(), self.grace())
    }

    async fn read(&self, account: &Account) -> Result<Option<Allowance>, Trouble> {
        Ok(self.pusher.ask(self.pusher.backend.read(account)).await?.map(|found| found.quota))
    }
}

impl Subject {
    fn account(&self) -> Account {
        Account { organization: self.organization.clone(), team: self.team.clone() }
    }
}

/// The year and month in UTC.
fn month_of(at: Timestamp) -> (i32, u32) {
    (at.year(), at.month())
}

/// What a snapshot says, if it is low. It depends on what is stored only, so that a repeat says the same.
fn low_of(
    organization: &OrganizationId,
    snapshot: &Snapshot,
    correlation: Option<&EventId>,
) -> Result<Option<Outgoing>, Failure> {
    let low = snapshot.minimum_balance.filter(|least| low::is_low(snapshot.usage, snapshot.quota, *least));
    low.map(|least| said::low(organization, snapshot, least, correlation)).transpose()
}
