//! What each kind of transaction may do to the quota and to what is held for disputes. Pure. The hash proves that a row is
//! what was posted; this, that what was posted makes sense: quota = credited − reversed − held, whoever wrote it.

use std::collections::BTreeMap;

use crate::chain::Record;

use super::Difference;

/// The holds of one organization that are open.
#[derive(Default)]
pub(super) struct Holds(BTreeMap<String, i128>);

impl Holds {
    /// What a transaction may not do.
    pub(super) fn check(&mut self, record: &Record) -> Option<Difference> {
        let sum = |account: &str| -> i128 {
            record.entries.iter().filter(|entry| entry.account == account).map(|entry| i128::from(entry.amount)).sum()
        };
        let (quota, held) = (sum("balance"), sum("disputes_held"));
        if !fits(&record.kind, quota, held) {
            return Some(Difference::Kind { kind: record.kind.clone(), quota, held });
        }
        let dispute = record.business_key.rsplit_once(':').map_or("", |(dispute, _)| dispute);
        match record.kind.as_str() {
            "hold" => self.0.insert(dispute.to_owned(), held).map(|open| Difference::Hold { open, ended: 0 }),
            "release" | "dispute_lost" => {
                let (open, ended) = (self.0.remove(dispute).unwrap_or(0), -held);
                (open != ended).then_some(Difference::Hold { open, ended })
            }
            _ => None,
        }
    }
}

fn fits(kind: &str, quota: i128, held: i128) -> bool {
    match kind {
        "charge" | "opening" => quota > 0 && held == 0,
        "adjustment" => quota != 0 && held == 0,
        "refund" => quota <= 0 && held == 0,
        "refund_failed" => quota >= 0 && held == 0,
        "void" => quota == 0 && held == 0,
        "hold" => quota < 0 && held == -quota,
        "release" => quota >= 0 && held == -quota,
        "dispute_lost" => quota == 0 && held <= 0,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use common::clock::Timestamp;
    use uuid::Uuid;

    use super::*;
    use crate::chain::RecordEntry;

    fn record(kind: &str, key: &str, quota: i64, held: i64) -> Record {
        let entry =
            |account: &str, amount| RecordEntry { account: account.to_owned(), currency: "usd".to_owned(), amount };
        Record {
            id: Uuid::nil(),
            business_key: key.to_owned(),
            kind: kind.to_owned(),
            organization: "acme".to_owned(),
            recharge_id: None,
            correlation_id: "evt_1".to_owned(),
            description: String::new(),
            currency: "usd".to_owned(),
            posted_at: Timestamp::UNIX_EPOCH,
            version: 1,
            quota_after: 0,
            entries: vec![
                entry("balance", quota),
                entry("disputes_held", held),
                entry("stripe_clearing", -quota - held),
            ],
        }
    }

    #[test]
    fn each_kind_moves_quota_one_way() {
        let good = [
            ("charge", 1, 0),
            ("opening", 1, 0),
            ("adjustment", -1, 0),
            ("refund", -1, 0),
            ("refund", 0, 0),
            ("refund_failed", 1, 0),
            ("void", 0, 0),
            ("hold", -5, 5),
            ("dispute_lost", 0, 0),
            ("release", 0, 0),
        ];
        for (kind, quota, held) in good {
            assert_eq!(Holds::default().check(&record(kind, "k", quota, held)), None, "{kind}");
        }
        let bad = [
            ("charge", -1, 0),
            ("charge", 1, 1),
            ("opening", 0, 0),
            ("adjustment", 0, 0),
            ("refund", 1, 0),
            ("refund_failed", -1, 0),
            ("void", 1, 0),
            ("hold", 5, -5),
            ("hold", -5, 4),
            ("release", 5, 0),
            ("release", -5, 5),
            ("dispute_lost", 5, -5),
            ("gift", 1, 0),
        ];
        for (kind, quota, held) in bad {
            let found = Holds::default().check(&record(kind, "k", quota, held));
            assert!(matches!(found, Some(Difference::Kind { .. })), "{kind} {quota} {held}");
        }
    }

    #[test]
    fn a_decision_ends_what_was_held_and_no_more() {
        let mut holds = Holds::default();
        assert_eq!(holds.check(&record("hold", "dispute:d1:opened", -5, 5)), None);
        assert_eq!(holds.check(&record("hold", "dispute:d2:opened", -7, 7)), None);
        assert_eq!(holds.check(&record("release", "dispute:d1:won", 5, -5)), None);
        let again = holds.check(&record("release", "dispute:d1:won", 5, -5));
        assert_eq!(again, Some(Difference::Hold { open: 0, ended: 5 }));
        let less = holds.check(&record("dispute_lost", "dispute:d2:lost", 0, -6));
        assert_eq!(less, Some(Difference::Hold { open: 7, ended: 6 }));
    }
}
