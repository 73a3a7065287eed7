//! A payment intent that was not paid off-session: its customer confirms it, or it is given up.

use stripe_client_core::StripeRequest;
use stripe_core::payment_intent::{CancelPaymentIntent, ConfirmPaymentIntent, ConfirmPaymentIntentOffSession};
use stripe_shared::{PaymentIntent, PaymentIntentStatus};

use super::intent::read_intent;
use super::outcome::{FaultKind, StripeFault};
use super::requests::{ChargeOutcome, Stripe, WITH_CHARGE, strategy};
use crate::money::Money;

/// What a confirmation by the customer came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Confirmation {
    /// Nothing is left for the customer to do.
    Outcome(ChargeOutcome),
    /// The bank wants to see the customer.
    Redirect {
        /// The page to send the browser to. It sends it on to our return address.
        url: String,
    },
}

impl Stripe {
    /// Cancels a payment intent that has no money yet, so that nobody can pay it any more. The outcome says what it is
    /// then: canceled is [`FaultKind::Refused`] with the code `payment_intent_canceled`; one that was faster and
    /// succeeded, or that can't be canceled for another reason, is read again and comes back as it is.
    ///
    /// # Errors
    /// What Stripe says. Unless it is [`FaultKind::Refused`], it may be canceled or not: the same call again.
    pub async fn cancel_charge(
        &self,
        payment_intent_id: &str,
        idempotency_key: &str,
        total: Money,
    ) -> Result<ChargeOutcome, StripeFault> {
        let request = CancelPaymentIntent::new(payment_intent_id).expand(vec![WITH_CHARGE.to_owned()]);
        let strategy = strategy(idempotency_key)?;
        match request.customize().request_strategy(strategy).send(&self.transport).await {
            Ok(intent) => Ok(read_intent(&intent, total)),
            Err(fault) if is_another_state(&fault) => self.read_charge(payment_intent_id, total).await,
            Err(fault) => Err(fault),
        }
    }

    /// Confirms a payment intent while its customer is present. One that waits for this customer and card already is
    /// not confirmed again: its page is the answer. One that is paid, processing or canceled comes back as it is.
    ///
    /// Stripe replays its answer to the same idempotency key, so each attempt of the customer needs a key of its own:
    /// otherwise the second gets the page of the first. Two confirmations can't charge twice; the intent is paid once.
    ///
    /// A card that was declined is an outcome, not an error.
    ///
    /// # Errors
    /// What Stripe says. Unless it is [`FaultKind::Refused`], it may be confirmed or not: the same call again.
    pub async fn confirm_on_session(
        &self,
        payment_intent_id: &str,
        payment_method_id: &str,
        return_url: &str,
        idempotency_key: &str,
        total: Money,
    ) -> Result<Confirmation, StripeFault> {
        let intent = self.fetch_intent(payment_intent_id).await?;
        if !can_be_confirmed(&intent, payment_method_id) {
            return Ok(read_confirmation(&intent, total));
        }
        let request = ConfirmPaymentIntent::new(payment_intent_id)
            .payment_method(payment_method_id)
            .return_url(return_url)
            .off_session(ConfirmPaymentIntentOffSession::Bool(false))
            .expand(vec![WITH_CHARGE.to_owned()]);
        let strategy = strategy(idempotency_key)?;
        match request.customize().request_strategy(strategy).send(&self.transport).await {
            Ok(intent) => Ok(read_confirmation(&intent, total)),
            Err(fault) if is_another_state(&fault) => {
                Ok(read_confirmation(&self.fetch_intent(payment_intent_id).await?, total))
            }
            Err(fault) => match fault.kind {
                FaultKind::Declined { .. } | FaultKind::AuthenticationRequired { .. } => {
                    Ok(Confirmation::Outcome(ChargeOutcome::Fault(fault)))
                }
                FaultKind::Busy | FaultKind::Unknown { .. } | FaultKind::Refused { .. } => Err(fault),
            },
        }
    }
}

/// Whether there is something for a confirmation with this card to do.
fn can_be_confirmed(intent: &PaymentIntent, payment_method_id: &str) -> bool {
    match &intent.status {
        PaymentIntentStatus::RequiresPaymentMethod | PaymentIntentStatus::RequiresConfirmation => true,
        PaymentIntentStatus::RequiresAction => {
            let same_card =
                intent.payment_method.as_ref().is_some_and(|method| method.id().as_str() == payment_method_id);
            !same_card || page(intent).is_none()
        }
        _ => false,
    }
}

fn read_confirmation(intent: &PaymentIntent, total: Money) -> Confirmation {
    match page(intent) {
        Some(url) if intent.status == PaymentIntentStatus::RequiresAction => Confirmation::Redirect { url },
        _ => Confirmation::Outcome(read_intent(intent, total)),
    }
}

/// Where the bank wants to see the customer.
fn page(intent: &PaymentIntent) -> Option<String> {
    intent.next_action.as_ref()?.redirect_to_url.as_ref()?.url.clone()
}

/// Stripe refused because the payment intent is not in the state we took it to be in.
fn is_another_state(fault: &StripeFault) -> bool {
    matches!(&fault.kind, FaultKind::Refused { code, .. } if code == "payment_intent_unexpected_state")
}
