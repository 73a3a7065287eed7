//! An error that carries its own verdict: what the consumer loop shall do with the message.

use std::time::Duration;

/// Why a message was not handled, and what follows from it.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// It may work later. The loop chooses the delay, but not less than `after` when the other side asked for one.
    #[error("to be tried again: {reason:#}")]
    Retry {
        /// The least delay, where the other side named one (for instance `Retry-After`).
        after: Option<Duration>,
        /// What went wrong.
        reason: anyhow::Error,
    },
    /// A definite no: recorded, acknowledged, and no error.
    #[error("refused: {0}")]
    Refused(String),
    /// The message can't be understood; repeating would not help, so it is parked.
    #[error("malformed: {0:#}")]
    Malformed(anyhow::Error),
}

impl Failure {
    /// Something that may work later.
    pub fn retry(reason: impl Into<anyhow::Error>) -> Self {
        Self::Retry { after: None, reason: reason.into() }
    }

    /// Something that the other side wants repeated only after a while.
    pub fn retry_after(after: Duration, reason: impl Into<anyhow::Error>) -> Self {
        Self::Retry { after: Some(after), reason: reason.into() }
    }

    /// Something that can't be understood.
    pub fn malformed(reason: impl Into<anyhow::Error>) -> Self {
        Self::Malformed(reason.into())
    }
}

/// Whatever the database says no to may be a passing state; what is not ends as a dead letter, with the message.
impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self::retry(anyhow::Error::new(error).context("database"))
    }
}
