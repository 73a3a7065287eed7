//! `/api/tokens`: who may call. A token is told once, when it is made.

use common::clock::Timestamp;
use common::config::Secret;
use common::ids::OrganizationId;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;
use warp::http::{Method, StatusCode};

use super::access::{Access, Grant, Role, forbidden};
use super::auth::Caller;
use super::history::{page, read_uuid_cursor, write_cursor};
use super::operation::{Call, Operation};
use super::page_size;
use super::schemas::{Page, PageSize, ProblemBody, UuidCursor, Words};
use crate::app::App;
use crate::fields::{self, FieldProblem, Fields};
use crate::http::{Answer, Problem, Request};
use crate::organizations::repo::{AuditEntry, audit};
use crate::tokens::repo::{self, Added, Listed};
use crate::tokens::{NewToken, Tokens};

/// The longest name.
const LONGEST_NAME: usize = 100;
/// So many valid tokens one organization may have: every replica knows all tokens by heart.
const MOST_TOKENS: i64 = 100;

/// The routes.
pub(crate) fn operations() -> Vec<Operation> {
    const TAG: &str = "Tokens";
    vec![
        Operation::known(Method::GET, "/api/tokens", "list_tokens", Access::ChangeOwn, |app, call| {
            Box::pin(async move { list(&app, &call).await })
        })
        .says(TAG, "Tokens, newest first, revoked ones included. None is told again.")
        .query::<UuidCursor>("before", "The `next_cursor` of the page before.")
        .query::<PageSize>("limit", "How many.")
        .answers::<Page<TokenView>>(200, "A page of tokens."),
        Operation::known(Method::POST, "/api/tokens", "create_token", Access::ChangeOwn, |app, call| {
            Box::pin(async move { create(&app, call.request, &call.caller).await })
        })
        .says(TAG, "Makes a token. An org_admin makes tokens for its own organization only.")
        .body::<NewTokenBody>()
        .answers::<CreatedToken>(201, "The token, which is told this once.")
        .answers::<ProblemBody>(404, "There is no such organization.")
        .answers::<ProblemBody>(409, "The organization is closed."),
        Operation::known(Method::DELETE, "/api/tokens/{id}", "revoke_token", Access::ChangeOwn, |app, call| {
            Box::pin(async move { revoke(&app, call.param(0), &call.caller).await })
        })
        .says(TAG, "Revokes a token, at once and for good. Repeating it changes nothing.")
        .answers::<TokenView>(200, "The revoked token."),
    ]
}

/// A token, without the token.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Token")]
pub(crate) struct TokenView {
    /// What it is revoked by.
    id: Uuid,
    /// Whom or what it was given to.
    name: String,
    /// What its owner may do.
    role: Role,
    /// What it is limited to; null: nothing.
    c_organization_id: Option<String>,
    /// When it was made.
    created_at: Timestamp,
    /// Who made it.
    created_by: String,
    /// From when on it is not valid any more; null: it stays valid.
    expires_at: Option<Timestamp>,
    /// When it was last used, to about a minute; null: never.
    last_used_at: Option<Timestamp>,
    /// When it was revoked, if it was.
    revoked_at: Option<Timestamp>,
    /// Who revoked it.
    revoked_by: Option<String>,
}

impl TokenView {
    fn of(token: &Listed) -> Self {
        Self {
            id: token.id,
            name: token.name.clone(),
            // The column takes no other words; should it, then this one may do least.
            role: token.role.parse().unwrap_or(Role::Viewer),
            c_organization_id: token.c_organization_id.clone(),
            created_at: token.created_at,
            created_by: token.created_by.clone(),
            expires_at: token.expires_at,
            last_used_at: token.last_used_at,
            revoked_at: token.revoked_at,
            revoked_by: token.revoked_by.clone(),
        }
    }
}

/// A token that was just made.
#[derive(Serialize, JsonSchema)]
pub(crate) struct CreatedToken {
    /// The token itself. It is not stored and can't be told again.
    token: String,
    #[serde(flatten)]
    about: TokenView,
}

impl CreatedToken {
    /// The token itself.
    pub(crate) fn secret(&self) -> Secret {
        Secret::new(self.token.clone())
    }
}

/// What a token shall be.
#[derive(JsonSchema)]
#[schemars(rename = "NewToken", deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct NewTokenBody {
    /// Whom or what it is given to.
    name: Words<LONGEST_NAME>,
    /// What its owner may do.
    role: Role,
    /// What it is limited to: needed for an org_admin, absent for an operator.
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    c_organization_id: Option<OrganizationId>,
    /// From when on it is not valid any more.
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    expires_at: Option<Timestamp>,
}

/// A token to be made.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) name: String,
    pub(crate) grant: Grant,
    pub(crate) expires_at: Option<Timestamp>,
}

impl Wanted {
    fn read(body: &Map<String, Value>, now: Timestamp) -> Result<Self, Problem> {
        let mut fields = Fields::of(body);
        let name = fields.required("name", fields::text(LONGEST_NAME));
        let role = fields.required("role", |value| {
            value.as_str().ok_or_else(|| "must be a text".to_owned()).and_then(str::parse::<Role>)
        });
        let organization = fields.optional("c_organization_id", fields::organization_id);
        let expires_at = fields.optional("expires_at", fields::timestamp);
        if expires_at.is_some_and(|at| at <= now) {
            fields.problem("expires_at", "must be in the future");
        }
        let grant = role.and_then(|role| {
            let grant = Grant::new(role, organization);
            grant.map_err(|problem| fields.problem("c_organization_id", problem)).ok()
        });
        fields.refuse_unknown();
        fields.finish().map_err(|problems| Problem::fields(&problems))?;
        let (name, grant) = name.zip(grant).ok_or_else(|| Problem::fields(&[]))?;
        Ok(Self { name, grant, expires_at })
    }
}

