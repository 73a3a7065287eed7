//! `/console/organizations/{id}/card`: another card, given on a page of Stripe's, or by its id there.

use askama::Template;
use serde::Deserialize;
use serde_json::json;
use warp::http::{Method, StatusCode};

use super::data::Config;
use super::{only_who_may_change, path};
use crate::console::form::query;
use crate::console::layout::Layout;
use crate::console::pages::error;
use crate::console::pages::wrong::Wrong;
use crate::console::reply::Reply;
use crate::console::route::Route;
use crate::console::text::{Text, fill, term};
use crate::console::visit::Visit;
use crate::http::Problem;

const PATH: &str = "/console/organizations/{id}/card";

/// The routes.
pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get(PATH, |visit| Box::pin(async move { show(&visit).await })),
        Route::post(PATH, |visit| Box::pin(async move { act(&visit).await })),
    ]
}

#[derive(Template)]
#[template(path = "organization/card.html")]
struct Page {
    layout: Layout,
    id: String,
    crumb: &'static str,
    card: Option<String>,
    problem: Option<String>,
    /// What is wrong with the id that was typed; empty: nothing.
    error: String,
    typed: String,
    /// Whether the form for ids is open.
    by_id: bool,
}

/// A page of Stripe's.
#[derive(Deserialize)]
struct CardPage {
    url: String,
}

fn page(visit: &Visit, config: &Config, problem: Option<String>, error: &str) -> Page {
    let words = &visit.text.organization;
    let typed = visit.form.get("payment_method_id").to_owned();
    let title = if config.default_payment_method_id.is_some() { words.replace_card } else { words.add_card };
    Page {
        layout: visit.layout(format!("{title} · {}", config.c_organization_id)).section("organizations"),
        id: config.c_organization_id.clone(),
        crumb: title,
        card: config.card(),
        problem,
        error: error.to_owned(),
        by_id: visit.form.get("by") == "id",
        typed,
    }
}

/// The page, whose form leads to Stripe: to which of its hosts is Stripe's to say.
fn shown(visit: &Visit, status: StatusCode, page: &Page) -> Result<Reply, Problem> {
    let plain = !visit.app.config.public_url.starts_with("https:");
    Ok(Reply::page_with(status, page)?.form_leads_to(if plain { "https: http:" } else { "https:" }))
}

async fn config(visit: &Visit) -> Result<Config, Problem> {
    visit.get(&format!("/api/organizations/{}/config", visit.param(0))).await
}

/// `GET …/card`
async fn show(visit: &Visit) -> Result<Reply, Problem> {
    let config = config(visit).await?;
    only_who_may_change(visit)?;
    let problem = config.is_closed().then(|| term(visit.text.terms.problems, "organization_closed").to_owned());
    shown(visit, StatusCode::OK, &page(visit, &config, problem, ""))
}

/// `POST …/card`: off to Stripe, or the card that Stripe knows already.
async fn act(visit: &Visit) -> Result<Reply, Problem> {
    let config = config(visit).await?;
    only_who_may_change(visit)?;
    let (id, base) = (&config.c_organization_id, format!("/api/organizations/{}", config.c_organization_id));
    if visit.form.get("by") == "id" {
        let body = json!({ "payment_method_id": visit.form.value("payment_method_id") });
        return match visit.call(Method::POST, &format!("{base}/payment-method"), Some(body), &[]).await {
            Ok(_) => Ok(visit.redirect(&path(id, ""), "card_saved")),
            Err(problem) => refused(visit, &config, problem),
        };
    }
    // Which card there was, so that the page that one comes back to can tell the new one.
    let was = config.default_payment_method_id.as_deref().unwrap_or("none");
    let back = format!("{}{}?{}", visit.app.config.public_url, path(id, ""), query([("was", was)]));
    match visit.post::<CardPage>(&format!("{base}/card-page"), json!({ "return_url": back })).await {
        Ok(stripes) => Ok(Reply::redirect(&stripes.url)),
        Err(problem) => refused(visit, &config, problem),
    }
}

fn refused(visit: &Visit, config: &Config, problem: Problem) -> Result<Reply, Problem> {
    if matches!(problem.status(), StatusCode::FORBIDDEN | StatusCode::NOT_FOUND) {
        return Err(problem);
    }
    let wrong = Wrong::of(visit.text, &problem);
    let error = wrong.as_ref().map_or("", |wrong| wrong.at("payment_method_id"));
    let says =
        if error.is_empty() { sentence(visit.text, &problem) } else { visit.text.common.wrong_fields.to_owned() };
    shown(visit, problem.status(), &page(visit, config, Some(says), error))
}

/// Why a card was not taken: the bank's reason where it gave one.
fn sentence(text: &'static Text, problem: &Problem) -> String {
    let codes = ["decline_code", "stripe_code"].map(|fact| problem.fact(fact).as_str().unwrap_or_default());
    let known = codes.into_iter().find_map(|code| text.terms.declines.iter().find(|(have, _)| *have == code));
    match known {
        Some((_, says)) => fill(text.common.refused, &[("reason", says)]),
        None => error::sentence(text, problem),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_in_plain_words() {
        let text = Text::of("en").unwrap();
        let declined = || Problem::new(StatusCode::PAYMENT_REQUIRED, "card_declined", "Your card was declined.");
        let lost = declined().and("stripe_code", "card_declined").and("decline_code", "lost_card");
        assert!(sentence(text, &lost).contains("reported lost"));
        assert!(sentence(text, &declined().and("stripe_code", "expired_card")).contains("expired"));
        assert!(sentence(text, &declined()).contains("declined"));
    }
}
