//! The development routes, `/test/…`: thin wrappers over the real functions, on one machine only (`DEV_ROUTES=on`).
//! Fields that they do not know are ignored, so that old scripts go on working.

mod kms;
mod webhook;

use serde_json::{Value, json};
use warp::http::{Method, StatusCode};

use crate::api::auth::Caller;
use crate::api::{organization_id, organizations, unknown_organization, users};
use crate::app::App;
use crate::fields::{self, Fields};
use crate::http::{Answer, Problem, Request};
use crate::organizations::repo::find;
use crate::organizations::{NewOrganization, Organization};
use crate::users::repo;

/// What the path of a development route begins with.
pub(crate) const PREFIX: &str = "/test/";

/// Answers a development route.
pub(crate) async fn answer(app: &App, request: Request, caller: &Caller) -> Result<Answer, Problem> {
    let is = |method: Method| request.method == method;
    let path = request.path.clone();
    let mut segments = path.strip_prefix(PREFIX).unwrap_or_default().trim_end_matches('/').split('/');
    match (segments.next().unwrap_or_default(), segments.next(), segments.next()) {
        _ if segments.next().is_some() => Err(Problem::no_route()),
        ("db-insert", None, None) if is(Method::POST) => insert_user(app, request).await,
        ("db-query", Some(id), None) if is(Method::GET) => query_user(app, id).await,
        ("organization-config", None, None) if is(Method::POST) => configure(app, request, caller).await,
        ("organization-with-users", Some(id), None) if is(Method::GET) => with_users(app, id).await,
        ("kms", Some("create-org"), None) if is(Method::POST) => kms::create(app, request).await,
        ("kms", Some("get-org"), Some(id)) if is(Method::GET) => kms::get(app, id).await,
        ("kms", Some("update-quota"), None) if is(Method::PUT) => kms::update(app, request).await,
        ("setup-webhook-test", None, None) if is(Method::POST) => webhook::set_up(app, request, caller).await,
        ("webhook", Some("verify"), None) if is(Method::POST) => webhook::verify(app, request).await,
        ("db-insert" | "organization-config" | "setup-webhook-test", None, None)
        | ("kms", Some("create-org"), None)
        | ("webhook", Some("verify"), None) => Err(Problem::method("POST")),
        ("db-query" | "organization-with-users", Some(_), None) | ("kms", Some("get-org"), Some(_)) => {
            Err(Problem::method("GET"))
        }
        ("kms", Some("update-quota"), None) => Err(Problem::method("PUT")),
        _ => Err(Problem::no_route()),
    }
}

/// `POST /test/db-insert {c_organization_id?, litellm_team_id?, email?}`: a row of `users`.
async fn insert_user(app: &App, mut request: Request) -> Result<Answer, Problem> {
    let body = request.object().await?;
    let mut fields = Fields::of(&body);
    let user = repo::NewUser {
        email: fields.optional("email", fields::text(320)),
        organization: fields.optional("c_organization_id", fields::organization_id),
        team: fields.optional("litellm_team_id", fields::team_id),
    };
    fields.finish().map_err(|problems| Problem::fields(&problems))?;
    let mut connection = app.pool.acquire().await?;
    let id = repo::insert(&mut connection, &user).await.map_err(users::refused)?;
    Ok(Answer::new(StatusCode::CREATED, json!({ "success": true, "id": id })))
}

/// `GET /test/db-query/:id`
async fn query_user(app: &App, id: &str) -> Result<Answer, Problem> {
    let unknown = || Problem::not_found("unknown_user", "There is no such user");
    repo::whole(&app.pool, id).await?.map(Answer::ok).ok_or_else(unknown)
}

/// `POST /test/organization-config`: creates the organization, or changes it.
async fn configure(app: &App, mut request: Request, caller: &Caller) -> Result<Answer, Problem> {
    let body = request.object().await?;
    let new = NewOrganization::read(&body, false).map_err(|problems| Problem::fields(&problems))?;
    let (organization, created) = create_or_change(app, &new, &body, caller).await?;
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    Ok(Answer::new(status, organization.to_json()))
}

/// The organization as `body` wants it, and whether it is new.
async fn create_or_change(
    app: &App,
    new: &NewOrganization,
    body: &serde_json::Map<String, Value>,
    caller: &Caller,
) -> Result<(Organization, bool), Problem> {
    match organizations::insert(app, new, caller).await {
        Ok(organization) => Ok((organization, true)),
        Err(problem) if problem.code() == "organization_exists" => {
            organizations::update(app, new.id.as_str(), body, false, caller)
                .await
                .map(|organization| (organization, false))
        }
        Err(problem) => Err(problem),
    }
}

/// `GET /test/organization-with-users/:id`
async fn with_users(app: &App, id: &str) -> Result<Answer, Problem> {
    let id = organization_id(id)?;
    let mut connection = app.pool.acquire().await?;
    let organization = find(&mut connection, &id).await?.ok_or_else(|| unknown_organization(&id))?;
    let users = repo::all_of(&mut connection, &id).await?;
    Ok(Answer::ok(json!({ "organization": organization.to_json(), "users": users })))
}
