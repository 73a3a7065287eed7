//! What must be true: always, and when everything has come to rest.

use ledger::posting::AccountKind;
use recharger::saga::{RefundStatus, State};

use crate::System;
use crate::explore::COMES_TO_REST;
use crate::messages::Message;
use crate::steps::NEVER_OLDER;
use crate::world::{AMOUNT, Made, Record, World, index};

const ENDED_HOLDS_NOTHING: &str =
    "no recharge has ended while money is captured that is neither credited and in force nor given back";
const ONE_CAPTURE: &str = "one trigger is never captured twice";
const ONE_FOR_A_CROSSING: &str = "two recharges never answer one crossing at once";
const ONE_CREDIT: &str = "one charge is never credited twice";
const NEVER_INVENTED: &str = "the KMS never enforces a quota that the ledger never had";
const MONEY_IS_RIGHT: &str = "at rest: captured − refunded at Stripe = the ledger's clearing account";
const QUOTA_IS_RIGHT: &str = "at rest: captured − refunded at Stripe = the ledger's quota";
const NEVER_ABOVE: &str = "at rest: the KMS' quota is the ledger's, never above it";
const ALL_ENDED: &str = "at rest: every recharge has ended, and no refund is open";
const HAS_OUTCOME: &str = "at rest: every accepted webhook has an outcome, which was said";
const ALL_SAID: &str = "at rest: whatever was written down was said";

/// Every promise that is looked at.
#[must_use]
pub fn promises() -> Vec<&'static str> {
    vec![
        ENDED_HOLDS_NOTHING,
        ONE_CAPTURE,
        ONE_FOR_A_CROSSING,
        ONE_CREDIT,
        NEVER_INVENTED,
        NEVER_OLDER,
        MONEY_IS_RIGHT,
        QUOTA_IS_RIGHT,
        NEVER_ABOVE,
        ALL_ENDED,
        HAS_OUTCOME,
        ALL_SAID,
        COMES_TO_REST,
    ]
}

/// The promises that a state breaks.
pub(crate) fn always(system: &System, world: &World) -> Vec<&'static str> {
    let mut broken: Vec<_> = world.broken_promise.into_iter().collect();
    let all = || (0..index(world.records.len())).filter_map(|number| Some((number, world.record(number)?)));
    if all().any(|(number, record)| record.state.is_final() && !ended_well(world, number, record)) {
        broken.push(ENDED_HOLDS_NOTHING);
    }
    if all().any(|(number, _)| world.captures(number) > 1) {
        broken.push(ONE_CAPTURE);
    }
    let keeps = |record: &Record| matches!(record.state, State::Charged | State::Credited | State::Settled);
    let mut answered: Vec<_> =
        all().filter(|(_, record)| keeps(record)).map(|(n, _)| system.bounds.limits.get(usize::from(n))).collect();
    let recharges = answered.len();
    answered.sort_unstable();
    answered.dedup();
    if answered.len() < recharges {
        broken.push(ONE_FOR_A_CROSSING);
    }
    let mut keys: Vec<_> = world.books.iter().map(|transaction| &transaction.booked.business_key).collect();
    keys.sort_unstable();
    keys.dedup();
    if keys.len() < world.books.len() {
        broken.push(ONE_CREDIT);
    }
    if !(0..=world.version()).any(|version| world.quota(version) == world.kms) {
        broken.push(NEVER_INVENTED);
    }
    broken
}

/// Whether a recharge that has ended may have ended so. What Stripe knows of a refund and we have not heard yet, a hint or a
/// comparison of the books brings.
fn ended_well(world: &World, number: u8, record: &Record) -> bool {
    let unheard = world.refunds.iter().any(|row| {
        let made = row.made.and_then(|made| world.made.get(usize::from(made)));
        row.recharge == number
            && made.is_some_and(|(_, made)| *made == Made::Failed)
            && row.status != RefundStatus::Failed
    });
    let held = world.held(number);
    match record.state {
        State::Settled => {
            let in_force = world.pushed.is_some_and(|version| Some(version) >= record.ledger_version);
            unheard || (held == AMOUNT && record.ledger_version.is_some() && in_force)
        }
        _ => unheard || held == 0,
    }
}

/// The promises that a state breaks if nothing more happens.
pub(crate) fn at_rest(_: &System, world: &World) -> Vec<&'static str> {
    let held: i64 = (0..index(world.records.len())).map(|number| world.held(number)).sum();
    let version = world.version();
    let ended = world.records.iter().flatten().all(|record| record.state.is_final());
    let open = world.refunds.iter().any(|row| row.status.is_open());
    let promises = [
        (MONEY_IS_RIGHT, world.sum(AccountKind::StripeClearing, version) == -held),
        (QUOTA_IS_RIGHT, world.quota(version) == held),
        (NEVER_ABOVE, world.kms == world.quota(version)),
        (ALL_ENDED, ended && !open),
        (HAS_OUTCOME, (0..).zip(&world.accepted).all(|(trigger, accepted)| !accepted || has_outcome(world, trigger))),
        (ALL_SAID, all_said(world)),
    ];
    promises.into_iter().filter(|(_, kept)| !kept).map(|(promise, _)| promise).collect()
}

fn has_outcome(world: &World, trigger: u8) -> bool {
    match world.decided.get(usize::from(trigger)).copied().flatten() {
        None => false,
        Some(false) => world.published.contains(&Message::Skipped(trigger)),
        Some(true) => world.record(trigger).is_some_and(|record| record.state.is_final()),
    }
}

fn all_said(world: &World) -> bool {
    let said = |message: Message| world.published.contains(&message);
    let recharges = (0..).zip(&world.records).all(|(number, record)| {
        record.as_ref().is_none_or(|record| match record.state {
            State::Settled => said(Message::Settled(number)),
            State::Declined | State::Failed => said(Message::Declined(number)),
            _ => true,
        })
    });
    // Whoever hears of a refund has heard of the charge.
    let charges = world.refunds.iter().all(|row| !row.was_refunded || said(Message::Charged(row.recharge)));
    let refunds = (0..).zip(&world.refunds).all(|(number, row)| match row.status {
        RefundStatus::Succeeded => said(Message::Refunded(number)),
        RefundStatus::Failed if row.was_refunded => said(Message::RefundReturned(number)),
        RefundStatus::Failed | RefundStatus::Requested | RefundStatus::Pending => true,
    });
    let books = (1..=world.version()).all(|version| said(Message::Booked(version)));
    let pushes = world.recorded.iter().all(|(cause, version)| said(Message::Synced(*cause, *version)));
    let failures = world.given_up.iter().all(|version| said(Message::SyncFailed(*version)));
    recharges && charges && refunds && books && pushes && failures
}
