//! `/console/organizations/{id}/policy`: what is recharged when, to be changed, and to be tried before.

use askama::Template;
use serde_json::Value;
use warp::http::StatusCode;

use super::data::{Balance, Config};
use super::policy_form::{Field, Typed};
use super::trial::{Trial, tried};
use super::{acts, only_who_may_change, path};
use crate::console::layout::Layout;
use crate::console::pages::error;
use crate::console::pages::wrong::Wrong;
use crate::console::reply::Reply;
use crate::console::route::Route;
use crate::console::visit::Visit;
use crate::http::Problem;

const PATH: &str = "/console/organizations/{id}/policy";
/// Over so many days a policy is tried before it is saved.
const TRIED_DAYS: u32 = 30;

/// The routes.
pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get(PATH, |visit| Box::pin(async move { show(&visit).await })),
        Route::post(PATH, |visit| Box::pin(async move { act(&visit).await })),
    ]
}

#[derive(Template)]
#[template(path = "organization/policy.html")]
struct Page {
    layout: Layout,
    id: String,
    crumb: &'static str,
    /// Why it was not done.
    problem: Option<String>,
    /// What is wrong beside the fields.
    elsewhere: Vec<String>,
    typed: Typed,
    fields: Vec<Field>,
    operator: bool,
    trial: Option<Trial>,
    days: u32,
}

fn page(visit: &Visit, config: &Config, typed: Typed, wrong: &Wrong) -> Page {
    let words = &visit.text.organization;
    let operator = visit.is_operator();
    let trusted = crate::organizations::Change::TRUSTED;
    let mut fields = typed.fields(visit.text, config.currency, wrong);
    fields.retain(|field| operator || !trusted.contains(&field.name));
    let names: Vec<String> =
        fields.iter().flat_map(|field| [field.name.to_owned(), format!("policy.{}", field.name)]).collect();
    let shown: Vec<&str> = names.iter().map(String::as_str).collect();
    Page {
        layout: visit.layout(format!("{} · {}", words.policy, config.c_organization_id)).section("organizations"),
        id: config.c_organization_id.clone(),
        crumb: words.policy,
        problem: None,
        elsewhere: wrong.elsewhere(visit.text, &shown),
        typed,
        fields,
        operator,
        trial: None,
        days: TRIED_DAYS,
    }
}

async fn config(visit: &Visit) -> Result<Config, Problem> {
    visit.get(&format!("/api/organizations/{}/config", visit.param(0))).await
}

/// `GET …/policy`
async fn show(visit: &Visit) -> Result<Reply, Problem> {
    let config = config(visit).await?;
    only_who_may_change(visit)?;
    Reply::page(&page(visit, &config, Typed::saved(&config), &Wrong::default()))
}

/// `POST …/policy`: saved, or only tried.
async fn act(visit: &Visit) -> Result<Reply, Problem> {
    let config = config(visit).await?;
    let typed = Typed::sent(&visit.form);
    let problem = if visit.form.get("do") == "try" {
        match trial(visit, &config, &typed).await {
            Ok(trial) => {
                let page = Page { trial: Some(trial), ..page(visit, &config, typed, &Wrong::default()) };
                return Reply::page(&page);
            }
            Err(problem) => problem,
        }
    } else {
        match acts::change(visit, Value::Object(typed.change(visit.is_operator()))).await {
            Ok(()) => return Ok(visit.redirect(&path(&config.c_organization_id, ""), "saved")),
            Err(problem) => problem,
        }
    };
    refused(visit, &config, typed, problem)
}

/// The form again, with what is wrong, and all that was typed.
fn refused(visit: &Visit, config: &Config, typed: Typed, problem: Problem) -> Result<Reply, Problem> {
    if matches!(problem.status(), StatusCode::FORBIDDEN | StatusCode::NOT_FOUND) {
        return Err(problem);
    }
    let wrong = Wrong::of(visit.text, &problem);
    let says = match &wrong {
        Some(_) => visit.text.common.wrong_fields.to_owned(),
        None => error::sentence(visit.text, &problem),
    };
    let page = Page { problem: Some(says), ..page(visit, config, typed, &wrong.unwrap_or_default()) };
    Reply::page_with(problem.status(), &page)
}

async fn trial(visit: &Visit, config: &Config, typed: &Typed) -> Result<Trial, Problem> {
    let balance: Balance = visit.get(&format!("/api/organizations/{}/balance", config.c_organization_id)).await?;
    let applied = typed.applied(config);
    tried(visit, &applied, &typed.trial(), TRIED_DAYS, Some(balance.quota), balance.available).await
}
