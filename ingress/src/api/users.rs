//! `GET /api/organizations/:id/users` and `POST /api/users`.

use chrono::DateTime;
use common::clock::Timestamp;
use common::ids::{OrganizationId, TeamId};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};
use warp::http::{Method, StatusCode};

use super::access::Access;
use super::auth::Caller;
use super::history::page;
use super::operation::{Call, Operation};
use super::schemas::{Page, PageSize, ProblemBody, Words};
use super::{organization_id, page_size, readable, unknown_organization};
use crate::app::App;
use crate::fields::{self, Fields, Read};
use crate::http::{Answer, Problem, Request};
use crate::organizations::repo::{AuditEntry, audit};
use crate::users::repo::{self, NewUser, User};

/// The longest e-mail address (RFC 5321), and the longest part before its `@`.
const LONGEST_EMAIL: usize = 254;
const LONGEST_LOCAL: usize = 64;
/// Longer than any id that a table may have.
const LONGEST_CURSOR: usize = 200;

/// The routes.
pub(crate) fn operations() -> Vec<Operation> {
    const TAG: &str = "Users";
    vec![
        Operation::known(
            Method::GET,
            "/api/organizations/{id}/users",
            "list_users",
            Access::ReadOrganization,
            |app, call| Box::pin(async move { list(&app, &call).await }),
        )
        .says(
            TAG,
            "An organization's users, in the order of their ids: what else their table knows of them is its own.",
        )
        .query::<Words<LONGEST_CURSOR>>("after", "The `next_cursor` of the page before.")
        .query::<PageSize>("limit", "How many.")
        .answers::<Page<UserView>>(200, "A page of users."),
        Operation::known(Method::POST, "/api/users", "create_user", Access::ChangeOwn, |app, call| {
            Box::pin(async move { create(&app, call.request, &call.caller).await })
        })
        .says(TAG, "Adds a user to an organization. An org_admin adds users to its own organization only.")
        .body::<NewUserBody>()
        .answers::<UserView>(201, "The user.")
        .answers::<ProblemBody>(404, "There is no such organization, as far as the token may know.")
        .answers::<ProblemBody>(409, "There is such a user already, or the organization is closed."),
    ]
}

/// A user.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "User")]
pub(crate) struct UserView {
    /// Its id; where the table is older than Bill-Service, whatever ids are there.
    id: String,
    /// Its address, where the table has one.
    email: Option<String>,
    /// Whose it is.
    c_organization_id: Option<String>,
    /// Its team at LiteLLM, if it has one of its own.
    litellm_team_id: Option<String>,
    /// When it was made, where the table knows.
    created_at: Option<Timestamp>,
}

impl UserView {
    fn of(user: &User) -> Self {
        let created_at = user.created_at.as_deref().and_then(|text| DateTime::parse_from_rfc3339(text).ok());
        Self {
            id: user.id.clone(),
            email: user.email.clone(),
            c_organization_id: user.c_organization_id.clone(),
            litellm_team_id: user.litellm_team_id.clone(),
            created_at: created_at.map(|at| at.to_utc()),
        }
    }
}

/// What a user shall be.
#[derive(JsonSchema)]
#[schemars(rename = "NewUser", deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct NewUserBody {
    /// Its address.
    #[schemars(
        length(max = 254),
        regex(
            pattern = r"^[!-?A-~]{1,64}@([A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?\.)+[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?$"
        )
    )]
    email: String,
    /// Whose it is.
    c_organization_id: OrganizationId,
    /// Its team at LiteLLM, if it has one of its own.
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    litellm_team_id: Option<TeamId>,
}

/// An e-mail address, as far as its shape tells: only a letter to it would tell more.
fn email(value: &Value) -> Read<String> {
    let wrong = || format!("must be an e-mail address of at most {LONGEST_EMAIL} characters, such as ann@example.com");
    let text = value.as_str().filter(|text| text.len() <= LONGEST_EMAIL).ok_or_else(wrong)?;
    let (local, domain) = text.split_once('@').ok_or_else(wrong)?;
    let word = |label: &str| {
        let inner = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        inner && !label.is_empty() && !label.starts_with('-') && !label.ends_with('-')
    };
    let local_fits = (1..=LONGEST_LOCAL).contains(&local.len()) && local.bytes().all(|byte| byte.is_ascii_graphic());
    let domain_fits = domain.contains('.') && domain.split('.').all(word);
    if local_fits && domain_fits { Ok(text.to_owned()) } else { Err(wrong()) }
}

