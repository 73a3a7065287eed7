//! The directory's questions to `organization_balance_config`.

use common::ids::{OrganizationId, TeamId};
use common::money::Currency;
use sqlx::PgPool;

use super::Known;

type Row = (String, Option<String>, bool, String);

fn known((organization, team, auto_recharge_enabled, currency): Row) -> Option<Known> {
    Some(Known {
        organization: OrganizationId::parse(organization).ok()?,
        // A team id that could never come in a webhook is as good as none.
        team: team.and_then(|team| TeamId::parse(team).ok()),
        auto_recharge_enabled,
        currency: currency.parse().unwrap_or(Currency::USD),
    })
}

pub(super) async fn all(pool: &PgPool) -> sqlx::Result<Vec<Known>> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT c_organization_id, litellm_team_id, auto_recharge_enabled, currency
           FROM organization_balance_config WHERE closed_at IS NULL",
    )
    .fetch_all(pool)
    .await?;
    Ok(rows.into_iter().filter_map(known).collect())
}

pub(super) async fn by_team(pool: &PgPool, team: &TeamId) -> sqlx::Result<Option<Known>> {
    let row: Option<Row> = sqlx::query_as(
        "SELECT c_organization_id, litellm_team_id, auto_recharge_enabled, currency
           FROM organization_balance_config WHERE litellm_team_id = $1 AND closed_at IS NULL",
    )
    .bind(team.as_str())
    .fetch_optional(pool)
    .await?;
    Ok(row.and_then(known))
}

pub(super) async fn by_organization(pool: &PgPool, organization: &OrganizationId) -> sqlx::Result<Option<Known>> {
    let row: Option<Row> = sqlx::query_as(
        "SELECT c_organization_id, litellm_team_id, auto_recharge_enabled, currency
           FROM organization_balance_config WHERE c_organization_id = $1 AND closed_at IS NULL",
    )
    .bind(organization.as_str())
    .fetch_optional(pool)
    .await?;
    Ok(row.and_then(known))
}
