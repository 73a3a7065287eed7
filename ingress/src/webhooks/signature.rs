//! Whether a webhook is from who it should be from. Pure: headers, raw bytes and the time in, a verdict out.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use common::clock::Timestamp;
use common::config::Secret;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use warp::http::HeaderMap;

/// The header of the plain form: `sha256=<hex>` or `<hex>`.
pub const PLAIN: &str = "x-webhook-signature";
/// The three headers of the Standard Webhooks form. Source: <https://www.standardwebhooks.com>
pub const STANDARD_ID: &str = "webhook-id";
/// When it was sent, in seconds since 1970.
pub const STANDARD_TIMESTAMP: &str = "webhook-timestamp";
/// `v1,<base64>`, several with a space between them.
pub const STANDARD_SIGNATURE: &str = "webhook-signature";

/// How far a Standard Webhooks timestamp may be from our clock, either way: what the standard's own libraries allow.
pub(super) const TOLERANCE_SECONDS: i64 = 300;
/// How many signatures of one header are tried: more are nobody's rotation, but work for us.
pub(super) const SIGNATURES: usize = 8;

/// A webhook that is signed by somebody who has the secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The sender's id for it, where the signature covers one (Standard Webhooks).
    pub id: Option<String>,
}

/// Why a signature is wrong; for the log. The sender is told only that it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WrongSignature {
    /// There is none.
    #[error("no signature")]
    Absent,
    /// Not 32 bytes of hex, not a number, not text.
    #[error("not in the form of a signature")]
    Malformed,
    /// Somebody without the secret, or other bytes than were signed.
    #[error("does not match the body")]
    Mismatch,
    /// Too old, or from the future: somebody repeats what they overheard, or a clock is wrong.
    #[error("its timestamp is more than five minutes away from our clock")]
    Stale,
}

/// One shared secret, as a key for each form.
#[derive(Clone)]
struct Key {
    plain: Vec<u8>,
    standard: Vec<u8>,
}

/// Every secret that is valid at the moment: several during a rotation.
#[derive(Clone)]
pub struct Keys(Vec<Key>);

impl Keys {
    /// Reads a comma-separated list. A secret `whsec_<base64>` stands for its decoded bytes in the Standard Webhooks
    /// form, as that standard has it; any other is used as it is written.
    #[must_use]
    pub fn parse(list: &Secret) -> Self {
        let key = |text: &str| {
            let decoded = text.strip_prefix("whsec_").and_then(decode_base64).filter(|bytes| !bytes.is_empty());
            Key { plain: text.as_bytes().to_vec(), standard: decoded.unwrap_or_else(|| text.as_bytes().to_vec()) }
        };
        Self(list.expose().split(',').map(str::trim).filter(|text| !text.is_empty()).map(key).collect())
    }

    /// Checks a webhook. Either form may carry it; where both are there, one that is right is enough.
    ///
    /// # Errors
    /// Why it is not verified.
    pub fn verify(&self, headers: &HeaderMap, body: &[u8], now: Timestamp) -> Result<Verified, WrongSignature> {
        let plain = headers.get(PLAIN);
        let standard = headers.get(STANDARD_SIGNATURE);
        let tried = match (standard, plain) {
            (None, None) => return Err(WrongSignature::Absent),
            (Some(_), _) => self.verify_standard(headers, body, now),
            (None, Some(_)) => Err(WrongSignature::Absent),
        };
        match (tried, plain) {
            (Err(_), Some(signature)) => self.verify_plain(signature.as_bytes(), body),
            (tried, _) => tried,
        }
    }

    /// The plain form: the HMAC over the raw bytes.
    ///
    /// # Errors
    /// Why it is not verified.
    pub fn verify_plain(&self, signature: &[u8], body: &[u8]) -> Result<Verified, WrongSignature> {
        let hex = signature.strip_prefix(b"sha256=").unwrap_or(signature);
        let mut tag = [0_u8; 32];
        hex::decode_to_slice(hex, &mut tag).map_err(|_| WrongSignature::Malformed)?;
        let known = self.0.iter().any(|key| matches(&key.plain, &[body], &tag));
        known.then_some(Verified { id: None }).ok_or(WrongSignature::Mismatch)
    }

