//! Damage that no trigger could see: done by a superuser with triggers switched off.

use std::collections::BTreeMap;
use std::time::Duration;

use common::clock::{ManualClock, Timestamp};
use common::shutdown::Shutdown;
use ledger::config::Config;
use ledger::repo::post;
use ledger::verify::{Difference, Gauges, Report, verify};
use prometheus::IntGauge;
use uuid::Uuid;

use crate::support::{TestDb, adjustment, execute, with_database};

/// Five transactions of `acme`, of which the third is damaged, and one of `other`.
async fn damaged(db: &TestDb, sql: &str) -> (Uuid, Report) {
    for number in 1..=5 {
        post(&db.app, &adjustment(&format!("evt_{number}"), "acme", 100)).await.unwrap();
    }
    post(&db.app, &adjustment("evt_6", "other", 100)).await.unwrap();
    assert_eq!(verify(&db.app).await.unwrap().drifts, []);
    damage(db, sql).await;
    (adjustment("evt_3", "acme", 100).transaction_id(), verify(&db.app).await.unwrap())
}

async fn damage(db: &TestDb, sql: &str) {
    let tables = ["ledger_transactions", "ledger_entries", "ledger_accounts"];
    let switch = |what: &str| tables.map(|table| format!("ALTER TABLE {table} {what} TRIGGER ALL;")).concat();
    let mut root = db.connect().await;
    let sql = sql.replace("{third}", "(SELECT id FROM ledger_transactions WHERE business_key = 'adjust:evt_3')");
    execute(&mut root, &format!("{} {sql}; {}", switch("DISABLE"), switch("ENABLE"))).await.unwrap();
}

/// The differences, and the transaction that they are about.
fn named(report: &Report) -> Vec<(Option<Uuid>, Difference)> {
    assert!(report.drifts.iter().all(|drift| drift.organization == "acme"), "{report}");
    report.drifts.iter().map(|drift| (drift.transaction_id, drift.difference.clone())).collect()
}

#[tokio::test]
async fn a_changed_text_is_named() {
    with_database(|db| async move {
        let (third, report) = damaged(&db, "UPDATE ledger_transactions SET description = 'x' WHERE id = {third}").await;
        assert_eq!(named(&report), [(Some(third), Difference::Content)]);
        assert!(report.to_string().contains(&third.to_string()), "{report}");
    })
    .await;
}

#[tokio::test]
async fn a_kind_that_does_not_fit_is_named() {
    with_database(|db| async move {
        let (third, report) = damaged(&db, "UPDATE ledger_transactions SET kind = 'void' WHERE id = {third}").await;
        let kind = Difference::Kind { kind: "void".to_owned(), quota: 100, held: 0 };
        assert_eq!(named(&report), [(Some(third), kind), (Some(third), Difference::Content)]);
    })
    .await;
}

#[tokio::test]
async fn a_changed_amount_is_named() {
    with_database(|db| async move {
        let sql = "UPDATE ledger_entries SET amount_minor = 9100 WHERE transaction_id = {third} AND amount_minor > 0";
        let (third, report) = damaged(&db, sql).await;
        assert_eq!(
            named(&report),
            [
                (Some(third), Difference::Unbalanced { entries: 2, sum: 9_000 }),
                (Some(third), Difference::QuotaAfter { stored: 300, entries: 9_300 }),
                (Some(third), Difference::Content),
                (None, Difference::Balance { account: "balance".to_owned(), cached: 500, entries: 9_500 }),
            ]
        );
    })
    .await;
}

#[tokio::test]
async fn a_row_that_was_replaced_with_its_hash_is_named_by_the_next() {
    with_database(|db| async move {
        // Whoever knows how to make the hash of a changed row still can't make the next one fit.
        let (_, report) = damaged(&db, "UPDATE ledger_transactions SET hash = sha256('x') WHERE id = {third}").await;
        let fourth = adjustment("evt_4", "acme", 100).transaction_id();
        assert!(named(&report).contains(&(Some(fourth), Difference::Chain)), "{report}");
    })
    .await;
}

