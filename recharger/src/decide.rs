//! Whether to charge, and how much. Pure: no I/O, no clock, no async; every outcome carries its numbers.

use std::fmt;

use common::clock::Timestamp;
use common::contract::SkipReason;
use common::ids::RechargeId;
use common::money::{FeePolicy, Money};
use rust_decimal::Decimal;

use crate::history::History;
use crate::policy::{Policy, TargetBasis};

/// So often one card may be refused in 30 days, over all organizations, before nobody tries it any more by itself.
/// Source: Visa's rule on excessive reattempts, 15 in 30 days.
pub const CARD_REFUSALS: u32 = 15;

/// The brake over all organizations: whether one recharge more may be claimed, after so many in the last minute.
#[must_use]
pub fn brake(recharges: u32, limit: u32) -> Option<Skip> {
    (recharges >= limit).then_some(Skip::FleetBrake { recharges, limit })
}

/// Why somebody thinks that a recharge is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trigger {
    /// A webhook says that the limit was exceeded.
    LimitExceeded {
        /// What was spent in total.
        usage: Decimal,
        /// The limit that was in force.
        limit: Decimal,
        /// By how much, as the sender says.
        exceeded_by: Option<Decimal>,
    },
    /// The sweep saw that little is left.
    LowBalance {
        /// What was spent in total.
        usage: Decimal,
        /// The quota in force.
        quota: Decimal,
    },
    /// A person asks.
    Manual {
        /// For so much.
        amount: Money,
    },
}

/// What to charge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// The quota that is bought.
    pub amount: Money,
    /// What is charged: amount and fee.
    pub total: Money,
    /// Whether a cap made it smaller than wanted.
    pub reduced: bool,
}

/// Why nothing is charged, with the numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Skip {
    /// No organization has this team.
    UnknownOrganization,
    /// Switched off.
    AutoRechargeDisabled,
    /// Paused.
    Paused {
        /// Why.
        reason: String,
    },
    /// No card is saved.
    NoPaymentMethod,
    /// The quota was raised since.
    AlreadyRecharged {
        /// The event's limit.
        limit: Decimal,
        /// The ledger's quota.
        quota: Decimal,
    },
    /// The event's own numbers say that nothing is exceeded, or low.
    NotExceeded {
        /// What was spent.
        usage: Decimal,
        /// What may be.
        limit: Decimal,
    },
    /// Another recharge has not ended.
    InFlight {
        /// Which.
        recharge_id: RechargeId,
    },
    /// The card was refused too often.
    CardExhausted {
        /// So often.
        refusals: u32,
        /// So often it may be.
        limit: u32,
    },
    /// Enough recharges in this minute, over all organizations.
    FleetBrake {
        /// So many there were.
        recharges: u32,
        /// So many there may be.
        limit: u32,
    },
    /// Enough recharges today.
    DailyLimitReached {
        /// So many there were.
        recharges: u32,
        /// So many there may be.
        limit: u32,
    },
    /// Enough money in this day or month.
    AmountLimitReached {
        /// What the caps leave.
        headroom: Money,
        /// The least that would be bought.
        minimum: Money,
    },
    /// Less than can be charged.
    AmountTooSmall {
        /// The total.
        total: Money,
        /// The least.
        minimum: Money,
    },
    /// More than can be charged.
    AmountTooLarge {
        /// The most.
        maximum: Money,
    },
}

/// What to do about a trigger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Charge.
    Charge(Plan),
    /// Don't.
    Skip(Skip),
    /// Not before `until`: a decline was too recent.
    Hold {
        /// When it may be tried again.
        until: Timestamp,
    },
}

