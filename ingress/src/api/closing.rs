//! `DELETE /api/organizations/:id` and `POST …/reopen`: an organization ends, and an accidental end is undone. Nothing is
//! deleted: what happened to every cent stays to be read, and the team stays the organization's, so that it can come back.

use common::clock::Timestamp;
use common::ids::{OrganizationId, TeamId};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;
use warp::http::Method;

use super::access::Access;
use super::auth::Caller;
use super::operation::Operation;
use super::organizations::refresh;
use super::schemas::ProblemBody;
use super::{organization_id, unknown_organization};
use crate::app::App;
use crate::evaluate;
use crate::http::{Answer, Problem};
use crate::organizations::Organization;
use crate::organizations::repo::{self, AuditEntry};

/// The routes.
pub(crate) fn operations() -> Vec<Operation> {
    const TAG: &str = "Organizations";
    vec![
        Operation::known(
            Method::DELETE,
            "/api/organizations/{id}",
            "close_organization",
            Access::OperateOrganization,
            |app, call| Box::pin(async move { change(&app, call.param(0), true, &call.caller).await }),
        )
        .says(
            TAG,
            "Closes an organization: nothing is recharged, synced or changed any more. Its history, its quota and its users \
             can still be read, and its recharges can be given back. Repeating it changes nothing.",
        )
        .answers::<Closing>(200, "The closed organization.")
        .answers::<ProblemBody>(409, "A recharge has not ended yet."),
        Operation::known(
            Method::POST,
            "/api/organizations/{id}/reopen",
            "reopen_organization",
            Access::OperateOrganization,
            |app, call| Box::pin(async move { change(&app, call.param(0), false, &call.caller).await }),
        )
        .says(TAG, "Opens a closed organization again, as it was. Repeating it changes nothing.")
        .answers::<Closing>(200, "The organization, which is open."),
    ]
}

/// Whether an organization is closed.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Closing {
    /// The organization.
    c_organization_id: OrganizationId,
    /// Since when it is closed; null: it is open.
    closed_at: Option<Timestamp>,
    /// The team that stays its own, closed or not.
    litellm_team_id: Option<TeamId>,
}

impl Closing {
    fn of(organization: &Organization) -> Self {
        Self {
            c_organization_id: organization.id.clone(),
            closed_at: organization.closed_at,
            litellm_team_id: organization.policy.litellm_team_id.clone(),
        }
    }
}

/// `DELETE /api/organizations/:id` and `POST …/reopen`
async fn change(app: &App, id: &str, close: bool, caller: &Caller) -> Result<Answer, Problem> {
    let id = organization_id(id)?;
    let now = app.clock.now();
    let mut transaction = app.pool.begin().await?;
    let before = repo::find_to_change(&mut transaction, &id).await?.ok_or_else(|| unknown_organization(&id))?;
    if before.closed_at.is_some() == close {
        return Ok(Answer::ok(json!(Closing::of(&before))));
    }
    if close {
        // From here on to the commit nobody claims a recharge, and whoever does so afterwards reads that it is closed.
        repo::lock_claims(&mut transaction, &id).await?;
        if let Some((recharge, status)) = repo::in_flight(&mut transaction, &id).await? {
            let error = "A recharge of this organization has not ended yet; close it when it has";
            let problem = Problem::conflict("recharge_in_flight", error).and("c_organization_id", id.as_str());
            return Err(problem.and("recharge_id", recharge.to_string()).and("status", status));
        }
    }
    repo::set_closed(&mut transaction, &id, close.then_some(now), now).await?;
    let after = repo::find(&mut transaction, &id).await?.ok_or_else(|| unknown_organization(&id))?;
    let entry = AuditEntry {
        before: Some(before.to_json()),
        after: Some(after.to_json()),
        ..caller.audits(now, if close { "organization.closed" } else { "organization.reopened" }, Some(&id))
    };
    repo::audit(&mut transaction, entry).await?;
    transaction.commit().await?;
    refresh(app, &after).await;
    let done = if close { "closed" } else { "opened again" };
    tracing::info!(c_organization_id = %id, actor = caller.name, "organization {id} was {done}");
    if !close && after.policy.auto_recharge_enabled {
        evaluate::request_fresh(app, &id, evaluate::RESUMED, &caller.name).await;
    }
    Ok(Answer::ok(json!(Closing::of(&after))))
}
