//! `/api/organizations` and `/api/organizations/:id/config`.

use common::ids::OrganizationId;
use serde_json::{Map, Value, json};
use warp::http::{Method, StatusCode};

use super::access::{Access, Role, forbidden};
use super::auth::Caller;
use super::filters::flag;
use super::history::page;
use super::operation::{Call, Operation};
use super::schemas::{Page, PageSize, ProblemBody};
use super::{open, organization_id, page_size, unknown_organization};
use crate::app::App;
use crate::evaluate;
use crate::http::{Answer, Problem, Request};
use crate::organizations::body::{ChangeBody, NewOrganizationBody};
use crate::organizations::repo::{self, AuditEntry, Taken};
use crate::organizations::view::OrganizationView;
use crate::organizations::{Change, NewOrganization, Organization};

/// The routes.
pub(crate) fn operations() -> Vec<Operation> {
    const TAG: &str = "Organizations";
    vec![
        Operation::known(Method::GET, "/api/organizations", "list_organizations", Access::ReadOwn, |app, call| {
            Box::pin(async move { list(&app, &call).await })
        })
        .says(TAG, "Organizations, in the order of their ids.")
        .query::<OrganizationId>("after", "The `next_cursor` of the page before.")
        .query::<bool>("closed", "`true`: those that are closed, too.")
        .query::<PageSize>("limit", "How many.")
        .answers::<Page<OrganizationView>>(200, "A page of organizations."),
        Operation::known(
            Method::POST,
            "/api/organizations",
            "create_organization",
            Access::OperateFleet,
            |app, call| Box::pin(async move { create(&app, call.request, &call.caller).await }),
        )
        .says(TAG, "Creates an organization.")
        .body::<NewOrganizationBody>()
        .answers::<OrganizationView>(201, "The organization.")
        .answers::<ProblemBody>(409, "The organization exists already, or another one has its team."),
        Operation::known(
            Method::GET,
            "/api/organizations/{id}/config",
            "get_organization",
            Access::ReadOrganization,
            |app, call| Box::pin(async move { show(&app, call.param(0)).await }),
        )
        .says(TAG, "An organization with its policy and its card.")
        .answers::<OrganizationView>(200, "The organization."),
        Operation::known(
            Method::PATCH,
            "/api/organizations/{id}/config",
            "change_organization",
            Access::ChangeOrganization,
            |app, call| {
                Box::pin(async move {
                    let id = call.param(0).to_owned();
                    change(&app, call.request, &id, &call.caller).await
                })
            },
        )
        .says(TAG, "Changes what the body names, and leaves the rest.")
        .body::<ChangeBody>()
        .answers::<OrganizationView>(200, "The organization as it is now.")
        .answers::<ProblemBody>(
            409,
            "Another organization has this team, LiteLLM enforces its quota on another one, or it is closed.",
        ),
    ]
}

/// `POST /api/organizations`
async fn create(app: &App, mut request: Request, caller: &Caller) -> Result<Answer, Problem> {
    let body = request.object().await?;
    let new = NewOrganization::read(&body, true).map_err(|problems| Problem::fields(&problems))?;
    let organization = insert(app, &new, caller).await?;
    Ok(Answer::new(StatusCode::CREATED, organization.to_json()))
}

/// Creates an organization, with its line in the audit log.
pub(crate) async fn insert(app: &App, new: &NewOrganization, caller: &Caller) -> Result<Organization, Problem> {
    let now = app.clock.now();
    let mut transaction = app.pool.begin().await?;
    if let Err(taken) = repo::insert(&mut transaction, new, now).await? {
        drop(transaction);
        return Err(conflict(app, taken, new).await?);
    }
    let organization = repo::find(&mut transaction, &new.id).await?.ok_or_else(|| unknown_organization(&new.id))?;
    let entry =
        AuditEntry { after: Some(organization.to_json()), ..caller.audits(now, "organization.created", Some(&new.id)) };
    repo::audit(&mut transaction, entry).await?;
    transaction.commit().await?;
    refresh(app, &organization).await;
    tracing::info!(c_organization_id = %new.id, actor = caller.name, "organization {} was created", new.id);
    Ok(organization)
}

async fn conflict(app: &App, taken: Taken, new: &NewOrganization) -> Result<Problem, Problem> {
    Ok(match taken {
        Taken::Organization => {
            let closed_at = super::stored(app, &new.id).await?.and_then(|there| there.closed_at);
            let but = if closed_at.is_some() { "; it is closed, and an operator can open it again" } else { "" };
            Problem::conflict("organization_exists", format!("The organization {} exists already{but}", new.id))
                .and("c_organization_id", new.id.as_str())
                .and("closed_at", json!(closed_at))
        }
        Taken::Team => team_taken(new.policy.litellm_team_id.as_ref().map(|team| team.as_str())),
    })
}

