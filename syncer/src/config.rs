//! What the syncer is told.

use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use common::clients::quota::kms::{BaseUrl, KmsConfig};
use common::config::{Base, ConfigError, Env, Reader};

/// The longest `KMS_TIMEOUT`: a call is made while a row of the database is locked.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest span that any of the others may be: more is a slip of the pen.
const LONGEST_SPAN: Duration = Duration::from_secs(7 * 86_400);

/// The syncer's configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// What every service is told.
    pub base: Base,
    /// `LISTEN`: where health and metrics are served. 127.0.0.1:9104 by default.
    pub listen: SocketAddr,
    /// `QUOTA_BACKEND`: where quotas are enforced. `kms` by default, and for now the only one.
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
}

impl Config {
    /// Reads the configuration.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn read(env: &dyn Env) -> Result<Self, ConfigError> {
        let mut reader = Reader::new(env);
        let base = Base::read(&mut reader);
        let listen = reader.parse("LISTEN", SocketAddr::from((Ipv4Addr::LOCALHOST, 9104)));
        let quota_backend = match reader.optional("QUOTA_BACKEND").as_deref().map(str::trim) {
            None | Some("kms") => read_kms(&mut reader),
            Some(other) => {
                reader.problem(format!("QUOTA_BACKEND is {other:?}: the only backend for now is kms"));
                None
            }
        };
        let policy = read_policy(&mut reader);
        match quota_backend {
            Some(kms) => reader.finish(Self { base, listen, quota_backend: Backend::Kms(kms), policy }),
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

fn read_kms(reader: &mut Reader<'_>) -> Option<KmsConfig> {
    let url = reader.optional("KMS_URL").unwrap_or_else(|| "http://localhost:8089".to_owned());
    let url: BaseUrl = match url.trim().parse() {
        Ok(url) => url,
        Err(error) => {
            reader.problem(format!("KMS_URL is not valid: {error}"));
            return None;
        }
    };
    let usual = KmsConfig::new(url);
    let timeout = reader.duration("KMS_TIMEOUT", usual.timeout);
    if timeout.is_zero() || timeout > LONGEST_TIMEOUT {
        reader.problem(format!("KMS_TIMEOUT is {timeout:?}: use more than nothing and at most {LONGEST_TIMEOUT:?}"));
    }
    Some(KmsConfig { timeout, connect_timeout: usual.connect_timeout.min(timeout), ..usual })
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
        let Backend::Kms(kms) = config.quota_backend;
        assert_eq!(kms.url.at("/health"), "http://localhost:8089/health");
        assert_eq!((kms.connect_timeout, kms.timeout), (Duration::from_secs(2), Duration::from_secs(5)));
    }

    #[test]
    fn the_connection_is_given_no_longer_than_the_call() {
        let Backend::Kms(kms) = read(&[("KMS_TIMEOUT", "300ms"), ("QUOTA_BACKEND", "kms")]).unwrap().quota_backend;
        assert_eq!((kms.connect_timeout, kms.timeout), (Duration::from_millis(300), Duration::from_millis(300)));
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
            ("QUOTA_BACKEND", "litellm"),
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
        let both = read(&[("LISTEN", "everywhere"), ("QUOTA_BACKEND", "paper")]).unwrap_err().to_string();
        assert!(both.contains("LISTEN") && both.contains("QUOTA_BACKEND"), "{both}");
    }
}
