//! Questions that are answered over the broker, from what is in the database. Nothing is stored, charged or published.
//!
//! One: what would be charged ([`SimulationRequestV1`])? Policy and history are loaded as for a claim, and the same
//! `decide` decides; only nobody is locked, and nothing is claimed.

mod answer;
mod repo;

use chrono::Duration;
use common::clock::Timestamp;
use common::contract::{SimulatedDecisionV1, SimulatedReplayV1, SimulationRequestV1, SimulationV1};
use common::ids::OrganizationId;
use common::money::Money;
use common::queries::{Answerer, INVALID, NoAnswer};
use rust_decimal::Decimal;
use sqlx::PgConnection;

use crate::decide::{Decision, Trigger, brake, decide};
use crate::handlers::Recharger;
use crate::policy::Policy;
use crate::repo as claims;
use crate::simulate::{Beginning, Seen, changed, replay};
use answer::{Considered, Replayed};

/// Into so many points usage is thinned at most.
const POINTS: i64 = 5_000;

impl Answerer<SimulationRequestV1> for Recharger {
    async fn answer(
        &self,
        organization: &OrganizationId,
        asked: SimulationRequestV1,
    ) -> Result<SimulationV1, NoAnswer> {
        if let Some(days) = asked.days
            && !(1..=SimulationRequestV1::MOST_DAYS).contains(&days)
        {
            let range = format!("days must be from 1 to {}", SimulationRequestV1::MOST_DAYS);
            return Err(NoAnswer::refused(INVALID, range));
        }
        if asked.amount.is_some() && (asked.event.is_some() || asked.days.is_some()) {
            return Err(NoAnswer::refused(INVALID, "an amount goes neither with an event nor with days"));
        }
        let mut tx = repo::begin(&self.pool).await?;
        let Some((saved, resumed_at)) = claims::policy(&mut tx, organization).await? else {
            return Err(NoAnswer::refused("unknown_organization", format!("there is no organization {organization}")));
        };
        let policy = changed(saved, &asked.policy).map_err(|problem| NoAnswer::refused(INVALID, problem))?;
        let now = self.clock.now();
        let about = About { organization, policy: &policy, resumed_at, now };
        let decision = match trigger(&mut tx, &about, &asked).await? {
            Some((trigger, seen_at)) => Some(self.consider(&mut tx, &about, trigger, seen_at).await?),
            None => None,
        };
        let replay = match asked.days {
            Some(days) => Some(self.look_back(&mut tx, &about, days).await?),
            None => None,
        };
        let c_organization_id = organization.clone();
        Ok(SimulationV1 { c_organization_id, currency: policy.currency, decision, replay })
    }
}

/// Who is asked about.
struct About<'a> {
    organization: &'a OrganizationId,
    /// With the changes that are tried.
    policy: &'a Policy,
    /// When a person last resumed it.
    resumed_at: Option<Timestamp>,
    now: Timestamp,
}

/// What is to be decided about, if anything is, and when its usage was seen, where it was not given.
async fn trigger(
    db: &mut PgConnection,
    about: &About<'_>,
    asked: &SimulationRequestV1,
) -> Result<Option<(Trigger, Option<Timestamp>)>, NoAnswer> {
    if let Some(event) = &asked.event {
        let (usage, limit) = (event.current_usage, event.current_limit);
        return Ok(Some((Trigger::LimitExceeded { usage, limit, exceeded_by: event.exceeded_by }, None)));
    }
    if let Some(amount) = asked.amount {
        let amount = Money::from_decimal(amount, about.policy.currency)
            .map_err(|error| NoAnswer::refused(INVALID, format!("amount: {error}")))?;
        return Ok(Some((Trigger::Manual { amount }, None)));
    }
    if asked.days.is_some() {
        return Ok(None);
    }
    let (trigger, seen_at) = as_the_sweep(db, about).await?;
    Ok(Some((trigger, Some(seen_at))))
}

/// What the sweep would see now: the usage that was last seen, and the ledger's quota, which is in force by then. Also
/// when that usage was seen.
async fn as_the_sweep(db: &mut PgConnection, about: &About<'_>) -> Result<(Trigger, Timestamp), NoAnswer> {
    let organization = about.organization;
    let Some(last) = repo::last_snapshot(db, organization, about.now).await? else {
        let unknown = format!("nobody has seen yet what {organization} has spent: give an event, or sync it first");
        return Err(NoAnswer::refused("usage_unknown", unknown));
    };
    let quota = repo::ledger_quota(db, organization).await?.unwrap_or(last.quota);
    Ok((Trigger::LowBalance { usage: last.usage, quota }, last.taken_at))
}

impl Recharger {
    /// Decides as a claim would.
    async fn consider(
        &self,
        db: &mut PgConnection,
        about: &About<'_>,
        trigger: Trigger,
        seen_at: Option<Timestamp>,
    ) -> Result<SimulatedDecisionV1, NoAnswer> {
        let About { organization, policy, resumed_at, now } = *about;
        let history = claims::history(db, organization, policy, resumed_at, now).await?;
        let mut decision = decide(Some(policy), &history, &trigger, self.rules.fees, now);
        if let Decision::Charge(_) = decision {
            let recharges = claims::claims_since(db, now - Duration::minutes(1)).await?;
            decision = brake(recharges, self.rules.max_recharges_per_minute).map_or(decision, Decision::Skip);
        }
        let quota = repo::ledger_quota(db, organization).await?;
        Ok(answer::decision(&Considered { currency: policy.currency, trigger, seen_at, ledger_quota: quota, decision }))
    }

    /// Replays so many days.
    async fn look_back(
        &self,
        db: &mut PgConnection,
        about: &About<'_>,
        days: u32,
    ) -> Result<SimulatedReplayV1, NoAnswer> {
        let About { organization, policy, now, .. } = *about;
        let window = Duration::days(i64::from(days));
        let asked_from = now - window;
        let resolution = (window.num_seconds() / POINTS).max(1);
        let mut replayed = Replayed { currency: policy.currency, asked_from, to: now, resolution, outcome: None };
        // What was known at the beginning; otherwise the replay begins when something became known.
        let before = repo::last_snapshot(db, organization, asked_from).await?;
        let first = match before {
            Some(before) => Some((asked_from, before)),
            None => {
                let first = repo::first_snapshot(db, organization, asked_from).await?;
                first.filter(|first| first.taken_at <= now).map(|first| (first.taken_at, first))
            }
        };
        let Some((from, first)) = first else { return Ok(answer::replay(&replayed)) };
        let spent = repo::spent_before(db, organization, policy.currency, from).await?;
        let beginning = Beginning { at: from, quota: first.quota, spent };
        let mut seen = vec![Seen { at: from, usage: first.usage, looks: 1 }];
        seen.extend(repo::seen(db, organization, from, now, resolution).await?);
        let outcome = replay(policy, &beginning, &seen, self.rules.fees);
        let actual = repo::actual(db, organization, policy.currency, from, now).await?;
        let snapshots = seen.iter().map(|seen| u64::from(seen.looks)).sum();
        let usage = (first.usage, seen.last().map_or(Decimal::ZERO, |last| last.usage));
        replayed.outcome = Some(answer::Outcome { beginning, usage, snapshots, replay: outcome, actual });
        Ok(answer::replay(&replayed))
    }
}
