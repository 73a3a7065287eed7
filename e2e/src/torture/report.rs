//! What a campaign says: while it runs, and in the end.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context;
use async_nats::jetstream::consumer::pull;
use common::broker::Definitions;
use futures_util::TryStreamExt;
use serde_json::Value;
use xtask::say;

use super::field::Field;
use super::notes::Written;
use super::verdict::Books;
use super::{Report, Settings};

/// How long the database may take for a line of progress.
const PATIENCE: Duration = Duration::from_secs(1);

/// Counts with what they count.
pub(super) type Counts = BTreeMap<String, u64>;

/// One line about where it is.
pub(super) async fn progress(field: &Field, written: &Written, elapsed: Duration) {
    let sql = "SELECT status, count(*) FROM recharge_records GROUP BY 1 ORDER BY 1";
    let statuses = sqlx::query_as::<_, (String, i64)>(sql).fetch_all(&field.pool);
    let statuses = match tokio::time::timeout(PATIENCE, statuses).await {
        Ok(Ok(rows)) => rows.iter().map(|(status, count)| format!("{count} {status}")).collect::<Vec<_>>().join(", "),
        _ => "the database is away".to_owned(),
    };
    let accepted = written.sent.get("webhooks accepted").copied().unwrap_or_default();
    let faults: u64 = written.faults.values().sum();
    let seconds = elapsed.as_secs();
    say(format_args!("{seconds:>4} s  {accepted} webhooks accepted; recharges: {statuses}; {faults} faults"));
}

/// What the simulators, the proxies and the broker count.
pub(super) async fn served(field: &Field) -> anyhow::Result<Counts> {
    let mut counts = Counts::new();
    for (name, simulator) in [("Stripe", &field.client.stripe), ("KMS", &field.client.kms)] {
        let faults: Value = field.client.http.get(format!("{simulator}/_sim/faults")).send().await?.json().await?;
        for (fault, count) in faults["injected"].as_object().into_iter().flatten() {
            counts.insert(format!("{name} answered with {fault}"), count.as_u64().unwrap_or_default());
        }
    }
    let replays = field.client.stripe_books().await?["idempotent_replays"].as_u64().unwrap_or_default();
    counts.insert("Stripe answers repeated under their idempotency key".to_owned(), replays);
    let passed: Vec<_> = field.links.values().map(super::proxy::Proxy::passed).collect();
    counts.insert("connections through proxies".to_owned(), passed.iter().map(|passed| passed.connections).sum());
    counts.insert("connections cut".to_owned(), passed.iter().map(|passed| passed.cut).sum());
    counts.insert("messages delivered more than once".to_owned(), redeliveries(field).await?);
    for (what, sql) in [
        ("quota repairs", "SELECT count(*) FROM quota_repairs"),
        ("pushes given up at SYNC_DEADLINE", "SELECT count(*) FROM quota_failures"),
        ("charges voided", "SELECT count(*) FROM ledger_transactions WHERE kind = 'void'"),
    ] {
        let count: i64 = sqlx::query_scalar(sql).fetch_one(&field.pool).await?;
        counts.insert(what.to_owned(), u64::try_from(count).unwrap_or_default());
    }
    Ok(counts)
}

/// How many deliveries there were beyond the first of each message.
async fn redeliveries(field: &Field) -> anyhow::Result<u64> {
    let jetstream = field.broker.jetstream();
    let mut again = 0;
    for definition in &Definitions::committed()?.consumers {
        let name = definition.config.durable_name.clone().unwrap_or_default();
        let stream = jetstream.get_stream(&definition.stream).await?;
        let consumer = stream.get_consumer::<pull::Config>(&name).await.map_err(|error| anyhow::anyhow!("{error}"));
        let consumer = consumer.with_context(|| format!("looking at consumer {name} of {}", definition.stream))?;
        let delivered = consumer.cached_info().delivered.consumer_sequence;
        let config = &consumer.cached_info().config;
        let mut filters = config.filter_subjects.clone();
        filters.extend(Some(config.filter_subject.clone()).filter(|filter| !filter.is_empty()));
        let mut messages = 0;
        for filter in filters {
            let subjects: Vec<(String, usize)> = stream.info_with_subjects(filter).await?.try_collect().await?;
            messages += subjects.iter().map(|(_, count)| *count as u64).sum::<u64>();
        }
        again += delivered.saturating_sub(messages);
    }
    Ok(again)
}

/// The numbers of the books.
pub(super) fn numbers(settings: &Settings, books: &Books, written: &Written, redriven: usize) -> Counts {
    let mut counts = Counts::new();
    let mut count = |what: String| *counts.entry(what).or_default() += 1;
    for record in &books.records {
        count(format!("recharges {}", record.status));
    }
    for refund in &books.refunds {
        let cause = refund.key.split(':').next().unwrap_or_default();
        count(format!("refunds {} ({cause})", refund.status));
    }
    for asked in books.accepted.values() {
        count(format!("distinct events accepted: {asked:?}"));
    }
    let dollars = |cents: i64| u64::try_from(cents / 100).unwrap_or_default();
    let sum = |part: fn(&super::verdict::Account) -> i64| dollars(books.organizations.values().map(part).sum());
    counts.insert("answers that said that a recharge is in force".to_owned(), books.told_recharged.len() as u64);
    counts.insert("answers that said that a refund was made".to_owned(), books.told_refunded.len() as u64);
    counts.insert("organizations".to_owned(), settings.organizations as u64);
    counts.insert("dollars captured".to_owned(), sum(|account| account.captured));
    counts.insert("dollars refunded".to_owned(), sum(|account| account.refunded));
    counts.insert("dollars of quota in force".to_owned(), sum(|account| account.kms_quota.unwrap_or_default()));
    counts.insert("dead letters redriven".to_owned(), redriven as u64);
    counts.extend(written.sent.iter().map(|(what, count)| ((*what).to_owned(), *count)));
    counts
}

/// Everything, for a person.
pub(super) fn print(report: &Report) {
    let total: u64 = report.faults.values().sum();
    for (title, counts) in [
        (format!("faults injected: {total}"), &report.faults),
        ("faults and repeats as the other side saw them".to_owned(), &report.served),
        ("what was done".to_owned(), &report.numbers),
    ] {
        say(format_args!("\n{title}"));
        for (what, count) in counts {
            say(format_args!("  {count:>8}  {what}"));
        }
    }
    for letter in &report.redriven {
        say(format_args!("\ndead letter, brought back: {letter}"));
    }
    if report.violations.is_empty() {
        say("\nverdict: clean");
    } else {
        say(format_args!("\nverdict: {} violations", report.violations.len()));
        for violation in &report.violations {
            say(format_args!("  {violation}"));
        }
    }
    let Settings { seed, organizations, .. } = report.settings;
    let minutes = report.settings.length.as_secs() / 60;
    say(format_args!("logs: {}", report.settings.logs().display()));
    say(format_args!(
        "seed: {seed}; the same faults again: cargo xtask torture --seed {seed} --minutes {minutes} --organizations {organizations}"
    ));
}
