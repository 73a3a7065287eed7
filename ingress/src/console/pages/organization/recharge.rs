//! `/console/organizations/{id}/recharge`: an amount, a look at what it costs, and only then a charge.

use askama::Template;
use serde_json::json;
use warp::http::{Method, StatusCode};

use super::acts::followed;
use super::data::{Accepted, Balance, Config, Simulation};
use super::only_who_may_change;
use super::policy_form::Limits;
use crate::console::amount::symbol;
use crate::console::client::read;
use crate::console::layout::Layout;
use crate::console::pages::error;
use crate::console::pages::wrong::Wrong;
use crate::console::reply::Reply;
use crate::console::route::Route;
use crate::console::text::{fill, term};
use crate::console::visit::Visit;
use crate::http::Problem;

const PATH: &str = "/console/organizations/{id}/recharge";

/// The routes.
pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get(PATH, |visit| Box::pin(async move { show(&visit).await })),
        Route::post(PATH, |visit| Box::pin(async move { act(&visit).await })),
    ]
}

#[derive(Template)]
#[template(path = "organization/recharge.html")]
struct AmountPage {
    layout: Layout,
    id: String,
    crumb: &'static str,
    problem: Option<String>,
    /// What is wrong with the amount; empty: nothing.
    error: String,
    typed: String,
    symbol: String,
    unit: String,
    limits: Limits,
    card: Option<String>,
    available: Option<String>,
    quota: String,
    /// Made for the first page, and the same until the charge is confirmed: going back and forth does not make it two.
    key: String,
}

#[derive(Template)]
#[template(path = "organization/recharge_review.html")]
struct ReviewPage {
    layout: Layout,
    id: String,
    crumb: &'static str,
    problem: Option<String>,
    /// The amount as it is sent.
    exact: String,
    key: String,
    amount: String,
    fee: String,
    total: String,
    new_quota: Option<String>,
    card: String,
    confirm: String,
}

/// What is known before anything is asked for.
struct Known {
    config: Config,
    balance: Balance,
}

async fn known(visit: &Visit) -> Result<Known, Problem> {
    let base = format!("/api/organizations/{}", visit.param(0));
    let config = visit.get(&format!("{base}/config")).await?;
    let balance = visit.get(&format!("{base}/balance")).await?;
    Ok(Known { config, balance })
}

fn amount_page(visit: &Visit, known: &Known, problem: Option<String>, error: &str) -> AmountPage {
    let Known { config, balance } = known;
    let (text, currency) = (visit.text, config.currency);
    let words = &text.organization;
    let typed = visit.form.get("amount").to_owned();
    let typed = if typed.is_empty() { visit.query.get("amount").unwrap_or_default().to_owned() } else { typed };
    AmountPage {
        layout: visit.layout(format!("{} · {}", words.recharge, config.c_organization_id)).section("organizations"),
        id: config.c_organization_id.clone(),
        crumb: words.recharge,
        problem,
        error: error.to_owned(),
        typed,
        symbol: symbol(&currency),
        unit: currency.code().to_uppercase(),
        limits: Limits::of(text, currency, true),
        card: config.card(),
        available: balance.available.map(|left| left.money(&currency)),
        quota: balance.quota.money(&currency),
        key: key(visit, None),
    }
}

/// The key of the charge: the form's, unless that was used for another one.
fn key(visit: &Visit, problem: Option<&Problem>) -> String {
    let reused = problem.is_some_and(|problem| problem.code() == "idempotency_key_reuse");
    match visit.form.get("key") {
        given if !given.is_empty() && !reused => given.to_owned(),
        _ => visit.new_key(),
    }
}

/// `GET …/recharge?amount=`
async fn show(visit: &Visit) -> Result<Reply, Problem> {
    let known = known(visit).await?;
    only_who_may_change(visit)?;
    let problem = known.config.is_closed().then(|| term(visit.text.terms.problems, "organization_closed").to_owned());
    Reply::page(&amount_page(visit, &known, problem, ""))
}

