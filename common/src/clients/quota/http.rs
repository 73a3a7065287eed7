//! The HTTP client under the backends.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use reqwest::{Client, Url, redirect};

use crate::clients::inside;

/// Connections that are kept for the next call.
const IDLE_CONNECTIONS: usize = 16;
/// Shorter than what servers and proxies usually allow, so that they seldom close one that we are about to use.
const IDLE_FOR: Duration = Duration::from_secs(30);

/// The address of a backend: http or https, with a host, kept without a slash at its end.
#[derive(Clone, PartialEq, Eq)]
pub struct BaseUrl(String);

impl BaseUrl {
    /// The address of a path below it.
    #[must_use]
    pub fn at(&self, path: &str) -> String {
        format!("{}{path}", self.0)
    }

    /// Whether it is on this machine.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        let host = Url::parse(&self.0).ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default();
        let address: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
        host == "localhost" || address.is_some_and(|address| address.is_loopback())
    }

    /// Whether it has a user or a password in it.
    #[must_use]
    pub fn has_login(&self) -> bool {
        Url::parse(&self.0).is_ok_and(|url| !url.username().is_empty() || url.password().is_some())
    }

    fn is_plain(&self) -> bool {
        self.0.starts_with("http://")
    }
}

impl fmt::Debug for BaseUrl {
    /// Without a user and password, if it has them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.rsplit_once('@').map_or(&self.0, |(_, host)| host))
    }
}

impl FromStr for BaseUrl {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wanted = "use http://host:port or https://host";
        let url = Url::parse(text).map_err(|error| format!("{error}; {wanted}"))?;
        if !matches!(url.scheme(), "http" | "https")
            || !url.has_host()
            || url.query().is_some()
            || url.fragment().is_some()
        {
            return Err(wanted.to_owned());
        }
        Ok(Self(url.as_str().trim_end_matches('/').to_owned()))
    }
}

/// A pooled client for one backend.
///
/// # Errors
/// When TLS is wanted and the system has no certificate authorities.
pub(super) fn client(base: &BaseUrl, connect: Duration, request: Duration) -> anyhow::Result<Client> {
    inside(base.is_plain())
        .connect_timeout(connect)
        .timeout(request)
        .pool_max_idle_per_host(IDLE_CONNECTIONS)
        .pool_idle_timeout(IDLE_FOR)
        // Some servers redirect between `/organizations` and `/organizations/`.
        .redirect(redirect::Policy::limited(3))
        .user_agent("bill-service")
        .build()
        .map_err(|error| anyhow::Error::new(error).context("can't prepare HTTP calls (are CA certificates installed?)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (text, want) in [
            ("http://localhost:8089", "http://localhost:8089/health"),
            ("http://localhost:8089/", "http://localhost:8089/health"),
            ("https://kms.example/api/", "https://kms.example/api/health"),
        ] {
            assert_eq!(text.parse::<BaseUrl>().unwrap().at("/health"), want);
        }
        for bad in ["", "localhost:8089", "ftp://kms", "http://", "http://kms/?a=1", "http://kms/#a"] {
            assert!(bad.parse::<BaseUrl>().is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_on_this_machine() {
        for (text, want) in [
            ("http://localhost:4000", true),
            ("http://127.0.0.1", true),
            ("http://127.9.9.9:1", true),
            ("http://[::1]:4000/v1", true),
            ("http://localhost.example", false),
            ("https://10.0.0.1", false),
            ("http://user:localhost@litellm", false),
        ] {
            assert_eq!(text.parse::<BaseUrl>().unwrap().is_loopback(), want, "{text}");
        }
    }

    #[test]
    fn a_password_is_not_printed() {
        let url: BaseUrl = "http://user:hunter2@kms:8089".parse().unwrap();
        assert_eq!(format!("{url:?}"), "kms:8089");
        for (text, want) in [("http://kms:8089/@", false), ("http://u@kms", true), ("http://:p@kms", true)] {
            assert_eq!(text.parse::<BaseUrl>().unwrap().has_login(), want, "{text}");
        }
    }
}
