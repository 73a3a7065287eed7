//! How organizations stand: each with what an operator must know to see who needs him first.

mod cursor;
pub(crate) mod repo;
pub(crate) mod view;

use common::clock::Timestamp;
use common::ids::OrganizationId;
use common::money::Currency;
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

pub(crate) use cursor::{PATTERN as CURSOR, Position};

/// How much an organization needs a person. In this order; the first that applies. Which one applies is decided in
/// `repo.rs`, and nowhere else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Urgency {
    /// Its automatic recharge is paused.
    Paused,
    /// Its last recharge was declined or failed, and neither was another card saved nor a pause ended since; or a refund of
    /// it is open although Stripe refused it, or the bank sent it back.
    Failing,
    /// Its customer has to confirm a payment.
    ActionRequired,
    /// The quota backend does not have the ledger's quota yet.
    Behind,
    /// Less than its minimum is left, or nothing, and no recharge is on its way.
    Low,
    /// It is to be recharged by itself, and has no card.
    NoCard,
    /// It is not recharged by itself, or closed.
    Off,
    /// Nothing is to be done.
    Ok,
}

impl Urgency {
    /// The words of all, in order.
    pub(crate) const WORDS: [&'static str; 8] =
        ["paused", "failing", "action_required", "behind", "low", "no_card", "off", "ok"];
    const ALL: [Self; 8] =
        [Self::Paused, Self::Failing, Self::ActionRequired, Self::Behind, Self::Low, Self::NoCard, Self::Off, Self::Ok];

    fn parse(word: &str) -> Option<Self> {
        Self::WORDS.iter().zip(Self::ALL).find(|(known, _)| **known == word).map(|(_, urgency)| urgency)
    }
}

/// In what order organizations stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Who needs a person most comes first.
    Urgency,
    /// By their ids.
    Id,
    /// Who has least left comes first; of whom that is not known, last.
    Available,
}

impl Order {
    /// The words of all.
    pub(crate) const WORDS: [&'static str; 3] = ["urgency", "id", "available"];

    /// The word for it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Urgency => "urgency",
            Self::Id => "id",
            Self::Available => "available",
        }
    }

    pub(crate) fn parse(word: &str) -> Option<Self> {
        [Self::Urgency, Self::Id, Self::Available].into_iter().find(|order| order.as_str() == word)
    }
}

/// Which organizations are asked for.
pub(crate) struct Which<'a> {
    /// This one only.
    pub(crate) own: Option<&'a OrganizationId>,
    /// Those that are closed, too.
    pub(crate) closed_too: bool,
    /// A part of the organization's or the team's id, in small or capital letters.
    pub(crate) search: Option<&'a str>,
    /// Only of this urgency.
    pub(crate) only: Option<&'static str>,
    pub(crate) order: Order,
    /// Those that come after.
    pub(crate) after: Option<&'a Position>,
}

/// One organization.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Standing {
    pub(crate) organization: OrganizationId,
    team: Option<String>,
    currency: Currency,
    urgency: Urgency,
    quota: Decimal,
    synced_quota: Option<Decimal>,
    behind: bool,
    usage: Option<(Decimal, Timestamp)>,
    available: Option<Decimal>,
    minimum_balance: Decimal,
    target_balance: Decimal,
    auto_recharge_enabled: bool,
    has_payment_method: bool,
    card_brand: Option<String>,
    card_last4: Option<String>,
    closed_at: Option<Timestamp>,
    pause: Option<(Timestamp, Option<String>)>,
    refund_failing: bool,
    in_flight: Option<Stage>,
    last: Option<Stage>,
    /// Where it stands in the order that was asked for.
    pub(crate) position: Position,
}

/// A recharge, where it stands, and since when.
#[derive(Debug, Clone, PartialEq)]
struct Stage {
    recharge_id: Uuid,
    status: String,
    at: Timestamp,
}

/// A page of organizations, and how many of each urgency there are on all pages, in the order of the urgencies.
pub(crate) struct Found {
    pub(crate) counts: [i64; 8],
    pub(crate) standings: Vec<Standing>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn words() {
        for (word, urgency) in Urgency::WORDS.into_iter().zip(Urgency::ALL) {
            assert_eq!((json!(urgency), Urgency::parse(word)), (json!(word), Some(urgency)));
        }
        for word in Order::WORDS {
            assert_eq!(Order::parse(word).map(Order::as_str), Some(word));
        }
        assert_eq!((Urgency::parse("urgent"), Order::parse("")), (None, None));
    }
}
