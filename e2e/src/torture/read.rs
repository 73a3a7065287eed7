//! Reads all books into one: Stripe's and the KMS' own, the ledger's, the records'.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::Context;
use async_nats::jetstream::consumer::pull::OrderedConfig;
use common::contract::streams;
use common::money::decimal_from_json;
use futures_util::StreamExt;
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use serde_json::Value;
use sqlx::{FromRow, PgPool};

use super::field::Field;
use super::verdict::{Account, Books, Intent, Outcome, Record, Refund, StripeRefund};

/// How often the books are read again because something moved meanwhile.
const TRIES: usize = 20;
/// How long the broker may take for the next message.
const PATIENCE: Duration = Duration::from_secs(10);

/// The books of a system at rest. What is accepted, and what is wrong by itself, is left for the caller to fill in.
///
/// # Errors
/// When a book can't be read, or they never hold still.
pub(super) async fn books(field: &Field) -> anyhow::Result<Books> {
    for _ in 0..TRIES {
        let before = last_sequences(field).await?;
        let books = once(field).await?;
        if before == last_sequences(field).await? {
            return Ok(books);
        }
    }
    anyhow::bail!("the books did not hold still while they were read {TRIES} times")
}

/// What moves when anything does: every step says what it did.
async fn last_sequences(field: &Field) -> anyhow::Result<Vec<u64>> {
    let mut sequences = Vec::new();
    for name in [streams::RECHARGES, streams::LEDGER, streams::QUOTAS] {
        sequences.push(field.broker.jetstream().get_stream(name).await?.cached_info().state.last_sequence);
    }
    Ok(sequences)
}

async fn once(field: &Field) -> anyhow::Result<Books> {
    let mut books = Books {
        records: records(&field.pool).await?,
        refunds: refunds(&field.pool).await?,
        outcomes: outcomes(&field.pool).await?,
        said: said(field).await?,
        ..Books::default()
    };
    ledger(&field.pool, &mut books).await?;
    stripe(&field.client.stripe_books().await?, &customers(&field.pool).await?, &mut books);
    kms(&field.client.kms_books().await?, &mut books)?;
    Ok(books)
}

/// The type and the recharge of every event about a recharge.
async fn said(field: &Field) -> anyhow::Result<BTreeSet<(String, String)>> {
    let mut stream = field.broker.jetstream().get_stream(streams::RECHARGES).await?;
    let left = usize::try_from(stream.info().await?.state.messages)?;
    let mut said = BTreeSet::new();
    if left == 0 {
        return Ok(said);
    }
    let consumer = stream.create_consumer(OrderedConfig::default()).await?;
    let mut messages = consumer.messages().await?.take(left);
    while let Some(message) = tokio::time::timeout(PATIENCE, messages.next()).await.context("reading what was said")? {
        let event: Value = serde_json::from_slice(&message?.payload)?;
        if let (Some(kind), Some(recharge)) = (word(&event["type"]), word(&event["data"]["recharge_id"])) {
            said.insert((kind, recharge));
        }
    }
    Ok(said)
}

async fn records(pool: &PgPool) -> anyhow::Result<Vec<Record>> {
    #[derive(FromRow)]
    struct Row {
        recharge_id: String,
        trigger: String,
        status: String,
        total: i64,
        intent: Option<String>,
        charged: bool,
    }
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT recharge_id::text, trigger_event_id AS trigger, status, (total_charge * 100)::bigint AS total,
                payment_intent_id AS intent, charged_at IS NOT NULL AS charged
           FROM recharge_records WHERE trigger_event_id IS NOT NULL ORDER BY created_at",
    )
    .fetch_all(pool)
    .await
    .context("reading the recharges")?;
    let rows = rows.into_iter();
    Ok(rows
        .map(|Row { recharge_id, trigger, status, total, intent, charged }| Record {
            recharge_id,
            trigger,
            status,
            total,
            intent,
            charged,
        })
        .collect())
}

async fn refunds(pool: &PgPool) -> anyhow::Result<Vec<Refund>> {
    let rows: Vec<(String, String, i64, Option<String>)> = sqlx::query_as(
        "SELECT refund_key, status, (total * 100)::bigint, stripe_refund_id FROM refunds ORDER BY created_at",
    )
    .fetch_all(pool)
    .await
    .context("reading the refunds")?;
    let rows = rows.into_iter();
    Ok(rows.map(|(key, status, total, stripe_id)| Refund { key, status, total, stripe_id }).collect())
}

