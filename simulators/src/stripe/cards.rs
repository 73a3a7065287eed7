//! The test cards, as Stripe's testing page names them, and what each does.

/// A refusal by the bank.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Decline {
    pub(super) code: &'static str,
    pub(super) decline_code: Option<&'static str>,
    pub(super) advice_code: Option<&'static str>,
    pub(super) message: &'static str,
    pub(super) param: Option<&'static str>,
}

/// What happens when a card is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Behaviour {
    Approve,
    /// Refused when charged; Stripe refuses to attach it, too.
    Decline(&'static Decline),
    /// Attaches, and is refused when charged.
    DeclineOnceAttached(&'static Decline),
    /// The customer must authenticate every time.
    AuthenticateAlways,
    /// The customer must authenticate unless the card was set up before.
    AuthenticateUnlessSetUp,
    /// The customer must authenticate when present; off-session charges pass.
    AuthenticateOnSession,
    /// The customer must authenticate, and then the bank refuses.
    AuthenticateThenDecline(&'static Decline),
    /// The payment stays in `processing` until it is settled by hand.
    Process,
    /// Charges pass; refunds stay pending until they are settled by hand.
    RefundPending,
    /// Charges pass and are disputed at once.
    Dispute,
}

/// One test card.
#[derive(Debug)]
pub(super) struct Card {
    pub(super) number: &'static str,
    pub(super) brand: &'static str,
    pub(super) funding: &'static str,
    pub(super) country: &'static str,
    /// What follows `pm_card_` and `tok_`.
    pub(super) names: &'static [&'static str],
    pub(super) behaviour: Behaviour,
}

const fn decline(
    code: &'static str,
    decline_code: Option<&'static str>,
    advice_code: &'static str,
    message: &'static str,
    param: Option<&'static str>,
) -> Decline {
    Decline { code, decline_code, advice_code: Some(advice_code), message, param }
}

const DECLINED: &str = "Your card was declined.";
const RETRY: &str = "try_again_later";
const NEVER: &str = "do_not_try_again";
const CHECK: &str = "confirm_card_data";

static GENERIC: Decline = decline("card_declined", Some("generic_decline"), RETRY, DECLINED, None);
static FUNDS: Decline =
    decline("card_declined", Some("insufficient_funds"), RETRY, "Your card has insufficient funds.", None);
static LOST: Decline = decline("card_declined", Some("lost_card"), NEVER, DECLINED, None);
static STOLEN: Decline = decline("card_declined", Some("stolen_card"), NEVER, DECLINED, None);
static FRAUDULENT: Decline = decline("card_declined", Some("fraudulent"), NEVER, DECLINED, None);
static VELOCITY: Decline = decline(
    "card_declined",
    Some("card_velocity_exceeded"),
    RETRY,
    "Your card was declined for making repeated attempts too frequently or exceeding its amount limit.",
    None,
);
static EXPIRED: Decline = decline("expired_card", None, CHECK, "Your card has expired.", Some("exp_month"));
static CVC: Decline = decline("incorrect_cvc", None, CHECK, "Your card's security code is incorrect.", Some("cvc"));
static PROCESSING: Decline = decline(
    "processing_error",
    None,
    RETRY,
    "An error occurred while processing your card. Try again in a little bit.",
    None,
);
/// The bank wants the customer.
pub(super) static AUTHENTICATION: Decline = Decline {
    code: "authentication_required",
    decline_code: Some("authentication_required"),
    advice_code: None,
    message: "Your card was declined. This transaction requires authentication.",
    param: None,
};
/// The customer failed to authenticate.
pub(super) static AUTHENTICATION_FAILED: Decline = Decline {
    code: "payment_intent_authentication_failure",
    decline_code: None,
    advice_code: None,
    message: "We are unable to authenticate your payment method. Please choose a different payment method and try again.",
    param: None,
};
/// A number with a wrong check digit.
pub(super) static INCORRECT_NUMBER: Decline = Decline {
    code: "incorrect_number",
    decline_code: None,
    advice_code: None,
    message: "Your card number is incorrect.",
    param: Some("number"),
};
/// A card that is not one of the test cards.
pub(super) static LIVE_CARD: Decline = Decline {
    code: "card_declined",
    decline_code: Some("test_mode_live_card"),
    advice_code: None,
    message: "Your card was declined. Your request was in test mode, but used a non test card. For a list of valid test cards, visit: https://stripe.com/docs/testing.",
    param: None,
};
/// What a processing payment fails with, unless told otherwise.
pub(super) static SETTLED_BADLY: &Decline = &GENERIC;
/// What a payment that had succeeded fails with: the account's holder took the debit back.
pub(super) static TAKEN_BACK: Decline = Decline {
    code: "debit_not_authorized",
    decline_code: None,
    advice_code: None,
    message: "The customer has notified their bank that this payment was unauthorized.",
    param: None,
};

const fn visa(number: &'static str, names: &'static [&'static str], behaviour: Behaviour) -> Card {
    Card { number, brand: "visa", funding: "credit", country: "US", names, behaviour }
}

const fn plain(
    number: &'static str,
    brand: &'static str,
    funding: &'static str,
    names: &'static [&'static str],
) -> Card {
    Card { number, brand, funding, country: "US", names, behaviour: Behaviour::Approve }
}

use Behaviour::{Approve, Decline as Refuse};

static CARDS: &[Card] = &[
    visa("4242424242424242", &["visa", "us", "bypassPending"], Approve),
    plain("4000056655665556", "visa", "debit", &["visa_debit"]),
    plain("5555555555554444", "mastercard", "credit", &["mastercard"]),
    plain("5200828282828210", "mastercard", "debit", &["mastercard_debit"]),
    plain("5105105105105100", "mastercard", "prepaid", &["mastercard_prepaid"]),
    plain("378282246310005", "amex", "credit", &["amex"]),
    plain("6011111111111117", "discover", "credit", &["discover"]),
    plain("3056930009020004", "diners", "credit", &["diners"]),
    plain("3566002020360505", "jcb", "credit", &["jcb"]),
    plain("6200000000000005", "unionpay", "credit", &["unionpay"]),
    visa("4000000000000002", &["visa_chargeDeclined", "chargeDeclined"], Refuse(&GENERIC)),
    visa(
        "4000000000009995",
        &["visa_chargeDeclinedInsufficientFunds", "chargeDeclinedInsufficientFunds"],
        Refuse(&FUNDS),
    ),
    visa("4000000000009987", &["visa_chargeDeclinedLostCard", "chargeDeclinedLostCard"], Refuse(&LOST)),
    visa("4000000000009979", &["visa_chargeDeclinedStolenCard", "chargeDeclinedStolenCard"], Refuse(&STOLEN)),
    visa("4000000000000069", &["chargeDeclinedExpiredCard", "visa_chargeDeclinedExpiredCard"], Refuse(&EXPIRED)),
    visa("4000000000000127", &["chargeDeclinedIncorrectCvc", "visa_chargeDeclinedIncorrectCvc"], Refuse(&CVC)),
    visa(
        "4000000000000119",
        &["chargeDeclinedProcessingError", "visa_chargeDeclinedProcessingError"],
        Refuse(&PROCESSING),
    ),
    visa(
        "4000000000006975",
        &["visa_chargeDeclinedVelocityLimitExceeded", "chargeDeclinedVelocityLimitExceeded"],
        Refuse(&VELOCITY),
    ),
    visa("4100000000000019", &["radarBlock", "chargeDeclinedFraudulent"], Refuse(&FRAUDULENT)),
    visa(
        "4000000000000341",
        &["chargeCustomerFail", "visa_chargeCustomerFail"],
        Behaviour::DeclineOnceAttached(&GENERIC),
    ),
    visa("4000002760003184", &["authenticationRequired"], Behaviour::AuthenticateAlways),
    visa("4000002500003155", &["authenticationRequiredOnSetup"], Behaviour::AuthenticateUnlessSetUp),
    visa("4000003800000446", &["authenticationRequiredSetupForOffSession"], Behaviour::AuthenticateOnSession),
    visa(
        "4000008260003178",
        &["authenticationRequiredChargeDeclinedInsufficientFunds"],
        Behaviour::AuthenticateThenDecline(&FUNDS),
    ),
    visa("4000000000007726", &["pendingRefund"], Behaviour::RefundPending),
    visa("4000000000000259", &["createDispute"], Behaviour::Dispute),
    // Not one of Stripe's: cards never stay in `processing` there.
    visa("4000000000077777", &["sim_processing"], Behaviour::Process),
];

/// Every card.
pub(super) fn all() -> &'static [Card] {
    CARDS
}

/// The card behind `pm_card_…` or `tok_…`.
pub(super) fn by_token(token: &str) -> Option<&'static Card> {
    let name = token.strip_prefix("pm_card_").or_else(|| token.strip_prefix("tok_"))?;
    CARDS.iter().find(|card| card.names.contains(&name))
}

/// The card with a number; else the refusal which that number deserves.
pub(super) fn by_number(number: &str) -> Result<&'static Card, &'static Decline> {
    let digits: String = number.chars().filter(|letter| !letter.is_whitespace()).collect();
    CARDS
        .iter()
        .find(|card| card.number == digits)
        .ok_or_else(|| if luhn(&digits) { &LIVE_CARD } else { &INCORRECT_NUMBER })
}

fn luhn(number: &str) -> bool {
    let digits: Option<Vec<u32>> = number.chars().map(|letter| letter.to_digit(10)).collect();
    let Some(digits) = digits.filter(|digits| digits.len() >= 12) else { return false };
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| match (place % 2, digit * 2) {
            (0, _) => *digit,
            (_, double) if double > 9 => double - 9,
            (_, double) => double,
        })
        .sum();
    sum.is_multiple_of(10)
}
