//! Whether a webhook is from Stripe. Pure: a header, raw bytes and the time in, a verdict out.
//! Source: <https://docs.stripe.com/webhooks#verify-manually>

use common::clock::Timestamp;
use common::config::Secret;

use super::signature::{SIGNATURES, TOLERANCE_SECONDS, WrongSignature, matches};

/// The header: `t=<seconds since 1970>,v1=<hex>[,v1=<hex>…]`; other schemes (`v0`) prove nothing and are skipped.
pub const HEADER: &str = "stripe-signature";

/// Every secret of the endpoint that is valid at the moment: several while it is rolled.
#[derive(Clone)]
pub struct StripeKeys(Vec<Secret>);

impl StripeKeys {
    /// Reads a comma-separated list. Each secret is used as it is written, `whsec_` included, as Stripe does.
    #[must_use]
    pub fn parse(list: &Secret) -> Self {
        let texts = list.expose().split(',').map(str::trim).filter(|text| !text.is_empty());
        Self(texts.map(Secret::new).collect())
    }

    /// Whether there is no secret at all: then nothing can be verified.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Checks a webhook: the HMAC over time and raw bytes, with any of the secrets, in constant time.
    ///
    /// # Errors
    /// Why it is not verified.
    pub fn verify(&self, header: Option<&[u8]>, body: &[u8], now: Timestamp) -> Result<(), WrongSignature> {
        let header = std::str::from_utf8(header.ok_or(WrongSignature::Absent)?);
        let pairs = header.map_err(|_| WrongSignature::Malformed)?.split(',').filter_map(|part| part.split_once('='));
        let pairs: Vec<(&str, &str)> = pairs.map(|(name, value)| (name.trim(), value.trim())).collect();
        let timestamp = pairs.iter().find(|(name, _)| *name == "t").ok_or(WrongSignature::Malformed)?.1;
        let sent: i64 = timestamp.parse().map_err(|_| WrongSignature::Malformed)?;
        let tags: Vec<[u8; 32]> = pairs
            .iter()
            .filter(|(name, _)| *name == "v1")
            .filter_map(|(_, value)| tag(value))
            .take(SIGNATURES)
            .collect();
        if tags.is_empty() {
            return Err(WrongSignature::Malformed);
        }
        let signed: [&[u8]; 3] = [timestamp.as_bytes(), b".", body];
        let known =
            tags.iter().any(|tag| self.0.iter().any(|secret| matches(secret.expose().as_bytes(), &signed, tag)));
        if !known {
            return Err(WrongSignature::Mismatch);
        }
        // Last: only who has the secret learns that its clock is wrong.
        if sent.abs_diff(now.timestamp()) > TOLERANCE_SECONDS.unsigned_abs() {
            return Err(WrongSignature::Stale);
        }
        Ok(())
    }
}

fn tag(text: &str) -> Option<[u8; 32]> {
    let mut tag = [0_u8; 32];
    hex::decode_to_slice(text, &mut tag).ok().map(|()| tag)
}

#[cfg(test)]
mod tests {
    use hmac::{Hmac, KeyInit, Mac};
    use proptest::prelude::*;
    use sha2::Sha256;

    use super::*;

    const BODY: &[u8] = br#"{"id":"evt_1"}"#;
    const NOW: i64 = 1_753_000_000;

    fn sign(secret: &str, at: i64, body: &[u8]) -> String {
        let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
        hex::encode(mac.chain_update(format!("{at}.")).chain_update(body).finalize().into_bytes())
    }

    fn check(list: &str, header: &[u8], want: Result<(), WrongSignature>) {
        let now = Timestamp::from_timestamp(NOW, 0).unwrap();
        let got = StripeKeys::parse(&Secret::new(list)).verify(Some(header), BODY, now);
        assert_eq!(got, want, "{:?} with {list}", String::from_utf8_lossy(header));
    }

