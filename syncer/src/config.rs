//! What the syncer is told.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use common::clients::quota::kms::{BaseUrl, KmsConfig};
use common::config::{Base, ConfigError, Env, Reader};

/// The longest `KMS_TIMEOUT`: a call is made while a row of the database is locked.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(10);

/// The syncer's configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// What every service is told.
    pub base: Base,
    /// `LISTEN`: where health and metrics are served. 127.0.0.1:9104 by default.
    pub listen: SocketAddr,
    /// `QUOTA_BACKEND`: where quotas are enforced. `kms` by default, and for now the only one.
    pub quota_backend: Backend,
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
        match quota_backend {
            Some(quota_backend) => reader.finish(Self { base, listen, quota_backend: Backend::Kms(quota_backend) }),
            None => Err(reader
                .finish(())
                .err()
                .unwrap_or_else(|| ConfigError(vec!["QUOTA_BACKEND is not usable".to_owned()]))),
        }
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
    fn what_is_wrong_is_named() {
        for (name, value) in [
            ("QUOTA_BACKEND", "litellm"),
            ("KMS_URL", "localhost"),
            ("KMS_TIMEOUT", "0s"),
            ("KMS_TIMEOUT", "1m"),
            ("KMS_TIMEOUT", "soon"),
            ("LISTEN", "everywhere"),
        ] {
            let error = read(&[(name, value)]).unwrap_err().to_string();
            assert!(error.contains(name), "{name}={value}: {error}");
        }
        let both = read(&[("LISTEN", "everywhere"), ("QUOTA_BACKEND", "paper")]).unwrap_err().to_string();
        assert!(both.contains("LISTEN") && both.contains("QUOTA_BACKEND"), "{both}");
    }
}
