//! `/console/tokens`: who may call, a new token that is told once, and its end.

use askama::Template;
use chrono::{NaiveDate, NaiveTime};
use common::clock::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use warp::http::{Method, StatusCode};

use super::Badge;
use super::refusal::Refusal;
use crate::console::form::query;
use crate::console::layout::Layout;
use crate::console::moment::Moment;
use crate::console::reply::Reply;
use crate::console::route::Route;
use crate::console::text::{Text, fill, term};
use crate::console::visit::Visit;
use crate::http::Problem;

const PATH: &str = "/console/tokens";
const REVOKE: &str = "/console/tokens/{id}/revoke";
/// What a new token's form shows.
const FIELDS: [&str; 4] = ["name", "role", "c_organization_id", "expires_at"];
/// So many pages of tokens are looked through for the one that is to be revoked.
const PAGES: usize = 50;

/// The routes.
pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get(PATH, |visit| Box::pin(async move { show(&visit, Refusal::none()).await })),
        Route::post(PATH, |visit| Box::pin(async move { create(&visit).await })),
        Route::get(REVOKE, |visit| Box::pin(async move { ask(&visit).await })),
        Route::post(REVOKE, |visit| Box::pin(async move { revoke(&visit).await })),
    ]
}

#[derive(Deserialize)]
struct Tokens {
    items: Vec<Token>,
    next_cursor: Option<String>,
}

#[derive(Deserialize)]
struct Token {
    id: String,
    name: String,
    role: String,
    c_organization_id: Option<String>,
    created_at: Moment,
    created_by: String,
    expires_at: Option<Moment>,
    last_used_at: Option<Moment>,
    revoked_at: Option<Moment>,
}

/// A token that was just made.
#[derive(Deserialize)]
struct Made {
    token: String,
    name: String,
    role: String,
    c_organization_id: Option<String>,
    expires_at: Option<Moment>,
}

struct Row {
    token: Token,
    role: String,
    badge: Badge,
    live: bool,
}

/// A role that may be given.
struct Choice {
    word: &'static str,
    says: String,
    hint: &'static str,
    chosen: bool,
}

#[derive(Template)]
#[template(path = "operator/tokens.html")]
struct Page {
    layout: Layout,
    rows: Vec<Row>,
    first: Option<&'static str>,
    next: Option<String>,
    roles: Vec<Choice>,
    /// As it was typed.
    called: String,
    organization: String,
    /// The viewer's own organization: he gives tokens for no other.
    own: Option<String>,
    expires_at: String,
    refusal: Refusal,
}

#[derive(Template)]
#[template(path = "operator/token_made.html")]
struct MadePage {
    layout: Layout,
    made: Made,
    role: String,
}

#[derive(Template)]
#[template(path = "operator/revoke.html")]
struct Revoke {
    layout: Layout,
    token: Token,
    lead: String,
    /// Whether it is what the viewer signed in with.
    own: bool,
}

/// `GET /console/tokens?before=`
async fn show(visit: &Visit, refusal: Refusal) -> Result<Reply, Problem> {
    let text = visit.text;
    let before = visit.query.get("before").unwrap_or_default();
    let tokens: Tokens = visit.get(&format!("/api/tokens?{}", query([("before", before)]))).await?;
    let now = visit.app.clock.now();
    let typed = |name| visit.form.get(name).to_owned();
    let role = typed("role");
    let choice = |word: &'static str, hint: &'static str| {
        let chosen = if role.is_empty() { word == "viewer" } else { role == word };
        Choice { word, says: term(text.terms.roles, word).to_owned(), hint, chosen }
    };
    let words = &text.operator;
    let mut roles = vec![choice("viewer", words.role_viewer), choice("org_admin", words.role_org_admin)];
    if visit.is_operator() {
        roles.push(choice("operator", words.role_operator));
    }
    let page = Page {
        layout: visit.layout(text.common.tokens).section("tokens"),
        rows: tokens.items.into_iter().map(|token| row(text, token, now)).collect(),
        first: (!before.is_empty()).then_some(PATH),
        next: tokens.next_cursor.map(|next| format!("{PATH}?{}", query([("before", next.as_str())]))),
        roles,
        called: typed("name"),
        organization: typed("c_organization_id"),
        own: visit.own().map(str::to_owned),
        expires_at: typed("expires_at"),
        refusal,
    };
    Reply::page_with(page.refusal.status, &page)
}

