//! When a recharge or a refund must be looked at next. Pure: the times are stored with what they are about, so that they
//! survive restarts.

use std::time::Duration;

use common::clock::Timestamp;

use crate::saga::State;

/// The first look at a charge of which nobody has heard: messages that come again have had their chance by then.
const PENDING_FIRST: Duration = Duration::from_secs(30);
/// The first look at a payment that Stripe is processing, or that waits for the customer.
const WAITING_FIRST: Duration = Duration::from_secs(20);
/// The longest pause between two looks at what Stripe may decide at any time.
const WAITING_LONGEST: Duration = Duration::from_secs(600);
/// The pause between two looks at a recharge that is overdue all the same: an operator wants it held, or the last look
/// did not come to its end.
const HELD: Duration = Duration::from_secs(60);
/// The longest pause between two tries of a refund that is refused, in first pauses: an hour of minutes.
const REFUSED_LONGEST: u32 = 60;
/// The longest pause between two looks at a refund of which nobody knows, in first pauses.
const UNKNOWN_LONGEST: u32 = 10;
/// The longest first look at such a refund.
const UNKNOWN_FIRST: Duration = Duration::from_secs(5);

/// How long each step may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// `CREDIT_DEADLINE`: from the capture until the ledger has booked it.
    pub credit: Duration,
    /// `SYNC_DEADLINE`: from the booking until the quota is in force.
    pub sync: Duration,
    /// `CONFIRM_DEADLINE`: how long the customer may confirm at the bank.
    pub confirm: Duration,
    /// `REFUND_RETRY`: the first pause after a refund that was refused; it doubles up to sixty times that.
    pub refund_retry: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            credit: Duration::from_secs(600),
            sync: Duration::from_secs(900),
            confirm: Duration::from_secs(24 * 3600),
            refund_retry: Duration::from_secs(60),
        }
    }
}

/// The times of a recharge that matter for the next look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Times {
    /// Until when the ledger may credit it.
    pub credit_by: Option<Timestamp>,
    /// Until when the quota must be in force.
    pub sync_by: Option<Timestamp>,
    /// Until when the customer may confirm.
    pub confirm_by: Option<Timestamp>,
    /// How often it was looked at.
    pub looks: u32,
}

impl Deadlines {
    /// `credit_by` of a charge that was captured at `captured`.
    #[must_use]
    pub fn credit_by(&self, captured: Timestamp) -> Timestamp {
        after(captured, self.credit)
    }

    /// `sync_by` of a credit that became known at `now`. The syncer keeps the deadline itself and says `quotas.failed`; this
    /// is the net under it, a little later.
    #[must_use]
    pub fn sync_by(&self, now: Timestamp) -> Timestamp {
        after(now, self.sync + (self.sync / 4).min(Duration::from_secs(60)))
    }

    /// `confirm_by` of a payment that the bank wanted confirmed at `now`.
    #[must_use]
    pub fn confirm_by(&self, now: Timestamp) -> Timestamp {
        after(now, self.confirm)
    }

    /// When a refund that was refused so often is tried again.
    #[must_use]
    pub fn refund_again(&self, refusals: u32, now: Timestamp) -> Timestamp {
        after(now, growing(self.refund_retry, refusals.saturating_sub(1), self.refund_retry * REFUSED_LONGEST))
    }

    /// When a refund of whose fate nobody knows, or that is pending, is looked at again.
    #[must_use]
    pub fn refund_look(&self, tries: u32, now: Timestamp) -> Timestamp {
        after(now, growing(self.refund_retry.min(UNKNOWN_FIRST), tries, self.refund_retry * UNKNOWN_LONGEST))
    }
}

/// When a recharge must be looked at next; none when it has ended, or when its refunds are what is looked at.
#[must_use]
pub fn next_look(state: State, times: &Times, now: Timestamp) -> Option<Timestamp> {
    match state {
        State::Pending => Some(after(now, growing(PENDING_FIRST, times.looks, WAITING_LONGEST))),
        State::Processing => Some(after(now, growing(WAITING_FIRST, times.looks, WAITING_LONGEST))),
        State::ActionRequired => {
            let look = after(now, growing(WAITING_FIRST, times.looks, WAITING_LONGEST));
            Some(times.confirm_by.map_or(look, |until| until.min(look).max(now)))
        }
        State::Charged => Some(times.credit_by.filter(|until| *until > now).unwrap_or_else(|| after(now, HELD))),
        State::Credited => Some(times.sync_by.filter(|until| *until > now).unwrap_or_else(|| after(now, HELD))),
        State::Settled | State::Declined | State::Failed | State::Refunding | State::Refunded | State::Returning => {
            None
        }
    }
}

fn growing(first: Duration, times: u32, longest: Duration) -> Duration {
    first.saturating_mul(1 << times.min(16)).min(longest.max(first))
}

fn after(time: Timestamp, wait: Duration) -> Timestamp {
    chrono::Duration::from_std(wait).ok().and_then(|wait| time.checked_add_signed(wait)).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_timestamp(1_800_000_000 + seconds, 0).unwrap_or_default()
    }

    #[test]
    fn each_state_is_looked_at_when_it_is_due() {
        let times = Times { credit_by: Some(at(600)), sync_by: Some(at(900)), confirm_by: Some(at(15)), looks: 0 };
        for (state, now, want) in [
            (State::Pending, 0, Some(30)),
            (State::Processing, 0, Some(20)),
            (State::ActionRequired, 0, Some(15)),
            (State::ActionRequired, 40, Some(40)),
            (State::Charged, 0, Some(600)),
            (State::Charged, 700, Some(760)),
            (State::Credited, 0, Some(900)),
            // Overdue, and still credited: an operator wants it held.
            (State::Credited, 900, Some(960)),
            (State::Settled, 0, None),
            (State::Refunding, 0, None),
        ] {
            assert_eq!(next_look(state, &times, at(now)), want.map(at), "{state:?} at {now}");
        }
        let often = Times { looks: 40, ..times };
        assert_eq!(next_look(State::Pending, &often, at(0)), Some(at(600)));
        for state in State::ALL {
            let waits = state.in_flight() && state != State::Refunding;
            assert_eq!(next_look(state, &times, at(0)).is_some(), waits, "{state:?}");
        }
    }

    #[test]
    fn a_refused_refund_is_tried_again_slowly_and_for_ever() {
        let deadlines = Deadlines::default();
        for (refusals, want) in [(1, 60), (2, 120), (3, 240), (7, 3600), (1_000, 3600)] {
            assert_eq!(deadlines.refund_again(refusals, at(0)), at(want), "{refusals}");
        }
    }
}
