//! One readable sentence for every event of the contract. Pure.

use async_nats::HeaderMap;
use common::contract::{
    AdjustRequestedV1, DeadLetterHeaders, Event, IgnoredWebhookV1, LedgerCreditedV1, LedgerHeldV1, LedgerReversedV1,
    LimitExceededV1, LowBalanceHintV1, Payload, QuotaAdoptedV1, QuotaFailedV1, QuotaLowV1, QuotaSyncedV1,
    RechargeActionRequiredV1, RechargeChargedV1, RechargeDeclinedV1, RechargeRefundFailedV1, RechargeRefundedV1,
    RechargeRequestedV1, RechargeSettledV1, RechargeSkippedV1, RefundRequestedV1, SyncRequestedV1, kind_of,
};
use rust_decimal::Decimal;

/// What the story needs to know of an event.
#[derive(Debug, Clone)]
pub(super) enum Fact {
    /// A webhook was accepted.
    Triggered(Event<LimitExceededV1>),
    /// The card was charged.
    Charged(Event<RechargeChargedV1>),
    /// The ledger credited something.
    Credited(Event<LedgerCreditedV1>),
    /// The backend has the quota.
    InForce,
    /// The recharge has taken effect.
    Settled(Event<RechargeSettledV1>),
    /// The chain ended, or is stuck, in another way: the sentence.
    Otherwise(String),
    /// Not of interest to the story.
    Other,
}

/// A message as a person reads it.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    /// The sentence.
    pub(super) sentence: String,
    /// What it is to the story.
    pub(super) fact: Fact,
}

/// Reads a message of any of the subjects.
pub(super) fn read(subject: &str, headers: Option<&HeaderMap>, body: &[u8]) -> Seen {
    if subject.starts_with("dead.") {
        let sentence = dead(headers);
        return Seen { fact: Fact::Otherwise(sentence.clone()), sentence };
    }
    for reader in [webhook, request, recharge, end_of_recharge, ledger, quota] {
        if let Some(seen) = reader(kind_of(subject), body) {
            return seen;
        }
    }
    other("(an event that this demo does not know)".to_owned())
}

fn other(sentence: String) -> Seen {
    Seen { sentence, fact: Fact::Other }
}

fn otherwise(sentence: String) -> Seen {
    Seen { fact: Fact::Otherwise(sentence.clone()), sentence }
}

/// The event, if the message is of this kind; a sentence about what is wrong with it, if it can't be read.
fn told<T: Payload>(kind: &str, body: &[u8], tell: impl FnOnce(Event<T>) -> Seen) -> Option<Seen> {
    if kind != T::KIND {
        return None;
    }
    Some(match Event::<T>::decode(body) {
        Ok(event) => tell(event),
        Err(error) => otherwise(format!("can't be read: {error}")),
    })
}

fn webhook(kind: &str, body: &[u8]) -> Option<Seen> {
    told::<LimitExceededV1>(kind, body, |event| {
        let data = &event.data;
        let (used, limit) = (plain(data.current_usage), plain(data.current_limit));
        let sentence = format!("{} of {}: {used} used of {limit}; event {}", data.event_type, data.team_id, event.id);
        Seen { sentence, fact: Fact::Triggered(event) }
    })
    .or_else(|| {
        told::<LowBalanceHintV1>(kind, body, |event| {
            other(format!("{} of {}: a hint", event.data.event_type, event.data.team_id))
        })
    })
    .or_else(|| told::<IgnoredWebhookV1>(kind, body, |event| other(format!("recorded only: {}", event.data.reason))))
}

fn request(kind: &str, body: &[u8]) -> Option<Seen> {
    told::<SyncRequestedV1>(kind, body, |event| {
        other(format!("{} asks that the quota be pushed to the backend", event.data.requested_by))
    })
    .or_else(|| {
        told::<RechargeRequestedV1>(kind, body, |event| {
            other(format!("{} asks for a recharge of {}", event.data.requested_by, event.data.amount))
        })
    })
    .or_else(|| {
        told::<RefundRequestedV1>(kind, body, |event| {
            other(format!("{} asks for a refund of recharge {}", event.data.requested_by, event.data.recharge_id))
        })
    })
    .or_else(|| {
        told::<AdjustRequestedV1>(kind, body, |event| {
            other(format!("{} asks for a correction of {}", event.data.requested_by, event.data.amount))
        })
    })
}

