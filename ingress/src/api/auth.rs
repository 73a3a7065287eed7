//! Who may call.

use common::config::Secret;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::config::items;
use crate::http::{Problem, Request};

/// The operators' tokens, as digests; or nobody is asked.
pub(crate) struct Auth(Option<Vec<[u8; 32]>>);

/// Who called, for the audit log and for `requested_by`.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) name: String,
    pub(crate) request_id: String,
}

impl Auth {
    /// `None`: `API_AUTH=off`.
    pub(crate) fn new(tokens: Option<&Secret>) -> Self {
        Self(tokens.map(|list| items(list).map(|token| Sha256::digest(token).into()).collect()))
    }

    /// The caller of a request.
    pub(crate) fn caller(&self, request: &Request, request_id: &str) -> Result<Caller, Problem> {
        let name = match &self.0 {
            None => "anonymous".to_owned(),
            Some(known) => named(known, request.bearer()).ok_or_else(Problem::unauthorized)?,
        };
        Ok(Caller { name, request_id: request_id.to_owned() })
    }
}

/// The name of a token's owner: the beginning of the token's digest, which tells nobody the token.
fn named(known: &[[u8; 32]], token: Option<&[u8]>) -> Option<String> {
    let given: [u8; 32] = Sha256::digest(token?).into();
    // Every one is compared, so that the time does not tell which of them was nearly right.
    let found = known.iter().filter(|digest| bool::from(digest.ct_eq(&given))).count();
    (found > 0).then(|| format!("operator:{}", hex::encode(&given[..4])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_token_is_right() {
        let Auth(Some(known)) = Auth::new(Some(&Secret::new("token-one-0123456789, token-two-0123456789"))) else {
            panic!()
        };
        let name = |token: &str| named(&known, Some(token.as_bytes()));
        assert!(name("token-one-0123456789").is_some_and(|name| name.starts_with("operator:") && name.len() == 17));
        assert!(name("token-two-0123456789").is_some());
        assert_eq!((name(""), name("token-one-012345678"), named(&known, None)), (None, None, None));
    }
}
