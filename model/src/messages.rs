//! Messages, by what makes their ids, and who consumes which.

/// A message, by what makes its id. Numbers are those of triggers, and so of recharges; of refunds; or of ledger versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Message {
    Trigger(u8),
    Skipped(u8),
    Declined(u8),
    ActionRequired(u8),
    Charged(u8),
    Settled(u8),
    Refunded(u8),
    /// The refund, and how often it was refused.
    RefundRefused(u8, u8),
    /// A refund that had worked came back.
    RefundReturned(u8),
    /// `ledger.credited` or `ledger.reversed`, by version.
    Booked(u8),
    /// The cause, and the version that is in force.
    Synced(Cause, u8),
    /// `quotas.failed`, by the version of its cause.
    SyncFailed(u8),
}

/// What asked for a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Cause {
    /// The ledger's booking of this version.
    Booked(u8),
    /// The sweep, for this version.
    Sweep(u8),
}

/// Who consumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Consumer {
    Recharger,
    Ledger,
    Syncer,
}

impl Message {
    /// Who consumes it. The others are for those who subscribe from outside.
    pub(crate) fn consumers(self) -> &'static [Consumer] {
        match self {
            Self::Trigger(_) | Self::Synced(..) | Self::SyncFailed(_) => &[Consumer::Recharger],
            Self::Charged(_) | Self::Refunded(_) | Self::RefundRefused(..) | Self::RefundReturned(_) => {
                &[Consumer::Ledger]
            }
            Self::Booked(_) => &[Consumer::Recharger, Consumer::Syncer],
            Self::Skipped(_) | Self::Declined(_) | Self::ActionRequired(_) | Self::Settled(_) => &[],
        }
    }
}

/// A message on its way to one consumer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Delivery {
    pub(crate) to: Consumer,
    pub(crate) message: Message,
}
