//! What the ledger says, what is recorded here, and what the backend has: where do they disagree? Pure.

use std::time::Duration;

use common::clients::quota::{Allowance, BackendQuota};
use common::clock::Timestamp;
use common::ids::{OrganizationId, TeamId};
use common::money::Money;
use common::reconciliation::{Finding, Kind};

use crate::standing::{Book, Standing, Wrong, is_young, standing};

/// How long the ledger's newest may take to arrive here.
const ARRIVAL: Duration = Duration::from_secs(60);

/// One organization, as our tables have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) organization: OrganizationId,
    /// What the ledger says, if it booked anything.
    pub(crate) ledger: Option<Ledger>,
    /// What is recorded here, if anything is.
    pub(crate) book: Option<Book>,
    /// The team that ingress has.
    pub(crate) team: Option<TeamId>,
    /// The team on which the backend was met.
    pub(crate) met_team: Option<TeamId>,
}

/// What the ledger says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ledger {
    pub(crate) quota: Money,
    pub(crate) version: i64,
    pub(crate) last_posted_at: Timestamp,
    /// It has booked an opening credit.
    pub(crate) opened: bool,
}

/// What is to be done about a disagreement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mend {
    /// The ledger's newest is to be noted, and pushed.
    Raise(Ledger),
    /// It is to be pushed, if it is still wrong under the lock.
    Push,
    /// A person must decide.
    Nothing,
}

/// One disagreement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Disagreement {
    pub(crate) finding: Finding,
    pub(crate) mend: Mend,
}

/// Compares one organization.
pub(crate) fn compare(row: &Row, backend: Option<&BackendQuota>, now: Timestamp, grace: Duration) -> Vec<Disagreement> {
    let mut found: Vec<Disagreement> =
        quota(row, backend.map(|backend| backend.quota), now, grace).into_iter().collect();
    if let (Some(ours), Some(theirs)) = (&row.team, backend.and_then(|backend| backend.team_id.as_ref()))
        && ours != theirs
    {
        let detail = format!("the backend names team {theirs} for {}, but {ours} is stored", row.organization);
        let (expected, found_there) = (Some(ours.to_string()), Some(theirs.to_string()));
        found.push(disagreement(row, Kind::TeamMismatch, expected, found_there, detail, Mend::Nothing));
    }
    if let Some(period) = backend.and_then(|backend| backend.usage_reset.clone()) {
        let detail = format!("the backend zeroes what {} has spent every {period}: take that away", row.organization);
        found.push(disagreement(row, Kind::UsageReset, None, Some(period), detail, Mend::Nothing));
    }
    found
}

/// One of which the backend does not tell what it has.
pub(crate) fn unreadable(row: &Row, reason: &str) -> Disagreement {
    let detail = format!("what the backend has for {} could not be read: {reason}", row.organization);
    disagreement(row, Kind::QuotaUnreadable, None, None, detail, Mend::Nothing)
}

fn quota(row: &Row, backend: Option<Allowance>, now: Timestamp, grace: Duration) -> Option<Disagreement> {
    let known = row.book.as_ref().map_or(0, |book| book.version);
    if let Some(ledger) = row.ledger.filter(|ledger| ledger.version > known) {
        if is_young(Some(ledger.last_posted_at), now, ARRIVAL) {
            return None;
        }
        let detail =
            format!("version {} of the ledger never arrived at the syncer, which knows {known}", ledger.version);
        let (expected, found) = (Some(ledger.version.to_string()), Some(known.to_string()));
        return Some(disagreement(row, Kind::TargetBehind, expected, found, detail, Mend::Raise(ledger)));
    }
    let book = row.book.as_ref()?;
    let Standing::Wrong(wrong) = standing(book, backend, now, grace) else { return None };
    let organization = &row.organization;
    let (kind, detail) = match (wrong, backend) {
        // Only what is never said of it: it has the quota.
        (Wrong::Pending, Some(allowance)) if allowance.is(book.quota) => return None,
        (_, None) => (Kind::QuotaMissing, format!("the backend does not know {organization}")),
        (Wrong::Pending | Wrong::Behind, Some(_)) => {
            (Kind::QuotaDrift, format!("version {} of {organization} was not pushed in time", book.version))
        }
        (Wrong::Drift | Wrong::Missing, Some(_)) => {
            (Kind::QuotaDrift, format!("{organization} has another quota at the backend than was left there"))
        }
    };
    let found = backend.map(|allowance| allowance.to_string());
    Some(disagreement(row, kind, Some(book.quota.normalize().to_string()), found, detail, Mend::Push))
}

