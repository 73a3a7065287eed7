//! What a link still does. Pure: a recharge's row and the time in, a state out.

use common::clock::Timestamp;
use common::ids::{EventId, OrganizationId, RechargeId};
use common::money::Money;
use rust_decimal::Decimal;

/// The recharge behind a link.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Record {
    pub(crate) id: RechargeId,
    pub(crate) organization: OrganizationId,
    /// The event that started the chain: outcomes name it.
    pub(crate) correlation: EventId,
    pub(crate) amount: Money,
    pub(crate) total: Money,
    pub(crate) status: String,
    pub(crate) payment_intent_id: Option<String>,
    pub(crate) payment_method_id: Option<String>,
    pub(crate) confirm_by: Option<Timestamp>,
    pub(crate) failure_message: Option<String>,
    pub(crate) undo_reason: Option<String>,
    pub(crate) new_quota: Option<Decimal>,
    pub(crate) updated_at: Timestamp,
    /// Whether the payment is with the card that the organization is charged with today.
    pub(crate) is_default: bool,
    /// Brand and last digits.
    pub(crate) card: Option<(String, String)>,
}

/// A payment that the customer may confirm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Open<'a> {
    pub(crate) payment_intent_id: &'a str,
    pub(crate) payment_method_id: &'a str,
    pub(crate) until: Timestamp,
}

/// What a link stands for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State<'a> {
    /// It can be confirmed.
    Open(Open<'a>),
    /// Nobody is known to have confirmed it in time; it can't be confirmed any more.
    Expired,
    /// Another card was saved since: this one is not to be charged.
    Replaced,
    /// The bank is at it, or the recharger is.
    Processing,
    /// Charged; the quota is on its way.
    OnItsWay,
    /// Done: the quota is in force.
    Settled,
    /// It did not work.
    Declined,
    /// The money went, or goes, back.
    GivenBack,
}

impl Record {
    /// What the link stands for at `now`.
    pub(crate) fn state(&self, now: Timestamp) -> State<'_> {
        match self.status.as_str() {
            "action_required" => match (&self.payment_intent_id, &self.payment_method_id, self.confirm_by) {
                (Some(payment_intent_id), Some(payment_method_id), Some(until)) if until > now => {
                    if !self.is_default {
                        return State::Replaced;
                    }
                    State::Open(Open { payment_intent_id, payment_method_id, until })
                }
                _ => State::Expired,
            },
            "charged" | "credited" => State::OnItsWay,
            "settled" => State::Settled,
            "declined" | "failed" => State::Declined,
            "refunding" | "refunded" | "returning" => State::GivenBack,
            // pending, processing, and whatever is added one day.
            _ => State::Processing,
        }
    }
}

impl State<'_> {
    /// Whether something may still change, so that it is worth to wait and to look again.
    pub(crate) fn is_moving(self) -> bool {
        matches!(self, Self::Open(_) | Self::Processing | Self::OnItsWay)
    }

    /// Whether Stripe may know more than we do.
    pub(crate) fn is_up_to_stripe(self) -> bool {
        matches!(self, Self::Open(_) | Self::Expired | Self::Replaced | Self::Processing)
    }
}

/// What a look at Stripe for this record is named after: the same for looks within five seconds, as long as nothing
/// changed. Not a lock: a look too many costs nothing but a call.
pub(crate) fn recheck_cause(record: &Record, now: Timestamp) -> String {
    let moment = now.timestamp().div_euclid(5);
    format!("{}:{}:{moment}", record.id, record.updated_at.timestamp_micros())
}

#[cfg(test)]
pub(crate) mod tests {
    use common::money::Currency;
    use uuid::Uuid;

    use super::*;

    pub(crate) fn now() -> Timestamp {
        Timestamp::from_timestamp(1_764_000_000, 0).unwrap()
    }

    pub(crate) fn record(status: &str) -> Record {
        Record {
            id: RechargeId(Uuid::from_u128(7)),
            organization: OrganizationId::parse("acme").unwrap(),
            correlation: EventId::parse("evt_1").unwrap(),
            amount: Money::new(10_000, Currency::USD),
            total: Money::new(10_330, Currency::USD),
            status: status.to_owned(),
            payment_intent_id: Some("pi_1".to_owned()),
            payment_method_id: Some("pm_1".to_owned()),
            confirm_by: Some(now() + chrono::TimeDelta::hours(23)),
            failure_message: None,
            undo_reason: None,
            new_quota: None,
            updated_at: now(),
            is_default: true,
            card: Some(("visa".to_owned(), "3184".to_owned())),
        }
    }

    #[test]
    fn only_what_waits_for_its_customer_can_be_confirmed() {
        let until = record("").confirm_by.unwrap();
        let open = State::Open(Open { payment_intent_id: "pi_1", payment_method_id: "pm_1", until });
        for (status, want) in [
            ("action_required", open),
            ("pending", State::Processing),
            ("processing", State::Processing),
            ("charged", State::OnItsWay),
            ("credited", State::OnItsWay),
            ("settled", State::Settled),
            ("declined", State::Declined),
            ("failed", State::Declined),
            ("refunding", State::GivenBack),
            ("refunded", State::GivenBack),
            ("returning", State::GivenBack),
        ] {
            assert_eq!(record(status).state(now()), want, "{status}");
        }
        assert_eq!(record("action_required").state(until), State::Expired);
        let replaced = |status| Record { is_default: false, ..record(status) };
        assert_eq!(replaced("action_required").state(now()), State::Replaced);
        assert_eq!(replaced("action_required").state(until), State::Expired);
        assert_eq!(replaced("charged").state(now()), State::OnItsWay);
        for lacking in [
            Record { payment_intent_id: None, ..record("action_required") },
            Record { payment_method_id: None, ..record("action_required") },
            Record { confirm_by: None, ..record("action_required") },
        ] {
            assert_eq!(lacking.state(now()), State::Expired);
        }
    }

    #[test]
    fn looks_within_a_moment_are_one() {
        let id = |record: &Record, seconds| recheck_cause(record, now() + chrono::TimeDelta::seconds(seconds));
        let same = record("action_required");
        assert_eq!(id(&same, 0), id(&same, 4));
        assert_ne!(id(&same, 0), id(&same, 5));
        let changed = Record { updated_at: now() + chrono::TimeDelta::microseconds(1), ..same.clone() };
        assert_ne!(id(&same, 0), id(&changed, 0));
    }
}
