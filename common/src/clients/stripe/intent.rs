//! What a payment intent means. Pure: Stripe's object in, a domain outcome out.

use chrono::DateTime;
use stripe_shared::{ApiErrors, PaymentIntent, PaymentIntentStatus};

use super::outcome::{FaultKind, StripeFault};
use super::requests::{Captured, ChargeOutcome};
use crate::clock::Timestamp;
use crate::money::{Currency, Money};

/// An amount that Stripe named, in minor units, with its currency.
pub(super) fn money(what: &str, minor: i64, currency: &stripe_types::Currency) -> Result<Money, StripeFault> {
    let code = currency.to_string();
    let currency: Currency = code.parse().map_err(|_| {
        StripeFault::unknown(Some(200), format!("{what} is in {code:?}, which is not a three-letter currency"))
    })?;
    Ok(Money::new(minor, currency))
}

/// A time that Stripe named, in seconds since 1970.
pub(super) fn moment(what: &str, seconds: i64) -> Result<Timestamp, StripeFault> {
    DateTime::from_timestamp(seconds, 0).ok_or_else(|| {
        StripeFault::unknown(Some(200), format!("{what} was made at second {seconds}, which is no time"))
    })
}

/// A payment intent as an outcome. Credit is given only for `succeeded`, with amount and currency as ordered.
pub(super) fn read_intent(intent: &PaymentIntent, ordered: Money) -> ChargeOutcome {
    let id = intent.id.to_string();
    match &intent.status {
        PaymentIntentStatus::Succeeded => captured(intent, ordered),
        PaymentIntentStatus::Processing => ChargeOutcome::Processing { payment_intent_id: id },
        PaymentIntentStatus::RequiresAction => fault(
            FaultKind::AuthenticationRequired { payment_intent_id: Some(id) },
            "the bank wants the customer to confirm",
        ),
        PaymentIntentStatus::RequiresPaymentMethod => declined(id, intent.last_payment_error.as_deref()),
        PaymentIntentStatus::Canceled => fault(refused("payment_intent_canceled"), "the payment intent was canceled"),
        // Not confirmed, not captured, or a status from after this was written (the library's enum is open).
        _ => {
            let message = format!("payment intent {id} is {}", intent.status.as_str());
            ChargeOutcome::Fault(StripeFault::unknown(Some(200), message))
        }
    }
}

fn captured(intent: &PaymentIntent, ordered: Money) -> ChargeOutcome {
    let received = Money::new(intent.amount_received, ordered.currency);
    if received != ordered || intent.currency.to_string() != ordered.currency.code() {
        let message = format!(
            "payment intent {} received {} {}, but {ordered} was ordered",
            intent.id, intent.amount_received, intent.currency
        );
        return ChargeOutcome::Fault(StripeFault::unknown(Some(200), message));
    }
    let charge = intent.latest_charge.as_ref();
    let read = charge.and_then(|charge| charge.as_object());
    let transaction =
        read.and_then(|charge| charge.balance_transaction.as_ref()).and_then(|transaction| transaction.as_object());
    ChargeOutcome::Succeeded(Captured {
        payment_intent_id: intent.id.to_string(),
        charge_id: charge.map(|charge| charge.id().to_string()),
        received,
        processor_fee: transaction
            .filter(|transaction| transaction.currency.to_string() == ordered.currency.code())
            .map(|transaction| Money::new(transaction.fee, ordered.currency)),
        captured_at: read.and_then(|charge| DateTime::from_timestamp(charge.created, 0)),
    })
}

fn declined(id: String, error: Option<&ApiErrors>) -> ChargeOutcome {
    let code = error.and_then(|error| error.code.as_ref()).map_or("card_declined".to_owned(), ToString::to_string);
    if code == "authentication_required" {
        return fault(
            FaultKind::AuthenticationRequired { payment_intent_id: Some(id) },
            "the bank wants the customer to confirm",
        );
    }
    let kind = FaultKind::Declined {
        code,
        decline_code: error.and_then(|error| error.decline_code.clone()),
        advice_code: error.and_then(|error| error.advice_code.clone()),
        payment_intent_id: Some(id),
    };
    fault(kind, error.and_then(|error| error.message.as_deref()).unwrap_or("the card was declined"))
}

fn refused(code: &str) -> FaultKind {
    FaultKind::Refused { code: code.to_owned(), param: None }
}

fn fault(kind: FaultKind, message: &str) -> ChargeOutcome {
    ChargeOutcome::Fault(StripeFault {
        kind,
        status: Some(200),
        request_id: None,
        message: message.to_owned(),
        retry_after: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_not_be_booked_is_said_and_not_guessed() {
        let usd: stripe_types::Currency = "usd".parse().unwrap();
        assert_eq!(money("refund re_1", 250, &usd), Ok(Money::new(250, Currency::USD)));
        let unbooked: stripe_types::Currency = "usdc".parse().unwrap();
        let fault = money("refund re_1", 250, &unbooked).unwrap_err();
        assert_eq!(fault.kind, FaultKind::Unknown { replayed: false });
        assert_eq!(fault.message, "refund re_1 is in \"usdc\", which is not a three-letter currency");
        assert!(moment("payment intent pi_1", i64::MAX).is_err());
        assert_eq!(moment("payment intent pi_1", 0), Ok(Timestamp::UNIX_EPOCH));
    }
}
