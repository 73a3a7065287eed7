//! What happened: recharges and their chains, what came in, what quotas were set, and who changed what.

mod ahead;
mod audit;
mod chain;
mod diff;
mod events;
mod fact;
mod listing;
mod payload;
mod quota;
mod recharges;
mod record;
mod refund;
mod refund_form;
mod restore;
mod sheet;
mod steps;
mod story;

use crate::console::route::Route;

/// The routes.
pub(super) fn routes() -> Vec<Route> {
    [
        recharges::routes(),
        chain::routes(),
        refund::routes(),
        events::routes(),
        quota::routes(),
        restore::routes(),
        audit::routes(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
