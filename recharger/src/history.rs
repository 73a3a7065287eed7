//! What happened to an organization so far, as plain values.

use common::clock::Timestamp;
use common::ids::RechargeId;
use common::money::Money;
use rust_decimal::Decimal;

/// What a decision needs to know of the past.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    /// The ledger's quota.
    pub quota: Decimal,
    /// The highest limit whose crossing a recharge has answered, where the quota was not lowered again since.
    pub answered_limit: Option<Decimal>,
    /// The recharge that has not ended yet, if there is one.
    pub in_flight: Option<RechargeId>,
    /// Automatic recharges of this UTC day that were not refused.
    pub recharges_today: u32,
    /// What recharges of this UTC day cost, without those that were refused or given back.
    pub amount_today: Money,
    /// The same for this UTC month.
    pub amount_this_month: Money,
    /// Why automatic recharge is paused, if it is.
    pub paused: Option<String>,
    /// Until when it rests after a decline.
    pub cooldown_until: Option<Timestamp>,
    /// How often this very card was refused in the last 30 days, over all organizations.
    pub card_refusals: u32,
}

/// A pause as it was recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedPause {
    /// When.
    pub at: Timestamp,
    /// Why.
    pub reason: String,
    /// The card that caused it; none when a person did.
    pub payment_method_id: Option<String>,
}

/// The reason of a pause that still holds. A newer card, or a person who resumed after it, lifts it.
#[must_use]
pub fn pause_in_force(
    pause: Option<RecordedPause>,
    payment_method_id: Option<&str>,
    resumed_at: Option<Timestamp>,
) -> Option<String> {
    let pause = pause?;
    let resumed = resumed_at.is_some_and(|resumed| resumed >= pause.at);
    let another_card = pause.payment_method_id.as_deref().is_some_and(|card| Some(card) != payment_method_id);
    (!resumed && !another_card).then_some(pause.reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_holds_until_a_new_card_or_a_person_lifts_it() {
        let at = Timestamp::UNIX_EPOCH;
        let pause = |card: Option<&str>| {
            Some(RecordedPause { at, reason: "lost_card".to_owned(), payment_method_id: card.map(str::to_owned) })
        };
        let holds = Some("lost_card".to_owned());
        assert_eq!(pause_in_force(None, Some("pm_1"), None), None);
        assert_eq!(pause_in_force(pause(Some("pm_1")), Some("pm_1"), None), holds);
        assert_eq!(pause_in_force(pause(Some("pm_1")), Some("pm_2"), None), None);
        assert_eq!(pause_in_force(pause(Some("pm_1")), Some("pm_1"), Some(at - chrono::Duration::seconds(1))), holds);
        assert_eq!(pause_in_force(pause(Some("pm_1")), Some("pm_1"), Some(at)), None);
        assert_eq!(pause_in_force(pause(None), Some("pm_2"), None), holds);
    }
}
