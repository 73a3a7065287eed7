//! What an operator sees of recharges, refunds and pauses at this moment, counted from the database. Every replica sees the
//! same.

mod repo;

use std::collections::BTreeMap;

use common::clock::Timestamp;
use common::failure::Failure;
use common::telemetry;
use prometheus::{IntGauge, IntGaugeVec, Registry};

use crate::handlers::Recharger;
use crate::saga::State;

/// Where a recharge may stand that has not ended.
const IN_FLIGHT: [State; 7] = [
    State::Pending,
    State::Processing,
    State::ActionRequired,
    State::Charged,
    State::Credited,
    State::Refunding,
    State::Returning,
];

/// What there is at one moment.
#[derive(Debug, Default)]
struct Figures {
    /// Recharges by status.
    in_flight: BTreeMap<String, i64>,
    /// What was captured and is neither in force nor given back, in minor units, by currency.
    unsettled: BTreeMap<String, i64>,
    not_credited: i64,
    not_credited_since: Option<Timestamp>,
    overdue_charged: i64,
    overdue_credited: i64,
    refunds_failing: i64,
    refund_failing_since: Option<Timestamp>,
    paused: i64,
}

/// The gauges. Clones share them.
#[derive(Clone)]
pub(crate) struct Gauges {
    in_flight: IntGaugeVec,
    unsettled: IntGaugeVec,
    not_credited: IntGauge,
    not_credited_since: IntGauge,
    overdue: IntGaugeVec,
    refunds_failing: IntGauge,
    refund_failing_since: IntGauge,
    paused: IntGauge,
}

impl Gauges {
    pub(crate) fn new(registry: &Registry) -> Self {
        let gauge = |name, help| telemetry::gauge(registry, name, help);
        let by = |name, help, label| telemetry::gauge_vec(registry, name, help, &[label]);
        Self {
            in_flight: by("bill_recharges_in_flight", "Recharges that have not ended, by status.", "status"),
            unsettled: by(
                "bill_captured_unsettled_minor",
                "What was captured and is neither in force nor given back, in minor units.",
                "currency",
            ),
            not_credited: gauge("bill_captured_not_credited", "Recharges that were captured and are not booked yet."),
            not_credited_since: gauge(
                "bill_captured_not_credited_oldest_seconds",
                "When the oldest recharge that is not booked yet was captured, in seconds since 1970; 0 when there is none.",
            ),
            overdue: by(
                "bill_recharges_overdue",
                "Recharges past their deadline that are neither in force nor being undone, by state.",
                "state",
            ),
            refunds_failing: gauge(
                "bill_refunds_failing",
                "Refunds that were refused or sent back, and are not made yet.",
            ),
            refund_failing_since: gauge(
                "bill_refunds_failing_oldest_seconds",
                "When the oldest refund that is failing was asked for, in seconds since 1970; 0 when there is none.",
            ),
            paused: gauge("bill_organizations_paused", "Organizations whose automatic recharge is paused."),
        }
    }

    fn show(&self, figures: &Figures) {
        for state in IN_FLIGHT.map(State::as_str) {
            let count = figures.in_flight.get(state).copied().unwrap_or_default();
            self.in_flight.with_label_values(&[state]).set(count);
        }
        self.unsettled.reset();
        for (currency, minor) in &figures.unsettled {
            self.unsettled.with_label_values(&[currency]).set(*minor);
        }
        let seconds = |since: Option<Timestamp>| since.map_or(0, |at| at.timestamp());
        self.not_credited.set(figures.not_credited);
        self.not_credited_since.set(seconds(figures.not_credited_since));
        self.overdue.with_label_values(&[State::Charged.as_str()]).set(figures.overdue_charged);
        self.overdue.with_label_values(&[State::Credited.as_str()]).set(figures.overdue_credited);
        self.refunds_failing.set(figures.refunds_failing);
        self.refund_failing_since.set(seconds(figures.refund_failing_since));
        self.paused.set(figures.paused);
    }
}

impl Recharger {
    /// Counts again.
    pub(crate) async fn show_figures(&self) -> Result<(), Failure> {
        let figures = repo::figures(&self.pool, self.clock.now()).await?;
        self.metrics.gauges.show(&figures);
        Ok(())
    }
}
