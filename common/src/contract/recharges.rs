//! Published by `recharger`: what became of each trigger. Public.

use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Payload;
use crate::clock::Timestamp;
use crate::ids::{EventId, RechargeId};
use crate::money::Money;

/// What started a recharge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TriggerKind {
    /// A signed limit-exceeded webhook
    Webhook,
    /// LiteLLM's own alert
    LitellmAlert,
    /// The sweep saw a low balance
    Sweep,
    /// A person asked
    Manual,
}

impl TriggerKind {
    /// The word that is stored as `triggered_by`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::LitellmAlert => "litellm_alert",
            Self::Sweep => "sweep",
            Self::Manual => "manual",
        }
    }

    /// The kind that a stored word names.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Webhook, Self::LitellmAlert, Self::Sweep, Self::Manual].into_iter().find(|kind| kind.as_str() == word)
    }
}

/// The card was charged. The ledger books it next.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RechargeChargedV1 {
    /// The recharge
    pub recharge_id: RechargeId,
    /// What started it
    pub triggered_by: TriggerKind,
    /// The event that started it
    pub trigger_event_id: EventId,
    /// The quota that was bought
    pub amount: Money,
    /// What the customer paid on top
    pub fee: Money,
    /// What was captured: amount + fee
    pub total_charge: Money,
    /// What the processor kept of it, when known
    pub processor_fee: Option<Money>,
    /// Stripe's payment intent
    pub payment_intent_id: String,
    /// Stripe's charge
    pub charge_id: Option<String>,
    /// When it was captured
    pub charged_at: Timestamp,
    /// Until when the ledger may credit it (`CREDIT_DEADLINE`); after that it is given back instead. Absent in events from before 2026-11-23
    #[serde(default)]
    pub credit_by: Option<Timestamp>,
}

impl Payload for RechargeChargedV1 {
    const KIND: &'static str = "recharges.charged";
    const TYPE: &'static str = "bill.recharge.charged.v1";
    const PUBLISHER: &'static str = "recharger";
    const SUMMARY: &'static str = "The saved card was charged.";
}

/// Whether repeating a declined charge can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeclineClass {
    /// The card will not work again: lost, stolen, expired
    Hard,
    /// It may work later: insufficient funds, processing error
    Soft,
    /// Stripe refused the request itself: a deleted payment method, an account that may not charge
    Refused,
}

impl DeclineClass {
    /// The word that is stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hard => "hard",
            Self::Soft => "soft",
            Self::Refused => "refused",
        }
    }

    /// The class that a stored word names.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Hard, Self::Soft, Self::Refused].into_iter().find(|class| class.as_str() == word)
    }
}

/// The card was declined; nothing changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RechargeDeclinedV1 {
    /// The recharge
    pub recharge_id: RechargeId,
    /// What started it
    pub triggered_by: TriggerKind,
    /// What was asked for
    pub amount: Money,
    /// Stripe's error code, such as `card_declined`
    pub code: String,
    /// The bank's reason, such as `insufficient_funds`
    pub decline_code: Option<String>,
    /// What the network advises, such as `do_not_try_again`
    pub advice_code: Option<String>,
    /// Whether repeating can help
    pub class: DeclineClass,
    /// A sentence for people
    pub message: String,
    /// Stripe's payment intent, when there is one
    pub payment_intent_id: Option<String>,
    /// Whether automatic recharge is paused because of it
    pub paused: bool,
}

impl Payload for RechargeDeclinedV1 {
    const KIND: &'static str = "recharges.declined";
    const TYPE: &'static str = "bill.recharge.declined.v1";
    const PUBLISHER: &'static str = "recharger";
    const SUMMARY: &'static str = "The card was declined; quota and ledger are unchanged.";
}

/// The bank wants the customer to confirm; nothing changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RechargeActionRequiredV1 {
    /// The recharge
    pub recharge_id: RechargeId,
    /// What started it
    pub triggered_by: TriggerKind,
    /// What was asked for
    pub amount: Money,
    /// A sentence for people
    pub message: String,
    /// Stripe's payment intent
    pub payment_intent_id: Option<String>,
    /// Where the customer confirms, when there is such a page
    pub confirmation_url: Option<String>,
    /// Until when that works; nothing is charged after it
    #[serde(default)]
    pub expires_at: Option<Timestamp>,
}

