//! What the syncer counts.

use common::telemetry;
use prometheus::{IntCounterVec, Registry};

/// The syncer's counters. The backend's client counts its calls itself.
#[derive(Clone)]
pub(crate) struct Metrics {
    pushes: IntCounterVec,
    team_mismatches: IntCounterVec,
    drift: IntCounterVec,
    lows: IntCounterVec,
    usage_resets: IntCounterVec,
}

impl Metrics {
    pub(crate) fn new(registry: &Registry) -> Self {
        Self {
            pushes: telemetry::counter_vec(
                registry,
                "bill_quota_pushes_total",
                "Events that asked for a quota to be pushed, by what came of it.",
                &["backend", "result"],
            ),
            team_mismatches: telemetry::counter_vec(
                registry,
                "bill_team_mismatch_total",
                "Times the backend named another team than the one that is stored, or one that another organization has.",
                &["kind"],
            ),
            drift: telemetry::counter_vec(
                registry,
                "bill_quota_drift_total",
                "Times the backend had another quota than was left there, by what was done: repaired, reported, or failed to be repaired.",
                &["action"],
            ),
            usage_resets: telemetry::counter_vec(
                registry,
                "bill_quota_usage_resets_total",
                "Quotas that were pushed although the backend zeroes what was spent now and then.",
                &["backend"],
            ),
            lows: telemetry::counter_vec(
                registry,
                "bill_quota_lows_total",
                "Times a low balance was said, by who looked: the sweep, or a request.",
                &["by"],
            ),
        }
    }

    pub(crate) fn push(&self, backend: &str, result: &str) {
        self.pushes.with_label_values(&[backend, result]).inc();
    }

    pub(crate) fn team_mismatch(&self, kind: &str) {
        self.team_mismatches.with_label_values(&[kind]).inc();
    }

    pub(crate) fn drift(&self, action: &str) {
        self.drift.with_label_values(&[action]).inc();
    }

    pub(crate) fn usage_reset(&self, backend: &str) {
        self.usage_resets.with_label_values(&[backend]).inc();
    }

    pub(crate) fn low(&self, by: &str) {
        self.lows.with_label_values(&[by]).inc();
    }
}
