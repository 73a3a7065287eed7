//! How a scenario has to end, held against the books.

use anyhow::Context;
use common::contract::{RechargeChargedV1, RechargeRefundedV1};
use common::money::Money;
use rust_decimal::Decimal;
use xtask::say;

use crate::demo::books::{Books, judge, row};
use crate::demo::describe::plain;
use crate::demo::stage::{INITIAL_QUOTA, Stage};

/// What has to be true in the end.
pub(super) struct Ending {
    captured: i64,
    refunded: i64,
    quota: Decimal,
    statuses: &'static [&'static str],
    rows: Vec<(&'static str, String)>,
    verdicts: Vec<(bool, String)>,
    moral: &'static str,
}

impl Ending {
    /// One in which recharges ended so, oldest first; nothing was charged.
    pub(super) fn new(statuses: &'static [&'static str], moral: &'static str) -> Self {
        let quota = Decimal::from(INITIAL_QUOTA);
        Self { captured: 0, refunded: 0, quota, statuses, rows: Vec::new(), verdicts: Vec::new(), moral }
    }

    /// With a charge that was booked.
    pub(super) fn charged(mut self, charge: &RechargeChargedV1) -> Self {
        self.captured += charge.total_charge.minor;
        self.quota += charge.amount.to_decimal();
        self.row("recharge", format!("{} for {}", charge.amount, charge.payment_intent_id))
    }

    /// With a refund that was booked.
    pub(super) fn refunded(mut self, refund: &RechargeRefundedV1) -> Self {
        self.refunded += refund.total_refunded.minor;
        self.quota -= refund.amount.to_decimal();
        self.row("refund", format!("{} by {}", refund.total_refunded, refund.refund_id))
    }

    /// With a row more in the table.
    pub(super) fn row(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.rows.push((name, value.into()));
        self
    }

    /// With something more that has to be true.
    pub(super) fn verdict(mut self, good: bool, what: impl Into<String>) -> Self {
        self.verdicts.push((good, what.into()));
        self
    }

    /// Reads the books and prints the table.
    ///
    /// # Errors
    /// When it did not end so.
    pub(super) async fn check(self, stage: &Stage) -> anyhow::Result<()> {
        let books = Books::read(stage).await.context("reading the books")?;
        self.table(&books);
        judge(&self.verdicts(&books))?;
        say(format_args!("\n  {} All books agree.", self.moral));
        Ok(())
    }

    fn table(&self, books: &Books) {
        let (captured, refunded) = (books.at_stripe("captured"), books.at_stripe("refunded"));
        let kept = Money::new(captured.minor - refunded.minor, captured.currency);
        say("");
        row("captured by Stripe", &captured);
        row("given back", &refunded);
        row("kept", &kept);
        let before = Decimal::from(INITIAL_QUOTA);
        row("quota at the ledger", &format_args!("{} → {}", plain(before), plain(books.ledger_quota.to_decimal())));
        row("quota at the KMS", &format_args!("{} → {}", plain(before), plain(books.quota_in_force)));
        row("recharge history", &books.statuses().join(", "));
        for (name, value) in &self.rows {
            row(name, value);
        }
        say("");
    }

    fn verdicts(&self, books: &Books) -> Vec<(bool, String)> {
        let currency = books.ledger_quota.currency;
        let money = |minor| Money::new(minor, currency);
        let (captured, refunded) = (money(self.captured), money(self.refunded));
        let stripe = books.at_stripe("captured") == captured && books.at_stripe("refunded") == refunded;
        let quota = books.ledger_quota.to_decimal();
        let mut verdicts = vec![
            (stripe, format!("Stripe captured {captured} and gave {refunded} back, no more and no less")),
            (books.one_intent_each(), "Stripe has one payment intent for each recharge, and no other".to_owned()),
            (quota == self.quota, format!("the ledger's quota is {}, as told", plain(self.quota))),
            (books.quota_in_force == quota, "the KMS enforces the ledger's quota".to_owned()),
            (books.statuses() == self.statuses, format!("the recharge history says: {}", self.statuses.join(", "))),
            (books.drifts == 0, "the ledger verifies: entries, balances, versions, chain of hashes".to_owned()),
            (books.dead_letters == 0, "there are no dead letters".to_owned()),
        ];
        verdicts.extend(self.verdicts.iter().cloned());
        verdicts
    }
}
