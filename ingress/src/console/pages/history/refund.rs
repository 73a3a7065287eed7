//! Giving a recharge back: what to give back, what that does, and then it is done.

use askama::Template;
use serde::Deserialize;
use serde_json::json;
use warp::http::{Method, StatusCode};

use super::chain::load;
use super::quota::{Balance, balance};
use super::record::Record;
use super::refund_form::{Complaints, Plan, Typed};
use crate::console::amount::{Amount, symbol};
use crate::console::client::read;
use crate::console::layout::Layout;
use crate::console::pages::{error, wrong::Wrong};
use crate::console::reply::Reply;
use crate::console::route::Route;
use crate::console::text::{Rich, fill, rich, term};
use crate::console::visit::Visit;
use crate::http::Problem;

const PATH: &str = "/console/recharges/{id}/refund";

/// The routes.
pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get(PATH, |visit| Box::pin(async move { show(&visit).await })),
        Route::post(PATH, |visit| Box::pin(async move { send(&visit).await })),
    ]
}

#[derive(Template)]
#[template(path = "history/refund.html")]
struct RefundPage {
    layout: Layout,
    record: Record,
    typed: Typed,
    wrong: Complaints,
    refused: Option<String>,
    key: String,
}

#[derive(Template)]
#[template(path = "history/refund_review.html")]
struct ReviewPage {
    layout: Layout,
    record: Record,
    typed: Typed,
    plan: Plan,
    /// The quota now; none where it is not known.
    now: Option<Balance>,
    key: String,
    refused: Option<String>,
}

impl RefundPage {
    fn left(&self) -> String {
        self.record.left().0.money(&self.record.currency)
    }

    /// The whole of what is left, in words.
    fn whole(&self) -> String {
        let (quota, money) = self.record.left();
        let (quota, money) = (quota.money(&self.record.currency), money.money(&self.record.currency));
        fill(self.layout.text.history.refund_whole_hint, &[("amount", &quota), ("total", &money)])
    }

    fn part(&self) -> String {
        fill(self.layout.text.history.refund_part_hint, &[("left", &self.left())])
    }

    fn too_much(&self) -> String {
        fill(self.layout.text.history.amount_too_much, &[("left", &self.left())])
    }

    fn symbol(&self) -> String {
        symbol(&self.record.currency)
    }
}

impl ReviewPage {
    fn money(&self, amount: &Amount) -> String {
        amount.money(&self.record.currency)
    }

    fn says(&self) -> Rich {
        let values = [("amount", self.money(&self.plan.quota)), ("total", self.money(&self.plan.money))];
        rich(self.layout.text.history.refund_says, &values.each_ref().map(|(name, value)| (*name, value.as_str())))
    }

    fn button(&self) -> String {
        fill(self.layout.text.history.refund_button, &[("total", &self.money(&self.plan.money))])
    }

    /// What stays of this recharge's credit: nothing is taken where nothing was credited.
    fn quota_after(&self, now: &Balance) -> Amount {
        let taken = if self.record.is_credited() { self.plan.quota } else { Amount::default() };
        Amount(now.quota.0.saturating_sub(taken.0))
    }

    /// What is left to use then, where the usage is known.
    fn available_after(&self, now: &Balance) -> Option<Amount> {
        now.usage.map(|usage| Amount(self.quota_after(now).0.saturating_sub(usage.0)))
    }
}

/// The recharge, for somebody who may give it back.
async fn refundable(visit: &Visit) -> Result<Record, Problem> {
    let record = load(visit).await?;
    if visit.is_operator() {
        return Ok(record);
    }
    Err(Problem::new(StatusCode::FORBIDDEN, "forbidden", "Operators only"))
}

/// `GET /console/recharges/{id}/refund`
async fn show(visit: &Visit) -> Result<Reply, Problem> {
    let record = refundable(visit).await?;
    let refused = (!record.is_refundable()).then(|| refusal(visit, &record));
    let status = if refused.is_some() { StatusCode::CONFLICT } else { StatusCode::OK };
    Reply::page_with(status, &form(visit, record, Typed::default(), Complaints::default(), refused))
}

/// Why there is nothing to give back.
fn refusal(visit: &Visit, record: &Record) -> String {
    let code = match record.is_captured() {
        true if record.left().0.is_zero() => "already_refunded",
        true => "recharge_in_flight",
        false => "not_captured",
    };
    term(visit.text.terms.problems, code).to_owned()
}

fn form(visit: &Visit, record: Record, typed: Typed, wrong: Complaints, refused: Option<String>) -> RefundPage {
    RefundPage { layout: layout(visit), record, typed, wrong, refused, key: key(visit) }
}

