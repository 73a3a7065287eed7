//! The shell around Stripe for refunds: asks, and turns every answer into what is certain. What is not certain stays a retry.

use common::clients::stripe::{FaultKind, RefundSeen, RefundStatus as Seen, Stripe, StripeFault};
use common::failure::Failure;

use super::Refund;
use crate::charge::retry;
use crate::saga::RefundFact;

/// What Stripe made certain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Heard {
    /// Stripe has it.
    Seen(RefundSeen),
    /// Stripe definitely did not make it.
    Refused {
        /// Stripe's reason.
        reason: String,
    },
    /// There is nothing left to refund.
    Moot {
        /// Stripe's reason.
        reason: String,
    },
}

impl Heard {
    /// The fact that moves the refund.
    pub(crate) fn fact(&self) -> RefundFact {
        match self {
            Self::Seen(seen) => match seen.status {
                Seen::Pending => RefundFact::Accepted,
                Seen::Succeeded => RefundFact::Done,
                Seen::Failed => RefundFact::GivenUp,
            },
            Self::Refused { .. } => RefundFact::Refused,
            Self::Moot { .. } => RefundFact::Moot,
        }
    }

    /// What went wrong, if something did.
    pub(crate) fn error(&self) -> Option<String> {
        match self {
            Self::Seen(seen) => seen.failure_reason.clone(),
            Self::Refused { reason } | Self::Moot { reason } => Some(reason.clone()),
        }
    }
}

/// Asks Stripe for the refund, or what became of it. Whoever may have asked before looks first: a refund that was made
/// while its answer was lost is found by its key.
pub(crate) async fn ask(stripe: &Stripe, payment_intent_id: &str, refund: &Refund) -> Result<Heard, Failure> {
    if let Some(id) = &refund.stripe_refund_id {
        return stripe.read_refund(id).await.map(Heard::Seen).map_err(retry);
    }
    if refund.tries > 1
        && let Some(seen) = find(stripe, payment_intent_id, refund).await?
    {
        return Ok(Heard::Seen(seen));
    }
    let fault = match stripe.refund(&refund.order(payment_intent_id)).await {
        Ok(seen) => return Ok(Heard::Seen(seen)),
        Err(fault) => fault,
    };
    match &fault.kind {
        FaultKind::Busy | FaultKind::Unknown { replayed: false } => Err(retry(fault)),
        // A wrong or blocked key is the operator's to mend; it says nothing about the refund.
        FaultKind::Refused { .. } if matches!(fault.status, Some(401 | 403)) => Err(retry(fault)),
        FaultKind::Refused { code, .. }
            if matches!(code.as_str(), "charge_already_refunded" | "payment_intent_unexpected_state") =>
        {
            Ok(Heard::Moot { reason: fault.to_string() })
        }
        // A stored answer, or a refusal: an earlier request may have worked all the same.
        _ => match find(stripe, payment_intent_id, refund).await? {
            Some(seen) => Ok(Heard::Seen(seen)),
            None => Ok(Heard::Refused { reason: fault.to_string() }),
        },
    }
}

async fn find(stripe: &Stripe, payment_intent_id: &str, refund: &Refund) -> Result<Option<RefundSeen>, Failure> {
    let all = stripe.list_refunds(payment_intent_id).await.map_err(|fault: StripeFault| retry(fault))?;
    Ok(all.into_iter().find(|seen| seen.refund_key.as_deref() == Some(refund.refund_key.as_str())))
}
