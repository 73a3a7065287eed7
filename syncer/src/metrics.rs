//! What the syncer counts.

use common::telemetry;
use prometheus::{IntCounterVec, Registry};

/// The syncer's counters. The backend's client counts its calls itself.
#[derive(Clone)]
pub(crate) struct Metrics {
    pushes: IntCounterVec,
    team_mismatches: IntCounterVec,
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
        }
    }

    pub(crate) fn push(&self, backend: &str, result: &str) {
        self.pushes.with_label_values(&[backend, result]).inc();
    }

    pub(crate) fn team_mismatch(&self, kind: &str) {
        self.team_mismatches.with_label_values(&[kind]).inc();
    }
}
