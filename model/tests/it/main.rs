//! Every interleaving within bounds, and each rule broken once.

use std::fmt::Display;
use std::io::Write;

use model::explore::Report;
use model::{Bounds, Broken, Left, System, promises};

/// More states than any of these has: a test that comes so far has not seen all.
const MOST: usize = 30_000_000;

/// One webhook, and nothing that goes wrong.
const CALM: Bounds = Bounds {
    limits: &[0],
    tasks: 2,
    faults: Left { any: 0, crash: 0, lost: 0, again: 0, park: 0, kms: 0, refund: 0 },
    slow_bank: false,
    declines: false,
    days: false,
    deadlines: false,
    sweep: true,
};

/// Faults of every kind, so many in all.
const fn faults(any: u8) -> Left {
    Left { any, crash: any, lost: any, again: any, park: 1, kms: 1, refund: any }
}

/// Charging, with everything that bank and Stripe can do.
const CHARGING: Bounds =
    Bounds { faults: Left { kms: 0, refund: 0, ..faults(3) }, slow_bank: true, declines: true, days: true, ..CALM };
/// Two webhooks of one crossing, at two rechargers.
const BURST: Bounds = Bounds { limits: &[0, 0], ..CALM };
/// A second crossing after the first has settled: two versions at the syncer.
const CROSSINGS: Bounds = Bounds { limits: &[0, 10_000], ..CALM };
/// Deadlines that pass at any moment: the whole way back.
const UNDO: Bounds = Bounds { deadlines: true, ..CALM };

/// Deeper, for a machine with time: `BILL_MODEL=deep cargo test --release -p model`.
fn is_deep() -> bool {
    std::env::var("BILL_MODEL").is_ok_and(|depth| depth == "deep")
}

/// For the reader of a run, also of one that passes: the runner keeps what is printed by macros to itself.
fn tell(line: impl Display) {
    writeln!(std::io::stdout(), "model: {line}").unwrap_or_default();
}

fn explore(name: &str, bounds: Bounds) -> Report {
    let report = System { bounds, broken: None }.explore(MOST);
    tell(format_args!("{name}: {report}"));
    report
}

fn holds(name: &str, bounds: Bounds) {
    let report = explore(name, bounds);
    let violations: String = report.violations.iter().map(|violation| format!("\n{violation}")).collect();
    assert!(report.violations.is_empty(), "{name}:{violations}");
    assert!(report.is_complete, "{name}: more than {MOST} states");
    assert!(report.at_rest > 0, "{name} never comes to rest");
}

#[test]
fn nothing_goes_wrong() {
    for promise in promises() {
        tell(format_args!("promise: {promise}"));
    }
    holds("nothing goes wrong", CALM);
    holds("nothing goes wrong, two webhooks of one crossing", BURST);
    holds("nothing goes wrong, two crossings", CROSSINGS);
}

#[test]
fn charging_with_three_faults() {
    holds("charging, 3 faults", CHARGING);
}

#[test]
fn a_burst() {
    holds("a burst of two, 1 fault", Bounds { faults: faults(1), ..BURST });
    if is_deep() {
        holds("a burst of two, deadlines", Bounds { deadlines: true, ..BURST });
        holds("a burst of two, 2 faults", Bounds { faults: faults(2), ..BURST });
    }
}

#[test]
fn two_crossings() {
    holds("two crossings, 1 fault", Bounds { faults: faults(1), ..CROSSINGS });
    if is_deep() {
        holds("two crossings, deadlines", Bounds { deadlines: true, ..CROSSINGS });
        holds("two crossings, 2 faults", Bounds { faults: faults(2), ..CROSSINGS });
    }
}

#[test]
fn the_way_back() {
    holds("the way back, 1 fault", Bounds { faults: faults(1), ..UNDO });
    if is_deep() {
        holds("the way back, 2 faults", Bounds { faults: faults(2), ..UNDO });
        holds(
            "the way back, 2 faults, declines and slow banks",
            Bounds { faults: faults(2), declines: true, slow_bank: true, tasks: 1, ..UNDO },
        );
    }
}

/// The messages alone bring the quota: the sweep is a net, not a crutch.
#[test]
fn without_the_sweep() {
    let faults = Left { kms: 0, ..faults(1) };
    holds("without the sweep, two crossings, 1 fault", Bounds { faults, sweep: false, ..CROSSINGS });
    holds("without the sweep, the way back, 1 fault", Bounds { faults, sweep: false, ..UNDO });
}

/// What each broken rule breaks, within which bounds.
fn broken(rule: Broken) -> (Bounds, &'static str) {
    let one = Left { kms: 0, refund: 0, park: 0, ..faults(1) };
    match rule {
        Broken::AcknowledgeBeforePublish => {
            (Bounds { faults: one, ..CALM }, "at rest: every accepted webhook has an outcome, which was said")
        }
        Broken::NewKeyAfterTimeout => (Bounds { faults: one, ..CALM }, "one trigger is never captured twice"),
        Broken::CreditWithoutUniqueKey => (Bounds { faults: one, ..CALM }, "one charge is never credited twice"),
        Broken::PushWithoutVersionCheck => {
            (Bounds { faults: one, sweep: false, ..UNDO }, "at rest: the KMS' quota is the ledger's, never above it")
        }
        Broken::ClaimWithoutLock => (BURST, "two recharges never answer one crossing at once"),
        Broken::CompensateOnUnknown => (
            Bounds { faults: one, ..CALM },
            "no recharge has ended while money is captured that is neither credited and in force nor given back",
        ),
        Broken::ParkAfterDrop => (
            Bounds { faults: Left { park: 1, ..faults(2) }, ..CALM },
            "at rest: every accepted webhook has an outcome, which was said",
        ),
    }
}

#[test]
fn each_broken_rule_is_told() {
    for rule in Broken::ALL {
        let (bounds, promise) = broken(rule);
        holds(&format!("within the bounds of {rule:?}, unbroken"), bounds);
        let report = System { bounds, broken: Some(rule) }.explore(MOST);
        let found = report.violations.iter().find(|violation| violation.promise == promise);
        let promises: Vec<_> = report.violations.iter().map(|violation| violation.promise).collect();
        assert!(found.is_some(), "{rule:?} is not told; only {promises:?}");
        if let Some(violation) = found {
            tell(format_args!("BROKEN ON PURPOSE, {rule:?}: {report}, {promises:#?}\n{violation}"));
        }
    }
}