fn team_taken(team: Option<&str>) -> Problem {
    Problem::conflict("team_taken", "Another organization has this litellm_team_id").and("litellm_team_id", team)
}

/// Its quota, and what it spent, would stay behind on the team that it has.
fn team_met(met: &str) -> Problem {
    let sentence =
        format!("LiteLLM enforces its quota on team {met} already, and another team would begin with nothing");
    Problem::conflict("team_met", sentence).and("litellm_team_id", met)
}

/// `GET /api/organizations/:id/config`
async fn show(app: &App, id: &str) -> Result<Answer, Problem> {
    let id = organization_id(id)?;
    let mut connection = app.pool.acquire().await?;
    let organization = repo::find(&mut connection, &id).await?.ok_or_else(|| unknown_organization(&id))?;
    Ok(Answer::ok(organization.to_json()))
}

/// `GET /api/organizations?after=&limit=&closed=`
async fn list(app: &App, call: &Call) -> Result<Answer, Problem> {
    let query = &call.request.query;
    let limit = page_size(query)?;
    let after = match query.get("after") {
        Some(after) => organization_id(after)?.to_string(),
        None => String::new(),
    };
    let closed_too = flag(query, "closed")?;
    let mut connection = app.pool.acquire().await?;
    let only = call.caller.grant.organization.as_ref();
    let organizations = repo::list(&mut connection, only, closed_too, &after, limit + 1).await?;
    Ok(page(&organizations, limit, Organization::to_json, |last| Some(last.id.to_string())))
}

/// `PATCH /api/organizations/:id/config`
async fn change(app: &App, mut request: Request, id: &str, caller: &Caller) -> Result<Answer, Problem> {
    let body = request.object().await?;
    let trusted: Vec<&str> = Change::TRUSTED.into_iter().filter(|field| body.contains_key(*field)).collect();
    if caller.grant.role != Role::Operator && !trusted.is_empty() {
        return Err(forbidden(&caller.grant).and("operators_only", json!(trusted)));
    }
    update(app, id, &body, true, caller).await.map(|organization| Answer::ok(organization.to_json()))
}

/// Changes what the body names, with its line in the audit log.
pub(crate) async fn update(
    app: &App,
    id: &str,
    body: &Map<String, Value>,
    strict: bool,
    caller: &Caller,
) -> Result<Organization, Problem> {
    let id = organization_id(id)?;
    let now = app.clock.now();
    let mut transaction = app.pool.begin().await?;
    let before = open(repo::find_to_change(&mut transaction, &id).await?, &id)?;
    let change = Change::read(before.policy.clone(), body, strict).map_err(|problems| Problem::fields(&problems))?;
    if let Some(team) =
        change.policy.litellm_team_id.as_ref().filter(|team| before.policy.litellm_team_id.as_ref() != Some(team))
        && let Some(met) = repo::met_team(&mut transaction, &id).await?.filter(|met| met != team.as_str())
    {
        return Err(team_met(&met));
    }
    let resumed_at = change.resume.then_some(now);
    if repo::update(&mut transaction, &id, &change.policy, resumed_at, now).await?.is_err() {
        return Err(team_taken(change.policy.litellm_team_id.as_ref().map(|team| team.as_str())));
    }
    let after = repo::find(&mut transaction, &id).await?.ok_or_else(|| unknown_organization(&id))?;
    let entry = AuditEntry {
        before: Some(before.to_json()),
        after: Some(after.to_json()),
        ..caller.audits(now, if change.resume { "organization.resumed" } else { "organization.changed" }, Some(&id))
    };
    repo::audit(&mut transaction, entry).await?;
    transaction.commit().await?;
    refresh(app, &after).await;
    tracing::info!(c_organization_id = %id, actor = caller.name, "organization {id} was changed");
    if let Some(reason) = worth_a_look(&before, &after, change.resume) {
        evaluate::request_fresh(app, &id, reason, &caller.name).await;
    }
    Ok(after)
}

/// Whether the balance is to be looked at because of a change. Where nothing is recharged by itself there is nothing to see.
fn worth_a_look(before: &Organization, after: &Organization, resume: bool) -> Option<&'static str> {
    match resume {
        _ if !after.policy.auto_recharge_enabled => None,
        true => Some(evaluate::RESUMED),
        false => (before.policy != after.policy).then_some(evaluate::POLICY_CHANGED),
    }
}

/// This replica knows the change at once; the others hear of it from the database. If it fails, so does this one.
pub(crate) async fn refresh(app: &App, organization: &Organization) {
    if let Err(error) = app.directory.refresh_one(&organization.id).await {
        tracing::debug!(%error, "the directory was not refreshed at once: {error}");
    }
}
