//! `/console/organizations/new`: one more organization.

use askama::Template;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::operators_only;
use super::refusal::Refusal;
use crate::console::form::Form;
use crate::console::layout::Layout;
use crate::console::reply::Reply;
use crate::console::route::Route;
use crate::console::visit::Visit;
use crate::http::Problem;
use crate::organizations::Policy;

const PATH: &str = "/console/organizations/new";
/// What is typed, and sent as it is typed.
const TEXTS: [&str; 4] = ["c_organization_id", "litellm_team_id", "currency", "target_basis"];
const AMOUNTS: [&str; 6] = [
    "minimum_balance",
    "target_balance",
    "minimum_recharge_amount",
    "max_daily_amount",
    "max_monthly_amount",
    "opening_quota",
];
const NUMBERS: [&str; 2] = ["max_daily_recharges", "cooldown_seconds"];
const SWITCH: &str = "auto_recharge_enabled";

/// The routes.
pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get(PATH, |visit| Box::pin(async move { show(&visit) })),
        Route::post(PATH, |visit| Box::pin(async move { create(&visit).await })),
    ]
}

#[derive(Deserialize)]
struct Created {
    c_organization_id: String,
}

/// What stands in the form.
struct Typed(Vec<(&'static str, String)>);

impl Typed {
    /// The API's defaults.
    fn defaults() -> Self {
        let usual = Policy::default();
        let amount = |amount: rust_decimal::Decimal| amount.normalize().to_string();
        Self(vec![
            ("currency", usual.currency.code().to_owned()),
            ("target_basis", usual.target_basis.clone()),
            ("minimum_balance", amount(usual.minimum_balance)),
            ("target_balance", amount(usual.target_balance)),
            ("minimum_recharge_amount", amount(usual.minimum_recharge_amount)),
            ("max_daily_recharges", usual.max_daily_recharges.to_string()),
            ("cooldown_seconds", usual.cooldown_seconds.to_string()),
            (SWITCH, if usual.auto_recharge_enabled { "true" } else { "" }.to_owned()),
        ])
    }

    fn of(form: &Form) -> Self {
        let names = TEXTS.into_iter().chain(AMOUNTS).chain(NUMBERS).chain([SWITCH]);
        Self(names.map(|name| (name, form.get(name).to_owned())).collect())
    }

    fn at(&self, name: &str) -> &str {
        self.0.iter().find(|(have, _)| *have == name).map_or("", |(_, value)| value.as_str())
    }
}

#[derive(Template)]
#[template(path = "operator/new_organization.html")]
struct Page {
    layout: Layout,
    typed: Typed,
    refusal: Refusal,
}

impl Page {
    /// What a field is called.
    fn label(&self, name: &str) -> &'static str {
        let fields = self.layout.text.terms.fields;
        fields.iter().find(|(have, _)| *have == name).map_or("", |(_, says)| says)
    }

    fn wrong(&self, name: &str) -> &str {
        self.refusal.wrong.at(name)
    }
}

fn page(visit: &Visit, typed: Typed, refusal: Refusal) -> Result<Reply, Problem> {
    let layout = visit.layout(visit.text.operator.new_organization).section("organizations");
    let status = refusal.status;
    Reply::page_with(status, &Page { layout, typed, refusal })
}

/// `GET /console/organizations/new`
fn show(visit: &Visit) -> Result<Reply, Problem> {
    operators_only(visit)?;
    page(visit, Typed::defaults(), Refusal::none())
}

/// `POST /console/organizations/new`
async fn create(visit: &Visit) -> Result<Reply, Problem> {
    match visit.post::<Created>("/api/organizations", body(&visit.form)).await {
        Ok(created) => Ok(visit.redirect(&format!("/console/organizations/{}", created.c_organization_id), "created")),
        Err(problem) => {
            let shown: Vec<&str> = TEXTS.into_iter().chain(AMOUNTS).chain(NUMBERS).chain([SWITCH]).collect();
            page(visit, Typed::of(&visit.form), Refusal::of(visit.text, problem, &shown)?)
        }
    }
}

/// What is empty has its default.
fn body(form: &Form) -> Value {
    let texts = TEXTS.into_iter().map(|name| (name, form.value(name)));
    let amounts = AMOUNTS.into_iter().map(|name| (name, form.amount(name)));
    let numbers = NUMBERS.into_iter().map(|name| (name, form.whole(name)));
    let all = texts.chain(amounts).chain(numbers).chain([(SWITCH, json!(form.has(SWITCH)))]);
    let all: Map<String, Value> =
        all.filter(|(_, value)| !value.is_null()).map(|(name, value)| (name.to_owned(), value)).collect();
    Value::Object(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::text::{Text, term};
    use crate::organizations::NewOrganization;

    #[test]
    fn the_form_as_it_is_shown_is_the_default() {
        let typed = Typed::defaults();
        let mut query = form_urlencoded::Serializer::new("c_organization_id=acme".to_owned());
        for (name, value) in &typed.0 {
            query.append_pair(name, value);
        }
        let read = |form: &str| {
            let body = body(&Form::read(form.as_bytes()));
            NewOrganization::read(body.as_object().unwrap(), true).unwrap()
        };
        let new = read(&query.finish());
        assert_eq!((new.id.as_str(), &new.policy), ("acme", &Policy::default()));
        let other = read("c_organization_id=+a+&minimum_balance=1%2C000.50&max_daily_recharges=0&opening_quota=");
        assert_eq!(other.policy.minimum_balance.to_string(), "1000.50");
        assert_eq!((other.policy.auto_recharge_enabled, other.policy.max_daily_recharges), (false, 0));
        assert_eq!(other.policy.opening_quota, None);
        let names = Typed::of(&Form::default());
        assert!(typed.0.iter().all(|(name, _)| names.0.iter().any(|(have, _)| have == name)));
        assert!(names.0.iter().all(|(name, _)| Text::of("en").is_some_and(|en| term(en.terms.fields, name) != *name)));
    }
}
