//! Comparing the books with the recharger's records: every disagreement that is sown is found, and nothing else.

use std::collections::BTreeSet;

use chrono::Duration;
use common::clock::Timestamp;
use common::contract::{DisputeStage, Event, RechargeChargedV1, ReconcileRequestedV1};
use common::telemetry;
use common::worker::Handler;
use ledger::handlers::LedgerHandler;
use sqlx::PgPool;

use crate::support::{
    TestDb, charged, delivery, disputed, event, execute, handler, refund_failed, refunded, usd, with_database,
};

/// A run that looks at everything since yesterday.
fn request(run_id: &str) -> Event<ReconcileRequestedV1> {
    let since = now() - Duration::days(1);
    let data = ReconcileRequestedV1 { run_id: run_id.to_owned(), since, requested_by: "ann".to_owned() };
    let mut request = event(run_id, "acme", data);
    request.subject = None;
    request
}

fn now() -> Timestamp {
    common::clock::Clock::now(&common::clock::SystemClock)
}

/// Everything that is booked happened an hour ago: what is younger is in flight.
async fn age(db: &TestDb) {
    let mut root = db.connect().await;
    let sql = "ALTER TABLE ledger_transactions DISABLE TRIGGER ALL;
               UPDATE ledger_transactions SET posted_at = posted_at - interval '1 hour';
               ALTER TABLE ledger_transactions ENABLE TRIGGER ALL;
               UPDATE recharge_records SET updated_at = updated_at - interval '1 hour';
               UPDATE refunds SET updated_at = updated_at - interval '1 hour'";
    execute(&mut root, sql).await.unwrap();
}

async fn record(pool: &PgPool, charge: &Event<RechargeChargedV1>, status: &str, ledger_version: Option<i64>) {
    sqlx::query(
        "INSERT INTO recharge_records (recharge_id, c_organization_id, trigger_event_id, correlation_id, currency, amount, fee,
                total_charge, status, ledger_version)
         VALUES ($1, $2, $3, $3, 'usd', $4::bigint / 100.0, $5::bigint / 100.0, $6::bigint / 100.0, $7, $8)",
    )
    .bind(charge.data.recharge_id.0)
    .bind(charge.subject.as_ref().unwrap().as_str())
    .bind(charge.id.as_str())
    .bind(charge.data.amount.minor)
    .bind(charge.data.fee.minor)
    .bind(charge.data.total_charge.minor)
    .bind(status)
    .bind(ledger_version)
    .execute(pool)
    .await
    .unwrap();
}

async fn refund_row(pool: &PgPool, charge: &Event<RechargeChargedV1>, refund_id: &str, status: &str) {
    sqlx::query(
        "INSERT INTO refunds (refund_key, recharge_id, c_organization_id, correlation_id, cause, reason, currency, amount, total,
                status, stripe_refund_id, was_refunded, created_at, updated_at)
         VALUES ($1, $2, $3, $4, 'requested', 'x', 'usd', $5::bigint / 100.0, $6::bigint / 100.0, $7, $1, true, now(), now())",
    )
    .bind(refund_id)
    .bind(charge.data.recharge_id.0)
    .bind(charge.subject.as_ref().unwrap().as_str())
    .bind(charge.id.as_str())
    .bind(charge.data.amount.minor)
    .bind(charge.data.total_charge.minor)
    .bind(status)
    .execute(pool)
    .await
    .unwrap();
}

/// A charge of an organization of its own.
fn charge(name: &str) -> Event<RechargeChargedV1> {
    charged(&format!("evt_{name}"), name, usd(10_000), usd(330))
}

/// What a run found: the organization and the kind.
async fn found(db: &TestDb, run_id: &str) -> BTreeSet<(String, String)> {
    let sql = "SELECT c_organization_id, kind FROM reconciliation_findings WHERE run_id = $1 AND part = 'bookings'
                  AND action = 'reported'";
    sqlx::query_as(sql).bind(run_id).fetch_all(&db.root).await.unwrap().into_iter().collect()
}

async fn checked(db: &TestDb, run_id: &str) -> i64 {
    let sql = "SELECT checked FROM reconciliation_parts WHERE run_id = $1 AND part = 'bookings'";
    sqlx::query_scalar(sql).bind(run_id).fetch_one(&db.root).await.unwrap()
}

