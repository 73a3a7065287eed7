//! Reads how organizations stand: ingress's own configuration, the ledger's balances, the recharger's and the syncer's
//! tables.

use common::clock::Timestamp;
use common::ids::OrganizationId;
use common::money::{Currency, THREE_DECIMAL, ZERO_DECIMAL};
use rust_decimal::Decimal;
use sqlx::{FromRow, PgPool};
use uuid::Uuid;

use super::{Found, Order, Position, Stage, Standing, Urgency, Which};

#[derive(FromRow)]
struct Row {
    /// On each row the same.
    counts: Vec<i64>,
    /// From here on null, where the page is empty.
    c_organization_id: Option<String>,
    litellm_team_id: Option<String>,
    currency: Option<String>,
    urgency: Option<String>,
    quota: Option<Decimal>,
    synced_quota: Option<Decimal>,
    behind: Option<bool>,
    usage: Option<Decimal>,
    usage_at: Option<Timestamp>,
    available: Option<Decimal>,
    minimum_balance: Option<Decimal>,
    target_balance: Option<Decimal>,
    auto_recharge_enabled: Option<bool>,
    has_payment_method: Option<bool>,
    payment_method_brand: Option<String>,
    payment_method_last4: Option<String>,
    closed_at: Option<Timestamp>,
    paused: Option<bool>,
    paused_at: Option<Timestamp>,
    pause_reason: Option<String>,
    refund_failing: Option<bool>,
    flight_id: Option<Uuid>,
    flight_status: Option<String>,
    flight_since: Option<Timestamp>,
    last_id: Option<Uuid>,
    last_status: Option<String>,
    last_at: Option<Timestamp>,
    rank: Option<i32>,
    left_over: Option<Decimal>,
}

fn wrong(what: impl std::fmt::Display) -> sqlx::Error {
    sqlx::Error::Decode(format!("standings: {what}").into())
}

fn stage(id: Option<Uuid>, status: Option<String>, at: Option<Timestamp>) -> Option<Stage> {
    Some(Stage { recharge_id: id?, status: status?, at: at? })
}

impl Row {
    /// The organization of the row, if it has one.
    fn read(self, order: Order) -> sqlx::Result<Option<Standing>> {
        let Some(id) = self.c_organization_id else { return Ok(None) };
        let organization = OrganizationId::parse(id).map_err(wrong)?;
        let position = Position {
            order,
            rank: self.rank.unwrap_or_default(),
            available: self.left_over.unwrap_or_default(),
            organization: organization.clone(),
        };
        let urgency = self.urgency.as_deref().and_then(Urgency::parse);
        let paused = self.paused.unwrap_or_default();
        Ok(Some(Standing {
            organization,
            team: self.litellm_team_id,
            currency: self.currency.unwrap_or_default().parse::<Currency>().map_err(wrong)?,
            urgency: urgency.ok_or_else(|| wrong("urgency"))?,
            quota: self.quota.unwrap_or_default(),
            synced_quota: self.synced_quota,
            behind: self.behind.unwrap_or_default(),
            usage: self.usage.zip(self.usage_at),
            available: self.available,
            minimum_balance: self.minimum_balance.unwrap_or_default(),
            target_balance: self.target_balance.unwrap_or_default(),
            auto_recharge_enabled: self.auto_recharge_enabled.unwrap_or_default(),
            has_payment_method: self.has_payment_method.unwrap_or_default(),
            card_brand: self.payment_method_brand,
            card_last4: self.payment_method_last4,
            closed_at: self.closed_at,
            pause: self.paused_at.filter(|_| paused).map(|at| (at, self.pause_reason)),
            refund_failing: self.refund_failing.unwrap_or_default(),
            in_flight: stage(self.flight_id, self.flight_status, self.flight_since),
            last: stage(self.last_id, self.last_status, self.last_at),
            position,
        }))
    }
}

