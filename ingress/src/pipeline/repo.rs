//! Reads what the other services have left to do: the recharger's recharges and refunds, the ledger's balances, and the
//! syncer's pushes.

use common::clients::stripe::Mode;
use common::clock::Timestamp;
use sqlx::{FromRow, PgPool};

use super::view::{
    BackendFailure, BackendSuccess, BackendView, InFlightView, RefundsView, StripeAnswer, StripeView, WaitingView,
};

/// Where a recharge in flight may stand, in the order in which it gets there. As the index `recharge_records_in_flight`.
const IN_FLIGHT: [&str; 6] = ["pending", "processing", "action_required", "charged", "credited", "refunding"];
/// With whom Stripe has the next word.
const AT_STRIPE: [&str; 2] = ["pending", "processing"];

/// What the tables tell.
pub(super) struct Facts {
    in_flight: Vec<InFlightView>,
    refunds: Refunds,
    behind: Behind,
    answer: Option<(Timestamp, String)>,
    success: Option<(Timestamp, String)>,
    failure: Option<(Timestamp, String, String, String)>,
}

#[derive(FromRow)]
struct Refunds {
    open: i64,
    oldest_at: Option<Timestamp>,
    failing: i64,
    failing_oldest_at: Option<Timestamp>,
    last_error: Option<String>,
}

#[derive(FromRow)]
struct Behind {
    behind: i64,
    oldest_at: Option<Timestamp>,
}

/// The parts of the answer that come from the tables.
pub(super) type Parts =
    (Option<Vec<InFlightView>>, Option<RefundsView>, Option<WaitingView>, Option<StripeView>, Option<BackendView>);

impl Facts {
    /// As the API shows it, with the mode of our key.
    pub(super) fn view(self, mode: Mode) -> Parts {
        let Self { in_flight, refunds, behind, answer, success, failure } = self;
        let at_stripe = || in_flight.iter().filter(|line| AT_STRIPE.contains(&line.status.as_str()));
        let stripe = StripeView {
            mode,
            last_answer: answer.map(|(at, outcome)| StripeAnswer { outcome, at }),
            waiting_recharges: at_stripe().map(|line| line.count).sum(),
            waiting_refunds: refunds.open,
            waiting_since: at_stripe().filter_map(|line| line.oldest_at).chain(refunds.oldest_at).min(),
        };
        let backend = BackendView {
            last_success: success.map(|(at, what)| BackendSuccess { what, at }),
            last_failure: failure.map(|(at, backend, c_organization_id, reason)| BackendFailure {
                backend,
                c_organization_id,
                reason,
                at,
            }),
            waiting: behind.behind,
            waiting_since: behind.oldest_at,
        };
        let Refunds { open, oldest_at, failing, failing_oldest_at, last_error } = refunds;
        let refunds = RefundsView { open, oldest_at, failing, failing_oldest_at, last_error };
        let quotas = WaitingView { behind: behind.behind, oldest_at: behind.oldest_at };
        (Some(in_flight), Some(refunds), Some(quotas), Some(stripe), Some(backend))
    }
}

/// Reads everything. Each question is answered from an index, or from tables with a row for each organization.
pub(super) async fn facts(pool: &PgPool) -> sqlx::Result<Facts> {
    let mut connection = pool.acquire().await?;
    let in_flight: Vec<(String, i64, Option<Timestamp>)> = sqlx::query_as(
        "SELECT w.status, count(r.recharge_id), min(r.created_at)
           FROM unnest($1::text[]) WITH ORDINALITY AS w (status, place)
           LEFT JOIN recharge_records r ON r.status = w.status AND r.trigger_event_id IS NOT NULL
                AND r.status IN ('pending', 'processing', 'action_required', 'charged', 'credited', 'refunding')
          GROUP BY w.place, w.status ORDER BY w.place",
    )
    .bind(IN_FLIGHT)
    .fetch_all(&mut *connection)
    .await?;
    // A refund that is open has a next look; one that fails is the recharger's metric's.
    let refunds = sqlx::query_as(
        "SELECT count(*) AS open, min(created_at) AS oldest_at, count(*) FILTER (WHERE failing) AS failing,
                min(created_at) FILTER (WHERE failing) AS failing_oldest_at,
                (array_agg(last_error ORDER BY updated_at DESC) FILTER (WHERE failing AND last_error IS NOT NULL))[1] AS last_error
           FROM (SELECT created_at, updated_at, last_error, refusals > 0 OR position('~' IN refund_key) > 0 AS failing
                   FROM refunds WHERE next_at IS NOT NULL AND status IN ('requested', 'pending')) r",
    )
    .fetch_one(&mut *connection)
    .await?;
    let behind = sqlx::query_as(
        "SELECT count(*) AS behind, min(p.posted_at) AS oldest_at
           FROM ledger_accounts b
           LEFT JOIN quota_targets t ON t.c_organization_id = b.c_organization_id
           LEFT JOIN LATERAL (SELECT x.posted_at FROM ledger_transactions x
                WHERE x.c_organization_id = b.c_organization_id AND x.version > COALESCE(t.pushed_version, 0)
                ORDER BY x.version LIMIT 1) p ON true
          WHERE b.kind = 'balance' AND b.version > COALESCE(t.pushed_version, 0)",
    )
    .fetch_one(&mut *connection)
    .await?;
    let answer = sqlx::query_as(
        "SELECT at, outcome FROM (
            (SELECT charged_at AS at, 'charged' AS outcome FROM recharge_records
              WHERE charged_at IS NOT NULL ORDER BY charged_at DESC LIMIT 1)
            UNION ALL
            (SELECT ended_at, status FROM recharge_records
              WHERE ended_at IS NOT NULL AND status IN ('declined', 'failed') ORDER BY ended_at DESC LIMIT 1)) newest
          ORDER BY at DESC LIMIT 1",
    )
    .fetch_optional(&mut *connection)
    .await?;
    let success = sqlx::query_as(
        "SELECT at, what FROM (
            (SELECT synced_at AS at, 'push' AS what FROM quota_syncs ORDER BY id DESC LIMIT 1)
            UNION ALL
            (SELECT taken_at, 'look' FROM usage_snapshots ORDER BY taken_at DESC LIMIT 1)) newest
          ORDER BY at DESC LIMIT 1",
    )
    .fetch_optional(&mut *connection)
    .await?;
    let failure = sqlx::query_as(
        "SELECT failed_at, backend, c_organization_id, reason FROM quota_failures ORDER BY failed_at DESC LIMIT 1",
    )
    .fetch_optional(&mut *connection)
    .await?;
    let in_flight =
        in_flight.into_iter().map(|(status, count, oldest_at)| InFlightView { status, count, oldest_at }).collect();
    Ok(Facts { in_flight, refunds, behind, answer, success, failure })
}
