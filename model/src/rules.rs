//! What the model is asked to look at: how much may happen, and which rule is broken on purpose.

/// How much happens at most. The faults are shared by a budget, and each kind has one of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The limit of each webhook, in minor units: how much quota the team had when it crossed it.
    pub limits: &'static [i64],
    /// So many things may be on their way at once, over all replicas of all services.
    pub tasks: usize,
    /// What goes wrong.
    pub faults: Left,
    /// Whether the bank may want the customer, or take its time.
    pub slow_bank: bool,
    /// Whether the card may be declined.
    pub declines: bool,
    /// Whether a day may pass before a charge is certain, so that Stripe forgets its keys.
    pub days: bool,
    /// Whether deadlines may pass at any moment at which they run.
    pub deadlines: bool,
    /// Whether the syncer's sweep runs.
    pub sweep: bool,
}

/// How many faults of each kind are left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Left {
    /// In all.
    pub any: u8,
    /// A process dies between two effects.
    pub crash: u8,
    /// Stripe's answer is lost, before or after the effect, or is an error that is stored; or the request comes late.
    pub lost: u8,
    /// A message is brought once more although it was acknowledged, or beside the one who still works on it; or a lock is
    /// lost while its holder goes on.
    pub again: u8,
    /// A message is parked as a dead letter.
    pub park: u8,
    /// The KMS stays away until a push is given up, or a write arrives there after it was given up.
    pub kms: u8,
    /// Stripe refuses a refund, or the bank sends one back.
    pub refund: u8,
}

/// A rule that is broken on purpose, to see that the model would tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// A message is acknowledged before what follows from it is published.
    AcknowledgeBeforePublish,
    /// A charge whose answer was lost is asked for under another idempotency key.
    NewKeyAfterTimeout,
    /// The ledger books without looking whether it has booked the same before.
    CreditWithoutUniqueKey,
    /// The syncer pushes what its message says, not the newest that is known.
    PushWithoutVersionCheck,
    /// The claim reads and inserts without holding the organization's lock.
    ClaimWithoutLock,
    /// A charge of which nobody knows is taken for one that was never made.
    CompensateOnUnknown,
    /// A message that is given up is dropped first, and parked as a dead letter after that.
    ParkAfterDrop,
}

impl Broken {
    /// Every one.
    pub const ALL: [Self; 7] = [
        Self::AcknowledgeBeforePublish,
        Self::NewKeyAfterTimeout,
        Self::CreditWithoutUniqueKey,
        Self::PushWithoutVersionCheck,
        Self::ClaimWithoutLock,
        Self::CompensateOnUnknown,
        Self::ParkAfterDrop,
    ];
}
