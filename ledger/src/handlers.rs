//! What the ledger does with each kind of event: book it, and say what was booked.

use common::clock::SharedClock;
use common::contract::{
    AdjustRequestedV1, Event, LedgerCreditedV1, LedgerHeldV1, LedgerReversedV1, Outgoing, Payload, PostingKind,
    QuotaAdoptedV1, RechargeChargedV1, RechargeDisputedV1, RechargeRefundFailedV1, RechargeRefundedV1,
    ReconcileRequestedV1,
};
use common::failure::Failure;
use common::ids::{EventId, RechargeId};
use common::money::Money;
use common::reconciliation::{Part, Recorder};
use common::telemetry;
use common::worker::{Delivery, Handler};
use prometheus::{IntCounterVec, Registry};
use sqlx::PgPool;

use crate::posted::Posted;
use crate::posting::{self, Decision, Posting, PostingError, RechargeBooks};
use crate::reconcile;
use crate::repo::{Books, PostError};

/// The ledger's handler.
pub struct LedgerHandler {
    pool: PgPool,
    clock: SharedClock,
    postings: IntCounterVec,
    posted: IntCounterVec,
    recorder: Recorder,
}

impl LedgerHandler {
    /// A handler that posts on that pool's connections.
    #[must_use]
    pub fn new(pool: PgPool, clock: SharedClock, registry: &Registry) -> Self {
        let help = "Transactions that were posted; repeats are not counted.";
        let postings = telemetry::counter_vec(registry, "bill_ledger_postings_total", help, &["kind"]);
        let help = "By how much postings changed quotas, up or down, in minor units; repeats are not counted.";
        let posted = telemetry::counter_vec(registry, "bill_ledger_posted_minor_total", help, &["kind", "currency"]);
        Self { pool, clock, postings, posted, recorder: Recorder::new(Part::Bookings, registry) }
    }

    /// Books what an event does to a recharge. It is decided under the organization's posting lock, from what is booked
    /// by then: no other posting comes between the decision and the commit.
    async fn recharge<T: Payload>(
        &self,
        event: &Event<T>,
        recharge_id: RechargeId,
        decide: impl FnOnce(&Event<T>, &RechargeBooks) -> Result<Decision, PostingError>,
    ) -> Result<Vec<Outgoing>, Failure> {
        let mut books = Books::open(&self.pool, event.organization()?).await?;
        let decision = decide(event, &books.of_recharge(recharge_id).await?)?;
        self.carry_out(event, Some(recharge_id), books, decision).await
    }

    /// Books what is about no recharge.
    async fn book<T: Payload>(&self, event: &Event<T>, posting: Posting) -> Result<Vec<Outgoing>, Failure> {
        let books = Books::open(&self.pool, posting.organization()).await?;
        self.carry_out(event, None, books, Decision::Post(vec![posting])).await
    }

    async fn carry_out<T: Payload>(
        &self,
        event: &Event<T>,
        recharge_id: Option<RechargeId>,
        mut books: Books,
        decision: Decision,
    ) -> Result<Vec<Outgoing>, Failure> {
        let recharge = recharge_id.map(tracing::field::display);
        let (organization, event_id, correlation) = (event.organization()?, &event.id, &event.correlationid);
        match decision {
            Decision::Post(postings) => {
                let mut all = Vec::with_capacity(postings.len());
                for posting in &postings {
                    let posted = books.post(posting).await?;
                    tell(
                        event_id,
                        &posted,
                        (posted.change.minor != posting.quota_change()).then(|| posting.description()),
                    );
                    all.push(posted);
                }
                books.commit().await?;
                for posted in all.iter().filter(|posted| !posted.was_there_already) {
                    let kind = posted.kind.as_str();
                    self.postings.with_label_values(&[kind]).inc();
                    let change = posted.change.minor.unsigned_abs();
                    self.posted.with_label_values(&[kind, posted.change.currency.code()]).inc_by(change);
                }
                all.iter().map(follow_up).collect()
            }
            Decision::Again { business_key, contradicts } => {
                let all = books.posted(&business_key).await?;
                books.close().await?;
                all.iter().for_each(|posted| {
                    tell(event_id, posted, contradicts.as_deref().filter(|_| posted.business_key == business_key));
                });
                all.iter().map(follow_up).collect()
            }
            Decision::Nothing(why) => {
                books.close().await?;
                tracing::info!(
                    recharge_id = recharge, c_organization_id = %organization, %event_id, correlation_id = %correlation,
                    "nothing to book: {why}"
                );
                Ok(Vec::new())
            }
            Decision::NotYet(why) => {
                books.close().await?;
                Err(Failure::retry(anyhow::anyhow!("{why}")))
            }
            Decision::TooLate(why) => {
                books.close().await?;
                tracing::warn!(
                    recharge_id = recharge, c_organization_id = %organization, %event_id, correlation_id = %correlation,
                    "not credited: {why}"
                );
                Err(Failure::Refused(why))
            }
        }
    }

