//! Published by every service: what could not be handled, with what is needed to bring it back.

use sha2::{Digest, Sha256};

/// The subject that a dead letter is parked on.
#[must_use]
pub fn dead_letter_subject(service: &str, original: &str) -> String {
    format!("dead.{service}.{original}")
}

/// The `Nats-Msg-Id` of a dead letter: the same however often, and by whom, the message is parked. With a hash of the body,
/// because a stream that was made anew counts from 1 again.
#[must_use]
pub fn dead_letter_id(service: &str, stream: &str, sequence: u64, body: &[u8]) -> String {
    let hash = hex::encode(Sha256::digest(body));
    format!("dead:{service}:{stream}:{sequence}:{}", &hash[..16])
}

/// The headers of a dead letter. Its body is the original body, byte for byte, and so is its trace context.
pub struct DeadLetterHeaders;

impl DeadLetterHeaders {
    /// A stable word: `malformed`, `exhausted` or `max_deliveries`.
    pub const REASON: &'static str = "Bill-Reason";
    /// The error with its causes.
    pub const ERROR: &'static str = "Bill-Error";
    /// The stream it came from.
    pub const STREAM: &'static str = "Bill-Stream";
    /// The consumer that gave up.
    pub const CONSUMER: &'static str = "Bill-Consumer";
    /// Its sequence in that stream.
    pub const SEQUENCE: &'static str = "Bill-Sequence";
    /// How often it was delivered.
    pub const ATTEMPTS: &'static str = "Bill-Attempts";
    /// The subject it had.
    pub const SUBJECT: &'static str = "Bill-Subject";
    /// The `Nats-Msg-Id` it had. A message that is brought back has it, too: its own id is the redrive's.
    pub const MESSAGE_ID: &'static str = "Bill-Msg-Id";
}
