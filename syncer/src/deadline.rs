//! When something that the backend does not let happen is given up. Pure.
//!
//! Two things end it: the moment after which it is no use any more, and the number of deliveries after which the loop would
//! park the message. The first shall come first, so the deliveries are spread: once half of them are used up, each next one
//! waits at least for its share of the time that is left. With the defaults (40 attempts, delays of up to a minute, 15
//! minutes) that never has to wait longer than the loop does by itself.

use std::time::Duration;

use common::clock::Timestamp;

/// How long, and how often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limit {
    /// From this moment on it is too late.
    pub(crate) due: Timestamp,
    /// Which delivery this is, from 1 on.
    pub(crate) attempt: u32,
    /// Which one is the last.
    pub(crate) max_attempts: u32,
}

impl Limit {
    /// A limit that ends `patience` after `since`.
    pub(crate) fn new(since: Timestamp, patience: Duration, attempt: u32, max_attempts: u32) -> Self {
        let due = chrono::Duration::from_std(patience).ok().and_then(|patience| since.checked_add_signed(patience));
        Self { due: due.unwrap_or(since), attempt, max_attempts }
    }
}

/// What to do after a delivery that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Try again, not before so long.
    Later {
        /// The least delay.
        at_least: Duration,
    },
    /// The time is over.
    TooLate,
    /// The next failure would park the message.
    TooOften,
}

/// Decides.
pub(crate) fn verdict(now: Timestamp, limit: Limit) -> Verdict {
    if now >= limit.due {
        return Verdict::TooLate;
    }
    let left = limit.max_attempts.saturating_sub(limit.attempt);
    if left == 0 {
        return Verdict::TooOften;
    }
    if left > limit.max_attempts / 2 {
        return Verdict::Later { at_least: Duration::ZERO };
    }
    let time_left = (limit.due - now).to_std().unwrap_or_default();
    Verdict::Later { at_least: time_left / left }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(milliseconds: i64) -> Timestamp {
        Timestamp::from_timestamp_millis(milliseconds).unwrap()
    }

    #[test]
    fn the_deadline_comes_first_and_the_last_delivery_is_the_end() {
        let second = Duration::from_secs(1);
        let later = |at_least| Verdict::Later { at_least };
        for (now, attempt, want) in [
            (0, 1, later(Duration::ZERO)),
            (0, 4, later(Duration::ZERO)),
            (0, 5, later(second * 2)),
            (4_000, 9, later(second * 6)),
            (9_999, 9, later(Duration::from_millis(1))),
            (9_999, 10, Verdict::TooOften),
            (9_999, 11, Verdict::TooOften),
            // At the very moment it is over, whichever delivery it is.
            (10_000, 1, Verdict::TooLate),
            (10_000, 10, Verdict::TooLate),
            (99_000, 99, Verdict::TooLate),
        ] {
            let limit = Limit::new(at(0), second * 10, attempt, 10);
            assert_eq!(verdict(at(now), limit), want, "at {now}, attempt {attempt}");
        }
        assert_eq!(verdict(at(0), Limit::new(at(0), second, 1, 1)), Verdict::TooOften);
        assert_eq!(Limit::new(at(0), Duration::MAX, 1, 1).due, at(0), "a span that no calendar holds ends at once");
    }

    proptest! {
        /// However short the loop's own delays are, the deliveries last until the deadline.
        #[test]
        fn deliveries_last_until_the_deadline(max_attempts in 2_u32..100, patience in 1_u64..10_000_000, own in 0_i64..5_000) {
            let mut now = at(0);
            for attempt in 1.. {
                match verdict(now, Limit::new(at(0), Duration::from_millis(patience), attempt, max_attempts)) {
                    Verdict::TooLate => break,
                    Verdict::TooOften => {
                        // Only by what a division leaves.
                        prop_assert!(now + chrono::Duration::milliseconds(1) >= at(0) + chrono::Duration::milliseconds(i64::try_from(patience).unwrap()));
                        break;
                    }
                    Verdict::Later { at_least } => {
                        now += chrono::Duration::from_std(at_least).unwrap().max(chrono::Duration::milliseconds(own));
                    }
                }
            }
        }
    }
}
