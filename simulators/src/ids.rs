//! Ids that never repeat, not even after a restart on the same database.

use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest, Sha256};

const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

static STARTS: AtomicU64 = AtomicU64::new(0);

/// A source of ids, seeded by the moment the simulator started.
#[derive(Debug)]
pub(crate) struct Ids {
    seed: [u8; 32],
    next: AtomicU64,
}

impl Ids {
    pub(crate) fn new() -> Self {
        let mut hash = Sha256::new();
        hash.update(crate::clock::start_nonce().to_be_bytes());
        hash.update(std::process::id().to_be_bytes());
        hash.update(STARTS.fetch_add(1, Ordering::SeqCst).to_be_bytes());
        Self { seed: hash.finalize().into(), next: AtomicU64::new(0) }
    }

    /// `prefix_` and 24 letters or digits, as Stripe writes ids.
    pub(crate) fn stripe(&self, prefix: &str) -> String {
        format!("{prefix}_{}", base62(&self.bytes(), 24))
    }

    /// A lower-case id in the form of a UUID.
    pub(crate) fn uuid(&self) -> String {
        let hex = hex::encode(self.bytes());
        format!("{}-{}-4{}-a{}-{}", &hex[0..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..32])
    }

    fn bytes(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(self.seed);
        hash.update(self.next.fetch_add(1, Ordering::SeqCst).to_be_bytes());
        hash.finalize().into()
    }
}

/// The first `length` letters that stand for `bytes`.
pub(crate) fn base62(bytes: &[u8], length: usize) -> String {
    bytes
        .iter()
        .take(length)
        .filter_map(|byte| ALPHABET.get(usize::from(*byte) % ALPHABET.len()))
        .map(|letter| char::from(*letter))
        .collect()
}
