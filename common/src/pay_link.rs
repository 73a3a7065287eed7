//! The one-time link on which a customer confirms a charge at the bank: `<PUBLIC_URL>/pay/<token>`. The token is derived
//! from the recharge, so that a repeat of the event that carries it is the same to the byte and nothing has to be stored;
//! nobody without the secret can make one. What the link still does, and until when, is decided by the recharge's state.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use uuid::Uuid;

use crate::config::{Reader, Secret};
use crate::ids::RechargeId;

/// What is signed starts with this, so that no other use of the same secret can be taken for a link.
const PURPOSE: &[u8] = b"bill-service/pay/v1/";
/// A recharge's id in hex.
const ID_LENGTH: usize = 32;

/// Makes and checks links.
#[derive(Clone)]
pub struct PayLinks {
    secret: Secret,
    public_url: String,
}

/// Reads `PAY_LINK_SECRET`, which ingress and recharger share. Customers follow the links from anywhere, so it is a real
/// one on every address.
pub fn read_secret(reader: &mut Reader<'_>) -> Secret {
    let hint =
        "what confirmation links are signed with, at least 16 random characters, the same for ingress and recharger";
    reader.strong_secrets("PAY_LINK_SECRET", hint)
}

impl PayLinks {
    /// Links below `public_url` that are signed with `secret` (`PAY_LINK_SECRET`, the same for ingress and recharger).
    #[must_use]
    pub fn new(secret: Secret, public_url: &str) -> Self {
        Self { secret, public_url: public_url.trim_end_matches('/').to_owned() }
    }

    /// The token of a recharge: its id and a code over it, in hex.
    #[must_use]
    pub fn token(&self, recharge: RechargeId) -> String {
        let code = self.mac(recharge).map(|mac| hex::encode(mac.finalize().into_bytes())).unwrap_or_default();
        format!("{}{code}", recharge.0.simple())
    }

    /// The link of a recharge.
    #[must_use]
    pub fn url(&self, recharge: RechargeId) -> String {
        format!("{}/pay/{}", self.public_url, self.token(recharge))
    }

    /// The recharge that a token is for; none when it was not made with the secret. Compared in constant time.
    #[must_use]
    pub fn verify(&self, token: &str) -> Option<RechargeId> {
        let (id, code) = token.is_ascii().then(|| token.split_at_checked(ID_LENGTH))??;
        let recharge = RechargeId(Uuid::try_parse(id).ok()?);
        let code = hex::decode(code).ok()?;
        self.mac(recharge)?.verify_slice(&code).is_ok().then_some(recharge)
    }

    fn mac(&self, recharge: RechargeId) -> Option<Hmac<Sha256>> {
        let mac = Hmac::<Sha256>::new_from_slice(self.secret.expose().as_bytes()).ok()?;
        Some(mac.chain_update(PURPOSE).chain_update(recharge.0.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn links(secret: &str) -> PayLinks {
        PayLinks::new(Secret::new(secret), "https://bill.example/")
    }

    #[test]
    fn a_token_is_for_one_recharge_and_one_secret() {
        let id = RechargeId(Uuid::from_u128(7));
        let token = links("one").token(id);
        assert_eq!(links("one").verify(&token), Some(id));
        assert_eq!(links("two").verify(&token), None);
        let other = links("one").token(RechargeId(Uuid::from_u128(8)));
        let mixed = format!("{}{}", &token[..ID_LENGTH], &other[ID_LENGTH..]);
        assert_eq!(links("one").verify(&mixed), None);
        assert_eq!(links("one").verify(&token[..token.len() - 2]), None);
        assert_eq!(links("one").url(id), format!("https://bill.example/pay/{token}"));
    }

    proptest! {
        #[test]
        fn no_text_panics_or_is_taken(text in "\\PC{0,120}") {
            prop_assert_eq!(links("one").verify(&text), None);
        }
    }
}
