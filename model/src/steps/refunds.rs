//! Refunds (`recharger/src/refunds/drive.rs`, `handlers/refunds.rs`, `handlers/owed.rs`), moved by the recharger's own
//! [`advance_refund`].

use recharger::saga::{Fact, RefundCommand, RefundFact, RefundStatus, State, advance, advance_refund};

use super::{Steps, end_task, finish, go_on};
use crate::explore::Label;
use crate::messages::Message;
use crate::world::{AMOUNT, Made, Refund, Said, Task, World, index};

/// The undo: everything that is left, unless it is promised to another refund.
pub(super) fn open_undo(world: &mut World, recharge: u8) {
    let left = world.record(recharge).map_or(0, |record| AMOUNT - record.given_back);
    if left > 0 && !world.is_promised(recharge) {
        open(world, recharge);
    }
}

fn open(world: &mut World, recharge: u8) {
    world.refunds.push(Refund {
        recharge,
        status: RefundStatus::Requested,
        made: None,
        refusals: 0,
        was_tried: false,
        was_refunded: false,
        unsaid: false,
    });
}

/// What is going back has a refund that is open, until it is back.
pub(super) fn owe(world: &mut World, recharge: u8) {
    let Some(record) = world.record_mut(recharge).filter(|record| record.state.is_giving_back()) else { return };
    if record.given_back == AMOUNT {
        record.state = advance(record.state, Fact::MoneyBack).0;
    } else {
        open_undo(world, recharge);
    }
}

/// The patrol takes what is open, and what is not said; and a hint of Stripe's makes somebody read a refund again.
pub(super) fn patrol(steps: &mut Steps<'_>) {
    if !steps.may_begin() {
        return;
    }
    for (number, row) in steps.world.refunds.iter().enumerate() {
        let refund = index(number);
        let taken = steps.world.tasks.iter().any(|task| match task {
            Task::Refund { refund: of } | Task::Heard { refund: of, .. } => *of == refund,
            Task::Say { said: Some(Said::Refund(of)), .. } => *of == refund,
            _ => false,
        });
        if taken {
            continue;
        }
        if row.status.is_open() {
            steps.progress(Label("the patrol takes refund", number), |world| world.tasks.push(Task::Refund { refund }));
        } else if row.unsaid {
            steps.progress(Label("the patrol says again what became of refund", number), |world| {
                let out = says(world, refund);
                finish(world, None, out, Some(Said::Refund(refund)));
            });
        }
        if let Some((made, fact)) = row.made.and_then(|made| Some((made, fact_of(steps.world, made)?)))
            && is_news(row.status, fact)
        {
            steps.progress(Label("Stripe hints at a change of refund", number), |world| {
                world.tasks.push(Task::Heard { refund, made: Some(made), fact });
            });
        }
    }
}

fn is_news(status: RefundStatus, fact: RefundFact) -> bool {
    advance_refund(status, fact).0 != status
}

fn fact_of(world: &World, made: u8) -> Option<RefundFact> {
    world.made.get(usize::from(made)).map(|(_, made)| match made {
        Made::Pending => RefundFact::Accepted,
        Made::Succeeded => RefundFact::Done,
        Made::Failed => RefundFact::GivenUp,
    })
}

fn says(world: &World, refund: u8) -> Vec<Message> {
    match world.refund(refund) {
        Some(row) if row.status == RefundStatus::Succeeded => tells(world, row.recharge, refund),
        Some(Refund { status: RefundStatus::Failed, made: Some(_), .. }) => vec![Message::RefundReturned(refund)],
        _ => Vec::new(),
    }
}

/// That it was made; and before that the charge, which nobody may have heard of while it is not in the books.
fn tells(world: &World, recharge: u8, refund: u8) -> Vec<Message> {
    let unbooked = world.record(recharge).is_some_and(|record| record.ledger_version.is_none());
    let charged = unbooked.then_some(Message::Charged(recharge));
    charged.into_iter().chain([Message::Refunded(refund)]).collect()
}

/// Makes a refund at Stripe under a key.
pub(super) fn make(world: &mut World, key: (u8, u8), made: Made) -> u8 {
    world.made.push((key.0, made));
    world.refund_keys.insert(key, true);
    index(world.made.len() - 1)
}

/// Asks Stripe for a refund, or what became of it. Whoever may have asked before looks first.
pub(super) fn ask(steps: &mut Steps<'_>, number: usize, refund: u8) {
    let Some(row) = steps.world.refund(refund).cloned() else { return };
    let about = usize::from(refund);
    let found = steps.world.made.iter().position(|(of, _)| *of == refund).map(index);
    if let Some(made) = row.made.or(found.filter(|_| row.was_tried))
        && let Some(fact) = fact_of(steps.world, made)
    {
        steps.progress(Label("Stripe is asked what became of refund", about), |world| {
            go_on(world, number, Task::Heard { refund, made: Some(made), fact });
        });
        return;
    }
    let key = (refund, row.refusals);
    match steps.world.refund_keys.get(&key) {
        // Repeated to whoever has not looked first: a refund, or a refusal.
        Some(_) => steps.progress(Label("Stripe repeats its answer for refund", about), |world| {
            let made = found.and_then(|made| Some((made, fact_of(world, made)?)));
            let (made, fact) = made.map_or((None, RefundFact::Refused), |(made, fact)| (Some(made), fact));
            go_on(world, number, Task::Heard { refund, made, fact });
        }),
        None if !is_refundable(steps.world, row.recharge) => moot(steps, number, refund, &row),
        None => send(steps, number, refund, key),
    }
}

