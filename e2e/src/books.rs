//! The judge: the simulators' own books against the ledger, the records and each other.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use async_nats::jetstream::consumer::pull;
use common::broker::{Broker, Definitions};
use common::money::{Currency, Money, decimal_from_json};
use rust_decimal::Decimal;
use serde_json::Value;
use sqlx::Row;

use crate::stack::Stack;
use crate::wait;

/// What a quiet system comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Totals {
    /// What Stripe captured and did not give back, in minor units.
    pub captured: i64,
    /// How many recharges have settled.
    pub settled: i64,
    /// Payment intents that succeeded.
    pub succeeded: i64,
    /// The ledger's quota of each organization.
    pub quotas: BTreeMap<String, Decimal>,
}

/// Waits until nothing is in flight and nothing waits to be handled, then checks that Stripe, ledger, records and KMS agree.
///
/// # Errors
/// What does not agree.
pub async fn quiet_and_balanced(stack: &Stack) -> anyhow::Result<Totals> {
    wait::until("the system to come to rest", || at_rest(stack)).await?;
    let totals = totals(stack).await?;
    ensure!(stack.dead_letters().await? == 0, "there are dead letters");
    let report = ledger::verify::verify(&stack.pool).await?;
    ensure!(report.drifts.is_empty(), "the ledger does not verify: {:?}", report.drifts);
    Ok(totals)
}

/// Nothing in flight, no consumer with anything left.
async fn at_rest(stack: &Stack) -> anyhow::Result<()> {
    // What waits for a customer may wait for a day: it is at rest.
    let sql = "SELECT count(*) FROM recharge_records WHERE status IN ('pending', 'processing', 'charged', 'credited', 'refunding', 'returning')";
    let in_flight: i64 = sqlx::query_scalar(sql).fetch_one(&stack.pool).await?;
    ensure!(in_flight == 0, "{in_flight} recharges are in flight");
    let sql = "SELECT count(*) FROM refunds WHERE status IN ('requested', 'pending')";
    let refunds: i64 = sqlx::query_scalar(sql).fetch_one(&stack.pool).await?;
    ensure!(refunds == 0, "{refunds} refunds are not made");
    let left = left_over(&stack.broker).await?;
    ensure!(left.is_empty(), "{}", left.join(", "));
    Ok(())
}

/// Which consumers have anything left, with how much; a line each.
///
/// # Errors
/// What the broker says.
pub async fn left_over(broker: &Broker) -> anyhow::Result<Vec<String>> {
    let mut lines = Vec::new();
    for definition in &Definitions::committed()?.consumers {
        let name = definition.config.durable_name.clone().unwrap_or_default();
        let stream = definition.stream.as_str();
        let found = broker.jetstream().get_consumer_from_stream::<pull::Config, _, _>(&name, stream).await?;
        let info = found.cached_info();
        if info.num_pending > 0 || info.num_ack_pending > 0 {
            let (pending, unconfirmed) = (info.num_pending, info.num_ack_pending);
            lines.push(format!("{name} has {pending} messages of {stream} left, {unconfirmed} not acknowledged"));
        }
    }
    Ok(lines)
}

async fn totals(stack: &Stack) -> anyhow::Result<Totals> {
    let stripe = stack.client.stripe_books().await?;
    let captured = minor(&stripe["captured"]) - minor(&stripe["refunded"]);
    let succeeded = stripe["payment_intents"]["succeeded"].as_i64().unwrap_or(0);
    let row = sqlx::query(
        "SELECT count(*) FILTER (WHERE status = 'settled') AS settled, count(*) FILTER (WHERE charged_at IS NOT NULL) AS charged,
            COALESCE(sum(total_charge - refunded_total) FILTER (WHERE charged_at IS NOT NULL), 0) AS total
        FROM recharge_records",
    )
    .fetch_one(&stack.pool)
    .await?;
    let (settled, charged): (i64, i64) = (row.try_get("settled")?, row.try_get("charged")?);
    let total: Decimal = row.try_get("total")?;
    // What the processor kept was moved from the clearing account to the costs.
    let booked: i64 = sqlx::query_scalar(
        "SELECT COALESCE(sum(-e.amount_minor), 0)::bigint FROM ledger_entries e JOIN ledger_accounts a ON a.id = e.account_id
        WHERE a.kind IN ('stripe_clearing', 'processing_costs')",
    )
    .fetch_one(&stack.pool)
    .await?;
    ensure!(captured == booked, "Stripe captured {captured}, the ledger booked {booked}");
    let recorded = Money::from_decimal(total, Currency::USD)?.minor;
    ensure!(captured == recorded, "Stripe captured {captured}, the records say {recorded}");
    ensure!(succeeded == charged, "{succeeded} payment intents succeeded, {charged} recharges were charged");
    Ok(Totals { captured, settled, succeeded, quotas: quotas(stack).await? })
}

/// The ledger's quotas, each of which must be what the KMS has.
async fn quotas(stack: &Stack) -> anyhow::Result<BTreeMap<String, Decimal>> {
    let rows = sqlx::query("SELECT c_organization_id, quota_minor FROM ledger_quotas").fetch_all(&stack.pool).await?;
    let books = stack.client.kms_books().await?;
    let mut quotas = BTreeMap::new();
    for row in rows {
        let organization: String = row.try_get("c_organization_id")?;
        let quota = Money::new(row.try_get("quota_minor")?, Currency::USD).to_decimal();
        let there = &books["organizations"][&organization]["quota"];
        let there = decimal_from_json(there).with_context(|| format!("the KMS does not know {organization}"))?;
        ensure!(there == quota, "{organization}: the ledger has {quota}, the KMS {there}");
        quotas.insert(organization, quota);
    }
    Ok(quotas)
}

/// A total of one currency in the books: `{"usd": 100}`, or nothing.
fn minor(books: &Value) -> i64 {
    books["usd"].as_i64().unwrap_or(0)
}
