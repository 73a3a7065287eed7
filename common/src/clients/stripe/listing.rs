//! What Stripe has, as it has it: for comparing the books.

use stripe_client_core::StripeRequest;
use stripe_core::payment_intent::ListPaymentIntent;
use stripe_shared::PaymentIntent;
use stripe_types::RangeQueryTs;

use super::intent::moment;
use super::outcome::StripeFault;
use super::requests::Stripe;
use crate::clock::Timestamp;
use crate::ids::{OrganizationId, RechargeId};

/// A payment intent as Stripe shows it. Amounts are minor units of `currency`, which is Stripe's word: one that we
/// can't book must not hide the payment intent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntentSeen {
    /// Stripe's payment intent.
    pub payment_intent_id: String,
    /// The recharge in its metadata; absent when somebody else made it.
    pub recharge_id: Option<RechargeId>,
    /// The organization in its metadata; absent when somebody else made it.
    pub organization: Option<OrganizationId>,
    /// Stripe's customer.
    pub customer_id: Option<String>,
    /// Stripe's status, such as `succeeded`.
    pub status: String,
    /// What was to be paid.
    pub amount: i64,
    /// What was paid.
    pub received: i64,
    /// What went back of its latest charge, refunds on their way included.
    pub refunded: i64,
    /// Three letters in lower case, mostly.
    pub currency: String,
    /// When it was made, to the second.
    pub created: Timestamp,
}

impl Stripe {
    /// One page of at most 100 of all payment intents made at `since` (to the second) or later, newest first, and where
    /// the next page starts: pass it as `after`. `None` when this was the last.
    ///
    /// # Errors
    /// What Stripe says.
    pub async fn list_intents_since(
        &self,
        since: Timestamp,
        after: Option<&str>,
    ) -> Result<(Vec<IntentSeen>, Option<String>), StripeFault> {
        let mut request = ListPaymentIntent::new()
            .created(RangeQueryTs::gte(since.timestamp()))
            .limit(100)
            .expand(vec!["data.latest_charge".to_owned()]);
        if let Some(after) = after {
            request = request.starting_after(after);
        }
        let page = request.customize().send(&self.transport).await?;
        let next = page.data.last().filter(|_| page.has_more).map(|last| last.id.to_string());
        Ok((page.data.iter().map(seen).collect::<Result<_, _>>()?, next))
    }
}

fn seen(intent: &PaymentIntent) -> Result<IntentSeen, StripeFault> {
    let charge = intent.latest_charge.as_ref().and_then(|charge| charge.as_object());
    Ok(IntentSeen {
        payment_intent_id: intent.id.to_string(),
        recharge_id: intent.metadata.get("recharge_id").and_then(|id| id.parse().ok()),
        organization: intent.metadata.get("c_organization_id").and_then(|id| id.parse().ok()),
        customer_id: intent.customer.as_ref().map(|customer| customer.id().to_string()),
        status: intent.status.as_str().to_owned(),
        amount: intent.amount,
        received: intent.amount_received,
        refunded: charge.map_or(0, |charge| charge.amount_refunded),
        currency: intent.currency.to_string(),
        created: moment(&format!("payment intent {}", intent.id), intent.created)?,
    })
}
