//! The API: one file per resource, each with its routes and what they do.

pub(crate) mod access;
mod audit;
pub(crate) mod auth;
mod balance;
pub(crate) mod calls;
mod card_page;
mod closing;
mod dead_letters;
mod events;
mod filters;
mod history;
mod idempotency;
mod openapi;
pub(crate) mod operation;
pub(crate) mod organizations;
pub(crate) mod payment_method;
mod pipeline;
mod quota;
mod recharge;
mod reconciliations;
mod refund;
mod repo;
pub(crate) mod schemas;
mod setup_intent;
mod simulate;
mod standings;
pub(crate) mod sync;
pub(crate) mod table;
pub(crate) mod tokens;
mod usage;
pub(crate) mod users;

use std::sync::Arc;

use common::ids::OrganizationId;

use crate::app::App;
use crate::directory::{Found, Known};
use crate::http::{Problem, Query};
use crate::organizations::Organization;

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

pub(crate) fn closed_organization(id: &OrganizationId) -> Problem {
    let error = format!("The organization {id} is closed; an operator can open it again");
    Problem::conflict("organization_closed", error).and("c_organization_id", id.as_str())
}

/// The organization, for whoever changes something: a closed one is not changed.
pub(crate) fn open(organization: Option<Organization>, id: &OrganizationId) -> Result<Organization, Problem> {
    let organization = organization.ok_or_else(|| unknown_organization(id))?;
    if organization.closed_at.is_some() { Err(closed_organization(id)) } else { Ok(organization) }
}

/// Whether the organization is there, closed or not, for whoever only reads.
async fn readable(app: &App, id: &OrganizationId) -> Result<(), Problem> {
    match app.directory.organization(id).await {
        Found::Known(_) => Ok(()),
        Found::Nobody => stored(app, id).await?.map(drop).ok_or_else(|| unknown_organization(id)),
        Found::Undecided => Err(Problem::no_database()),
    }
}

/// The organization as it is stored, closed or not.
async fn stored(app: &App, id: &OrganizationId) -> Result<Option<Organization>, Problem> {
    let mut connection = app.pool.acquire().await?;
    Ok(crate::organizations::repo::find(&mut connection, id).await?)
}

/// The organization, as far as the directory knows it, for whoever changes something.
pub(crate) async fn known(app: &App, id: &OrganizationId) -> Result<Arc<Known>, Problem> {
    match app.directory.organization(id).await {
        Found::Known(known) => Ok(known),
        Found::Nobody => Err(match stored(app, id).await? {
            Some(_) => closed_organization(id),
            None => unknown_organization(id),
        }),
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
