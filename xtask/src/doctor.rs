//! What `cargo xtask doctor` is told. It is here and not with the looking itself, so that a mistake is told before anything
//! is built.

use std::ffi::OsString;

use anyhow::{Result, bail};

/// What `--help` says.
pub const HELP: &str = "\
cargo xtask doctor [--json] [--no-recharge] [--environment]

Looks at a deployment and says what is wrong with it, by name, with what to do about it: runs `ingress doctor`,
`recharger doctor`, `ledger doctor`, `syncer doctor`, `bill-setup doctor` and `bill doctor --recharge`, and shows
what they found as one table. The last makes one recharge of 1.00 by a test card, and gives it back; where Stripe is
in live mode it refuses to.

It looks at the demo that runs (target/demo/env). Without one it looks at the deployment that the environment's
variables name: those of the services and of bill-setup, where a variable of one service alone is written with the
service before it (LEDGER_DATABASE_URL, LEDGER_NATS_URL, …), BILL_URL and BILL_TOKEN, NATS_MONITOR_URL, PROMETHEUS_URL.

  --json          one JSON document instead of the table
  --no-recharge   only look: charge nothing
  --environment   look at what the environment's variables name, though a demo runs

The programs are built for release first, as for the demo; those in the folder that BILL_BIN_DIR names are taken as
they are. Exit codes: 0 nothing failed (warnings may stand in the table) · 1 something failed · 2 the command is wrong.";

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// The text above.
    Help,
    /// Looking.
    Run(Options),
}

/// How to look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// Whether programs read it.
    pub json: bool,
    /// Whether nothing is charged.
    pub no_recharge: bool,
    /// Whether a demo that runs is passed over.
    pub environment: bool,
}

impl Request {
    /// Reads the arguments.
    pub fn parse(given: &[OsString]) -> Result<Self> {
        let mut options = Options::default();
        for word in given {
            match word.to_string_lossy().as_ref() {
                "--json" => options.json = true,
                "--no-recharge" => options.no_recharge = true,
                "--environment" => options.environment = true,
                "--help" | "-h" => return Ok(Self::Help),
                other => bail!("`cargo xtask doctor` knows no `{other}`\n\n{HELP}"),
            }
        }
        Ok(Self::Run(options))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        let parse = |words: &[&str]| Request::parse(&words.iter().map(OsString::from).collect::<Vec<_>>());
        assert_eq!(parse(&[]).unwrap(), Request::Run(Options::default()));
        let all = Options { json: true, no_recharge: true, environment: true };
        assert_eq!(parse(&["--json", "--no-recharge", "--environment"]).unwrap(), Request::Run(all));
        assert_eq!(parse(&["--json", "-h"]).unwrap(), Request::Help);
        assert!(parse(&["--yaml"]).unwrap_err().to_string().contains("--yaml"));
    }
}
