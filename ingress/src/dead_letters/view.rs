//! Dead letters as the API shows them.

use common::clock::Timestamp;
use common::dead_letters::DeadLetter;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::{Taken, preview};
use crate::api::schemas::{Page, ProblemBody};

/// What is known of a letter beside its body.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "DeadLetterFacts")]
pub(crate) struct Facts {
    /// Its number in the stream of dead letters.
    sequence: u64,
    /// The service that gave up.
    service: String,
    /// The subject of the message.
    subject: String,
    /// Why it gave up, as a stable word: malformed, exhausted and so on.
    reason: String,
    /// What went wrong.
    error: String,
    /// The stream that the message was in.
    stream: String,
    /// Its number there; null: not known.
    stream_sequence: Option<u64>,
    /// How often it was tried; null: not known.
    attempts: Option<u32>,
    /// The message's own id.
    message_id: Option<String>,
    /// Whom it is about, if about one.
    c_organization_id: Option<String>,
    /// When it was given up.
    parked_at: Timestamp,
    /// How long the message is.
    body_bytes: usize,
}

impl Facts {
    fn of(letter: &DeadLetter) -> Self {
        Self {
            sequence: letter.sequence,
            service: letter.service.clone(),
            subject: letter.subject.clone(),
            reason: letter.reason.clone(),
            error: letter.error.clone(),
            stream: letter.stream.clone(),
            stream_sequence: letter.stream_sequence,
            attempts: letter.attempts,
            message_id: letter.message_id.clone(),
            c_organization_id: letter.organization.as_ref().map(|organization| organization.as_str().to_owned()),
            parked_at: letter.parked_at,
            body_bytes: letter.body.len(),
        }
    }
}

/// A letter as the list shows it: what happened, and the beginning of what it happened to.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "DeadLetter")]
pub(crate) struct LetterView {
    #[serde(flatten)]
    facts: Facts,
    /// The message as JSON if it is some and not long, else the beginning of its text.
    preview: Value,
}

impl LetterView {
    pub(crate) fn of(letter: &DeadLetter) -> Self {
        Self { facts: Facts::of(letter), preview: preview::preview(&letter.body) }
    }
}

/// A letter with all of its body, and what was done about it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "DeadLetterInFull")]
pub(crate) struct FullLetterView {
    #[serde(flatten)]
    facts: Facts,
    /// The message as JSON if it is some, else its text.
    body: Value,
    /// What was done about it; null: nothing, or it is not known.
    action: Option<ActionView>,
    /// False: the database is away, and nobody knows what was done.
    action_known: bool,
}

impl FullLetterView {
    /// The letter with what was done about it; `Err` is that nobody knows.
    pub(crate) fn of(letter: &DeadLetter, action: Result<Option<&Taken>, ()>) -> Self {
        Self {
            facts: Facts::of(letter),
            body: preview::body_in_full(&letter.body),
            action: action.ok().flatten().map(ActionView::of),
            action_known: action.is_ok(),
        }
    }
}

/// What somebody did about a letter, or began to do.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "DeadLetterAction")]
pub(crate) struct ActionView {
    #[schemars(extend("enum" = ["redriven", "discarded"]))]
    action: &'static str,
    /// Who.
    actor: String,
    /// Why, as the person says.
    note: Option<String>,
    /// When it was begun.
    at: Timestamp,
    /// When it was done; null: it was not finished, and the same call again finishes it.
    done_at: Option<Timestamp>,
}

impl ActionView {
    pub(crate) fn of(taken: &Taken) -> Self {
        Self {
            action: taken.action.as_str(),
            actor: taken.actor.clone(),
            note: taken.note.clone(),
            at: taken.at,
            done_at: taken.done_at,
        }
    }
}

/// What was done with a letter.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "DeadLetterDone")]
pub(crate) struct DoneView {
    #[schemars(extend("const" = true))]
    success: bool,
    #[schemars(extend("enum" = ["redriven", "discarded"]))]
    action: &'static str,
    /// The letter.
    sequence: u64,
    /// The service that had given up.
    service: String,
    /// The subject of the message.
    subject: String,
    /// Whom it is about, if about one.
    c_organization_id: Option<String>,
    /// Who did it.
    actor: String,
    /// When.
    done_at: Option<Timestamp>,
}

impl DoneView {
    pub(crate) fn of(taken: &Taken) -> Self {
        let letter = &taken.letter;
        Self {
            success: true,
            action: taken.action.as_str(),
            sequence: letter.sequence,
            service: letter.service.clone(),
            subject: letter.subject.clone(),
            c_organization_id: letter.organization.as_ref().map(|organization| organization.as_str().to_owned()),
            actor: taken.actor.clone(),
            done_at: taken.done_at,
        }
    }
}

/// Letters of one cause.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "DeadLetterGroup")]
pub(crate) struct GroupView {
    pub(super) service: String,
    pub(super) reason: String,
    /// What went wrong, without what differs from letter to letter.
    pub(super) error: String,
    pub(super) count: u64,
    pub(super) oldest: Timestamp,
    pub(super) newest: Timestamp,
    /// Which letters these are.
    pub(super) sequences: Vec<u64>,
}

/// A page of groups.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "DeadLetterGroups")]
pub(crate) struct Groups {
    /// The groups, most frequent first.
    pub(crate) grouped: Vec<GroupView>,
    /// How many letters were looked at.
    pub(crate) counted: usize,
    /// What to ask for the next page with; null: there is none.
    pub(crate) next_cursor: Option<String>,
}

/// What a list is.
#[derive(JsonSchema)]
#[schemars(untagged, rename = "DeadLetters")]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) enum Letters {
    Page(Page<LetterView>),
    Groups(Groups),
}

/// What became of several letters.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "DeadLettersRedriven")]
pub(crate) struct Redriven {
    /// Whether all of them were brought back.
    pub(crate) success: bool,
    /// How many were.
    pub(crate) redriven: usize,
    /// What became of each, in the order in which they were named.
    #[schemars(with = "Vec<OneRedriven>")]
    pub(crate) results: Vec<Value>,
}

/// What became of one of several letters.
#[derive(JsonSchema)]
#[schemars(untagged, rename = "DeadLetterRedriven")]
#[expect(dead_code, reason = "only its schema is used")]
enum OneRedriven {
    Done(DoneView),
    Not(NotRedriven),
}

/// Why a letter was not brought back.
#[derive(JsonSchema)]
#[schemars(rename = "DeadLetterNotRedriven")]
#[expect(dead_code, reason = "only its schema is used")]
struct NotRedriven {
    #[schemars(extend("const" = false))]
    success: bool,
    /// The letter.
    sequence: u64,
    /// What a call for this one alone would have been answered with.
    status: u16,
    #[serde(flatten)]
    problem: ProblemBody,
}
