//! The commands: what people write, and which call of the API each is. Pure; one file for each kind of thing.

mod dead_letters;
mod organizations;
mod overview;
mod quotas;
mod recharges;
mod reconciliations;
mod simulations;
mod tokens;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use common::clock::Timestamp;
use common::config::Secret;
use common::ids::OrganizationId;

use crate::call::Call;
use crate::doctor::Doctor;
use crate::values;

/// Look after organizations and their recharges in Bill-Service.
#[derive(Debug, Parser)]
#[command(name = "bill", version, arg_required_else_help = true, after_help = AFTER)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) connection: Connection,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const AFTER: &str = "\
Exit codes: 0 done · 1 refused or failed (a declined recharge, too) · 2 the command is wrong · 3 no answer, or the service is not well.

The token is best kept in BILL_TOKEN or in a file that only you can read.";

/// How the API is reached, and how its answers are written.
#[derive(Debug, Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct Connection {
    /// Where Bill-Service is
    #[arg(long, global = true, env = "BILL_URL", default_value = "http://127.0.0.1:3000", value_name = "URL")]
    pub(crate) url: String,
    /// The API token, instead of BILL_TOKEN. Everybody on this machine can read it here: rather use BILL_TOKEN or
    /// --token-file
    #[arg(long, global = true, value_parser = values::secret)]
    pub(crate) token: Option<Secret>,
    /// A file with the API token; it goes before --token and BILL_TOKEN
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// Write the API's answer as one JSON document
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

/// What a call is made with beyond the command's own words.
#[derive(Debug, Clone)]
pub(crate) struct Make {
    /// What times such as `90d` are counted from.
    pub(crate) now: Timestamp,
    /// The Idempotency-Key, where none was given.
    pub(crate) key: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Organizations: their policy, card, balance and users
    #[command(subcommand)]
    Org(organizations::Organizations),
    /// How organizations stand: who needs a person first
    Standings(overview::Standings),
    /// How the chain is: what waits, and since when
    Pipeline,
    /// Charge an organization's card now, and raise its quota
    Recharge(recharges::Recharge),
    /// An organization's recharges, newest first
    History(List),
    /// One recharge, step by step
    Chain(recharges::Chain),
    /// Give a recharge back, or a part of it
    Refund(recharges::Refund),
    /// What became of an event: a webhook, or a call that was not waited for
    Event(recharges::OneEvent),
    /// What came in about an organization, and what was decided
    Events(List),
    /// Earlier quotas, and putting one back
    #[command(subcommand)]
    Quota(quotas::Quotas),
    /// Messages that could not be handled
    #[command(subcommand)]
    DeadLetters(dead_letters::DeadLetters),
    /// Compare all books now: Stripe, records, ledger, quotas
    Reconcile(reconciliations::Reconcile),
    /// What would the policy charge? Nothing is charged
    Simulate(simulations::Simulate),
    /// API tokens
    #[command(subcommand)]
    Token(tokens::Tokens),
    /// Who changed what, newest first
    Audit(tokens::Audit),
    /// What is wrong with a deployment, as far as the API tells, and what to do about it; `ingress doctor`, `recharger doctor`
    /// and so on, and `bill-setup doctor`, see the rest from where they run
    Doctor(Doctor),
    /// A script that completes this program's words in a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

/// A list about one organization.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// The organization
    #[arg(value_parser = values::organization)]
    id: OrganizationId,
    #[command(flatten)]
    many: Many,
}

/// How many.
#[derive(Debug, Args)]
pub(crate) struct Many {
    /// How many at most
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..), value_name = "N")]
    limit: u32,
}

impl Many {
    fn limit(&self) -> usize {
        usize::try_from(self.limit).unwrap_or(usize::MAX)
    }
}

/// How a call is repeated, and waited for.
#[derive(Debug, Args)]
struct Once {
    /// The Idempotency-Key: the same call with the same key is one. Without it a fresh one is made
    #[arg(long, value_parser = values::word)]
    key: Option<String>,
    /// Don't wait for the outcome
    #[arg(long)]
    no_wait: bool,
}

impl Once {
    /// The call with its key.
    fn of(self, call: Call, make: &Make) -> Call {
        call.keyed(self.key.unwrap_or_else(|| make.key.clone())).no_wait(self.no_wait)
    }
}

/// Whether a person has said yes already.
#[derive(Debug, Args)]
struct Yes {
    /// Don't ask
    #[arg(long, short)]
    yes: bool,
}

impl Command {
    /// The call that the command is.
    ///
    /// # Errors
    /// What is wrong with the command.
    pub(crate) fn call(self, make: &Make) -> Result<Call, String> {
        Ok(match self {
            Self::Org(command) => command.call()?,
            Self::Standings(command) => command.call(),
            Self::Pipeline => overview::pipeline(),
            Self::Recharge(command) => command.call(make),
            Self::History(List { id, many }) => recharges::history(&id, many.limit()),
            Self::Chain(command) => command.call(),
            Self::Refund(command) => command.call(make),
            Self::Event(command) => command.call(),
            Self::Events(List { id, many }) => recharges::events(&id, many.limit()),
            Self::Quota(command) => command.call(make),
            Self::DeadLetters(command) => command.call(),
            Self::Reconcile(command) => command.call(make)?,
            Self::Simulate(command) => command.call(),
            Self::Token(command) => command.call(make)?,
            Self::Audit(command) => command.call(),
            Self::Doctor(_) => return Err("doctor makes calls of its own".to_owned()),
            Self::Completions { .. } => return Err("completions need no call".to_owned()),
        })
    }
}

#[cfg(test)]
mod tests;
