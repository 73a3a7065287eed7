//! Published by `ledger`: what was booked. Public.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Payload;
use crate::ids::RechargeId;
use crate::money::Money;

/// What kind of business event a ledger transaction books.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PostingKind {
    /// A captured charge
    Charge,
    /// The quota that a backend already had when it was first met
    Opening,
    /// A correction by a person
    Adjustment,
    /// A refund
    Refund,
    /// An open dispute
    Hold,
    /// A dispute that was won: what was held is released
    Release,
    /// A dispute that was lost: what was held is gone
    DisputeLost,
    /// A refund that the bank sent back: it is as if it had not been
    RefundFailed,
    /// A charge that was given back before it was credited: it never will be
    Void,
}

impl PostingKind {
    /// The word that is stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Charge => "charge",
            Self::Opening => "opening",
            Self::Adjustment => "adjustment",
            Self::Refund => "refund",
            Self::Hold => "hold",
            Self::Release => "release",
            Self::DisputeLost => "dispute_lost",
            Self::RefundFailed => "refund_failed",
            Self::Void => "void",
        }
    }
}

/// The organization's quota grew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LedgerCreditedV1 {
    /// The ledger transaction
    pub transaction_id: Uuid,
    /// What it books
    pub posting: PostingKind,
    /// The recharge, if it is one
    pub recharge_id: Option<RechargeId>,
    /// By how much the quota grew
    pub amount: Money,
    /// The quota after it: credited − reversed
    pub quota: Money,
    /// Counts the organization's transactions; a higher one is newer
    pub ledger_version: i64,
}

impl Payload for LedgerCreditedV1 {
    const KIND: &'static str = "ledger.credited";
    const TYPE: &'static str = "bill.ledger.credited.v1";
    const PUBLISHER: &'static str = "ledger";
    const SUMMARY: &'static str = "The ledger credited an organization.";
}

/// The organization's quota shrank.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LedgerReversedV1 {
    /// The ledger transaction
    pub transaction_id: Uuid,
    /// What it books
    pub posting: PostingKind,
    /// The recharge that is reversed, if it is one
    pub recharge_id: Option<RechargeId>,
    /// By how much the quota shrank; not negative. For a lost dispute: what had been held, and is gone for good
    pub amount: Money,
    /// The quota after it
    pub quota: Money,
    /// Counts the organization's transactions; a higher one is newer
    pub ledger_version: i64,
}

impl Payload for LedgerReversedV1 {
    const KIND: &'static str = "ledger.reversed";
    const TYPE: &'static str = "bill.ledger.reversed.v1";
    const PUBLISHER: &'static str = "ledger";
    const SUMMARY: &'static str = "The ledger took quota back, after a refund, a lost dispute or a correction.";
}

/// Part of the balance is held, because a dispute is open.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LedgerHeldV1 {
    /// The ledger transaction
    pub transaction_id: Uuid,
    /// The recharge that is disputed
    pub recharge_id: Option<RechargeId>,
    /// How much is held; negative when it is released
    pub amount: Money,
    /// The quota after it
    pub quota: Money,
    /// Counts the organization's transactions; a higher one is newer
    pub ledger_version: i64,
}

impl Payload for LedgerHeldV1 {
    const KIND: &'static str = "ledger.held";
    const TYPE: &'static str = "bill.ledger.held.v1";
    const PUBLISHER: &'static str = "ledger";
    const SUMMARY: &'static str = "The ledger holds part of a balance, or releases it.";
}
