//! What Stripe has of a recharge against what its record says. Pure.

use common::clients::stripe::{DisputeSeen, IntentSeen, RefundSeen, RefundStatus as Seen};
use common::clock::Timestamp;
use common::ids::RechargeId;
use common::reconciliation::{Finding, Kind};

use crate::disputes::{Dispute, stage_of};
use crate::record::Record;
use crate::refunds::Refund;
use crate::saga::{RefundStatus, State};

/// A disagreement, and whether reading Stripe again may repair it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) finding: Finding,
    pub(super) read_again: bool,
}

/// Compares the payments that name a recharge with its record. What moved after `settled_before` is on its way, and is
/// no disagreement.
pub(super) fn compare(
    id: RechargeId,
    record: Option<&Record>,
    intents: &[IntentSeen],
    settled_before: Timestamp,
) -> Vec<Verdict> {
    let paid: Vec<&IntentSeen> = intents.iter().filter(|intent| intent.received > 0).collect();
    let Some(record) = record else {
        // What somebody has given back in Stripe's dashboard is settled.
        let held = paid.iter().filter(|intent| intent.received > intent.refunded);
        let old = held.filter(|intent| intent.created < settled_before);
        return old
            .map(|intent| Verdict {
                finding: Finding {
                    kind: Kind::ChargeUnknown,
                    organization: intent.organization.clone(),
                    recharge_id: Some(id),
                    reference: Some(intent.payment_intent_id.clone()),
                    expected: None,
                    found: Some(format!("{} {}", intent.received, intent.currency)),
                    repaired: false,
                    detail: format!(
                        "payment intent {} names recharge {id}, which nobody claimed",
                        intent.payment_intent_id
                    ),
                },
                read_again: false,
            })
            .collect();
    };
    let ours = |intent: &IntentSeen| record.payment_intent_id.as_deref() == Some(intent.payment_intent_id.as_str());
    let mut verdicts = Vec::new();
    for intent in &paid {
        if record.payment_intent_id.is_some() && !ours(intent) {
            if intent.received <= intent.refunded {
                continue;
            }
            let detail = format!(
                "payment intent {} names recharge {id}, whose payment is {}: somebody may have paid twice",
                intent.payment_intent_id,
                record.payment_intent_id.as_deref().unwrap_or_default()
            );
            verdicts.push(verdict(Kind::ChargedTwice, record, intent, detail, false));
        } else if intent.received != record.total.minor || intent.currency != record.total.currency.code() {
            let detail = format!("{} {} were paid, {} were ordered", intent.received, intent.currency, record.total);
            verdicts.push(verdict(Kind::AmountDiffers, record, intent, detail, false));
        } else if intent.created < settled_before && !record.state.holds_money() && record.state != State::Refunded {
            let detail = format!("the payment succeeded, and the recharge is {}", record.state.as_str());
            verdicts.push(verdict(Kind::ChargeNotRecorded, record, intent, detail, true));
        }
    }
    let own = intents.iter().find(|intent| ours(intent));
    if let Some(own) = own {
        let refunding = matches!(record.state, State::Refunding | State::Returning);
        if own.received > 0 && own.refunded != record.refunded_total.minor && !refunding {
            let detail = format!("{} of it went back at Stripe, {} by the record", own.refunded, record.refunded_total);
            verdicts.push(verdict(Kind::RefundNotRecorded, record, own, detail, true));
        }
        if own.received == 0 && record.state.holds_money() {
            let detail = format!("the payment is {}, and the recharge is {}", own.status, record.state.as_str());
            verdicts.push(verdict(Kind::ChargeGone, record, own, detail, true));
        }
    }
    verdicts
}

/// A recharge that says it was charged, of which Stripe shows nothing.
pub(super) fn missing(record: &Record) -> Verdict {
    let finding = Finding {
        kind: Kind::ChargeMissing,
        organization: Some(record.organization.clone()),
        recharge_id: Some(record.recharge_id),
        reference: record.payment_intent_id.clone(),
        expected: Some(record.total.to_string()),
        found: None,
        repaired: false,
        detail: format!(
            "recharge {} is {}, and Stripe's list does not have it",
            record.recharge_id,
            record.state.as_str()
        ),
    };
    Verdict { finding, read_again: false }
}

/// A refund that Stripe shows against our rows. One that we are about to ask for, or to hear of, is on its way.
pub(super) fn compare_refund(record: &Record, rows: &[Refund], seen: &RefundSeen) -> Option<Verdict> {
    let row = rows.iter().find(|row| {
        row.stripe_refund_id.as_deref() == Some(seen.refund_id.as_str())
            || seen.refund_key.as_deref() == Some(row.refund_key.as_str())
    });
    let agrees = match (row.map(|row| row.status), seen.status) {
        (Some(status), _) if status.is_open() => true,
        (Some(status), Seen::Succeeded | Seen::Pending) => status == RefundStatus::Succeeded,
        (Some(status), Seen::Failed) => status == RefundStatus::Failed,
        (None, _) => false,
    };
    if agrees {
        return None;
    }
    let found = format!("{:?}", seen.status).to_lowercase();
    let expected = row.map(|row| row.status.as_str().to_owned());
    let detail = format!("refund {} of {} is {found} at Stripe", seen.refund_id, seen.amount);
    Some(other(Kind::RefundNotRecorded, record, &seen.refund_id, expected, found, detail))
}

