//! What happens to a message after its handler. Pure.

use std::time::Duration;

use crate::failure::Failure;

/// How often, and how soon, a message is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// After so many deliveries it is parked.
    pub max_attempts: u32,
    /// The delay after the first.
    pub first: Duration,
    /// The longest delay.
    pub cap: Duration,
}

/// Why a message is parked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParkReason {
    /// It can't be understood.
    Malformed,
    /// It was tried often enough.
    Exhausted,
    /// The broker delivered it so often, and never got an answer, that it gave up: as when it kills who handles it.
    MaxDeliveries,
}

impl ParkReason {
    /// Every reason.
    pub const ALL: [Self; 3] = [Self::Malformed, Self::Exhausted, Self::MaxDeliveries];

    /// The stable word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Exhausted => "exhausted",
            Self::MaxDeliveries => "max_deliveries",
        }
    }
}

/// What to do with the delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Done: acknowledge.
    Ack,
    /// Bring it again after so long.
    RetryIn(Duration),
    /// Store it as a dead letter, then drop it.
    Park(ParkReason),
}

/// Decides. `spread` (0 to 999) says where in its window the delay falls, so that messages that failed together do not
/// come back together.
#[must_use]
pub fn verdict(outcome: Result<(), &Failure>, attempt: u32, policy: RetryPolicy, spread: u32) -> Verdict {
    match outcome {
        Ok(()) | Err(Failure::Refused(_)) => Verdict::Ack,
        Err(Failure::Malformed(_)) => Verdict::Park(ParkReason::Malformed),
        Err(Failure::Retry { .. }) if is_crash_loop(attempt, policy) => Verdict::Park(ParkReason::MaxDeliveries),
        Err(Failure::Retry { .. }) if attempt >= policy.max_attempts => Verdict::Park(ParkReason::Exhausted),
        Err(Failure::Retry { after, .. }) => {
            let delay = backoff(attempt, policy, spread);
            Verdict::RetryIn(after.map_or(delay, |after| after.max(delay)))
        }
    }
}

/// More deliveries than this above the limit are no slips: each time, the process died before it could park the message.
const CRASHES: u32 = 3;

/// Whether handling a message kills whoever does it: it was delivered more often than the loop ever tries.
#[must_use]
pub(super) fn is_crash_loop(attempt: u32, policy: RetryPolicy) -> bool {
    attempt > policy.max_attempts.saturating_add(CRASHES)
}

/// Doubles with each attempt up to the cap, then takes between half and the whole of it.
fn backoff(attempt: u32, policy: RetryPolicy, spread: u32) -> Duration {
    let doublings = attempt.saturating_sub(1).min(20);
    let window = policy.first.saturating_mul(1 << doublings).min(policy.cap);
    window / 2 + (window / 2).saturating_mul(spread.min(999)) / 1000
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const POLICY: RetryPolicy =
        RetryPolicy { max_attempts: 5, first: Duration::from_millis(100), cap: Duration::from_secs(1) };

    fn retry(after: Option<Duration>) -> Failure {
        Failure::Retry { after, reason: anyhow::anyhow!("down") }
    }

    #[test]
    fn each_outcome_has_its_verdict() {
        assert_eq!(verdict(Ok(()), 1, POLICY, 0), Verdict::Ack);
        assert_eq!(verdict(Err(&Failure::Refused("no".to_owned())), 1, POLICY, 0), Verdict::Ack);
        let malformed = Failure::malformed(anyhow::anyhow!("not JSON"));
        assert_eq!(verdict(Err(&malformed), 1, POLICY, 0), Verdict::Park(ParkReason::Malformed));
        assert_eq!(verdict(Err(&retry(None)), 1, POLICY, 0), Verdict::RetryIn(Duration::from_millis(50)));
        assert_eq!(verdict(Err(&retry(None)), 2, POLICY, 0), Verdict::RetryIn(Duration::from_millis(100)));
        assert_eq!(verdict(Err(&retry(None)), 4, POLICY, 0), Verdict::RetryIn(Duration::from_millis(400)));
        assert_eq!(verdict(Err(&retry(None)), 5, POLICY, 0), Verdict::Park(ParkReason::Exhausted));
        assert_eq!(verdict(Err(&retry(None)), 6, POLICY, 0), Verdict::Park(ParkReason::Exhausted));
        let asked = Duration::from_secs(9);
        assert_eq!(verdict(Err(&retry(Some(asked))), 1, POLICY, 999), Verdict::RetryIn(asked));
    }

    #[test]
    fn a_crash_loop_is_told_from_a_last_try() {
        for (attempt, want) in [(1, false), (5, false), (8, false), (9, true), (u32::MAX, true)] {
            assert_eq!(is_crash_loop(attempt, POLICY), want, "{attempt}");
        }
    }

    proptest! {
        #[test]
        fn delays_stay_in_their_window(attempt in 1_u32..10_000, spread in 0_u32..2_000) {
            let patient = RetryPolicy { max_attempts: u32::MAX, ..POLICY };
            let Verdict::RetryIn(delay) = verdict(Err(&retry(None)), attempt, patient, spread) else {
                return Err(TestCaseError::fail("not retried"));
            };
            prop_assert!(delay >= POLICY.first / 2 && delay <= POLICY.cap);
        }
    }
}
