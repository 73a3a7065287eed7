//! Everything that may happen in a state: one file for each part. Each step is one effect that a crash can follow: a
//! transaction of the database, a call to Stripe or the KMS, a publication. What is decided in it, the services' own pure
//! functions decide.

mod broker;
mod ledger;
mod patrol;
mod recharger;
mod refunds;
mod stripe;
mod syncer;

pub(crate) use syncer::NEVER_OLDER;

use crate::System;
use crate::explore::{Label, Step};
use crate::messages::{Delivery, Message};
use crate::rules::{Broken, Left};
use crate::world::{Said, Task, World};

/// Everything that may happen next.
pub(crate) fn all(system: &System, world: &World) -> Vec<Step<World>> {
    let mut steps = Steps { system, world, found: Vec::new() };
    // Who has committed publishes at once, or dies first: a message that is published late is the same as one that is
    // brought late, and bringing it late is explored anyway.
    if let Some(number) = world.tasks.iter().position(|task| matches!(task, Task::Say { .. })) {
        task(&mut steps, number);
        return steps.found;
    }
    broker::sender(&mut steps);
    broker::deliveries(&mut steps);
    broker::dead_letters(&mut steps);
    for number in 0..world.tasks.len() {
        task(&mut steps, number);
    }
    patrol::time(&mut steps);
    patrol::patrol(&mut steps);
    refunds::patrol(&mut steps);
    stripe::by_itself(&mut steps);
    syncer::by_itself(&mut steps);
    steps.found
}

fn task(steps: &mut Steps<'_>, number: usize) {
    let Some(task) = steps.world.tasks.get(number) else { return };
    match task {
        Task::Say { .. } => broker::say(steps, number),
        Task::Park { input } => broker::park(steps, number, *input),
        Task::Claim { input, trigger } => recharger::insert(steps, number, *input, *trigger),
        Task::Charge { input, recharge, intent } => stripe::charge(steps, number, *input, *recharge, *intent),
        Task::Cancel { recharge } => stripe::cancel(steps, number, *recharge),
        Task::Record { input, recharge, certain } => recharger::record(steps, number, *input, *recharge, *certain),
        Task::Refund { refund } => refunds::ask(steps, number, *refund),
        Task::Heard { refund, made, fact } => refunds::heard(steps, number, *refund, *made, *fact),
        Task::Push { .. } => syncer::push(steps, number),
    }
    steps.fault(
        |left| &mut left.crash,
        Label("a process dies in the middle of task", number),
        |world| {
            end_task(world, number);
        },
    );
}

/// What may happen, as it is collected.
pub(crate) struct Steps<'a> {
    pub(crate) system: &'a System,
    pub(crate) world: &'a World,
    found: Vec<Step<World>>,
}

impl Steps<'_> {
    /// Something that happens sooner or later.
    pub(crate) fn progress(&mut self, label: Label, change: impl FnOnce(&mut World)) {
        self.add(label, false, change);
    }

    /// Something that goes wrong, if its kind may do so once more.
    pub(crate) fn fault(&mut self, kind: impl Fn(&mut Left) -> &mut u8, label: Label, change: impl FnOnce(&mut World)) {
        let mut left = self.world.left;
        if left.any == 0 || *kind(&mut left) == 0 {
            return;
        }
        left.any -= 1;
        *kind(&mut left) -= 1;
        self.add(label, true, |world| {
            world.left = left;
            change(world);
        });
    }

    fn add(&mut self, label: Label, is_fault: bool, change: impl FnOnce(&mut World)) {
        let mut state = self.world.clone();
        change(&mut state);
        state.forget();
        self.found.push(Step { label, is_fault, state });
    }

    /// Whether somebody more may begin something.
    pub(crate) fn may_begin(&self) -> bool {
        self.world.tasks.len() < self.system.bounds.tasks
    }

    pub(crate) fn is_broken(&self, rule: Broken) -> bool {
        self.system.broken == Some(rule)
    }
}

/// Ends a task, whatever it was about to do.
pub(crate) fn end_task(world: &mut World, number: usize) {
    world.tasks.remove(number);
}

/// Puts another task in the place of one.
pub(crate) fn go_on(world: &mut World, number: usize, next: Task) {
    world.tasks.remove(number);
    world.tasks.push(next);
}

/// The effects are committed: what follows is published, and then the input acknowledged.
pub(crate) fn finish(world: &mut World, input: Option<Delivery>, out: Vec<Message>, said: Option<Said>) {
    if out.is_empty() {
        acknowledge(world, input, said);
    } else {
        world.tasks.push(Task::Say { input, out, said });
    }
}

/// The broker, or the patrol's row, knows that it is done.
pub(crate) fn acknowledge(world: &mut World, input: Option<Delivery>, said: Option<Said>) {
    if let Some(input) = input {
        world.pending.remove(&input);
    }
    match said {
        Some(Said::Recharge(recharge, state)) => {
            if let Some(record) = world.record_mut(recharge).filter(|record| record.state == state) {
                record.unsaid = false;
            }
        }
        Some(Said::Refund(refund)) => {
            if let Some(refund) = world.refunds.get_mut(usize::from(refund)).filter(|refund| !refund.status.is_open()) {
                refund.unsaid = false;
            }
        }
        None => {}
    }
}
