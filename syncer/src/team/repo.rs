//! The SQL of teams.

use common::ids::{OrganizationId, TeamId};
use sqlx::{Connection as _, PgConnection};

use super::TeamLink;
use crate::repo::Result;

/// Waits for whoever decides about this team, and keeps others from it until the transaction ends.
pub(super) async fn lock_team(connection: &mut PgConnection, team: &TeamId) -> Result<()> {
    sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended('team:' || $1, 0))")
        .bind(team.as_str())
        .execute(connection)
        .await?;
    Ok(())
}

/// Another organization that has this team at the backend or, if that counts, by name. A closed one has it, too: its quota and
/// what it spent are there.
pub(super) async fn who_else_has(
    connection: &mut PgConnection,
    organization: &OrganizationId,
    team: &TeamId,
    by_name: bool,
) -> Result<Option<String>> {
    let row: Option<(String,)> = sqlx::query_as(
        "SELECT c_organization_id FROM quota_targets WHERE c_organization_id <> $1 AND litellm_team_id = $2
         UNION ALL
         SELECT c_organization_id FROM organization_balance_config
          WHERE c_organization_id <> $1 AND litellm_team_id = $2 AND $3
         LIMIT 1",
    )
    .bind(organization.as_str())
    .bind(team.as_str())
    .bind(by_name)
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|(other,)| other))
}

/// Fills in the team in ingress' table where there is none; see `migrations/0004_quota_sync.up.sql` for why here.
pub(super) async fn link_team(
    connection: &mut PgConnection,
    organization: &OrganizationId,
    team: &TeamId,
) -> Result<TeamLink> {
    let stored: Option<(Option<String>,)> =
        sqlx::query_as("SELECT litellm_team_id FROM organization_balance_config WHERE c_organization_id = $1")
            .bind(organization.as_str())
            .fetch_optional(&mut *connection)
            .await?;
    match stored {
        None => Ok(TeamLink::Fine),
        Some((Some(stored),)) if stored == team.as_str() => Ok(TeamLink::Fine),
        Some((Some(stored),)) => Ok(TeamLink::Different(stored)),
        Some((None,)) => fill_in_team(connection, organization, team).await,
    }
}

async fn fill_in_team(connection: &mut PgConnection, organization: &OrganizationId, team: &TeamId) -> Result<TeamLink> {
    // A savepoint: that another organization has the team must not undo what else this transaction does.
    let mut savepoint = connection.begin().await?;
    let filled = sqlx::query(
        "UPDATE organization_balance_config SET litellm_team_id = $2 WHERE c_organization_id = $1 AND litellm_team_id IS NULL",
    )
    .bind(organization.as_str())
    .bind(team.as_str())
    .execute(&mut *savepoint)
    .await;
    match filled {
        Ok(_) => {
            savepoint.commit().await?;
            Ok(TeamLink::Fine)
        }
        Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {
            savepoint.rollback().await?;
            Ok(TeamLink::Taken)
        }
        Err(error) => Err(error),
    }
}
