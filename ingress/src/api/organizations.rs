//! `/api/organizations` and `/api/organizations/:id/config`.

use serde_json::{Map, Value, json};
use warp::http::StatusCode;

use super::auth::Caller;
use super::{organization_id, page_size, unknown_organization};
use crate::app::App;
use crate::evaluate;
use crate::http::{Answer, Problem, Request};
use crate::organizations::repo::{self, AuditEntry, Taken};
use crate::organizations::{Change, NewOrganization, Organization};

/// `POST /api/organizations`
pub(crate) async fn create(app: &App, mut request: Request, caller: &Caller) -> Result<Answer, Problem> {
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
        return Err(conflict(taken, new));
    }
    let organization = repo::find(&mut transaction, &new.id).await?.ok_or_else(|| unknown_organization(&new.id))?;
    let entry = AuditEntry {
        at: now,
        actor: &caller.name,
        action: "organization.created",
        organization: Some(&new.id),
        request_id: &caller.request_id,
        before: None,
        after: Some(organization.to_json()),
    };
    repo::audit(&mut transaction, entry).await?;
    transaction.commit().await?;
    refresh(app, &organization).await;
    tracing::info!(c_organization_id = %new.id, actor = caller.name, "organization {} was created", new.id);
    Ok(organization)
}

fn conflict(taken: Taken, new: &NewOrganization) -> Problem {
    match taken {
        Taken::Organization => {
            Problem::conflict("organization_exists", format!("The organization {} exists already", new.id))
                .and("c_organization_id", new.id.as_str())
        }
        Taken::Team => team_taken(new.policy.litellm_team_id.as_ref().map(|team| team.as_str())),
    }
}

fn team_taken(team: Option<&str>) -> Problem {
    Problem::conflict("team_taken", "Another organization has this litellm_team_id").and("litellm_team_id", team)
}

/// `GET /api/organizations/:id/config`
pub(crate) async fn show(app: &App, id: &str) -> Result<Answer, Problem> {
    let id = organization_id(id)?;
    let mut connection = app.pool.acquire().await?;
    let organization = repo::find(&mut connection, &id).await?.ok_or_else(|| unknown_organization(&id))?;
    Ok(Answer::ok(organization.to_json()))
}

/// `GET /api/organizations?after=&limit=`
pub(crate) async fn list(app: &App, request: &Request) -> Result<Answer, Problem> {
    let limit = page_size(&request.query)?;
    let after = match request.query.get("after") {
        Some(after) => organization_id(after)?.to_string(),
        None => String::new(),
    };
    let mut connection = app.pool.acquire().await?;
    let mut organizations = repo::list(&mut connection, &after, limit + 1).await?;
    let more = organizations.len() > usize::try_from(limit).unwrap_or_default();
    if more {
        organizations.pop();
    }
    let items: Vec<Value> = organizations.iter().map(Organization::to_json).collect();
    let next = organizations.last().filter(|_| more).map(|last| last.id.as_str());
    Ok(Answer::ok(json!({ "items": items, "next_cursor": next })))
}

/// `PATCH /api/organizations/:id/config`
pub(crate) async fn change(app: &App, mut request: Request, id: &str, caller: &Caller) -> Result<Answer, Problem> {
    let body = request.object().await?;
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
    let before = repo::find_to_change(&mut transaction, &id).await?.ok_or_else(|| unknown_organization(&id))?;
    let change = Change::read(before.policy.clone(), body, strict).map_err(|problems| Problem::fields(&problems))?;
    let resumed_at = change.resume.then_some(now);
    if repo::update(&mut transaction, &id, &change.policy, resumed_at, now).await?.is_err() {
        return Err(team_taken(change.policy.litellm_team_id.as_ref().map(|team| team.as_str())));
    }
    let after = repo::find(&mut transaction, &id).await?.ok_or_else(|| unknown_organization(&id))?;
    let entry = AuditEntry {
        at: now,
        actor: &caller.name,
        action: if change.resume { "organization.resumed" } else { "organization.changed" },
        organization: Some(&id),
        request_id: &caller.request_id,
        before: Some(before.to_json()),
        after: Some(after.to_json()),
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
    if let Err(error) = app.directory.refresh(&organization.id).await {
        tracing::debug!(%error, "the directory was not refreshed at once: {error}");
    }
}