impl Payload for RechargeActionRequiredV1 {
    const KIND: &'static str = "recharges.action_required";
    const TYPE: &'static str = "bill.recharge.action_required.v1";
    const PUBLISHER: &'static str = "recharger";
    const SUMMARY: &'static str = "The bank wants the customer to confirm the charge.";
}

/// Why a trigger led to no charge, in order of precedence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SkipReason {
    /// No organization has this team
    UnknownOrganization,
    /// The organization switched it off
    AutoRechargeDisabled,
    /// Paused after declines, or by a person
    Paused,
    /// No card is saved
    NoPaymentMethod,
    /// The quota in force is above the event's limit, or the balance is not low
    AlreadyRecharged,
    /// Another recharge has not ended yet
    InFlight,
    /// A decline was too recent
    Cooldown,
    /// Enough recharges today
    DailyLimitReached,
    /// Enough money today or this month
    AmountLimitReached,
    /// Less than can be charged
    AmountTooSmall,
    /// More than can be charged at once
    AmountTooLarge,
    /// Enough recharges in this minute, over all organizations
    FleetBrake,
    /// Nothing is left to give back
    AlreadyRefunded,
    /// The event is recorded only
    NotActionable,
}

impl SkipReason {
    /// The stable word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UnknownOrganization => "unknown_organization",
            Self::AutoRechargeDisabled => "auto_recharge_disabled",
            Self::Paused => "paused",
            Self::NoPaymentMethod => "no_payment_method",
            Self::AlreadyRecharged => "already_recharged",
            Self::InFlight => "in_flight",
            Self::Cooldown => "cooldown",
            Self::DailyLimitReached => "daily_limit_reached",
            Self::AmountLimitReached => "amount_limit_reached",
            Self::AmountTooSmall => "amount_too_small",
            Self::AmountTooLarge => "amount_too_large",
            Self::FleetBrake => "fleet_brake",
            Self::AlreadyRefunded => "already_refunded",
            Self::NotActionable => "not_actionable",
        }
    }
}

/// A trigger that led to no charge, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RechargeSkippedV1 {
    /// The trigger
    pub trigger_event_id: EventId,
    /// What kind of trigger
    pub triggered_by: TriggerKind,
    /// Why
    pub reason: SkipReason,
    /// The numbers behind it, as a sentence for people
    pub detail: String,
    /// The recharge that is in the way, if one is
    pub recharge_id: Option<RechargeId>,
}

impl Payload for RechargeSkippedV1 {
    const KIND: &'static str = "recharges.skipped";
    const TYPE: &'static str = "bill.recharge.skipped.v1";
    const PUBLISHER: &'static str = "recharger";
    const SUMMARY: &'static str = "A trigger led to no charge.";
}

/// Why money goes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RefundCause {
    /// The ledger did not credit it in time
    CreditOverdue,
    /// The backend did not take the quota in time
    SyncFailed,
    /// A person asked
    Requested,
    /// Somebody refunded it at Stripe
    Dashboard,
    /// The payment failed after it had succeeded: the bank took the money back
    PaymentFailed,
}

impl RefundCause {
    /// Every cause.
    pub const ALL: [Self; 5] =
        [Self::CreditOverdue, Self::SyncFailed, Self::Requested, Self::Dashboard, Self::PaymentFailed];

    /// The word that is stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CreditOverdue => "credit_overdue",
            Self::SyncFailed => "sync_failed",
            Self::Requested => "requested",
            Self::Dashboard => "dashboard",
            Self::PaymentFailed => "payment_failed",
        }
    }

    /// The cause that a stored word names.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cause| cause.as_str() == word)
    }
}

