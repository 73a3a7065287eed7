//! Dead letters as people see them, and what was done about them.

mod leader;
mod preview;
pub(crate) mod repo;

use common::clock::Timestamp;
use common::dead_letters::DeadLetter;
use common::ids::OrganizationId;
use serde_json::{Value, json};

pub(crate) use leader::Leader;
pub(crate) use preview::{body_in_full, grouped};

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

impl Taken {
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "action": self.action.as_str(),
            "actor": self.actor,
            "note": self.note,
            "at": self.at,
            "done_at": self.done_at,
        })
    }
}

/// A letter as the list shows it: what happened, and the beginning of what it happened to.
pub(crate) fn to_json(letter: &DeadLetter) -> Value {
    let mut json = facts(letter);
    json["preview"] = preview::preview(&letter.body);
    json
}

/// A letter with all of its body.
pub(crate) fn to_full_json(letter: &DeadLetter) -> Value {
    let mut json = facts(letter);
    json["body"] = body_in_full(&letter.body);
    json
}

fn facts(letter: &DeadLetter) -> Value {
    json!({
        "sequence": letter.sequence,
        "service": letter.service,
        "subject": letter.subject,
        "reason": letter.reason,
        "error": letter.error,
        "stream": letter.stream,
        "stream_sequence": letter.stream_sequence,
        "attempts": letter.attempts,
        "message_id": letter.message_id,
        "c_organization_id": letter.organization.as_ref().map(OrganizationId::as_str),
        "parked_at": letter.parked_at,
        "body_bytes": letter.body.len(),
    })
}
