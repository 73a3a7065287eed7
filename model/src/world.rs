//! One organization with everything around it: what the sender, the broker, the database, Stripe and the KMS have, and who is
//! in the middle of what.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use common::clock::Timestamp;
use ledger::posting::{AccountKind, Booked};
use recharger::saga::{RefundFact, RefundStatus, State};

use crate::messages::{Cause, Consumer, Delivery, Message};
use crate::rules::{Bounds, Left};

/// What each recharge buys, in minor units.
pub(crate) const AMOUNT: i64 = 10_000;

/// Well before, or after, the moment at which everything happens.
pub(crate) const HOUR: Duration = Duration::from_secs(3600);

/// The moment at which everything happens; a deadline lies before it or after it.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_timestamp(1_800_000_000, 0).unwrap_or_default()
}

/// What is certain about a charge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Certain {
    /// Stripe has this payment intent, which stood so when Stripe was asked.
    Intent(u8, Bank),
    /// There is none, and there will be none.
    Never,
}

/// Somebody in the middle of something.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Task {
    /// Its effects are committed; it publishes, and then acknowledges, or tells the patrol that it is said.
    Say { input: Option<Delivery>, out: Vec<Message>, said: Option<Said> },
    /// It has decided to charge, and inserts the recharge next. Only where the claim holds no lock.
    Claim { input: Delivery, trigger: u8 },
    /// It asks Stripe for a charge, or what became of one whose payment intent it knows. The patrol has no input.
    Charge { input: Option<Delivery>, recharge: u8, intent: Option<u8> },
    /// It cancels a payment that waited for the customer.
    Cancel { recharge: u8 },
    /// It writes down what is certain.
    Record { input: Option<Delivery>, recharge: u8, certain: Certain },
    /// It asks Stripe for a refund, or what became of one.
    Refund { refund: u8 },
    /// It writes down what is certain of a refund, and Stripe's refund where there is one.
    Heard { refund: u8, made: Option<u8>, fact: RefundFact },
    /// It brings the KMS to a quota.
    Push { input: Option<Delivery>, cause: Cause, version: u8, pushed: u8, locked: bool, stage: Stage },
    /// It gives a message up.
    Park { input: Delivery },
}

/// What the patrol has said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Said {
    /// A recharge, which was in this state.
    Recharge(u8, State),
    /// A refund.
    Refund(u8),
}

/// How far a push is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// It is about to write.
    Write,
    /// It has written, and reads again.
    Verify,
    /// The KMS has what it should.
    Record,
}

/// A row of `recharge_records`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Record {
    pub(crate) state: State,
    pub(crate) intent: Option<u8>,
    pub(crate) ledger_version: Option<u8>,
    pub(crate) settled_by: Option<Message>,
    pub(crate) new_quota: Option<i64>,
    pub(crate) given_back: i64,
    /// It was moved, and nobody may have said so: the lease is still to end.
    pub(crate) unsaid: bool,
    /// `credit_by` has passed, by the recharger's clock and by the database's.
    pub(crate) credit_overdue: bool,
    pub(crate) credit_overdue_at_ledger: bool,
    pub(crate) sync_overdue: bool,
    pub(crate) confirm_overdue: bool,
    /// It is older than a day: Stripe has forgotten the key.
    pub(crate) is_old: bool,
    /// How many keys were used. More than one only where a rule is broken.
    pub(crate) keys: u8,
}

/// A row of `refunds`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Refund {
    pub(crate) recharge: u8,
    pub(crate) status: RefundStatus,
    /// Stripe's refund.
    pub(crate) made: Option<u8>,
    pub(crate) refusals: u8,
    pub(crate) was_tried: bool,
    pub(crate) was_refunded: bool,
    pub(crate) unsaid: bool,
}

/// How a payment intent stands at Stripe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Bank {
    Captured,
    Declined,
    WantsCustomer,
    Processing,
    Canceled,
}

/// A payment intent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Intent {
    pub(crate) recharge: u8,
    pub(crate) bank: Bank,
}

/// What Stripe answers to a key, for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Stored {
    /// The payment intent as it was then.
    Intent(u8, Bank),
    Error,
}

/// How a refund stands at Stripe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Made {
    Pending,
    Succeeded,
    Failed,
}

/// A ledger transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Transaction {
    pub(crate) recharge: u8,
    /// The first version of what was written together with it.
    pub(crate) first: u8,
    pub(crate) booked: Booked,
}

