//! Signing in with an API token, and out again.

use askama::Template;
use warp::http::{Method, StatusCode};

use super::home::way_back;
use crate::console::form::query;
use crate::console::layout::Layout;
use crate::console::reply::Reply;
use crate::console::route::Route;
use crate::console::session;
use crate::console::visit::{Open, Visit};
use crate::http::{Problem, Request};

const PATH: &str = "/console/sign-in";

/// The routes.
pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::open(Method::GET, PATH, |visit| Box::pin(async move { show(&visit) })),
        Route::open(Method::POST, PATH, |visit| Box::pin(async move { sign_in(&visit).await })),
        Route::post("/console/sign-out", |visit| Box::pin(async move { sign_out(&visit).await })),
    ]
}

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignIn {
    layout: Layout,
    /// Where to go on to.
    back: String,
    /// Why the viewer is here, when he did not ask for it.
    says: Option<&'static str>,
    error: Option<&'static str>,
}

/// Whoever is not signed in is sent here first, and back afterwards.
pub(crate) fn first(request: &Request) -> Reply {
    let back =
        if request.method == Method::GET && request.path != "/console/live" { way_back(&request.path) } else { "" };
    // Somebody with an old cookie was signed in once.
    let over =
        if request.header("cookie").is_some_and(|cookies| cookies.contains("bill_session=")) { "over" } else { "" };
    Reply::redirect(&with_query(&query([("back", back), ("because", over)])))
}

fn with_query(query: &str) -> String {
    if query.is_empty() { PATH.to_owned() } else { format!("{PATH}?{query}") }
}

/// `GET /console/sign-in`
fn show(visit: &Open) -> Result<Reply, Problem> {
    if visit.app.auth.is_off() {
        return Ok(Reply::redirect("/console"));
    }
    let words = &visit.text.common;
    let says = match visit.query.get("because") {
        Some("over") => Some(words.session_over),
        Some("out") => Some(words.signed_out),
        _ => None,
    };
    Reply::page(&page(visit, visit.query.get("back").unwrap_or_default(), says, None))
}

fn page(visit: &Open, back: &str, says: Option<&'static str>, error: Option<&'static str>) -> SignIn {
    let layout = Layout::outside(visit.text, visit.text.common.sign_in, &visit.path);
    SignIn { layout, back: way_back(back).to_owned(), says, error }
}

/// `POST /console/sign-in`
async fn sign_in(visit: &Open) -> Result<Reply, Problem> {
    let (given, back) = (visit.form.get("token").trim(), visit.form.get("back"));
    let words = &visit.text.common;
    let again = |status, error| Reply::page_with(status, &page(visit, back, None, Some(error)));
    if given.is_empty() {
        return again(StatusCode::BAD_REQUEST, words.token_missing);
    }
    let now = visit.app.clock.now();
    match visit.app.auth.shown(given.as_bytes(), visit.peer, now).await {
        Ok(Some(token)) => {
            let cookie = session::begin(&visit.app, &token).await?;
            Ok(Reply::redirect(way_back(back)).cookie(cookie))
        }
        Ok(None) => Ok(Reply::redirect(way_back(back))),
        Err(problem) if problem.code() == "invalid_token" => again(StatusCode::UNAUTHORIZED, words.token_wrong),
        Err(problem) => Err(problem),
    }
}

/// `POST /console/sign-out`
async fn sign_out(visit: &Visit) -> Result<Reply, Problem> {
    let cookie = session::end(&visit.app, &visit.viewer).await?;
    Ok(Reply::redirect(&format!("{PATH}?because=out")).cookie(cookie))
}