    fn verify_standard(&self, headers: &HeaderMap, body: &[u8], now: Timestamp) -> Result<Verified, WrongSignature> {
        let text = |name: &str| headers.get(name).map(|value| value.to_str().map_err(|_| WrongSignature::Malformed));
        let (Some(id), Some(timestamp), Some(signatures)) =
            (text(STANDARD_ID), text(STANDARD_TIMESTAMP), text(STANDARD_SIGNATURE))
        else {
            return Err(WrongSignature::Absent);
        };
        let (id, timestamp, signatures) = (id?, timestamp?, signatures?);
        let sent: i64 = timestamp.parse().map_err(|_| WrongSignature::Malformed)?;
        if sent.abs_diff(now.timestamp()) > TOLERANCE_SECONDS.unsigned_abs() {
            return Err(WrongSignature::Stale);
        }
        let signed: [&[u8]; 5] = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body];
        let known = signatures
            .split(' ')
            .filter_map(|signature| decode_base64(signature.strip_prefix("v1,")?))
            .filter(|tag| tag.len() == 32)
            .take(SIGNATURES)
            .any(|tag| self.0.iter().any(|key| matches(&key.standard, &signed, &tag)));
        known.then(|| Verified { id: Some(id.to_owned()) }).ok_or(WrongSignature::Mismatch)
    }
}

fn decode_base64(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).or_else(|_| STANDARD_NO_PAD.decode(text)).ok()
}

/// Whether `tag` is the HMAC-SHA256 of the parts; compared in constant time.
pub(super) fn matches(key: &[u8], parts: &[&[u8]], tag: &[u8]) -> bool {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return false };
    for part in parts {
        mac.update(part);
    }
    mac.verify_slice(tag).is_ok()
}

