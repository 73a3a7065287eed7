//! API tokens: random, shown once, stored as digests. Every replica knows them by heart, so that dead letters and the
//! state of events can be looked at while the database is away; the database says what changed.

pub(crate) mod repo;
mod secret;

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use common::clock::{SharedClock, Timestamp};
use common::health::Health;
use common::telemetry;
use prometheus::Registry;
use sqlx::PgPool;
use subtle::ConstantTimeEq;
use tokio::sync::Mutex;
use uuid::Uuid;

pub(crate) use secret::{Digest, NewToken, digest};

use crate::api::access::Grant;
use crate::follow::Followed;

/// How long the database may take to answer for one unknown token.
const LOOK: Duration = Duration::from_millis(1_500);
/// How exactly the last use is known, in seconds.
const USED: i64 = 60;

/// A token that may be valid.
#[derive(Debug)]
pub(crate) struct Token {
    pub(crate) id: Uuid,
    pub(crate) name: String,
    pub(crate) grant: Grant,
    pub(crate) expires_at: Option<Timestamp>,
    digest: Digest,
    /// The last use that was written down, in seconds since 1970.
    used: AtomicI64,
}

impl Token {
    /// Its owner, for the audit log and for events.
    pub(crate) fn owner(&self) -> String {
        let id = self.id.simple().to_string();
        format!("{}#{}", self.name, &id[..8])
    }

    fn is_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }
}

/// The tokens. Clones share them.
#[derive(Clone)]
pub(crate) struct Tokens {
    pool: PgPool,
    health: Health,
    clock: SharedClock,
    live: Arc<RwLock<HashMap<Digest, Arc<Token>>>>,
    /// Held from reading the database until memory has what was read: what was read before a revocation must not be
    /// remembered after it.
    reading: Arc<Mutex<()>>,
}

/// What is known of a token that somebody showed.
pub(crate) enum Shown {
    Valid(Arc<Token>),
    Wrong,
    /// It is not in memory, and the database can't be asked.
    Undecided,
}

impl Tokens {
    pub(crate) fn new(pool: PgPool, health: Health, clock: SharedClock) -> Self {
        Self { pool, health, clock, live: Arc::default(), reading: Arc::default() }
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<Digest, Arc<Token>>> {
        self.live.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<Digest, Arc<Token>>> {
        self.live.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows among the metrics when the next token ends that somebody uses.
    pub(crate) fn show_in(&self, registry: &Registry) {
        let tokens = self.clone();
        let help = "When the next API token ends that was ever used, in seconds since 1970; 0 when none ends.";
        telemetry::gauge_at_scrape(registry, "bill_api_tokens_next_end_seconds", help, &[], move |gauges| {
            let end = tokens.next_end(tokens.clock.now()).map_or(0, |end| end.timestamp());
            gauges.with_label_values::<&str>(&[]).set(end);
        });
    }

    fn next_end(&self, now: Timestamp) -> Option<Timestamp> {
        let live = self.read();
        let used = live.values().filter(|token| token.used.load(Ordering::Relaxed) > 0 && !token.is_expired(now));
        used.filter_map(|token| token.expires_at).min()
    }

    /// What memory knows of a token.
    pub(crate) fn remembered(&self, given: &Digest, now: Timestamp) -> Option<Arc<Token>> {
        let token = self.read().get(given).cloned()?;
        // The digest was found by hashing it, whose time tells nothing of the token; compared once more, whole.
        let same = bool::from(token.digest.ct_eq(given));
        (same && !token.is_expired(now)).then_some(token)
    }

    /// A token that memory does not know may have been made a moment ago, by another replica.
    pub(crate) async fn look_up(&self, given: &Digest, now: Timestamp) -> Shown {
        if !self.health.is_up("database") {
            return Shown::Undecided;
        }
        let look = async {
            let _reading = self.reading.lock().await;
            let token = repo::by_digest(&self.pool, given).await?.map(Arc::new);
            let token = token.filter(|token| !token.is_expired(now));
            if let Some(token) = &token {
                self.write().insert(*given, token.clone());
            }
            Ok::<_, sqlx::Error>(token)
        };
        match tokio::time::timeout(LOOK, look).await {
            Ok(Ok(Some(token))) => Shown::Valid(token),
            Ok(Ok(None)) => Shown::Wrong,
            Ok(Err(error)) => {
                tracing::warn!(%error, "a token can't be looked up: {error}");
                Shown::Undecided
            }
            Err(_) => Shown::Undecided,
        }
    }

    /// The token with this id, if it is valid: from memory, or from the database if it was made a moment ago.
    pub(crate) async fn by_id(&self, id: Uuid, now: Timestamp) -> sqlx::Result<Option<Arc<Token>>> {
        let known = self.read().values().find(|token| token.id == id).cloned();
        let token = match known {
            Some(token) => Some(token),
            None => repo::by_id(&self.pool, id).await?.map(Arc::new),
        };
        Ok(token.filter(|token| !token.is_expired(now)))
    }

    /// Notes that a token was used, now and then; nobody waits for it.
    pub(crate) fn used(&self, token: &Token, now: Timestamp) {
        let seconds = now.timestamp();
        let before = token.used.load(Ordering::Relaxed);
        let due = seconds.saturating_sub(before) >= USED && self.health.is_up("database");
        if due && token.used.compare_exchange(before, seconds, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            let (pool, id) = (self.pool.clone(), token.id);
            tokio::spawn(async move {
                if let Err(error) = repo::used(&pool, id, now).await {
                    tracing::debug!(%error, "the last use of a token was not written down: {error}");
                }
            });
        }
    }

    /// Reads one token again: after this replica changed it, or another said so.
    pub(crate) async fn refresh_one(&self, id: Uuid) -> sqlx::Result<()> {
        let _reading = self.reading.lock().await;
        let token = repo::by_id(&self.pool, id).await?;
        let mut live = self.write();
        live.retain(|_, known| known.id != id);
        if let Some(token) = token {
            live.insert(token.digest, Arc::new(token));
        }
        Ok(())
    }
}

impl Followed for Tokens {
    const CHANNEL: &'static str = "api_token_changed";

    async fn reload(&self) -> sqlx::Result<()> {
        let _reading = self.reading.lock().await;
        let tokens = repo::all(&self.pool, self.clock.now()).await?;
        *self.write() = tokens.into_iter().map(|token| (token.digest, Arc::new(token))).collect();
        Ok(())
    }

    async fn refresh(&self, id: &str) -> sqlx::Result<bool> {
        let Ok(id) = id.parse() else { return Ok(false) };
        self.refresh_one(id).await.map(|()| true)
    }
}