fn recharge(kind: &str, body: &[u8]) -> Option<Seen> {
    told::<RechargeChargedV1>(kind, body, |event| {
        let data = &event.data;
        let sentence = format!(
            "the card paid {} ({} and a fee of {}) by {}; recharge {}",
            data.total_charge, data.amount, data.fee, data.payment_intent_id, data.recharge_id
        );
        Seen { sentence, fact: Fact::Charged(event) }
    })
    .or_else(|| {
        told::<RechargeSettledV1>(kind, body, |event| {
            let data = &event.data;
            let quota = plain(data.new_quota);
            let sentence = format!(
                "charged, booked and in force: {} bought, quota {quota}; recharge {}",
                data.amount, data.recharge_id
            );
            Seen { sentence, fact: Fact::Settled(event) }
        })
    })
    .or_else(|| {
        told::<RechargeSkippedV1>(kind, body, |event| {
            otherwise(format!("nothing charged, {}: {}", event.data.reason.as_str(), event.data.detail))
        })
    })
}

fn end_of_recharge(kind: &str, body: &[u8]) -> Option<Seen> {
    told::<RechargeDeclinedV1>(kind, body, |event| {
        let data = &event.data;
        let code = data.decline_code.as_deref().unwrap_or(&data.code);
        otherwise(format!(
            "the card was declined for {} ({code}): {}; recharge {}",
            data.amount, data.message, data.recharge_id
        ))
    })
    .or_else(|| {
        told::<RechargeActionRequiredV1>(kind, body, |event| {
            let data = &event.data;
            otherwise(format!(
                "the bank wants a confirmation of {}: {}; recharge {}",
                data.amount, data.message, data.recharge_id
            ))
        })
    })
    .or_else(|| {
        told::<RechargeRefundedV1>(kind, body, |event| {
            let data = &event.data;
            otherwise(format!(
                "{} went back by {}: {}; recharge {}",
                data.total_refunded, data.refund_id, data.reason, data.recharge_id
            ))
        })
    })
    .or_else(|| {
        told::<RechargeRefundFailedV1>(kind, body, |event| {
            otherwise(format!("a refund of {} did not work yet: {}", event.data.total, event.data.reason))
        })
    })
}

fn ledger(kind: &str, body: &[u8]) -> Option<Seen> {
    told::<LedgerCreditedV1>(kind, body, |event| {
        let data = &event.data;
        let sentence = format!(
            "{} booked as {}, quota {} (version {}); transaction {}",
            data.amount,
            data.posting.as_str(),
            data.quota,
            data.ledger_version,
            data.transaction_id
        );
        Seen { sentence, fact: Fact::Credited(event) }
    })
    .or_else(|| {
        told::<LedgerReversedV1>(kind, body, |event| {
            let data = &event.data;
            other(format!(
                "{} taken back as {}, quota {}; transaction {}",
                data.amount,
                data.posting.as_str(),
                data.quota,
                data.transaction_id
            ))
        })
    })
    .or_else(|| {
        told::<LedgerHeldV1>(kind, body, |event| {
            other(format!("{} held, quota {}", event.data.amount, event.data.quota))
        })
    })
}

