//! The console: pages for people. Every page is made on the server and works without JavaScript, but for being live.
//!
//! The console is a client of the API that happens to be in the same process (`client.rs`): whatever a page shows or does is
//! a call that anybody with a token could make, by the same rules and with the same lines in the audit log. What is its own
//! is how somebody signs in (`session.rs`), in which language it speaks (`text`), and how it looks (`templates`, `assets`).

mod amount;
mod assets;
mod client;
mod cookie;
mod form;
mod guard;
mod layout;
pub(crate) mod live;
mod moment;
mod pages;
mod reply;
mod repo;
mod route;
mod session;
mod text;
mod visit;

use std::sync::Arc;

use tokio::sync::Semaphore;
use warp::http::{Method, StatusCode};
use warp::reply::Response;

pub(crate) use guard::Key;

use crate::app::App;
use crate::http::{Found, Problem, Request};
use reply::Reply;
use route::Run;
use text::Text;
use visit::Visit;

/// What every path of the console begins with.
pub(crate) const PREFIX: &str = "/console";

/// How many calls of pages may be at work at once, of a pool of so many connections: two of them listen, and of the others
/// half is for webhooks, whatever is looked at.
pub(crate) fn turns(pool: u32) -> Semaphore {
    let half = pool.saturating_sub(2) / 2;
    Semaphore::new(usize::try_from(half).unwrap_or(1).max(1))
}

/// Whether this path is the console's. The front door is: there is nothing else to see for a person.
pub(crate) fn has(path: &str) -> bool {
    path == "/" || path == PREFIX || path.strip_prefix(PREFIX).is_some_and(|rest| rest.starts_with('/'))
}

/// Answers a request to the console.
pub(crate) async fn respond(app: &Arc<App>, request: Request, request_id: &str) -> Response {
    if request.path == "/" && request.method == Method::GET {
        return Reply::redirect(PREFIX).into_response(&app.config.public_url);
    }
    let language = Text::chosen(&request);
    match answer(app, request, request_id, language).await {
        Ok(response) => response,
        Err(problem) => pages::error::page(language, &problem).into_response(&app.config.public_url),
    }
}

async fn answer(
    app: &Arc<App>,
    request: Request,
    request_id: &str,
    language: &'static Text,
) -> Result<Response, Problem> {
    let public_url = app.config.public_url.clone();
    let (route, params) = match route::find(&request.method, &request.path) {
        Found::Route(route, params) => (route, params),
        nothing => {
            let problem = match nothing {
                Found::Methods(allowed) => Problem::method(&allowed),
                _ => Problem::no_route(),
            };
            // Whoever is signed in keeps the navigation.
            let Ok(Some(viewer)) = session::viewer(app, &request, request_id).await else { return Err(problem) };
            let visit = Visit::receive(app.clone(), request, viewer, Vec::new(), language).await?;
            return Ok(pages::error::within(&visit, &problem).into_response(&public_url));
        }
    };
    let run = match route.run {
        Run::Asset => return Ok(assets::answer(&params)),
        Run::Open(run) => {
            let visit = visit::Open::receive(app.clone(), request, language).await?;
            return Ok(run(Arc::new(visit)).await?.into_response(&public_url));
        }
        Run::Live => None,
        Run::Known(run) => Some(run),
    };
    let Some(viewer) = session::viewer(app, &request, request_id).await? else {
        return Ok(pages::sign_in::first(&request).into_response(&public_url));
    };
    let Some(run) = run else { return live::answer(app, &request, &viewer) };
    let changes = request.method != Method::GET;
    if changes {
        guard::same_origin(&request, &public_url)?;
    }
    let visit = Visit::receive(app.clone(), request, viewer, params, language).await?;
    if changes && !visit.viewer.csrf.fits(visit.form.get("csrf")) {
        return Err(Problem::new(StatusCode::FORBIDDEN, "stale_form", "The form is from another session"));
    }
    let visit = Arc::new(visit);
    let reply = match run(visit.clone()).await {
        Ok(reply) => reply,
        Err(problem) => pages::error::within(&visit, &problem),
    };
    Ok(visit.finish(reply).into_response(&public_url))
}
