//! What can keep a push or a look from its end.

use std::fmt;
use std::time::Duration;

use common::clients::quota::BackendError;
use common::failure::Failure;

/// Why it did not come to its end. What the backend does is told from what is ours, because only the former counts
/// towards a deadline: while our own database is away, no fact could be stored.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The backend could not do it, or did not want to.
    Backend {
        /// What it said.
        reason: String,
        /// How long to leave it alone, where that is known.
        after: Option<Duration>,
        /// Why.
        why: Why,
    },
    /// Something of ours, with its verdict.
    Ours(Failure),
}

/// Why a backend did not do something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// It was not there, or not able to.
    Unavailable,
    /// It was there, and said no, or does not come to an end.
    Refused,
    /// It would do it, but a person has to decide something first. Until then it is no use to try again.
    Undecided,
}

impl Trouble {
    /// The backend is there, and it does not come to an end with it.
    pub(crate) fn backend(reason: impl Into<String>) -> Self {
        Self::Backend { reason: reason.into(), after: None, why: Why::Refused }
    }

    /// A person has to decide something first. The reason begins with a word for it, and says what to do.
    pub(crate) fn undecided(reason: impl Into<String>) -> Self {
        Self::Backend { reason: reason.into(), after: None, why: Why::Undecided }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Backend { reason, .. } => f.write_str(reason),
            Self::Ours(failure) => write!(f, "{failure:#}"),
        }
    }
}

impl From<BackendError> for Trouble {
    fn from(error: BackendError) -> Self {
        let reason = error.to_string();
        match error {
            BackendError::Unavailable { after, .. } => Self::Backend { reason, after, why: Why::Unavailable },
            BackendError::Refused { .. } => Self::Backend { reason, after: None, why: Why::Refused },
        }
    }
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self::Ours(failure)
    }
}

impl From<sqlx::Error> for Trouble {
    fn from(error: sqlx::Error) -> Self {
        Self::Ours(error.into())
    }
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Backend { reason, after, .. } => Self::Retry { after, reason: anyhow::Error::msg(reason) },
            Trouble::Ours(failure) => failure,
        }
    }
}