/// Made for the first page, and the same until the refund is confirmed: going back and forth does not make it two.
fn key(visit: &Visit) -> String {
    let given = visit.form.get("key");
    if given.is_empty() { visit.new_key() } else { given.to_owned() }
}

fn layout(visit: &Visit) -> Layout {
    visit.layout(visit.text.history.refund_title).section("organizations")
}

/// `POST /console/recharges/{id}/refund`: first what was typed, then what was confirmed.
async fn send(visit: &Visit) -> Result<Reply, Problem> {
    let typed = Typed::of(&visit.form);
    let step = visit.form.get("step");
    if step == "confirm" {
        return refund(visit, typed).await;
    }
    let record = refundable(visit).await?;
    if step == "edit" {
        return Reply::page(&form(visit, record, typed, Complaints::default(), None));
    }
    if !record.is_refundable() {
        let refused = refusal(visit, &record);
        return Reply::page_with(
            StatusCode::CONFLICT,
            &form(visit, record, typed, Complaints::default(), Some(refused)),
        );
    }
    match typed.plan(visit.text, &record, &visit.form) {
        Ok(plan) => Reply::page(&review(visit, record, typed, plan, key(visit), None).await?),
        Err(wrong) => Reply::page_with(StatusCode::BAD_REQUEST, &form(visit, record, typed, wrong, None)),
    }
}

async fn review(
    visit: &Visit,
    record: Record,
    typed: Typed,
    plan: Plan,
    key: String,
    refused: Option<String>,
) -> Result<ReviewPage, Problem> {
    let now = match record.c_organization_id.as_deref() {
        Some(id) => balance(visit, id).await.ok(),
        None => None,
    };
    Ok(ReviewPage { layout: layout(visit), record, typed, plan, now, key, refused })
}

/// How it ended, if it has.
#[derive(Deserialize)]
struct Ended {
    success: Option<bool>,
    reason: Option<String>,
    message: Option<String>,
}

/// What was confirmed is done: exactly the quota that the page named.
async fn refund(visit: &Visit, typed: Typed) -> Result<Reply, Problem> {
    let key = visit.form.get("key").to_owned();
    let id = visit.param(0);
    let path = format!("/api/recharges/{id}/refund");
    let body = json!({ "amount": visit.form.value("quota"), "reason": visit.form.value("reason") });
    let refused = match visit.call(Method::POST, &path, Some(body), &[("idempotency-key", &key)]).await {
        Ok(answer) => {
            let ended: Ended = read(&path, answer)?;
            if ended.success != Some(false) {
                return Ok(visit.redirect(&format!("/console/recharges/{id}"), "refund_started"));
            }
            let reason = ended.reason.as_deref().unwrap_or_default();
            let known =
                visit.text.terms.skips.iter().find(|(word, _)| *word == reason).map(|(_, says)| (*says).to_owned());
            let says = known.or(ended.message).unwrap_or_else(|| reason.to_owned());
            let says = fill(visit.text.common.refused, &[("reason", &says)]);
            // The refused call must not stand for the next one.
            return again(visit, typed, StatusCode::CONFLICT, visit.new_key(), says).await;
        }
        Err(problem) => problem,
    };
    if matches!(refused.status(), StatusCode::FORBIDDEN | StatusCode::NOT_FOUND) {
        return Err(refused);
    }
    match Wrong::of(visit.text, &refused) {
        Some(wrong) => {
            let record = refundable(visit).await?;
            let wrong = Complaints { amount: wrong.at("amount").to_owned(), reason: wrong.at("reason").to_owned() };
            Reply::page_with(refused.status(), &form(visit, record, typed, wrong, None))
        }
        None => {
            // Whatever became of it, it stays one call; but for one that was another call before.
            let key = if refused.code() == "idempotency_key_reuse" { visit.new_key() } else { key };
            again(visit, typed, refused.status(), key, error::sentence(visit.text, &refused)).await
        }
    }
}

/// What was confirmed, with why it was not done.
async fn again(
    visit: &Visit,
    typed: Typed,
    status: StatusCode,
    key: String,
    refused: String,
) -> Result<Reply, Problem> {
    let record = refundable(visit).await?;
    match typed.plan(visit.text, &record, &visit.form) {
        Ok(plan) if record.is_refundable() => {
            Reply::page_with(status, &review(visit, record, typed, plan, key, Some(refused)).await?)
        }
        _ => Reply::page_with(status, &form(visit, record, typed, Complaints::default(), Some(refused))),
    }
}
