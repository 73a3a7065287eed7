//! The ledger's configuration.

use std::net::SocketAddr;
use std::time::Duration;

use common::config::{Base, ConfigError, Env, Reader};

/// What the ledger is told.
#[derive(Debug, Clone)]
pub struct Config {
    /// What every service is told.
    pub base: Base,
    /// `LISTEN`, or `BIND` and `PORT`: where health and metrics are served. 127.0.0.1:9103 by default.
    pub listen: SocketAddr,
    /// `VERIFY_INTERVAL`: how often the books are verified. Ten minutes by default.
    pub verify_interval: Duration,
}

impl Config {
    /// Reads the configuration.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn read(env: &dyn Env) -> Result<Self, ConfigError> {
        let mut reader = Reader::new(env);
        let config = Self {
            base: Base::read(&mut reader),
            listen: reader.listen(9103),
            verify_interval: reader.duration("VERIFY_INTERVAL", Duration::from_secs(600)),
        };
        if config.verify_interval.is_zero() {
            reader.problem("VERIFY_INTERVAL is nothing: use for instance 10m".to_owned());
        }
        reader.finish(config)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let env: BTreeMap<_, _> = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Config::read(&env)
    }

    #[test]
    fn defaults_and_settings() {
        let config = read(&[("DATABASE_URL", "postgres://x/y")]).unwrap();
        assert_eq!((config.listen.port(), config.verify_interval.as_secs()), (9103, 600));
        let set = [("DATABASE_URL", "postgres://x/y"), ("VERIFY_INTERVAL", "5s"), ("LISTEN", "[::1]:1")];
        let config = read(&set).unwrap();
        assert_eq!((config.listen.port(), config.verify_interval.as_secs()), (1, 5));
    }

    #[test]
    fn all_mistakes_are_named_at_once() {
        let message = read(&[("LISTEN", "here"), ("VERIFY_INTERVAL", "0")]).unwrap_err().to_string();
        for name in ["DATABASE_URL", "LISTEN", "VERIFY_INTERVAL"] {
            assert!(message.contains(name), "{message}");
        }
    }
}
