//! The closing table: what the events said, held against the books of Stripe, the ledger and the KMS.

use anyhow::{Context, ensure};
use common::broker::Broker;
use common::contract::streams;
use common::money::Money;
use rust_decimal::Decimal;
use serde_json::Value;
use sqlx::{PgPool, Row};
use xtask::say;

use super::describe::plain;
use super::story::{Chain, ORGANIZATION, kms_quota};
use crate::client::Client;
use crate::stack::STRIPE_KEY;

/// What each part has in its own books.
struct Books {
    /// Stripe's payment intent.
    intent: Value,
    /// All of Stripe's account.
    stripe: Value,
    /// What the ledger's transaction added to the quota, and the quota after it.
    booked: Money,
    quota_after: Money,
    /// The ledger's quota now.
    ledger_quota: Money,
    kms_quota: Decimal,
    history: Vec<Value>,
    dead_letters: u64,
    /// What the ledger finds wrong with itself.
    drifts: usize,
}

/// Reads the books and prints the table.
///
/// # Errors
/// When any of them disagrees.
pub(super) async fn closing(client: &Client, pool: &PgPool, broker: &Broker, chain: &Chain) -> anyhow::Result<()> {
    let books = read(client, pool, broker, chain).await.context("reading the books")?;
    table(chain, &books);
    let verdicts = verdicts(chain, &books);
    for (good, what) in &verdicts {
        say(format_args!("  {} {what}", if *good { "✓" } else { "✗" }));
    }
    let wrong: Vec<&str> = verdicts.into_iter().filter(|(good, _)| !good).map(|(_, what)| what).collect();
    ensure!(wrong.is_empty(), "these do not hold: {}", wrong.join("; "));
    say("\n  The chain settled, and all books agree.");
    Ok(())
}

fn table(chain: &Chain, books: &Books) {
    let charged = &chain.charged.data;
    let before = Money { minor: books.quota_after.minor - books.booked.minor, ..books.booked };
    let row = |name: &str, value: &dyn std::fmt::Display| say(format_args!("  {name:<21}{value}"));
    say("");
    row("charged", &format_args!("{} in total, by Stripe", captured(books, charged.total_charge)));
    row("fee", &format_args!("{} of it", charged.fee));
    row("booked", &format_args!("{} as quota", books.booked));
    row(
        "quota at the ledger",
        &format_args!("{} → {}", plain(before.to_decimal()), plain(books.ledger_quota.to_decimal())),
    );
    row("quota at the KMS", &format_args!("{} → {}", plain(chain.quota_before), plain(books.kms_quota)));
    row("webhook → quota", &format_args!("{} ms", chain.to_quota.as_millis()));
    row("event", &chain.trigger.id);
    row("recharge", &charged.recharge_id);
    row("payment intent", &charged.payment_intent_id);
    row("ledger transaction", &chain.credited.data.transaction_id);
    say("");
}

/// What has to be true, in the order of the chain.
fn verdicts(chain: &Chain, books: &Books) -> Vec<(bool, &'static str)> {
    let charged = &chain.charged.data;
    let total = charged.total_charge;
    let recharge = charged.recharge_id.to_string();
    let intent = &books.intent;
    let currency = total.currency.code();
    let alone = books.stripe["captured"][currency].as_i64() == Some(total.minor)
        && books.stripe["refunded"][currency].as_i64().unwrap_or(0) == 0;
    let one_settled = matches!(books.history.as_slice(),
        [one] if one["status"] == "settled" && one["recharge_id"] == recharge.as_str());
    vec![
        (intent["status"] == "succeeded" && captured(books, total) == total, "Stripe captured what was charged"),
        (intent["metadata"]["recharge_id"] == recharge.as_str(), "Stripe's payment intent names the recharge"),
        (alone, "Stripe has no other charge, and no refund"),
        (books.booked == charged.amount, "the ledger booked what was bought"),
        (books.ledger_quota == books.quota_after, "the ledger's quota is what it was after this booking"),
        (books.ledger_quota.to_decimal() == books.kms_quota, "the KMS enforces the ledger's quota"),
        (chain.settled.data.new_quota == books.kms_quota, "the settled event says this quota too"),
        (one_settled, "the recharge history has this one recharge, settled"),
        (books.drifts == 0, "the ledger verifies: entries, balances, versions, chain of hashes"),
        (books.dead_letters == 0, "there are no dead letters"),
    ]
}

/// What Stripe received for the payment intent.
fn captured(books: &Books, like: Money) -> Money {
    Money { minor: books.intent["amount_received"].as_i64().unwrap_or(0), ..like }
}

async fn read(client: &Client, pool: &PgPool, broker: &Broker, chain: &Chain) -> anyhow::Result<Books> {
    let intent = format!("{}/v1/payment_intents/{}", client.stripe, chain.charged.data.payment_intent_id);
    let intent = client.http.get(intent).bearer_auth(STRIPE_KEY).send().await?.error_for_status()?.json().await?;
    let currency = chain.charged.data.total_charge.currency;
    let booked = sqlx::query(
        "SELECT e.amount_minor, t.quota_after_minor FROM ledger_transactions t
           JOIN ledger_entries e ON e.transaction_id = t.id
           JOIN ledger_accounts a ON a.id = e.account_id AND a.kind = 'balance'
          WHERE t.id = $1::text::uuid",
    )
    .bind(chain.credited.data.transaction_id.to_string())
    .fetch_one(pool)
    .await
    .context("the ledger's transaction")?;
    let quota: i64 = sqlx::query_scalar("SELECT quota_minor FROM ledger_quotas WHERE c_organization_id = $1")
        .bind(ORGANIZATION)
        .fetch_one(pool)
        .await
        .context("the ledger's quota")?;
    let dead_letters = broker.jetstream().get_stream(streams::DEAD_LETTERS).await?;
    Ok(Books {
        intent,
        stripe: client.stripe_books().await?,
        booked: Money::new(booked.try_get("amount_minor")?, currency),
        quota_after: Money::new(booked.try_get("quota_after_minor")?, currency),
        ledger_quota: Money::new(quota, currency),
        kms_quota: kms_quota(client).await?,
        history: client.history(ORGANIZATION).await?,
        dead_letters: dead_letters.cached_info().state.messages,
        drifts: ledger::verify::verify(pool).await?.drifts.len(),
    })
}
