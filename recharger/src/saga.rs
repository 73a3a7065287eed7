//! The saga of one recharge: its states, the facts that move it, and what follows at each move. Pure.
//!
//! Forward and undo stand side by side:
//!
//! | step | forward | when it can't be done | undo |
//! |---|---|---|---|
//! | charge | `Pending`, `Processing`, `ActionRequired` → `Charged` | `Declined`, `Failed` | nothing was captured |
//! | credit | `Charged → Credited` by the ledger | not before `CREDIT_DEADLINE` | `Refunding → Refunded`; the ledger voids the charge |
//! | sync | `Credited → Settled` by the syncer | not before `SYNC_DEADLINE`, or refused | `Refunding → Refunded`; the ledger reverses, the quota is pushed again |
//! | after the end | | a refund comes back, a charge turns up late | `Returning → Refunded`; nothing waits for it |
//!
//! A refund is a machine of its own ([`RefundStatus`]): a recharge may have several. An undo that fails is not an end: what
//! is still owed stays `Refunding` or `Returning`, and its refund is tried again, slowly, for ever.

/// Where a recharge is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum State {
    /// Claimed; nobody was charged yet, or nobody knows.
    Pending,
    /// Stripe will know later.
    Processing,
    /// The bank wants the customer: the same payment may succeed until the link ends.
    ActionRequired,
    /// The money is captured.
    Charged,
    /// The ledger booked it.
    Credited,
    /// The quota is in force: the end.
    Settled,
    /// The bank said no: an end.
    Declined,
    /// Nothing was captured and nothing will be: an end.
    Failed,
    /// The undo: the money is going back before anything else begins.
    Refunding,
    /// The money went back: an end.
    Refunded,
    /// The recharge had ended, and money is with us that should not be: it is going back, and nothing waits for it.
    Returning,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 11] = [
        Self::Pending,
        Self::Processing,
        Self::ActionRequired,
        Self::Charged,
        Self::Credited,
        Self::Settled,
        Self::Declined,
        Self::Failed,
        Self::Refunding,
        Self::Refunded,
        Self::Returning,
    ];

    /// The word that is stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Processing => "processing",
            Self::ActionRequired => "action_required",
            Self::Charged => "charged",
            Self::Credited => "credited",
            Self::Settled => "settled",
            Self::Declined => "declined",
            Self::Failed => "failed",
            Self::Refunding => "refunding",
            Self::Refunded => "refunded",
            Self::Returning => "returning",
        }
    }

    /// The state that a stored word names.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }

    /// Whether it is in flight: no other recharge of the organization may begin.
    #[must_use]
    pub const fn in_flight(self) -> bool {
        !matches!(self, Self::Settled | Self::Declined | Self::Failed | Self::Refunded | Self::Returning)
    }

    /// Whether nothing more is to be done about it: it is credited and in force, refunded, or was never captured.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Settled | Self::Declined | Self::Failed | Self::Refunded)
    }

    /// Whether money is captured and not given back.
    #[must_use]
    pub const fn holds_money(self) -> bool {
        matches!(self, Self::Charged | Self::Credited | Self::Settled | Self::Refunding | Self::Returning)
    }

    /// Whether what is left of the charge is owed to the customer.
    #[must_use]
    pub const fn is_giving_back(self) -> bool {
        matches!(self, Self::Refunding | Self::Returning)
    }

    /// Whether Stripe may still be asked to charge, or has not decided yet.
    #[must_use]
    pub const fn is_open_at_stripe(self) -> bool {
        matches!(self, Self::Pending | Self::Processing | Self::ActionRequired)
    }
}

/// What became known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fact {
    /// Stripe captured the money.
    ChargeSucceeded,
    /// Stripe will know later.
    ChargeProcessing,
    /// The bank said no, or Stripe refused.
    ChargeDeclined,
    /// The bank wants the customer.
    AuthenticationRequired,
    /// It is certain that nothing was captured.
    ChargeNeverHappened,
    /// The ledger booked it.
    Credited,
    /// The backend enforces a quota that contains it.
    InForce,
    /// The ledger has not booked it in time.
    CreditOverdue,
    /// The backend did not take the quota in time.
    SyncFailed,
    /// Nothing of the charge is left with us.
    MoneyBack,
    /// A refund that had worked was sent back by the bank; we owe it still.
    RefundReturned,
    /// A refund that somebody else had made of a recharge that had settled was sent back: it stands as before it.
    ForeignRefundReturned,
}

impl Fact {
    /// Every fact.
    pub const ALL: [Self; 12] = [
        Self::ChargeSucceeded,
        Self::ChargeProcessing,
        Self::ChargeDeclined,
        Self::AuthenticationRequired,
        Self::ChargeNeverHappened,
        Self::Credited,
        Self::InForce,
        Self::CreditOverdue,
        Self::SyncFailed,
        Self::MoneyBack,
        Self::RefundReturned,
        Self::ForeignRefundReturned,
    ];
}

