//! Stripe, and the shell around it (`recharger/src/charge.rs`): what is certain after an answer, and what is not.

use super::recharger::certain;
use super::{Steps, end_task, go_on};
use crate::explore::Label;
use crate::messages::Delivery;
use crate::rules::Broken;
use crate::world::{Bank, Certain, Intent, Made, Stored, Task, World, index};

/// What the bank says; the words when Stripe's answer arrives, when it is lost, and when it is an error all the same.
const ANSWERS: [(Bank, &str, &str, &str); 4] = [
    (
        Bank::Captured,
        "Stripe captures recharge",
        "Stripe captures, and its answer is lost, recharge",
        "Stripe captures, and answers 500, recharge",
    ),
    (
        Bank::Declined,
        "the bank declines recharge",
        "the bank declines, and Stripe's answer is lost, recharge",
        "the bank declines, and Stripe answers 500, recharge",
    ),
    (
        Bank::WantsCustomer,
        "the bank wants the customer for recharge",
        "the bank wants the customer, and Stripe's answer is lost, recharge",
        "the bank wants the customer, and Stripe answers 500, recharge",
    ),
    (
        Bank::Processing,
        "the bank takes its time for recharge",
        "the bank takes its time, and Stripe's answer is lost, recharge",
        "the bank takes its time, and Stripe answers 500, recharge",
    ),
];

/// Asks for a charge, or reads what became of it. The patrol looks at Stripe's list when it has no clear answer; a message
/// comes again.
pub(super) fn charge(steps: &mut Steps<'_>, number: usize, input: Option<Delivery>, recharge: u8, known: Option<u8>) {
    let Some(record) = steps.world.record(recharge) else { return };
    let key = (recharge, record.keys);
    let about = usize::from(recharge);
    if let Some(intent) = known {
        steps.progress(Label("Stripe is asked for the payment intent of recharge", about), |world| {
            let found = read(world, intent);
            certain(world, number, input, recharge, found);
        });
        return;
    }
    if record.is_old {
        steps.progress(Label("Stripe's list is read, after a day, for recharge", about), |world| {
            let found = find(world, recharge).unwrap_or(Certain::Never);
            certain(world, number, input, recharge, found);
        });
        return;
    }
    match steps.world.keys.get(&key).copied() {
        Some(Stored::Intent(intent, bank)) => {
            steps.progress(Label("Stripe repeats its answer for recharge", about), |world| {
                certain(world, number, input, recharge, Certain::Intent(intent, bank));
            });
        }
        // A stored error: every request with this key had it, so the list tells all.
        Some(Stored::Error) => {
            steps.progress(Label("Stripe repeats its error, and its list is read, for recharge", about), |world| {
                let found = find(world, recharge).unwrap_or(Certain::Never);
                certain(world, number, input, recharge, found);
            });
        }
        None => ask(steps, number, input, recharge, key),
    }
}

fn ask(steps: &mut Steps<'_>, number: usize, input: Option<Delivery>, recharge: u8, key: (u8, u8)) {
    let about = usize::from(recharge);
    let bounds = steps.system.bounds;
    let may = |bank| match bank {
        Bank::Captured => true,
        Bank::Declined => bounds.declines,
        Bank::WantsCustomer | Bank::Processing => bounds.slow_bank,
        Bank::Canceled => false,
    };
    let broken = steps.system.broken;
    let unknown = move |world: &mut World| not_known(world, number, input, recharge, broken);
    for (bank, answered, lost, error) in ANSWERS.into_iter().filter(|(bank, ..)| may(*bank)) {
        steps.progress(Label(answered, about), |world| {
            let intent = intent(world, recharge, bank);
            world.keys.insert(key, Stored::Intent(intent, bank));
            certain(world, number, input, recharge, Certain::Intent(intent, bank));
        });
        steps.fault(
            |left| &mut left.lost,
            Label(lost, about),
            |world| {
                let intent = intent(world, recharge, bank);
                world.keys.insert(key, Stored::Intent(intent, bank));
                unknown(world);
            },
        );
        steps.fault(
            |left| &mut left.lost,
            Label(error, about),
            |world| {
                intent(world, recharge, bank);
                world.keys.insert(key, Stored::Error);
                unknown(world);
            },
        );
    }
    steps.fault(|left| &mut left.lost, Label("the request does not reach Stripe, for recharge", about), unknown);
    steps.fault(
        |left| &mut left.lost,
        Label("the request reaches Stripe later, for recharge", about),
        |world| {
            world.late_charges.insert(key);
            unknown(world);
        },
    );
    steps.fault(
        |left| &mut left.lost,
        Label("Stripe answers 500 and captures nothing, for recharge", about),
        |world| {
            world.keys.insert(key, Stored::Error);
            unknown(world);
        },
    );
}

