//! Is it low, shall it be said, and who comes first? Pure.

use std::time::Duration;

use common::clock::Timestamp;
use rust_decimal::Decimal;

/// Whether so little is left that a recharge is wanted. What is used up to the last cent is low, also where no balance is to
/// be kept.
pub(crate) fn is_low(usage: Decimal, quota: Decimal, minimum_balance: Decimal) -> bool {
    let available = quota - usage;
    available <= Decimal::ZERO || available < minimum_balance
}

/// That it was said, and of what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Said {
    /// When.
    pub(crate) at: Timestamp,
    /// The ledger's version then.
    pub(crate) version: i64,
    /// When the organization's configuration had last changed then.
    pub(crate) config: Timestamp,
}

/// Whether a low balance is to be said (again). `before` is what was said at the last look, if it was low then.
pub(crate) fn shall_be_said(before: Option<Said>, now: Said, repeat: Duration) -> bool {
    let Some(before) = before else { return true };
    // A clock that was set back must not silence it.
    let age = (now.at - before.at).to_std().ok();
    before.version != now.version || before.config != now.config || age.is_none_or(|age| age >= repeat)
}

/// Somebody who is to be looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Candidate<T> {
    /// Who.
    pub(crate) who: T,
    /// What was left at the last look, if there was one.
    pub(crate) available: Option<Decimal>,
}

/// Puts first of whom nothing is known, then who has least left.
pub(crate) fn most_urgent_first<T: Ord>(candidates: &mut [Candidate<T>]) {
    candidates.sort_by(|one, other| (one.available, &one.who).cmp(&(other.available, &other.who)));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(text: &str) -> Decimal {
        Decimal::from_str_exact(text).unwrap()
    }

    fn said(at: i64, version: i64, config: i64) -> Said {
        let second = |seconds| Timestamp::from_timestamp(seconds, 0).unwrap();
        Said { at: second(at), version, config: second(config) }
    }

    #[test]
    fn what_is_low() {
        for (usage, quota, minimum, want) in [
            ("0", "0", "0", true),
            ("500", "500", "0", true),
            ("500", "500.00", "100", true),
            ("499.99", "500", "0", false),
            ("500.01", "500", "0", true),
            ("400", "500", "100", false),
            ("400.01", "500", "100", true),
            ("0", "500", "500.01", true),
            ("0", "500", "500", false),
        ] {
            assert_eq!(is_low(decimal(usage), decimal(quota), decimal(minimum)), want, "{usage} of {quota}, {minimum}");
        }
    }

    #[test]
    fn when_it_is_said_again() {
        let repeat = Duration::from_secs(300);
        let before = said(1_000, 3, 50);
        for (before, now, want) in [
            (None, said(1_000, 3, 50), true),
            (Some(before), said(1_000, 3, 50), false),
            (Some(before), said(1_299, 3, 50), false),
            (Some(before), said(1_300, 3, 50), true),
            (Some(before), said(1_001, 4, 50), true),
            (Some(before), said(1_001, 3, 51), true),
            (Some(before), said(999, 3, 50), true),
        ] {
            assert_eq!(shall_be_said(before, now, repeat), want, "{before:?}, {now:?}");
        }
        assert!(shall_be_said(Some(before), before, Duration::ZERO));
    }

    #[test]
    fn who_comes_first() {
        let mut all: Vec<_> =
            [("rich", Some("900")), ("none", Some("0")), ("new", None), ("debt", Some("-7")), ("also", Some("0"))]
                .map(|(who, available)| Candidate { who, available: available.map(decimal) })
                .into();
        most_urgent_first(&mut all);
        assert_eq!(
            all.iter().map(|candidate| candidate.who).collect::<Vec<_>>(),
            ["new", "debt", "also", "none", "rich"]
        );
    }
}
