//! The sender, ingress and the broker; and what every service's loop does with a message (`common/src/worker/mod.rs`).

use super::{Steps, acknowledge, end_task, go_on, ledger, recharger, syncer};
use crate::explore::Label;
use crate::messages::{Consumer, Delivery, Message};
use crate::rules::Broken;
use crate::world::{Task, World, index};

/// The sender repeats a webhook until it is told that it was accepted. Ingress publishes first, and tells it then.
pub(super) fn sender(steps: &mut Steps<'_>) {
    for (number, accepted) in steps.world.accepted.iter().enumerate() {
        // A team crosses the limit that it has.
        let has = steps.system.bounds.limits.get(number).is_some_and(|limit| *limit <= steps.world.kms);
        if *accepted || !(has || steps.world.published.contains(&Message::Trigger(index(number)))) {
            continue;
        }
        let message = Message::Trigger(index(number));
        if steps.is_broken(Broken::AcknowledgeBeforePublish) {
            steps.fault(
                |left| &mut left.crash,
                Label("ingress accepts a webhook and dies", number),
                |world| {
                    accept(world, number);
                },
            );
        }
        steps.progress(Label("ingress publishes and accepts webhook", number), |world| {
            world.publish(message);
            accept(world, number);
        });
        steps.fault(
            |left| &mut left.crash,
            Label("ingress publishes a webhook and dies", number),
            |world| {
                world.publish(message);
            },
        );
    }
}

fn accept(world: &mut World, number: usize) {
    if let Some(accepted) = world.accepted.get_mut(number) {
        *accepted = true;
    }
}

/// Any message may be brought at any time, and not in order.
pub(super) fn deliveries(steps: &mut Steps<'_>) {
    for delivery in &steps.world.pending {
        let (delivery, held) = (*delivery, steps.world.is_held(*delivery));
        if steps.may_begin() && !held {
            deliver(steps, delivery, false);
            park_begins(steps, delivery);
        } else if steps.may_begin() && !steps.world.is_parking(delivery) {
            // Whoever has it is slow, or stopped: the broker brings it to another.
            deliver(steps, delivery, true);
        }
    }
    for message in &steps.world.published {
        for to in message.consumers() {
            let delivery = Delivery { to: *to, message: *message };
            if !steps.world.pending.contains(&delivery) && !steps.world.dead.contains(&delivery) {
                let label = Label("the broker brings once more what was acknowledged, of", consumer(*to));
                steps.fault(
                    |left| &mut left.again,
                    label,
                    |world| {
                        world.pending.insert(delivery);
                    },
                );
            }
        }
    }
}

fn consumer(to: Consumer) -> usize {
    match to {
        Consumer::Recharger => 1,
        Consumer::Ledger => 2,
        Consumer::Syncer => 3,
    }
}

fn deliver(steps: &mut Steps<'_>, delivery: Delivery, beside: bool) {
    match delivery.to {
        Consumer::Recharger => recharger::deliver(steps, delivery, beside),
        Consumer::Ledger => ledger::deliver(steps, delivery, beside),
        Consumer::Syncer => syncer::deliver(steps, delivery, beside),
    }
}

/// A delivery begins: in the normal course, or beside somebody who still works on it.
pub(super) fn begin(steps: &mut Steps<'_>, beside: bool, label: Label, change: impl FnOnce(&mut World)) {
    if beside {
        steps.fault(|left| &mut left.again, label, change);
    } else {
        steps.progress(label, change);
    }
}

/// Publishes what follows, and acknowledges after that.
pub(super) fn say(steps: &mut Steps<'_>, number: usize) {
    let Some(Task::Say { input, out, said }) = steps.world.tasks.get(number).cloned() else { return };
    if steps.is_broken(Broken::AcknowledgeBeforePublish) && (input.is_some() || said.is_some()) {
        steps.progress(Label("acknowledges what it has not published yet, task", number), |world| {
            go_on(world, number, Task::Say { input: None, out, said: None });
            acknowledge(world, input, said);
        });
        return;
    }
    let publish = |world: &mut World| {
        end_task(world, number);
        out.iter().for_each(|message| world.publish(*message));
    };
    steps.fault(|left| &mut left.crash, Label("publishes and dies, task", number), publish);
    steps.progress(Label("publishes and acknowledges, task", number), |world| {
        publish(world);
        acknowledge(world, input, said);
    });
}

/// A message that was tried too often: parked as a dead letter, and dropped after that.
fn park_begins(steps: &mut Steps<'_>, delivery: Delivery) {
    let drops_first = steps.is_broken(Broken::ParkAfterDrop);
    let label = Label("a message has failed too often and is given up, of", consumer(delivery.to));
    steps.fault(
        |left| &mut left.park,
        label,
        |world| {
            if drops_first {
                world.pending.remove(&delivery);
            } else {
                world.dead.insert(delivery);
            }
            world.tasks.push(Task::Park { input: delivery });
        },
    );
}

pub(super) fn park(steps: &mut Steps<'_>, number: usize, input: Delivery) {
    let drops_first = steps.is_broken(Broken::ParkAfterDrop);
    steps.progress(Label("has parked a message and drops it, task", number), |world| {
        end_task(world, number);
        if drops_first {
            world.dead.insert(input);
        } else {
            world.pending.remove(&input);
        }
    });
}

/// An operator brings a dead letter back, to the consumer that gave it up.
pub(super) fn dead_letters(steps: &mut Steps<'_>) {
    for delivery in &steps.world.dead {
        if !steps.world.is_parking(*delivery) {
            steps.progress(Label("an operator redrives a dead letter of", consumer(delivery.to)), |world| {
                world.dead.remove(delivery);
                world.pending.insert(*delivery);
            });
        }
    }
}
