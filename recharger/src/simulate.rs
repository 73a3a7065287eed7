//! What the policy would have charged: usage that was seen, replayed through `decide`. Pure.

use std::collections::BTreeMap;

use chrono::{Datelike, NaiveDate};
use common::clock::Timestamp;
use common::contract::{PolicyChangesV1, SkipReason, TargetBasisV1};
use common::money::{FeePolicy, Money, MoneyError};
use rust_decimal::Decimal;

use crate::decide::{Decision, Plan, Trigger, decide, is_low};
use crate::history::History;
use crate::policy::{Policy, TargetBasis};

/// So many simulated recharges are listed; the totals count all.
pub const LISTED: usize = 500;

/// What was seen at one or more looks that are close together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// When, at the last of them.
    pub at: Timestamp,
    /// What was spent in total, at most.
    pub usage: Decimal,
    /// How many looks it stands for. Each can lead to one recharge, as one look of the sweep does.
    pub looks: u32,
}

/// Where a replay begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beginning {
    /// When.
    pub at: Timestamp,
    /// The quota that was in force.
    pub quota: Decimal,
    /// What this day and this month had cost by then.
    pub spent: Spent,
}

/// What counts against the caps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spent {
    /// Automatic recharges of the UTC day.
    pub recharges_today: u32,
    /// What recharges of the UTC day cost.
    pub amount_today: Money,
    /// What recharges of the UTC month cost.
    pub amount_this_month: Money,
}

/// A recharge that there would have been.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Simulated {
    /// When.
    pub at: Timestamp,
    /// What was spent in total by then.
    pub usage: Decimal,
    /// The simulated quota before.
    pub quota_before: Decimal,
    /// What would have been charged.
    pub plan: Plan,
    /// The simulated quota after.
    pub quota_after: Decimal,
}

/// Looks at which little was left, and nothing would have been charged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Skips {
    /// How many.
    pub count: u64,
    /// The first.
    pub first: Timestamp,
    /// The last.
    pub last: Timestamp,
}

/// What a replay came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replay {
    /// The first recharges, oldest first, [`LISTED`] at most.
    pub listed: Vec<Simulated>,
    /// How many there would have been.
    pub recharges: u64,
    /// The quota that they would have bought.
    pub amount: Money,
    /// What they would have charged.
    pub total: Money,
    /// The simulated quota at the end.
    pub quota: Decimal,
    /// Why nothing was charged, where little was left.
    pub skips: BTreeMap<SkipReason, Skips>,
}

/// A policy with changes that are tried.
///
/// # Errors
/// The field and what is wrong with it.
pub fn changed(mut policy: Policy, changes: &PolicyChangesV1) -> Result<Policy, String> {
    let currency = policy.currency;
    let amount = |field: &str, amount: Decimal| {
        let wrong = |error: MoneyError| format!("{field}: {error}");
        let money = Money::from_decimal(amount, currency).map_err(wrong)?;
        if money.minor < 0 { Err(format!("{field} must not be negative")) } else { Ok(money) }
    };
    let limit = |field: &str, limit: Option<Decimal>| limit.map(|limit| amount(field, limit)).transpose();
    if let Some(enabled) = changes.auto_recharge_enabled {
        policy.auto_recharge_enabled = enabled;
    }
    if let Some(least) = changes.minimum_balance {
        policy.minimum_balance = amount("minimum_balance", least)?.to_decimal();
    }
    if let Some(target) = changes.target_balance {
        policy.target_balance = amount("target_balance", target)?.to_decimal();
    }
    if let Some(basis) = changes.target_basis {
        policy.target_basis = match basis {
            TargetBasisV1::Quota => TargetBasis::Quota,
            TargetBasisV1::Available => TargetBasis::Available,
        };
    }
    if let Some(least) = changes.minimum_recharge_amount {
        policy.minimum_recharge = amount("minimum_recharge_amount", least)?;
    }
    if let Some(most) = changes.max_daily_recharges {
        policy.max_daily_recharges = most;
    }
    if let Some(most) = changes.max_daily_amount {
        policy.max_daily_amount = limit("max_daily_amount", most)?;
    }
    if let Some(most) = changes.max_monthly_amount {
        policy.max_monthly_amount = limit("max_monthly_amount", most)?;
    }
    Ok(policy)
}