impl Hash for Transaction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.recharge, self.first).hash(state);
        self.booked.business_key.hash(state);
        self.booked.kind.as_str().hash(state);
        for entry in &self.booked.entries {
            (entry.account, entry.amount).hash(state);
        }
    }
}

/// A state of the whole system.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct World {
    // The sender.
    pub(crate) accepted: Vec<bool>,
    // The broker.
    pub(crate) published: BTreeSet<Message>,
    pub(crate) pending: BTreeSet<Delivery>,
    pub(crate) dead: BTreeSet<Delivery>,
    // Processes.
    pub(crate) tasks: Vec<Task>,
    // The recharger's tables.
    /// Of each trigger: whether it was decided to charge.
    pub(crate) decided: Vec<Option<bool>>,
    pub(crate) records: Vec<Option<Record>>,
    pub(crate) refunds: Vec<Refund>,
    /// The newest version of the ledger that the recharger knows, and the newest of which it knows that it is in force.
    pub(crate) known: u8,
    pub(crate) in_force: u8,
    pub(crate) rests: bool,
    // Stripe.
    pub(crate) intents: Vec<Intent>,
    pub(crate) keys: BTreeMap<(u8, u8), Stored>,
    pub(crate) late_charges: BTreeSet<(u8, u8)>,
    pub(crate) made: Vec<(u8, Made)>,
    pub(crate) refund_keys: BTreeMap<(u8, u8), bool>,
    pub(crate) late_refunds: BTreeSet<(u8, u8)>,
    // The ledger.
    pub(crate) books: Vec<Arc<Transaction>>,
    // The syncer's tables.
    /// The newest version that it knows, and the one that it has pushed last.
    pub(crate) target: u8,
    pub(crate) pushed: Option<u8>,
    pub(crate) recorded: BTreeMap<Cause, u8>,
    pub(crate) given_up: BTreeSet<u8>,
    // The KMS.
    pub(crate) kms: i64,
    pub(crate) kms_late: Option<i64>,
    // What the promises remember.
    pub(crate) broken_promise: Option<&'static str>,
    pub(crate) left: Left,
}

impl World {
    /// The beginning: an organization that was synced once, with a quota of nothing.
    pub(crate) fn new(bounds: &Bounds) -> Self {
        let triggers = bounds.limits.len();
        Self {
            accepted: vec![false; triggers],
            published: BTreeSet::new(),
            pending: BTreeSet::new(),
            dead: BTreeSet::new(),
            tasks: Vec::new(),
            decided: vec![None; triggers],
            records: vec![None; triggers],
            refunds: Vec::new(),
            known: 0,
            in_force: 0,
            rests: false,
            intents: Vec::new(),
            keys: BTreeMap::new(),
            late_charges: BTreeSet::new(),
            made: Vec::new(),
            refund_keys: BTreeMap::new(),
            late_refunds: BTreeSet::new(),
            books: Vec::new(),
            target: 0,
            pushed: None,
            recorded: BTreeMap::new(),
            given_up: BTreeSet::new(),
            kms: 0,
            kms_late: None,
            broken_promise: None,
            left: bounds.faults,
        }
    }

    /// Forgets what can't matter any more, so that states that differ only in that are one.
    pub(crate) fn forget(&mut self) {
        self.tasks.sort_unstable();
        if self.left.any == 0 {
            self.left = Left::default();
        }
        self.rests &= self.decided.contains(&None);
        let is_booked = |number: u8| self.books.iter().any(|transaction| transaction.recharge == number);
        let booked: Vec<bool> = (0..index(self.records.len())).map(is_booked).collect();
        for (record, booked) in self.records.iter_mut().zip(booked) {
            let Some(record) = record else { continue };
            record.credit_overdue &= record.state == State::Charged;
            record.credit_overdue_at_ledger &= !booked;
            record.sync_overdue &= record.state == State::Credited;
            record.confirm_overdue &= record.state == State::ActionRequired;
        }
        let Self {
            keys,
            late_charges,
            records,
            refund_keys,
            late_refunds,
            refunds,
            tasks,
            decided,
            published,
            pending,
            known,
            in_force,
            ..
        } = self;
        let is_known = |number: u8| {
            let asks = |task: &Task| matches!(task, Task::Charge { recharge, .. } if *recharge == number);
            let record = records.get(usize::from(number)).and_then(Option::as_ref);
            record.is_some_and(|record| record.intent.is_some()) && !tasks.iter().any(asks)
        };
        keys.retain(|key, _| !is_known(key.0) || late_charges.contains(key));
        // What the recharger would only learn, and nobody asks for any more.
        let waits = |record: &Record| {
            record.state.is_open_at_stripe() || matches!(record.state, State::Charged | State::Credited)
        };
        let unsaid = |number: usize, record: &Record| {
            record.state == State::Settled && !published.contains(&Message::Settled(index(number)))
        };
        let knows_all = !decided.contains(&None)
            && records
                .iter()
                .enumerate()
                .all(|(number, record)| record.as_ref().is_none_or(|record| !waits(record) && !unsaid(number, record)));
        if knows_all {
            (*known, *in_force) = (0, 0);
            pending.retain(|delivery| {
                let news =
                    matches!(delivery.message, Message::Booked(_) | Message::Synced(..) | Message::SyncFailed(_));
                !(delivery.to == Consumer::Recharger && news)
            });
        }
        let is_made = |number: u8| refunds.get(usize::from(number)).is_some_and(|row| row.made.is_some());
        refund_keys.retain(|key, _| !is_made(key.0) || late_refunds.contains(key));
    }

