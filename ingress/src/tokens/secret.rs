//! What a token looks like. Pure.

use common::config::Secret;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

/// What a token starts with, so that people and programs that look for leaked secrets know one when they see it.
const PREFIX: &str = "bill_";

/// The SHA-256 of a token.
pub(crate) type Digest = [u8; 32];

/// The digest of what somebody showed as a token.
pub(crate) fn digest(token: &[u8]) -> Digest {
    Sha256::digest(token).into()
}

/// A token that was just made: the only moment at which it is known.
pub(crate) struct NewToken {
    pub(crate) secret: Secret,
    pub(crate) digest: Digest,
}

impl NewToken {
    /// A token that two random identifiers make: 244 random bits.
    pub(crate) fn of([one, two]: [Uuid; 2]) -> Self {
        let secret = format!("{PREFIX}{}{}", one.simple(), two.simple());
        let digest = digest(secret.as_bytes());
        Self { secret: Secret::new(secret), digest }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_known_by_its_digest() {
        let token = NewToken::of([Uuid::from_u128(7), Uuid::from_u128(8)]);
        assert_eq!(token.secret.expose().len(), PREFIX.len() + 64);
        assert_eq!(digest(token.secret.expose().as_bytes()), token.digest);
        assert_ne!(NewToken::of([Uuid::from_u128(7), Uuid::from_u128(9)]).digest, token.digest);
    }
}
