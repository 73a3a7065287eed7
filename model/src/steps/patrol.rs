//! Time, and the patrol that looks at what is due (`recharger/src/patrol.rs`): when, the recharger's own [`next_look`] says.

use recharger::deadlines::{Times, next_look};
use recharger::saga::{Fact, State};

use super::recharger::{give_back, says};
use super::{Steps, finish, refunds};
use crate::explore::Label;
use crate::world::{HOUR, Record, Said, Task, index, now};

/// Time passes: deadlines, by each clock on its own; Stripe's memory; the rest after a decline.
pub(super) fn time(steps: &mut Steps<'_>) {
    let bounds = steps.system.bounds;
    for (number, record) in steps.world.records.iter().enumerate() {
        let Some(record) = record else { continue };
        let recharge = index(number);
        let mut passes = |may: bool, what: &'static str, set: fn(&mut Record)| {
            if may {
                steps.progress(Label(what, number), |world| {
                    if let Some(record) = world.record_mut(recharge) {
                        set(record);
                    }
                });
            }
        };
        passes(
            bounds.deadlines && record.state == State::Charged && !record.credit_overdue,
            "CREDIT_DEADLINE passes by the recharger's clock, recharge",
            |record| record.credit_overdue = true,
        );
        passes(
            bounds.deadlines && record.state == State::Charged && !record.credit_overdue_at_ledger,
            "CREDIT_DEADLINE passes by the database's clock, recharge",
            |record| record.credit_overdue_at_ledger = true,
        );
        passes(
            bounds.deadlines && record.state == State::Credited && !record.sync_overdue,
            "SYNC_DEADLINE passes, recharge",
            |record| record.sync_overdue = true,
        );
        passes(
            record.state == State::ActionRequired && !record.confirm_overdue,
            "CONFIRM_DEADLINE passes, recharge",
            |record| record.confirm_overdue = true,
        );
        // Keys live an hour longer than we rely on them: nobody is in the middle of a call for that long.
        let asks = |task: &Task| matches!(task, Task::Charge { recharge: of, .. } if *of == recharge);
        if bounds.days && record.state == State::Pending && !record.is_old && !steps.world.tasks.iter().any(asks) {
            steps.progress(Label("a day passes, and Stripe forgets the keys of recharge", number), |world| {
                if let Some(record) = world.record_mut(recharge) {
                    record.is_old = true;
                }
                world.keys.retain(|(of, _), _| *of != recharge);
                world.late_charges.retain(|(of, _)| *of != recharge);
            });
        }
    }
    if steps.world.rests {
        steps.progress(Label("the rest after a decline is over", 0), |world| world.rests = false);
    }
}

/// The patrol looks at what is due (`patrol.rs`). Whether anything is planned at all, the recharger's [`next_look`] says.
pub(super) fn patrol(steps: &mut Steps<'_>) {
    if !steps.may_begin() {
        return;
    }
    for (number, record) in steps.world.records.iter().enumerate() {
        let Some(record) = record else { continue };
        let recharge = index(number);
        let taken = steps.world.tasks.iter().any(|task| match task {
            Task::Charge { input: None, recharge: of, .. }
            | Task::Cancel { recharge: of }
            | Task::Record { input: None, recharge: of, .. } => *of == recharge,
            Task::Say { said: Some(Said::Recharge(of, _)), .. } => *of == recharge,
            _ => false,
        });
        let label = Label("the patrol looks at recharge", number);
        if !taken && (record.unsaid || is_due(record)) {
            look(steps, label, recharge, record);
        }
        // Its money is going back although no refund is open.
        if record.state.is_giving_back() && !steps.world.is_promised(recharge) {
            steps.progress(Label("the patrol takes up what is owed of recharge", number), |world| {
                refunds::owe(world, recharge);
            });
        }
    }
}

fn is_due(record: &Record) -> bool {
    let past = |overdue: bool| Some(if overdue { now() } else { now() + HOUR });
    let times = Times {
        credit_by: past(record.credit_overdue),
        sync_by: past(record.sync_overdue),
        confirm_by: past(record.confirm_overdue),
        looks: 0,
    };
    let is_planned = next_look(record.state, &times, now()).is_some();
    let has_come = match record.state {
        State::Charged => record.credit_overdue,
        State::Credited => record.sync_overdue,
        _ => true,
    };
    is_planned && has_come
}

fn look(steps: &mut Steps<'_>, label: Label, recharge: u8, record: &Record) {
    let (state, intent) = (record.state, record.intent);
    let said = Some(Said::Recharge(recharge, state));
    match state {
        State::ActionRequired if record.confirm_overdue => {
            steps.progress(label, |world| world.tasks.push(Task::Cancel { recharge }));
        }
        State::Pending | State::Processing | State::ActionRequired => {
            steps.progress(label, |world| world.tasks.push(Task::Charge { input: None, recharge, intent }));
        }
        State::Charged if record.credit_overdue => {
            steps.progress(label, |world| give_back(world, recharge, Fact::CreditOverdue));
        }
        State::Credited if record.sync_overdue => {
            steps.progress(label, |world| give_back(world, recharge, Fact::SyncFailed));
        }
        _ => steps.progress(label, |world| {
            finish(world, None, says(recharge, state).into_iter().collect(), said);
        }),
    }
}
