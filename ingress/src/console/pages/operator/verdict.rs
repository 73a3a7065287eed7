//! Whether the chain is well, by simple rules: what waits, and for how long. Pure.
//!
//! The bounds are what people should be called for, not what the services promise: a charge takes seconds, a push of a quota
//! less than one, a bank's debit days.

use chrono::TimeDelta;
use common::clock::Timestamp;

/// How a part of the chain is. In this order: the worst of several is their largest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Verdict {
    /// Nothing waits longer than it should.
    Well,
    /// It can't be told at the moment.
    Unknown,
    /// It moves, but not as it should; or something waits for somebody else.
    Slow,
    /// It will not go on by itself.
    Stuck,
}

impl Verdict {
    /// The class of its badge.
    pub(super) fn class(self) -> &'static str {
        match self {
            Self::Well => "is-good",
            Self::Unknown => "is-quiet",
            Self::Slow => "is-warn",
            Self::Stuck => "is-bad",
        }
    }

    /// The word for it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Well => "well",
            Self::Unknown => "unknown",
            Self::Slow => "slow",
            Self::Stuck => "stuck",
        }
    }

    /// The class of a step that is so.
    pub(super) fn step(self) -> &'static str {
        match self {
            Self::Well => "is-done",
            Self::Unknown => "is-skipped",
            Self::Slow => "is-now",
            Self::Stuck => "is-failed",
        }
    }
}

/// The worst of several; of none, nothing is known.
pub(super) fn worst(all: impl IntoIterator<Item = Verdict>) -> Verdict {
    all.into_iter().max().unwrap_or(Verdict::Unknown)
}

/// Why a consumer is not well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    None,
    /// Nobody asks for messages.
    Nobody,
    /// Messages wait, and none was taken for a while.
    Standing,
    /// Some are tried again.
    Again,
    /// Many wait.
    Many,
}

/// What the broker tells of a consumer.
pub(super) struct Progress {
    pub(super) pending: u64,
    pub(super) in_work: u64,
    pub(super) redelivered: u64,
    pub(super) asking: u64,
    /// When one was last delivered or acknowledged.
    pub(super) last: Option<Timestamp>,
}

/// With so many messages waiting, a consumer does not keep up.
const MANY: u64 = 500;

/// How a consumer is.
pub(super) fn consumer(progress: &Progress, now: Timestamp) -> (Verdict, Trouble) {
    let quiet = progress.last.is_none_or(|last| now - last > TimeDelta::minutes(1));
    let waits = progress.pending > 0 || progress.in_work > 0;
    match progress {
        _ if progress.asking == 0 && quiet && waits => (Verdict::Stuck, Trouble::Nobody),
        _ if progress.asking == 0 && quiet => (Verdict::Slow, Trouble::Nobody),
        _ if progress.pending > 0 && quiet => (Verdict::Stuck, Trouble::Standing),
        _ if progress.redelivered > 0 => (Verdict::Slow, Trouble::Again),
        _ if progress.pending > MANY => (Verdict::Slow, Trouble::Many),
        _ => (Verdict::Well, Trouble::None),
    }
}

/// Dead letters never move by themselves.
pub(super) fn dead_letters(count: u64) -> Verdict {
    if count == 0 { Verdict::Well } else { Verdict::Stuck }
}

/// Recharges that stand at one place, the oldest of which began then.
pub(super) fn recharges(status: &str, oldest: Option<Timestamp>, now: Timestamp) -> Verdict {
    let (slow, stuck) = match status {
        // The bank's pace, and the customer's.
        "processing" => (TimeDelta::days(1), TimeDelta::days(8)),
        "action_required" => (TimeDelta::hours(1), TimeDelta::days(1)),
        "refunding" => (TimeDelta::minutes(10), TimeDelta::days(1)),
        _ => (TimeDelta::minutes(2), TimeDelta::minutes(15)),
    };
    waiting(oldest, slow, stuck, now)
}

/// Refunds: how many Stripe or the bank refused, and since when the oldest is open.
pub(super) fn refunds(failing: i64, oldest: Option<Timestamp>, now: Timestamp) -> Verdict {
    if failing > 0 {
        return Verdict::Stuck;
    }
    // Banks take days, so that time alone is no reason to call anybody.
    waiting(oldest, TimeDelta::days(10), TimeDelta::MAX, now)
}

/// Quotas that the backend does not have yet.
pub(super) fn quotas(oldest: Option<Timestamp>, now: Timestamp) -> Verdict {
    waiting(oldest, TimeDelta::minutes(1), TimeDelta::minutes(10), now)
}

/// Stripe, of which somebody waits for a charge: it is well as long as it answers anybody.
pub(super) fn stripe(oldest_charge: Option<Timestamp>, last_answer: Option<Timestamp>, now: Timestamp) -> Verdict {
    let silent_since = oldest_charge.map(|oldest| last_answer.map_or(oldest, |last| last.max(oldest)));
    waiting(silent_since, TimeDelta::minutes(2), TimeDelta::minutes(15), now)
}

/// The quota backend: since when somebody waits for it, and what it last said.
pub(super) fn backend(
    waits_since: Option<Timestamp>,
    success: Option<Timestamp>,
    failure: Option<Timestamp>,
    now: Timestamp,
) -> Verdict {
    let refuses =
        waits_since.is_some() && failure.is_some_and(|failure| success.is_none_or(|success| success < failure));
    if refuses { Verdict::Stuck } else { quotas(waits_since, now) }
}

