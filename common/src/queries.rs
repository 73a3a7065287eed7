//! Asking and answering over the broker: core NATS request and reply, for questions whose answer changes nothing
//! ([`crate::contract::Query`]). Nothing is stored; what is not answered in time is asked again by whoever still wants to
//! know.

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use async_nats::client::RequestErrorKind;
use async_nats::{Client, Message, Request};
use futures_util::{FutureExt, StreamExt};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use crate::broker::Broker;
use crate::contract::{Query, organization_of};
use crate::ids::OrganizationId;
use crate::shutdown::Shutdown;

/// So many questions are worked on at once, in each process: messages come first.
const AT_ONCE: usize = 2;
/// So many may be worked on or wait; more are told at once that it is too much.
const IN_LINE: usize = 64;
/// Until when an answer must be there, the waiting included. Whoever asks waits a little longer ([`PATIENCE`]).
const LIMIT: Duration = Duration::from_secs(4);
/// How long to wait for an answer where nothing speaks for another time.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// The code of a question that nobody can answer as it was asked.
pub const INVALID: &str = "invalid_request";

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// There is no connection to the broker.
    #[error("the broker is not connected")]
    NotConnected,
    /// Nobody is there who answers such questions: the service that does is down, or waits for its database.
    #[error("nobody is there to answer")]
    NoResponder,
    /// Somebody is there, and did not answer in time.
    #[error("there was no answer in time")]
    TimedOut,
    /// A definite no.
    #[error("{message}")]
    Refused {
        /// A stable word, such as `unknown_organization`.
        code: String,
        /// A sentence for people.
        message: String,
    },
    /// It could not be answered, and may be later; or the answer could not be read.
    #[error("{0}")]
    Failed(String),
}

/// Why a question is not answered, as the answering side says.
#[derive(Debug, thiserror::Error)]
pub enum NoAnswer {
    /// A definite no, which the asker is told.
    #[error("{message}")]
    Refused {
        /// A stable word, such as `unknown_organization`.
        code: &'static str,
        /// A sentence for people.
        message: String,
    },
    /// Something went wrong. It is logged; the asker is told only that.
    #[error("{0:#}")]
    Failed(anyhow::Error),
}

impl NoAnswer {
    /// A definite no.
    pub fn refused(code: &'static str, message: impl Into<String>) -> Self {
        Self::Refused { code, message: message.into() }
    }
}

impl From<sqlx::Error> for NoAnswer {
    fn from(error: sqlx::Error) -> Self {
        Self::Failed(anyhow::Error::new(error).context("database"))
    }
}

/// Who answers questions of one kind.
pub trait Answerer<Q: Query>: Send + Sync + 'static {
    /// Answers, and changes nothing.
    ///
    /// # Errors
    /// When it can't be answered.
    fn answer(
        &self,
        organization: &OrganizationId,
        query: Q,
    ) -> impl Future<Output = Result<Q::Answer, NoAnswer>> + Send;
}

/// What travels back.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Reply<A> {
    Answer(A),
    Refused { code: String, message: String },
    Failed { message: String },
}

impl<A> Reply<A> {
    fn failed(message: impl Into<String>) -> Self {
        Self::Failed { message: message.into() }
    }
}

/// Asks, and waits so long for the answer ([`PATIENCE`], usually).
///
/// # Errors
/// When there is none.
pub async fn ask<Q: Query>(
    broker: &Broker,
    organization: &OrganizationId,
    query: &Q,
    patience: Duration,
) -> Result<Q::Answer, AskError> {
    if !broker.is_connected() {
        return Err(AskError::NotConnected);
    }
    let body = serde_json::to_vec(query).map_err(|error| AskError::Failed(error.to_string()))?;
    let request = Request::new().payload(body.into()).timeout(Some(patience));
    let message =
        broker.client().send_request(Q::subject(organization), request).await.map_err(|error| match error.kind() {
            RequestErrorKind::NoResponders => AskError::NoResponder,
            RequestErrorKind::TimedOut => AskError::TimedOut,
            _ => AskError::Failed(error.to_string()),
        })?;
    match serde_json::from_slice(&message.payload) {
        Ok(Reply::Answer(answer)) => Ok(answer),
        Ok(Reply::Refused { code, message }) => Err(AskError::Refused { code, message }),
        Ok(Reply::Failed { message }) => Err(AskError::Failed(message)),
        Err(error) => Err(AskError::Failed(format!("the answer can't be understood: {error}"))),
    }
}

