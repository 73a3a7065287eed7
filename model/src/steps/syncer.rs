//! The syncer's pushes and its sweep (`syncer/src/push.rs`, `given_up`, `look`): what to do at the KMS is the syncer's own
//! [`decide`], what is wrong there its own [`standing`].

use std::time::Duration;

use common::clients::quota::Allowance;
use rust_decimal::Decimal;
use syncer::plan::{Action, Contact, decide};
use syncer::standing::{Book, Standing, standing};

use super::broker::begin;
use super::{Steps, end_task, finish, go_on};
use crate::explore::Label;
use crate::messages::{Cause, Consumer, Delivery, Message};
use crate::rules::Broken;
use crate::world::{Stage, Task, World, now};

/// What a promise says of pushes.
pub(crate) const NEVER_OLDER: &str = "a push never writes an older quota than one that was in force when it began";

pub(super) fn deliver(steps: &mut Steps<'_>, delivery: Delivery, beside: bool) {
    let Message::Booked(version) = delivery.message else { return };
    let input = Some(delivery);
    let cause = Cause::Booked(version);
    let label = Label("the syncer hears of version", version.into());
    if let Some(pushed) = steps.world.recorded.get(&cause).copied() {
        return begin(steps, beside, label, |world| finish(world, input, vec![Message::Synced(cause, pushed)], None));
    }
    if steps.world.given_up.contains(&version) {
        return begin(steps, beside, label, |world| finish(world, input, vec![Message::SyncFailed(version)], None));
    }
    // The lock of the organization's row is held to the end.
    if steps.world.is_locked() {
        return;
    }
    let own = steps.is_broken(Broken::PushWithoutVersionCheck);
    begin(steps, beside, label, |world| {
        note(world, version);
        let version = if own { version } else { world.target };
        push_to(world, input, cause, version);
    });
    if !beside {
        steps.fault(
            |left| &mut left.kms,
            Label("the KMS stays away, and a push is given up, version", version.into()),
            |world| {
                note(world, version);
                give_up(world, input, version);
            },
        );
    }
}

fn note(world: &mut World, version: u8) {
    world.target = world.target.max(version);
}

/// Reads, and decides what to do.
fn push_to(world: &mut World, input: Option<Delivery>, cause: Cause, version: u8) {
    let pushed = world.pushed.unwrap_or(0);
    let there = Allowance::Limited(Decimal::new(world.kms, 2));
    let action = decide(Decimal::new(world.quota(version), 2), Contact::Established, Some(there), None);
    let stage = match action {
        Action::Set { .. } => Stage::Write,
        Action::AlreadyThere => Stage::Record,
        Action::AwaitOpening | Action::NameOpening | Action::Adopt { .. } | Action::Create { .. } | Action::Meet => {
            world.broken_promise = Some("an organization that is known is not met again");
            return;
        }
    };
    world.tasks.push(Task::Push { input, cause, version, pushed, locked: true, stage });
}

/// Says that a push failed, unless a newer one covers it.
fn give_up(world: &mut World, input: Option<Delivery>, version: u8) {
    match world.pushed {
        Some(pushed) if pushed >= version => {
            world.recorded.insert(Cause::Booked(version), pushed);
            finish(world, input, vec![Message::Synced(Cause::Booked(version), pushed)], None);
        }
        _ => {
            world.given_up.insert(version);
            finish(world, input, vec![Message::SyncFailed(version)], None);
        }
    }
}

/// Writes, reads again, records: with the lock, if it is still held.
pub(super) fn push(steps: &mut Steps<'_>, number: usize) {
    let Some(task) = steps.world.tasks.get(number).cloned() else { return };
    let Task::Push { input, cause, version, pushed, locked, stage } = task else { return };
    let (about, quota) = (usize::from(version), steps.world.quota(version));
    let others = steps.world.tasks.iter().filter(|task| matches!(task, Task::Push { .. })).count() - 1;
    let goes_on = |stage| Task::Push { input, cause, version, pushed, locked, stage };
    match stage {
        Stage::Write => {
            steps.progress(Label("the syncer writes to the KMS, version", about), |world| {
                world.kms = quota;
                if version < pushed {
                    world.broken_promise = Some(NEVER_OLDER);
                }
                // Nobody else can have written meanwhile: reading again tells nothing.
                let alone = locked && world.kms_late.is_none() && others == 0;
                go_on(world, number, goes_on(if alone { Stage::Record } else { Stage::Verify }));
            });
            steps.fault(
                |left| &mut left.kms,
                Label("a write reaches the KMS late, version", about),
                |world| {
                    world.kms_late = Some(quota);
                    end_task(world, number);
                },
            );
        }
        Stage::Verify => steps.progress(Label("the syncer reads the KMS again, version", about), |world| {
            if world.kms == quota {
                go_on(world, number, goes_on(Stage::Record));
            } else {
                end_task(world, number);
            }
        }),
        Stage::Record => steps.progress(Label("the syncer records the push, version", about), |world| {
            end_task(world, number);
            // Without the lock its transaction is gone.
            if locked {
                world.pushed = Some(version);
                world.recorded.insert(cause, version);
                finish(world, input, vec![Message::Synced(cause, version)], None);
            }
        }),
    }
    if locked {
        let label = Label("the syncer's connection to the database is lost, and it goes on, version", about);
        steps.fault(
            |left| &mut left.again,
            label,
            |world| {
                let lost = Task::Push { input, cause, version, pushed, locked: false, stage };
                go_on(world, number, lost);
            },
        );
    }
}

/// A late write arrives; the sweep puts right what the messages did not.
pub(super) fn by_itself(steps: &mut Steps<'_>) {
    if let Some(late) = steps.world.kms_late {
        steps.progress(Label("a late write arrives at the KMS", 0), |world| {
            world.kms = late;
            world.kms_late = None;
        });
    }
    let idle = !steps.world.tasks.iter().any(|task| matches!(task, Task::Push { .. }))
        && !steps.world.pending.iter().any(|delivery| delivery.to == Consumer::Syncer);
    open_repairs(steps);
    if steps.system.bounds.sweep && idle && steps.may_begin() && is_wrong(steps.world) {
        let version = steps.world.target;
        steps.progress(Label("the sweep pushes version", version.into()), |world| {
            push_to(world, None, Cause::Sweep(version), version);
        });
    }
}

/// A repair stays open until it was said what came of it (`look/repair.rs`).
fn open_repairs(steps: &mut Steps<'_>) {
    for (cause, version) in &steps.world.recorded {
        let message = Message::Synced(*cause, *version);
        if matches!(cause, Cause::Sweep(_)) && !steps.world.published.contains(&message) && steps.may_begin() {
            let label = Label("the sweep says what came of a repair, version", usize::from(*version));
            steps.progress(label, |world| finish(world, None, vec![message], None));
        }
    }
}

fn is_wrong(world: &World) -> bool {
    let book = Book {
        contact: Contact::Established,
        quota: Decimal::new(world.quota(world.target), 2),
        version: world.target.into(),
        pushed_version: world.pushed.map(i64::from),
        raised_at: None,
        elsewhere: false,
    };
    let there = Some(Allowance::Limited(Decimal::new(world.kms, 2)));
    matches!(standing(&book, there, now(), Duration::ZERO), Standing::Wrong(_))
}
