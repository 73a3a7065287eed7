//! stub
use std::future::Future;
use bytes::Bytes;
use crate::contract::{Event, Outgoing, Payload, kind_of};
use crate::failure::Failure;

/// One delivery of a message.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// The subject it was published on.
    pub subject: String,
    /// The message, byte for byte.
    pub body: Bytes,
    /// The stream it is from.
    pub stream: String,
    /// Its sequence in that stream.
    pub sequence: u64,
    /// How often it was delivered, this time included.
    pub attempt: u32,
    /// Its `Nats-Msg-Id`.
    pub message_id: Option<String>,
    /// Its trace context.
    pub traceparent: Option<String>,
}

impl Delivery {
    /// The subject without the organization, such as `recharges.charged`.
    #[must_use]
    pub fn kind(&self) -> &str {
        kind_of(&self.subject)
    }

    /// The event that it carries.
    ///
    /// # Errors
    /// [`Failure::Malformed`] when it is another.
    pub fn decode<T: Payload>(&self) -> Result<Event<T>, Failure> {
        Event::decode(&self.body)
    }
}

/// What a service does with a message.
pub trait Handler: Send + Sync + 'static {
    /// Handles one message: commits its effects and returns what follows. It is called again with the same message
    /// after any crash, so both must come out the same: effects are keyed by the message, follow-ups by their cause.
    fn handle(&self, delivery: &Delivery) -> impl Future<Output = Result<Vec<Outgoing>, Failure>> + Send;
}

/// Runs the loop for every consumer of the service until the shutdown.
///
/// # Errors
/// When the definitions can't be read.
pub async fn run<H: Handler>(_parts: &crate::service::Parts, _handler: H, _shutdown: crate::shutdown::Shutdown) -> anyhow::Result<()> {
    Ok(())
}