/// A page of organizations, and how many there are of each urgency. One statement: the counts are of the moment that the
/// page is of, and everybody's urgency is computed once. The rule of urgency is the `CASE` in the middle.
///
/// What a balance has in minor units is worth so many cents, or none, by the two lists of currencies. A pause holds as
/// `RechargeState::pause` has it; a refund fails as the recharger's metric counts it.
pub(crate) async fn list(pool: &PgPool, which: &Which<'_>, limit: i64) -> sqlx::Result<Found> {
    let after = which.after;
    let rows: Vec<Row> = sqlx::query_as(
        r#"WITH refused AS (
    SELECT DISTINCT c_organization_id FROM refunds
     WHERE next_at IS NOT NULL AND status IN ('requested', 'pending') AND (refusals > 0 OR position('~' IN refund_key) > 0)
), facts AS (
    SELECT c.c_organization_id, c.litellm_team_id, c.currency, c.minimum_balance, c.target_balance, c.closed_at,
           c.auto_recharge_enabled AND c.closed_at IS NULL AS auto_recharge_enabled,
           c.default_payment_method_id IS NOT NULL AS has_payment_method, c.payment_method_brand, c.payment_method_last4,
           COALESCE(b.balance_minor, 0) * CASE WHEN c.currency = ANY($9) THEN 1 WHEN c.currency = ANY($10) THEN 0.001 ELSE 0.01 END AS quota,
           COALESCE(b.version, 0) > COALESCE(t.pushed_version, 0) AS behind, t.pushed_quota AS synced_quota,
           u.usage, u.taken_at AS usage_at,
           s.paused_at IS NOT NULL AND COALESCE(c.resumed_at < s.paused_at, true)
               AND (s.pause_payment_method IS NULL OR s.pause_payment_method IS NOT DISTINCT FROM c.default_payment_method_id) AS paused,
           s.paused_at, s.pause_reason,
           g.c_organization_id IS NOT NULL AS refund_failing,
           f.recharge_id AS flight_id, f.status AS flight_status, f.created_at AS flight_since,
           l.recharge_id AS last_id, l.status AS last_status, l.at AS last_at,
           l.status IN ('declined', 'failed') AND COALESCE(GREATEST(c.resumed_at, c.payment_method_set_at) < l.at, true) AS last_failed
      FROM organization_balance_config c
      LEFT JOIN ledger_accounts b ON b.c_organization_id = c.c_organization_id AND b.currency = c.currency AND b.kind = 'balance'
      LEFT JOIN quota_targets t ON t.c_organization_id = c.c_organization_id
      LEFT JOIN recharge_state s ON s.c_organization_id = c.c_organization_id
      LEFT JOIN refused g ON g.c_organization_id = c.c_organization_id
      LEFT JOIN recharge_records f ON f.c_organization_id = c.c_organization_id AND f.trigger_event_id IS NOT NULL
           AND f.status IN ('pending', 'processing', 'action_required', 'charged', 'credited', 'refunding')
      LEFT JOIN LATERAL (SELECT x.usage, x.taken_at FROM usage_snapshots x
           WHERE x.c_organization_id = c.c_organization_id ORDER BY x.taken_at DESC LIMIT 1) u ON true
      LEFT JOIN LATERAL (SELECT x.recharge_id, x.status, COALESCE(x.ended_at, x.created_at) AS at FROM recharge_records x
           WHERE x.c_organization_id = c.c_organization_id AND x.trigger_event_id IS NOT NULL
           ORDER BY x.created_at DESC LIMIT 1) l ON true
     WHERE ($1::text IS NULL OR c.c_organization_id = $1) AND ($2 OR c.closed_at IS NULL)
       AND ($3::text IS NULL OR strpos(lower(c.c_organization_id), lower($3)) > 0 OR strpos(lower(c.litellm_team_id), lower($3)) > 0)
), standings AS MATERIALIZED (
    SELECT *, quota - usage AS available,
           CASE WHEN paused AND closed_at IS NULL THEN 'paused'
                WHEN refund_failing OR (last_failed AND closed_at IS NULL) THEN 'failing'
                WHEN flight_status = 'action_required' THEN 'action_required'
                WHEN behind THEN 'behind'
                WHEN closed_at IS NULL AND flight_id IS NULL AND (quota - usage < minimum_balance OR quota <= usage) THEN 'low'
                WHEN auto_recharge_enabled AND NOT has_payment_method THEN 'no_card'
                WHEN NOT auto_recharge_enabled THEN 'off'
                ELSE 'ok' END AS urgency
      FROM facts
), counts AS (
    SELECT array_agg(n.number ORDER BY n.place) AS counts FROM (
        SELECT w.place, count(s.urgency) AS number FROM unnest($8::text[]) WITH ORDINALITY AS w (word, place)
          LEFT JOIN standings s ON s.urgency = w.word GROUP BY w.place) n
), keyed AS (
    SELECT *, CASE $5 WHEN 'urgency' THEN array_position($8::text[], urgency) - 1 WHEN 'available' THEN (available IS NULL)::int ELSE 0 END AS rank,
           CASE WHEN $5 = 'available' THEN COALESCE(available, 0) ELSE 0 END AS left_over
      FROM standings WHERE $4::text IS NULL OR urgency = $4
), page AS (
    SELECT * FROM keyed WHERE $6::text IS NULL OR (rank, left_over, c_organization_id COLLATE "C") > ($11, $12, $6)
     ORDER BY rank, left_over, c_organization_id COLLATE "C" LIMIT $7
)
SELECT counts.counts, page.* FROM counts LEFT JOIN page ON true ORDER BY rank, left_over, c_organization_id COLLATE "C""#,
    )
    .bind(which.own.map(OrganizationId::as_str))
    .bind(which.closed_too)
    .bind(which.search)
    .bind(which.only)
    .bind(which.order.as_str())
    .bind(after.map(|after| after.organization.as_str()))
    .bind(limit)
    .bind(Urgency::WORDS)
    .bind(ZERO_DECIMAL)
    .bind(THREE_DECIMAL)
    .bind(after.map(|after| after.rank))
    .bind(after.map(|after| after.available))
    // Planned for its parameters each time: without them nobody can tell whether it is about one organization or all, and
    // a plan for one takes several times as long for all.
    .persistent(false)
    .fetch_all(pool)
    .await?;
    let counts = rows.first().map(|row| row.counts.clone()).unwrap_or_default();
    let counts = counts.try_into().map_err(|_| wrong("counts"))?;
    let standings =
        rows.into_iter().filter_map(|row| row.read(which.order).transpose()).collect::<sqlx::Result<_>>()?;
    Ok(Found { counts, standings })
}
