//! What `cargo xtask demo` is told, and the ports it needs. They are here and not with the demo itself,
//! so that a mistake or a taken port is told before minutes of building.

use std::ffi::OsString;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::{args, ports};

/// How long a port may still be taken by a demo that was just killed.
const FREE_LIMIT: Duration = Duration::from_secs(3);
const POLL: Duration = Duration::from_millis(50);

/// What `--help` says.
pub const HELP: &str = "\
cargo xtask demo [--once] [--scenario NAME] [--port-base N]

Builds everything for release, starts nats-server, PostgreSQL, the simulators of Stripe and of the KMS and
the four services as real processes on 127.0.0.1, and shows how a signed webhook of the KMS becomes a
charge, a ledger entry and a raised quota. Then it stays up for you to try, until Ctrl-C, and leaves no
process behind.

  --once           exit after the closing table: with 0 if it came out as told and all books agree
  --scenario NAME  show something that goes wrong instead, with commentary:

                     kms-down           charged and booked, but the KMS stays away: all of it is undone
                     declined           a card without funds rests, a lost card pauses, a new card goes on
                     bank-confirmation  the bank wants the customer: a link, the bank's page, and back
                     lost-answer        Stripe charges and its answer is lost: nothing is charged twice
                     no-webhook         nobody says that the quota is used up: the sweep sees it

  --port-base N    use the ports N, N+1, … in the order below, instead of these:

                     3000  ingress                 4222  nats-server     9102  recharger (health, metrics)
                     8089  KMS simulator           5433  PostgreSQL      9103  ledger (health, metrics)
                    12111  Stripe simulator        8222  nats-server's   9104  syncer (health, metrics)
                                                         monitoring

                   N+0 ingress, N+1 KMS, N+2 Stripe, N+3 nats-server, N+4 PostgreSQL, N+5 recharger,
                   N+6 ledger, N+7 syncer, N+8 nats-server's monitoring

target/demo/env tells addresses, secrets and process ids as KEY=VALUE lines while the demo is up.
target/demo/logs holds the services' logs. Every start begins with an empty database and empty streams.
Variables of the environment reach the services, such as FEE_BPS=290, FEE_FIXED=30, SYNC_DEADLINE=5s,
CREDIT_DEADLINE=5s, SWEEP_INTERVAL=2s or RUST_LOG=debug; what the demo sets itself (addresses, secrets,
API_AUTH=off, DEV_ROUTES=on) can't be changed. A scenario has deadlines and intervals of its own, of a few
seconds, and says which; a variable that you set wins over them.";

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// The text above.
    Help,
    /// The demo.
    Run(Options),
}

/// How the demo runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Whether it ends after the closing table.
    pub once: bool,
    /// What goes wrong; nothing, if none is named.
    pub scenario: Option<Scenario>,
    /// Where everything listens.
    pub ports: Ports,
}

/// One fault that the demo can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scenario {
    /// The KMS stays away after the charge.
    KmsDown,
    /// The card is declined.
    Declined,
    /// The bank wants the customer.
    BankConfirmation,
    /// Stripe's answer is lost.
    LostAnswer,
    /// Nobody says that the quota is used up.
    NoWebhook,
}

impl Scenario {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::KmsDown, Self::Declined, Self::BankConfirmation, Self::LostAnswer, Self::NoWebhook];

    /// Its name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::KmsDown => "kms-down",
            Self::Declined => "declined",
            Self::BankConfirmation => "bank-confirmation",
            Self::LostAnswer => "lost-answer",
            Self::NoWebhook => "no-webhook",
        }
    }

    /// The one of this name.
    pub fn named(name: &str) -> Result<Self> {
        let known = || Self::ALL.map(Self::name).join(", ");
        let found = Self::ALL.into_iter().find(|scenario| scenario.name() == name);
        found.with_context(|| format!("there is no scenario `{name}`; there are: {}", known()))
    }
}

