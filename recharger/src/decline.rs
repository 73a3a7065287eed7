//! What a refused charge means for the next one. Pure.

use common::clients::stripe::{FaultKind, StripeFault};
use common::clock::Timestamp;
use common::contract::DeclineClass;

use crate::record::Decline;

/// After so many refused charges in a row, automatic recharge pauses.
pub const FAILURES_BEFORE_PAUSE: u32 = 3;

/// Reasons after which the same card will not work. Source: Stripe's documentation, "Decline codes".
const HARD: [&str; 14] = [
    "lost_card",
    "stolen_card",
    "pickup_card",
    "restricted_card",
    "fraudulent",
    "expired_card",
    "incorrect_number",
    "invalid_number",
    "invalid_account",
    "new_account_information_available",
    "revocation_of_all_authorizations",
    "revocation_of_authorization",
    "stop_payment_order",
    "card_not_supported",
];

/// Whether repeating can help: by the bank's reason, the network's advice, and Stripe's code.
#[must_use]
pub fn classify(code: &str, decline_code: Option<&str>, advice_code: Option<&str>) -> DeclineClass {
    let hard = advice_code == Some("do_not_try_again")
        || HARD.contains(&code)
        || decline_code.is_some_and(|reason| HARD.contains(&reason));
    if hard { DeclineClass::Hard } else { DeclineClass::Soft }
}

/// A fault that ends the recharge, as what is stored. None for a fault that ends nothing.
#[must_use]
pub fn decline_of(fault: &StripeFault) -> Option<(Decline, Option<String>)> {
    match fault.kind.clone() {
        FaultKind::Declined { code, decline_code, advice_code, payment_intent_id } => {
            let class = classify(&code, decline_code.as_deref(), advice_code.as_deref());
            Some((
                Decline { code, decline_code, advice_code, class, message: fault.message.clone() },
                payment_intent_id,
            ))
        }
        FaultKind::AuthenticationRequired { payment_intent_id } => {
            // Only without a payment intent that could be confirmed does this end a recharge.
            let decline = Decline::plain("authentication_required", DeclineClass::Hard, &fault.message);
            Some((decline, payment_intent_id))
        }
        FaultKind::Refused { code, .. } => Some((Decline::plain(&code, DeclineClass::Refused, &fault.message), None)),
        FaultKind::Busy | FaultKind::Unknown { .. } => None,
    }
}

/// What follows for automatic recharge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Consequence {
    /// It rests.
    Cooldown {
        /// Until then.
        until: Timestamp,
        /// So many failures in a row.
        failures: u32,
    },
    /// It stops until a new card or a person.
    Pause {
        /// Why.
        reason: String,
    },
}

/// A hard decline or a third failure in a row pauses; anything else rests. It follows
/// from the outcome, whatever the balance is.
#[must_use]
pub fn consequence(decline: &Decline, failures_before: u32, cooldown: chrono::Duration, now: Timestamp) -> Consequence {
    let failures = failures_before.saturating_add(1);
    let why = decline.decline_code.clone().unwrap_or_else(|| decline.code.clone());
    match decline.class {
        DeclineClass::Hard => Consequence::Pause { reason: why },
        _ if failures >= FAILURES_BEFORE_PAUSE => {
            Consequence::Pause { reason: format!("{failures} charges in a row did not work, the last: {why}") }
        }
        _ => Consequence::Cooldown { until: now + cooldown, failures },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hard_and_soft() {
        let cases = [
            ("card_declined", Some("generic_decline"), None, DeclineClass::Soft),
            ("card_declined", Some("insufficient_funds"), None, DeclineClass::Soft),
            ("card_declined", Some("lost_card"), None, DeclineClass::Hard),
            ("card_declined", Some("stolen_card"), None, DeclineClass::Hard),
            ("expired_card", None, None, DeclineClass::Hard),
            ("incorrect_cvc", None, None, DeclineClass::Soft),
            ("processing_error", None, None, DeclineClass::Soft),
            ("card_declined", Some("generic_decline"), Some("do_not_try_again"), DeclineClass::Hard),
            ("card_declined", Some("generic_decline"), Some("try_again_later"), DeclineClass::Soft),
        ];
        for (code, decline_code, advice, want) in cases {
            assert_eq!(classify(code, decline_code, advice), want, "{code} {decline_code:?} {advice:?}");
        }
    }

    #[test]
    fn the_third_failure_in_a_row_pauses() {
        let soft = Decline {
            code: "card_declined".to_owned(),
            decline_code: Some("insufficient_funds".to_owned()),
            advice_code: None,
            class: DeclineClass::Soft,
            message: String::new(),
        };
        let hour = chrono::Duration::hours(1);
        let now = Timestamp::UNIX_EPOCH;
        assert_eq!(consequence(&soft, 0, hour, now), Consequence::Cooldown { until: now + hour, failures: 1 });
        assert_eq!(consequence(&soft, 1, hour, now), Consequence::Cooldown { until: now + hour, failures: 2 });
        assert!(matches!(consequence(&soft, 2, hour, now), Consequence::Pause { .. }));
        let hard = Decline { class: DeclineClass::Hard, ..soft };
        assert!(matches!(consequence(&hard, 0, hour, now), Consequence::Pause { .. }));
    }

    #[test]
    fn the_runbook_knows_every_pause() {
        let page = include_str!("../../docs/RUNBOOK.md");
        let funds = Decline {
            decline_code: Some("insufficient_funds".to_owned()),
            ..Decline::plain("card_declined", DeclineClass::Soft, "")
        };
        let Consequence::Pause { reason } = consequence(&funds, 2, chrono::Duration::hours(1), Timestamp::UNIX_EPOCH)
        else {
            panic!("no pause");
        };
        let words = HARD.map(|word| format!("`{word}`")).into_iter().chain([reason]);
        let missing: Vec<String> = words.filter(|words| !page.contains(words.as_str())).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }

    #[test]
    fn an_outage_is_not_a_decline() {
        assert_eq!(decline_of(&StripeFault::unknown(Some(502), "bad gateway")), None);
    }
}