/// What came of each event: of triggers where the recharger logs them, of refunds and syncs in their own tables.
async fn outcomes(pool: &PgPool) -> anyhow::Result<BTreeMap<String, Outcome>> {
    let mut outcomes = BTreeMap::new();
    let rows: Vec<(String, String, Option<String>, Option<String>)> = sqlx::query_as(
        "SELECT e.event_id, e.decision, e.reason, r.status FROM webhook_events e
           LEFT JOIN recharge_records r ON r.trigger_event_id = e.event_id",
    )
    .fetch_all(pool)
    .await
    .context("reading the events")?;
    for (event, decision, reason, status) in rows {
        let outcome = match (decision.as_str(), reason, status) {
            ("charge", _, Some(status))
                if matches!(status.as_str(), "settled" | "declined" | "failed" | "refunded") =>
            {
                Outcome::Ended(status)
            }
            ("charge", _, status) => Outcome::Open(status.unwrap_or_else(|| "without a recharge".to_owned())),
            ("skipped", None, _) => Outcome::Open("skipped without a reason".to_owned()),
            (decision, reason, _) => Outcome::Ended(format!("{decision} {}", reason.unwrap_or_default())),
        };
        outcomes.insert(event, outcome);
    }
    let rows: Vec<(String, String)> =
        sqlx::query_as("SELECT refund_key, status FROM refunds WHERE refund_key LIKE 'request:%' ORDER BY created_at")
            .fetch_all(pool)
            .await?;
    for (key, status) in rows {
        // What the bank sent back and was tried again has `~2` at its end, and comes later.
        let event = key.trim_start_matches("request:").split('~').next().unwrap_or_default().to_owned();
        let ended = matches!(status.as_str(), "succeeded" | "failed");
        outcomes.insert(event, if ended { Outcome::Ended(status) } else { Outcome::Open(status) });
    }
    for (sql, end) in [
        ("SELECT cause FROM quota_failures", "sync given up"),
        ("SELECT cause FROM quota_syncs", "synced"),
        ("SELECT correlation_id FROM quota_syncs", "synced"),
    ] {
        let causes: Vec<String> = sqlx::query_scalar(sql).fetch_all(pool).await?;
        for cause in causes {
            outcomes.entry(cause).or_insert_with(|| Outcome::Ended(end.to_owned()));
        }
    }
    Ok(outcomes)
}

/// The ledger's books and the records', by organization.
async fn ledger(pool: &PgPool, books: &mut Books) -> anyhow::Result<()> {
    let accounts = &mut books.organizations;
    let quotas: Vec<(String, i64)> =
        sqlx::query_as("SELECT c_organization_id, quota_minor FROM ledger_quotas").fetch_all(pool).await?;
    for (organization, quota) in quotas {
        accounts.entry(organization).or_default().ledger_quota = Some(quota);
    }
    let versions: Vec<(String, i64)> =
        sqlx::query_as("SELECT c_organization_id, quota_after_minor FROM ledger_transactions").fetch_all(pool).await?;
    for (organization, quota) in versions {
        accounts.entry(organization).or_default().ledger_quotas.insert(quota);
    }
    // What the processor kept was moved from the clearing account to the costs.
    let booked: Vec<(String, i64)> = sqlx::query_as(
        "SELECT a.c_organization_id, sum(-e.amount_minor)::bigint
           FROM ledger_entries e JOIN ledger_accounts a ON a.id = e.account_id
          WHERE a.kind IN ('stripe_clearing', 'processing_costs') GROUP BY 1",
    )
    .fetch_all(pool)
    .await?;
    for (organization, amount) in booked {
        accounts.entry(organization).or_default().booked = amount;
    }
    let recorded: Vec<(String, i64)> = sqlx::query_as(
        "SELECT c_organization_id, (sum(total_charge - refunded_total) * 100)::bigint
           FROM recharge_records WHERE charged_at IS NOT NULL GROUP BY 1",
    )
    .fetch_all(pool)
    .await?;
    for (organization, amount) in recorded {
        accounts.entry(organization).or_default().recorded = amount;
    }
    Ok(())
}