/// Replays what was seen, oldest first. Every charge works and is in force before the next look; nothing else changes the
/// quota. A pause, a cooldown and the brake over all organizations are of the present, and play no part in the past.
#[must_use]
pub fn replay(policy: &Policy, beginning: &Beginning, seen: &[Seen], fees: FeePolicy) -> Replay {
    let mut books = Books::open(policy, beginning);
    for look in seen {
        books.turn_to(look.at);
        let mut left = look.looks;
        while left > 0 && is_low(policy, look.usage, books.replay.quota) {
            let trigger = Trigger::LowBalance { usage: look.usage, quota: books.replay.quota };
            let why = match decide(Some(policy), &books.history(), &trigger, fees, look.at) {
                Decision::Charge(plan) => match books.charge(look, plan) {
                    Some(()) => {
                        left -= 1;
                        continue;
                    }
                    None => SkipReason::AmountTooLarge,
                },
                Decision::Skip(skip) => skip.reason(),
                Decision::Hold { .. } => SkipReason::Cooldown,
            };
            books.skip(look.at, why, left);
            break;
        }
    }
    books.replay
}

/// What a replay has come to so far.
struct Books {
    day: NaiveDate,
    spent: Spent,
    replay: Replay,
}

impl Books {
    fn open(policy: &Policy, beginning: &Beginning) -> Self {
        let nothing = Money::zero(policy.currency);
        let replay = Replay {
            listed: Vec::new(),
            recharges: 0,
            amount: nothing,
            total: nothing,
            quota: beginning.quota,
            skips: BTreeMap::new(),
        };
        Self { day: beginning.at.date_naive(), spent: beginning.spent, replay }
    }

    /// Another day, and another month, begins with nothing.
    fn turn_to(&mut self, at: Timestamp) {
        let day = at.date_naive();
        let nothing = Money::zero(self.replay.amount.currency);
        if (day.year(), day.month()) != (self.day.year(), self.day.month()) {
            self.spent.amount_this_month = nothing;
        }
        if day != self.day {
            self.spent.recharges_today = 0;
            self.spent.amount_today = nothing;
        }
        self.day = day;
    }

    fn history(&self) -> History {
        History {
            quota: self.replay.quota,
            answered_limit: None,
            in_flight: None,
            recharges_today: self.spent.recharges_today,
            amount_today: self.spent.amount_today,
            amount_this_month: self.spent.amount_this_month,
            paused: None,
            cooldown_until: None,
            card_refusals: 0,
        }
    }

    /// Books a charge. `None`, and nothing is booked, when the sums can't be held.
    fn charge(&mut self, look: &Seen, plan: Plan) -> Option<()> {
        let replay = &mut self.replay;
        let quota_after = replay.quota.checked_add(plan.amount.to_decimal())?;
        let spent = Spent {
            recharges_today: self.spent.recharges_today.checked_add(1)?,
            amount_today: self.spent.amount_today.checked_add(plan.amount)?,
            amount_this_month: self.spent.amount_this_month.checked_add(plan.amount)?,
        };
        let (amount, total) = (replay.amount.checked_add(plan.amount)?, replay.total.checked_add(plan.total)?);
        if replay.listed.len() < LISTED {
            let quota_before = replay.quota;
            replay.listed.push(Simulated { at: look.at, usage: look.usage, quota_before, plan, quota_after });
        }
        (self.spent, replay.amount, replay.total, replay.quota) = (spent, amount, total, quota_after);
        replay.recharges += 1;
        Some(())
    }

    fn skip(&mut self, at: Timestamp, reason: SkipReason, looks: u32) {
        let skips = self.replay.skips.entry(reason).or_insert(Skips { count: 0, first: at, last: at });
        skips.count += u64::from(looks);
        skips.last = at;
    }
}

#[cfg(test)]
#[path = "simulate_tests.rs"]
mod tests;
