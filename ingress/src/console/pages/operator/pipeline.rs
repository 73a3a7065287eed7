//! `/console/pipeline`: whether the chain is well, part by part, and what to do where it is not.

use askama::Template;
use serde::Deserialize;

use super::Badge;
use super::health::{Part, Stage, Value, judge};
use super::verdict::worst;
use crate::console::layout::Layout;
use crate::console::moment::Moment;
use crate::console::reply::Reply;
use crate::console::route::Route;
use crate::console::text::term;
use crate::console::visit::Visit;
use crate::http::Problem;

/// The routes.
pub(super) fn routes() -> Vec<Route> {
    vec![Route::get("/console/pipeline", |visit| Box::pin(async move { show(&visit).await }))]
}

#[derive(Deserialize)]
pub(super) struct Pipeline {
    pub(super) at: Moment,
    pub(super) consumers: Option<Vec<Consumer>>,
    pub(super) dead_letters: Option<DeadLetters>,
    pub(super) recharges: Option<Vec<InFlight>>,
    pub(super) refunds: Option<Refunds>,
    pub(super) quotas: Option<Quotas>,
    pub(super) outside: Outside,
    pub(super) reconciliation: Option<Reconciliation>,
    pub(super) unknown: Vec<Unknown>,
}

#[derive(Deserialize)]
pub(super) struct Unknown {
    pub(super) part: String,
    pub(super) reason: String,
}

#[derive(Deserialize)]
pub(super) struct Consumer {
    pub(super) stream: String,
    pub(super) service: String,
    pub(super) pending: Option<u64>,
    pub(super) ack_pending: Option<u64>,
    pub(super) redelivered: Option<u64>,
    pub(super) asking: Option<u64>,
    pub(super) last_delivered_at: Option<Moment>,
    pub(super) last_acked_at: Option<Moment>,
    pub(super) problem: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct DeadLetters {
    pub(super) count: u64,
    pub(super) oldest_at: Option<Moment>,
}

#[derive(Deserialize)]
pub(super) struct InFlight {
    pub(super) status: String,
    pub(super) count: i64,
    pub(super) oldest_at: Option<Moment>,
}

#[derive(Deserialize)]
pub(super) struct Refunds {
    pub(super) open: i64,
    pub(super) oldest_at: Option<Moment>,
    pub(super) failing: i64,
    pub(super) last_error: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Quotas {
    pub(super) behind: i64,
    pub(super) oldest_at: Option<Moment>,
}

#[derive(Deserialize)]
pub(super) struct Outside {
    pub(super) stripe: Option<Stripe>,
    pub(super) quota_backend: Option<Backend>,
}

#[derive(Deserialize)]
pub(super) struct Stripe {
    pub(super) last_answer: Option<Answer>,
    pub(super) waiting_recharges: i64,
    pub(super) waiting_refunds: i64,
    pub(super) waiting_since: Option<Moment>,
}

#[derive(Deserialize)]
pub(super) struct Answer {
    pub(super) outcome: String,
    pub(super) at: Moment,
}

#[derive(Deserialize)]
pub(super) struct Backend {
    pub(super) last_success: Option<Success>,
    pub(super) last_failure: Option<Failure>,
    pub(super) waiting: i64,
    pub(super) waiting_since: Option<Moment>,
}

#[derive(Deserialize)]
pub(super) struct Success {
    pub(super) what: String,
    pub(super) at: Moment,
}

#[derive(Deserialize)]
pub(super) struct Failure {
    pub(super) backend: String,
    pub(super) c_organization_id: String,
    pub(super) reason: String,
    pub(super) at: Moment,
}

#[derive(Deserialize)]
pub(super) struct Reconciliation {
    pub(super) last: Option<Run>,
}

#[derive(Deserialize)]
pub(super) struct Run {
    pub(super) run_id: String,
    pub(super) requested_at: Moment,
    pub(super) finished: bool,
    pub(super) given_up: bool,
    pub(super) findings: i64,
    pub(super) reported: i64,
}

/// A step of the chain, in one word.
pub(super) struct Step {
    pub(super) class: &'static str,
    pub(super) name: &'static str,
    pub(super) says: &'static str,
}

#[derive(Template)]
#[template(path = "operator/pipeline.html")]
struct Page {
    layout: Layout,
    at: Moment,
    overall: Badge,
    steps: Vec<Step>,
    /// None: the broker does not tell.
    stages: Option<Vec<Stage>>,
    parts: Vec<Part>,
}

/// `GET /console/pipeline`
async fn show(visit: &Visit) -> Result<Reply, Problem> {
    let pipeline: Pipeline = visit.get("/api/pipeline").await?;
    let text = visit.text;
    let at = pipeline.at;
    let judged = judge(text, pipeline);
    let verdict = worst(judged.verdicts);
    let overall = Badge::new(verdict.class(), term(text.terms.overall, verdict.word()));
    let layout = visit.layout(text.common.pipeline).live(None).section("pipeline");
    let page = Page { layout, at, overall, steps: judged.steps, stages: judged.stages, parts: judged.parts };
    Reply::page(&page)
}
