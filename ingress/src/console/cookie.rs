//! Cookies. Pure.

use warp::http::HeaderMap;
use warp::http::header::COOKIE;

/// A cookie that is to be set. It is sent with requests to the console only, is of no use to scripts, and comes along when
/// somebody follows a link to the console, but not with a form of another site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cookie {
    pub(crate) name: &'static str,
    /// Letters, digits and `-_.` only.
    pub(crate) value: String,
    /// For so many seconds; 0 takes it away.
    pub(crate) seconds: i64,
}

impl Cookie {
    /// As the header has it. `secure`: browsers send it over TLS only.
    pub(crate) fn header(&self, secure: bool) -> String {
        let Self { name, value, seconds } = self;
        let secure = if secure { "; Secure" } else { "" };
        format!("{name}={value}; Path=/console; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}")
    }
}

/// A cookie's value. Where there are several, the first is the one with the longest path: ours.
pub(crate) fn find<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let lines = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(have, _)| *have == name).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use warp::http::HeaderValue;

    use super::*;

    #[test]
    fn cookies_are_found_by_their_whole_name() {
        let mut headers = HeaderMap::new();
        headers.append(COOKIE, HeaderValue::from_static("xa=1; a=2; b=\"3\"; a=4"));
        headers.append(COOKIE, HeaderValue::from_static("c=5"));
        assert_eq!((find(&headers, "a"), find(&headers, "c"), find(&headers, "d")), (Some("2"), Some("5"), None));
    }

    #[test]
    fn what_browsers_are_told() {
        let cookie = Cookie { name: "n", value: "v".to_owned(), seconds: 60 };
        assert_eq!(cookie.header(true), "n=v; Path=/console; Max-Age=60; HttpOnly; SameSite=Lax; Secure");
        assert!(!cookie.header(false).contains("Secure"));
    }
}
