//! One readable sentence for every event of the contract. Pure.

use async_nats::HeaderMap;
use common::contract::{
    AdjustRequestedV1, DeadLetterHeaders, DisputeStage, EvaluateRequestedV1, Event, IgnoredWebhookV1, LedgerCreditedV1,
    LedgerHeldV1, LedgerReversedV1, LimitExceededV1, LowBalanceHintV1, Payload, QuotaAdoptedV1, QuotaFailedV1,
    QuotaLowV1, QuotaSyncedV1, RechargeActionRequiredV1, RechargeChargedV1, RechargeDeclinedV1, RechargeDisputedV1,
    RechargeRefundFailedV1, RechargeRefundedV1, RechargeRequestedV1, RechargeSettledV1, RechargeSkippedV1,
    RecheckRequestedV1, ReconcileRequestedV1, RefundRequestedV1, StripeEventV1, SyncRequestedV1, kind_of,
};
use rust_decimal::Decimal;

use super::fact::Fact;

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
        return Seen { sentence: dead(headers), fact: Fact::Broken };
    }
    for reader in [webhook, request, question, recharge, end_of_recharge, refund, ledger, quota, backend] {
        if let Some(seen) = reader(kind_of(subject), body) {
            return seen;
        }
    }
    other("(an event that this demo does not know)".to_owned())
}

fn other(sentence: String) -> Seen {
    Seen { sentence, fact: Fact::Other }
}

/// The event, if the message is of this kind; a sentence about what is wrong with it, if it can't be read.
fn told<T: Payload>(
    kind: &str,
    body: &[u8],
    sentence: impl FnOnce(&T) -> String,
    fact: impl FnOnce(Event<T>) -> Fact,
) -> Option<Seen> {
    if kind != T::KIND {
        return None;
    }
    Some(match Event::<T>::decode(body) {
        Ok(event) => Seen { sentence: sentence(&event.data), fact: fact(event) },
        Err(error) => Seen { sentence: format!("can't be read: {error}"), fact: Fact::Broken },
    })
}

/// The same for what is no fact of the story.
fn aside<T: Payload>(kind: &str, body: &[u8], sentence: impl FnOnce(&T) -> String) -> Option<Seen> {
    told(kind, body, sentence, |_| Fact::Other)
}

fn webhook(kind: &str, body: &[u8]) -> Option<Seen> {
    told(kind, body, limit_exceeded, Fact::Triggered)
        .map(with_its_id)
        .or_else(|| {
            aside(kind, body, |data: &LowBalanceHintV1| format!("{} of {}: a hint", data.event_type, data.team_id))
        })
        .or_else(|| aside(kind, body, |data: &IgnoredWebhookV1| format!("recorded only: {}", data.reason)))
        .or_else(|| {
            aside(kind, body, |data: &StripeEventV1| format!("Stripe says {} of {}", data.stripe_type, data.object_id))
        })
}

/// What begins a chain is named, so that the chain can be found.
fn with_its_id(seen: Seen) -> Seen {
    match &seen.fact {
        Fact::Triggered(event) => Seen { sentence: format!("{}; event {}", seen.sentence, event.id), fact: seen.fact },
        _ => seen,
    }
}

fn limit_exceeded(data: &LimitExceededV1) -> String {
    let (used, limit) = (plain(data.current_usage), plain(data.current_limit));
    format!("{} of {}: {used} used of {limit}", data.event_type, data.team_id)
}

fn request(kind: &str, body: &[u8]) -> Option<Seen> {
    aside(kind, body, |data: &SyncRequestedV1| {
        format!("{} asks that the quota be pushed to the backend", data.requested_by)
    })
    .or_else(|| {
        aside(kind, body, |data: &RechargeRequestedV1| {
            format!("{} asks for a recharge of {}", data.requested_by, data.amount)
        })
    })
    .or_else(|| {
        aside(kind, body, |data: &RefundRequestedV1| {
            format!("{} asks for a refund of recharge {}", data.requested_by, data.recharge_id)
        })
    })
    .or_else(|| {
        aside(kind, body, |data: &AdjustRequestedV1| {
            format!("{} asks for a correction of {}", data.requested_by, data.amount)
        })
    })
}

/// Requests that something be looked at.
fn question(kind: &str, body: &[u8]) -> Option<Seen> {
    aside(kind, body, |data: &EvaluateRequestedV1| {
        format!("{} asks for a look at the balance ({})", data.requested_by, data.reason)
    })
    .or_else(|| {
        aside(kind, body, |data: &RecheckRequestedV1| {
            format!("{} asks that the payment of recharge {} be read again", data.requested_by, data.recharge_id)
        })
    })
    .or_else(|| {
        aside(kind, body, |data: &ReconcileRequestedV1| {
            format!("{} asks that all books be compared", data.requested_by)
        })
    })
}

fn recharge(kind: &str, body: &[u8]) -> Option<Seen> {
    told(
        kind,
        body,
        |data: &RechargeChargedV1| {
            format!(
                "the card paid {} ({} and a fee of {}) by {}; recharge {}",
                data.total_charge, data.amount, data.fee, data.payment_intent_id, data.recharge_id
            )
        },
        Fact::Charged,
    )
    .or_else(|| told(kind, body, settled, Fact::Settled))
    .or_else(|| {
        told(
            kind,
            body,
            |data: &RechargeSkippedV1| format!("nothing charged, {}: {}", data.reason.as_str(), data.detail),
            Fact::Skipped,
        )
    })
}