    /// Books a correction, where its amount is still the right one.
    async fn adjusted(&self, event: Event<AdjustRequestedV1>) -> Result<Vec<Outgoing>, Failure> {
        let posting = Posting::adjustment(&event)?;
        let Some(basis) = event.data.basis_version else { return self.book(&event, posting).await };
        let mut books = Books::open(&self.pool, posting.organization()).await?;
        let booked = !books.posted(posting.business_key()).await?.is_empty();
        let decision = posting::correction(posting, basis, booked, books.version().await?);
        self.carry_out(&event, None, books, decision).await
    }

    async fn adopted(&self, event: Event<QuotaAdoptedV1>) -> Result<Vec<Outgoing>, Failure> {
        if let Some(posting) = Posting::opening(&event)? {
            return self.book(&event, posting).await;
        }
        tracing::info!(
            c_organization_id = %event.organization()?, event_id = %event.id, correlation_id = %event.correlationid,
            "nothing to book: {} had a quota of nothing", event.data.backend
        );
        Ok(Vec::new())
    }
}

impl Handler for LedgerHandler {
    async fn handle(&self, delivery: &Delivery) -> Result<Vec<Outgoing>, Failure> {
        match delivery.kind() {
            RechargeChargedV1::KIND => {
                let event = delivery.decode::<RechargeChargedV1>()?;
                self.recharge(&event, event.data.recharge_id, posting::charge).await
            }
            RechargeRefundedV1::KIND => {
                let event = delivery.decode::<RechargeRefundedV1>()?;
                self.recharge(&event, event.data.recharge_id, posting::refund).await
            }
            RechargeRefundFailedV1::KIND => {
                let event = delivery.decode::<RechargeRefundFailedV1>()?;
                self.recharge(&event, event.data.recharge_id, posting::refund_failed).await
            }
            RechargeDisputedV1::KIND => {
                let event = delivery.decode::<RechargeDisputedV1>()?;
                self.recharge(&event, event.data.recharge_id, posting::dispute).await
            }
            QuotaAdoptedV1::KIND => self.adopted(delivery.decode()?).await,
            AdjustRequestedV1::KIND => self.adjusted(delivery.decode()?).await,
            ReconcileRequestedV1::KIND => {
                let event = delivery.decode::<ReconcileRequestedV1>()?;
                reconcile::run(&self.pool, &self.recorder, &event.data, self.clock.now()).await?;
                Ok(Vec::new())
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
fn follow_up(posted: &Posted) -> Result<Outgoing, Failure> {
    let Posted { transaction_id, kind: posting, recharge_id, change, held, quota, ledger_version, .. } = *posted;
    let credited = |amount| LedgerCreditedV1 { transaction_id, posting, recharge_id, amount, quota, ledger_version };
    let reversed = |amount| LedgerReversedV1 { transaction_id, posting, recharge_id, amount, quota, ledger_version };
    match posting {
        PostingKind::Charge | PostingKind::Opening | PostingKind::RefundFailed => following(posted, credited(change)),
        PostingKind::Adjustment if change.minor > 0 => following(posted, credited(change)),
        PostingKind::Adjustment | PostingKind::Refund | PostingKind::Void => {
            following(posted, reversed(negative(change)))
        }
        PostingKind::DisputeLost => following(posted, reversed(negative(held))),
        PostingKind::Hold | PostingKind::Release => {
            following(posted, LedgerHeldV1 { transaction_id, recharge_id, amount: held, quota, ledger_version })
        }
    }
}

fn following<T: Payload>(posted: &Posted, data: T) -> Result<Outgoing, Failure> {
    let Posted { transaction_id, organization, posted_at, correlation, .. } = posted;
    Event::following(transaction_id, organization, *posted_at, correlation, data).outgoing()
}

fn negative(amount: Money) -> Money {
    Money::new(amount.minor.saturating_neg(), amount.currency)
}

/// One line for each transaction. `contradicts`: what came now, where that is something else than was booked before.
fn tell(event_id: &EventId, posted: &Posted, contradicts: Option<&str>) {
    let recharge_id = posted.recharge_id.map(tracing::field::display);
    let Posted { organization, correlation, transaction_id, quota, ledger_version, .. } = posted;
    let (key, description) = (&posted.business_key, &posted.description);
    match contradicts {
        _ if !posted.was_there_already => tracing::info!(
            recharge_id, c_organization_id = %organization, %event_id, correlation_id = %correlation, %transaction_id,
            "posted for {organization}: {description}; quota {quota}, version {ledger_version}"
        ),
        None => tracing::info!(
            recharge_id, c_organization_id = %organization, %event_id, correlation_id = %correlation, %transaction_id,
            "{key} was posted before as version {ledger_version}; nothing is posted again"
        ),
        Some(other) => tracing::warn!(
            recharge_id, c_organization_id = %organization, %event_id, correlation_id = %correlation, %transaction_id,
            "{key} was posted before ({description}); what came now is not posted: {other}"
        ),
    }
}
