//! What `cargo xtask torture` is told. It is here and not with the campaign itself, so that a mistake is told before
//! minutes of building.

use std::ffi::OsString;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::args::{self, number};
use crate::random;

/// What `--help` says.
pub const HELP: &str = "\
cargo xtask torture [--seed N] [--minutes M] [--organizations N]

Builds everything for release, starts nats-server, PostgreSQL, the simulators of Stripe and of the KMS and two
processes of each service on 127.0.0.1, each behind proxies of its own, and tortures them while organizations
use up their quota and people ask for recharges, refunds and syncs. Then it heals everything, waits until
nothing moves, and judges by the simulators' own books: was every captured charge credited and synced, or
refunded; was nothing charged twice; was nothing lost that was accepted?

  --seed N           what the faults follow from: the same seed injects the same faults at the same times.
                     Without it one is drawn, and printed
  --minutes M        how long there are faults (2)
  --organizations N  how many organizations there are (200)

What is done to them, several things at once:

  processes      kill -9, SIGSTOP for up to 8 s, graceful restarts; all ledgers down or frozen for longer than
                 CREDIT_DEADLINE
  servers        nats-server and PostgreSQL killed and started again, and frozen
  connections    of each process to the broker, the database, Stripe and the KMS, and of the sender to ingress:
                 cut, refused, delayed, swallowed for a while, cut in the middle of an answer
  Stripe, KMS    connections dropped before and after the effect, 500 before and after it, a proxy's 502, 429,
                 answers that come too late, refused refunds, away for a while; the KMS away for longer than
                 SYNC_DEADLINE; Stripe's webhooks twice, out of order, or lost
  messages       webhooks sent twice, late, and in the wrong order; messages of every stream published again

The verdict is `clean`, or a line with ids for each violation. The command exits with 0 only if it is clean.
target/torture/seed-N holds the services' logs, and in timeline.log what was done to them when. Ctrl-C ends it,
and leaves no process behind.";

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// The text above.
    Help,
    /// A campaign.
    Run(Options),
}

/// How a campaign is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// What the faults follow from; one is drawn when it is not given.
    pub seed: Option<u64>,
    /// How long there are faults, in minutes.
    pub minutes: u64,
    /// How many organizations there are.
    pub organizations: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { seed: None, minutes: 2, organizations: 200 }
    }
}

impl Options {
    /// How long there are faults.
    pub const fn length(&self) -> Duration {
        Duration::from_secs(self.minutes * 60)
    }

    /// The seed that was given, or a new one.
    pub fn seed_or_new(&self) -> Result<u64> {
        match self.seed {
            Some(seed) => Ok(seed),
            // Short enough to be typed.
            None => Ok(u64::from(u32::from_le_bytes(random::bytes()?))),
        }
    }
}

impl Request {
    /// Reads the arguments.
    pub fn parse(given: &[OsString]) -> Result<Self> {
        let mut options = Options::default();
        let mut rest = given.iter().map(|arg| arg.to_string_lossy());
        while let Some(arg) = rest.next() {
            let (name, value) = args::split(&arg);
            if matches!(name, "--help" | "-h") && value.is_none() {
                return Ok(Self::Help);
            }
            if !matches!(name, "--seed" | "--minutes" | "--organizations") {
                bail!("torture doesn't know `{arg}`\n\n{HELP}");
            }
            let value = value.or_else(|| rest.next().map(Into::into)).unwrap_or_default();
            match name {
                "--seed" => options.seed = Some(number(name, &value, 0, u64::MAX)?),
                "--minutes" => options.minutes = number(name, &value, 1, 24 * 60)?,
                _ => options.organizations = number(name, &value, 1, 10_000).map(usize::try_from)??,
            }
        }
        Ok(Self::Run(options))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Request> {
        Request::parse(&args.iter().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn arguments() {
        assert_eq!(parse(&[]).unwrap(), Request::Run(Options { seed: None, minutes: 2, organizations: 200 }));
        assert_eq!(parse(&["--seed", "7", "-h"]).unwrap(), Request::Help);
        let want = Options { seed: Some(7), minutes: 10, organizations: 300 };
        for args in [
            &["--seed", "7", "--minutes", "10", "--organizations", "300"][..],
            &["--organizations=300", "--minutes=10", "--seed=7"],
        ] {
            assert_eq!(parse(args).unwrap(), Request::Run(want.clone()), "{args:?}");
        }
        assert_eq!(want.length(), Duration::from_secs(600));
    }

    #[test]
    fn mistakes_are_named() {
        for (args, named) in [
            (&["--seeds", "1"][..], "`--seeds`"),
            (&["now"], "`now`"),
            (&["--seed"], "--seed must be a number"),
            (&["--seed", "-1"], "not `-1`"),
            (&["--minutes", "0"], "from 1 to 1440, not `0`"),
            (&["--minutes=two"], "not `two`"),
            (&["--organizations", "0"], "from 1 to 10000"),
        ] {
            let error = parse(args).unwrap_err().to_string();
            assert!(error.contains(named), "{args:?}: {error}");
        }
    }

    #[test]
    fn a_seed_is_drawn_unless_one_is_given() {
        assert_eq!(Options { seed: Some(9), ..Options::default() }.seed_or_new().unwrap(), 9);
        let drawn: Vec<u64> = (0..3).map(|_| Options::default().seed_or_new().unwrap()).collect();
        assert!(drawn.windows(2).any(|pair| pair[0] != pair[1]), "{drawn:?}");
    }
}