/// Answers until the shutdown; what is being answered then is finished. Replicas of a service share the questions.
/// Whatever goes wrong with one is told to its asker, and the next is answered all the same. The last answers are on their
/// way once the caller closes the connection ([`Broker::close`]).
pub async fn serve<Q: Query>(broker: Broker, service: &'static str, answerer: impl Answerer<Q>, shutdown: Shutdown) {
    let client = broker.client();
    let mut questions = match client.queue_subscribe(format!("{}.*", Q::KIND), service.to_owned()).await {
        Ok(questions) => questions,
        Err(error) => return tracing::error!(%error, "{service} can't answer {}: {error}", Q::KIND),
    };
    let answerer = Arc::new(answerer);
    let permits = Arc::new(Semaphore::new(AT_ONCE));
    let tasks = TaskTracker::new();
    loop {
        let message = tokio::select! {
            message = questions.next() => message,
            () = shutdown.wait() => break,
        };
        let Some(message) = message else { break };
        if tasks.len() >= IN_LINE {
            reply(client, &message, &Reply::<Q::Answer>::failed("too many questions at once")).await;
            continue;
        }
        let (client, answerer, permits) = (client.clone(), answerer.clone(), permits.clone());
        tasks.spawn(async move {
            let said = in_time(&message, &*answerer, &permits).await;
            reply(&client, &message, &said).await;
        });
    }
    drop(questions.unsubscribe().await);
    tasks.close();
    tasks.wait().await;
}

/// Answers when it is its turn, or says that it took too long.
async fn in_time<Q: Query>(message: &Message, answerer: &impl Answerer<Q>, permits: &Semaphore) -> Reply<Q::Answer> {
    let turn = async {
        let _permit = permits.acquire().await;
        AssertUnwindSafe(answer(message, answerer)).catch_unwind().await
    };
    match tokio::time::timeout(LIMIT, turn).await {
        Ok(Ok(Ok(answer))) => Reply::Answer(answer),
        Ok(Ok(Err(NoAnswer::Refused { code, message }))) => Reply::Refused { code: code.to_owned(), message },
        Ok(Ok(Err(NoAnswer::Failed(error)))) => {
            tracing::warn!(subject = %message.subject, "{} could not be answered: {error:#}", message.subject);
            Reply::failed("it could not be answered")
        }
        Ok(Err(panic)) => {
            tracing::error!(subject = %message.subject, "answering {} panicked: {}", message.subject, text_of(&*panic));
            Reply::failed("it could not be answered")
        }
        Err(_) => {
            tracing::warn!(subject = %message.subject, "{} could not be answered within {LIMIT:?}", message.subject);
            Reply::failed("it could not be answered in time")
        }
    }
}

async fn answer<Q: Query>(message: &Message, answerer: &impl Answerer<Q>) -> Result<Q::Answer, NoAnswer> {
    let Some(organization) = organization_of(&message.subject) else {
        return Err(NoAnswer::refused(INVALID, "the subject names no organization"));
    };
    let query = serde_json::from_slice(&message.payload)
        .map_err(|error| NoAnswer::refused(INVALID, format!("the question can't be understood: {error}")))?;
    answerer.answer(&organization, query).await
}

/// Sends the one message that the asker gets.
async fn reply<A: Serialize>(client: &Client, message: &Message, said: &Reply<A>) {
    // Whoever waits for no answer gets none.
    let Some(inbox) = message.reply.clone() else { return };
    let sent = match serde_json::to_vec(said) {
        Ok(body) => client.publish(inbox, body.into()).await.map_err(anyhow::Error::from),
        Err(error) => Err(error.into()),
    };
    if let Err(error) = sent {
        tracing::warn!(subject = %message.subject, "the answer to {} could not be sent: {error:#}", message.subject);
    }
}

fn text_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
