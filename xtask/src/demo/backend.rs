//! Where the demo's quotas are enforced.

use std::ffi::OsString;
use std::fmt;

use anyhow::{Result, bail, ensure};

use crate::args;

/// The variable with LiteLLM's master key.
pub const KEY_VARIABLE: &str = "LITELLM_MASTER_KEY";

/// Where quotas are enforced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Backend {
    /// In the KMS, played by its simulator.
    Kms,
    /// In LiteLLM, played by its simulator.
    Litellm,
    /// In a LiteLLM that somebody else has started.
    Proxy(Proxy),
}

/// A LiteLLM that somebody else has started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    /// Its address, without a slash at the end.
    pub url: String,
    /// Its master key.
    pub key: Key,
}

/// A key that is not printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(String);

impl Key {
    /// Hides a key.
    pub fn new(key: impl Into<String>) -> Self {
        Self(key.into())
    }

    /// The key itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<key>")
    }
}

/// What the arguments say of it.
#[derive(Default)]
pub(super) struct Chosen {
    name: Option<String>,
    url: Option<String>,
    key: Option<String>,
}

impl Chosen {
    pub(super) fn note(&mut self, argument: &str, value: String) {
        let place = match argument {
            "--litellm-url" => &mut self.url,
            "--litellm-key" => &mut self.key,
            _ => &mut self.name,
        };
        *place = Some(value);
    }

    /// The backend; `key` is the environment's.
    pub(super) fn backend(self, key: Option<String>) -> Result<Backend> {
        let Some(url) = self.url else {
            ensure!(self.key.is_none(), "--litellm-key is the key of the LiteLLM at --litellm-url, which is not given");
            return match self.name.as_deref() {
                None | Some("kms") => Ok(Backend::Kms),
                Some("litellm") => Ok(Backend::Litellm),
                Some(other) => bail!("there is no backend `{other}`; there are: kms, litellm"),
            };
        };
        if let Some(name) = self.name.filter(|name| name != "litellm") {
            bail!("--litellm-url goes with --backend litellm, not `{name}`");
        }
        let url = url.trim_end_matches('/');
        let host = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
        ensure!(host.is_some_and(|host| !host.is_empty()), "--litellm-url must be http://… or https://…, not `{url}`");
        let Some(key) = self.key.or(key).filter(|key| !key.is_empty()) else {
            bail!("--litellm-url needs LiteLLM's master key: set {KEY_VARIABLE}, or give --litellm-key");
        };
        Ok(Backend::Proxy(Proxy { url: url.to_owned(), key: Key(key) }))
    }
}

/// The arguments without the key: for a process that has it in its environment, where fewer can see it.
#[must_use]
pub fn without_key(given: &[OsString]) -> Vec<OsString> {
    let mut kept = Vec::new();
    let mut rest = given.iter();
    while let Some(arg) = rest.next() {
        match args::split(&arg.to_string_lossy()) {
            ("--litellm-key", Some(_)) => {}
            ("--litellm-key", None) => drop(rest.next()),
            _ => kept.push(arg.clone()),
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backend(arguments: &[(&str, &str)], key: Option<&str>) -> Result<Backend> {
        let mut chosen = Chosen::default();
        for (name, value) in arguments {
            chosen.note(name, (*value).to_owned());
        }
        chosen.backend(key.map(str::to_owned))
    }

    #[test]
    fn which_one() {
        assert_eq!(backend(&[], Some("sk-1")).unwrap(), Backend::Kms);
        assert_eq!(backend(&[("--backend", "litellm")], None).unwrap(), Backend::Litellm);
        let proxy = |key: &str| Backend::Proxy(Proxy { url: "http://litellm:4000".to_owned(), key: Key::new(key) });
        let url = ("--litellm-url", "http://litellm:4000/");
        assert_eq!(backend(&[url], Some("sk-1")).unwrap(), proxy("sk-1"));
        let both = backend(&[("--backend", "litellm"), url, ("--litellm-key", "sk-2")], Some("sk-1")).unwrap();
        assert_eq!(both, proxy("sk-2"));
        assert!(!format!("{both:?}").contains("sk-2"));
    }

    #[test]
    fn mistakes_are_named() {
        for (arguments, named) in [
            (&[("--backend", "paper")][..], "`paper`"),
            (&[("--litellm-key", "sk-1")], "--litellm-url"),
            (&[("--litellm-url", "http://litellm:4000")], "LITELLM_MASTER_KEY"),
            (&[("--litellm-url", "litellm:4000")], "not `litellm:4000`"),
            (&[("--backend", "kms"), ("--litellm-url", "http://litellm")], "not `kms`"),
        ] {
            let error = backend(arguments, None).unwrap_err().to_string();
            assert!(error.contains(named), "{arguments:?}: {error}");
        }
    }

    #[test]
    fn the_key_is_taken_out() {
        let given =
            ["--once", "--litellm-key", "sk-1", "--litellm-url=http://a", "--litellm-key=sk-2"].map(OsString::from);
        assert_eq!(without_key(&given), ["--once", "--litellm-url=http://a"]);
    }
}
