//! Comparing the books: who asked for it, and what came of it. Each service compares its own part and writes it down
//! itself; here a run is begun, once, and read.

pub(crate) mod repo;
pub(crate) mod schedule;
pub(crate) mod view;

use chrono::TimeDelta;
use common::clock::Timestamp;
use common::contract::{Event, Payload, ReconcileRequestedV1};
use common::ids::EventId;
use common::reconciliation::Part;
use common::telemetry::spans;
use sqlx::FromRow;
use tracing::Span;

use crate::app::App;
use crate::http::Problem;
use view::{FindingView, PartView, RunView};

/// A run whose parts are not all there by then is given up: nobody is asked for them again.
pub(crate) const OLDEST: TimeDelta = TimeDelta::hours(24);

/// A run with what is known of it so far.
#[derive(Debug, Clone, FromRow)]
pub(crate) struct Run {
    pub(crate) run_id: String,
    pub(crate) since: Timestamp,
    pub(crate) requested_by: String,
    pub(crate) requested_at: Timestamp,
    parts_finished: i64,
    checked: i64,
    findings: i64,
    repaired: i64,
}

impl Run {
    /// Whether every part is there.
    pub(crate) fn is_finished(&self) -> bool {
        usize::try_from(self.parts_finished).is_ok_and(|parts| parts >= Part::ALL.len())
    }

    /// Whether parts are missing, and nobody waits for them any more.
    fn is_given_up(&self, now: Timestamp) -> bool {
        !self.is_finished() && now - self.requested_at > OLDEST
    }

    pub(crate) fn view(&self, now: Timestamp) -> RunView {
        RunView {
            run_id: self.run_id.clone(),
            since: self.since,
            requested_by: self.requested_by.clone(),
            requested_at: self.requested_at,
            finished: self.is_finished(),
            given_up: self.is_given_up(now),
            parts_finished: self.parts_finished,
            checked: self.checked,
            findings: self.findings,
            repaired: self.repaired,
            reported: self.findings - self.repaired,
        }
    }
}

/// A part of a run.
#[derive(Debug, Clone, FromRow)]
pub(crate) struct FinishedPart {
    part: String,
    checked: i64,
    finished_at: Timestamp,
    findings: i64,
}

impl FinishedPart {
    pub(crate) fn view(&self) -> PartView {
        PartView {
            part: self.part.clone(),
            checked: self.checked,
            findings: self.findings,
            finished_at: self.finished_at,
        }
    }
}

/// One disagreement.
#[derive(Debug, Clone, FromRow)]
pub(crate) struct Finding {
    pub(crate) id: i64,
    part: String,
    kind: String,
    c_organization_id: Option<String>,
    recharge_id: Option<uuid::Uuid>,
    reference: Option<String>,
    expected: Option<String>,
    found: Option<String>,
    action: String,
    detail: String,
    found_at: Timestamp,
}

impl Finding {
    pub(crate) fn view(&self) -> FindingView {
        FindingView {
            id: self.id,
            part: self.part.clone(),
            kind: self.kind.clone(),
            c_organization_id: self.c_organization_id.clone(),
            recharge_id: self.recharge_id,
            reference: self.reference.clone(),
            expected: self.expected.clone(),
            found: self.found.clone(),
            action: self.action.clone(),
            detail: self.detail.clone(),
            found_at: self.found_at,
        }
    }
}

/// Asks every service for its part. The event is made of the run's row, so that a repeat is the same event.
pub(crate) async fn publish(app: &App, run: &Run) -> Result<(), Problem> {
    let id = EventId::following(ReconcileRequestedV1::KIND, &run.run_id);
    let data =
        ReconcileRequestedV1 { run_id: run.run_id.clone(), since: run.since, requested_by: run.requested_by.clone() };
    spans::begin(&Span::current(), &id);
    app.publisher.publish(Event::first(id, None, run.requested_at, data)).await?;
    Ok(())
}