/// `POST …/recharge`: what it would cost, or, confirmed, the charge.
async fn act(visit: &Visit) -> Result<Reply, Problem> {
    let known = known(visit).await?;
    only_who_may_change(visit)?;
    if visit.form.get("step") == "confirm" { confirm(visit, &known).await } else { review(visit, &known, None).await }
}

async fn review(visit: &Visit, known: &Known, problem: Option<Problem>) -> Result<Reply, Problem> {
    let (words, config) = (&visit.text.organization, &known.config);
    let currency = &config.currency;
    let to = format!("/api/organizations/{}/simulate", config.c_organization_id);
    let amount = visit.form.amount("amount");
    if amount.is_null() {
        let page = amount_page(visit, known, Some(visit.text.common.wrong_fields.to_owned()), words.amount_missing);
        return Reply::page_with(StatusCode::BAD_REQUEST, &page);
    }
    let simulation: Simulation = match visit.post(&to, json!({ "amount": amount })).await {
        Ok(simulation) => simulation,
        // Why the charge itself was not confirmed says more than why it can't be worked out again.
        Err(again) => return refused(visit, known, problem.as_ref().unwrap_or(&again)),
    };
    let decision = simulation.decision.filter(|decision| decision.would == "charge" || decision.reason.is_some());
    let decision = decision.ok_or_else(|| {
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "unreadable_answer", "An answer of the API can't be read")
    })?;
    if let Some(reason) = decision.reason.as_deref().filter(|_| decision.would != "charge") {
        let says = match &problem {
            Some(problem) => error::sentence(visit.text, problem),
            None => fill(words.recharge_not_now, &[("reason", term(visit.text.terms.skips, reason))]),
        };
        return Reply::page_with(StatusCode::CONFLICT, &amount_page(visit, known, Some(says), ""));
    }
    let amount = decision.amount.unwrap_or_default();
    let total = decision.total_charge.unwrap_or(amount).money(currency);
    let card = config.card().unwrap_or_default();
    let key = key(visit, problem.as_ref());
    let status = problem.as_ref().map_or(StatusCode::OK, Problem::status);
    let page = ReviewPage {
        layout: visit.layout(format!("{} · {}", words.review, config.c_organization_id)).section("organizations"),
        id: config.c_organization_id.clone(),
        crumb: words.recharge,
        problem: problem.map(|problem| error::sentence(visit.text, &problem)),
        exact: amount.to_string(),
        key,
        amount: amount.money(currency),
        fee: decision.fee.unwrap_or_default().money(currency),
        new_quota: decision.new_quota.map(|quota| quota.money(currency)),
        confirm: fill(words.confirm_charge, &[("total", &total)]),
        total,
        card,
    };
    Reply::page_with(status, &page)
}

/// The first page again, with what is wrong.
fn refused(visit: &Visit, known: &Known, problem: &Problem) -> Result<Reply, Problem> {
    let wrong = Wrong::of(visit.text, problem);
    let error = wrong.as_ref().map_or("", |wrong| wrong.at("amount"));
    let says =
        if error.is_empty() { error::sentence(visit.text, problem) } else { visit.text.common.wrong_fields.to_owned() };
    Reply::page_with(problem.status(), &amount_page(visit, known, Some(says), error))
}

async fn confirm(visit: &Visit, known: &Known) -> Result<Reply, Problem> {
    let id = &known.config.c_organization_id;
    let to = format!("/api/organizations/{id}/recharge");
    let key = visit.form.get("key");
    if key.is_empty() {
        return review(visit, known, None).await;
    }
    let body = json!({ "amount": visit.form.amount("amount") });
    let headers = [("prefer", "respond-async"), ("idempotency-key", key)];
    match visit.call(Method::POST, &to, Some(body), &headers).await {
        Ok(answer) => {
            let accepted: Accepted = read(&to, answer)?;
            Ok(visit.redirect(&followed(id, &accepted.event_id), "recharge_started"))
        }
        Err(problem) if problem.status() == StatusCode::FORBIDDEN => Err(problem),
        Err(problem) => review(visit, known, Some(problem)).await,
    }
}
