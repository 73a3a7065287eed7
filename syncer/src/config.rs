//! What the syncer is told.

use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use common::clients::quota::BaseUrl;
use common::clients::quota::kms::KmsConfig;
use common::clients::quota::litellm::LitellmConfig;
use common::config::{Base, ConfigError, Env, Reader, SHORTEST_SECRET, Secret};

/// The longest `KMS_TIMEOUT` and `LITELLM_TIMEOUT`: a call is made while a row of the database is locked.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest span that any of the others may be: more is a slip of the pen.
const LONGEST_SPAN: Duration = Duration::from_secs(7 * 86_400);

/// The syncer's configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// What every service is told.
    pub base: Base,
    /// `LISTEN`, or `BIND` and `PORT`: where health and metrics are served. 127.0.0.1:9104 by default.
    pub listen: SocketAddr,
    /// `QUOTA_BACKEND`: where quotas are enforced, `kms` or `litellm`. `kms` by default.
    pub quota_backend: Backend,
    /// How long to go on, and how often to look.
    pub policy: Policy,
}

/// How long to go on, how often to look, and what to do about what is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// `SYNC_DEADLINE`: how long after the ledger said it a quota may be pushed. 15 minutes by default.
    pub sync_deadline: Duration,
    /// `SWEEP_INTERVAL`: how often every organization is looked at. One minute by default.
    pub sweep_interval: Duration,
    /// `SWEEP_REPEAT`: after how long a low balance is said again though nothing changed. Five minutes by default.
    pub sweep_repeat: Duration,
    /// `QUOTA_DRIFT`: what to do about a quota that somebody changed at the backend. `repair` by default.
    pub quota_drift: DriftPolicy,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            sync_deadline: Duration::from_secs(15 * 60),
            sweep_interval: Duration::from_secs(60),
            sweep_repeat: Duration::from_secs(5 * 60),
            quota_drift: DriftPolicy::Repair,
        }
    }
}

/// What to do about a quota that somebody changed at the backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DriftPolicy {
    /// Push the ledger's quota again.
    Repair,
    /// Count it and log it.
    Report,
}

impl FromStr for DriftPolicy {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "repair" => Ok(Self::Repair),
            "report" => Ok(Self::Report),
            other => Err(format!("{other:?} is neither repair nor report")),
        }
    }
}

/// A quota backend and how to reach it.
#[derive(Debug, Clone)]
pub enum Backend {
    /// `KMS_URL` (http://localhost:8089 by default) and `KMS_TIMEOUT` (5 s by default).
    Kms(KmsConfig),
    /// `LITELLM_URL` (http://localhost:4000 by default), `LITELLM_MASTER_KEY` and `LITELLM_TIMEOUT` (5 s by default).
    Litellm(LitellmConfig),
}

impl Config {
    /// Reads the configuration.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn read(env: &dyn Env) -> Result<Self, ConfigError> {
        let mut reader = Reader::new(env);
        let base = Base::read(&mut reader);
        let listen = reader.listen(9104);
        let quota_backend = read_backend(&mut reader);
        let policy = read_policy(&mut reader);
        match quota_backend {
            Some(quota_backend) => reader.finish(Self { base, listen, quota_backend, policy }),
            None => Err(reader
                .finish(())
                .err()
                .unwrap_or_else(|| ConfigError(vec!["QUOTA_BACKEND is not usable".to_owned()]))),
        }
    }
}

fn read_policy(reader: &mut Reader<'_>) -> Policy {
    let usual = Policy::default();
    let mut span = |name: &str, default: Duration, least: Duration| {
        let span = reader.duration(name, default);
        if span < least || span > LONGEST_SPAN {
            reader.problem(format!("{name} is {span:?}: use at least {least:?} and at most 7 days"));
        }
        span
    };
    Policy {
        sync_deadline: span("SYNC_DEADLINE", usual.sync_deadline, Duration::from_millis(1)),
        sweep_interval: span("SWEEP_INTERVAL", usual.sweep_interval, Duration::from_millis(10)),
        sweep_repeat: span("SWEEP_REPEAT", usual.sweep_repeat, Duration::ZERO),
        quota_drift: reader.parse("QUOTA_DRIFT", usual.quota_drift),
    }
}

