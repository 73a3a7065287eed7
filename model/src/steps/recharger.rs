//! The recharger's transactions (`recharger/src/handlers`, `recharger/src/patrol.rs`): what they read and write is here, what
//! they decide is [`decide`] and [`advance`], the recharger's own.

use common::ids::{EventId, RechargeId};
use common::money::{Currency, FeePolicy, Money};
use recharger::decide::{Decision, Trigger, decide};
use recharger::history::History;
use recharger::policy::{Policy, SavedCard, TargetBasis};
use recharger::saga::{Command, Fact, State, advance};
use rust_decimal::Decimal;

use super::broker::begin;
use super::{Steps, end_task, finish, go_on, refunds};
use crate::System;
use crate::explore::Label;
use crate::messages::{Delivery, Message};
use crate::rules::Broken;
use crate::world::{AMOUNT, Bank, Certain, HOUR, Record, Said, Task, World, index, now};

pub(super) fn deliver(steps: &mut Steps<'_>, delivery: Delivery, beside: bool) {
    let input = Some(delivery);
    match delivery.message {
        Message::Trigger(trigger) => claim(steps, delivery, trigger, beside),
        Message::Booked(version) => {
            begin(steps, beside, Label("the recharger hears of version", version.into()), |world| {
                let out = booked(world, version);
                finish(world, input, out, None);
            });
        }
        Message::Synced(cause, version) => {
            begin(steps, beside, Label("the recharger hears what is in force, version", version.into()), |world| {
                let quota = world.quota(version);
                world.in_force = world.in_force.max(version);
                let out = settle(world, version, quota, Message::Synced(cause, version));
                finish(world, input, out, None);
            });
        }
        Message::SyncFailed(version) => {
            begin(
                steps,
                beside,
                Label("the recharger hears that it is not in force, version", version.into()),
                |world| {
                    sync_failed(world, version);
                    finish(world, input, Vec::new(), None);
                },
            );
        }
        _ => {}
    }
}

/// The claim: load, decide, insert, in one transaction that holds the organization's lock.
fn claim(steps: &mut Steps<'_>, input: Delivery, trigger: u8, beside: bool) {
    let label = Label("the recharger claims trigger", trigger.into());
    match steps.world.decided.get(usize::from(trigger)).copied().flatten() {
        Some(true) => begin(steps, beside, label, |world| {
            let Some(record) = world.record(trigger) else { return };
            if record.state == State::Pending {
                world.tasks.push(Task::Charge { input: Some(input), recharge: trigger, intent: None });
            } else {
                let out = says(trigger, record.state).into_iter().collect();
                finish(world, Some(input), out, None);
            }
        }),
        Some(false) => begin(steps, beside, label, |world| {
            finish(world, Some(input), vec![Message::Skipped(trigger)], None);
        }),
        None if !charges(steps.system, steps.world, trigger) => begin(steps, beside, label, |world| {
            if let Some(decided) = world.decided.get_mut(usize::from(trigger)) {
                *decided = Some(false);
            }
            finish(world, Some(input), vec![Message::Skipped(trigger)], None);
        }),
        None if steps.is_broken(Broken::ClaimWithoutLock) => begin(steps, beside, label, |world| {
            world.tasks.push(Task::Claim { input, trigger });
        }),
        None => begin(steps, beside, label, |world| {
            insert_record(world, trigger);
            world.tasks.push(Task::Charge { input: Some(input), recharge: trigger, intent: None });
        }),
    }
}

/// Inserts what was decided before. The index on recharges in flight still holds.
pub(super) fn insert(steps: &mut Steps<'_>, number: usize, input: Delivery, trigger: u8) {
    steps.progress(Label("the recharger inserts what it has decided before, trigger", trigger.into()), |world| {
        end_task(world, number);
        let taken = world.records.iter().flatten().any(|record| record.state.in_flight());
        if !taken && world.record(trigger).is_none() {
            insert_record(world, trigger);
            world.tasks.push(Task::Charge { input: Some(input), recharge: trigger, intent: None });
        }
    });
}

