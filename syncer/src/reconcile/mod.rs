//! Comparing the ledger's quotas with those in force: the syncer's part of a comparison of all books.
//!
//! First everything is read, then what disagrees is put right: when the backend is away nothing has been done, and the
//! repeat finds the same. One organization that can't be read is a finding, and keeps nobody else from being compared. Repairs that don't succeed at once are begun, and the sweep goes on with them.

mod compare;
mod repo;

use std::sync::Arc;

use common::clients::quota::{Account, BackendQuota, Listing};
use common::contract::Outgoing;
use common::ids::OrganizationId;
use common::reconciliation::{Part, Recorder};
use prometheus::Registry;

use crate::look::Looker;
use crate::look::repair::Mended;
use crate::repo::{note_opening, raise_target, team_at};
use crate::sweep::AWAY;
use crate::trouble::{Trouble, Why};
use compare::{Disagreement, Ledger, Mend, Row, compare, unreadable};

/// Compares.
pub(crate) struct Reconciler {
    looker: Arc<Looker>,
    recorder: Recorder,
}

impl Reconciler {
    pub(crate) fn new(looker: Arc<Looker>, registry: &Registry) -> Self {
        Self { looker, recorder: Recorder::new(Part::Quotas, registry) }
    }

    /// Compares for this run, unless that is done. Returns what follows from the repairs.
    ///
    /// # Errors
    /// When the backend or the database can't be read; then nothing is stored.
    pub(crate) async fn run(&self, run_id: &str) -> Result<Vec<Outgoing>, Trouble> {
        let pusher = &self.looker.pusher;
        if self.recorder.is_done(&pusher.pool, run_id).await? {
            tracing::info!(run_id, "this run's quotas are compared already");
            return Ok(Vec::new());
        }
        let rows = repo::rows(&pusher.pool, pusher.backend.name()).await?;
        let disagreements = self.compare_all(&rows).await?;
        let mut findings = Vec::new();
        let mut follow_ups = Vec::new();
        for Disagreement { mut finding, mend } in disagreements {
            if let Some(organization) = finding.organization.clone() {
                match self.mend(&organization, mend).await {
                    // It has passed since it was read: no disagreement, but a push on its way.
                    Ok(Done::Passed) => continue,
                    Ok(Done::Reported) => {}
                    Ok(Done::Repaired(event)) => {
                        finding.repaired = true;
                        follow_ups.push(event);
                    }
                    Err(trouble) => finding.detail = format!("{}; not repaired yet: {trouble}", finding.detail),
                }
            }
            findings.push(finding);
        }
        let checked = u64::try_from(rows.len()).unwrap_or(u64::MAX);
        self.recorder.record(&pusher.pool, run_id, checked, &findings, pusher.clock.now()).await?;
        Ok(follow_ups)
    }

    async fn compare_all(&self, rows: &[Row]) -> Result<Vec<Disagreement>, Trouble> {
        let pusher = &self.looker.pusher;
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let mut listing = self.looker.listing().await;
        let mut all = Vec::new();
        // One that does not answer several times in a row, or not at all, is away.
        let (mut silent, mut answered) = (0, false);
        let mut last = None;
        for row in rows {
            match self.backend_of(row, &mut listing).await {
                Ok(backend) => {
                    (silent, answered) = (0, true);
                    all.extend(compare(row, backend.as_ref(), pusher.clock.now(), self.looker.grace()));
                }
                Err(Trouble::Backend { reason, after, why }) => {
                    all.push(unreadable(row, &reason));
                    silent = if why == Why::Unavailable { silent + 1 } else { 0 };
                    answered |= why != Why::Unavailable;
                    last = Some(Trouble::Backend { reason, after, why });
                }
                Err(ours) => return Err(ours),
            }
            if silent >= AWAY {
                break;
            }
        }
        match last {
            Some(trouble) if silent >= AWAY || !answered => Err(trouble),
            _ => Ok(all),
        }
    }

    /// What the backend has: from its list, or by itself where that does not have it.
    async fn backend_of(&self, row: &Row, listing: &mut Listing) -> Result<Option<BackendQuota>, Trouble> {
        if let Some(listed) = listing.remove(&row.organization) {
            return Ok(Some(listed));
        }
        let pusher = &self.looker.pusher;
        let elsewhere = row.book.as_ref().is_some_and(|book| book.elsewhere);
        let team = team_at(elsewhere, row.met_team.clone(), row.team.clone());
        let account = Account { organization: row.organization.clone(), team };
        pusher.ask(pusher.backend.read(&account)).await
    }

    async fn mend(&self, organization: &OrganizationId, mend: Mend) -> Result<Done, Trouble> {
        match mend {
            Mend::Nothing => Ok(Done::Reported),
            Mend::Push => match self.looker.mend_now(organization).await? {
                Mended::Nothing(..) => Ok(Done::Passed),
                Mended::Reported(..) => Ok(Done::Reported),
                Mended::Pushed(_, _, event) => Ok(Done::Repaired(event)),
                Mended::Begun(_, trouble) => Err(trouble),
            },
            Mend::Raise(Ledger { quota, version, opened, .. }) => {
                let (pool, now) = (&self.looker.pusher.pool, self.looker.pusher.clock.now());
                raise_target(pool, organization, quota, version, now).await?;
                if opened {
                    note_opening(pool, organization, now).await?;
                }
                self.looker.push_what_was_behind(organization).await.map(Done::Repaired)
            }
        }
    }
}

/// What became of a disagreement.
enum Done {
    /// There is none any more.
    Passed,
    /// A person must decide.
    Reported,
    /// It was put right, which is to be said.
    Repaired(Outgoing),
}