/// A dispute that Stripe shows against our row.
pub(super) fn compare_dispute(record: &Record, row: Option<&Dispute>, seen: &DisputeSeen) -> Option<Verdict> {
    let stage = stage_of(seen.status)?;
    if row.is_some_and(|row| row.stage == stage) {
        return None;
    }
    let expected = row.map(|row| row.stage.as_str().to_owned());
    let detail = format!("dispute {} of {} is {} at Stripe", seen.dispute_id, seen.amount, stage.as_str());
    Some(other(Kind::DisputeNotRecorded, record, &seen.dispute_id, expected, stage.as_str().to_owned(), detail))
}

fn other(
    kind: Kind,
    record: &Record,
    reference: &str,
    expected: Option<String>,
    found: String,
    detail: String,
) -> Verdict {
    let finding = Finding {
        kind,
        organization: Some(record.organization.clone()),
        recharge_id: Some(record.recharge_id),
        reference: Some(reference.to_owned()),
        expected,
        found: Some(found),
        repaired: false,
        detail,
    };
    Verdict { finding, read_again: true }
}

fn verdict(kind: Kind, record: &Record, intent: &IntentSeen, detail: String, read_again: bool) -> Verdict {
    let finding = Finding {
        kind,
        organization: Some(record.organization.clone()),
        recharge_id: Some(record.recharge_id),
        reference: Some(intent.payment_intent_id.clone()),
        expected: Some(record.total.to_string()),
        found: Some(format!(
            "{} {} {}, {} given back",
            intent.status, intent.received, intent.currency, intent.refunded
        )),
        repaired: false,
        detail,
    };
    Verdict { finding, read_again }
}

#[cfg(test)]
mod tests {
    use common::money::{Currency, Money};

    use super::*;

    fn record(state: State) -> Record {
        let money = Money::new(10_000, Currency::USD);
        Record::for_tests(money, money, state)
    }

    fn intent(id: &str, received: i64, refunded: i64) -> IntentSeen {
        IntentSeen {
            payment_intent_id: id.to_owned(),
            recharge_id: None,
            organization: None,
            customer_id: None,
            status: if received > 0 { "succeeded" } else { "requires_payment_method" }.to_owned(),
            amount: 10_000,
            received,
            refunded,
            currency: "usd".to_owned(),
            created: Timestamp::UNIX_EPOCH,
        }
    }

    fn kinds(record: Option<&Record>, intents: &[IntentSeen]) -> Vec<(&'static str, bool)> {
        let id = RechargeId(uuid::Uuid::nil());
        let later = Timestamp::UNIX_EPOCH + chrono::Duration::hours(1);
        let verdicts = compare(id, record, intents, later);
        verdicts.into_iter().map(|verdict| (verdict.finding.kind.as_str(), verdict.read_again)).collect()
    }

    #[test]
    fn each_disagreement_has_its_name() {
        let settled = record(State::Settled);
        assert_eq!(kinds(Some(&settled), &[intent("pi_1", 10_000, 0)]), []);
        assert_eq!(kinds(None, &[intent("pi_1", 10_000, 0)]), [("charge_unknown", false)]);
        assert_eq!(kinds(None, &[intent("pi_1", 0, 0)]), []);
        assert_eq!(kinds(None, &[intent("pi_1", 10_000, 10_000)]), []);
        assert_eq!(
            kinds(Some(&settled), &[intent("pi_1", 10_000, 0), intent("pi_2", 10_000, 0)]),
            [("charged_twice", false)]
        );
        assert_eq!(kinds(Some(&settled), &[intent("pi_1", 10_000, 0), intent("pi_2", 10_000, 10_000)]), []);
        assert_eq!(kinds(Some(&settled), &[intent("pi_1", 9_999, 0)]), [("amount_differs", false)]);
        assert_eq!(kinds(Some(&settled), &[intent("pi_1", 10_000, 500)]), [("refund_not_recorded", true)]);
        assert_eq!(kinds(Some(&settled), &[intent("pi_1", 0, 0)]), [("charge_gone", true)]);
        assert_eq!(kinds(Some(&record(State::Refunding)), &[intent("pi_1", 10_000, 10_000)]), []);
        for state in [State::Pending, State::Processing, State::ActionRequired, State::Declined, State::Failed] {
            let kinds = kinds(Some(&record(state)), &[intent("pi_1", 10_000, 0)]);
            assert_eq!(kinds, [("charge_not_recorded", true)], "{state:?}");
        }
        assert_eq!(missing(&settled).finding.kind, Kind::ChargeMissing);
    }

    #[test]
    fn what_is_on_its_way_is_no_disagreement() {
        let id = RechargeId(uuid::Uuid::nil());
        let intents = [intent("pi_1", 10_000, 0)];
        assert_eq!(compare(id, Some(&record(State::Pending)), &intents, Timestamp::UNIX_EPOCH), []);
    }
}
