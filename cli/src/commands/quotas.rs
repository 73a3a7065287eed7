//! `bill quota`.

use clap::{Args, Subcommand};
use common::ids::OrganizationId;

use super::{List, Make, Once, Yes};
use crate::call::{Body, Call};
use crate::show::{As, Column, list, outcome};
use crate::values;

const ENTRIES: [Column; 9] = [
    Column("WHEN", "at", As::Whole),
    Column("PUSH", "quota_sync_id", As::Number),
    Column("RESULT", "kind", As::Text),
    Column("QUOTA", "quota", As::Number),
    Column("BEFORE", "previous_quota", As::Number),
    Column("WHY", "why", As::Text),
    Column("BY", "requested_by", As::Text),
    Column("BOOKED", "description", As::Text),
    Column("MESSAGE", "message", As::Text),
];

#[derive(Debug, Subcommand)]
pub(crate) enum Quotas {
    /// What was done to an organization's quota, and why, newest first
    History(List),
    /// Put an earlier quota back: the difference is booked as a correction, then it is pushed. No money moves
    Restore(Restore),
}

#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// The organization
    #[arg(value_parser = values::organization)]
    id: OrganizationId,
    /// The push whose quota to put back: PUSH in `bill quota history`
    quota_sync_id: i64,
    /// Why, for the books
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    once: Once,
    #[command(flatten)]
    yes: Yes,
}

impl Quotas {
    pub(super) fn call(self, make: &Make) -> Call {
        match self {
            Self::History(List { id, many }) => {
                let view = |body: &_, show: &_| list(body, &ENTRIES, show);
                Call::get(&[&"organizations", &id, &"quota-history"], view).pages("before", many.limit())
            }
            Self::Restore(Restore { id, quota_sync_id, reason, once, yes }) => {
                let call = Call::post(&[&"organizations", &id, &"quota", &"restore"], outcome)
                    .body(Body::new().with("quota_sync_id", quota_sync_id).with("reason", reason))
                    .asks(yes.yes, || format!("Put the quota of {id} back to that of the push {quota_sync_id}?"));
                once.of(call, make)
            }
        }
    }
}