/// `GET /api/tokens?limit=&before=`
async fn list(app: &App, call: &Call) -> Result<Answer, Problem> {
    let query = &call.request.query;
    let limit = page_size(query)?;
    let before = query.get("before").map(read_uuid_cursor).transpose()?;
    let rows = repo::list(&app.pool, call.caller.grant.organization.as_ref(), before, limit + 1).await?;
    let show = |token: &Listed| json!(TokenView::of(token));
    Ok(page(&rows, limit, show, |last| Some(write_cursor(last.created_at, &last.id))))
}

/// `POST /api/tokens {name, role, c_organization_id?, expires_at?}`
async fn create(app: &App, mut request: Request, caller: &Caller) -> Result<Answer, Problem> {
    let now = app.clock.now();
    let body = request.object().await?;
    let wanted = Wanted::read(&body, now)?;
    if !caller.grant.may_give(&wanted.grant) {
        return Err(forbidden(&caller.grant));
    }
    // Nobody gives for longer than he has it himself.
    if let Some(end) = caller.expires_at
        && wanted.expires_at.is_none_or(|at| at > end)
    {
        let problem = format!("must be there, and not after {}, when your own token ends", end.to_rfc3339());
        return Err(Problem::fields(&[FieldProblem { field: "expires_at".to_owned(), problem }]));
    }
    if let Some(organization) = &wanted.grant.organization {
        super::known(app, organization).await?;
    }
    if let Some(organization) = &wanted.grant.organization
        && repo::count_live(&app.pool, organization, now).await? >= MOST_TOKENS
    {
        let error = format!("{organization} has {MOST_TOKENS} tokens that are valid; revoke some first");
        return Err(Problem::conflict("too_many_tokens", error));
    }
    let made = make(&app.pool, &wanted, [app.ids.fresh(), app.ids.fresh(), app.ids.fresh()], caller, now).await?;
    Ok(Answer::new(StatusCode::CREATED, json!(made)))
}

/// Makes a token, with its line in the audit log.
pub(crate) async fn make(
    pool: &sqlx::PgPool,
    wanted: &Wanted,
    [id, one, two]: [Uuid; 3],
    caller: &Caller,
    now: Timestamp,
) -> sqlx::Result<CreatedToken> {
    let token = NewToken::of([one, two]);
    let added = Added {
        id,
        name: &wanted.name,
        digest: &token.digest,
        grant: &wanted.grant,
        expires_at: wanted.expires_at,
        created_by: &caller.name,
    };
    let mut transaction = pool.begin().await?;
    repo::insert(&mut transaction, &added, now).await?;
    let listed = repo::find(&mut transaction, id).await?.ok_or(sqlx::Error::RowNotFound)?;
    let about = TokenView::of(&listed);
    let entry = AuditEntry {
        after: Some(json!(about)),
        ..caller.audits(now, "token.created", wanted.grant.organization.as_ref())
    };
    audit(&mut transaction, entry).await?;
    transaction.commit().await?;
    tracing::info!(token_id = %id, actor = caller.name, role = listed.role, "the token {id} was made");
    Ok(CreatedToken { token: token.secret.expose().to_owned(), about })
}

/// `DELETE /api/tokens/:id`
async fn revoke(app: &App, text: &str, caller: &Caller) -> Result<Answer, Problem> {
    let unknown = || Problem::not_found("unknown_token", "There is no such token").and("id", text);
    let id = Uuid::parse_str(text).map_err(|_| unknown())?;
    let now = app.clock.now();
    let mut transaction = app.pool.begin().await?;
    let before = repo::find(&mut transaction, id).await?;
    let before = before.filter(|token| caller.grant.sees(token.c_organization_id.as_deref())).ok_or_else(unknown)?;
    let revoked = repo::revoke(&mut transaction, id, &caller.name, now).await?;
    let after = repo::find(&mut transaction, id).await?.ok_or_else(unknown)?;
    if revoked {
        let organization = before.c_organization_id.as_ref().and_then(|id| OrganizationId::parse(id.as_str()).ok());
        let entry = AuditEntry {
            before: Some(json!(TokenView::of(&before))),
            after: Some(json!(TokenView::of(&after))),
            ..caller.audits(now, "token.revoked", organization.as_ref())
        };
        audit(&mut transaction, entry).await?;
    }
    transaction.commit().await?;
    forget(&app.tokens, id).await;
    if revoked {
        tracing::info!(token_id = %id, actor = caller.name, "the token {id} was revoked");
    }
    Ok(Answer::ok(json!(TokenView::of(&after))))
}

/// This replica forgets the token at once; the others hear of it from the database. If it fails, so does this one.
async fn forget(tokens: &Tokens, id: Uuid) {
    if let Err(error) = tokens.refresh_one(id).await {
        tracing::debug!(%error, "the tokens were not refreshed at once: {error}");
    }
}
