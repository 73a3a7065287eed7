//! What an operator sees of the recharger.

use common::telemetry;
use prometheus::{IntCounterVec, IntGauge, IntGaugeVec, Registry};

/// The recharger's metrics. Clones share them.
#[derive(Clone)]
pub(crate) struct Metrics {
    pub(crate) outcomes: IntCounterVec,
    pub(crate) amounts: IntCounterVec,
    pub(crate) refund_failures: IntCounterVec,
    pub(crate) refunds_failing: IntGauge,
    pub(crate) overdue: IntGaugeVec,
    pub(crate) patrols: IntCounterVec,
}

impl Metrics {
    pub(crate) fn new(registry: &Registry) -> Self {
        let counter = |name, help, labels: &[&str]| telemetry::counter_vec(registry, name, help, labels);
        Self {
            outcomes: counter("bill_recharges_total", "Recharges by outcome and reason.", &["outcome", "reason"]),
            amounts: counter("bill_charged_minor_total", "What was captured, in minor units.", &["currency"]),
            refund_failures: counter(
                "bill_refund_failures_total",
                "Refunds that Stripe refused or the bank sent back, by why they were made. Each is tried again.",
                &["cause"],
            ),
            refunds_failing: telemetry::gauge(
                registry,
                "bill_refunds_failing",
                "Refunds that were refused or sent back, and are not made yet.",
            ),
            overdue: telemetry::gauge_vec(
                registry,
                "bill_recharges_overdue",
                "Recharges past their deadline that are neither in force nor being undone, by state.",
                &["state"],
            ),
            patrols: counter(
                "bill_patrol_looks_total",
                "What the patrol looked at, by kind and result.",
                &["kind", "result"],
            ),
        }
    }
}