fn is_refundable(world: &World, recharge: u8) -> bool {
    let of = |refund: u8| world.refund(refund).is_some_and(|row| row.recharge == recharge);
    world.captures(recharge) > 0 && !world.made.iter().any(|(refund, made)| of(*refund) && *made != Made::Failed)
}

/// Stripe has nothing left to refund: what it has instead is read, and the refund ends when that is in our books.
fn moot(steps: &mut Steps<'_>, number: usize, refund: u8, row: &Refund) {
    let about = usize::from(refund);
    let back = steps.world.record(row.recharge).is_some_and(|record| record.given_back == AMOUNT);
    let of = |other: u8| steps.world.refund(other).is_some_and(|other| other.recharge == row.recharge);
    let other = steps.world.made.iter().enumerate().find(|(_, (other, made))| of(*other) && *made != Made::Failed);
    let other = other.map(|(made, (other, _))| (index(made), *other));
    steps.progress(Label("Stripe has nothing left to refund, refund", about), |world| match other {
        Some((made, other)) if !back => match fact_of(world, made) {
            Some(fact) => go_on(world, number, Task::Heard { refund: other, made: Some(made), fact }),
            None => end_task(world, number),
        },
        _ => go_on(world, number, Task::Heard { refund, made: None, fact: RefundFact::Moot }),
    });
}

fn send(steps: &mut Steps<'_>, number: usize, refund: u8, key: (u8, u8)) {
    let about = usize::from(refund);
    let tried = move |world: &mut World| {
        end_task(world, number);
        if let Some(row) = world.refunds.get_mut(usize::from(refund)) {
            row.was_tried = true;
        }
    };
    for (status, fact, what) in [
        (Made::Succeeded, RefundFact::Done, "Stripe makes refund"),
        (Made::Pending, RefundFact::Accepted, "Stripe takes refund, and will know later,"),
    ] {
        steps.progress(Label(what, about), |world| {
            tried(world);
            let made = make(world, key, status);
            world.tasks.push(Task::Heard { refund, made: Some(made), fact });
        });
    }
    steps.fault(
        |left| &mut left.refund,
        Label("Stripe refuses refund", about),
        |world| {
            tried(world);
            world.refund_keys.insert(key, false);
            world.tasks.push(Task::Heard { refund, made: None, fact: RefundFact::Refused });
        },
    );
    steps.fault(|left| &mut left.lost, Label("the request does not reach Stripe, for refund", about), tried);
    steps.fault(
        |left| &mut left.lost,
        Label("the request reaches Stripe later, for refund", about),
        |world| {
            tried(world);
            world.late_refunds.insert(key);
        },
    );
    steps.fault(
        |left| &mut left.lost,
        Label("Stripe makes it and its answer is lost, for refund", about),
        |world| {
            tried(world);
            make(world, key, Made::Succeeded);
        },
    );
}

/// Writes down what is certain of a refund, and moves the recharge with it (`handlers/refunds.rs`, `move_refund`).
pub(super) fn heard(steps: &mut Steps<'_>, number: usize, refund: u8, made: Option<u8>, fact: RefundFact) {
    steps.progress(Label("the recharger writes down what became of refund", refund.into()), |world| {
        end_task(world, number);
        let out = move_refund(world, refund, made, fact);
        finish(world, None, out, Some(Said::Refund(refund)));
    });
}

fn move_refund(world: &mut World, refund: u8, made: Option<u8>, fact: RefundFact) -> Vec<Message> {
    let Some(row) = world.refunds.get_mut(usize::from(refund)) else { return Vec::new() };
    let (before, recharge) = (row.status, row.recharge);
    let (status, command) = advance_refund(before, fact);
    row.status = status;
    row.made = row.made.or(made);
    let said = match command {
        Some(RefundCommand::SayRefunded) => {
            if before != RefundStatus::Succeeded {
                row.unsaid = true;
                row.was_refunded = true;
                count(world, recharge, AMOUNT);
            }
            tells(world, recharge, refund)
        }
        Some(RefundCommand::AlarmAndRepeat) => {
            row.refusals += 1;
            vec![Message::RefundRefused(refund, row.refusals)]
        }
        Some(RefundCommand::AlarmAndReplace) => {
            row.unsaid = true;
            if before == RefundStatus::Succeeded {
                count(world, recharge, -AMOUNT);
            }
            open_undo(world, recharge);
            vec![Message::RefundReturned(refund)]
        }
        Some(RefundCommand::SayFailed) => row.made.map(|_| Message::RefundReturned(refund)).into_iter().collect(),
        None => Vec::new(),
    };
    owe(world, recharge);
    said
}

/// Adds a refund to what went back, or takes it away again; the recharge follows.
fn count(world: &mut World, recharge: u8, amount: i64) {
    let Some(record) = world.record_mut(recharge) else { return };
    record.given_back = (record.given_back + amount).clamp(0, AMOUNT);
    if amount < 0 {
        record.state = advance(record.state, Fact::RefundReturned).0;
    } else if record.given_back == AMOUNT {
        record.state = advance(record.state, Fact::MoneyBack).0;
        if record.state == State::Refunded {
            record.unsaid = false;
        }
    }
}
