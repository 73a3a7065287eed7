//! A recharge, and its chain.

use askama::Template;

use super::ahead::{Station, way};
use super::record::{Dispute, Failure, Record, Refund};
use super::steps::{Step, Teller};
use super::story::{self, Share};
use crate::console::amount::Amount;
use crate::console::layout::Layout;
use crate::console::pages::status;
use crate::console::reply::Reply;
use crate::console::route::Route;
use crate::console::text::{Rich, fill, term};
use crate::console::visit::Visit;
use crate::http::Problem;

/// The routes.
pub(super) fn routes() -> Vec<Route> {
    vec![Route::get("/console/recharges/{id}", |visit| Box::pin(async move { show(&visit).await }))]
}

#[derive(Template)]
#[template(path = "history/chain.html")]
struct ChainPage {
    layout: Layout,
    record: Record,
    sentence: Rich,
    shares: Vec<Share>,
    way: Vec<Station>,
    steps: Vec<Step>,
    why_not: Option<String>,
    may_refund: bool,
}

/// `GET /console/recharges/{id}`
async fn show(visit: &Visit) -> Result<Reply, Problem> {
    let record = load(visit).await?;
    let text = visit.text;
    let title = fill(text.history.recharge_of, &[("amount", &record.amount.money(&record.currency))]);
    let layout = visit.layout(title).section("organizations").live(record.c_organization_id.as_deref());
    let teller = Teller { text, currency: &record.currency };
    let steps = record.steps.iter().map(|told| teller.tell(told)).collect();
    let page = ChainPage {
        sentence: story::sentence(text, &record),
        shares: story::shares(text, &record),
        way: way(text, &record),
        steps,
        why_not: record.failure.as_ref().and_then(|failure| story::why_not(text, failure)),
        may_refund: visit.is_operator() && record.is_refundable(),
        layout,
        record,
    };
    Reply::page(&page)
}

/// The recharge that the path names.
pub(super) async fn load(visit: &Visit) -> Result<Record, Problem> {
    visit.get(&format!("/api/recharges/{}", visit.param(0))).await
}

impl ChainPage {
    fn money(&self, amount: &Amount) -> String {
        amount.money(&self.record.currency)
    }

    fn class(&self) -> &'static str {
        status::class(self.record.status())
    }

    fn status_words(&self) -> &str {
        match self.record.status() {
            "" => self.layout.text.common.unknown,
            status => term(self.layout.text.terms.statuses, status),
        }
    }

    fn cause(&self) -> &str {
        term(self.layout.text.terms.triggers, &self.record.triggered_by)
    }

    /// Why it was not charged, where that is how it stands.
    fn failure(&self) -> Option<&Failure> {
        let stands = matches!(self.record.status(), "declined" | "failed");
        self.record.failure.as_ref().filter(|_| stands)
    }

    /// What is still to come.
    fn ahead(&self) -> impl Iterator<Item = &Station> {
        self.way.iter().filter(|station| matches!(station.class, "is-now" | "is-waiting"))
    }

    /// Why all of it goes back.
    fn undo(&self) -> Option<&str> {
        self.record.undo_cause.as_deref().map(|cause| term(self.layout.text.terms.undos, cause))
    }

    fn refund_class(&self, refund: &Refund) -> &'static str {
        match refund.status.as_str() {
            "succeeded" => "is-good",
            "failed" => "is-bad",
            _ => "is-info",
        }
    }

    fn refund_words<'a>(&self, refund: &'a Refund) -> &'a str {
        term(self.layout.text.terms.refunds, &refund.status)
    }

    fn refund_cause<'a>(&self, refund: &'a Refund) -> &'a str {
        term(self.layout.text.terms.undos, &refund.cause)
    }

    /// Whether it did not work at once, and does not yet.
    fn is_retried(&self, refund: &Refund) -> bool {
        refund.tries > 1 && refund.status != "succeeded"
    }

    fn tries(&self, refund: &Refund) -> String {
        fill(self.layout.text.history.tries, &[("tries", &refund.tries.to_string())])
    }

    fn stage(&self, dispute: &Dispute) -> (&'static str, &str) {
        let words = &self.layout.text.history;
        match dispute.stage.as_str() {
            "won" => ("is-good", words.dispute_won),
            "lost" => ("is-bad", words.dispute_lost),
            _ => ("is-warn", words.dispute_open),
        }
    }
}
