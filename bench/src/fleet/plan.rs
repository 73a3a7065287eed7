//! When an organization is recharged, what starts it, and what becomes of it. Pure.

use chrono::Duration;
use common::clock::Timestamp;
use common::contract::{DisputeStage, TriggerKind};
use e2e::random::Random;

use super::profile::{Profile, drawn};

/// How many of the organizations after the first have something peculiar about their last recharge; each kind of it comes
/// again with every [`EVERY`]th organization.
pub(super) const PECULIAR: usize = 6;
const EVERY: usize = 20;

/// One recharge that is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Planned {
    pub(super) at: Timestamp,
    pub(super) trigger: TriggerKind,
    /// How much of the quota is left then, in minor units; below zero, more is used than there is.
    pub(super) left: i64,
    pub(super) fate: Fate,
}

/// What becomes of a recharge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It takes effect.
    Settles,
    /// It takes effect, and this much of a hundred goes back later, because somebody asks for it.
    GoesBack(i64),
    /// It takes effect and is disputed, which comes to this.
    Disputed(DisputeStage),
    /// The quota can't be raised, so that all of it goes back.
    NotInForce,
    /// The ledger does not book it in time, so that all of it goes back.
    NotCredited,
    /// As before, and Stripe has not made the refund yet.
    GoingBack,
    /// The bank says no; another time it may say yes.
    Declined,
    /// The bank says no for good.
    CardIsLost,
    /// Stripe never heard of it.
    Failed,
    /// Nobody knows what Stripe did, as yet.
    Pending,
    /// Stripe will know later.
    Processing,
    /// The customer has to confirm it.
    Confirming,
}

impl Fate {
    fn draw(random: &mut Random) -> Self {
        match random.below(100) {
            0..5 => Self::Declined,
            5 => Self::Failed,
            6 => Self::NotInForce,
            7 => Self::NotCredited,
            8..11 => Self::GoesBack(drawn(random, 10, 90)),
            11..13 => Self::GoesBack(100),
            13 => Self::Disputed(*random.pick(&[DisputeStage::Won, DisputeStage::Lost])),
            _ => Self::Settles,
        }
    }

    /// What is peculiar about the last recharge of some organizations.
    const fn of_the_last(number: usize) -> Option<Self> {
        match number % EVERY {
            1 => Some(Self::Confirming),
            2 => Some(Self::CardIsLost),
            3 => Some(Self::Disputed(DisputeStage::Opened)),
            4 => Some(Self::GoingBack),
            5 => Some(Self::Processing),
            PECULIAR => Some(Self::Pending),
            _ => None,
        }
    }

    const fn is_in_flight(self) -> bool {
        matches!(self, Self::GoingBack | Self::Pending | Self::Processing | Self::Confirming)
    }
}

/// The recharges of an organization, in the order of time.
pub(super) fn draw(
    profile: &Profile,
    number: usize,
    recharges: usize,
    now: Timestamp,
    random: &mut Random,
) -> Vec<Planned> {
    let count = i32::try_from(recharges).unwrap_or(i32::MAX);
    let from = profile.created_at + Duration::hours(1);
    let slot = (now - Duration::hours(3) - from) / count.max(1);
    let slot = Duration::milliseconds(slot.num_milliseconds());
    let mut plan: Vec<Planned> = (0..count)
        .map(|place| {
            let within = Duration::milliseconds(slot.num_milliseconds() / 100 * drawn(random, 20, 80));
            let nothing_yet = place == 0 && profile.adopted.is_none();
            let (trigger, left) = if nothing_yet { (TriggerKind::Manual, 0) } else { started_by(profile, random) };
            // Who begins with nothing begins with a recharge that works.
            let fate = if nothing_yet { Fate::Settles } else { Fate::draw(random) };
            Planned { at: from + slot * place + within, trigger, left, fate }
        })
        .collect();
    if number == 0 {
        // Somebody asks for one, and for all of it back: the longest chain there is.
        if let Some(some) = plan.get_mut(recharges / 2) {
            (some.trigger, some.fate) = (TriggerKind::Webhook, Fate::GoesBack(100));
        }
        if let Some(last) = plan.last_mut() {
            last.fate = Fate::Settles;
        }
    }
    if let (Some(last), Some(fate)) = (plan.last_mut(), Fate::of_the_last(number)) {
        last.fate = fate;
        if fate.is_in_flight() {
            last.at = now - Duration::minutes(drawn(random, 12, 50));
        }
    }
    plan
}

/// What starts a recharge, and how much is left then.
fn started_by(profile: &Profile, random: &mut Random) -> (TriggerKind, i64) {
    match random.below(10) {
        0 => (TriggerKind::Manual, profile.target.minor * drawn(random, 20, 60) / 100),
        1..4 => (TriggerKind::Sweep, profile.minimum_balance.minor * drawn(random, 10, 90) / 100),
        _ => (TriggerKind::Webhook, -(profile.target.minor * drawn(random, 0, 20) / 1_000)),
    }
}
