//! `/console/dead-letters/{sequence}`: one in full, brought back, or discarded with a reason.

use askama::Template;
use serde::Deserialize;
use serde_json::{Value, json};
use warp::http::{Method, StatusCode};

use super::operators_only;
use super::refusal::Refusal;
use crate::console::layout::Layout;
use crate::console::moment::Moment;
use crate::console::reply::Reply;
use crate::console::route::Route;
use crate::console::text::{Text, fill};
use crate::console::visit::Visit;
use crate::http::Problem;

const LETTER: &str = "/console/dead-letters/{sequence}";
const REDRIVE: &str = "/console/dead-letters/{sequence}/redrive";
const DISCARD: &str = "/console/dead-letters/{sequence}/discard";

/// The routes.
pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get(LETTER, |visit| Box::pin(async move { show(&visit, Refusal::none()).await })),
        Route::post(REDRIVE, |visit| Box::pin(async move { redrive(&visit).await })),
        Route::get(DISCARD, |visit| Box::pin(async move { ask(&visit, Refusal::none()).await })),
        Route::post(DISCARD, |visit| Box::pin(async move { discard(&visit).await })),
    ]
}

#[derive(Deserialize)]
struct Letter {
    sequence: u64,
    service: String,
    subject: String,
    reason: String,
    error: String,
    stream: String,
    stream_sequence: Option<u64>,
    attempts: Option<u32>,
    message_id: Option<String>,
    c_organization_id: Option<String>,
    parked_at: Moment,
    body_bytes: u64,
    body: Value,
    action: Option<Action>,
    action_known: bool,
}

#[derive(Deserialize)]
struct Action {
    action: String,
    actor: String,
    note: Option<String>,
    at: Moment,
    done_at: Option<Moment>,
}

/// What somebody did about it.
struct Done {
    says: String,
    note: Option<String>,
    at: Moment,
    finished: bool,
}

#[derive(Template)]
#[template(path = "operator/letter.html")]
struct Page {
    layout: Layout,
    letter: Letter,
    reason: String,
    payload: String,
    done: Option<Done>,
    /// What may still be done, and by this viewer.
    redrivable: bool,
    discardable: bool,
    refusal: Refusal,
}

#[derive(Template)]
#[template(path = "operator/discard.html")]
struct Discard {
    layout: Layout,
    letter: Letter,
    reason: String,
    lead: String,
    refusal: Refusal,
}

async fn letter(visit: &Visit) -> Result<Letter, Problem> {
    visit.get(&format!("/api/dead-letters/{}", visit.param(0))).await
}

/// `GET /console/dead-letters/{sequence}`
async fn show(visit: &Visit, refusal: Refusal) -> Result<Reply, Problem> {
    let letter = letter(visit).await?;
    let text = visit.text;
    let title = fill(text.operator.letter_title, &[("sequence", &letter.sequence.to_string())]);
    let open = |action: &str| {
        visit.is_operator()
            && letter.action.as_ref().is_none_or(|taken| taken.done_at.is_none() && taken.action == action)
    };
    let (redrivable, discardable) = (open("redriven"), open("discarded"));
    let page = Page {
        layout: visit.layout(title).live(visit.own()).section("dead-letters"),
        reason: gave_up(text, &letter.service, &letter.reason),
        payload: pretty(&letter.body),
        done: letter.action.as_ref().map(|taken| done(text, taken)),
        redrivable,
        discardable,
        letter,
        refusal,
    };
    Reply::page_with(page.refusal.status, &page)
}

/// Who gave it up and why, as a sentence.
pub(super) fn gave_up(text: &Text, service: &str, reason: &str) -> String {
    let known = text.terms.letter_reasons.iter().find(|(word, _)| *word == reason);
    let says = known.map_or(text.operator.group_title, |(_, says)| *says);
    fill(says, &[("service", service), ("reason", reason)])
}

fn done(text: &Text, taken: &Action) -> Done {
    let words = &text.operator;
    let says = match (taken.action.as_str(), taken.done_at.is_some()) {
        ("redriven", true) => words.was_redriven,
        ("redriven", false) => words.redrive_begun,
        (_, true) => words.was_discarded,
        (_, false) => words.discard_begun,
    };
    Done {
        says: fill(says, &[("actor", &taken.actor)]),
        note: taken.note.clone(),
        at: taken.done_at.unwrap_or(taken.at),
        finished: taken.done_at.is_some(),
    }
}

/// `POST /console/dead-letters/{sequence}/redrive`
async fn redrive(visit: &Visit) -> Result<Reply, Problem> {
    let path = format!("/api/dead-letters/{}/redrive", visit.param(0));
    match visit.call(Method::POST, &path, None, &[]).await {
        Ok(_) => Ok(visit.redirect(&format!("/console/dead-letters/{}", visit.param(0)), "redriven")),
        Err(problem) => show(visit, Refusal::of(visit.text, problem, &[])?).await,
    }
}

/// `GET /console/dead-letters/{sequence}/discard`
async fn ask(visit: &Visit, refusal: Refusal) -> Result<Reply, Problem> {
    let letter = letter(visit).await?;
    operators_only(visit)?;
    let words = &visit.text.operator;
    let sequence = letter.sequence.to_string();
    let about = letter.c_organization_id.as_deref().unwrap_or(visit.text.common.none);
    let values = [("subject", letter.subject.as_str()), ("service", &letter.service), ("organization", about)];
    let page = Discard {
        layout: visit.layout(fill(words.discard_title, &[("sequence", &sequence)])).section("dead-letters"),
        lead: fill(words.discard_lead, &values),
        reason: visit.form.get("reason").to_owned(),
        letter,
        refusal,
    };
    Reply::page_with(page.refusal.status, &page)
}

/// `POST /console/dead-letters/{sequence}/discard`
async fn discard(visit: &Visit) -> Result<Reply, Problem> {
    let path = format!("/api/dead-letters/{}/discard", visit.param(0));
    match visit.call(Method::POST, &path, Some(json!({ "reason": visit.form.value("reason") })), &[]).await {
        Ok(_) => Ok(visit.redirect(&format!("/console/dead-letters/{}", visit.param(0)), "discarded")),
        // What can't be done any more is told beside the letter as it is.
        Err(problem) if problem.status() == StatusCode::CONFLICT => {
            show(visit, Refusal::of(visit.text, problem, &[])?).await
        }
        Err(problem) => ask(visit, Refusal::of(visit.text, problem, &["reason"])?).await,
    }
}

/// A message as people read it: JSON in lines, anything else as it is.
pub(super) fn pretty(body: &Value) -> String {
    match body {
        Value::String(text) => text.clone(),
        other => serde_json::to_string_pretty(other).unwrap_or_else(|_| other.to_string()),
    }
}
