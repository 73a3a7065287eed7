//! `bill standings` and `bill pipeline`: what an operator looks at first.

use clap::Args;

use super::Many;
use crate::call::Call;
use crate::show::{As, Column, details, list};

const STANDINGS: [Column; 9] = [
    Column("ORGANIZATION", "c_organization_id", As::Whole),
    Column("URGENCY", "urgency", As::Whole),
    Column("AVAILABLE", "available", As::Number),
    Column("MINIMUM", "minimum_balance", As::Number),
    Column("QUOTA", "quota", As::Number),
    Column("IN FORCE", "synced_quota", As::Number),
    Column("PAUSED FOR", "pause_reason", As::Text),
    Column("RECHARGE", "recharge.status", As::Text),
    Column("LAST", "last_recharge.status", As::Text),
];

#[derive(Debug, Args)]
pub(crate) struct Standings {
    /// Only those whose id, or whose team's id, contains this
    #[arg(long, value_name = "TEXT")]
    search: Option<String>,
    /// Only those of this urgency: paused, failing, action_required, behind, low, no_card, off or ok
    #[arg(long, value_name = "URGENCY")]
    only: Option<String>,
    /// In this order: urgency, id or available
    #[arg(long, value_name = "ORDER")]
    sort: Option<String>,
    /// Those that are closed, too
    #[arg(long)]
    closed: bool,
    #[command(flatten)]
    many: Many,
}

impl Standings {
    pub(super) fn call(self) -> Call {
        let Self { search, only, sort, closed, many } = self;
        let call = Call::get(&[&"standings"], |body, show| list(body, &STANDINGS, show));
        let call = call.query("search", search).query("only", only).query("sort", sort);
        call.query("closed", closed.then_some(true)).pages("after", many.limit())
    }
}

/// The state of the chain.
pub(super) fn pipeline() -> Call {
    Call::get(&[&"pipeline"], |body, show| details(body, &["at", "unknown", "consumers"], show))
}
