//! Health and metrics, for the documentation: every service has them, and `common` answers.

use common::health::{Live, Report};

use crate::api::operation::Operation;

/// The routes.
pub(crate) fn operations() -> Vec<Operation> {
    const TAG: &str = "Operations";
    vec![
        Operation::before("/health", "get_health")
            .says(TAG, "What the service needs, and whether it is there.")
            .answers::<Report>(200, "What is there, and what is missing."),
        Operation::before("/health/live", "get_liveness")
            .says(TAG, "Whether the process turns.")
            .answers::<Live>(200, "It does."),
        Operation::before("/health/ready", "get_readiness")
            .says(TAG, "Whether it can do its work.")
            .answers::<Report>(200, "It can.")
            .answers::<Report>(503, "Something is missing."),
        Operation::before("/metrics", "get_metrics").says(TAG, "Metrics in Prometheus's text format.").answers_text(
            200,
            "The metrics.",
            "text/plain",
        ),
    ]
}
