//! Dead letters as people see them, and what was done about them.

mod leader;
mod preview;
pub(crate) mod repo;
pub(crate) mod view;

use common::clock::Timestamp;
use common::dead_letters::DeadLetter;

pub(crate) use leader::Leader;
pub(crate) use preview::grouped;

/// What can be done about a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Brought back to the service that gave up.
    Redriven,
    /// Thrown away.
    Discarded,
}

impl Action {
    /// The word that is stored.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Redriven => "redriven",
            Self::Discarded => "discarded",
        }
    }

    /// The audit log's word.
    pub(crate) const fn audited(self) -> &'static str {
        match self {
            Self::Redriven => "dead_letter.redriven",
            Self::Discarded => "dead_letter.discarded",
        }
    }

    /// The action that a stored word names.
    pub(crate) fn parse(word: &str) -> Option<Self> {
        [Self::Redriven, Self::Discarded].into_iter().find(|action| action.as_str() == word)
    }
}

/// What somebody began to do about a letter, with the letter as it was.
#[derive(Debug, Clone)]
pub(crate) struct Taken {
    pub(crate) letter: DeadLetter,
    pub(crate) action: Action,
    pub(crate) actor: String,
    pub(crate) note: Option<String>,
    pub(crate) at: Timestamp,
    /// None: it was not finished, because somebody crashed, or is at it this moment.
    pub(crate) done_at: Option<Timestamp>,
}
