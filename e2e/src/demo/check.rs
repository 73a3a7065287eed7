//! The closing table: what the events said, held against the books of Stripe, the ledger and the KMS or LiteLLM.

use anyhow::Context;
use common::money::Money;
use serde_json::Value;
use sqlx::{PgPool, Row};
use xtask::say;

use super::books::{Books, judge, row};
use super::describe::plain;
use super::enforcer::Enforcer;
use super::stage::Stage;
use super::story::Chain;
use crate::client::Client;
use crate::stack::STRIPE_KEY;

/// What the books have of this chain.
struct Entries {
    /// Stripe's payment intent.
    intent: Value,
    /// What the ledger's transaction added to the quota, and the quota after it.
    booked: Money,
    quota_after: Money,
}

/// Reads the books and prints the table.
///
/// # Errors
/// When any of them disagrees.
pub(super) async fn closing(stage: &Stage, chain: &Chain) -> anyhow::Result<()> {
    let books = Books::read(stage).await.context("reading the books")?;
    let entries = read(&stage.client, &stage.pool, chain).await.context("reading the books")?;
    table(&stage.enforcer, chain, &books, &entries);
    judge(&verdicts(&stage.enforcer, chain, &books, &entries))?;
    say("\n  The chain settled, and all books agree.");
    Ok(())
}

fn table(enforcer: &Enforcer, chain: &Chain, books: &Books, entries: &Entries) {
    let charged = &chain.charged.data;
    let before = Money { minor: entries.quota_after.minor - entries.booked.minor, ..entries.booked };
    say("");
    row("charged", &format_args!("{} in total, by Stripe", captured(entries, charged.total_charge)));
    row("fee", &format_args!("{} of it", charged.fee));
    row("booked", &format_args!("{} as quota", entries.booked));
    row(
        "quota at the ledger",
        &format_args!("{} → {}", plain(before.to_decimal()), plain(books.ledger_quota.to_decimal())),
    );
    let name = format!("quota at {}", enforcer.title());
    row(&name, &format_args!("{} → {}", plain(chain.quota_before), plain(books.quota_in_force)));
    row("webhook → quota", &format_args!("{} ms", chain.to_quota.as_millis()));
    row("event", &chain.trigger.id);
    row("recharge", &charged.recharge_id);
    row("payment intent", &charged.payment_intent_id);
    row("ledger transaction", &chain.credited.data.transaction_id);
    say("");
}

/// What has to be true, in the order of the chain.
fn verdicts(enforcer: &Enforcer, chain: &Chain, books: &Books, entries: &Entries) -> Vec<(bool, String)> {
    let charged = &chain.charged.data;
    let total = charged.total_charge;
    let recharge = charged.recharge_id.to_string();
    let intent = &entries.intent;
    let alone = books.at_stripe("captured") == total && books.at_stripe("refunded").minor == 0;
    let one_settled = matches!(books.history.as_slice(),
        [one] if one["status"] == "settled" && one["recharge_id"] == recharge.as_str());
    let verdicts = [
        (intent["status"] == "succeeded" && captured(entries, total) == total, "Stripe captured what was charged"),
        (intent["metadata"]["recharge_id"] == recharge.as_str(), "Stripe's payment intent names the recharge"),
        (alone, "Stripe has no other charge, and no refund"),
        (entries.booked == charged.amount, "the ledger booked what was bought"),
        (books.ledger_quota == entries.quota_after, "the ledger's quota is what it was after this booking"),
        (books.ledger_quota.to_decimal() == books.quota_in_force, enforcer.promise()),
        (chain.settled.data.new_quota == books.quota_in_force, "the settled event says this quota too"),
        (one_settled, "the recharge history has this one recharge, settled"),
        (books.drifts == 0, "the ledger verifies: entries, balances, versions, chain of hashes"),
        (books.dead_letters == 0, "there are no dead letters"),
    ];
    verdicts.into_iter().map(|(good, what)| (good, what.to_owned())).collect()
}

/// What Stripe received for the payment intent.
fn captured(entries: &Entries, like: Money) -> Money {
    Money { minor: entries.intent["amount_received"].as_i64().unwrap_or(0), ..like }
}

async fn read(client: &Client, pool: &PgPool, chain: &Chain) -> anyhow::Result<Entries> {
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
    Ok(Entries {
        intent,
        booked: Money::new(booked.try_get("amount_minor")?, currency),
        quota_after: Money::new(booked.try_get("quota_after_minor")?, currency),
    })
}