/// Nobody knows. The patrol finds what is on the list; what is not there may still come.
fn not_known(world: &mut World, number: usize, input: Option<Delivery>, recharge: u8, broken: Option<Broken>) {
    if broken == Some(Broken::CompensateOnUnknown) {
        return certain(world, number, input, recharge, Certain::Never);
    }
    let found = if input.is_none() { find(world, recharge) } else { None };
    match found {
        Some(found) => certain(world, number, input, recharge, found),
        None => end_task(world, number),
    }
    if broken == Some(Broken::NewKeyAfterTimeout)
        && let Some(record) = world.record_mut(recharge)
    {
        record.keys += 1;
    }
}

/// The payment intent that carries the recharge's id.
fn find(world: &World, recharge: u8) -> Option<Certain> {
    world.intents.iter().position(|intent| intent.recharge == recharge).map(|intent| read(world, index(intent)))
}

/// A payment intent as it stands now.
fn read(world: &World, intent: u8) -> Certain {
    let bank = world.intents.get(usize::from(intent)).map(|intent| intent.bank);
    bank.map_or(Certain::Never, |bank| Certain::Intent(intent, bank))
}

fn intent(world: &mut World, recharge: u8, bank: Bank) -> u8 {
    world.intents.push(Intent { recharge, bank });
    index(world.intents.len() - 1)
}

/// Cancels a payment that waited for the customer: it may have succeeded meanwhile.
pub(super) fn cancel(steps: &mut Steps<'_>, number: usize, recharge: u8) {
    let Some(intent) = steps.world.record(recharge).and_then(|record| record.intent) else { return };
    steps.progress(Label("Stripe is asked to cancel recharge", recharge.into()), |world| {
        if let Some(found) = world.intents.get_mut(usize::from(intent))
            && found.bank == Bank::WantsCustomer
        {
            found.bank = Bank::Canceled;
        }
        let certain = read(world, intent);
        go_on(world, number, Task::Record { input: None, recharge, certain });
    });
}

/// What happens there without us: requests that were late arrive, the bank decides, the customer confirms, the bank sends a
/// refund back.
pub(super) fn by_itself(steps: &mut Steps<'_>) {
    for key in &steps.world.late_charges {
        let (key, about) = (*key, usize::from(key.0));
        steps.progress(Label("a late request reaches Stripe, for recharge", about), |world| {
            world.late_charges.remove(&key);
            if !world.keys.contains_key(&key) {
                let intent = intent(world, key.0, Bank::Captured);
                world.keys.insert(key, Stored::Intent(intent, Bank::Captured));
            }
        });
    }
    for key in &steps.world.late_refunds {
        let (key, about) = (*key, usize::from(key.0));
        steps.progress(Label("a late request reaches Stripe, for refund", about), |world| {
            world.late_refunds.remove(&key);
            if !world.refund_keys.contains_key(&key) {
                super::refunds::make(world, key, Made::Succeeded);
            }
        });
    }
    for (number, intent) in steps.world.intents.iter().enumerate() {
        let mut becomes = |what, bank| {
            steps.progress(Label(what, number), |world| {
                if let Some(intent) = world.intents.get_mut(number) {
                    intent.bank = bank;
                }
            });
        };
        match intent.bank {
            Bank::Processing => {
                becomes("the bank pays payment intent", Bank::Captured);
                becomes("the bank refuses payment intent", Bank::Declined);
            }
            Bank::WantsCustomer => becomes("the customer confirms payment intent", Bank::Captured),
            Bank::Captured | Bank::Declined | Bank::Canceled => {}
        }
    }
    for (number, (_, made)) in steps.world.made.iter().enumerate() {
        let set = move |becomes| {
            move |world: &mut World| {
                if let Some((_, made)) = world.made.get_mut(number) {
                    *made = becomes;
                }
            }
        };
        if *made == Made::Pending {
            steps.progress(Label("the bank takes Stripe's refund", number), set(Made::Succeeded));
        }
        if *made != Made::Failed {
            let label = Label("the bank sends back Stripe's refund", number);
            steps.fault(|left| &mut left.refund, label, set(Made::Failed));
        }
    }
}
