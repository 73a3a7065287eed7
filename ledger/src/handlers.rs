//! What the ledger does with each kind of event: book it, and say what was booked.

use common::contract::{
    AdjustRequestedV1, Event, LedgerCreditedV1, LedgerReversedV1, Outgoing, Payload, QuotaAdoptedV1, RechargeChargedV1,
    RechargeRefundedV1,
};
use common::failure::Failure;
use common::ids::EventId;
use common::money::Money;
use common::telemetry;
use common::worker::{Delivery, Handler};
use prometheus::{IntCounterVec, Registry};
use sqlx::PgPool;

use crate::posting::{Posting, charge_key};
use crate::repo::{self, PostError, Posted};

/// The ledger's handler.
pub struct LedgerHandler {
    pool: PgPool,
    role: Option<String>,
    postings: IntCounterVec,
}

impl LedgerHandler {
    /// A handler that posts under the database role `role`, or under the one that it is connected as.
    #[must_use]
    pub fn new(pool: PgPool, role: Option<String>, registry: &Registry) -> Self {
        let help = "Transactions that were posted; repeats are not counted.";
        Self { pool, role, postings: telemetry::counter_vec(registry, "bill_ledger_postings_total", help, &["kind"]) }
    }

    async fn refunded(&self, event: Event<RechargeRefundedV1>) -> Result<Vec<Outgoing>, Failure> {
        let (organization, recharge_id) = (event.organization()?, event.data.recharge_id);
        let credited = repo::is_posted(&self.pool, organization, &charge_key(recharge_id)).await?;
        match (credited, event.data.was_credited) {
            // The books decide. `was_credited` tells what the recharger knew, and the credit may have come after that.
            (true, _) => self.book(&event.id, &Posting::refund(&event)?).await,
            (false, true) => Err(Failure::retry(anyhow::anyhow!(
                "refund {} says that recharge {recharge_id} was credited, but its charge is not in the books",
                event.data.refund_id
            ))),
            (false, false) => {
                tracing::info!(
                    %recharge_id, c_organization_id = %organization, event_id = %event.id,
                    correlation_id = %event.correlationid,
                    "refund {} of recharge {recharge_id} books nothing: the charge was never credited", event.data.refund_id
                );
                Ok(Vec::new())
            }
        }
    }

    async fn adopted(&self, event: Event<QuotaAdoptedV1>) -> Result<Vec<Outgoing>, Failure> {
        if let Some(posting) = Posting::opening(&event)? {
            return self.book(&event.id, &posting).await;
        }
        tracing::info!(
            c_organization_id = %event.organization()?, event_id = %event.id, correlation_id = %event.correlationid,
            "nothing to book: {} had a quota of nothing", event.data.backend
        );
        Ok(Vec::new())
    }

    /// Posts, and tells the world.
    async fn book(&self, event_id: &EventId, posting: &Posting) -> Result<Vec<Outgoing>, Failure> {
        let posted = repo::post(&self.pool, self.role.as_deref(), posting).await?;
        if !posted.was_there_already {
            self.postings.with_label_values(&[posting.kind().as_str()]).inc();
        }
        tell(event_id, posting, &posted);
        Ok(vec![follow_up(posting, &posted)?])
    }
}

impl Handler for LedgerHandler {
    async fn handle(&self, delivery: &Delivery) -> Result<Vec<Outgoing>, Failure> {
        match delivery.kind() {
            RechargeChargedV1::KIND => {
                let event = delivery.decode::<RechargeChargedV1>()?;
                self.book(&event.id, &Posting::charge(&event)?).await
            }
            RechargeRefundedV1::KIND => self.refunded(delivery.decode()?).await,
            QuotaAdoptedV1::KIND => self.adopted(delivery.decode()?).await,
            AdjustRequestedV1::KIND => {
                let event = delivery.decode::<AdjustRequestedV1>()?;
                self.book(&event.id, &Posting::adjustment(&event)?).await
            }
            other => Err(Failure::malformed(anyhow::anyhow!("the ledger has no use for {other}"))),
        }
    }
}

impl From<PostError> for Failure {
    fn from(error: PostError) -> Self {
        match error {
            PostError::Database(error) => error.into(),
            error => Self::malformed(error),
        }
    }
}

/// What follows from a posting. Everything in it comes from the stored transaction, so that a repeat is the same to the byte.
fn follow_up(posting: &Posting, posted: &Posted) -> Result<Outgoing, Failure> {
    let Posted { transaction_id, recharge_id, change, quota, ledger_version, .. } = *posted;
    let (cause, organization) = (transaction_id, &posted.organization);
    if change.minor > 0 {
        let data = LedgerCreditedV1 {
            transaction_id,
            posting: posting.kind(),
            recharge_id,
            amount: change,
            quota,
            ledger_version,
        };
        return Event::following(&cause, organization, posted.posted_at, &posted.correlation, data).outgoing();
    }
    let amount = Money::new(change.minor.saturating_neg(), change.currency);
    let data = LedgerReversedV1 { transaction_id, posting: posting.kind(), recharge_id, amount, quota, ledger_version };
    Event::following(&cause, organization, posted.posted_at, &posted.correlation, data).outgoing()
}

fn tell(event_id: &EventId, posting: &Posting, posted: &Posted) {
    let recharge_id = posted.recharge_id.map(tracing::field::display);
    let Posted { organization, correlation, transaction_id, quota, ledger_version, .. } = posted;
    let (key, description) = (posting.business_key(), posting.description());
    if !posted.was_there_already {
        tracing::info!(
            recharge_id, c_organization_id = %organization, %event_id, correlation_id = %correlation, %transaction_id,
            "posted for {organization}: {description}; quota {quota}, version {ledger_version}"
        );
    } else if posted.change.minor == posting.quota_change() {
        tracing::info!(
            recharge_id, c_organization_id = %organization, %event_id, correlation_id = %correlation, %transaction_id,
            "{key} was posted before as version {ledger_version}; nothing is posted again"
        );
    } else {
        tracing::warn!(
            recharge_id, c_organization_id = %organization, %event_id, correlation_id = %correlation, %transaction_id,
            "{key} was posted before with {}; what came now is not posted: {description}", posted.change
        );
    }
}
