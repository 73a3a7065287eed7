//! The teams of organizations: told to ingress where it has none, reported where it has another, and never shared.

mod repo;

use common::clients::quota::Account;
use common::ids::TeamId;
use sqlx::PgConnection;

use crate::push::{Cause, Pusher};
use crate::repo::Target;
use crate::undecided;

/// What became of telling ingress' table the team.
#[derive(Debug, Clone, PartialEq, Eq)]
enum TeamLink {
    /// It is stored, now or before; or there is no such organization.
    Fine,
    /// Another one is stored.
    Different(String),
    /// Another organization has it.
    Taken,
}

impl Pusher {
    /// Tells ingress' table the team, and reports where it can't be.
    pub(crate) async fn link_team(
        &self,
        connection: &mut PgConnection,
        cause: &Cause,
        team: &TeamId,
    ) -> sqlx::Result<()> {
        let organization = &cause.organization;
        match repo::link_team(connection, organization, team).await? {
            TeamLink::Fine => {}
            TeamLink::Different(stored) => {
                self.metrics.team_mismatch("different");
                tracing::warn!(
                    c_organization_id = %organization, event_id = %cause.event_id, backend_team = %team, stored_team = %stored,
                    "the backend names team {team} for {organization}, but {stored} is stored; the stored one stays"
                );
            }
            TeamLink::Taken => {
                self.metrics.team_mismatch("taken");
                tracing::warn!(
                    c_organization_id = %organization, event_id = %cause.event_id, backend_team = %team,
                    "the backend names team {team} for {organization}, but another organization has it; it is not stored"
                );
            }
        }
        Ok(())
    }

    /// Where the quota is a team's, why this organization's must not be set: it has another team now, or it is not the only
    /// one that has this team.
    pub(crate) async fn of_team(
        &self,
        connection: &mut PgConnection,
        target: &Target,
        account: &Account,
        first: bool,
    ) -> sqlx::Result<Option<String>> {
        if self.backend.team_of(account).is_none() {
            return Ok(None);
        }
        let changed = (!first).then(|| undecided::team_changed(&account.organization, target)).flatten();
        match changed {
            Some(reason) => Ok(Some(reason)),
            None => self.shared_team(connection, account, first).await,
        }
    }

    /// Where the quota is a team's, two organizations must not set it in turns: why this one shall not, if so. Until the
    /// transaction ends nobody else asks that of this team. `first`: it is new here, so that one who only has the team's name
    /// goes before it.
    async fn shared_team(
        &self,
        connection: &mut PgConnection,
        account: &Account,
        first: bool,
    ) -> sqlx::Result<Option<String>> {
        let Some(team) = self.backend.team_of(account) else { return Ok(None) };
        let organization = &account.organization;
        repo::lock_team(connection, &team).await?;
        let other = repo::who_else_has(connection, organization, &team, first).await?;
        Ok(other.map(|other| {
            format!(
                "team_taken: team {team} is the team of {other}; give {organization} a litellm_team_id of its own and sync it"
            )
        }))
    }
}