fn insert_record(world: &mut World, trigger: u8) {
    if let Some(decided) = world.decided.get_mut(usize::from(trigger)) {
        *decided = Some(true);
    }
    if let Some(place) = world.records.get_mut(usize::from(trigger)) {
        *place = Some(Record {
            state: State::Pending,
            intent: None,
            ledger_version: None,
            settled_by: None,
            new_quota: None,
            given_back: 0,
            unsaid: false,
            credit_overdue: false,
            credit_overdue_at_ledger: false,
            sync_overdue: false,
            confirm_overdue: false,
            is_old: false,
            keys: 1,
        });
    }
}

/// Whether the recharger's own decision is to charge.
fn charges(system: &System, world: &World, trigger: u8) -> bool {
    let limit = limit_of(system, trigger);
    let currency = Currency::USD;
    let policy = Policy {
        auto_recharge_enabled: true,
        currency,
        minimum_balance: Decimal::ONE,
        target_balance: decimal(AMOUNT),
        target_basis: TargetBasis::Quota,
        minimum_recharge: Money::new(AMOUNT, currency),
        max_daily_recharges: 10,
        max_daily_amount: None,
        max_monthly_amount: None,
        card: Some(SavedCard { customer_id: String::new(), payment_method_id: String::new(), fingerprint: None }),
    };
    // As `repo::history` reads it.
    let quota = world.quota(world.known);
    let settled = |(number, record): (usize, &Option<Record>)| {
        let settled = record.as_ref().filter(|record| record.state == State::Settled)?;
        (settled.new_quota? <= quota).then(|| limit_of(system, index(number)))
    };
    let in_flight = world.records.iter().flatten().any(|record| record.state.in_flight());
    let zero = Money::zero(currency);
    let history = History {
        quota: decimal(quota),
        answered_limit: world.records.iter().enumerate().filter_map(settled).max().map(decimal),
        in_flight: in_flight.then(|| RechargeId::for_trigger(&EventId::from_body("evt", b"another"))),
        recharges_today: 0,
        amount_today: zero,
        amount_this_month: zero,
        paused: None,
        cooldown_until: world.rests.then(|| now() + HOUR),
        card_refusals: 0,
    };
    let trigger = Trigger::LimitExceeded { usage: decimal(limit), limit: decimal(limit), exceeded_by: None };
    matches!(decide(Some(&policy), &history, &trigger, FeePolicy { bps: 0, fixed: 0 }, now()), Decision::Charge(_))
}

fn limit_of(system: &System, trigger: u8) -> i64 {
    system.bounds.limits.get(usize::from(trigger)).copied().unwrap_or(0)
}

fn decimal(minor: i64) -> Decimal {
    Decimal::new(minor, 2)
}

/// What a recharge says in a state (`Record::says`).
pub(super) fn says(recharge: u8, state: State) -> Option<Message> {
    match state {
        State::Charged | State::Credited => Some(Message::Charged(recharge)),
        State::Declined | State::Failed => Some(Message::Declined(recharge)),
        State::ActionRequired => Some(Message::ActionRequired(recharge)),
        State::Settled => Some(Message::Settled(recharge)),
        State::Pending | State::Processing | State::Refunding | State::Refunded | State::Returning => None,
    }
}

/// Writes down what is certain of a charge (`handlers/outcome.rs`).
pub(super) fn record(steps: &mut Steps<'_>, number: usize, input: Option<Delivery>, recharge: u8, certain: Certain) {
    steps.progress(
        Label("the recharger writes down what became of the charge of recharge", recharge.into()),
        |world| {
            end_task(world, number);
            let fact = fact_of(certain);
            let Some(record) = world.record_mut(recharge) else { return };
            let (state, command) = advance(record.state, fact);
            let moved = state != record.state;
            if moved {
                record.state = state;
                record.unsaid = true;
                if let Certain::Intent(intent, _) = certain {
                    record.intent = Some(intent);
                }
                match fact {
                    Fact::ChargeSucceeded => world.rests = false,
                    Fact::ChargeDeclined => world.rests = true,
                    _ => {}
                }
                if command == Some(Command::GiveBack) {
                    refunds::open_undo(world, recharge);
                }
            }
            let out = if command == Some(Command::Say) { says(recharge, state) } else { None };
            // Who moved it meanwhile has left a lease of his own, which the patrol's word does not end.
            let said = (input.is_none() && (moved || out.is_some())).then_some(Said::Recharge(recharge, state));
            finish(world, input, out.into_iter().collect(), said);
        },
    );
}