impl Skip {
    /// The stable word.
    #[must_use]
    pub fn reason(&self) -> SkipReason {
        match self {
            Self::UnknownOrganization => SkipReason::UnknownOrganization,
            Self::AutoRechargeDisabled => SkipReason::AutoRechargeDisabled,
            Self::Paused { .. } | Self::CardExhausted { .. } => SkipReason::Paused,
            Self::FleetBrake { .. } => SkipReason::FleetBrake,
            Self::NoPaymentMethod => SkipReason::NoPaymentMethod,
            Self::AlreadyRecharged { .. } => SkipReason::AlreadyRecharged,
            Self::NotExceeded { .. } => SkipReason::NotActionable,
            Self::InFlight { .. } => SkipReason::InFlight,
            Self::DailyLimitReached { .. } => SkipReason::DailyLimitReached,
            Self::AmountLimitReached { .. } => SkipReason::AmountLimitReached,
            Self::AmountTooSmall { .. } => SkipReason::AmountTooSmall,
            Self::AmountTooLarge { .. } => SkipReason::AmountTooLarge,
        }
    }
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownOrganization => f.write_str("no organization has this team"),
            Self::AutoRechargeDisabled => f.write_str("automatic recharge is switched off"),
            Self::Paused { reason } => write!(f, "automatic recharge is paused: {reason}"),
            Self::NoPaymentMethod => f.write_str("no card is saved"),
            Self::AlreadyRecharged { limit, quota } => {
                write!(f, "the event's limit is {limit}, the quota is {quota} since")
            }
            Self::NotExceeded { usage, limit } => write!(f, "usage {usage} is below {limit}"),
            Self::InFlight { recharge_id } => write!(f, "recharge {recharge_id} has not ended yet"),
            Self::CardExhausted { refusals, limit } => {
                write!(
                    f,
                    "the card was refused {refusals} times in 30 days, at most {limit} are tried; save another card"
                )
            }
            Self::FleetBrake { recharges, limit } => {
                write!(
                    f,
                    "{recharges} recharges in the last minute over all organizations, at most {limit} are allowed"
                )
            }
            Self::DailyLimitReached { recharges, limit } => {
                write!(f, "{recharges} recharges today, at most {limit} are allowed")
            }
            Self::AmountLimitReached { headroom, minimum } => {
                write!(f, "the caps leave {headroom}, at least {minimum} would be bought")
            }
            Self::AmountTooSmall { total, minimum } => write!(f, "{total} is less than can be charged ({minimum})"),
            Self::AmountTooLarge { maximum } => write!(f, "more than can be charged at once ({maximum})"),
        }
    }
}

/// The sentence about [`Decision::Hold`].
#[must_use]
pub fn rests_until(until: Timestamp) -> String {
    format!("automatic recharge rests until {until}, because the last one did not work")
}

/// Whether so little is left that a recharge is wanted. What is used up to the last cent is low, also where no balance is to
/// be kept.
#[must_use]
pub fn is_low(policy: &Policy, usage: Decimal, quota: Decimal) -> bool {
    let available = quota.checked_sub(usage);
    available.is_none_or(|available| available <= Decimal::ZERO || available < policy.minimum_balance)
}

/// Decides. Skips are looked for in the order of SPEC section 3; a table of tests fixes it.
#[must_use]
pub fn decide(
    policy: Option<&Policy>,
    history: &History,
    trigger: &Trigger,
    fees: FeePolicy,
    now: Timestamp,
) -> Decision {
    let Some(policy) = policy else { return Decision::Skip(Skip::UnknownOrganization) };
    if let Some(obstacle) = obstacle(policy, history, trigger, now) {
        return obstacle;
    }
    match trigger {
        Trigger::Manual { amount } => price(*amount, false, fees),
        Trigger::LimitExceeded { .. } | Trigger::LowBalance { .. } => automatic(policy, history, trigger, fees),
    }
}

/// What stands in the way whatever the amount.
fn obstacle(policy: &Policy, history: &History, trigger: &Trigger, now: Timestamp) -> Option<Decision> {
    let automatic = !matches!(trigger, Trigger::Manual { .. });
    let skip = |skip| Some(Decision::Skip(skip));
    if automatic && !policy.auto_recharge_enabled {
        return skip(Skip::AutoRechargeDisabled);
    }
    if let Some(reason) = history.paused.as_ref().filter(|_| automatic) {
        return skip(Skip::Paused { reason: reason.clone() });
    }
    if policy.card.is_none() {
        return skip(Skip::NoPaymentMethod);
    }
    if let Some(settled) = settled_already(policy, history, trigger) {
        return skip(settled);
    }
    if let Some(recharge_id) = history.in_flight {
        return skip(Skip::InFlight { recharge_id });
    }
    if !automatic {
        return None;
    }
    if history.card_refusals >= CARD_REFUSALS {
        return skip(Skip::CardExhausted { refusals: history.card_refusals, limit: CARD_REFUSALS });
    }
    if let Some(until) = history.cooldown_until.filter(|until| *until > now) {
        return Some(Decision::Hold { until });
    }
    if history.recharges_today >= policy.max_daily_recharges {
        return skip(Skip::DailyLimitReached { recharges: history.recharges_today, limit: policy.max_daily_recharges });
    }
    None
}

