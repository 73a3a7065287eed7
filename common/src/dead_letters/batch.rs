//! Many messages of a stream with one question. The client asks for each by itself, which takes a way there and back for
//! each; the broker can answer with one after the other (a batched direct get, from 2.11 on).

use std::time::Duration;

use async_nats::jetstream::message::StreamMessage;
use async_nats::{Message, StatusCode};
use futures_util::StreamExt;
use serde::Serialize;

use super::DeadLettersError;
use crate::broker::Broker;
use crate::contract::streams;

/// How long the broker may take for each message.
const PATIENCE: Duration = Duration::from_secs(3);
/// Its answer when it has sent all that it will send.
const END_OF_BATCH: u16 = 204;

/// What is asked.
#[derive(Serialize)]
struct Question<'a> {
    seq: u64,
    next_by_subj: &'a str,
    batch: usize,
}

/// The dead letters from this sequence on, in their order: at least one if there is one, and at most so many. The broker sends
/// fewer than there are when they are large.
pub(super) async fn from(
    broker: &Broker,
    sequence: u64,
    subject: &str,
    most: usize,
) -> Result<Vec<StreamMessage>, DeadLettersError> {
    let question = Question { seq: sequence, next_by_subj: subject, batch: most };
    let question = serde_json::to_vec(&question).map_err(|error| DeadLettersError::Refused(error.to_string()))?;
    let client = broker.client();
    let inbox = client.new_inbox();
    let mut answers = client.subscribe(inbox.clone()).await.map_err(away)?;
    let asked = format!("$JS.API.DIRECT.GET.{}", streams::DEAD_LETTERS);
    client.publish_with_reply(asked, inbox, question.into()).await.map_err(away)?;
    let mut messages = Vec::new();
    loop {
        let answer = tokio::time::timeout(PATIENCE, answers.next()).await.map_err(away)?;
        let answer = answer.ok_or_else(|| away("the connection was closed"))?;
        match read(answer)? {
            Some(message) => messages.push(message),
            None => return Ok(messages),
        }
    }
}

/// A message of the batch; `None`: there are no more.
fn read(answer: Message) -> Result<Option<StreamMessage>, DeadLettersError> {
    match answer.status {
        None => StreamMessage::try_from(answer).map(Some).map_err(away),
        Some(status) if status == StatusCode::NOT_FOUND || status.as_u16() == END_OF_BATCH => Ok(None),
        // Nobody answers for the stream: it does not exist, or has no leader at the moment.
        Some(StatusCode::NO_RESPONDERS) => Err(away("nobody answers for the stream")),
        Some(status) => {
            let why = answer.description.unwrap_or_default();
            Err(DeadLettersError::Refused(format!("unable to get messages: {status} {why}")))
        }
    }
}

fn away(error: impl std::fmt::Display) -> DeadLettersError {
    DeadLettersError::Away(error.to_string())
}
