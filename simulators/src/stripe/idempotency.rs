//! Idempotency keys, as Stripe documents them.
//!
//! Kept for a request that began executing: its status and body, 402, 500 and `balance_insufficient` included. Not
//! kept: validation errors (400, 404), 401, 409 and 429. A key is forgotten after 24 hours.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::error::ApiError;
use super::params::Params;
use crate::http::{Reply, lock};

const LIFETIME_SECONDS: i64 = 24 * 60 * 60;
const LONGEST: usize = 255;

/// API key and idempotency key.
type KeyId = (String, String);

#[derive(Debug)]
struct Entry {
    endpoint: String,
    params: Params,
    first_used: i64,
    /// None while the first request is still being played.
    reply: Option<Reply>,
}

/// All keys in use.
#[derive(Debug, Default)]
pub(super) struct Keys {
    entries: Mutex<HashMap<KeyId, Entry>>,
    replays: AtomicU64,
}

/// What is to be done with a request that carries a key.
pub(super) enum Begin {
    /// Play it, and let the ticket keep how it ended.
    Fresh(Ticket),
    /// The stored reply.
    Replay(Reply),
    /// The key may not be used like this.
    Refused(ApiError),
}

/// The right to play the first request of a key.
pub(super) struct Ticket {
    keys: Arc<Keys>,
    id: KeyId,
}

impl Keys {
    pub(super) fn begin(
        self: &Arc<Self>,
        api_key: &str,
        key: &str,
        endpoint: &str,
        params: &Params,
        now: i64,
    ) -> Begin {
        if key.len() > LONGEST {
            let message = format!("The idempotency key is too long: at most {LONGEST} characters.");
            return Begin::Refused(ApiError::invalid("", message));
        }
        let id = (api_key.to_owned(), key.to_owned());
        let mut entries = lock(&self.entries);
        entries.retain(|_, entry| entry.reply.is_none() || now - entry.first_used < LIFETIME_SECONDS);
        if let Some(entry) = entries.get(&id) {
            if entry.endpoint != endpoint {
                return Begin::Refused(ApiError::key_reused(key, Some(&entry.endpoint)));
            }
            if entry.params != *params {
                return Begin::Refused(ApiError::key_reused(key, None));
            }
            let Some(reply) = entry.reply.clone() else {
                return Begin::Refused(ApiError::key_in_use(key));
            };
            self.replays.fetch_add(1, Ordering::SeqCst);
            return Begin::Replay(reply.with("idempotent-replayed", "true"));
        }
        let entry = Entry { endpoint: endpoint.to_owned(), params: params.clone(), first_used: now, reply: None };
        entries.insert(id.clone(), entry);
        Begin::Fresh(Ticket { keys: Arc::clone(self), id })
    }

    /// How many requests were answered from the store.
    pub(super) fn replays(&self) -> u64 {
        self.replays.load(Ordering::SeqCst)
    }
}

impl Ticket {
    /// Keeps the reply of a request that began executing.
    pub(super) fn keep(self, reply: &Reply) {
        let mut entries = lock(&self.keys.entries);
        if let Some(entry) = entries.get_mut(&self.id) {
            entry.reply = Some(reply.clone());
        }
        drop(entries);
    }
}

impl Drop for Ticket {
    /// A request that left no reply leaves no key either.
    fn drop(&mut self) {
        let mut entries = lock(&self.keys.entries);
        if entries.get(&self.id).is_some_and(|entry| entry.reply.is_none()) {
            entries.remove(&self.id);
        }
    }
}
