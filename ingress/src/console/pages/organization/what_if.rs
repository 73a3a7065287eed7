//! `GET /console/organizations/{id}/what-if`: what a policy would do, and would have done.

use askama::Template;
use common::money::Currency;
use warp::http::StatusCode;

use super::data::{Balance, Config};
use super::overview::{DAYS, days};
use super::path;
use super::picture::DaysLink;
use super::policy_form::{Field, Typed};
use super::trial::{Trial, tried};
use crate::console::form::{Form, query};
use crate::console::layout::Layout;
use crate::console::pages::wrong::Wrong;
use crate::console::reply::Reply;
use crate::console::route::Route;
use crate::console::visit::Visit;
use crate::http::Problem;

/// The fields that can be tried.
const TRIED: [&str; 8] = [
    "auto_recharge_enabled",
    "target_basis",
    "minimum_balance",
    "target_balance",
    "minimum_recharge_amount",
    "max_daily_recharges",
    "max_daily_amount",
    "max_monthly_amount",
];

/// The routes.
pub(super) fn routes() -> Vec<Route> {
    vec![Route::get("/console/organizations/{id}/what-if", |visit| Box::pin(async move { show(&visit).await }))]
}

#[derive(Template)]
#[template(path = "organization/what_if.html")]
struct Page {
    layout: Layout,
    id: String,
    crumb: &'static str,
    /// Whether it is another policy than the saved one.
    changed: bool,
    wrong: bool,
    typed: Typed,
    fields: Vec<Field>,
    trial: Option<Trial>,
    days: u32,
    links: Vec<DaysLink>,
}

/// `GET …/what-if?days=&minimum_balance=…`: without values, the saved policy.
async fn show(visit: &Visit) -> Result<Reply, Problem> {
    let base = format!("/api/organizations/{}", visit.param(0));
    let config: Config = visit.get(&format!("{base}/config")).await?;
    let balance: Balance = visit.get(&format!("{base}/balance")).await?;
    let (id, days) = (config.c_organization_id.clone(), days(visit));
    let given: Vec<(&str, &str)> = TRIED.iter().filter_map(|name| Some((*name, visit.query.get(name)?))).collect();
    let saved = Typed::saved(&config);
    let typed = if given.is_empty() {
        saved.clone()
    } else {
        Typed::sent(&Form::read(query(given.iter().copied()).as_bytes()))
    };
    let tried =
        tried(visit, &typed.applied(&config), &typed.trial(), days, Some(balance.quota), balance.available).await;
    let (trial, wrong) = match tried {
        Ok(trial) => (Some(trial), None),
        Err(problem) => (None, Some(Wrong::of(visit.text, &problem).ok_or(problem)?)),
    };
    let links = DAYS.map(|each| {
        let each_days = each.to_string();
        let parameters = given.iter().copied().chain([("days", each_days.as_str())]);
        DaysLink { days: each, href: format!("{}?{}", path(&id, "/what-if"), query(parameters)), current: each == days }
    });
    let words = &visit.text.organization;
    let status = if wrong.is_some() { StatusCode::BAD_REQUEST } else { StatusCode::OK };
    let page = Page {
        layout: visit.layout(format!("{} · {id}", words.what_if)).section("organizations"),
        id,
        crumb: words.what_if,
        changed: json(&typed) != json(&saved),
        wrong: wrong.is_some(),
        fields: fields(&typed, visit, config.currency, &wrong.unwrap_or_default()),
        typed,
        trial,
        days,
        links: links.into(),
    };
    Reply::page_with(status, &page)
}

fn json(typed: &Typed) -> serde_json::Value {
    serde_json::Value::Object(typed.trial())
}

fn fields(typed: &Typed, visit: &Visit, currency: Currency, wrong: &Wrong) -> Vec<Field> {
    let mut fields = typed.fields(visit.text, currency, wrong);
    fields.retain(|field| TRIED.contains(&field.name));
    fields
}
