//! What PostgreSQL stores of a password (SCRAM-SHA-256, RFC 5802 and 7677). Made here, so that the password itself is in
//! no statement, and so in no log of the server's.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

/// As many as PostgreSQL itself makes.
const ITERATIONS: u32 = 4096;

/// The verifier of a password that is plain ASCII: other ones would have to be normalized first.
pub(super) fn verifier(password: &str, salt: &[u8]) -> String {
    let first = hmac(password.as_bytes(), &[salt, &1_u32.to_be_bytes()]);
    let (mut salted, mut last) = (first, first);
    for _ in 1..ITERATIONS {
        last = hmac(password.as_bytes(), &[&last]);
        for (sum, byte) in salted.iter_mut().zip(last) {
            *sum ^= byte;
        }
    }
    let stored = Sha256::digest(hmac(&salted, &[b"Client Key"]));
    let server = hmac(&salted, &[b"Server Key"]);
    let [salt, stored, server] = [salt, &stored, &server].map(|bytes| STANDARD.encode(bytes));
    format!("SCRAM-SHA-256${ITERATIONS}:{salt}${stored}:{server}")
}

#[expect(clippy::expect_used, reason = "HMAC takes keys of every length")]
fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The exchange of RFC 7677: what its server key signs is what the server answers there.
    #[test]
    fn the_example_of_the_rfc() {
        let verifier = verifier("pencil", &STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap());
        let (head, server_key) = verifier.rsplit_once(':').unwrap();
        assert!(head.starts_with("SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$"), "{verifier}");
        let nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let said =
            format!("n=user,r=rOprNGfwEbeRWgbNEkqO,r={nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r={nonce}");
        let signature = hmac(&STANDARD.decode(server_key).unwrap(), &[said.as_bytes()]);
        assert_eq!(STANDARD.encode(signature), "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
    }
}
