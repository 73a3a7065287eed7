//! What everybody has in their own books: Stripe, the ledger, the KMS or LiteLLM, the history, and the broker's dead letters.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use common::contract::streams;
use common::money::{Currency, Money};
use rust_decimal::Decimal;
use serde_json::Value;
use xtask::say;

use super::stage::{ORGANIZATION, Stage};

/// The books.
pub(super) struct Books {
    /// All of Stripe's account.
    pub(super) stripe: Value,
    /// The ledger's quota now.
    pub(super) ledger_quota: Money,
    /// The quota that is enforced.
    pub(super) quota_in_force: Decimal,
    /// The organization's recharges, newest first.
    pub(super) history: Vec<Value>,
    /// How many dead letters there are.
    pub(super) dead_letters: u64,
    /// What the ledger finds wrong with itself.
    pub(super) drifts: usize,
}

impl Books {
    /// Reads them.
    pub(super) async fn read(stage: &Stage) -> anyhow::Result<Self> {
        let Stage { client, pool, broker, .. } = stage;
        let (quota, currency): (i64, String) = sqlx::query_as(
            "SELECT q.quota_minor, o.currency FROM ledger_quotas q JOIN ledger_organizations o USING (c_organization_id)
              WHERE c_organization_id = $1",
        )
        .bind(ORGANIZATION)
        .fetch_one(pool)
        .await
        .context("the ledger's quota")?;
        let currency: Currency = currency.parse().ok().context("the ledger's currency")?;
        let dead_letters = broker.jetstream().get_stream(streams::DEAD_LETTERS).await?;
        Ok(Self {
            stripe: client.stripe_books().await?,
            ledger_quota: Money::new(quota, currency),
            quota_in_force: stage.quota().await?,
            history: client.history(ORGANIZATION).await?,
            dead_letters: dead_letters.cached_info().state.messages,
            drifts: ledger::verify::verify(pool).await?.drifts.len(),
        })
    }

    /// A total of Stripe's account, such as `captured`.
    pub(super) fn at_stripe(&self, total: &str) -> Money {
        let currency = self.ledger_quota.currency;
        Money::new(self.stripe[total][currency.code()].as_i64().unwrap_or(0), currency)
    }

    /// How many payment intents Stripe has for each recharge.
    fn payment_intents(&self) -> BTreeMap<String, usize> {
        let customers = self.stripe["by_customer"].as_object().into_iter().flat_map(|customers| customers.values());
        let intents = customers.filter_map(|customer| customer["payment_intents"].as_array()).flatten();
        let mut counts = BTreeMap::new();
        for intent in intents {
            let recharge = intent["metadata"]["recharge_id"].as_str().unwrap_or("none").to_owned();
            *counts.entry(recharge).or_default() += 1;
        }
        counts
    }

    /// Whether Stripe has exactly one payment intent for each recharge of the history, and no other.
    pub(super) fn one_intent_each(&self) -> bool {
        let ids = self.history.iter().filter_map(|recharge| recharge["recharge_id"].as_str());
        let wanted: BTreeMap<String, usize> = ids.map(|id| (id.to_owned(), 1)).collect();
        self.payment_intents() == wanted
    }

    /// The states of the recharges, oldest first.
    pub(super) fn statuses(&self) -> Vec<&str> {
        self.history.iter().rev().map(|recharge| recharge["status"].as_str().unwrap_or("?")).collect()
    }
}

/// A row of a closing table.
pub(super) fn row(name: &str, value: &dyn std::fmt::Display) {
    say(format_args!("  {name:<21}{value}"));
}

/// Prints what has to be true, and whether it is.
///
/// # Errors
/// When anything is not.
pub(super) fn judge(verdicts: &[(bool, String)]) -> anyhow::Result<()> {
    for (good, what) in verdicts {
        say(format_args!("  {} {what}", if *good { "✓" } else { "✗" }));
    }
    let wrong: Vec<&str> = verdicts.iter().filter(|(good, _)| !good).map(|(_, what)| what.as_str()).collect();
    ensure!(wrong.is_empty(), "these do not hold: {}", wrong.join("; "));
    Ok(())
}