impl Request {
    /// Reads the arguments.
    pub fn parse(given: &[OsString]) -> Result<Self> {
        let mut options = Options { once: false, scenario: None, ports: Ports::default() };
        let mut rest = given.iter().map(|arg| arg.to_string_lossy());
        while let Some(arg) = rest.next() {
            let (name, value) = args::split(&arg);
            match (name, value) {
                ("--help" | "-h", None) => return Ok(Self::Help),
                ("--once", None) => options.once = true,
                ("--port-base", value) => {
                    let base = value.or_else(|| rest.next().map(Into::into));
                    let base = base.context("--port-base needs a number, as in `--port-base 4000`")?;
                    options.ports = Ports::from_base(&base)?;
                }
                ("--scenario", value) => {
                    let name = value.or_else(|| rest.next().map(Into::into)).unwrap_or_default();
                    options.scenario = Some(Scenario::named(&name)?);
                }
                _ => bail!("the demo doesn't know `{arg}`\n\n{HELP}"),
            }
        }
        Ok(Self::Run(options))
    }
}

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
        }
    }
}

impl Ports {
    /// This port and those after it.
    pub fn from_base(base: &str) -> Result<Self> {
        let highest = u16::MAX - 8;
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
        })
    }

    /// Each port with what wants it.
    pub fn named(&self) -> [(&'static str, u16); 9] {
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
        ]
    }

    /// Fails if any of them is taken, naming all that are.
    pub fn check(&self) -> Result<()> {
        let started = Instant::now();
        loop {
            let taken: Vec<_> = self.named().into_iter().filter(|(_, port)| !ports::is_free(*port)).collect();
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

    fn parse(args: &[&str]) -> Result<Request> {
        Request::parse(&args.iter().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn arguments() {
        let usual = Options { once: false, scenario: None, ports: Ports::default() };
        assert_eq!(parse(&[]).unwrap(), Request::Run(usual.clone()));
        assert_eq!(parse(&["--once"]).unwrap(), Request::Run(Options { once: true, ..usual }));
        assert_eq!(parse(&["--once", "-h"]).unwrap(), Request::Help);
        for args in [&["--port-base", "4000", "--once"][..], &["--once", "--port-base=4000"]] {
            let Request::Run(options) = parse(args).unwrap() else { panic!("{args:?}") };
            assert!(options.once);
            assert_eq!(
                options.ports.named().map(|(_, port)| port),
                [4000, 4001, 4002, 4003, 4004, 4005, 4006, 4007, 4008]
            );
        }
    }

    #[test]
    fn scenarios() {
        for scenario in Scenario::ALL {
            assert!(HELP.contains(&format!(" {} ", scenario.name())), "{scenario:?}");
            let joined = format!("--scenario={}", scenario.name());
            for args in [&["--scenario", scenario.name(), "--once"][..], &["--once", &joined]] {
                let Request::Run(options) = parse(args).unwrap() else { panic!("{args:?}") };
                assert_eq!((options.once, options.scenario), (true, Some(scenario)), "{args:?}");
            }
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (args, named) in [
            (&["--twice"][..], "--twice"),
            (&["now"], "now"),
            (&["--once=yes"], "--once=yes"),
            (&["--scenario"], "there is no scenario ``; there are: kms-down, declined, "),
            (&["--scenario", "sunshine"], "bank-confirmation, lost-answer, no-webhook"),
            (&["--scenario=KMS-DOWN"], "`KMS-DOWN`"),
            (&["--port-base"], "needs a number"),
            (&["--port-base", "0"], "not `0`"),
            (&["--port-base", "65528"], "1 to 65527"),
            (&["--port-base=x"], "not `x`"),
        ] {
            let error = parse(args).unwrap_err().to_string();
            assert!(error.contains(named), "{args:?}: {error}");
        }
        assert!(parse(&["--port-base", "65527"]).is_ok());
    }

    #[test]
    fn a_taken_port_is_named_with_what_wanted_it() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let error = Ports { kms: port, ..free() }.check().unwrap_err().to_string();
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
        }
    }
}