async fn handled<T: common::contract::Payload + Clone>(handler: &LedgerHandler, event: &Event<T>) {
    handler.handle(&delivery(event)).await.unwrap();
}

/// One organization for each way in which a recharge can end well, and one that is in flight.
async fn healthy(db: &TestDb, handler: &LedgerHandler) {
    for status in ["credited", "settled", "returning"] {
        let charge = charge(&format!("good_{status}"));
        handled(handler, &charge).await;
        record(&db.root, &charge, status, Some(1)).await;
    }
    for (name, credited) in [("good_refunded", true), ("good_void", false)] {
        let (charge, first, second) = (charge(name), format!("re_1_{name}"), format!("re_2_{name}"));
        if credited {
            handled(handler, &charge).await;
        }
        handled(handler, &refunded(&charge, &first, credited)).await;
        handled(handler, &refund_failed(&charge, &first)).await;
        handled(handler, &refunded(&charge, &second, credited)).await;
        record(&db.root, &charge, "refunded", credited.then_some(1)).await;
        refund_row(&db.root, &charge, &first, "failed").await;
        refund_row(&db.root, &charge, &second, "succeeded").await;
    }
    // The refund of a voided charge came back: a person is on it.
    let back = charge("good_back");
    handled(handler, &refunded(&back, "re_good_back", false)).await;
    handled(handler, &refund_failed(&back, "re_good_back")).await;
    record(&db.root, &back, "returning", None).await;
    refund_row(&db.root, &back, "re_good_back", "failed").await;
    let lost = charge("good_lost");
    handled(handler, &lost).await;
    handled(handler, &disputed(&lost, "dp_1", DisputeStage::Lost)).await;
    record(&db.root, &lost, "settled", Some(1)).await;
    for status in
        ["pending", "processing", "action_required", "charged", "refunding", "returning", "declined", "failed"]
    {
        record(&db.root, &charge(&format!("good_un_{status}")), status, None).await;
    }
}

#[tokio::test]
async fn nothing_is_found_where_nothing_is_wrong() {
    with_database(|db| async move {
        let (handler, registry) = handler(&db);
        healthy(&db, &handler).await;
        // Older rows than ours are nobody's business here.
        let old = "INSERT INTO recharge_records (amount, status) VALUES (5, 'settled')";
        execute(&mut db.connect().await, old).await.unwrap();
        // All is in flight: not one is looked at, but the books themselves are.
        handled(&handler, &request("run_young")).await;
        assert_eq!(found(&db, "run_young").await, BTreeSet::new());
        let transactions = i64::try_from(ledger::verify::verify(&db.app).await.unwrap().transactions).unwrap();
        assert_eq!(checked(&db, "run_young").await, transactions);
        // Posting times are a part of the hashes, so only the records grow old.
        let sql = "UPDATE recharge_records SET updated_at = now() - interval '1 hour';
                   UPDATE refunds SET updated_at = now() - interval '1 hour'";
        execute(&mut db.connect().await, sql).await.unwrap();
        handled(&handler, &request("run_1")).await;
        assert_eq!(found(&db, "run_1").await, BTreeSet::new());
        assert_eq!(checked(&db, "run_1").await, 15 + 5 + transactions);
        let metrics = telemetry::exposition(&registry);
        assert!(metrics.contains("bill_reconciliation_last_finished_seconds{part=\"bookings\"}"), "{metrics}");
    })
    .await;
}

