//! Time as an argument. Nothing else in the workspace reads the system clock (see `clippy.toml`).

use std::sync::{Arc, Mutex, PoisonError};

use chrono::SubsecRound;

/// A moment in UTC.
pub type Timestamp = chrono::DateTime<chrono::Utc>;

/// Where a service gets the time from.
pub trait Clock: Send + Sync + 'static {
    /// The present moment, in whole microseconds: what PostgreSQL keeps. Finer, an event that is built before its row is stored
    /// would differ from the same event built from the row.
    fn now(&self) -> Timestamp;
}

/// The clock that services are started with.
pub type SharedClock = Arc<dyn Clock>;

/// The operating system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl SystemClock {
    /// The system clock, ready to hand to a service.
    #[must_use]
    pub fn shared() -> SharedClock {
        Arc::new(Self)
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the system clock")]
    fn now(&self) -> Timestamp {
        chrono::Utc::now().trunc_subsecs(6)
    }
}

/// A clock that stands still until a test moves it.
#[derive(Debug, Clone)]
pub struct ManualClock(Arc<Mutex<Timestamp>>);

impl ManualClock {
    /// A clock that shows `start`.
    #[must_use]
    pub fn new(start: Timestamp) -> Self {
        Self(Arc::new(Mutex::new(start)))
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: chrono::Duration) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) += by;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