fn quota(kind: &str, body: &[u8]) -> Option<Seen> {
    told::<QuotaSyncedV1>(kind, body, |event| {
        let data = &event.data;
        let quota = plain(data.quota);
        let sentence = match data.previous_quota {
            Some(before) if data.changed => {
                format!("the {} now has the quota {quota}, before {}", data.backend, plain(before))
            }
            None if data.changed => format!("the {} knows it now, with a quota of {quota}", data.backend),
            _ => format!("the {} has the quota {quota}, as it should", data.backend),
        };
        Seen { sentence, fact: Fact::InForce }
    })
    .or_else(|| {
        told::<QuotaAdoptedV1>(kind, body, |event| {
            other(format!("the {} had a quota of {} already: it is kept", event.data.backend, event.data.quota))
        })
    })
    .or_else(|| {
        told::<QuotaFailedV1>(kind, body, |event| {
            otherwise(format!(
                "the {} refused the quota {}: {}",
                event.data.backend,
                plain(event.data.quota),
                event.data.reason
            ))
        })
    })
    .or_else(|| {
        told::<QuotaLowV1>(kind, body, |event| {
            other(format!("{} left of a quota of {}", plain(event.data.available), plain(event.data.quota)))
        })
    })
}

fn dead(headers: Option<&HeaderMap>) -> String {
    let header = |name: &str| headers.and_then(|headers| headers.get(name)).map_or("?", |value| value.as_str());
    format!("DEAD LETTER, {}: {}", header(DeadLetterHeaders::REASON), header(DeadLetterHeaders::ERROR))
}

/// A quota with two decimals, or as many as it needs.
pub(super) fn plain(quota: Decimal) -> String {
    let mut quota = quota.normalize();
    if quota.scale() < 2 {
        quota.rescale(2);
    }
    quota.to_string()
}

#[cfg(test)]
mod tests {
    use common::clock::Timestamp;
    use common::ids::{EventId, OrganizationId};
    use common::money::{Currency, Money};

    use super::*;

    #[test]
    fn every_event_of_the_contract_is_known() {
        for kind in [
            LimitExceededV1::KIND,
            LowBalanceHintV1::KIND,
            IgnoredWebhookV1::KIND,
            SyncRequestedV1::KIND,
            RechargeRequestedV1::KIND,
            RefundRequestedV1::KIND,
            AdjustRequestedV1::KIND,
            RechargeChargedV1::KIND,
            RechargeSettledV1::KIND,
            RechargeSkippedV1::KIND,
            RechargeDeclinedV1::KIND,
            RechargeActionRequiredV1::KIND,
            RechargeRefundedV1::KIND,
            RechargeRefundFailedV1::KIND,
            LedgerCreditedV1::KIND,
            LedgerReversedV1::KIND,
            LedgerHeldV1::KIND,
            QuotaSyncedV1::KIND,
            QuotaAdoptedV1::KIND,
            QuotaFailedV1::KIND,
            QuotaLowV1::KIND,
        ] {
            let seen = read(&format!("{kind}.acme"), None, b"{}");
            assert!(seen.sentence.starts_with("can't be read"), "{kind}: {}", seen.sentence);
        }
        assert!(matches!(read("recharges.invented.acme", None, b"{}").fact, Fact::Other));
    }

    #[test]
    fn a_sentence_has_the_numbers() {
        let data = RechargeRequestedV1 { amount: Money::new(12_345, Currency::USD), requested_by: "ann".to_owned() };
        let organization = OrganizationId::parse("acme").unwrap();
        let event = Event::first(EventId::parse("e1").unwrap(), Some(organization), Timestamp::UNIX_EPOCH, data);
        let out = event.outgoing().unwrap();
        let seen = read(&out.subject, None, &out.body);
        assert_eq!(seen.sentence, "ann asks for a recharge of 123.45 usd");
    }

    #[test]
    fn dead_letters_say_why() {
        let mut headers = HeaderMap::new();
        headers.insert(DeadLetterHeaders::REASON, "malformed");
        headers.insert(DeadLetterHeaders::ERROR, "no team");
        let seen = read("dead.ledger.recharges.charged.acme", Some(&headers), b"x");
        assert_eq!(seen.sentence, "DEAD LETTER, malformed: no team");
    }

    #[test]
    fn quotas() {
        for (text, want) in [("500", "500.00"), ("500.5", "500.50"), ("0.1230", "0.123")] {
            assert_eq!(plain(text.parse().unwrap()), want);
        }
    }
}
