//! `GET /api/standings`: organizations by how much they need a person.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::json;
use warp::http::Method;

use super::access::Access;
use super::filters::{Choice, OneOf, choice, flag, words};
use super::operation::{Call, Operation};
use super::page_size;
use super::schemas::{PageSize, Words};
use crate::app::App;
use crate::http::{Answer, Problem, Query};
use crate::standings::view::StandingsView;
use crate::standings::{CURSOR, Order, Position, Urgency, Which, repo};

/// The longest part of an id that is looked for: no id is longer.
const LONGEST_SEARCH: usize = 128;

/// The routes.
pub(crate) fn operations() -> Vec<Operation> {
    vec![
        Operation::known(Method::GET, "/api/standings", "list_standings", Access::ReadOwn, |app, call| {
            Box::pin(async move { list(&app, &call).await })
        })
        .says(
            "Organizations",
            "How organizations stand, who needs a person first, and how many of each urgency there are. Urgencies, in this order, \
             the first that applies: paused; failing (the last recharge was declined or failed, and neither was another card \
             saved nor a pause ended since; or a refund fails); action_required (the customer has to confirm); behind (the quota \
             backend does not have the ledger's quota yet); low (less than the minimum is left, and no recharge is on its \
             way); no_card (it is to be recharged by itself, and can't be); off (it is not, or closed); ok.",
        )
        .query::<Words<LONGEST_SEARCH>>(
            "search",
            "Only those whose id, or whose team's id, contains this, in small or capital letters.",
        )
        .query::<OneOf<Only>>("only", "Only those of this urgency. The counts are of all the same.")
        .query::<OneOf<Sort>>(
            "sort",
            "In what order: the most urgent first, unless something else is asked for; by ids; or who has least left first.",
        )
        .query::<bool>("closed", "`true`: those that are closed, too.")
        .query::<Cursor>("after", "The `next_cursor` of the page before, in the same order.")
        .query::<PageSize>("limit", "How many.")
        .answers::<StandingsView>(200, "A page of organizations."),
    ]
}

struct Only;

impl Choice for Only {
    const WORDS: &'static [&'static str] = &Urgency::WORDS;
}

struct Sort;

impl Choice for Sort {
    const WORDS: &'static [&'static str] = &Order::WORDS;
}

/// A place in the list.
struct Cursor;

impl JsonSchema for Cursor {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "StandingsCursor".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": CURSOR })
    }
}

/// `GET /api/standings?search=&only=&sort=&closed=&after=&limit=`
async fn list(app: &App, call: &Call) -> Result<Answer, Problem> {
    let query = &call.request.query;
    let limit = page_size(query)?;
    let order = choice::<Sort>(query, "sort")?.and_then(Order::parse).unwrap_or(Order::Urgency);
    let after = after(query, order)?;
    let which = Which {
        own: call.caller.grant.organization.as_ref(),
        closed_too: flag(query, "closed")?,
        search: words(query, "search", LONGEST_SEARCH)?,
        only: choice::<Only>(query, "only")?,
        order,
        after: after.as_ref(),
    };
    let found = repo::list(&app.pool, &which, limit + 1).await?;
    Ok(Answer::ok(json!(found.view(usize::try_from(limit).unwrap_or_default()))))
}

fn after(query: &Query, order: Order) -> Result<Option<Position>, Problem> {
    let Some(text) = query.get("after") else { return Ok(None) };
    let position = Position::parse(text).filter(|position| position.order == order);
    let wrong =
        || Problem::bad_request("invalid_query", "after must be a next_cursor of an earlier page in the same order");
    position.map(Some).ok_or_else(wrong)
}