fn read(body: &Map<String, Value>) -> Result<(String, OrganizationId, Option<TeamId>), Problem> {
    let mut fields = Fields::of(body);
    let email = fields.required("email", email);
    let organization = fields.required("c_organization_id", fields::organization_id);
    let team = fields.optional("litellm_team_id", fields::team_id);
    fields.refuse_unknown();
    fields.finish().map_err(|problems| Problem::fields(&problems))?;
    let (email, organization) = email.zip(organization).ok_or_else(|| Problem::fields(&[]))?;
    Ok((email, organization, team))
}

/// `GET /api/organizations/:id/users?after=&limit=`
async fn list(app: &App, call: &Call) -> Result<Answer, Problem> {
    let id = organization_id(call.param(0))?;
    let limit = page_size(&call.request.query)?;
    let after = call.request.query.get("after").unwrap_or_default();
    if after.chars().count() > LONGEST_CURSOR || after.chars().any(char::is_control) {
        return Err(Problem::bad_request("invalid_query", "after must be a next_cursor of an earlier page"));
    }
    readable(app, &id).await?;
    let rows = repo::list(&app.pool, &id, after, limit + 1).await?;
    Ok(page(&rows, limit, |user| json!(UserView::of(user)), |last| Some(last.id.clone())))
}

/// `POST /api/users {email, c_organization_id, litellm_team_id?}`
async fn create(app: &App, mut request: Request, caller: &Caller) -> Result<Answer, Problem> {
    let body = request.object().await?;
    let (email, organization, team) = read(&body)?;
    if !caller.grant.sees(Some(organization.as_str())) {
        return Err(unknown_organization(&organization));
    }
    super::known(app, &organization).await?;
    let user = NewUser { email: Some(email), organization: Some(organization.clone()), team };
    let mut transaction = app.pool.begin().await?;
    let id = repo::insert(&mut transaction, &user).await.map_err(|error| told_to(caller, refused(error)))?;
    let view = repo::find(&mut transaction, &id).await?.map(|user| UserView::of(&user));
    let view = view.ok_or(sqlx::Error::RowNotFound)?;
    let entry =
        AuditEntry { after: Some(json!(view)), ..caller.audits(app.clock.now(), "user.created", Some(&organization)) };
    audit(&mut transaction, entry).await?;
    transaction.commit().await?;
    tracing::info!(c_organization_id = %organization, user_id = id, actor = caller.name, "the user {id} was added");
    Ok(Answer::new(StatusCode::CREATED, json!(view)))
}

/// Whoever is limited to an organization is not told what others' addresses are, nor what the table is made of.
fn told_to(caller: &Caller, refusal: Problem) -> Problem {
    let telling = ["user_exists", "user_not_insertable"].contains(&refusal.code());
    if caller.grant.organization.is_none() || !telling {
        return refusal;
    }
    tracing::info!(actor = caller.name, code = refusal.code(), "a user was not added");
    Problem::conflict("user_not_insertable", "The table of users refuses it")
}

/// A table from before Bill-Service may allow an address once only, or want more than we know.
pub(crate) fn refused(error: sqlx::Error) -> Problem {
    match error {
        sqlx::Error::Database(error) if error.is_unique_violation() => {
            Problem::conflict("user_exists", "There is such a user already")
        }
        // A value that a column does not take (22), or a rule of the table's (23).
        sqlx::Error::Database(error)
            if error.code().is_some_and(|code| code.starts_with("22") || code.starts_with("23")) =>
        {
            Problem::conflict("user_not_insertable", format!("The table of users refuses it: {}", error.message()))
        }
        other => other.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let local = "x".repeat(64);
        for good in ["ann@example.com", "a.b+c@mail.example.co.uk", &format!("{local}@a.de")] {
            assert_eq!(email(&json!(good)), Ok(good.to_owned()), "{good}");
        }
        let long = format!("a@{}.com", "x".repeat(250));
        for bad in [
            "",
            "ann",
            "@example.com",
            "ann@",
            "ann@localhost",
            "ann@.com",
            "ann@example.",
            "a b@example.com",
            "\u{fc}mlaut@example.com",
            "a@b@example.com",
            "ann@-a.com",
            "ann@exa mple.com",
            "a\u{0}@example.com",
            &format!("{local}x@a.de"),
            &long,
        ] {
            assert!(email(&json!(bad)).is_err(), "{bad}");
        }
        assert!(email(&json!(7)).is_err());
    }
}
