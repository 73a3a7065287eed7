//! Where everything listens.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::Backend;
use crate::ports;

/// How long a port may still be taken by a demo that was just killed.
const FREE_LIMIT: Duration = Duration::from_secs(3);
const POLL: Duration = Duration::from_millis(50);

/// The ports of 127.0.0.1 that the demo needs.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is named after what listens there")]
pub struct Ports {
    pub ingress: u16,
    pub kms: u16,
    pub stripe: u16,
    pub nats: u16,
    pub postgres: u16,
    pub recharger: u16,
    pub ledger: u16,
    pub syncer: u16,
    pub nats_monitor: u16,
    pub litellm: u16,
}

impl Default for Ports {
    fn default() -> Self {
        Self {
            ingress: 3000,
            kms: 8089,
            stripe: 12111,
            nats: 4222,
            // Not 5432, where a PostgreSQL of the machine's own would be.
            postgres: 5433,
            recharger: 9102,
            ledger: 9103,
            syncer: 9104,
            nats_monitor: 8222,
            litellm: 4000,
        }
    }
}

impl Ports {
    /// This port and those after it.
    pub fn from_base(base: &str) -> Result<Self> {
        let highest = u16::MAX - 9;
        let first = base.parse().ok().filter(|first| (1..=highest).contains(first));
        let first: u16 = first.with_context(|| format!("--port-base must be 1 to {highest}, not `{base}`"))?;
        Ok(Self {
            ingress: first,
            kms: first + 1,
            stripe: first + 2,
            nats: first + 3,
            postgres: first + 4,
            recharger: first + 5,
            ledger: first + 6,
            syncer: first + 7,
            nats_monitor: first + 8,
            litellm: first + 9,
        })
    }

    /// Each port with what wants it.
    pub fn named(&self) -> [(&'static str, u16); 10] {
        [
            ("ingress", self.ingress),
            ("the KMS simulator", self.kms),
            ("the Stripe simulator", self.stripe),
            ("nats-server", self.nats),
            ("PostgreSQL", self.postgres),
            ("recharger", self.recharger),
            ("ledger", self.ledger),
            ("syncer", self.syncer),
            ("nats-server's monitoring", self.nats_monitor),
            ("the LiteLLM simulator", self.litellm),
        ]
    }

    /// Those on which something listens with this backend.
    fn needed(&self, backend: &Backend) -> impl Iterator<Item = (&'static str, u16)> {
        let unused = match backend {
            Backend::Kms => &[self.litellm][..],
            Backend::Litellm => &[self.kms],
            Backend::Proxy(_) => &[self.kms, self.litellm],
        };
        let unused = unused.to_vec();
        self.named().into_iter().filter(move |(_, port)| !unused.contains(port))
    }

    /// Fails if any is taken that is needed with this backend, naming all that are.
    pub(super) fn check(&self, backend: &Backend) -> Result<()> {
        let started = Instant::now();
        loop {
            let taken: Vec<_> = self.needed(backend).filter(|(_, port)| !ports::is_free(*port)).collect();
            if taken.is_empty() {
                return Ok(());
            }
            if started.elapsed() > FREE_LIMIT {
                let lines =
                    taken.iter().map(|(what, port)| format!("\n  port {port} of 127.0.0.1 is taken: {what} needs it"));
                bail!(
                    "not everything can listen:{}\nEnd what is there, or move the whole demo: cargo xtask demo --port-base 23000",
                    lines.collect::<String>()
                );
            }
            thread::sleep(POLL);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_taken_port_is_named_with_what_wanted_it() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let ports = Ports { kms: port, ..free() };
        ports.check(&Backend::Litellm).unwrap();
        let error = ports.check(&Backend::Kms).unwrap_err().to_string();
        assert!(error.contains(&format!("port {port} of 127.0.0.1 is taken: the KMS simulator")), "{error}");
        assert!(error.contains("--port-base"), "{error}");
        assert_eq!(error.matches("is taken").count(), 1, "{error}");
    }

    fn free() -> Ports {
        let one = || ports::free_port().unwrap();
        Ports {
            ingress: one(),
            kms: one(),
            stripe: one(),
            nats: one(),
            postgres: one(),
            recharger: one(),
            ledger: one(),
            syncer: one(),
            nats_monitor: one(),
            litellm: one(),
        }
    }
}
