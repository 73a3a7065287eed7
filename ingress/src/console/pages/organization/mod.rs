//! An organization's own page, and what can be done from it.

mod acts;
mod card;
mod chart;
mod chart_scale;
mod data;
mod outcome;
mod overview;
mod overview_parts;
mod phrase;
mod picture;
mod policy;
mod policy_form;
mod policy_sentence;
mod progress;
mod recharge;
mod trial;
mod warnings;
mod what_if;

use warp::http::StatusCode;

use crate::console::route::Route;
use crate::console::visit::Visit;
use crate::http::Problem;

/// The routes.
pub(super) fn routes() -> Vec<Route> {
    [overview::routes(), acts::routes(), policy::routes(), what_if::routes(), recharge::routes(), card::routes()]
        .into_iter()
        .flatten()
        .collect()
}

/// Where an organization's page is, or one beneath it.
fn path(id: &str, rest: &str) -> String {
    format!("/console/organizations/{id}{rest}")
}

/// A page whose only use is a change is not for those who may not make it.
fn only_who_may_change(visit: &Visit) -> Result<(), Problem> {
    if visit.may_change() {
        return Ok(());
    }
    Err(Problem::new(StatusCode::FORBIDDEN, "forbidden", "This token may look, but not change anything"))
}
