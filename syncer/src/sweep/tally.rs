//! What a sweep came to, and its metrics.

use std::collections::BTreeMap;

use common::clock::Timestamp;
use common::telemetry;
use prometheus::{Histogram, IntGauge, IntGaugeVec, Registry};

use crate::look::Outcome;
use crate::trouble::{Trouble, Why};

/// So many looks in a row that the backend did not answer: it is away, and the others would not be answered either.
pub(crate) const AWAY: u32 = 5;

/// What became of one organization.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// There is enough.
    Enough,
    /// Little is left.
    Low,
    /// Nobody wants to know how much is left; it had a push to be done.
    Unwatched,
    /// The backend can't tell what was spent.
    UsageUnavailable,
    /// A push is on its way.
    UnderWay,
    /// The ledger is to book what the backend had.
    AwaitsOpening,
    /// It was never synced.
    Unmet,
    /// The backend did not answer.
    Unavailable,
    /// The backend answered with a no.
    Refused,
    /// Something of ours did not work: the database, the broker.
    Failed,
    /// It was not looked at, because the sweep was given up.
    Left,
}

impl Fate {
    /// Every one.
    pub const ALL: [Self; 11] = [
        Self::Enough,
        Self::Low,
        Self::Unwatched,
        Self::UsageUnavailable,
        Self::UnderWay,
        Self::AwaitsOpening,
        Self::Unmet,
        Self::Unavailable,
        Self::Refused,
        Self::Failed,
        Self::Left,
    ];

    /// The label of the metric.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enough => "enough",
            Self::Low => "low",
            Self::Unwatched => "unwatched",
            Self::UsageUnavailable => "usage_unavailable",
            Self::UnderWay => "under_way",
            Self::AwaitsOpening => "awaits_opening",
            Self::Unmet => "unmet",
            Self::Unavailable => "unavailable",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Left => "left",
        }
    }
}

impl From<Outcome> for Fate {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Enough => Self::Enough,
            Outcome::Low => Self::Low,
            Outcome::Unwatched => Self::Unwatched,
            Outcome::UsageUnavailable => Self::UsageUnavailable,
            Outcome::UnderWay => Self::UnderWay,
            Outcome::AwaitsOpening => Self::AwaitsOpening,
            Outcome::Unmet => Self::Unmet,
        }
    }
}

impl From<&Trouble> for Fate {
    fn from(trouble: &Trouble) -> Self {
        match trouble {
            Trouble::Backend { why: Why::Unavailable, .. } => Self::Unavailable,
            Trouble::Backend { why: Why::Refused | Why::Undecided, .. } => Self::Refused,
            Trouble::Ours(_) => Self::Failed,
        }
    }
}

/// What a sweep came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    fates: BTreeMap<Fate, i64>,
    /// Whose quota at the backend was not what was left there.
    pub drifting: i64,
    /// Why the backend was not asked any more, if it was not.
    pub away: Option<String>,
    in_a_row: u32,
    last: Option<String>,
}

impl Tally {
    /// How many met this fate.
    #[must_use]
    pub fn of(&self, fate: Fate) -> i64 {
        self.fates.get(&fate).copied().unwrap_or(0)
    }

    /// How many there were.
    #[must_use]
    pub fn all(&self) -> i64 {
        self.fates.values().sum()
    }

    pub(super) fn note(&mut self, fate: Fate, reason: Option<&str>) {
        *self.fates.entry(fate).or_default() += 1;
        self.in_a_row = if fate == Fate::Unavailable { self.in_a_row + 1 } else { 0 };
        if fate == Fate::Unavailable {
            self.last = reason.map(str::to_owned);
        }
        if self.in_a_row >= AWAY && self.away.is_none() {
            self.away.clone_from(&self.last);
        }
    }

    /// Ends the count: so many were left. Where nobody was answered the backend is away, however few they were.
    pub(super) fn close(&mut self, left: usize) {
        *self.fates.entry(Fate::Left).or_default() += i64::try_from(left).unwrap_or(i64::MAX);
        if self.of(Fate::Unavailable) == self.all() && self.away.is_none() {
            self.away.clone_from(&self.last);
        }
    }

    /// Whether everybody was looked at, or at least asked for.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.away.is_none() && self.of(Fate::Left) == 0
    }
}

#[derive(Clone)]
pub(super) struct Metrics {
    organizations: IntGaugeVec,
    drifting: IntGauge,
    pub(super) seconds: Histogram,
    last: IntGauge,
}

impl Metrics {
    pub(super) fn new(registry: &Registry) -> Self {
        Self {
            organizations: telemetry::gauge_vec(
                registry,
                "bill_sweep_organizations",
                "Organizations at the last sweep, by what it came to.",
                &["result"],
            ),
            drifting: telemetry::gauge(
                registry,
                "bill_quota_drifting",
                "Organizations whose quota at the backend was not what was left there, at the last sweep.",
            ),
            seconds: telemetry::seconds_vec(registry, "bill_sweep_seconds", "How long a sweep takes.", &[])
                .with_label_values::<&str>(&[]),
            last: telemetry::gauge(
                registry,
                "bill_sweep_last_finished_seconds",
                "When a sweep last came to its end, in seconds since 1970; 0 on a replica that does not sweep.",
            ),
        }
    }

    /// Shows a sweep.
    pub(super) fn show(&self, tally: &Tally, now: Timestamp) {
        for fate in Fate::ALL {
            self.organizations.with_label_values(&[fate.as_str()]).set(tally.of(fate));
        }
        self.drifting.set(tally.drifting);
        if tally.is_whole() {
            self.last.set(now.timestamp());
        }
    }

    /// Shows that another replica sweeps: what this one saw is old.
    pub(super) fn show_nothing(&self) {
        self.organizations.reset();
        self.drifting.set(0);
        self.last.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backend_is_away_after_several_in_a_row_only() {
        let mut tally = Tally::default();
        for _ in 0..3 {
            for _ in 0..4 {
                tally.note(Fate::Unavailable, Some("no"));
            }
            tally.note(Fate::Refused, Some("403"));
        }
        assert!(tally.is_whole());
        for _ in 0..5 {
            tally.note(Fate::Unavailable, Some("gone"));
        }
        tally.note(Fate::Enough, None);
        assert_eq!(tally.away.as_deref(), Some("gone"));
        assert!(!tally.is_whole());
        assert_eq!((tally.of(Fate::Unavailable), tally.of(Fate::Refused), tally.all()), (17, 3, 21));
        tally.close(4);
        assert_eq!(tally.of(Fate::Left), 4);
    }

    #[test]
    fn a_backend_that_answered_nobody_is_away() {
        let mut tally = Tally::default();
        tally.close(0);
        assert!(tally.is_whole(), "nobody was asked for");
        tally.note(Fate::Unavailable, Some("gone"));
        tally.close(0);
        assert_eq!(tally.away.as_deref(), Some("gone"));
        let mut tally = Tally::default();
        tally.note(Fate::Unavailable, Some("gone"));
        tally.note(Fate::Enough, None);
        tally.close(0);
        assert!(tally.is_whole());
    }

    #[test]
    fn every_fate_has_a_word_of_its_own() {
        let words: std::collections::BTreeSet<_> = Fate::ALL.iter().map(|fate| fate.as_str()).collect();
        assert_eq!(words.len(), Fate::ALL.len());
    }
}
