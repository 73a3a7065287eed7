//! The simulators' time: the machine's, plus what a test advanced it by.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use chrono::{DateTime, SecondsFormat, Utc};

/// A clock which a test may put forward.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    advanced: AtomicI64,
}

impl Clock {
    /// Seconds since the epoch.
    pub(crate) fn now(&self) -> i64 {
        machine_time().timestamp().saturating_add(self.advanced_by())
    }

    /// The machine's own time: what a receiver compares a signature's timestamp with.
    pub(crate) fn machine_now() -> i64 {
        machine_time().timestamp()
    }

    /// The simulated instant, as RFC 3339.
    pub(crate) fn rfc3339(&self) -> String {
        DateTime::<Utc>::from_timestamp(self.now(), 0).unwrap_or_default().to_rfc3339_opts(SecondsFormat::Secs, true)
    }

    /// The current day, `YYYY-MM-DD`.
    pub(crate) fn day(&self) -> String {
        self.rfc3339().chars().take(10).collect()
    }

    /// Puts the clock forward (a negative number puts it back).
    pub(crate) fn advance(&self, seconds: i64) {
        self.advanced.fetch_add(seconds, Ordering::SeqCst);
    }

    /// How far it has been put forward altogether.
    pub(crate) fn advanced_by(&self) -> i64 {
        self.advanced.load(Ordering::SeqCst)
    }
}

/// A number which differs from one start of a simulator to the next.
pub(crate) fn start_nonce() -> u128 {
    machine_time_since_epoch()
}

#[expect(clippy::disallowed_methods, reason = "the one place where the simulators ask the machine for the time")]
fn machine_time_since_epoch() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).map(|since| since.as_nanos()).unwrap_or_default()
}

fn machine_time() -> DateTime<Utc> {
    let nanos = i64::try_from(machine_time_since_epoch()).unwrap_or(i64::MAX);
    DateTime::from_timestamp_nanos(nanos)
}