/// The backend, unless something about it is wrong.
pub(crate) fn read_backend(reader: &mut Reader<'_>) -> Option<Backend> {
    match reader.optional("QUOTA_BACKEND").as_deref().map(str::trim) {
        None | Some("kms") => read_kms(reader).map(Backend::Kms),
        Some("litellm") => read_litellm(reader).map(Backend::Litellm),
        Some(other) => {
            reader.problem(format!("QUOTA_BACKEND is {other:?}: use kms or litellm"));
            // Whichever is meant, what is wrong with what is set is named as well.
            read_kms(reader);
            if reader.optional("LITELLM_URL").or(reader.optional("LITELLM_MASTER_KEY")).is_some() {
                read_litellm(reader);
            }
            None
        }
    }
}

fn read_kms(reader: &mut Reader<'_>) -> Option<KmsConfig> {
    let url = read_url(reader, "KMS_URL", "http://localhost:8089");
    let timeout = read_timeout(reader, "KMS_TIMEOUT");
    let usual = KmsConfig::new(url?);
    Some(KmsConfig { timeout, connect_timeout: usual.connect_timeout.min(timeout), ..usual })
}

fn read_litellm(reader: &mut Reader<'_>) -> Option<LitellmConfig> {
    let url = read_url(reader, "LITELLM_URL", "http://localhost:4000");
    if url.as_ref().is_some_and(BaseUrl::has_login) {
        // A call has one Authorization header, and that is the key's.
        let problem = "LITELLM_URL has a user or a password in it: take them out, only LITELLM_MASTER_KEY is sent";
        reader.problem(problem.to_owned());
    }
    let key = read_key(reader, url.as_ref());
    let timeout = read_timeout(reader, "LITELLM_TIMEOUT");
    let usual = LitellmConfig::new(url?, key);
    Some(LitellmConfig { timeout, connect_timeout: usual.connect_timeout.min(timeout), ..usual })
}

fn read_url(reader: &mut Reader<'_>, name: &str, default: &str) -> Option<BaseUrl> {
    let url = reader.optional(name).unwrap_or_else(|| default.to_owned());
    url.trim().parse().map_err(|error| reader.problem(format!("{name} is not valid: {error}"))).ok()
}

fn read_timeout(reader: &mut Reader<'_>, name: &str) -> Duration {
    let timeout = reader.duration(name, Duration::from_secs(5));
    if timeout.is_zero() || timeout > LONGEST_TIMEOUT {
        reader.problem(format!("{name} is {timeout:?}: use more than nothing and at most {LONGEST_TIMEOUT:?}"));
    }
    timeout
}

