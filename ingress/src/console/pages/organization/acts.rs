//! What the buttons of an organization's page do.

use serde_json::{Value, json};
use warp::http::Method;

use super::data::Accepted;
use super::path;
use crate::console::client::read;
use crate::console::form::query;
use crate::console::reply::Reply;
use crate::console::route::Route;
use crate::console::visit::Visit;
use crate::http::Problem;

/// The routes.
pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::post("/console/organizations/{id}/auto-recharge", |visit| Box::pin(async move { switch(&visit).await })),
        Route::post("/console/organizations/{id}/resume", |visit| Box::pin(async move { resume(&visit).await })),
        Route::post("/console/organizations/{id}/sync", |visit| Box::pin(async move { sync(&visit).await })),
    ]
}

/// Changes an organization.
pub(super) async fn change(visit: &Visit, body: Value) -> Result<(), Problem> {
    let to = format!("/api/organizations/{}/config", visit.param(0));
    visit.call(Method::PATCH, &to, Some(body), &[]).await.map(drop)
}

/// `POST /console/organizations/{id}/auto-recharge`
async fn switch(visit: &Visit) -> Result<Reply, Problem> {
    let on = visit.form.get("on") == "true";
    change(visit, json!({ "auto_recharge_enabled": on })).await?;
    Ok(visit.redirect(&path(visit.param(0), ""), if on { "switched_on" } else { "switched_off" }))
}

/// `POST /console/organizations/{id}/resume`
async fn resume(visit: &Visit) -> Result<Reply, Problem> {
    change(visit, json!({ "resume": true })).await?;
    Ok(visit.redirect(&path(visit.param(0), ""), "resumed"))
}

/// `POST /console/organizations/{id}/sync`: the page that follows says what becomes of it.
async fn sync(visit: &Visit) -> Result<Reply, Problem> {
    let to = format!("/api/organizations/{}/sync", visit.param(0));
    let answer = visit.call(Method::POST, &to, None, &[("prefer", "respond-async")]).await?;
    let accepted: Accepted = read(&to, answer)?;
    Ok(Reply::redirect(&followed(visit.param(0), &accepted.event_id)))
}

/// The organization's page, which says what became of an event.
pub(super) fn followed(id: &str, event: &str) -> String {
    format!("{}?{}", path(id, ""), query([("event", event)]))
}
