//! An organization is closed, or opened again: a page in between says what that means.

use askama::Template;
use serde::Deserialize;
use warp::http::Method;

use super::operators_only;
use super::refusal::Refusal;
use crate::console::layout::Layout;
use crate::console::moment::Moment;
use crate::console::reply::Reply;
use crate::console::route::Route;
use crate::console::text::fill;
use crate::console::visit::Visit;
use crate::http::Problem;

const CLOSE: &str = "/console/organizations/{id}/close";
const REOPEN: &str = "/console/organizations/{id}/reopen";

/// The routes.
pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get(CLOSE, |visit| Box::pin(async move { show(&visit, Way::Close, Refusal::none()).await })),
        Route::get(REOPEN, |visit| Box::pin(async move { show(&visit, Way::Reopen, Refusal::none()).await })),
        Route::post(CLOSE, |visit| Box::pin(async move { act(&visit, Way::Close).await })),
        Route::post(REOPEN, |visit| Box::pin(async move { act(&visit, Way::Reopen).await })),
    ]
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Close,
    Reopen,
}

#[derive(Deserialize)]
struct Organization {
    c_organization_id: String,
    litellm_team_id: Option<String>,
    auto_recharge_enabled: bool,
    closed_at: Option<Moment>,
}

#[derive(Template)]
#[template(path = "operator/closing.html")]
struct Page {
    layout: Layout,
    organization: Organization,
    /// What it will mean, a sentence each.
    means: Vec<String>,
    close: bool,
    /// Somebody did it before.
    done: bool,
    action: &'static str,
    refusal: Refusal,
}

/// `GET /console/organizations/{id}/close` and `…/reopen`
async fn show(visit: &Visit, way: Way, refusal: Refusal) -> Result<Reply, Problem> {
    let organization: Organization = visit.get(&format!("/api/organizations/{}/config", visit.param(0))).await?;
    operators_only(visit)?;
    let words = &visit.text.operator;
    let close = way == Way::Close;
    let title = if close { words.close_title } else { words.reopen_title };
    let team = organization.litellm_team_id.as_deref().unwrap_or(visit.text.common.unknown);
    let means = match way {
        Way::Close => vec![
            words.close_stops.to_owned(),
            words.close_keeps.to_owned(),
            fill(words.close_team, &[("team", team)]),
            words.close_undo.to_owned(),
        ],
        Way::Reopen => vec![
            words.reopen_as_it_was.to_owned(),
            if organization.auto_recharge_enabled { words.reopen_charges } else { words.reopen_off }.to_owned(),
        ],
    };
    let layout = visit.layout(fill(title, &[("id", &organization.c_organization_id)])).section("organizations");
    let done = organization.closed_at.is_some() == close;
    let action = if close { "close" } else { "reopen" };
    let status = refusal.status;
    Reply::page_with(status, &Page { layout, organization, means, close, done, action, refusal })
}

/// `POST /console/organizations/{id}/close` and `…/reopen`
async fn act(visit: &Visit, way: Way) -> Result<Reply, Problem> {
    let id = visit.param(0);
    let (method, path, notice) = match way {
        Way::Close => (Method::DELETE, format!("/api/organizations/{id}"), "closed"),
        Way::Reopen => (Method::POST, format!("/api/organizations/{id}/reopen"), "reopened"),
    };
    match visit.call(method, &path, None, &[]).await {
        Ok(_) => Ok(visit.redirect(&format!("/console/organizations/{id}"), notice)),
        Err(problem) => show(visit, way, Refusal::of(visit.text, problem, &[])?).await,
    }
}
