//! The shell around Stripe: asks, and turns every answer into what is certain. What is not certain stays a retry.

use common::clients::stripe::{Captured, ChargeOrder, ChargeOutcome, FaultKind, Stripe, StripeFault};
use common::clock::Timestamp;
use common::contract::DeclineClass;
use common::failure::Failure;

use crate::decline::decline_of;
use crate::record::{Decline, Record};

/// Stripe forgets idempotency keys after 24 hours; before that, we stop relying on them.
const KEY_LIFETIME: chrono::Duration = chrono::Duration::hours(23);
/// After so many tries without a clear answer, we look whether the charge is there.
const TRIES_BEFORE_LOOKING: u32 = 3;

/// Whether Stripe may have forgotten the key of what a trigger of that time led to.
pub(crate) fn is_forgotten(triggered_at: Timestamp, now: Timestamp) -> bool {
    now - triggered_at > KEY_LIFETIME
}

/// What is certain about a charge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Certain {
    /// The money is captured.
    Captured(Captured),
    /// The bank or Stripe said no; `payment_intent_id` where there is one.
    No {
        /// Why.
        decline: Decline,
        /// Stripe's payment intent.
        payment_intent_id: Option<String>,
    },
    /// The bank wants the customer.
    NeedsCustomer {
        /// Stripe's payment intent, which the customer can confirm.
        payment_intent_id: String,
        /// A sentence for people.
        message: String,
    },
    /// Stripe has it and will know later.
    Processing {
        /// Stripe's payment intent.
        payment_intent_id: String,
    },
    /// There is no such charge, and there will be none.
    Never {
        /// What Stripe said last.
        message: String,
    },
}

/// Asks Stripe until something is certain; a retry until then. `attempt` counts the message's deliveries; `triggered_at` is
/// when the trigger was received. A trigger may be older than Stripe's memory of keys though its claim is new: a message
/// that came back with a backup may have been charged for before. Then nothing is asked for before we have looked.
///
/// # Errors
/// [`Failure::Retry`] while nothing is certain.
pub async fn charge(
    stripe: &Stripe,
    record: &Record,
    triggered_at: Timestamp,
    attempt: u32,
    now: Timestamp,
) -> Result<Certain, Failure> {
    let order = order(record);
    if let Some(payment_intent_id) = &record.payment_intent_id {
        let outcome = stripe.read_charge(payment_intent_id, record.total).await.map_err(retry)?;
        return certain_or_retry(outcome);
    }
    if is_forgotten(record.created_at, now) {
        let never = || Certain::Never { message: "it was not charged within a day".to_owned() };
        return Ok(find(stripe, record).await?.unwrap_or_else(never));
    }
    if is_forgotten(triggered_at, now)
        && let Some(certain) = find(stripe, record).await?
    {
        tracing::warn!(recharge_id = %record.recharge_id, c_organization_id = %record.organization,
            "recharge {} answers a trigger of {triggered_at}, and its payment is at Stripe already", record.recharge_id);
        return Ok(certain);
    }
    match stripe.charge(&order).await {
        ChargeOutcome::Fault(fault) => doubtful(stripe, &order, attempt, fault).await,
        outcome => certain_or_retry(outcome),
    }
}

/// Looks whether the recharge has a payment, without asking for one.
///
/// # Errors
/// [`Failure::Retry`] while Stripe can't be asked.
pub async fn find(stripe: &Stripe, record: &Record) -> Result<Option<Certain>, Failure> {
    let found = stripe.find_charge(&order(record)).await.map_err(retry)?;
    found.map(certain_or_retry).transpose()
}

fn order(record: &Record) -> ChargeOrder {
    ChargeOrder {
        recharge_id: record.recharge_id,
        organization: record.organization.clone(),
        trigger: record.trigger_event_id.to_string(),
        total: record.total,
        customer_id: record.customer_id.clone(),
        payment_method_id: record.payment_method_id.clone(),
    }
}

/// A fault is believed only when it says something about *every* request that was sent for this recharge. A refusal
/// of this one says nothing of an earlier one whose answer was lost: then we look.
async fn doubtful(stripe: &Stripe, order: &ChargeOrder, attempt: u32, fault: StripeFault) -> Result<Certain, Failure> {
    let (look, none_is_certain) = match &fault.kind {
        // A stored answer: every earlier request with this key had the same one.
        FaultKind::Declined { .. } | FaultKind::AuthenticationRequired { .. } => (false, false),
        FaultKind::Busy => (false, false),
        // A wrong or blocked key is the operator's to mend; it says nothing about a card.
        FaultKind::Refused { .. } if matches!(fault.status, Some(401 | 403)) => (false, false),
        // The key was used with other parameters: an earlier request exists.
        FaultKind::Refused { code, .. } if code == "idempotency_error" => (true, false),
        FaultKind::Refused { .. } => (attempt > 1, true),
        FaultKind::Unknown { replayed } => (*replayed || attempt >= TRIES_BEFORE_LOOKING, *replayed),
    };
    if look {
        tracing::warn!(recharge_id = %order.recharge_id, "looking at Stripe whether the charge is there: {fault}");
        match stripe.find_charge(order).await.map_err(retry)? {
            Some(outcome) => return certain_or_retry(outcome),
            None if none_is_certain => {}
            None => return Err(retry(fault)),
        }
    }
    match &fault.kind {
        FaultKind::Refused { .. } if matches!(fault.status, Some(401 | 403)) => Err(retry(fault)),
        FaultKind::Unknown { replayed: true } => Ok(Certain::Never { message: fault.message }),
        _ => certain_or_retry(ChargeOutcome::Fault(fault)),
    }
}

/// Cancels a payment that waited for the customer, so that it can't succeed any more. It may have succeeded meanwhile.
///
/// # Errors
/// [`Failure::Retry`] while nothing is certain.
pub async fn cancel(stripe: &Stripe, record: &Record) -> Result<Certain, Failure> {
    let Some(payment_intent_id) = &record.payment_intent_id else {
        return Ok(Certain::Never { message: "it was not confirmed".to_owned() });
    };
    let key = format!("cancel-{}", record.recharge_id);
    let outcome = stripe.cancel_charge(payment_intent_id, &key, record.total).await.map_err(retry)?;
    match certain_or_retry(outcome)? {
        // Canceled: the bank wanted the customer, who did not come.
        Certain::No { .. } => Ok(Certain::No {
            decline: Decline::plain(
                "authentication_required",
                DeclineClass::Hard,
                "the bank wanted the customer to confirm, and nobody did in time",
            ),
            payment_intent_id: record.payment_intent_id.clone(),
        }),
        certain => Ok(certain),
    }
}

fn certain_or_retry(outcome: ChargeOutcome) -> Result<Certain, Failure> {
    match outcome {
        ChargeOutcome::Succeeded(captured) => Ok(Certain::Captured(captured)),
        ChargeOutcome::Processing { payment_intent_id } => Ok(Certain::Processing { payment_intent_id }),
        ChargeOutcome::Fault(StripeFault {
            kind: FaultKind::AuthenticationRequired { payment_intent_id: Some(payment_intent_id) },
            message,
            ..
        }) => Ok(Certain::NeedsCustomer { payment_intent_id, message }),
        ChargeOutcome::Fault(fault) => match decline_of(&fault) {
            Some((decline, payment_intent_id)) => Ok(Certain::No { decline, payment_intent_id }),
            None => Err(retry(fault)),
        },
    }
}

/// What Stripe did not answer clearly is asked again.
pub(crate) fn retry(fault: StripeFault) -> Failure {
    Failure::Retry { after: fault.retry_after, reason: fault.into() }
}
