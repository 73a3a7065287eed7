//! Answers in the words of the contract. Pure.

use common::clock::Timestamp;
use common::contract::{
    SimulatedDecisionV1, SimulatedRechargeV1, SimulatedReplayV1, SimulatedSkipV1, SkipReason, Would,
};
use common::money::{Currency, Money, decimal_to_number};
use rust_decimal::Decimal;
use serde_json::Number;

use crate::decide::{Decision, Plan, Trigger, rests_until};
use crate::simulate::{Beginning, Replay, Simulated};

/// What was decided, on what.
pub(super) struct Considered {
    pub(super) currency: Currency,
    pub(super) trigger: Trigger,
    /// When its usage was seen, where it was not given.
    pub(super) seen_at: Option<Timestamp>,
    /// The ledger's quota, if anything was booked.
    pub(super) ledger_quota: Option<Decimal>,
    pub(super) decision: Decision,
}

/// What was replayed; no outcome where no usage is known.
pub(super) struct Replayed {
    pub(super) currency: Currency,
    pub(super) asked_from: Timestamp,
    pub(super) to: Timestamp,
    /// In seconds.
    pub(super) resolution: i64,
    pub(super) outcome: Option<Outcome>,
}

/// What a replay came to, and what really happened.
pub(super) struct Outcome {
    pub(super) beginning: Beginning,
    /// At the beginning and at the end.
    pub(super) usage: (Decimal, Decimal),
    pub(super) snapshots: u64,
    pub(super) replay: Replay,
    pub(super) actual: Actual,
}

/// What really was recharged in that time, without what was refused or given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Actual {
    /// How often.
    pub(super) recharges: u64,
    /// How often because a person asked.
    pub(super) manual: u64,
    /// For how much quota.
    pub(super) amount: Money,
}

/// With the currency's decimals, and more where it has more.
fn padded(amount: Decimal, currency: Currency) -> Decimal {
    let mut amount = amount.normalize();
    if amount.scale() < currency.digits() {
        amount.rescale(currency.digits());
    }
    amount
}

fn number(amount: Decimal, currency: Currency) -> Number {
    decimal_to_number(padded(amount, currency))
}

fn fee(plan: &Plan) -> Money {
    Money::new(plan.total.minor - plan.amount.minor, plan.amount.currency)
}

fn priced(plan: &Plan) -> String {
    let fee = fee(plan);
    let fee = if fee.minor > 0 { format!(" and a fee of {fee}") } else { String::new() };
    let reduced = if plan.reduced { ", reduced by a cap" } else { "" };
    format!("{} would be charged for {} of quota{fee}{reduced}", plan.total, plan.amount)
}

pub(super) fn decision(considered: &Considered) -> SimulatedDecisionV1 {
    let Considered { currency, ref trigger, seen_at, ledger_quota, ref decision } = *considered;
    let (usage, quota) = match *trigger {
        Trigger::LimitExceeded { usage, limit, .. } => (Some(usage), limit),
        Trigger::LowBalance { usage, quota } => (Some(usage), quota),
        Trigger::Manual { .. } => (None, ledger_quota.unwrap_or_default()),
    };
    let with = padded(quota, currency);
    let on = match usage {
        Some(usage) => format!("Usage {} {currency}, quota {with} {currency}", padded(usage, currency)),
        None => format!("Quota {with} {currency}"),
    };
    let mut said = SimulatedDecisionV1 {
        would: Would::Skip,
        usage: usage.map(|usage| number(usage, currency)),
        usage_at: seen_at,
        quota: number(quota, currency),
        amount: None,
        fee: None,
        total_charge: None,
        new_quota: None,
        reduced: false,
        reason: None,
        until: None,
        message: String::new(),
    };
    match decision {
        Decision::Charge(plan) => {
            let new_quota = ledger_quota.unwrap_or(quota).saturating_add(plan.amount.to_decimal());
            said.would = Would::Charge;
            said.amount = Some(plan.amount.to_number());
            said.fee = Some(fee(plan).to_number());
            said.total_charge = Some(plan.total.to_number());
            said.new_quota = Some(number(new_quota, currency));
            said.reduced = plan.reduced;
            let becomes = padded(new_quota, currency);
            said.message = format!("{on}: {}; the quota becomes {becomes} {currency}.", priced(plan));
        }
        Decision::Skip(skip) => {
            said.reason = Some(skip.reason());
            said.message = format!("{on}: nothing would be charged: {skip}.");
        }
        Decision::Hold { until } => {
            said.would = Would::Hold;
            said.reason = Some(SkipReason::Cooldown);
            said.until = Some(*until);
            said.message = format!("{on}: nothing would be charged: {}.", rests_until(*until));
        }
    }
    said
}

fn recharge(simulated: &Simulated, currency: Currency) -> SimulatedRechargeV1 {
    SimulatedRechargeV1 {
        at: simulated.at,
        usage: number(simulated.usage, currency),
        quota_before: number(simulated.quota_before, currency),
        amount: simulated.plan.amount.to_number(),
        fee: fee(&simulated.plan).to_number(),
        total_charge: simulated.plan.total.to_number(),
        quota_after: number(simulated.quota_after, currency),
        reduced: simulated.plan.reduced,
    }
}

pub(super) fn replay(replayed: &Replayed) -> SimulatedReplayV1 {
    let Replayed { currency, asked_from, to, resolution, ref outcome } = *replayed;
    let nothing = Money::zero(currency).to_number();
    let mut said = SimulatedReplayV1 {
        asked_from,
        from: None,
        to,
        snapshots: 0,
        resolution_seconds: resolution.unsigned_abs(),
        starting_usage: None,
        ending_usage: None,
        starting_quota: None,
        ending_quota: None,
        recharges: 0,
        total_amount: nothing.clone(),
        total_charge: nothing.clone(),
        simulated: Vec::new(),
        truncated: false,
        skips: Vec::new(),
        actual_recharges: 0,
        actual_manual_recharges: 0,
        actual_amount: nothing,
        message: "Nobody has seen what was spent in that time.".to_owned(),
    };
    let Some(Outcome { beginning, usage, snapshots, replay, actual }) = outcome else { return said };
    let skips = replay.skips.iter().map(|(reason, skips)| SimulatedSkipV1 {
        reason: *reason,
        count: skips.count,
        first: skips.first,
        last: skips.last,
    });
    said.from = Some(beginning.at);
    said.snapshots = *snapshots;
    said.starting_usage = Some(number(usage.0, currency));
    said.ending_usage = Some(number(usage.1, currency));
    said.starting_quota = Some(number(beginning.quota, currency));
    said.ending_quota = Some(number(replay.quota, currency));
    said.recharges = replay.recharges;
    said.total_amount = replay.amount.to_number();
    said.total_charge = replay.total.to_number();
    said.simulated = replay.listed.iter().map(|simulated| recharge(simulated, currency)).collect();
    said.truncated = u64::try_from(replay.listed.len()).is_ok_and(|listed| listed < replay.recharges);
    said.skips = skips.collect();
    said.actual_recharges = actual.recharges;
    said.actual_manual_recharges = actual.manual;
    said.actual_amount = actual.amount.to_number();
    said.message = sentence(beginning.at, asked_from, replay, actual);
    said
}

fn sentence(from: Timestamp, asked_from: Timestamp, replay: &Replay, actual: &Actual) -> String {
    let since = if from > asked_from { ", before which usage is unknown" } else { "" };
    format!(
        "Since {from}{since}, there would have been {} recharges of {} in all, charging {}; really there were {} of {}.",
        replay.recharges, replay.amount, replay.total, actual.recharges, actual.amount
    )
}