fn row(text: &Text, token: Token, now: Timestamp) -> Row {
    let words = &text.operator;
    let badge = match (token.revoked_at, token.expires_at) {
        (Some(_), _) => Badge::new("is-bad", words.token_revoked),
        (None, Some(at)) if at.0 <= now => Badge::new("is-quiet", words.token_expired),
        _ => Badge::new("is-good", words.token_valid),
    };
    Row { role: term(text.terms.roles, &token.role).to_owned(), live: badge.class == "is-good", badge, token }
}

/// `POST /console/tokens`: the token is on this answer and nowhere else, so that there is no way to see it twice.
async fn create(visit: &Visit) -> Result<Reply, Problem> {
    let form = &visit.form;
    let organization = visit.own().map_or_else(|| form.value("c_organization_id"), |own| json!(own));
    let expires_at = match form.get("expires_at").trim() {
        "" => Value::Null,
        typed => json!(last_moment(typed).unwrap_or_else(|| typed.to_owned())),
    };
    let body = json!({ "name": form.value("name"), "role": form.value("role"), "c_organization_id": organization, "expires_at": expires_at });
    match visit.post::<Made>("/api/tokens", body).await {
        Ok(made) => {
            let role = term(visit.text.terms.roles, &made.role).to_owned();
            let layout = visit.layout(visit.text.operator.made_title).section("tokens");
            Reply::page_with(StatusCode::CREATED, &MadePage { layout, made, role })
        }
        Err(problem) if problem.code() == "unknown_organization" => {
            let fields = json!([{ "field": "c_organization_id", "problem": "is unknown" }]);
            show(visit, Refusal::of(visit.text, problem.and("fields", fields), &FIELDS)?).await
        }
        Err(problem) => show(visit, Refusal::of(visit.text, problem, &FIELDS)?).await,
    }
}

/// A day as browsers send it, up to its last second (UTC).
fn last_moment(day: &str) -> Option<String> {
    let day = NaiveDate::parse_from_str(day, "%Y-%m-%d").ok()?;
    Some(day.and_time(NaiveTime::from_hms_opt(23, 59, 59)?).and_utc().to_rfc3339())
}

/// `GET /console/tokens/{id}/revoke`
async fn ask(visit: &Visit) -> Result<Reply, Problem> {
    let token = find(visit, visit.param(0)).await?;
    let words = &visit.text.operator;
    let role = term(visit.text.terms.roles, &token.role);
    let values = [("name", token.name.as_str()), ("role", role)];
    let lead = fill(words.revoke_lead, &values);
    // Whoever is signed in is called by his token's name and the beginning of its id.
    let short: String = token.id.chars().filter(char::is_ascii_hexdigit).take(8).collect();
    let own = visit.viewer.caller.name == format!("{}#{short}", token.name);
    Reply::page(&Revoke { layout: visit.layout(words.revoke_title).section("tokens"), token, lead, own })
}

/// There is no call for one token: it is on one of the pages.
async fn find(visit: &Visit, id: &str) -> Result<Token, Problem> {
    let mut before = String::new();
    for _ in 0..PAGES {
        let asked = query([("before", before.as_str()), ("limit", "200")]);
        let tokens: Tokens = visit.get(&format!("/api/tokens?{asked}")).await?;
        if let Some(found) = tokens.items.into_iter().find(|token| token.id == id) {
            return Ok(found);
        }
        let Some(next) = tokens.next_cursor else { break };
        before = next;
    }
    Err(Problem::not_found("unknown_token", "There is no such token"))
}

/// `POST /console/tokens/{id}/revoke`
async fn revoke(visit: &Visit) -> Result<Reply, Problem> {
    visit.call(Method::DELETE, &format!("/api/tokens/{}", visit.param(0)), None, &[]).await?;
    Ok(visit.redirect(PATH, "token_revoked"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_valid_to_the_end_of_its_day() {
        assert_eq!(last_moment("2026-02-28").as_deref(), Some("2026-02-28T23:59:59+00:00"));
        assert_eq!((last_moment("28.2.2026"), last_moment("")), (None, None));
    }
}