    #[test]
    fn who_has_a_secret_is_heard() {
        let good = sign("whsec_one", NOW, BODY);
        // Judged by another implementation: printf '1753000000.{"id":"evt_1"}' | openssl dgst -sha256 -hmac whsec_one
        assert_eq!(good, "41e6701d497481d50b9b6b2c28e3cb1ac82ff9f59a25458f7d01b24a510e3c76");
        let header = format!("t={NOW},v1={good}");
        check("whsec_one", header.as_bytes(), Ok(()));
        for rotated in ["whsec_two,whsec_one", "whsec_one, whsec_two", ",whsec_one,"] {
            check(rotated, header.as_bytes(), Ok(()));
        }
        let other = sign("whsec_two", NOW, BODY);
        for form in [
            format!("t={NOW},v1={other},v1={good}"),
            format!("v1={good},t={NOW}"),
            format!("t={NOW}, v1={good} , v0={other}"),
            format!("t={NOW},v1=zz,v1={},x", good.to_uppercase()),
        ] {
            check("whsec_one", form.as_bytes(), Ok(()));
        }
    }

    #[test]
    fn everything_else_is_wrong() {
        let good = sign("whsec_one", NOW, BODY);
        let mismatch = Err(WrongSignature::Mismatch);
        let malformed = Err(WrongSignature::Malformed);
        check("", format!("t={NOW},v1={good}").as_bytes(), mismatch);
        check("whsec_two", format!("t={NOW},v1={good}").as_bytes(), mismatch);
        check("whsec_one", format!("t={},v1={good}", NOW + 1).as_bytes(), mismatch);
        check("whsec_one", format!("t={NOW},v1={}", sign("whsec_one", NOW, b"{}")).as_bytes(), mismatch);
        // Written another way, the time is another text: it was not what was signed.
        check("whsec_one", format!("t=+{NOW},v1={good}").as_bytes(), mismatch);
        check("whsec_one", format!("t={NOW},v0={good}").as_bytes(), malformed);
        for bad in [
            "",
            "t=",
            "t=x,v1=",
            "v1=",
            "t=1",
            "t=99999999999999999999,v1=00",
            "sha256=",
            "t=1,v1=é",
            "t=1753000000,v1=ab",
        ] {
            check("whsec_one", bad.as_bytes(), malformed);
        }
        check("whsec_one", &[0xff; 40], malformed);
        let now = Timestamp::from_timestamp(NOW, 0).unwrap();
        let keys = StripeKeys::parse(&Secret::new("whsec_one"));
        assert_eq!(keys.verify(None, BODY, now), Err(WrongSignature::Absent));
    }

    #[test]
    fn five_minutes_either_way() {
        for (off, want) in [
            (300, Ok(())),
            (-300, Ok(())),
            (301, Err(WrongSignature::Stale)),
            (-301, Err(WrongSignature::Stale)),
            (-1_000_000_000, Err(WrongSignature::Stale)),
        ] {
            let at = NOW + off;
            check("whsec_one", format!("t={at},v1={}", sign("whsec_one", at, BODY)).as_bytes(), want);
        }
        let far = i64::MIN;
        let header = format!("t={far},v1={}", sign("whsec_one", far, BODY));
        check("whsec_one", header.as_bytes(), Err(WrongSignature::Stale));
    }

    proptest! {
        #[test]
        fn nothing_panics_and_nothing_unsigned_is_taken(
            text in "(t=-?[0-9]{0,20}|v1=[0-9a-f]{0,70}|,|=|\\PC){0,12}",
            bytes in proptest::collection::vec(any::<u8>(), 0..80),
        ) {
            let keys = StripeKeys::parse(&Secret::new("whsec_one"));
            let now = Timestamp::from_timestamp(NOW, 0).unwrap();
            prop_assert!(keys.verify(Some(text.as_bytes()), BODY, now).is_err());
            prop_assert!(keys.verify(Some(&bytes), BODY, now).is_err());
        }
    }
}
