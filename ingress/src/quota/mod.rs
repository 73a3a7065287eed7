//! Earlier settings of quotas, and putting one back.

pub(crate) mod repo;

use common::ids::EventId;
use repo::Correction;

use crate::events::view::QuotaStatus;

/// What whoever asked for a correction is told that was refused.
pub(crate) const REFUSED: &str =
    "Something else was booked meanwhile, so nothing was; look at the quota and ask again with a new key";

/// How far a correction got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is on its way to the ledger, or got lost before the broker had it.
    Asked,
    /// The ledger has it.
    Booked,
    /// The books have changed before it could be booked: it never will be.
    Refused,
}

impl Correction {
    /// How far it got. The ledger books it only beside the version that it was worked out from, and versions only grow: so
    /// nobody has to say that it was refused.
    pub(crate) fn fate(&self) -> Fate {
        let basis = self.asked.rsplit_once(" at ").and_then(|(_, basis)| basis.parse::<i64>().ok());
        match basis {
            _ if self.booked_at.is_some() => Fate::Booked,
            Some(basis) if basis < self.newest && !self.is_only_pushed() => Fate::Refused,
            _ => Fate::Asked,
        }
    }

    /// Where it got to, as far as the books tell.
    pub(crate) fn status(&self, id: &EventId) -> Option<QuotaStatus> {
        let (state, at, message) = match self.fate() {
            Fate::Asked => return None,
            Fate::Booked => ("booked", self.booked_at, None),
            Fate::Refused => ("refused", None, Some(REFUSED.to_owned())),
        };
        let c_organization_id = self.c_organization_id.clone();
        Some(QuotaStatus { event_id: id.clone(), state, c_organization_id, at, message })
    }

    /// Whether the quota was what it should be: then nothing is booked, and it is only pushed again.
    fn is_only_pushed(&self) -> bool {
        self.asked.contains(" by 0 at ")
    }
}

#[cfg(test)]
mod tests {
    use common::clock::Timestamp;

    use super::*;

    #[test]
    fn what_the_books_tell_of_a_correction() {
        let fate = |asked: &str, booked: bool, newest| {
            let at = Timestamp::UNIX_EPOCH;
            let asked = format!("POST /organizations/acme/quota/restore 3 {asked}");
            let (c_organization_id, booked_at) = ("acme".to_owned(), booked.then_some(at));
            Correction { c_organization_id, asked, booked_at, newest }.fate()
        };
        assert_eq!(fate("by -500 at 4", false, 4), Fate::Asked);
        assert_eq!(fate("by -500 at 4", true, 9), Fate::Booked);
        assert_eq!(fate("by -500 at 4", false, 5), Fate::Refused);
        assert_eq!(fate("by 0 at 4", false, 5), Fate::Asked);
    }
}