    /// The recharge of a trigger.
    pub(crate) fn record(&self, recharge: u8) -> Option<&Record> {
        self.records.get(usize::from(recharge)).and_then(Option::as_ref)
    }

    pub(crate) fn record_mut(&mut self, recharge: u8) -> Option<&mut Record> {
        self.records.get_mut(usize::from(recharge)).and_then(Option::as_mut)
    }

    pub(crate) fn refund(&self, refund: u8) -> Option<&Refund> {
        self.refunds.get(usize::from(refund))
    }

    /// Publishes: a message that is there already is known by its id.
    pub(crate) fn publish(&mut self, message: Message) {
        if self.published.insert(message) {
            self.pending.extend(message.consumers().iter().map(|to| Delivery { to: *to, message }));
        }
    }

    /// What a sum of the ledger's entries came to at a version.
    pub(crate) fn sum(&self, account: AccountKind, version: u8) -> i64 {
        self.books.iter().take(usize::from(version)).map(|transaction| transaction.booked.sum(account)).sum()
    }

    /// The ledger's newest version.
    pub(crate) fn version(&self) -> u8 {
        index(self.books.len())
    }

    /// The ledger's quota at a version.
    pub(crate) fn quota(&self, version: u8) -> i64 {
        self.sum(AccountKind::Balance, version)
    }

    /// How much Stripe holds of a recharge, by Stripe's own books.
    pub(crate) fn held(&self, recharge: u8) -> i64 {
        self.captures(recharge) * AMOUNT - self.returned(recharge)
    }

    /// How often Stripe captured money for a recharge.
    pub(crate) fn captures(&self, recharge: u8) -> i64 {
        let captured = |intent: &&Intent| intent.recharge == recharge && intent.bank == Bank::Captured;
        self.intents.iter().filter(captured).map(|_| 1).sum()
    }

    fn returned(&self, recharge: u8) -> i64 {
        let of = |refund: u8| self.refund(refund).is_some_and(|row| row.recharge == recharge);
        self.made.iter().filter(|(refund, made)| of(*refund) && *made == Made::Succeeded).map(|_| AMOUNT).sum()
    }

    /// Whether somebody works on a delivery.
    pub(crate) fn is_held(&self, delivery: Delivery) -> bool {
        self.tasks.iter().any(|task| task.input() == Some(delivery))
    }

    /// Whether somebody is about to give a delivery up.
    pub(crate) fn is_parking(&self, delivery: Delivery) -> bool {
        self.tasks.contains(&Task::Park { input: delivery })
    }

    /// Whether a refund of a recharge is open: its amount is not free for another.
    pub(crate) fn is_promised(&self, recharge: u8) -> bool {
        self.refunds.iter().any(|row| row.recharge == recharge && row.status.is_open())
    }

    /// Whether a push holds the lock.
    pub(crate) fn is_locked(&self) -> bool {
        self.tasks.iter().any(|task| matches!(task, Task::Push { locked: true, .. }))
    }
}

impl Task {
    /// The delivery that it works on.
    pub(crate) fn input(&self) -> Option<Delivery> {
        match self {
            Self::Say { input, .. }
            | Self::Charge { input, .. }
            | Self::Record { input, .. }
            | Self::Push { input, .. } => *input,
            Self::Claim { input, .. } | Self::Park { input } => Some(*input),
            Self::Cancel { .. } | Self::Refund { .. } | Self::Heard { .. } => None,
        }
    }
}

/// A count as a number of something.
pub(crate) fn index(count: usize) -> u8 {
    u8::try_from(count).unwrap_or(u8::MAX)
}
