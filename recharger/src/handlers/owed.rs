//! What is owed to a customer has a refund that is open, until it is back, by whatever way it went.

use common::clock::Timestamp;
use common::contract::{Outgoing, RefundCause};
use common::failure::Failure;
use common::ids::{OrganizationId, RechargeId};
use sqlx::PgConnection;

use super::Recharger;
use crate::record::{self, Record};
use crate::refunds::{Refund, Wish, repo as refund_rows, undo_key};
use crate::repo;
use crate::saga::{Fact, RefundFact, RefundStatus, advance, advance_refund};

impl Recharger {
    /// A refund that is still to be made is not for more than is left.
    pub(super) async fn shrink(&self, key: &str, organization: &OrganizationId) -> Result<(), Failure> {
        let mut tx = self.pool.begin().await?;
        repo::lock(&mut tx, organization).await?;
        let Some(mut refund) = refund_rows::find(&mut tx, key).await? else { return Ok(()) };
        let mut record = self.record_of(&mut tx, &refund).await?;
        let (amount, total) = record.left();
        if refund.status != RefundStatus::Requested || refund.total.minor <= total.minor {
            return Ok(());
        }
        if total.minor == 0 {
            refund.status = advance_refund(refund.status, RefundFact::Moot).0;
            refund.next_at = None;
        } else {
            (refund.amount, refund.total) = (amount, total);
        }
        let now = self.clock.now();
        refund_rows::save(&mut tx, &refund, now).await?;
        self.owe(&mut tx, &mut record, now).await?;
        tx.commit().await?;
        Ok(())
    }

    /// A recharge whose money is going back although no refund is open.
    pub(crate) async fn take_up(&self, id: RechargeId) -> Result<(), Failure> {
        let Some(seen) = self.read(id).await? else { return Ok(()) };
        let mut tx = self.pool.begin().await?;
        repo::lock(&mut tx, &seen.organization).await?;
        let Some(mut record) = record::repo::record(&mut tx, id).await? else { return Ok(()) };
        self.owe(&mut tx, &mut record, self.clock.now()).await?;
        tx.commit().await?;
        Ok(())
    }

    /// What is going back and not promised to a refund that is open gets one; what is back is refunded.
    pub(super) async fn owe(&self, tx: &mut PgConnection, record: &mut Record, now: Timestamp) -> Result<(), Failure> {
        if !record.state.is_giving_back() {
            return Ok(());
        }
        if record.left().1.minor == 0 {
            record.state = advance(record.state, Fact::MoneyBack).0;
            record.ended_at = Some(now);
            record.next_at = None;
            record::repo::save(tx, record, now).await?;
            return Ok(());
        }
        let free = refund_rows::free(tx, record).await?;
        if free.1.minor == 0 {
            return Ok(());
        }
        let (cause, reason) = record.undo.clone().unwrap_or_else(|| {
            (RefundCause::CreditOverdue, "a refund of it was sent back, and it is not credited".to_owned())
        });
        let before = refund_rows::undos(tx, record.recharge_id).await?;
        let base = undo_key(record.recharge_id);
        let wish = Wish {
            refund_key: if before == 0 { base } else { format!("{base}~{}", before + 1) },
            cause,
            reason,
            requested_by: None,
            correlation_id: record.correlation_id.clone(),
        };
        let mut refund = Refund::open(record, wish, free, now);
        refund.next_at = Some(self.rules.deadlines.refund_again(1, now));
        refund_rows::open(tx, &refund, now).await?;
        tracing::warn!(recharge_id = %record.recharge_id, c_organization_id = %record.organization,
            correlation_id = %record.correlation_id, refund_key = refund.refund_key,
            "{} of recharge {} is still owed: another refund is opened", free.1, record.recharge_id);
        Ok(())
    }

    /// The payment failed after it had succeeded: the bank took everything that was left.
    pub(super) async fn payment_failed(&self, record: &Record, why: &str) -> Result<Vec<Outgoing>, Failure> {
        let intent = record.payment_intent_id.clone().unwrap_or_default();
        let key = format!("failed:{intent}");
        let mut tx = self.pool.begin().await?;
        repo::lock(&mut tx, &record.organization).await?;
        let now = self.clock.now();
        let stored = record::repo::record(&mut tx, record.recharge_id).await?;
        let Some(stored) = stored else { return Ok(Vec::new()) };
        if refund_rows::find(&mut tx, &key).await?.is_none() {
            let (amount, total) = stored.left();
            if total.minor == 0 {
                return Ok(Vec::new());
            }
            let wish = Wish {
                refund_key: key.clone(),
                cause: RefundCause::PaymentFailed,
                reason: format!("the payment failed after it had succeeded: {why}"),
                requested_by: None,
                correlation_id: stored.correlation_id.clone(),
            };
            let mut refund = Refund::open(&stored, wish, (amount, total), now);
            refund.stripe_refund_id = Some(key.clone());
            refund.next_at = None;
            refund_rows::open(&mut tx, &refund, now).await?;
            let cause = repo::PausedFor::Card(&stored.payment_method_id);
            repo::pause(&mut tx, &stored.organization, &refund.reason, cause, now).await?;
            tracing::error!(recharge_id = %stored.recharge_id, c_organization_id = %stored.organization,
                payment_intent_id = intent, "payment intent {intent} of {total} failed after it had succeeded: {why}");
        }
        let said = self.move_refund(&mut tx, &key, RefundFact::Done, None, Some(self.until_said())).await?;
        tx.commit().await?;
        Ok(said)
    }

    /// What was said when the payment failed after it had succeeded, if it did.
    pub(super) async fn payment_failed_before(&self, record: &Record) -> Result<Vec<Outgoing>, Failure> {
        let mut connection = self.pool.acquire().await?;
        let rows = refund_rows::of_recharge(&mut connection, record.recharge_id).await?;
        let failed = rows.iter().filter(|row| row.cause == RefundCause::PaymentFailed && row.was_refunded);
        Ok(failed.map(|row| row.tells(record)).collect::<Result<Vec<_>, _>>()?.concat())
    }
}