/// Whether a newer fact has settled the matter: the quota is above the event's limit by now, or a recharge has answered
/// the crossing of this limit (where the sender's limit is not the ledger's quota, only the second tells). Usage equal to the limit counts as exceeded: LiteLLM refuses then.
fn settled_already(policy: &Policy, history: &History, trigger: &Trigger) -> Option<Skip> {
    match *trigger {
        Trigger::LimitExceeded { limit, .. }
            if limit < history.quota || history.answered_limit.is_some_and(|answered| limit <= answered) =>
        {
            Some(Skip::AlreadyRecharged { limit, quota: history.quota })
        }
        Trigger::LimitExceeded { usage, limit, .. } if usage < limit => Some(Skip::NotExceeded { usage, limit }),
        Trigger::LowBalance { quota, .. } if quota < history.quota => {
            Some(Skip::AlreadyRecharged { limit: quota, quota: history.quota })
        }
        Trigger::LowBalance { usage, quota } => {
            (!is_low(policy, usage, quota)).then_some(Skip::NotExceeded { usage, limit: quota })
        }
        Trigger::LimitExceeded { .. } | Trigger::Manual { .. } => None,
    }
}

/// The amount that policy and gap ask for, within the caps.
fn automatic(policy: &Policy, history: &History, trigger: &Trigger, fees: FeePolicy) -> Decision {
    let Some(wanted) = wanted(policy, trigger) else {
        return Decision::Skip(Skip::AmountTooLarge {
            maximum: Money::new(policy.currency.maximum_charge(), policy.currency),
        });
    };
    let headroom = [
        policy.max_daily_amount.map(|cap| cap.minor - history.amount_today.minor),
        policy.max_monthly_amount.map(|cap| cap.minor - history.amount_this_month.minor),
    ]
    .into_iter()
    .flatten()
    .min();
    match headroom {
        Some(headroom) if headroom < wanted.minor => {
            if headroom < policy.minimum_recharge.minor {
                let headroom = Money::new(headroom.max(0), policy.currency);
                return Decision::Skip(Skip::AmountLimitReached { headroom, minimum: policy.minimum_recharge });
            }
            let step = policy.currency.step();
            price(Money::new(headroom / step * step, policy.currency), true, fees)
        }
        _ => price(wanted, false, fees),
    }
}

/// `max(minimum, target − B, exceeded by)`, rounded up to what the currency can express. `None` when it can't be held.
fn wanted(policy: &Policy, trigger: &Trigger) -> Option<Money> {
    let (usage, limit, exceeded_by) = match *trigger {
        Trigger::LimitExceeded { usage, limit, exceeded_by } => (usage, limit, exceeded_by),
        Trigger::LowBalance { usage, quota } => (usage, quota, None),
        Trigger::Manual { .. } => return None,
    };
    let gap = usage.checked_sub(limit)?;
    let base = match policy.target_basis {
        TargetBasis::Quota => limit,
        TargetBasis::Available => -gap,
    };
    let wanted = policy
        .minimum_recharge
        .to_decimal()
        .max(policy.target_balance.checked_sub(base)?)
        .max(gap)
        .max(exceeded_by.unwrap_or(Decimal::ZERO));
    let money = Money::covering(wanted, policy.currency).ok()?;
    let step = policy.currency.step();
    let minor = money.minor.checked_add(step - 1)? / step * step;
    Some(Money::new(minor, policy.currency))
}

/// Adds the fee and looks at what can be charged at all.
fn price(amount: Money, reduced: bool, fees: FeePolicy) -> Decision {
    let maximum = Money::new(amount.currency.maximum_charge(), amount.currency);
    let minimum = Money::new(amount.currency.minimum_charge(), amount.currency);
    match fees.total_for(amount) {
        Some(total) if total.minor > maximum.minor => Decision::Skip(Skip::AmountTooLarge { maximum }),
        Some(total) if total.minor < minimum.minor || amount.minor <= 0 => {
            Decision::Skip(Skip::AmountTooSmall { total, minimum })
        }
        Some(total) => Decision::Charge(Plan { amount, total, reduced }),
        None => Decision::Skip(Skip::AmountTooLarge { maximum }),
    }
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
