//! The SQL of comparing the books. The ledger's tables are only read.

use common::clock::Timestamp;
use common::ids::OrganizationId;
use common::money::Money;
use rust_decimal::Decimal;
use sqlx::PgPool;

use super::compare::{Ledger, Row};
use crate::plan::{Contact, FirstContact};
use crate::repo::{Result, currency_of, decode, is_elsewhere, team_of};
use crate::standing::Book;

#[derive(sqlx::FromRow)]
struct Line {
    organization: String,
    currency: Option<String>,
    quota_minor: Option<i64>,
    ledger_version: Option<i64>,
    last_posted_at: Option<Timestamp>,
    opened: bool,
    target_quota: Option<Decimal>,
    target_version: Option<i64>,
    first_contact: Option<String>,
    opening_seen: Option<bool>,
    pushed_version: Option<i64>,
    raised_at: Option<Timestamp>,
    team: Option<String>,
    met_team: Option<String>,
    backend: Option<String>,
}

/// Everybody whom the ledger or the syncer knows, and who is not closed.
pub(super) async fn rows(pool: &PgPool, backend: &str) -> Result<Vec<Row>> {
    let lines: Vec<Line> = sqlx::query_as(
        "SELECT COALESCE(q.c_organization_id, t.c_organization_id) AS organization, q.currency, q.quota_minor, q.ledger_version,
                (SELECT x.posted_at FROM ledger_transactions x WHERE x.c_organization_id = q.c_organization_id
                    AND x.version = q.ledger_version) AS last_posted_at,
                EXISTS (SELECT FROM ledger_transactions x WHERE x.c_organization_id = q.c_organization_id
                    AND x.kind = 'opening') AS opened,
                t.target_quota, t.target_version, t.first_contact, t.opening_seen, t.pushed_version, t.raised_at,
                c.litellm_team_id AS team, t.litellm_team_id AS met_team,
                COALESCE(t.backend, CASE WHEN t.first_contact IS NOT NULL THEN 'kms' END) AS backend
         FROM ledger_quotas q
         FULL JOIN quota_targets t ON t.c_organization_id = q.c_organization_id
         LEFT JOIN organization_balance_config c ON c.c_organization_id = COALESCE(q.c_organization_id, t.c_organization_id)
         WHERE c.closed_at IS NULL
         ORDER BY 1",
    )
    .fetch_all(pool)
    .await?;
    lines.into_iter().map(|line| row_of(line, backend)).collect()
}

fn row_of(line: Line, backend: &str) -> Result<Row> {
    let ledger = match (line.currency, line.quota_minor, line.ledger_version, line.last_posted_at) {
        (Some(currency), Some(minor), Some(version), Some(last_posted_at)) => {
            let quota = Money::new(minor, currency_of(&currency)?);
            Some(Ledger { quota, version, last_posted_at, opened: line.opened })
        }
        _ => None,
    };
    let first = line.first_contact.as_deref().and_then(FirstContact::parse);
    let book = match (line.target_quota, line.target_version) {
        (Some(quota), Some(version)) => Some(Book {
            contact: Contact::of(first, line.opening_seen.unwrap_or(false)),
            quota,
            version,
            pushed_version: line.pushed_version,
            raised_at: line.raised_at,
            elsewhere: is_elsewhere(line.backend.as_deref(), backend),
        }),
        _ => None,
    };
    let organization = OrganizationId::parse(line.organization).map_err(decode)?;
    Ok(Row { organization, ledger, book, team: team_of(line.team), met_team: team_of(line.met_team) })
}