fn fact_of(certain: Certain) -> Fact {
    match certain {
        Certain::Never => Fact::ChargeNeverHappened,
        Certain::Intent(_, Bank::Captured) => Fact::ChargeSucceeded,
        Certain::Intent(_, Bank::Processing) => Fact::ChargeProcessing,
        Certain::Intent(_, Bank::WantsCustomer) => Fact::AuthenticationRequired,
        Certain::Intent(_, Bank::Declined | Bank::Canceled) => Fact::ChargeDeclined,
    }
}

/// The ledger booked something (`handlers/facts.rs`).
fn booked(world: &mut World, version: u8) -> Vec<Message> {
    world.known = world.known.max(version);
    let Some(transaction) = world.books.get(usize::from(version) - 1).cloned() else { return Vec::new() };
    if transaction.booked.kind != common::contract::PostingKind::Charge {
        return Vec::new();
    }
    let in_force = world.in_force;
    let Some(record) = world.record_mut(transaction.recharge) else { return Vec::new() };
    let (state, _) = advance(record.state, Fact::Credited);
    if state != record.state {
        record.state = state;
        record.ledger_version = Some(version);
        record.unsaid = false;
    }
    let contains = record.ledger_version.is_some_and(|wanted| wanted <= in_force);
    if contains {
        let quota = world.quota(in_force);
        return settle_one(world, transaction.recharge, quota, Message::Booked(version)).into_iter().collect();
    }
    Vec::new()
}

/// A quota of this version is in force: what waits for it has settled, and what this message settled says so again.
fn settle(world: &mut World, version: u8, quota: i64, cause: Message) -> Vec<Message> {
    let waits = |record: &Record| {
        record.settled_by == Some(cause)
            || record.state == State::Credited && record.ledger_version.is_some_and(|wanted| wanted <= version)
    };
    let all: Vec<u8> =
        (0..index(world.records.len())).filter(|number| world.record(*number).is_some_and(waits)).collect();
    all.into_iter().filter_map(|number| settle_one(world, number, quota, cause)).collect()
}

fn settle_one(world: &mut World, recharge: u8, quota: i64, cause: Message) -> Option<Message> {
    let record = world.record_mut(recharge)?;
    let (state, command) = advance(record.state, Fact::InForce);
    if state != record.state {
        record.state = state;
        record.new_quota = Some(quota);
        record.settled_by = Some(cause);
        record.unsaid = false;
    }
    let says_so = command == Some(Command::Say) && record.settled_by == Some(cause);
    says_so.then_some(Message::Settled(recharge))
}

/// The quota was not brought into force in time (`handlers/facts.rs`, `quota_failed`).
fn sync_failed(world: &mut World, version: u8) {
    let Some(transaction) = world.books.get(usize::from(version) - 1).cloned() else { return };
    let in_force = world.in_force;
    let waits = world.record(transaction.recharge).is_some_and(|record| {
        matches!(record.state, State::Charged | State::Credited)
            && record.ledger_version.is_none_or(|wanted| wanted > in_force)
    });
    if waits {
        give_back(world, transaction.recharge, Fact::SyncFailed);
    }
}

pub(super) fn give_back(world: &mut World, recharge: u8, fact: Fact) {
    let Some(record) = world.record_mut(recharge) else { return };
    let (state, command) = advance(record.state, fact);
    if command != Some(Command::GiveBack) {
        return;
    }
    record.state = state;
    record.unsaid = false;
    world.rests = true;
    refunds::open_undo(world, recharge);
}

/// Goes on to write down what became certain.
pub(super) fn certain(world: &mut World, number: usize, input: Option<Delivery>, recharge: u8, certain: Certain) {
    go_on(world, number, Task::Record { input, recharge, certain });
}
