//! The kinds of disagreement.

/// What kind of disagreement a finding is: a stable word, the label of a metric, and a section of docs/RUNBOOK.md.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A payment names a recharge that nobody claimed
    ChargeUnknown,
    /// A recharge was charged, and Stripe does not show its payment
    ChargeMissing,
    /// A second payment names the same recharge
    ChargedTwice,
    /// Another amount, or currency, was paid than was ordered
    AmountDiffers,
    /// A payment succeeded, and its recharge does not say so
    ChargeNotRecorded,
    /// A recharge was charged, and its payment has not succeeded
    ChargeGone,
    /// More, or less, went back at Stripe than is recorded
    RefundNotRecorded,
    /// A dispute stands otherwise at Stripe than is recorded
    DisputeNotRecorded,
    /// A recharge says that it was credited, and its charge is not in the books
    NotBooked,
    /// A charge or a refund is booked otherwise than is recorded
    BookedWrongly,
    /// A charge or a void is in the books, and no record tells of it
    BookedUnknown,
    /// A refund, or that it came back, is not in the books
    RefundNotBooked,
    /// The books don't agree with themselves
    LedgerDrift,
    /// What was booked did not arrive at the syncer
    TargetBehind,
    /// The quota backend does not know the organization
    QuotaMissing,
    /// The quota backend has another quota than the ledger says
    QuotaDrift,
    /// What the quota backend has can't be read
    QuotaUnreadable,
    /// The quota backend names another team than is stored
    TeamMismatch,
    /// The quota backend zeroes what was spent, again and again
    UsageReset,
}

impl Kind {
    /// Every kind, in the order of the parts that find it.
    pub const ALL: [Self; 19] = [
        Self::ChargeUnknown,
        Self::ChargeMissing,
        Self::ChargedTwice,
        Self::AmountDiffers,
        Self::ChargeNotRecorded,
        Self::ChargeGone,
        Self::RefundNotRecorded,
        Self::DisputeNotRecorded,
        Self::NotBooked,
        Self::BookedWrongly,
        Self::BookedUnknown,
        Self::RefundNotBooked,
        Self::LedgerDrift,
        Self::TargetBehind,
        Self::QuotaMissing,
        Self::QuotaDrift,
        Self::QuotaUnreadable,
        Self::TeamMismatch,
        Self::UsageReset,
    ];

    /// The word that is stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ChargeUnknown => "charge_unknown",
            Self::ChargeMissing => "charge_missing",
            Self::ChargedTwice => "charged_twice",
            Self::AmountDiffers => "amount_differs",
            Self::ChargeNotRecorded => "charge_not_recorded",
            Self::ChargeGone => "charge_gone",
            Self::RefundNotRecorded => "refund_not_recorded",
            Self::DisputeNotRecorded => "dispute_not_recorded",
            Self::NotBooked => "not_booked",
            Self::BookedWrongly => "booked_wrongly",
            Self::BookedUnknown => "booked_unknown",
            Self::RefundNotBooked => "refund_not_booked",
            Self::LedgerDrift => "ledger_drift",
            Self::TargetBehind => "target_behind",
            Self::QuotaMissing => "quota_missing",
            Self::QuotaDrift => "quota_drift",
            Self::QuotaUnreadable => "quota_unreadable",
            Self::TeamMismatch => "team_mismatch",
            Self::UsageReset => "usage_reset",
        }
    }
}
