//! What `cargo xtask demo` is told, and the ports it needs. They are here and not with the demo itself,
//! so that a mistake or a taken port is told before minutes of building.

mod backend;
mod ports;

use std::env;
use std::ffi::OsString;

use anyhow::{Context, Result, bail};

use crate::args;

use backend::Chosen;
pub use backend::{Backend, KEY_VARIABLE, Key, Proxy, without_key};
pub use ports::Ports;

/// What `--help` says.
pub const HELP: &str = "\
cargo xtask demo [--once] [--scenario NAME] [--backend kms|litellm] [--port-base N]
cargo xtask demo [--once] --litellm-url URL [--litellm-key KEY] [--port-base N]

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

  --backend NAME   where quotas are enforced: `kms`, or `litellm`, that is LiteLLM itself, played by its simulator.
                   A team's max_budget is the quota then, and LiteLLM's own alert begins the chain

  --litellm-url URL, --litellm-key KEY
                   the same with a LiteLLM that you have started, and its master key; the key is better given
                   as LITELLM_MASTER_KEY in the environment, where other users of the machine can't see it.
                   The demo makes a team there and says where the proxy's alerts are to go

  --port-base N    use the ports N, N+1, … in the order below, instead of these:

                     3000  ingress                 4222  nats-server     9102  recharger (health, metrics)
                     8089  KMS simulator           5433  PostgreSQL      9103  ledger (health, metrics)
                    12111  Stripe simulator        8222  nats-server's   9104  syncer (health, metrics)
                                                         monitoring

                   N+0 ingress, N+1 KMS, N+2 Stripe, N+3 nats-server, N+4 PostgreSQL, N+5 recharger,
                   N+6 ledger, N+7 syncer, N+8 nats-server's monitoring, N+9 LiteLLM

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
    /// Where quotas are enforced.
    pub backend: Backend,
    /// Where everything listens.
    pub ports: Ports,
}

impl Options {
    /// Fails if a port is taken that this demo needs, naming all that are.
    pub fn check_ports(&self) -> Result<()> {
        self.ports.check(&self.backend)
    }
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
        Self::parse_beside(given, env::var(KEY_VARIABLE).ok())
    }

    /// The same, with this key in the environment.
    fn parse_beside(given: &[OsString], key: Option<String>) -> Result<Self> {
        let mut options = Options { once: false, scenario: None, backend: Backend::Kms, ports: Ports::default() };
        let mut chosen = Chosen::default();
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
                ("--backend" | "--litellm-url" | "--litellm-key", value) => {
                    let value = value.or_else(|| rest.next().map(Into::into)).unwrap_or_default();
                    chosen.note(name, value);
                }
                _ => bail!("the demo doesn't know `{arg}`\n\n{HELP}"),
            }
        }
        options.backend = chosen.backend(key)?;
        if let (Some(scenario), Backend::Litellm | Backend::Proxy(_)) = (options.scenario, &options.backend) {
            bail!("the scenario `{}` is told with the KMS only", scenario.name());
        }
        Ok(Self::Run(options))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Request> {
        Request::parse_beside(&args.iter().map(OsString::from).collect::<Vec<_>>(), None)
    }

    #[test]
    fn arguments() {
        let usual = Options { once: false, scenario: None, backend: Backend::Kms, ports: Ports::default() };
        assert_eq!(parse(&[]).unwrap(), Request::Run(usual.clone()));
        assert_eq!(parse(&["--once"]).unwrap(), Request::Run(Options { once: true, ..usual }));
        assert_eq!(parse(&["--once", "-h"]).unwrap(), Request::Help);
        for args in [&["--port-base", "4000", "--once"][..], &["--once", "--port-base=4000"]] {
            let Request::Run(options) = parse(args).unwrap() else { panic!("{args:?}") };
            assert!(options.once);
            assert_eq!(
                options.ports.named().map(|(_, port)| port),
                [4000, 4001, 4002, 4003, 4004, 4005, 4006, 4007, 4008, 4009]
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
            (&["--port-base", "65527"], "1 to 65526"),
            (&["--backend", "paper"], "`paper`"),
            (&["--backend=litellm", "--scenario=kms-down"], "with the KMS only"),
            (&["--port-base=x"], "not `x`"),
        ] {
            let error = parse(args).unwrap_err().to_string();
            assert!(error.contains(named), "{args:?}: {error}");
        }
        assert!(parse(&["--port-base", "65526"]).is_ok());
    }
}
