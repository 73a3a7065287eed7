//! Against forms of other sites: a request that changes something comes from a page of ours, and carries what only a page of
//! the same session knows. Pure.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use uuid::Uuid;
use warp::http::StatusCode;

use crate::http::{Problem, Request};

/// What stands in for a session where nobody signs in: drawn at the start of the process.
#[derive(Clone)]
pub(crate) struct Key([u8; 32]);

impl Key {
    pub(crate) fn of([one, two]: [Uuid; 2]) -> Self {
        let mut key = [0; 32];
        key[..16].copy_from_slice(one.as_bytes());
        key[16..].copy_from_slice(two.as_bytes());
        Self(key)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// What every form of a session carries.
#[derive(Clone)]
pub(crate) struct Csrf(String);

impl Csrf {
    /// Derived from the session's secret, so that nothing more has to be stored.
    pub(crate) fn of(secret: &[u8]) -> Self {
        // HMAC takes keys of any length.
        let mac = Hmac::<Sha256>::new_from_slice(secret).map(|mac| mac.chain_update(b"console form").finalize());
        Self(mac.map(|mac| hex::encode(mac.into_bytes())).unwrap_or_default())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a form has it.
    pub(crate) fn fits(&self, given: &str) -> bool {
        !self.0.is_empty() && bool::from(self.0.as_bytes().ct_eq(given.as_bytes()))
    }
}

/// Browsers say where a request comes from. One that comes from elsewhere is refused, whatever it carries.
pub(crate) fn same_origin(request: &Request, public_url: &str) -> Result<(), Problem> {
    let elsewhere = || Problem::new(StatusCode::FORBIDDEN, "other_origin", "The form is not from this site");
    match request.header("sec-fetch-site") {
        Some("same-origin") => return Ok(()),
        Some(_) => return Err(elsewhere()),
        None => {}
    }
    let Some(origin) = request.header("origin") else { return Ok(()) };
    let of_host = request.header("host").is_some_and(|host| {
        ["http://", "https://"].iter().any(|scheme| origin.strip_prefix(scheme).is_some_and(|origin| origin == host))
    });
    let ours = of_host || public_url.strip_prefix(origin).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    if ours { Ok(()) } else { Err(elsewhere()) }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use warp::http::{HeaderMap, HeaderName, HeaderValue, Method};

    use super::*;

    fn from(headers: &[(&'static str, &'static str)]) -> bool {
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        let request = Request::internal(Method::POST, "/console/x", "", headers, Bytes::new());
        same_origin(&request, "https://bill.example/base").is_ok()
    }

    #[test]
    fn where_a_form_may_come_from() {
        assert!(from(&[]));
        assert!(from(&[("sec-fetch-site", "same-origin"), ("origin", "https://elsewhere.example")]));
        for site in ["cross-site", "same-site", "none"] {
            assert!(!from(&[("sec-fetch-site", site)]), "{site}");
        }
        assert!(from(&[("origin", "https://bill.example")]));
        assert!(from(&[("origin", "http://127.0.0.1:3000"), ("host", "127.0.0.1:3000")]));
        for origin in ["https://bill.example.evil", "https://bill.exampl", "null", "http://bill.example"] {
            assert!(!from(&[("origin", origin), ("host", "bill.example.com")]), "{origin}");
        }
    }

    #[test]
    fn a_form_belongs_to_its_session() {
        let (one, other) = (Csrf::of(b"one"), Csrf::of(b"other"));
        assert!(one.fits(one.as_str()) && !one.fits(other.as_str()) && !one.fits(""));
        assert_eq!(one.as_str().len(), 64);
    }
}