fn settled(data: &RechargeSettledV1) -> String {
    let quota = plain(data.new_quota);
    format!("charged, booked and in force: {} bought, quota {quota}; recharge {}", data.amount, data.recharge_id)
}

fn end_of_recharge(kind: &str, body: &[u8]) -> Option<Seen> {
    told(
        kind,
        body,
        |data: &RechargeDeclinedV1| {
            let code = data.decline_code.as_deref().unwrap_or(&data.code);
            format!(
                "the card was declined for {} ({code}): {}; recharge {}",
                data.amount, data.message, data.recharge_id
            )
        },
        Fact::Declined,
    )
    .or_else(|| {
        told(
            kind,
            body,
            |data: &RechargeActionRequiredV1| {
                format!(
                    "the bank wants a confirmation of {}: {}; recharge {}",
                    data.amount, data.message, data.recharge_id
                )
            },
            Fact::ActionRequired,
        )
    })
}

fn refund(kind: &str, body: &[u8]) -> Option<Seen> {
    told(
        kind,
        body,
        |data: &RechargeRefundedV1| {
            format!(
                "{} went back by {}: {}; recharge {}",
                data.total_refunded, data.refund_id, data.reason, data.recharge_id
            )
        },
        Fact::Refunded,
    )
    .or_else(|| {
        let sentence =
            |data: &RechargeRefundFailedV1| format!("a refund of {} did not work yet: {}", data.total, data.reason);
        told(kind, body, sentence, |_| Fact::RefundFailed)
    })
    .or_else(|| {
        aside(kind, body, |data: &RechargeDisputedV1| {
            let stage = match data.stage {
                DisputeStage::Opened => "is disputed",
                DisputeStage::Won => "was disputed, and is ours",
                DisputeStage::Lost => "was disputed, and is gone",
            };
            format!("{} {stage}: {}; recharge {}", data.total, data.reason, data.recharge_id)
        })
    })
}

fn ledger(kind: &str, body: &[u8]) -> Option<Seen> {
    told(kind, body, credited, Fact::Credited)
        .or_else(|| {
            told(
                kind,
                body,
                |data: &LedgerReversedV1| {
                    format!(
                        "{} taken back as {}, quota {} (version {}); transaction {}",
                        data.amount,
                        data.posting.as_str(),
                        data.quota,
                        data.ledger_version,
                        data.transaction_id
                    )
                },
                Fact::Reversed,
            )
        })
        .or_else(|| aside(kind, body, |data: &LedgerHeldV1| format!("{} held, quota {}", data.amount, data.quota)))
}

fn credited(data: &LedgerCreditedV1) -> String {
    format!(
        "{} booked as {}, quota {} (version {}); transaction {}",
        data.amount,
        data.posting.as_str(),
        data.quota,
        data.ledger_version,
        data.transaction_id
    )
}

fn quota(kind: &str, body: &[u8]) -> Option<Seen> {
    told(kind, body, synced, Fact::InForce).or_else(|| {
        told(
            kind,
            body,
            |data: &QuotaFailedV1| {
                format!("{} did not take the quota {}: {}", named(&data.backend), plain(data.quota), data.reason)
            },
            Fact::QuotaFailed,
        )
    })
}

/// What was seen at the backend.
fn backend(kind: &str, body: &[u8]) -> Option<Seen> {
    aside(kind, body, |data: &QuotaAdoptedV1| {
        format!("{} had a quota of {} already: it is kept", named(&data.backend), data.quota)
    })
    .or_else(|| {
        told(
            kind,
            body,
            |data: &QuotaLowV1| format!("{} left of a quota of {}", plain(data.available), plain(data.quota)),
            Fact::Low,
        )
    })
}

/// A backend in a sentence.
fn named(backend: &str) -> String {
    if backend == "litellm" { "LiteLLM".to_owned() } else { format!("the {backend}") }
}

fn synced(data: &QuotaSyncedV1) -> String {
    let quota = plain(data.quota);
    match data.previous_quota {
        Some(before) if data.changed => {
            format!("{} now has the quota {quota}, before {}", named(&data.backend), plain(before))
        }
        None if data.changed => format!("{} knows it now, with a quota of {quota}", named(&data.backend)),
        _ => format!("{} has the quota {quota}, as it should", named(&data.backend)),
    }
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
            StripeEventV1::KIND,
            SyncRequestedV1::KIND,
            RechargeRequestedV1::KIND,
            RefundRequestedV1::KIND,
            AdjustRequestedV1::KIND,
            EvaluateRequestedV1::KIND,
            RecheckRequestedV1::KIND,
            ReconcileRequestedV1::KIND,
            RechargeChargedV1::KIND,
            RechargeSettledV1::KIND,
            RechargeSkippedV1::KIND,
            RechargeDeclinedV1::KIND,
            RechargeActionRequiredV1::KIND,
            RechargeRefundedV1::KIND,
            RechargeRefundFailedV1::KIND,
            RechargeDisputedV1::KIND,
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