#[tokio::test]
async fn every_disagreement_is_found_once() {
    with_database(|db| async move {
        let (handler, registry) = handler(&db);
        healthy(&db, &handler).await;
        let mut want = BTreeSet::new();
        let mut expect = |name: &str, kind: &str| want.insert((name.to_owned(), kind.to_owned()));

        for status in ["credited", "settled", "returning"] {
            let name = format!("lost_{status}");
            record(&db.root, &charge(&name), status, Some(1)).await;
            expect(&name, "not_booked");
        }
        // One thing of the record is changed at a time.
        for (name, change) in [
            ("amount", "amount = 99"),
            ("total", "total_charge = 103.31"),
            ("version", "ledger_version = 2"),
            ("no_version", "ledger_version = NULL"),
            ("owner", "c_organization_id = 'somebody'"),
            ("declined", "status = 'declined'"),
        ] {
            handled(&handler, &charge(name)).await;
            record(&db.root, &charge(name), "settled", Some(1)).await;
            let sql = format!("UPDATE recharge_records SET {change} WHERE trigger_event_id = 'evt_{name}'");
            execute(&mut db.connect().await, &sql).await.unwrap();
            expect(if name == "owner" { "somebody" } else { name }, "booked_wrongly");
        }
        handled(&handler, &refunded(&charge("void"), "re_void", false)).await;
        record(&db.root, &charge("void"), "settled", Some(1)).await;
        expect("void", "booked_wrongly");

        handled(&handler, &charge("nobody")).await;
        expect("nobody", "booked_unknown");

        // Refunded, says the record; of the charge, or of the void, something is left.
        record(&db.root, &charge("never"), "refunded", None).await;
        handled(&handler, &charge("kept")).await;
        record(&db.root, &charge("kept"), "refunded", Some(1)).await;
        handled(&handler, &refunded(&charge("owed"), "re_owed", false)).await;
        handled(&handler, &refund_failed(&charge("owed"), "re_owed")).await;
        record(&db.root, &charge("owed"), "refunded", None).await;
        for name in ["never", "kept", "owed"] {
            expect(name, "refund_not_booked");
        }
        // Refunds that were told: not booked, booked with another amount, come back and not booked as such.
        for name in ["told", "other", "back"] {
            handled(&handler, &charge(name)).await;
            record(&db.root, &charge(name), "settled", Some(1)).await;
            if name != "told" {
                handled(&handler, &refunded(&charge(name), &format!("re_{name}"), true)).await;
            }
            let status = if name == "back" { "failed" } else { "succeeded" };
            refund_row(&db.root, &charge(name), &format!("re_{name}"), status).await;
            expect(name, if name == "other" { "booked_wrongly" } else { "refund_not_booked" });
        }
        let sql = "UPDATE refunds SET total = 1 WHERE refund_key = 're_other'";
        execute(&mut db.connect().await, sql).await.unwrap();
        // Changing the times damages every hash: the books disagree with themselves, too.
        age(&db).await;

        let run = request("run_1");
        handled(&handler, &run).await;
        let mut have = found(&db, "run_1").await;
        let drifts = have.iter().filter(|(_, kind)| kind == "ledger_drift").count();
        assert!(drifts > 0);
        have.retain(|(_, kind)| kind != "ledger_drift");
        assert_eq!(have, want);
        let metrics = telemetry::exposition(&registry);
        let line = "bill_reconciliation_findings_total{action=\"reported\",kind=\"not_booked\",part=\"bookings\"} 3";
        assert!(metrics.contains(line), "{metrics}");

        // The run is repeated: nothing is compared again, nothing is counted again.
        execute(&mut db.connect().await, "ALTER TABLE refunds RENAME TO refunds_away").await.unwrap();
        handled(&handler, &run).await;
        assert_eq!(telemetry::exposition(&registry), metrics);
        // A run that can't be made is made later.
        let away = handler.handle(&delivery(&request("run_2"))).await;
        assert!(matches!(away, Err(common::failure::Failure::Retry { .. })), "{away:?}");
    })
    .await;
}

#[tokio::test]
async fn what_is_older_and_ended_is_not_looked_at_again() {
    with_database(|db| async move {
        let (handler, _) = handler(&db);
        for status in ["settled", "credited"] {
            record(&db.root, &charge(status), status, Some(1)).await;
        }
        let sql = "UPDATE recharge_records SET created_at = now() - interval '9 days', updated_at = now() - interval '9 days'";
        execute(&mut db.connect().await, sql).await.unwrap();
        handled(&handler, &request("run_1")).await;
        assert_eq!(found(&db, "run_1").await, BTreeSet::from([("credited".to_owned(), "not_booked".to_owned())]));
        assert_eq!(checked(&db, "run_1").await, 1);
        let id: String = sqlx::query_scalar("SELECT recharge_id::text FROM reconciliation_findings")
            .fetch_one(&db.root)
            .await
            .unwrap();
        assert_eq!(id, charge("credited").data.recharge_id.to_string());
    })
    .await;
}
