//! Putting right what a look found wrong, by the same push as any other. A repair is a row of its own, whose id is the cause of
//! the push, so that `quotas.synced` is said of it; until that is published the row stays open, and the sweep takes it up.

use common::clients::quota::Allowance;
use common::contract::Outgoing;
use common::ids::{EventId, OrganizationId};

use super::{Looked, Looker, Subject, repo};
use crate::config::DriftPolicy;
use crate::push::Cause;
use crate::repo::{self as pushes, Target};
use crate::standing::{Book, Standing, Wrong, standing};
use crate::trouble::Trouble;

/// What became of something wrong.
#[derive(Debug)]
pub(crate) enum Mended {
    /// Under the lock there was nothing wrong: it was a push on its way, or it has passed.
    Nothing(Standing, Option<Allowance>),
    /// It was reported only.
    Reported(Wrong, Option<Allowance>),
    /// It was pushed.
    Pushed(Wrong, i64, Outgoing),
    /// It could not be pushed now; the sweep goes on trying.
    Begun(Wrong, Trouble),
}

/// What is recorded of an organization, for this backend.
fn book_of(target: &Target, backend: &str) -> Book {
    Book {
        contact: target.contact,
        quota: target.quota,
        version: target.version,
        pushed_version: target.pushed.map(|(_, version)| version),
        raised_at: target.raised_at,
        elsewhere: target.is_elsewhere(backend),
    }
}

impl Looker {
    /// Pushes for every repair that was begun and is still open, or says again what came of it.
    pub(super) async fn finish_repairs(&self, subject: &Subject, looked: &mut Looked) -> Result<(), Trouble> {
        let _admitted = self.pusher.admit().await?;
        for id in &subject.open_repairs {
            looked.events.push(self.push_for(&subject.organization, *id).await?);
            looked.repairs.push(*id);
        }
        Ok(())
    }

    /// Puts right what seems wrong. Returns the quota in force, and how it stands now.
    pub(super) async fn mend(
        &self,
        subject: &Subject,
        looked: &mut Looked,
    ) -> Result<(Option<Allowance>, Standing), Trouble> {
        match self.mend_now(&subject.organization).await? {
            Mended::Nothing(standing, quota) => Ok((quota, standing)),
            Mended::Reported(wrong, quota) => {
                looked.drifts |= wrong.is_drift();
                Ok((quota, Standing::Wrong(wrong)))
            }
            Mended::Begun(wrong, trouble) => {
                looked.drifts |= wrong.is_drift();
                Err(trouble)
            }
            Mended::Pushed(wrong, id, event) => {
                looked.drifts |= wrong.is_drift();
                looked.events.push(event);
                looked.repairs.push(id);
                let quota = self.read(&subject.account()).await?;
                let now = self.subject(&subject.organization).await?.unwrap_or_else(|| subject.clone());
                Ok((quota, self.stands(&now, quota)))
            }
        }
    }

    /// Looks again under the lock, where no push of ours can be on its way, and pushes if it is still wrong.
    ///
    /// # Errors
    /// When the backend or the database can't tell.
    pub(crate) async fn mend_now(&self, organization: &OrganizationId) -> Result<Mended, Trouble> {
        let _admitted = self.pusher.admit().await?;
        let mut tx = self.pusher.pool.begin().await?;
        let target = pushes::lock(&mut tx, organization).await?;
        let backend = self.pusher.backend.name();
        let found = self.read(&target.account(organization, backend)).await?;
        let book = book_of(&target, backend);
        let now = self.pusher.clock.now();
        let Standing::Wrong(wrong) = standing(&book, found, now, self.grace()) else {
            return Ok(Mended::Nothing(standing(&book, found, now, self.grace()), found));
        };
        let expected = book.quota;
        if self.policy.quota_drift == DriftPolicy::Report && !wrong.is_ours() {
            self.pusher.metrics.drift("reported");
            tracing::warn!(
                c_organization_id = %organization, backend, %expected, found = found.map(tracing::field::display),
                "{organization} has another quota at the backend than the ledger's, and keeps it (QUOTA_DRIFT=report)"
            );
            return Ok(Mended::Reported(wrong, found));
        }
        let id = match repo::unfinished_repair(&mut tx, organization).await? {
            Some(id) => id,
            None => {
                let found = found.and_then(Allowance::limit);
                let repair = repo::Repair { organization, backend, wrong, version: book.version, expected, found };
                repo::begin_repair(&mut tx, &repair, now).await?
            }
        };
        tx.commit().await?;
        tracing::warn!(
            c_organization_id = %organization, backend, %expected, found = found.map(tracing::field::display),
            kind = wrong.as_str(), repair = id, ledger_version = book.version,
            "{organization} has another quota at the backend than the ledger's ({}): it is pushed", wrong.as_str()
        );
        let pushed = self.push_for(organization, id).await;
        if wrong.is_drift() {
            self.pusher.metrics.drift(if pushed.is_ok() { "repaired" } else { "failed" });
        }
        Ok(match pushed {
            Ok(event) => Mended::Pushed(wrong, id, event),
            Err(trouble) => Mended::Begun(wrong, trouble),
        })
    }

    /// Begins a repair whatever the backend has, and pushes: the ledger's newest had not arrived here.
    ///
    /// # Errors
    /// When the backend or the database can't; what was begun is then finished by the sweep.
    pub(crate) async fn push_what_was_behind(&self, organization: &OrganizationId) -> Result<Outgoing, Trouble> {
        let _admitted = self.pusher.admit().await?;
        let mut tx = self.pusher.pool.begin().await?;
        let target = pushes::lock(&mut tx, organization).await?;
        let repair = repo::Repair {
            organization,
            backend: self.pusher.backend.name(),
            wrong: Wrong::Behind,
            version: target.version,
            expected: target.quota,
            found: target.pushed.map(|(quota, _)| quota),
        };
        let id = repo::begin_repair(&mut tx, &repair, self.pusher.clock.now()).await?;
        tx.commit().await?;
        self.push_for(organization, id).await
    }

    async fn push_for(&self, organization: &OrganizationId, repair: i64) -> Result<Outgoing, Trouble> {
        let event_id = EventId::following("repair", &repair);
        let cause =
            Cause { correlation: event_id.clone(), event_id, organization: organization.clone(), recharge_id: None };
        self.pusher.push(&cause).await
    }
}
