//! A circuit breaker: a backend that is away is left alone, and is asked again by one call at a time.
//! A pure state machine; time is an argument.

use std::time::{Duration, Instant};

/// The breaker of one backend.
#[derive(Debug, Clone)]
pub struct Breaker {
    threshold: u32,
    rest: Duration,
    probe: Duration,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Calls pass; so many in a row have failed.
    Closed { failures: u32 },
    /// No call passes before this moment.
    Open { until: Instant },
    /// One call is out to see whether the backend is back. A caller may be dropped and never tell, so the probe
    /// counts as lost at this moment and another one passes.
    HalfOpen { lost_at: Instant },
}

impl Breaker {
    /// A closed breaker that opens after `threshold` failures in a row, rests for `rest`, and gives a probe at most
    /// `probe` to come back.
    #[must_use]
    pub fn new(threshold: u32, rest: Duration, probe: Duration) -> Self {
        Self { threshold, rest, probe, state: State::Closed { failures: 0 } }
    }

    /// Whether a call may go out now; if not, after how long to come again.
    ///
    /// # Errors
    /// The time to wait.
    pub fn admit(&mut self, now: Instant) -> Result<(), Duration> {
        match self.state {
            State::Closed { .. } => Ok(()),
            State::Open { until: closed_until } | State::HalfOpen { lost_at: closed_until } if now < closed_until => {
                Err(closed_until - now)
            }
            State::Open { .. } | State::HalfOpen { .. } => {
                self.state = State::HalfOpen { lost_at: now + self.probe };
                Ok(())
            }
        }
    }

    /// Whether calls pass freely.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed { .. })
    }

    /// The backend answered. Returns whether that closed the breaker.
    pub fn succeeded(&mut self) -> bool {
        let was_closed = self.is_closed();
        self.state = State::Closed { failures: 0 };
        !was_closed
    }

    /// The backend did not answer. Returns whether that opened the breaker.
    pub fn failed(&mut self, now: Instant) -> bool {
        match self.state {
            State::Closed { failures } if failures + 1 < self.threshold => {
                self.state = State::Closed { failures: failures + 1 };
                false
            }
            State::Closed { .. } => {
                self.state = State::Open { until: now + self.rest };
                true
            }
            // The probe failed: rest again. It was open before, so it does not open now.
            State::HalfOpen { .. } => {
                self.state = State::Open { until: now + self.rest };
                false
            }
            // A straggler from before it opened: it must not prolong the rest.
            State::Open { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REST: Duration = Duration::from_secs(2);
    const PROBE: Duration = Duration::from_secs(6);
    const STEP: Duration = Duration::from_millis(1);

    fn opened(now: Instant) -> Breaker {
        let mut breaker = Breaker::new(5, REST, PROBE);
        let opens: Vec<bool> = (0..5).map(|_| breaker.failed(now)).collect();
        assert_eq!(opens, [false, false, false, false, true]);
        breaker
    }

    #[test]
    fn it_opens_after_five_failures_in_a_row_only() {
        let now = Instant::now();
        let mut breaker = Breaker::new(5, REST, PROBE);
        for _ in 0..4 {
            breaker.failed(now);
        }
        assert!(!breaker.succeeded());
        for _ in 0..4 {
            breaker.failed(now);
        }
        assert_eq!(breaker.admit(now), Ok(()));
        assert!(breaker.failed(now));
        assert_eq!(breaker.admit(now), Err(REST));
    }

    #[test]
    fn after_the_rest_one_probe_passes() {
        let now = Instant::now();
        let mut breaker = opened(now);
        assert_eq!(breaker.admit(now + REST - STEP), Err(STEP));
        assert_eq!(breaker.admit(now + REST), Ok(()));
        assert_eq!(breaker.admit(now + REST), Err(PROBE));
        assert!(breaker.succeeded());
        assert_eq!(breaker.admit(now + REST), Ok(()));
    }

    #[test]
    fn a_failed_probe_rests_again() {
        let now = Instant::now();
        let mut breaker = opened(now);
        assert_eq!(breaker.admit(now + REST), Ok(()));
        assert!(!breaker.failed(now + REST));
        assert_eq!(breaker.admit(now + REST), Err(REST));
        assert_eq!(breaker.admit(now + REST + REST), Ok(()));
    }

    #[test]
    fn a_lost_probe_is_replaced() {
        let now = Instant::now();
        let mut breaker = opened(now);
        assert_eq!(breaker.admit(now + REST), Ok(()));
        assert_eq!(breaker.admit(now + REST + PROBE), Ok(()));
        assert_eq!(breaker.admit(now + REST + PROBE), Err(PROBE));
    }

    #[test]
    fn stragglers_neither_prolong_the_rest_nor_are_ignored_when_they_bring_good_news() {
        let now = Instant::now();
        let mut breaker = opened(now);
        assert!(!breaker.failed(now + REST - STEP));
        assert_eq!(breaker.admit(now + REST), Ok(()));
        let mut breaker = opened(now);
        assert!(breaker.succeeded());
        assert_eq!(breaker.admit(now), Ok(()));
    }
}