fn disagreement(
    row: &Row,
    kind: Kind,
    expected: Option<String>,
    found: Option<String>,
    detail: String,
    mend: Mend,
) -> Disagreement {
    let organization = Some(row.organization.clone());
    let finding =
        Finding { kind, organization, recharge_id: None, reference: None, expected, found, repaired: false, detail };
    Disagreement { finding, mend }
}

#[cfg(test)]
mod tests {
    use common::money::Currency;
    use rust_decimal::Decimal;

    use super::*;
    use crate::plan::Contact;

    const GRACE: Duration = Duration::from_secs(60);

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_timestamp(seconds, 0).unwrap()
    }

    fn row(ledger: Option<(i64, i64)>, book: Option<(i64, Option<i64>)>) -> Row {
        let ledger = ledger.map(|(version, posted)| Ledger {
            quota: Money::new(50_000, Currency::USD),
            version,
            last_posted_at: at(posted),
            opened: false,
        });
        let book = book.map(|(version, pushed_version)| Book {
            contact: Contact::Established,
            quota: Decimal::from(500),
            version,
            pushed_version,
            raised_at: Some(at(0)),
            elsewhere: false,
        });
        Row {
            organization: OrganizationId::parse("acme").unwrap(),
            ledger,
            book,
            team: Some(TeamId::parse("mine").unwrap()),
            met_team: None,
        }
    }

    fn backend(quota: i64, team: Option<&str>) -> Option<BackendQuota> {
        Some(BackendQuota {
            quota: Allowance::Limited(quota.into()),
            team_id: team.map(|team| TeamId::parse(team).unwrap()),
            usage_reset: None,
        })
    }

    #[test]
    fn what_disagrees() {
        let settled = row(Some((3, 0)), Some((3, Some(3))));
        for (row, backend, want) in [
            (settled.clone(), backend(500, Some("mine")), vec![]),
            (settled.clone(), backend(500, None), vec![]),
            (settled.clone(), backend(499, None), vec!["quota_drift"]),
            (settled.clone(), None, vec!["quota_missing"]),
            (settled.clone(), backend(499, Some("theirs")), vec!["quota_drift", "team_mismatch"]),
            (settled.clone(), backend(500, Some("theirs")), vec!["team_mismatch"]),
            (
                settled,
                backend(500, None).map(|its| BackendQuota { usage_reset: Some("30d".to_owned()), ..its }),
                vec!["usage_reset"],
            ),
            // Given up and never pushed.
            (row(Some((3, 0)), Some((3, Some(2)))), backend(100, None), vec!["quota_drift"]),
            (row(Some((3, 0)), Some((3, None))), None, vec!["quota_missing"]),
            (row(Some((3, 0)), Some((3, Some(2)))), backend(500, None), vec![]),
            // Posted, and not arrived: after a minute it won't.
            (row(Some((4, 940)), Some((3, Some(3)))), backend(500, None), vec!["target_behind"]),
            (row(Some((4, 941)), Some((3, Some(3)))), backend(499, None), vec![]),
            (row(Some((1, 0)), None), None, vec!["target_behind"]),
            (row(Some((1, 999)), None), None, vec![]),
            // Known to one side only.
            (row(None, None), backend(500, Some("mine")), vec![]),
            (row(None, Some((0, Some(0)))), backend(500, None), vec![]),
            (row(None, Some((0, None))), None, vec![]),
        ] {
            let got = compare(&row, backend.as_ref(), at(1_000), GRACE);
            assert_eq!(
                got.iter().map(|one| one.finding.kind.as_str()).collect::<Vec<_>>(),
                want,
                "{row:?}, {backend:?}"
            );
            for one in got {
                let wanted = match one.finding.kind {
                    Kind::TeamMismatch | Kind::UsageReset => one.mend == Mend::Nothing,
                    Kind::TargetBehind => matches!(one.mend, Mend::Raise(_)),
                    _ => one.mend == Mend::Push,
                };
                assert!(wanted && !one.finding.repaired, "{one:?}");
            }
        }
    }
}
