//! What a comparison of the books found: each service compares its part (`requests.reconcile`) and records it here, in
//! the same shape, with a metric, a row and a log line for each disagreement.

mod kind;
mod repo;

use prometheus::{IntCounterVec, IntGaugeVec, Registry};
use sqlx::PgPool;

use crate::clock::Timestamp;
use crate::ids::{OrganizationId, RechargeId};
use crate::telemetry;

pub use kind::Kind;

/// A part of the comparison, and so the service that does it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    /// Stripe's payments and refunds, and the recharge records: by the recharger
    Charges,
    /// The recharge records and the ledger: by the ledger
    Bookings,
    /// The ledger's quotas and those in force at the backend: by the syncer
    Quotas,
}

impl Part {
    /// Every part: a run is done when each has finished.
    pub const ALL: [Self; 3] = [Self::Charges, Self::Bookings, Self::Quotas];

    /// The word that is stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Charges => "charges",
            Self::Bookings => "bookings",
            Self::Quotas => "quotas",
        }
    }
}

/// One disagreement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What disagrees
    pub kind: Kind,
    /// Whose it is
    pub organization: Option<OrganizationId>,
    /// The recharge, if it is about one
    pub recharge_id: Option<RechargeId>,
    /// The other side's name for it: a payment intent, a refund, a transaction
    pub reference: Option<String>,
    /// What our side says
    pub expected: Option<String>,
    /// What the other side says
    pub found: Option<String>,
    /// Whether it was repaired; if not, a person must decide
    pub repaired: bool,
    /// A sentence for people
    pub detail: String,
}

/// Records what one part found.
#[derive(Clone)]
pub struct Recorder {
    part: Part,
    findings: IntCounterVec,
    last: IntGaugeVec,
}

impl Recorder {
    /// A recorder whose metrics are in `registry`.
    #[must_use]
    pub fn new(part: Part, registry: &Registry) -> Self {
        let findings = telemetry::counter_vec(
            registry,
            "bill_reconciliation_findings_total",
            "Disagreements between the books, by kind and what was done.",
            &["part", "kind", "action"],
        );
        let last = telemetry::gauge_vec(
            registry,
            "bill_reconciliation_last_finished_seconds",
            "When the last comparison finished, in seconds since 1970; 0 on a process that has finished none yet.",
            &["part"],
        );
        // Without a value nobody could see that it never finished.
        last.with_label_values(&[part.as_str()]).set(0);
        Self { part, findings, last }
    }

    /// Whether the part of a run is stored already: then nothing has to be compared again.
    ///
    /// # Errors
    /// What the database says.
    pub async fn is_done(&self, pool: &PgPool, run_id: &str) -> sqlx::Result<bool> {
        repo::is_done(pool, run_id, self.part).await
    }

    /// Stores the part of a run: once, whoever repeats it.
    ///
    /// # Errors
    /// What the database says; nothing is stored then.
    pub async fn record(
        &self,
        pool: &PgPool,
        run_id: &str,
        checked: u64,
        findings: &[Finding],
        now: Timestamp,
    ) -> sqlx::Result<()> {
        if !repo::record(pool, run_id, self.part, checked, findings, now).await? {
            return Ok(());
        }
        let part = self.part.as_str();
        for finding in findings {
            let action = if finding.repaired { "repaired" } else { "reported" };
            self.findings.with_label_values(&[part, finding.kind.as_str(), action]).inc();
            tracing::error!(
                run_id,
                part,
                kind = finding.kind.as_str(),
                action,
                recharge_id = finding.recharge_id.map(tracing::field::display),
                c_organization_id = finding.organization.as_ref().map(OrganizationId::as_str),
                reference = finding.reference,
                "the books disagree ({}, {action}): {}",
                finding.kind.as_str(),
                finding.detail
            );
        }
        self.last.with_label_values(&[part]).set(now.timestamp());
        tracing::info!(
            run_id,
            part,
            checked,
            findings = findings.len(),
            "compared {checked} of part {part}: {} disagree",
            findings.len()
        );
        Ok(())
    }
}
