//! What is booked of one recharge already, and what follows from it. Pure.

use common::clock::Timestamp;
use common::contract::PostingKind;
use common::ids::RechargeId;

use super::{AccountKind, Entry, Posting, charge_key};

/// A transaction as it stands in the books.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Booked {
    /// The business event
    pub business_key: String,
    /// What kind of business event
    pub kind: PostingKind,
    /// The lines
    pub entries: Vec<Entry>,
}

impl Booked {
    /// What its lines on an account sum to.
    #[must_use]
    pub fn sum(&self, account: AccountKind) -> i64 {
        sum(&self.entries, account)
    }
}

/// What lines on an account sum to.
pub(super) fn sum(entries: &[Entry], account: AccountKind) -> i64 {
    entries.iter().filter(|entry| entry.account == account).fold(0, |sum, entry| sum.saturating_add(entry.amount))
}

/// All that is booked of one recharge, read under the organization's posting lock: it stays so until the decision is
/// committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RechargeBooks {
    /// The recharge
    pub recharge_id: RechargeId,
    /// The database's time
    pub now: Timestamp,
    /// Its transactions
    pub booked: Vec<Booked>,
}

impl RechargeBooks {
    /// The transaction of a business event.
    #[must_use]
    pub fn find(&self, business_key: &str) -> Option<&Booked> {
        self.booked.iter().find(|booked| booked.business_key == business_key)
    }

    /// How its charge stands.
    #[must_use]
    pub fn charge(&self) -> Charge<'_> {
        match self.find(&charge_key(self.recharge_id)) {
            None => Charge::Unbooked,
            Some(booked) if booked.kind == PostingKind::Void => Charge::Voided(booked),
            Some(booked) => Charge::Credited(booked),
        }
    }
}

/// How a recharge's charge stands in the books.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Charge<'a> {
    /// Not at all: it may still be credited
    Unbooked,
    /// It was credited
    Credited(&'a Booked),
    /// It was given back before it was credited, and never will be
    Voided(&'a Booked),
}

/// What an event does to the books as they stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// These are posted, in this order, all or none
    Post(Vec<Posting>),
    /// It was decided before: what was written then is said again
    Again {
        /// The transaction
        business_key: String,
        /// What came now, where that is something else than was booked
        contradicts: Option<String>,
    },
    /// There is nothing to book, and why
    Nothing(String),
    /// Something that must be booked before is not there yet, and what
    NotYet(String),
    /// It is too late to book it, and why
    TooLate(String),
}

impl Decision {
    /// What is said when `posting` comes and `booked` is there.
    pub(super) fn again(booked: &Booked, posting: &Posting) -> Self {
        let same = booked.entries == posting.entries;
        let contradicts = (!same).then(|| posting.description.clone());
        Self::Again { business_key: booked.business_key.clone(), contradicts }
    }

    /// What is said when the transaction is there, whatever the event says now.
    pub(super) fn decided(business_key: &str) -> Self {
        Self::Again { business_key: business_key.to_owned(), contradicts: None }
    }
}
