//! What is shown instead of a page, in words for people.

use askama::Template;
use warp::http::StatusCode;

use crate::console::layout::Layout;
use crate::console::reply::Reply;
use crate::console::text::{Text, fill, term};
use crate::console::visit::Visit;
use crate::http::Problem;

#[derive(Template)]
#[template(path = "error.html")]
struct Page {
    layout: Layout,
    status: u16,
    lead: &'static str,
    /// What exactly was refused, where that helps.
    reason: Option<String>,
}

/// For anybody.
pub(crate) fn page(text: &'static Text, problem: &Problem) -> Reply {
    let (title, lead) = words(text, problem);
    shown(Layout::outside(text, title, ""), problem, lead)
}

/// For somebody who is signed in: with the navigation.
pub(crate) fn within(visit: &Visit, problem: &Problem) -> Reply {
    let (title, lead) = words(visit.text, problem);
    shown(visit.layout(title), problem, lead)
}

/// What was refused, as a sentence: ours for what is known, else the API's.
pub(crate) fn sentence(text: &'static Text, problem: &Problem) -> String {
    let says = term(text.terms.problems, problem.code());
    let says = if says == problem.code() { problem.sentence() } else { says };
    fill(text.common.refused, &[("reason", says)])
}

fn shown(layout: Layout, problem: &Problem, lead: &'static str) -> Reply {
    let status = problem.status();
    let tells = matches!(status, StatusCode::BAD_REQUEST | StatusCode::CONFLICT | StatusCode::UNPROCESSABLE_ENTITY)
        || status == StatusCode::BAD_GATEWAY
        || problem.code() == "broker_unavailable";
    let reason = tells.then(|| sentence(layout.text, problem));
    let page = Page { layout, status: status.as_u16(), lead, reason };
    Reply::page_with(status, &page).unwrap_or_else(|_| Reply::redirect("/console"))
}

fn words(text: &'static Text, problem: &Problem) -> (&'static str, &'static str) {
    let words = &text.common;
    match (problem.status(), problem.code()) {
        (StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED, _) => (words.not_found, words.not_found_lead),
        (StatusCode::FORBIDDEN, "stale_form" | "other_origin") => (words.stale, words.stale_lead),
        (StatusCode::FORBIDDEN, _) => (words.forbidden, words.forbidden_lead),
        (StatusCode::TOO_MANY_REQUESTS, _) => (words.too_many, words.too_many_lead),
        (_, "database_unavailable") => (words.away, words.away_lead),
        (StatusCode::INTERNAL_SERVER_ERROR, _) => (words.failed, words.failed_lead),
        _ => (words.bad_request, words.bad_request_lead),
    }
}