/// The last comparison of the books.
pub(super) struct Run {
    pub(super) finished: bool,
    pub(super) given_up: bool,
    pub(super) reported: i64,
    pub(super) at: Timestamp,
}

/// Comparing the books: without a recent run nobody knows.
pub(super) fn reconciliation(last: Option<&Run>, now: Timestamp) -> Verdict {
    match last {
        None => Verdict::Unknown,
        Some(run) if run.given_up || run.finished && run.reported > 0 => Verdict::Stuck,
        Some(run) if run.finished => waiting(Some(run.at), TimeDelta::days(2), TimeDelta::MAX, now),
        Some(run) => waiting(Some(run.at), TimeDelta::minutes(10), TimeDelta::days(1), now),
    }
}

fn waiting(since: Option<Timestamp>, slow: TimeDelta, stuck: TimeDelta, now: Timestamp) -> Verdict {
    match since.map(|since| now - since) {
        Some(age) if age > stuck => Verdict::Stuck,
        Some(age) if age > slow => Verdict::Slow,
        _ => Verdict::Well,
    }
}

#[cfg(test)]
mod tests {
    use super::Verdict::{Slow, Stuck, Unknown, Well};
    use super::*;

    fn now() -> Timestamp {
        Timestamp::from_timestamp(1_000_000_000, 0).unwrap()
    }

    /// So many seconds ago; negative: never.
    fn ago(seconds: i64) -> Option<Timestamp> {
        (seconds >= 0).then(|| now() - TimeDelta::seconds(seconds))
    }

    #[test]
    fn consumers() {
        for (pending, in_work, redelivered, asking, last, verdict) in [
            (0, 0, 0, 1, -1, (Well, Trouble::None)),
            (0, 0, 0, 1, 86_400, (Well, Trouble::None)),
            (3, 1, 0, 1, 5, (Well, Trouble::None)),
            (3, 1, 0, 0, 5, (Well, Trouble::None)),
            (3, 0, 0, 0, 61, (Stuck, Trouble::Nobody)),
            (0, 1, 0, 0, 61, (Stuck, Trouble::Nobody)),
            (0, 0, 0, 0, 61, (Slow, Trouble::Nobody)),
            (0, 0, 0, 0, -1, (Slow, Trouble::Nobody)),
            (1, 0, 0, 1, 61, (Stuck, Trouble::Standing)),
            (0, 1, 1, 1, 5, (Slow, Trouble::Again)),
            (501, 1, 0, 1, 5, (Slow, Trouble::Many)),
        ] {
            let progress = Progress { pending, in_work, redelivered, asking, last: ago(last) };
            assert_eq!(consumer(&progress, now()), verdict, "{pending} {in_work} {redelivered} {asking} {last}");
        }
    }

    #[test]
    fn what_waits() {
        let (minute, hour, day) = (60, 3_600, 86_400);
        for (status, age, verdict) in [
            ("pending", -1, Well),
            ("pending", 2 * minute, Well),
            ("pending", 3 * minute, Slow),
            ("credited", 16 * minute, Stuck),
            ("processing", 23 * hour, Well),
            ("processing", 2 * day, Slow),
            ("processing", 9 * day, Stuck),
            ("action_required", 2 * hour, Slow),
            ("refunding", 25 * hour, Stuck),
            ("something new", 16 * minute, Stuck),
        ] {
            assert_eq!(recharges(status, ago(age), now()), verdict, "{status} {age}");
        }
        for (failing, age, verdict) in [(0, -1, Well), (0, 5 * day, Well), (0, 11 * day, Slow), (1, 0, Stuck)] {
            assert_eq!(refunds(failing, ago(age), now()), verdict, "{failing} {age}");
        }
        for (age, verdict) in [(-1, Well), (minute, Well), (2 * minute, Slow), (11 * minute, Stuck)] {
            assert_eq!(quotas(ago(age), now()), verdict, "{age}");
        }
        assert_eq!((dead_letters(0), dead_letters(1)), (Well, Stuck));
    }

    #[test]
    fn outside() {
        for (oldest, last, verdict) in [
            (-1, -1, Well),
            (-1, 9_999, Well),
            (60, -1, Well),
            (300, -1, Slow),
            (300, 10, Well),
            (3_600, 960, Stuck),
            (960, 3_600, Stuck),
        ] {
            assert_eq!(stripe(ago(oldest), ago(last), now()), verdict, "{oldest} {last}");
        }
        for (since, success, failure, verdict) in [
            (-1, -1, -1, Well),
            (-1, -1, 10, Well),
            (5, 3, 10, Well),
            (5, 10, 3, Stuck),
            (5, -1, 3, Stuck),
            (90, 3, -1, Slow),
        ] {
            assert_eq!(backend(ago(since), ago(success), ago(failure), now()), verdict, "{since} {success} {failure}");
        }
    }

    #[test]
    fn comparisons() {
        let run = |finished, given_up, reported, seconds| {
            let at = ago(seconds).unwrap();
            reconciliation(Some(&Run { finished, given_up, reported, at }), now())
        };
        assert_eq!(reconciliation(None, now()), Unknown);
        assert_eq!(run(true, false, 0, 3_600), Well);
        assert_eq!(run(true, false, 1, 3_600), Stuck);
        assert_eq!(run(true, false, 0, 3 * 86_400), Slow);
        assert_eq!(run(false, false, 0, 60), Well);
        assert_eq!(run(false, false, 1, 700), Slow);
        assert_eq!(run(false, true, 0, 90_000), Stuck);
        assert_eq!((worst([Well, Slow, Unknown]), worst([Unknown, Well]), worst([])), (Slow, Unknown, Unknown));
    }
}