/// The plain form's header value for a body: what a sender writes.
#[must_use]
pub fn sign_plain(secret: &[u8], body: &[u8]) -> String {
    // HMAC takes a key of any length; without one there is nothing to sign with.
    Hmac::<Sha256>::new_from_slice(secret).map_or_else(
        |_| String::new(),
        |mac| format!("sha256={}", hex::encode(mac.chain_update(body).finalize().into_bytes())),
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use warp::http::HeaderValue;

    use super::*;

    const BODY: &[u8] = br#"{"event_type":"limit_exceeded"}"#;

    fn keys(list: &str) -> Keys {
        Keys::parse(&Secret::new(list))
    }

    fn now() -> Timestamp {
        Timestamp::from_timestamp(1_753_000_000, 0).unwrap()
    }

    fn headers(pairs: &[(&'static str, &[u8])]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_bytes(value).unwrap())).collect()
    }

    fn check_plain(list: &str, value: &[u8], want: Result<(), WrongSignature>) {
        let got = keys(list).verify(&headers(&[(PLAIN, value)]), BODY, now()).map(drop);
        assert_eq!(got, want, "{:?} with {list}", String::from_utf8_lossy(value));
    }

    #[test]
    fn the_plain_form() {
        let good = sign_plain(b"test_secret", BODY);
        // Judged by another implementation: printf '%s' "$BODY" | openssl dgst -sha256 -hmac test_secret
        assert_eq!(good, "sha256=349d6216fb24b42d8ae4c949c2f9ef44be1aae03a5cee0102329427e5234c6ab");
        let hex = good.strip_prefix("sha256=").unwrap();
        check_plain("test_secret", good.as_bytes(), Ok(()));
        check_plain("test_secret", hex.as_bytes(), Ok(()));
        check_plain("test_secret", hex.to_uppercase().as_bytes(), Ok(()));
        check_plain("test_secret", format!("sha256={}", hex.to_uppercase()).as_bytes(), Ok(()));
        check_plain("other", good.as_bytes(), Err(WrongSignature::Mismatch));
        for rotated in ["new_secret,test_secret", "test_secret, new_secret", ",test_secret,"] {
            check_plain(rotated, good.as_bytes(), Ok(()));
        }
        check_plain(",", good.as_bytes(), Err(WrongSignature::Mismatch));
    }

    #[test]
    fn what_is_not_32_bytes_of_hex_is_a_wrong_signature() {
        let good = sign_plain(b"s", BODY);
        let hex = good.strip_prefix("sha256=").unwrap();
        let too_long = format!("{hex}00");
        for bad in [
            b"".as_slice(),
            b"sha256=",
            b"sha256",
            b"SHA256=",
            &hex.as_bytes()[..62],
            &hex.as_bytes()[..63],
            too_long.as_bytes(),
            &[b'g'; 64],
            &[b'z'; 31],
            "ünïcode".as_bytes(),
            &[0xff; 64],
            format!("sha1={hex}").as_bytes(),
            format!(" {hex}x").as_bytes(),
        ] {
            check_plain("s", bad, Err(WrongSignature::Malformed));
        }
        assert_eq!(keys("s").verify(&HeaderMap::new(), BODY, now()), Err(WrongSignature::Absent));
    }

    fn standard(key: &[u8], id: &str, timestamp: i64) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
        mac.update(format!("{id}.{timestamp}.").as_bytes());
        mac.update(BODY);
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }

    fn check_standard(list: &str, timestamp: &str, signature: &str, want: Result<(), WrongSignature>) {
        let headers = headers(&[
            (STANDARD_ID, b"msg_1"),
            (STANDARD_TIMESTAMP, timestamp.as_bytes()),
            (STANDARD_SIGNATURE, signature.as_bytes()),
        ]);
        let got = keys(list).verify(&headers, BODY, now());
        if let Ok(verified) = &got {
            assert_eq!(verified.id.as_deref(), Some("msg_1"));
        }
        assert_eq!(got.map(drop), want, "{signature} at {timestamp} with {list}");
    }

    #[test]
    fn the_standard_webhooks_form() {
        let at = now().timestamp();
        let encoded = format!("whsec_{}", STANDARD.encode(b"sixteen bytes ok"));
        let good = standard(b"sixteen bytes ok", "msg_1", at);
        check_standard(&encoded, &at.to_string(), &good, Ok(()));
        check_standard(&format!("other,{encoded}"), &at.to_string(), &good, Ok(()));
        check_standard(&encoded, &at.to_string(), &format!("v1a,xxxx v1,AAAA {good}"), Ok(()));
        check_standard("raw text", &at.to_string(), &standard(b"raw text", "msg_1", at), Ok(()));
        check_standard("raw text", &at.to_string(), &good, Err(WrongSignature::Mismatch));
        check_standard(&encoded, &at.to_string(), "v1,", Err(WrongSignature::Mismatch));
        check_standard(&encoded, &at.to_string(), &good.replace("v1,", "v2,"), Err(WrongSignature::Mismatch));
        check_standard(&encoded, "soon", &good, Err(WrongSignature::Malformed));
        for (away, want) in
            [(300, Ok(())), (-300, Ok(())), (301, Err(WrongSignature::Stale)), (-301, Err(WrongSignature::Stale))]
        {
            let signature = standard(b"raw text", "msg_1", at + away);
            check_standard("raw text", &(at + away).to_string(), &signature, want);
        }
        for extreme in [i64::MIN, i64::MAX] {
            check_standard("raw text", &extreme.to_string(), &good, Err(WrongSignature::Stale));
        }
    }

    #[test]
    fn either_form_is_enough() {
        let plain = sign_plain(b"s", BODY);
        let with = |plain: &str, standard: &[u8]| {
            let headers = headers(&[(PLAIN, plain.as_bytes()), (STANDARD_ID, b"m"), (STANDARD_SIGNATURE, standard)]);
            keys("s").verify(&headers, BODY, now())
        };
        // An id that no signature covers is not the event's id: anybody could have written it.
        assert_eq!(with(&plain, b"v1,AAAA"), Ok(Verified { id: None }));
        assert_eq!(with("sha256=00", b"v1,AAAA"), Err(WrongSignature::Malformed));
    }

    proptest! {
        #[test]
        fn nothing_panics_and_nothing_random_is_right(
            value in proptest::collection::vec(32_u8..=255, 0..90),
            id in proptest::collection::vec(32_u8..=126, 0..20),
            timestamp in "[-+0-9a-z]{0,22}",
            body in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let value: Vec<u8> = value.into_iter().filter(|byte| *byte != 127).collect();
            let all = headers(&[
                (PLAIN, &value),
                (STANDARD_ID, &id),
                (STANDARD_TIMESTAMP, timestamp.as_bytes()),
                (STANDARD_SIGNATURE, &value),
            ]);
            prop_assert!(keys("a,whsec_!,whsec_").verify(&all, &body, now()).is_err());
        }

        #[test]
        fn what_was_signed_is_right_and_one_other_bit_is_wrong(
            body in proptest::collection::vec(any::<u8>(), 1..200), bit in 0_usize..8, at in any::<prop::sample::Index>(),
        ) {
            let signature = sign_plain(b"secret", &body);
            prop_assert!(keys("secret").verify_plain(signature.as_bytes(), &body).is_ok());
            let mut other = body.clone();
            other[at.index(body.len())] ^= 1 << bit;
            prop_assert_eq!(keys("secret").verify_plain(signature.as_bytes(), &other), Err(WrongSignature::Mismatch));
        }
    }
}