/// What must be done at a move. What is said is said again whenever the fact is repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Command {
    /// Publish what the state says: `recharges.charged`, `.declined`, `.action_required`, `.settled`.
    Say,
    /// Open a refund of everything that is left.
    GiveBack,
}

/// Moves a recharge on. A repeated fact leaves it where it is and says the same again; a fact that comes too late does
/// nothing, except that captured money is never overlooked.
#[must_use]
pub fn advance(state: State, fact: Fact) -> (State, Option<Command>) {
    use Command::{GiveBack, Say};
    use State::{
        ActionRequired, Charged, Credited, Declined, Failed, Pending, Processing, Refunded, Refunding, Returning,
        Settled,
    };
    match (fact, state) {
        // Charge.
        (Fact::ChargeSucceeded, Pending | Processing | ActionRequired | Charged) => (Charged, Some(Say)),
        (Fact::ChargeProcessing, Pending | Processing | ActionRequired) => (Processing, None),
        (Fact::ChargeDeclined, Pending | Processing | ActionRequired | Declined) => (Declined, Some(Say)),
        (Fact::AuthenticationRequired, Pending | Processing | ActionRequired) => (ActionRequired, Some(Say)),
        (Fact::ChargeNeverHappened, Pending | Processing | Failed) => (Failed, Some(Say)),
        // A charge that turns up after we were certain that there was none: it goes back.
        (Fact::ChargeSucceeded, Declined | Failed) => (Returning, Some(GiveBack)),

        // Credit, and its undo.
        (Fact::Credited, Charged | Credited) => (Credited, None),
        (Fact::CreditOverdue, Charged) => (Refunding, Some(GiveBack)),

        // Sync, and its undo. The failure may be told before the credit.
        (Fact::InForce, Credited | Settled) => (Settled, Some(Say)),
        (Fact::SyncFailed, Charged | Credited) => (Refunding, Some(GiveBack)),

        // The undo's end, and what may come after it.
        (Fact::MoneyBack, Charged | Credited | Settled | Refunding | Returning) => (Refunded, None),
        // (A refund that is sent back opens the one that replaces it by itself.)
        (Fact::RefundReturned, Refunded) => (Returning, None),
        (Fact::ForeignRefundReturned, Refunded) => (Settled, None),

        (_, state) => (state, None),
    }
}

/// Where a refund is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RefundStatus {
    /// To be asked for; Stripe may have refused before.
    Requested,
    /// Stripe took it and will know later.
    Pending,
    /// The money went back. It may still come again.
    Succeeded,
    /// It did not work, for good: what is owed gets a refund of its own.
    Failed,
}

impl RefundStatus {
    /// Every status.
    pub const ALL: [Self; 4] = [Self::Requested, Self::Pending, Self::Succeeded, Self::Failed];

    /// The word that is stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Pending => "pending",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
        }
    }

    /// The status that a stored word names.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == word)
    }

    /// Whether it is owed or on its way: its amount is not free for another refund.
    #[must_use]
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Requested | Self::Pending)
    }
}

/// What became known of a refund.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RefundFact {
    /// Stripe definitely did not make it.
    Refused,
    /// Stripe took it.
    Accepted,
    /// The money went back.
    Done,
    /// Stripe, or the bank, gave it up.
    GivenUp,
    /// There is nothing left to refund: somebody else gave it back, or the payment itself failed.
    Moot,
}

/// What must be done about a refund.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RefundCommand {
    /// Publish `recharges.refunded`.
    SayRefunded,
    /// Publish `recharges.refund_failed` and raise the alarm; the same refund is asked for again later.
    AlarmAndRepeat,
    /// The same, and open a new refund of the same amount: this one will not work any more.
    AlarmAndReplace,
    /// Publish `recharges.refund_failed` again.
    SayFailed,
}

/// Moves a refund on.
#[must_use]
pub fn advance_refund(status: RefundStatus, fact: RefundFact) -> (RefundStatus, Option<RefundCommand>) {
    use RefundCommand::{AlarmAndRepeat, AlarmAndReplace, SayFailed, SayRefunded};
    use RefundStatus::{Failed, Pending, Requested, Succeeded};
    match (fact, status) {
        (RefundFact::Refused, Requested) => (Requested, Some(AlarmAndRepeat)),
        (RefundFact::Accepted, Requested | Pending) => (Pending, None),
        (RefundFact::Done, Requested | Pending | Succeeded) => (Succeeded, Some(SayRefunded)),
        // Stripe's word "failed" comes also after "succeeded".
        (RefundFact::GivenUp, Requested | Pending | Succeeded) => (Failed, Some(AlarmAndReplace)),
        (RefundFact::GivenUp, Failed) => (Failed, Some(SayFailed)),
        (RefundFact::Moot, Requested) => (Failed, None),
        (_, status) => (status, None),
    }
}

#[cfg(test)]
#[path = "saga_tests.rs"]
mod tests;
