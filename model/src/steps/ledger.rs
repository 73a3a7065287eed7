//! The ledger's transactions (`ledger/src/handlers.rs`): what they book, `ledger::posting` decides.

use std::sync::Arc;

use common::clock::Timestamp;
use common::contract::{Event, Payload, RechargeChargedV1, RechargeRefundFailedV1, RechargeRefundedV1, TriggerKind};
use common::ids::{EventId, OrganizationId, RechargeId};
use common::money::{Currency, Money};
use ledger::posting::{self, Booked, Decision, PostingError, RechargeBooks};

use super::broker::begin;
use super::{Steps, finish};
use crate::explore::Label;
use crate::messages::{Delivery, Message};
use crate::rules::Broken;
use crate::world::{AMOUNT, Transaction, World, now};

pub(super) fn deliver(steps: &mut Steps<'_>, delivery: Delivery, beside: bool) {
    let forgets = steps.is_broken(Broken::CreditWithoutUniqueKey);
    let world = steps.world;
    let (recharge, decision) = match delivery.message {
        Message::Charged(recharge) => (recharge, decide(world, recharge, forgets, charged(recharge), posting::charge)),
        Message::Refunded(refund) => {
            let recharge = recharge_of(world, refund);
            (recharge, decide(world, recharge, false, refunded(recharge, refund), posting::refund))
        }
        Message::RefundRefused(refund, _) | Message::RefundReturned(refund) => {
            let recharge = recharge_of(world, refund);
            let returned = matches!(delivery.message, Message::RefundReturned(_));
            let was_refunded = returned && world.refund(refund).is_some_and(|row| row.was_refunded);
            let event = refund_failed(recharge, refund, was_refunded);
            (recharge, decide(world, recharge, false, event, posting::refund_failed))
        }
        _ => return,
    };
    let label = Label("the ledger books what it hears of recharge", recharge.into());
    match decision {
        Some(Decision::Post(postings)) => begin(steps, beside, label, |world| {
            let first = world.version() + 1;
            for posting in &postings {
                let booked = Booked {
                    business_key: posting.business_key().to_owned(),
                    kind: posting.kind(),
                    entries: posting.entries().to_vec(),
                };
                world.books.push(Arc::new(Transaction { recharge, first, booked }));
            }
            let out = (first..=world.version()).map(Message::Booked).collect();
            finish(world, Some(delivery), out, None);
        }),
        Some(Decision::Again { business_key, .. }) => begin(steps, beside, label, |world| {
            let found = world.books.iter().find(|transaction| transaction.booked.business_key == business_key);
            let first = found.map(|transaction| transaction.first);
            let together = |version: &u8| {
                first.is_some() && world.books.get(usize::from(*version) - 1).map(|other| other.first) == first
            };
            let out = (1..=world.version()).filter(together).map(Message::Booked).collect();
            finish(world, Some(delivery), out, None);
        }),
        Some(Decision::Nothing(_) | Decision::TooLate(_)) => begin(steps, beside, label, |world| {
            finish(world, Some(delivery), Vec::new(), None);
        }),
        // It comes again.
        Some(Decision::NotYet(_)) => {}
        None => begin(steps, beside, label, |world| {
            world.broken_promise = Some("the ledger understands everything that it is told");
        }),
    }
}

fn recharge_of(world: &World, refund: u8) -> u8 {
    world.refund(refund).map_or(u8::MAX, |row| row.recharge)
}

fn decide<T: Payload>(
    world: &World,
    recharge: u8,
    forgets: bool,
    event: Option<Event<T>>,
    decide: impl FnOnce(&Event<T>, &RechargeBooks) -> Result<Decision, PostingError>,
) -> Option<Decision> {
    let overdue = world.record(recharge).is_some_and(|record| record.credit_overdue_at_ledger);
    let of = world.books.iter().filter(|transaction| transaction.recharge == recharge && !forgets);
    let books = RechargeBooks {
        recharge_id: id(recharge),
        now: if overdue { credit_by() } else { now() },
        booked: of.map(|transaction| transaction.booked.clone()).collect(),
    };
    decide(&event?, &books).ok()
}

fn credit_by() -> Timestamp {
    now() + std::time::Duration::from_secs(600)
}

fn trigger_id(recharge: u8) -> EventId {
    EventId::from_body("evt", &[recharge])
}

fn id(recharge: u8) -> RechargeId {
    RechargeId::for_trigger(&trigger_id(recharge))
}

fn event<T: Payload>(recharge: u8, cause: &str, data: T) -> Option<Event<T>> {
    let organization = OrganizationId::parse("acme").ok()?;
    Some(Event::following(&cause, &organization, now(), &trigger_id(recharge), data))
}

fn amount() -> Money {
    Money::new(AMOUNT, Currency::USD)
}

fn charged(recharge: u8) -> Option<Event<RechargeChargedV1>> {
    let data = RechargeChargedV1 {
        recharge_id: id(recharge),
        triggered_by: TriggerKind::Webhook,
        trigger_event_id: trigger_id(recharge),
        amount: amount(),
        fee: Money::zero(Currency::USD),
        total_charge: amount(),
        processor_fee: None,
        payment_intent_id: format!("pi_{recharge}"),
        charge_id: None,
        charged_at: now(),
        credit_by: Some(credit_by()),
    };
    event(recharge, "charge", data)
}

fn refunded(recharge: u8, refund: u8) -> Option<Event<RechargeRefundedV1>> {
    let data = RechargeRefundedV1 {
        recharge_id: id(recharge),
        refund_id: format!("re_{refund}"),
        amount: amount(),
        total_refunded: amount(),
        was_credited: false,
        reason: "undo".to_owned(),
        cause: None,
        charge_fully_refunded: true,
        total_charge: Some(amount()),
        processor_fee: None,
    };
    event(recharge, "refund", data)
}

fn refund_failed(recharge: u8, refund: u8, was_refunded: bool) -> Option<Event<RechargeRefundFailedV1>> {
    let data = RechargeRefundFailedV1 {
        recharge_id: id(recharge),
        total: amount(),
        reason: "failed".to_owned(),
        attempts: 1,
        refund_id: Some(format!("re_{refund}")),
        amount: Some(amount()),
        was_refunded,
    };
    event(recharge, "refund_failed", data)
}