/// Which organization has which customer at Stripe.
async fn customers(pool: &PgPool) -> anyhow::Result<BTreeMap<String, String>> {
    let sql = "SELECT stripe_customer_id, c_organization_id FROM organization_balance_config WHERE stripe_customer_id IS NOT NULL";
    let rows: Vec<(String, String)> = sqlx::query_as(sql).fetch_all(pool).await?;
    Ok(rows.into_iter().collect())
}

fn stripe(stripe: &Value, customers: &BTreeMap<String, String>, books: &mut Books) {
    let by_customer = stripe["by_customer"].as_object().into_iter().flatten();
    for (customer, theirs) in by_customer {
        let intents = theirs["payment_intents"].as_array().into_iter().flatten();
        let refunds = theirs["refunds"].as_array().into_iter().flatten();
        match customers.get(customer) {
            Some(organization) => {
                let account = books.organizations.entry(organization.clone()).or_default();
                account.captured += theirs["captured"].as_i64().unwrap_or_default();
                account.refunded += theirs["refunded"].as_i64().unwrap_or_default();
            }
            None => books.strangers.push(customer.clone()),
        }
        books.intents.extend(intents.map(|intent| Intent {
            id: word(&intent["id"]).unwrap_or_default(),
            succeeded: intent["status"] == "succeeded",
            amount: intent["amount"].as_i64().unwrap_or_default(),
            recharge_id: word(&intent["metadata"]["recharge_id"]),
            trigger: word(&intent["metadata"]["trigger"]),
        }));
        books.stripe_refunds.extend(refunds.map(|refund| StripeRefund {
            id: word(&refund["id"]).unwrap_or_default(),
            succeeded: refund["status"] == "succeeded",
            amount: refund["amount"].as_i64().unwrap_or_default(),
            refund_key: word(&refund["metadata"]["refund_key"]),
        }));
    }
}

fn word(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn kms(kms: &Value, books: &mut Books) -> anyhow::Result<()> {
    for (organization, theirs) in kms["organizations"].as_object().into_iter().flatten() {
        let account: &mut Account = books.organizations.entry(organization.clone()).or_default();
        account.kms_quota = Some(cents(&theirs["quota"])?);
        let writes = theirs["quota_writes"].as_array().into_iter().flatten();
        account.kms_quotas = writes.map(cents).collect::<anyhow::Result<_>>()?;
    }
    Ok(())
}

fn cents(quota: &Value) -> anyhow::Result<i64> {
    let quota = decimal_from_json(quota).map_err(|error| anyhow::anyhow!("the quota {quota}: {error}"))?;
    (quota * Decimal::ONE_HUNDRED).to_i64().with_context(|| format!("the quota {quota} is out of range"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn stripes_books_are_read_by_organization() {
        let stripe_books = json!({ "by_customer": {
            "cus_1": { "captured": 500, "refunded": 100,
                "payment_intents": [{ "id": "pi_1", "amount": 500, "status": "succeeded",
                    "metadata": { "recharge_id": "r1", "trigger": "evt_1" } }],
                "refunds": [{ "id": "re_1", "amount": 100, "status": "succeeded", "metadata": { "refund_key": "k" } }] },
            "cus_2": { "captured": 7, "refunded": 0, "payment_intents": [], "refunds": [] },
        } });
        let mut books = Books::default();
        stripe(&stripe_books, &[("cus_1".to_owned(), "acme".to_owned())].into(), &mut books);
        assert_eq!(books.strangers, ["cus_2"]);
        let account = Account { captured: 500, refunded: 100, ..Account::default() };
        assert_eq!(books.organizations, [("acme".to_owned(), account)].into());
        assert_eq!((books.intents.len(), books.intents[0].recharge_id.as_deref()), (1, Some("r1")));
        assert_eq!(books.stripe_refunds[0].refund_key.as_deref(), Some("k"));
    }

    #[test]
    fn the_kms_quotas_are_read_to_the_cent() {
        let kms_books = json!({ "organizations": { "acme": { "quota": "200.5", "quota_writes": [0, 200.5] } } });
        let mut books = Books::default();
        kms(&kms_books, &mut books).unwrap();
        let account = &books.organizations["acme"];
        assert_eq!((account.kms_quota, account.kms_quotas.as_slice()), (Some(20_050), [0, 20_050].as_slice()));
        assert!(cents(&json!("much")).is_err());
    }
}