#[tokio::test]
async fn a_removed_transaction_is_named_by_the_next() {
    with_database(|db| async move {
        let sql = "DELETE FROM ledger_entries WHERE transaction_id = {third}; DELETE FROM ledger_transactions WHERE id = {third}";
        let (_, report) = damaged(&db, sql).await;
        let fourth = Some(adjustment("evt_4", "acme", 100).transaction_id());
        assert_eq!(named(&report), [
            (fourth, Difference::Version { expected: 3, found: 4 }),
            (fourth, Difference::QuotaAfter { stored: 400, entries: 300 }),
            (fourth, Difference::Chain),
            (None, Difference::Balance { account: "adjustments".to_owned(), cached: -500, entries: -400 }),
            (None, Difference::Balance { account: "balance".to_owned(), cached: 500, entries: 400 }),
        ]);
    })
    .await;
}

#[tokio::test]
async fn a_cached_balance_and_version_that_drifted_are_named() {
    with_database(|db| async move {
        let sql = "UPDATE ledger_accounts SET balance_minor = 7, version = 9 WHERE c_organization_id = 'acme' AND kind = 'balance'";
        let (_, report) = damaged(&db, sql).await;
        assert_eq!(named(&report), [
            (None, Difference::Balance { account: "balance".to_owned(), cached: 7, entries: 500 }),
            (None, Difference::AccountVersion { account: "balance".to_owned(), cached: 9, entries: 5 }),
        ]);
    })
    .await;
}

#[tokio::test]
async fn removed_entries_and_changed_currencies_are_named() {
    with_database(|db| async move {
        let (third, report) =
            damaged(&db, "UPDATE ledger_entries SET currency = 'eur' WHERE transaction_id = {third}").await;
        assert_eq!(named(&report), [(Some(third), Difference::Currency), (Some(third), Difference::Content)]);
        damage(&db, "DELETE FROM ledger_entries WHERE transaction_id = {third}").await;
        let report = verify(&db.app).await.unwrap();
        assert!(named(&report).contains(&(Some(third), Difference::Unbalanced { entries: 0, sum: 0 })), "{report}");
    })
    .await;
}

#[tokio::test]
async fn the_gauge_follows_and_the_command_tells() {
    with_database(|db| async move {
        let (third, report) =
            damaged(&db, "UPDATE ledger_transactions SET correlation_id = 'x' WHERE id = {third}").await;
        assert_eq!(report.drifts.len(), 1);

        let gauges =
            Gauges { drift: IntGauge::new("drift", "drift").unwrap(), verified_at: IntGauge::new("at", "at").unwrap() };
        let now = Timestamp::from_timestamp(1_000, 0).unwrap();
        let (clock, shutdown) = (std::sync::Arc::new(ManualClock::new(now)), Shutdown::new());
        let interval = Duration::from_millis(20);
        let task =
            tokio::spawn(ledger::verify::repeat(db.app.clone(), interval, gauges.clone(), clock, shutdown.clone()));
        until(|| gauges.drift.get() == 1 && gauges.verified_at.get() == 1_000).await;
        damage(&db, "UPDATE ledger_transactions SET correlation_id = 'evt_3' WHERE id = {third}").await;
        until(|| gauges.drift.get() == 0).await;
        shutdown.give();
        task.await.unwrap();

        damage(&db, "UPDATE ledger_transactions SET correlation_id = 'x' WHERE id = {third}").await;
        let env = BTreeMap::from([("DATABASE_URL".to_owned(), url_of(&db).await)]);
        let config = Config::read(&env).unwrap();
        assert_eq!(ledger::verify_once(&config).await.unwrap(), report);
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_ledger"))
            .arg("verify")
            .env("DATABASE_URL", config.base.database_url.expose())
            .output()
            .unwrap();
        assert!(!output.status.success());
        let printed = String::from_utf8(output.stdout).unwrap();
        assert!(printed.contains(&third.to_string()) && printed.contains("1 drifts"), "{printed}");
        assert!(String::from_utf8(output.stderr).unwrap().contains("the books are damaged"));
    })
    .await;
}

async fn until(what: impl Fn() -> bool) {
    for _ in 0..500 {
        if what() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("did not happen in ten seconds");
}

async fn url_of(db: &TestDb) -> String {
    let name: String = sqlx::query_scalar("SELECT current_database()::text").fetch_one(&db.root).await.unwrap();
    let server = std::env::var("BILL_TEST_DATABASE_URL").unwrap();
    let (address, query) = server.split_once('?').map_or((server.as_str(), ""), |(address, query)| (address, query));
    let (start, _) = address.rsplit_once('/').unwrap();
    format!("{start}/{name}?{query}")
}
