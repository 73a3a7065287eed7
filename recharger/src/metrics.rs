//! What an operator sees of the recharger.

use std::time::Duration;

use common::clock::Timestamp;
use common::money::Money;
use common::telemetry;
use prometheus::{HistogramVec, IntCounterVec, IntGauge, Registry};

use crate::figures::Gauges;

/// A step of the straight road, whose time is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// From the trigger, as it was received, to the decision.
    Decide,
    /// From the claim to the capture.
    Charge,
    /// From the capture to the booking.
    Book,
    /// From the booking to the quota in force.
    Sync,
}

impl Step {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Decide => "decide",
            Self::Charge => "charge",
            Self::Book => "book",
            Self::Sync => "sync",
        }
    }
}

/// The recharger's metrics. Clones share them.
#[derive(Clone)]
pub(crate) struct Metrics {
    pub(crate) outcomes: IntCounterVec,
    charged: IntCounterVec,
    settled: IntCounterVec,
    refunded: IntCounterVec,
    pub(crate) refund_failures: IntCounterVec,
    pub(crate) patrols: IntCounterVec,
    pub(crate) patrolled: IntGauge,
    pub(crate) gauges: Gauges,
    steps: HistogramVec,
    recharges: HistogramVec,
}

impl Metrics {
    pub(crate) fn new(registry: &Registry) -> Self {
        let counter = |name, help, labels: &[&str]| telemetry::counter_vec(registry, name, help, labels);
        Self {
            outcomes: counter("bill_recharges_total", "Recharges by outcome and reason.", &["outcome", "reason"]),
            charged: counter("bill_charged_minor_total", "What was captured, in minor units.", &["currency"]),
            settled: counter(
                "bill_settled_minor_total",
                "What was captured and whose quota is in force, in minor units.",
                &["currency"],
            ),
            refunded: counter("bill_refunded_minor_total", "What was given back, in minor units.", &["currency"]),
            refund_failures: counter(
                "bill_refund_failures_total",
                "Refunds that Stripe refused or the bank sent back, by why they were made. Each is tried again.",
                &["cause"],
            ),
            patrols: counter(
                "bill_patrol_looks_total",
                "What the patrol looked at, by kind and result.",
                &["kind", "result"],
            ),
            patrolled: telemetry::gauge(
                registry,
                "bill_patrol_last_finished_seconds",
                "When a round of the patrol last came to its end, in seconds since 1970; 0 before the first.",
            ),
            gauges: Gauges::new(registry),
            steps: telemetry::long_seconds_vec(
                registry,
                "bill_step_seconds",
                "How long each step of a recharge takes: decide, charge, book, sync.",
                &["step"],
            ),
            recharges: telemetry::long_seconds_vec(
                registry,
                "bill_recharge_seconds",
                "From the trigger, as it was received, to the quota in force, by what triggered it.",
                &["trigger"],
            ),
        }
    }

    /// Money was captured.
    pub(crate) fn captured(&self, money: Money) {
        add(&self.charged, money);
    }

    /// What was captured has its quota in force.
    pub(crate) fn in_force(&self, money: Money) {
        add(&self.settled, money);
    }

    /// Money went back.
    pub(crate) fn given_back(&self, money: Money) {
        add(&self.refunded, money);
    }

    /// A step was done.
    pub(crate) fn step(&self, step: Step, began: Timestamp, ended: Timestamp) {
        self.steps.with_label_values(&[step.as_str()]).observe(between(began, ended).as_secs_f64());
    }

    /// A recharge took effect.
    pub(crate) fn recharge(&self, trigger: &str, received: Timestamp, ended: Timestamp) {
        self.recharges.with_label_values(&[trigger]).observe(between(received, ended).as_secs_f64());
    }
}

/// Clocks of two machines may differ: what would have ended before it began took no time.
fn between(began: Timestamp, ended: Timestamp) -> Duration {
    (ended - began).to_std().unwrap_or_default()
}

fn add(counter: &IntCounterVec, money: Money) {
    let minor = u64::try_from(money.minor).unwrap_or_default();
    counter.with_label_values(&[money.currency.code()]).inc_by(minor);
}
