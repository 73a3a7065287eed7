//! Counts what is in flight.

use std::collections::BTreeMap;

use common::clock::Timestamp;
use common::money::{Currency, Money};
use rust_decimal::Decimal;
use sqlx::{FromRow, PgPool};

use super::Figures;
use crate::saga::State;

/// Where captured money is neither in force nor given back.
const CAPTURED: [State; 4] = [State::Charged, State::Credited, State::Refunding, State::Returning];

#[derive(FromRow)]
struct InFlight {
    status: String,
    currency: String,
    recharges: i64,
    owed: Decimal,
    oldest_charge: Option<Timestamp>,
}

#[derive(FromRow)]
struct Others {
    overdue_charged: i64,
    overdue_credited: i64,
    refunds_failing: i64,
    refund_failing_since: Option<Timestamp>,
    paused: i64,
}

/// Reads all of it: from partial indexes, and from a table with a row for each organization.
pub(super) async fn figures(pool: &PgPool, now: Timestamp) -> sqlx::Result<Figures> {
    let mut connection = pool.acquire().await?;
    // Two parts, each in the words of its index.
    let in_flight: Vec<InFlight> = sqlx::query_as(
        "SELECT status, currency, count(*) AS recharges, sum(total_charge - refunded_total) AS owed, min(charged_at) AS oldest_charge
           FROM recharge_records WHERE trigger_event_id IS NOT NULL
                AND status IN ('pending', 'processing', 'action_required', 'charged', 'credited', 'refunding')
          GROUP BY status, currency
         UNION ALL
         SELECT status, currency, count(*), sum(total_charge - refunded_total), min(charged_at)
           FROM recharge_records WHERE status IN ('refunding', 'returning') AND status = 'returning' AND trigger_event_id IS NOT NULL
          GROUP BY status, currency",
    )
    .fetch_all(&mut *connection)
    .await?;
    let others: Others = sqlx::query_as(
        "SELECT r.*, f.*, p.* FROM
            (SELECT count(*) FILTER (WHERE status = 'charged' AND credit_by < $1) AS overdue_charged,
                    count(*) FILTER (WHERE status = 'credited' AND sync_by < $1) AS overdue_credited
               FROM recharge_records WHERE next_at IS NOT NULL) r,
            (SELECT count(*) AS refunds_failing, min(created_at) AS refund_failing_since
               FROM refunds WHERE next_at IS NOT NULL AND status IN ('requested', 'pending')
                    AND (refusals > 0 OR position('~' IN refund_key) > 0)) f,
            (SELECT count(*) AS paused
               FROM recharge_state s JOIN organization_balance_config c USING (c_organization_id)
              WHERE s.paused_at IS NOT NULL AND COALESCE(c.resumed_at < s.paused_at, true) AND c.closed_at IS NULL
                    AND (s.pause_payment_method IS NULL OR s.pause_payment_method IS NOT DISTINCT FROM c.default_payment_method_id)) p",
    )
    .bind(now)
    .fetch_one(&mut *connection)
    .await?;
    Ok(put_together(&in_flight, &others))
}

fn put_together(in_flight: &[InFlight], others: &Others) -> Figures {
    let mut figures = Figures {
        overdue_charged: others.overdue_charged,
        overdue_credited: others.overdue_credited,
        refunds_failing: others.refunds_failing,
        refund_failing_since: others.refund_failing_since,
        paused: others.paused,
        ..Figures::default()
    };
    for line in in_flight {
        *figures.in_flight.entry(line.status.clone()).or_default() += line.recharges;
        if line.status == State::Charged.as_str() {
            figures.not_credited += line.recharges;
            let oldest = [figures.not_credited_since, line.oldest_charge];
            figures.not_credited_since = oldest.into_iter().flatten().min();
        }
        if CAPTURED.iter().any(|state| state.as_str() == line.status) {
            add(&mut figures.unsettled, &line.currency, line.owed);
        }
    }
    figures
}

/// A currency that this build does not know has no minor units here; its recharges are counted all the same.
fn add(sums: &mut BTreeMap<String, i64>, currency: &str, owed: Decimal) {
    let Ok(known) = currency.parse::<Currency>() else { return };
    if let Ok(owed) = Money::from_decimal(owed, known) {
        let sum = sums.entry(known.code().to_owned()).or_default();
        *sum = sum.saturating_add(owed.minor);
    }
}
