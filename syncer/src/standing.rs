//! How an organization stands at the backend, against what the ledger wants. Pure.

use std::time::Duration;

use common::clients::quota::Allowance;
use common::clock::Timestamp;
use rust_decimal::Decimal;

use crate::plan::Contact;

/// What is recorded of an organization.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Book {
    /// How far we have got with it.
    pub contact: Contact,
    /// The newest that the ledger said.
    pub quota: Decimal,
    /// Its version.
    pub version: i64,
    /// The version that was last pushed.
    pub pushed_version: Option<i64>,
    /// When the ledger's newest arrived, where that is known.
    pub raised_at: Option<Timestamp>,
    /// It was met at another backend than the one that is asked now: what that has, nobody of ours has left there.
    pub elsewhere: bool,
}

/// How it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Neither was it met nor does the ledger want anything: it is left alone until somebody syncs it.
    Unmet,
    /// It has a quota of its own, which the ledger is to book.
    AwaitsOpening,
    /// The backend enforces the ledger's newest.
    InForce,
    /// The ledger's newest has just arrived, and its event is about to push it.
    UnderWay,
    /// It has to be pushed, or reported.
    Wrong(Wrong),
}

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrong {
    /// The ledger's newest was never pushed: its event was given up.
    Pending,
    /// It never arrived here.
    Behind,
    /// The backend does not know the organization any more.
    Missing,
    /// It has another quota than was left there, or none any more.
    Drift,
}

impl Wrong {
    /// The word that is stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Behind => "behind",
            Self::Missing => "missing",
            Self::Drift => "drift",
        }
    }

    /// Whether it is work of our own that is to be done, whatever is to be done about somebody's hand at the backend.
    pub const fn is_ours(self) -> bool {
        match self {
            Self::Pending | Self::Behind | Self::Missing => true,
            Self::Drift => false,
        }
    }

    /// Whether the backend does not have what was left there.
    pub const fn is_drift(self) -> bool {
        matches!(self, Self::Missing | Self::Drift)
    }
}

/// Compares. `backend` is what it has, `None` when it does not know the organization; `grace` is how long an event has to
/// push what it says.
pub fn standing(book: &Book, backend: Option<Allowance>, now: Timestamp, grace: Duration) -> Standing {
    match (book.contact, book.pushed_version) {
        (Contact::AwaitsOpening, _) => Standing::AwaitsOpening,
        (Contact::Never, _) | (Contact::Established, None) if book.version == 0 => Standing::Unmet,
        (Contact::Established, Some(pushed)) if pushed == book.version && !book.elsewhere => match backend {
            Some(allowance) if allowance.is(book.quota) => Standing::InForce,
            Some(_) => Standing::Wrong(Wrong::Drift),
            None => Standing::Wrong(Wrong::Missing),
        },
        _ if is_young(book.raised_at, now, grace) => Standing::UnderWay,
        _ => Standing::Wrong(Wrong::Pending),
    }
}

/// Whether what arrived then is still its event's business.
pub fn is_young(arrived: Option<Timestamp>, now: Timestamp, grace: Duration) -> bool {
    arrived.is_some_and(|arrived| (now - arrived).to_std().is_ok_and(|age| age < grace) || arrived > now)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(60);

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_timestamp(seconds, 0).unwrap()
    }

    #[test]
    fn how_it_stands() {
        use Contact::{AwaitsOpening, Established, Never};
        let decimal = |text: &str| Decimal::from_str_exact(text).unwrap();
        let (old, young) = (Some(at(0)), Some(at(941)));
        for (contact, version, pushed_version, raised_at, backend, want) in [
            (Never, 0, None, None, None, Standing::Unmet),
            (Never, 0, None, None, Some("9"), Standing::Unmet),
            (Established, 0, None, None, Some("0"), Standing::Unmet),
            (Never, 3, None, young, None, Standing::UnderWay),
            (Never, 3, None, old, None, Standing::Wrong(Wrong::Pending)),
            (Never, 3, None, None, Some("9"), Standing::Wrong(Wrong::Pending)),
            (AwaitsOpening, 3, None, old, Some("9"), Standing::AwaitsOpening),
            (AwaitsOpening, 0, None, None, None, Standing::AwaitsOpening),
            (Established, 3, Some(3), old, Some("500.00"), Standing::InForce),
            (Established, 3, Some(3), young, Some("500"), Standing::InForce),
            (Established, 3, Some(3), young, Some("499.99"), Standing::Wrong(Wrong::Drift)),
            (Established, 3, Some(3), old, Some("600"), Standing::Wrong(Wrong::Drift)),
            (Established, 3, Some(3), old, None, Standing::Wrong(Wrong::Missing)),
            (Established, 3, Some(2), young, Some("100"), Standing::UnderWay),
            (Established, 3, Some(2), Some(at(940)), Some("100"), Standing::Wrong(Wrong::Pending)),
            // Right by chance: it is pushed all the same, so that it is said.
            (Established, 3, Some(2), old, Some("500"), Standing::Wrong(Wrong::Pending)),
            (Established, 3, None, old, Some("100"), Standing::Wrong(Wrong::Pending)),
            // Another clock is ahead.
            (Established, 3, Some(2), Some(at(1_001)), Some("100"), Standing::UnderWay),
        ] {
            let book = Book { contact, quota: decimal("500"), version, pushed_version, raised_at, elsewhere: false };
            let backend = backend.map(decimal).map(Allowance::Limited);
            let got = standing(&book, backend, at(1_000), GRACE);
            assert_eq!(got, want, "{book:?}, backend {backend:?}");
            if backend.is_some() && want == Standing::InForce {
                let got = standing(&book, Some(Allowance::Unlimited), at(1_000), GRACE);
                assert_eq!(got, Standing::Wrong(Wrong::Drift));
            }
            // At another backend nothing is in force, and nothing is drift: it is for a push to look at.
            let got = standing(&Book { elsewhere: true, ..book }, backend, at(1_000), GRACE);
            let settled = matches!(want, Standing::InForce | Standing::Wrong(Wrong::Drift | Wrong::Missing));
            let moved = if raised_at == young { Standing::UnderWay } else { Standing::Wrong(Wrong::Pending) };
            assert_eq!(
                got,
                if settled { moved } else { want },
                "elsewhere, {contact:?}, {version}, {pushed_version:?}"
            );
        }
    }

    #[test]
    fn what_is_ours_is_pushed_and_what_is_drift_is_counted() {
        for (wrong, ours, drift) in [
            (Wrong::Pending, true, false),
            (Wrong::Behind, true, false),
            (Wrong::Missing, true, true),
            (Wrong::Drift, false, true),
        ] {
            assert_eq!((wrong.is_ours(), wrong.is_drift()), (ours, drift), "{}", wrong.as_str());
        }
    }
}
