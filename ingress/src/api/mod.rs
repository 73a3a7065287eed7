//! The API: one file per resource.

pub(crate) mod auth;
pub(crate) mod balance;
pub(crate) mod dead_letters;
pub(crate) mod events;
pub(crate) mod history;
mod idempotency;
pub(crate) mod organizations;
pub(crate) mod payment_method;
pub(crate) mod recharge;
pub(crate) mod reconciliations;
pub(crate) mod refund;
mod repo;
pub(crate) mod sync;

use std::sync::Arc;

use common::ids::OrganizationId;

use crate::app::App;
use crate::directory::{Found, Known};
use crate::http::{Problem, Query};

/// The most items of one page, and how many there are when nobody says.
const LARGEST_PAGE: i64 = 200;
const USUAL_PAGE: i64 = 50;

/// An organization id from a path.
pub(crate) fn organization_id(text: &str) -> Result<OrganizationId, Problem> {
    OrganizationId::parse(text).map_err(|error| Problem::bad_request("invalid_organization_id", error.to_string()))
}

pub(crate) fn unknown_organization(id: &OrganizationId) -> Problem {
    Problem::not_found("unknown_organization", format!("There is no organization {id}"))
        .and("c_organization_id", id.as_str())
}

/// The organization, as far as the directory knows it.
pub(crate) async fn known(app: &App, id: &OrganizationId) -> Result<Arc<Known>, Problem> {
    match app.directory.organization(id).await {
        Found::Known(known) => Ok(known),
        Found::Nobody => Err(unknown_organization(id)),
        Found::Undecided => Err(Problem::no_database()),
    }
}

/// How many items a page shall have.
fn page_size(query: &Query) -> Result<i64, Problem> {
    match query.get("limit").map(str::parse::<i64>) {
        None => Ok(USUAL_PAGE),
        Some(Ok(limit)) if (1..=LARGEST_PAGE).contains(&limit) => Ok(limit),
        Some(_) => {
            Err(Problem::bad_request("invalid_query", format!("limit must be a whole number from 1 to {LARGEST_PAGE}")))
        }
    }
}
