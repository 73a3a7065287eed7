//! Money back to the card it came from.

use std::collections::HashMap;

use stripe_client_core::StripeRequest;
use stripe_core::refund::{CreateRefund, ListRefund, RetrieveRefund};
use stripe_shared::Refund;
use stripe_types::RangeQueryTs;

use super::intent::money;
use super::outcome::StripeFault;
use super::requests::{Stripe, strategy};
use crate::clock::Timestamp;
use crate::ids::{OrganizationId, RechargeId};
use crate::money::Money;

const REFUND_KEY: &str = "refund_key";
const RECHARGE_ID: &str = "recharge_id";

/// What to give back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefundOrder {
    /// Our name for this refund, kept by Stripe as metadata: by it the refund is found again when an answer was lost.
    pub refund_key: String,
    /// Stripe replays its answer to the same key, refusals included: a try after a refusal needs another one.
    pub idempotency_key: String,
    /// The recharge that is undone, as metadata.
    pub recharge_id: RechargeId,
    /// Whose it is, as metadata.
    pub organization: OrganizationId,
    /// The payment intent that took the money.
    pub payment_intent_id: String,
    /// How much goes back; Stripe takes the currency from the charge.
    pub amount: Money,
}

/// How far a refund is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefundStatus {
    /// On its way, or waiting for something; also every status that is not known here.
    Pending,
    /// The bank has it. It may still fail later.
    Succeeded,
    /// It did not reach the customer, and the money is in Stripe's balance again.
    Failed,
}

impl RefundStatus {
    fn of(status: Option<&str>) -> Self {
        match status {
            Some("succeeded") => Self::Succeeded,
            Some("failed" | "canceled") => Self::Failed,
            // `pending`, `requires_action`, or a status from after this was written: not at its end.
            _ => Self::Pending,
        }
    }
}

/// A refund as Stripe shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefundSeen {
    /// Stripe's refund.
    pub refund_id: String,
    /// The payment intent that took the money.
    pub payment_intent_id: Option<String>,
    /// The charge that took the money.
    pub charge_id: Option<String>,
    /// What goes back, in the currency of the charge.
    pub amount: Money,
    /// How far it is.
    pub status: RefundStatus,
    /// Why it failed, such as `expired_or_canceled_card`.
    pub failure_reason: Option<String>,
    /// [`RefundOrder::refund_key`]; absent when somebody else made the refund.
    pub refund_key: Option<String>,
    /// [`RefundOrder::recharge_id`]; absent when somebody else made the refund.
    pub recharge_id: Option<RechargeId>,
}

impl Stripe {
    /// Gives money back. The same idempotency key brings the same refund, or the same refusal.
    ///
    /// # Errors
    /// [`FaultKind::Refused`](super::FaultKind::Refused) when Stripe refused and nothing was given back, with a code
    /// such as `balance_insufficient`, `charge_already_refunded` or `charge_disputed`. After
    /// [`FaultKind::Unknown`](super::FaultKind::Unknown) the refund may exist: the same call again, or
    /// [`Self::list_refunds`] and its `refund_key`.
    pub async fn refund(&self, order: &RefundOrder) -> Result<RefundSeen, StripeFault> {
        let metadata = HashMap::from([
            (REFUND_KEY.to_owned(), order.refund_key.clone()),
            (RECHARGE_ID.to_owned(), order.recharge_id.to_string()),
            ("c_organization_id".to_owned(), order.organization.to_string()),
        ]);
        let request = CreateRefund::new()
            .payment_intent(order.payment_intent_id.as_str())
            .amount(order.amount.minor)
            .metadata(metadata);
        let strategy = strategy(&order.idempotency_key)?;
        seen(&request.customize().request_strategy(strategy).send(&self.transport).await?)
    }

    /// Reads a refund again.
    ///
    /// # Errors
    /// What Stripe says.
    pub async fn read_refund(&self, refund_id: &str) -> Result<RefundSeen, StripeFault> {
        seen(&RetrieveRefund::new(refund_id).customize().send(&self.transport).await?)
    }

    /// All refunds of a payment intent, newest first, whoever made them.
    ///
    /// # Errors
    /// What Stripe says; nothing is returned when a page is missing.
    pub async fn list_refunds(&self, payment_intent_id: &str) -> Result<Vec<RefundSeen>, StripeFault> {
        let mut refunds = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let (page, next) = self.refund_page(ListRefund::new().payment_intent(payment_intent_id), after).await?;
            refunds.extend(page);
            after = next;
            if after.is_none() {
                return Ok(refunds);
            }
        }
    }

    /// One page of at most 100 of all refunds made at `since` (to the second) or later, newest first, and where the
    /// next page starts: pass it as `after`. `None` when this was the last.
    ///
    /// # Errors
    /// What Stripe says.
    pub async fn list_refunds_since(
        &self,
        since: Timestamp,
        after: Option<&str>,
    ) -> Result<(Vec<RefundSeen>, Option<String>), StripeFault> {
        let request = ListRefund::new().created(RangeQueryTs::gte(since.timestamp()));
        self.refund_page(request, after.map(str::to_owned)).await
    }

    async fn refund_page(
        &self,
        request: ListRefund,
        after: Option<String>,
    ) -> Result<(Vec<RefundSeen>, Option<String>), StripeFault> {
        let request = request.limit(100);
        let request = match after {
            Some(after) => request.starting_after(after),
            None => request,
        };
        let page = request.customize().send(&self.transport).await?;
        let next = page.data.last().filter(|_| page.has_more).map(|last| last.id.to_string());
        Ok((page.data.iter().map(seen).collect::<Result<_, _>>()?, next))
    }
}

fn seen(refund: &Refund) -> Result<RefundSeen, StripeFault> {
    let metadata = |name: &str| refund.metadata.as_ref().and_then(|metadata| metadata.get(name));
    Ok(RefundSeen {
        refund_id: refund.id.to_string(),
        payment_intent_id: refund.payment_intent.as_ref().map(|intent| intent.id().to_string()),
        charge_id: refund.charge.as_ref().map(|charge| charge.id().to_string()),
        amount: money(&format!("refund {}", refund.id), refund.amount, &refund.currency)?,
        status: RefundStatus::of(refund.status.as_deref()),
        failure_reason: refund.failure_reason.clone(),
        refund_key: metadata(REFUND_KEY).cloned(),
        recharge_id: metadata(RECHARGE_ID).and_then(|id| id.parse().ok()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_end_is_an_end() {
        for (status, want) in [
            (Some("succeeded"), RefundStatus::Succeeded),
            (Some("failed"), RefundStatus::Failed),
            (Some("canceled"), RefundStatus::Failed),
            (Some("pending"), RefundStatus::Pending),
            (Some("requires_action"), RefundStatus::Pending),
            (Some("something_new"), RefundStatus::Pending),
            (None, RefundStatus::Pending),
        ] {
            assert_eq!(RefundStatus::of(status), want, "{status:?}");
        }
    }
}