/// The master key. None of these messages has a part of it.
fn read_key(reader: &mut Reader<'_>, url: Option<&BaseUrl>) -> Secret {
    let name = "LITELLM_MASTER_KEY";
    let key = reader.required(name, "the master key of LiteLLM").trim().to_owned();
    let here = url.is_some_and(BaseUrl::is_loopback);
    if !key.chars().all(|c| c.is_ascii_graphic()) {
        reader.problem(format!("{name} has characters that no key has: use letters, digits and signs of ASCII"));
    } else if !key.is_empty() && key.len() < SHORTEST_SECRET && !here {
        reader.problem(format!("{name} is too short: use at least {SHORTEST_SECRET} characters, hard to guess"));
    }
    Secret::new(key)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let mut env: BTreeMap<String, String> =
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        env.insert("DATABASE_URL".to_owned(), "postgres://localhost/bill".to_owned());
        Config::read(&env)
    }

    #[test]
    fn defaults() {
        let config = read(&[]).unwrap();
        assert_eq!(config.listen.to_string(), "127.0.0.1:9104");
        assert_eq!(config.policy, Policy::default());
        let Backend::Kms(kms) = config.quota_backend else { panic!("another backend") };
        assert_eq!(kms.url.at("/health"), "http://localhost:8089/health");
        assert_eq!((kms.connect_timeout, kms.timeout), (Duration::from_secs(2), Duration::from_secs(5)));
    }

    #[test]
    fn the_connection_is_given_no_longer_than_the_call() {
        let pairs = [("KMS_TIMEOUT", "300ms"), ("QUOTA_BACKEND", "kms")];
        let Backend::Kms(kms) = read(&pairs).unwrap().quota_backend else { panic!("another backend") };
        assert_eq!((kms.connect_timeout, kms.timeout), (Duration::from_millis(300), Duration::from_millis(300)));
    }

    #[test]
    fn litellm_is_read() {
        let pairs = [
            ("QUOTA_BACKEND", "litellm"),
            ("LITELLM_URL", "https://litellm.example/"),
            ("LITELLM_MASTER_KEY", "sk-0123456789abcdef\n"),
            ("LITELLM_TIMEOUT", "700ms"),
        ];
        let Backend::Litellm(litellm) = read(&pairs).unwrap().quota_backend else { panic!("another backend") };
        assert_eq!(litellm.url.at("/team/info"), "https://litellm.example/team/info");
        assert_eq!(litellm.key.expose(), "sk-0123456789abcdef");
        assert_eq!(
            (litellm.connect_timeout, litellm.timeout),
            (Duration::from_millis(700), Duration::from_millis(700))
        );
        assert!(!format!("{litellm:?}").contains("0123456789"));
        // On this machine any key will do.
        let pairs = [("QUOTA_BACKEND", "litellm"), ("LITELLM_MASTER_KEY", "sk-1234")];
        let Backend::Litellm(litellm) = read(&pairs).unwrap().quota_backend else { panic!("another backend") };
        assert_eq!(litellm.url.at(""), "http://localhost:4000");
    }

    #[test]
    fn the_policy_is_read() {
        let pairs =
            [("SYNC_DEADLINE", "3s"), ("SWEEP_INTERVAL", "250ms"), ("SWEEP_REPEAT", "0s"), ("QUOTA_DRIFT", "report")];
        let policy = read(&pairs).unwrap().policy;
        assert_eq!(policy.sync_deadline, Duration::from_secs(3));
        assert_eq!((policy.sweep_interval, policy.sweep_repeat), (Duration::from_millis(250), Duration::ZERO));
        assert_eq!(policy.quota_drift, DriftPolicy::Report);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (name, value) in [
            ("QUOTA_BACKEND", "LiteLLM"),
            ("KMS_URL", "localhost"),
            ("KMS_TIMEOUT", "0s"),
            ("KMS_TIMEOUT", "1m"),
            ("KMS_TIMEOUT", "soon"),
            ("LISTEN", "everywhere"),
            ("SYNC_DEADLINE", "0s"),
            ("SYNC_DEADLINE", "8d"),
            ("SYNC_DEADLINE", "soon"),
            ("SWEEP_INTERVAL", "0"),
            ("SWEEP_REPEAT", "30d"),
            ("QUOTA_DRIFT", "ignore"),
        ] {
            let error = read(&[(name, value)]).unwrap_err().to_string();
            assert!(error.contains(name), "{name}={value}: {error}");
        }
        for (pairs, names) in [
            (&[("LISTEN", "everywhere"), ("QUOTA_BACKEND", "paper")][..], &["LISTEN", "QUOTA_BACKEND"][..]),
            (
                &[
                    ("QUOTA_BACKEND", "litellm"),
                    ("LITELLM_URL", "litellm:4000"),
                    ("LITELLM_TIMEOUT", "1m"),
                    ("QUOTA_DRIFT", "x"),
                ],
                &["LITELLM_URL", "LITELLM_MASTER_KEY is not set", "LITELLM_TIMEOUT", "QUOTA_DRIFT"],
            ),
            (
                &[
                    ("QUOTA_BACKEND", "litellm"),
                    ("LITELLM_URL", "http://litellm:4000"),
                    ("LITELLM_MASTER_KEY", "sk-1234"),
                ],
                &["LITELLM_MASTER_KEY is too short"],
            ),
            (
                &[
                    ("QUOTA_BACKEND", "litellm"),
                    ("LITELLM_URL", "http://me:pass1234@localhost:4000"),
                    ("LITELLM_MASTER_KEY", "sk-1234"),
                ],
                &["LITELLM_URL has a user or a password"],
            ),
            (
                &[("QUOTA_BACKEND", "litellm"), ("LITELLM_MASTER_KEY", "sk-\u{fc}1234")],
                &["LITELLM_MASTER_KEY has characters"],
            ),
            (
                &[
                    ("QUOTA_BACKEND", "paper"),
                    ("KMS_URL", "kms"),
                    ("LITELLM_URL", "http://litellm"),
                    ("LITELLM_MASTER_KEY", "sk-1234"),
                ],
                &["QUOTA_BACKEND", "KMS_URL", "LITELLM_MASTER_KEY"],
            ),
        ] {
            let error = read(pairs).unwrap_err().to_string();
            assert!(names.iter().all(|name| error.contains(name)), "{pairs:?}: {error}");
            assert!(!error.contains("1234"), "{error}");
        }
    }
}
