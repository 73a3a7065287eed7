//! What to do at the backend. Pure.
//!
//! **First contact adopts, never lowers.** An organization that the backend knows with a quota before we ever wrote there
//! keeps it: the ledger books it as an opening credit, and only what the ledger says after that is pushed. The danger is
//! to take our own quota for somebody else's: a crash after a write and before it is recorded would adopt, and so give
//! away, what was paid for once. Therefore
//! - organizations are created with a quota of zero, which nobody would adopt, however often that is repeated;
//! - that there was nothing to adopt is committed ([`Action::Meet`]) *before* the first quota is written.
//!
//! One that is unlimited has no quota that could be kept, and any would take something away: a person must say with how much
//! it begins ([`Action::NameOpening`]), and that is adopted.

use common::clients::quota::Allowance;
use rust_decimal::Decimal;

/// How far we have got with an organization at the backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contact {
    /// Nothing was ever written there.
    Never,
    /// It has a quota of its own that the ledger has not booked yet.
    AwaitsOpening,
    /// What it has is ours to set.
    Established,
}

/// How the backend was met, as it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirstContact {
    /// It had no quota of its own.
    Created,
    /// It had one, and keeps it.
    Adopted,
}

impl FirstContact {
    /// The word that is stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Adopted => "adopted",
        }
    }

    /// Reads the stored word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "created" => Some(Self::Created),
            "adopted" => Some(Self::Adopted),
            _ => None,
        }
    }
}

impl Contact {
    /// From what is stored. An opening credit says that the target covers what the backend had, also when somebody
    /// else than we had it booked.
    #[must_use]
    pub const fn of(first: Option<FirstContact>, opening_seen: bool) -> Self {
        match (first, opening_seen) {
            (_, true) | (Some(FirstContact::Created), _) => Self::Established,
            (Some(FirstContact::Adopted), false) => Self::AwaitsOpening,
            (None, false) => Self::Never,
        }
    }
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Say (again) what was adopted, and write nothing: the target does not cover it yet.
    AwaitOpening,
    /// Keep the quota that the backend has.
    Adopt {
        /// The quota, as finely as the backend has it.
        quota: Decimal,
    },
    /// Write nothing: it is unlimited, and nobody has said with which quota it begins.
    NameOpening,
    /// Make the organization known.
    Create {
        /// With this quota.
        quota: Decimal,
    },
    /// Record that there is nothing to adopt, then decide again.
    Meet,
    /// Change the quota.
    Set {
        /// What it is.
        from: Allowance,
        /// What it shall be.
        to: Decimal,
    },
    /// Nothing to change.
    AlreadyThere,
}

/// Decides from the newest target, the contact so far, what the backend has (`None`: it does not know the organization), and
/// what a person named for one that is unlimited.
#[must_use]
pub fn decide(target: Decimal, contact: Contact, backend: Option<Allowance>, opening: Option<Decimal>) -> Action {
    match (contact, backend) {
        (Contact::AwaitsOpening, _) => Action::AwaitOpening,
        (Contact::Never | Contact::Established, None) => Action::Create { quota: Decimal::ZERO },
        (Contact::Never, Some(allowance)) => match allowance.limit().or(opening) {
            None => Action::NameOpening,
            Some(quota) if quota > Decimal::ZERO => Action::Adopt { quota },
            Some(_) => Action::Meet,
        },
        (Contact::Established, Some(allowance)) if allowance.is(target) => Action::AlreadyThere,
        (Contact::Established, Some(allowance)) => Action::Set { from: allowance, to: target },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(text: &str) -> Decimal {
        Decimal::from_str_exact(text).unwrap()
    }

    #[test]
    fn contacts() {
        use FirstContact::{Adopted, Created};
        for (first, opening_seen, want) in [
            (None, false, Contact::Never),
            (None, true, Contact::Established),
            (Some(Created), false, Contact::Established),
            (Some(Created), true, Contact::Established),
            (Some(Adopted), false, Contact::AwaitsOpening),
            (Some(Adopted), true, Contact::Established),
        ] {
            assert_eq!(Contact::of(first, opening_seen), want, "{first:?} {opening_seen}");
        }
        for first in [Created, Adopted] {
            assert_eq!(FirstContact::parse(first.as_str()), Some(first));
        }
    }

    #[test]
    fn actions() {
        use Contact::{AwaitsOpening, Established, Never};
        let create = Action::Create { quota: Decimal::ZERO };
        let set = |from, to| Action::Set { from: Allowance::Limited(decimal(from)), to: decimal(to) };
        for (target, contact, backend, want) in [
            // First contact: nothing is lowered, nothing is written but a zero.
            ("0", Never, None, create),
            ("500", Never, None, create),
            ("500", Never, Some("0"), Action::Meet),
            ("0", Never, Some("0.000"), Action::Meet),
            ("500", Never, Some("-1"), Action::Meet),
            ("500", Never, Some("0.001"), Action::Adopt { quota: decimal("0.001") }),
            ("500", Never, Some("100"), Action::Adopt { quota: decimal("100") }),
            ("500", Never, Some("500"), Action::Adopt { quota: decimal("500") }),
            ("0", Never, Some("9000"), Action::Adopt { quota: decimal("9000") }),
            // Until the opening is booked nothing is written, whatever the backend has.
            ("500", AwaitsOpening, None, Action::AwaitOpening),
            ("500", AwaitsOpening, Some("0"), Action::AwaitOpening),
            ("500", AwaitsOpening, Some("900"), Action::AwaitOpening),
            // After that the ledger rules, upwards and downwards.
            ("500", Established, None, create),
            ("500", Established, Some("0"), set("0", "500")),
            ("500", Established, Some("499.99"), set("499.99", "500")),
            ("500", Established, Some("600"), set("600", "500")),
            ("500.00", Established, Some("500"), Action::AlreadyThere),
            ("0", Established, Some("0.0"), Action::AlreadyThere),
        ] {
            let backend = backend.map(decimal).map(Allowance::Limited);
            for opening in [None, Some(decimal("70"))] {
                let got = decide(decimal(target), contact, backend, opening);
                assert_eq!(got, want, "target {target}, {contact:?}, backend {backend:?}, opening {opening:?}");
            }
        }
    }

    #[test]
    fn one_that_is_unlimited() {
        use Contact::{AwaitsOpening, Established, Never};
        let unlimited = Allowance::Unlimited;
        for (contact, opening, want) in [
            (Never, None, Action::NameOpening),
            (Never, Some("70"), Action::Adopt { quota: decimal("70") }),
            (Never, Some("0"), Action::Meet),
            (AwaitsOpening, Some("70"), Action::AwaitOpening),
            // What was adopted is the ledger's now, and whoever takes the budget away is somebody's hand.
            (Established, None, Action::Set { from: unlimited, to: decimal("500") }),
            (Established, Some("70"), Action::Set { from: unlimited, to: decimal("500") }),
        ] {
            let got = decide(decimal("500"), contact, Some(unlimited), opening.map(decimal));
            assert_eq!(got, want, "{contact:?}, opening {opening:?}");
        }
    }
}