/// Money went back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RechargeRefundedV1 {
    /// The recharge
    pub recharge_id: RechargeId,
    /// Stripe's refund
    pub refund_id: String,
    /// The quota that goes with it
    pub amount: Money,
    /// What the customer got back
    pub total_refunded: Money,
    /// Whether the recharger knew that the ledger had credited the recharge; the ledger's own books decide
    pub was_credited: bool,
    /// Why, as a sentence
    pub reason: String,
    /// Why, as a stable word. Absent in events from before 2026-11-23
    #[serde(default)]
    pub cause: Option<RefundCause>,
    /// Whether nothing of the charge is left with us now: a charge that is not booked yet must then never be credited
    #[serde(default)]
    pub charge_fully_refunded: bool,
    /// What was captured in total
    #[serde(default)]
    pub total_charge: Option<Money>,
    /// What the processor kept of the charge, when known; it is not given back
    #[serde(default)]
    pub processor_fee: Option<Money>,
}

impl Payload for RechargeRefundedV1 {
    const KIND: &'static str = "recharges.refunded";
    const TYPE: &'static str = "bill.recharge.refunded.v1";
    const PUBLISHER: &'static str = "recharger";
    const SUMMARY: &'static str = "A captured charge was given back.";
}

/// A refund did not work; it is tried again until it does or a person decides.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RechargeRefundFailedV1 {
    /// The recharge
    pub recharge_id: RechargeId,
    /// What was to be given back
    pub total: Money,
    /// Stripe's reason
    pub reason: String,
    /// How often it was tried
    pub attempts: u32,
    /// Stripe's refund, where one was made
    #[serde(default)]
    pub refund_id: Option<String>,
    /// The quota that goes with it
    #[serde(default)]
    pub amount: Option<Money>,
    /// Whether this refund had been told as done: the bank sent it back later, and the books must take it back
    #[serde(default)]
    pub was_refunded: bool,
}

impl Payload for RechargeRefundFailedV1 {
    const KIND: &'static str = "recharges.refund_failed";
    const TYPE: &'static str = "bill.recharge.refund_failed.v1";
    const PUBLISHER: &'static str = "recharger";
    const SUMMARY: &'static str = "A refund did not work yet.";
}

/// The recharge has taken effect: charged, booked, and in force at the backend.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RechargeSettledV1 {
    /// The recharge
    pub recharge_id: RechargeId,
    /// What started it
    pub triggered_by: TriggerKind,
    /// The quota that was bought
    pub amount: Money,
    /// What the customer paid on top
    pub fee: Money,
    /// What was captured
    pub total_charge: Money,
    /// Stripe's payment intent
    pub payment_intent_id: String,
    /// The quota that is in force now
    #[schemars(with = "String")]
    pub new_quota: Decimal,
    /// The ledger's version of the organization that the backend has
    pub ledger_version: i64,
}

impl Payload for RechargeSettledV1 {
    const KIND: &'static str = "recharges.settled";
    const TYPE: &'static str = "bill.recharge.settled.v1";
    const PUBLISHER: &'static str = "recharger";
    const SUMMARY: &'static str = "A recharge has taken effect: charged, booked, and in force at the backend.";
}

/// How a dispute stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DisputeStage {
    /// The bank took the money until it is decided
    Opened,
    /// The money came back
    Won,
    /// The money is gone
    Lost,
}

impl DisputeStage {
    /// The word that is stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Won => "won",
            Self::Lost => "lost",
        }
    }

    /// The stage that a stored word names.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Opened, Self::Won, Self::Lost].into_iter().find(|stage| stage.as_str() == word)
    }
}

/// A customer disputes a charge at the bank, or that was decided.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RechargeDisputedV1 {
    /// The recharge
    pub recharge_id: RechargeId,
    /// Stripe's dispute
    pub dispute_id: String,
    /// How it stands
    pub stage: DisputeStage,
    /// The quota that goes with what is disputed
    pub amount: Money,
    /// What is disputed of the charge
    pub total: Money,
    /// The bank's reason, such as `fraudulent`
    pub reason: String,
}

impl Payload for RechargeDisputedV1 {
    const KIND: &'static str = "recharges.disputed";
    const TYPE: &'static str = "bill.recharge.disputed.v1";
    const PUBLISHER: &'static str = "recharger";
    const SUMMARY: &'static str = "A charge is disputed, or the dispute was decided.";
}
