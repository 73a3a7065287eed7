//! `/api/audit-log`: who changed what.

use common::clock::Timestamp;
use common::ids::OrganizationId;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};
use sqlx::FromRow;
use warp::http::Method;

use super::access::Access;
use super::filters::{Dotted, words};
use super::history::{page, read_number_cursor};
use super::operation::{Call, Operation};
use super::schemas::{Page, PageSize, Position, Words};
use super::{organization_id, page_size, repo};
use crate::app::App;
use crate::http::{Answer, Problem};

/// The routes.
pub(crate) fn operations() -> Vec<Operation> {
    vec![
        Operation::known(Method::GET, "/api/audit-log", "list_audit_log", Access::ReadOwn, |app, call| {
            Box::pin(async move { list(&app, &call).await })
        })
        .says("Audit log", "Who changed what, newest first. Lines are only ever added.")
        .query::<OrganizationId>("c_organization_id", "Only what is about this organization.")
        .query::<Dotted>(
            "action",
            "Only this action, as `organization.changed`, or all that begin so, as `organization`.",
        )
        .query::<Words<LONGEST_ACTOR>>("actor", "Only what was done with this token: its name, or the whole actor.")
        .query::<Position>("before", "The `next_cursor` of the page before.")
        .query::<PageSize>("limit", "How many.")
        .answers::<Page<AuditLine>>(200, "A page of lines."),
    ]
}

/// One line of the audit log.
#[derive(Debug, Serialize, JsonSchema, FromRow)]
pub(crate) struct AuditLine {
    /// Grows from line to line.
    pub(super) id: i64,
    /// When.
    at: Timestamp,
    /// Who: the name of a token and the beginning of its id, `anonymous` where nobody is asked, or `customer`.
    actor: String,
    /// What, as a stable word such as `organization.changed`.
    action: String,
    /// About whom, if about one.
    c_organization_id: Option<String>,
    /// The call that did it: its `x-request-id`.
    request_id: Option<String>,
    /// What was there before, where there was something.
    before: Option<Value>,
    /// What is there since.
    after: Option<Value>,
}

/// Longer than any actor is.
const LONGEST_ACTOR: usize = 200;

/// Which lines are asked for.
pub(super) struct Which<'a> {
    pub(super) organization: Option<&'a OrganizationId>,
    /// An action, or its beginning up to a dot.
    pub(super) action: Option<&'a str>,
    /// An actor, or the name of a token, which others may have, too.
    pub(super) actor: Option<&'a str>,
}

/// `GET /api/audit-log?c_organization_id=&action=&actor=&limit=&before=`
async fn list(app: &App, call: &Call) -> Result<Answer, Problem> {
    let query = &call.request.query;
    let limit = page_size(query)?;
    let asked = query.get("c_organization_id").map(organization_id).transpose()?;
    let own = call.caller.grant.organization.clone();
    if let Some(asked) = asked.as_ref().filter(|asked| !call.caller.grant.sees(Some(asked.as_str()))) {
        return Err(super::unknown_organization(asked));
    }
    let before = query.get("before").map(read_number_cursor).transpose()?;
    let organization = own.or(asked);
    let which = Which {
        organization: organization.as_ref(),
        action: Dotted::read(query, "action")?,
        actor: words(query, "actor", LONGEST_ACTOR)?,
    };
    let rows = repo::audit_log(&app.pool, &which, before, limit + 1).await?;
    Ok(page(&rows, limit, |line| json!(line), |last| Some(last.id.to_string())))
}
