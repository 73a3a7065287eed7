//! What an event is to a story.

use common::contract::{
    Event, LedgerCreditedV1, LedgerReversedV1, LimitExceededV1, QuotaFailedV1, QuotaLowV1, QuotaSyncedV1,
    RechargeActionRequiredV1, RechargeChargedV1, RechargeDeclinedV1, RechargeRefundedV1, RechargeSettledV1,
    RechargeSkippedV1,
};

/// What a story needs to know of an event.
#[derive(Debug, Clone)]
pub(super) enum Fact {
    /// A webhook was accepted.
    Triggered(Event<LimitExceededV1>),
    /// The sweep, or a look that somebody asked for, saw that little is left.
    Low(Event<QuotaLowV1>),
    /// The card was charged.
    Charged(Event<RechargeChargedV1>),
    /// The ledger credited something.
    Credited(Event<LedgerCreditedV1>),
    /// The backend has the quota.
    InForce(Event<QuotaSyncedV1>),
    /// The recharge has taken effect.
    Settled(Event<RechargeSettledV1>),
    /// The card was declined.
    Declined(Event<RechargeDeclinedV1>),
    /// The bank wants the customer.
    ActionRequired(Event<RechargeActionRequiredV1>),
    /// Nothing was charged.
    Skipped(Event<RechargeSkippedV1>),
    /// The backend did not take the quota in time.
    QuotaFailed(Event<QuotaFailedV1>),
    /// Money went back.
    Refunded(Event<RechargeRefundedV1>),
    /// Money could not go back yet.
    RefundFailed,
    /// The ledger took something back.
    Reversed(Event<LedgerReversedV1>),
    /// A dead letter, or an event that can't be read: in no story.
    Broken,
    /// Not of interest to a story.
    Other,
}

impl Fact {
    /// Whether a chain in which nothing goes wrong has no such event.
    pub(super) fn is_setback(&self) -> bool {
        match self {
            Self::Declined(_)
            | Self::ActionRequired(_)
            | Self::Skipped(_)
            | Self::QuotaFailed(_)
            | Self::Refunded(_)
            | Self::RefundFailed
            | Self::Broken => true,
            Self::Triggered(_)
            | Self::Low(_)
            | Self::Charged(_)
            | Self::Credited(_)
            | Self::InForce(_)
            | Self::Settled(_)
            | Self::Reversed(_)
            | Self::Other => false,
        }
    }
}
