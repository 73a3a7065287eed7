//! Who changed what: of an organization, and of all.

use askama::Template;
use serde::Deserialize;
use serde_json::Value;

use super::diff::{Difference, differences};
use super::listing::{Filter, Listing};
use super::sheet::{Cell, Sheet};
use crate::console::layout::Layout;
use crate::console::moment::Moment;
use crate::console::reply::Reply;
use crate::console::route::Route;
use crate::console::text::{Text, fill, term};
use crate::console::visit::Visit;
use crate::http::Problem;

/// More differing fields than these are behind a click.
const AT_ONCE: usize = 3;

/// The routes.
pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/console/audit", |visit| Box::pin(async move { show(&visit, None).await })),
        Route::get("/console/audit.csv", |visit| Box::pin(async move { file(&visit, None).await })),
        Route::get("/console/organizations/{id}/audit", |visit| {
            Box::pin(async move { show(&visit, Some(visit.param(0))).await })
        }),
        Route::get("/console/organizations/{id}/audit.csv", |visit| {
            Box::pin(async move { file(&visit, Some(visit.param(0))).await })
        }),
    ]
}

#[derive(Deserialize)]
struct Line {
    id: i64,
    at: Moment,
    actor: String,
    action: String,
    c_organization_id: Option<String>,
    request_id: Option<String>,
    before: Option<Value>,
    after: Option<Value>,
}

/// A line in words.
struct Entry {
    line: Line,
    action: String,
    differences: Vec<Difference>,
}

impl Entry {
    fn of(text: &Text, line: Line) -> Self {
        let differences = differences(text, line.before.as_ref(), line.after.as_ref());
        Self { action: term(text.terms.actions, &line.action).to_owned(), differences, line }
    }

    fn is_long(&self) -> bool {
        self.differences.len() > AT_ONCE
    }
}

#[derive(Template)]
#[template(path = "history/audit.html")]
struct AuditPage {
    layout: Layout,
    /// Whose log it is; empty: everybody's.
    id: String,
    tab: &'static str,
    list: Listing,
    entries: Vec<Entry>,
}

impl AuditPage {
    fn is_of_one(&self) -> bool {
        !self.id.is_empty()
    }

    fn fields(&self, entry: &Entry) -> String {
        fill(self.layout.text.history.fields, &[("count", &entry.differences.len().to_string())])
    }
}

fn listing(visit: &Visit, organization: Option<&str>) -> Listing {
    let words = &visit.text.history;
    let mut filters =
        vec![Filter::words("action", words.action, visit.text.terms.action_groups), Filter::text("actor", words.actor)];
    if organization.is_none() && visit.sees_all() {
        filters.push(Filter::text("c_organization_id", visit.text.common.organization));
    }
    let list = Listing::new(visit, "/api/audit-log".to_owned(), filters);
    match organization {
        Some(organization) => list.always("c_organization_id", organization),
        None => list,
    }
}

/// Whether there is such an organization: the log of one that is not there would only be empty.
async fn known(visit: &Visit, organization: &str) -> Result<(), Problem> {
    super::quota::balance(visit, organization).await.map(drop)
}

/// `GET /console/audit` and `GET /console/organizations/{id}/audit`
async fn show(visit: &Visit, organization: Option<&str>) -> Result<Reply, Problem> {
    let text = visit.text;
    if let Some(organization) = organization {
        known(visit, organization).await?;
    }
    let mut list = listing(visit, organization);
    let lines: Vec<Line> = list.load(visit).await?;
    let entries = lines.into_iter().map(|line| Entry::of(text, line)).collect();
    let title = match organization {
        Some(id) => fill(text.history.audit_of, &[("organization", id)]),
        None => text.common.audit.to_owned(),
    };
    let layout = visit.layout(title).live(organization.or(visit.own()));
    let layout = layout.section(if organization.is_some() { "organizations" } else { "audit" });
    let status = list.status();
    let id = organization.unwrap_or_default().to_owned();
    Reply::page_with(status, &AuditPage { layout, id, tab: "audit", list, entries })
}

/// The same as a file.
async fn file(visit: &Visit, organization: Option<&str>) -> Result<Reply, Problem> {
    let (words, common) = (&visit.text.history, &visit.text.common);
    if let Some(organization) = organization {
        known(visit, organization).await?;
    }
    let columns =
        [words.when, words.actor, words.action, common.organization, words.before, words.after, words.request_id];
    let mut sheet = Sheet::new(&columns)?;
    let list = listing(visit, organization);
    let mut walk = list.walk();
    let json = |value: Option<&Value>| value.map(Value::to_string).unwrap_or_default();
    while let Some(lines) = walk.next::<Line>(visit).await? {
        for line in &lines {
            sheet.row(&[
                Cell::At(Some(line.at)),
                Cell::Text(&line.actor),
                Cell::Text(term(visit.text.terms.actions, &line.action)),
                Cell::Text(line.c_organization_id.as_deref().unwrap_or_default()),
                Cell::Text(&json(line.before.as_ref())),
                Cell::Text(&json(line.after.as_ref())),
                Cell::Text(line.request_id.as_deref().unwrap_or_default()),
            ])?;
        }
    }
    let name = organization.map_or_else(|| "audit-log".to_owned(), |id| format!("{id}-audit-log"));
    sheet.into_reply(&name, walk.is_all())
}
