//! What a fleet leaves in a database is what the services would have left there.

use common::clock::{Clock, SystemClock};
use common::contract::ReconcileRequestedV1;
use common::reconciliation::{Part, Recorder};
use e2e::database::Database;
use prometheus::Registry;
use sqlx::PgPool;

use bench::fleet::{self, Fleet, Largest};

#[expect(clippy::unwrap_used, reason = "a question that can't be asked fails the test")]
async fn count(pool: &PgPool, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(pool).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_is_what_the_services_would_have_written() {
    let database = Database::shared().await.unwrap();
    let pool = database.pool().unwrap();
    let fleet = Fleet {
        organizations: 8,
        recharges: 200,
        snapshots: 300,
        largest: Largest { recharges: 120, snapshots: 100 },
        audit_lines: 200,
        tokens: 7,
        reconciliations: 3,
        ..Fleet::small(11)
    };
    let now = SystemClock.now();
    let seeded = fleet::seed(&pool, &fleet, now).await.unwrap();

    // As much as was asked for.
    for (sql, want) in [
        ("SELECT count(*) FROM organization_balance_config", 8),
        ("SELECT count(*) FROM recharge_records", 200),
        ("SELECT count(*) FROM recharge_records WHERE c_organization_id = 'northwind-trading'", 120),
        ("SELECT count(*) FROM usage_snapshots", 300),
        ("SELECT count(*) FROM usage_snapshots WHERE c_organization_id = 'northwind-trading'", 100),
        ("SELECT count(*) FROM audit_log", 200),
        ("SELECT count(*) FROM api_tokens", 7),
        ("SELECT count(*) FROM reconciliation_runs", 3),
    ] {
        assert_eq!(count(&pool, sql).await, want, "{sql}");
    }
    assert_eq!(seeded.organizations.len(), 8);
    assert!(seeded.refunded.is_some() && seeded.newest.is_some());

    // Of each kind something, and nothing that the services would take up.
    for sql in [
        "SELECT count(*) FROM recharge_records WHERE status = 'settled' AND refunded_amount > 0",
        "SELECT count(*) FROM recharge_records WHERE status = 'refunded'",
        "SELECT count(*) FROM recharge_records WHERE status = 'declined'",
        "SELECT count(*) FROM recharge_records WHERE status = 'action_required' AND confirm_by > now()",
        "SELECT count(*) FROM disputes WHERE stage = 'opened'",
        "SELECT count(*) FROM recharge_state WHERE pause_payment_method IS NOT NULL",
    ] {
        assert!(count(&pool, sql).await > 0, "{sql}");
    }
    for sql in [
        "SELECT count(*) FROM recharge_records WHERE next_at < now() + interval '1 year'",
        "SELECT count(*) FROM refunds WHERE next_at < now() + interval '1 year'",
        "SELECT count(*) FROM disputes WHERE next_at IS NOT NULL",
        "SELECT count(*) FROM recharge_records r WHERE status IN ('refunding', 'returning')
            AND NOT EXISTS (SELECT FROM refunds f WHERE f.recharge_id = r.recharge_id AND f.status IN ('requested', 'pending'))",
        "SELECT count(*) FROM recharge_records WHERE greatest(created_at, ended_at, updated_at) > now()",
        "SELECT count(*) FROM quota_targets WHERE pushed_version IS DISTINCT FROM target_version",
    ] {
        assert_eq!(count(&pool, sql).await, 0, "{sql}");
    }

    // What is in force is what was there, and what was bought, less what went back or is disputed.
    let astray = "SELECT count(*) FROM quota_targets t
        LEFT JOIN recharge_state s USING (c_organization_id)
        LEFT JOIN (SELECT c_organization_id, sum(amount - refunded_amount) AS bought FROM recharge_records
                    WHERE credited_at IS NOT NULL GROUP BY 1) r USING (c_organization_id)
        LEFT JOIN (SELECT c_organization_id, sum(amount) AS gone FROM disputes WHERE stage <> 'won' GROUP BY 1) d
            USING (c_organization_id)
        LEFT JOIN ledger_quotas l USING (c_organization_id)
        WHERE COALESCE(t.adopted_quota, 0) + COALESCE(r.bought, 0) - COALESCE(d.gone, 0) <> t.pushed_quota
           OR COALESCE(s.synced_quota, t.pushed_quota) <> t.pushed_quota OR COALESCE(s.quota, t.target_quota) <> t.target_quota
           OR t.target_quota <> t.pushed_quota OR COALESCE(l.ledger_version, 0) <> t.target_version
           OR COALESCE(l.quota_minor, 0) <> t.target_quota * CASE t.currency WHEN 'jpy' THEN 1 ELSE 100 END";
    assert_eq!(count(&pool, astray).await, 0, "{astray}");

    // The ledger finds nothing, neither in its books nor between them and the records.
    let report = ledger::verify::verify(&pool).await.unwrap();
    assert!(report.transactions > 150 && report.drifts.is_empty(), "{report}");
    let request = ReconcileRequestedV1 {
        run_id: "test".to_owned(),
        since: now - chrono::Duration::days(500),
        requested_by: "test".to_owned(),
    };
    let recorder = Recorder::new(Part::Bookings, &Registry::new());
    let later = now + chrono::Duration::minutes(5);
    ledger::reconcile::run(&pool, &recorder, &request, later).await.unwrap();
    let found: Vec<(String, String)> =
        sqlx::query_as("SELECT kind, detail FROM reconciliation_findings WHERE run_id = 'test'")
            .fetch_all(&pool)
            .await
            .unwrap();
    assert_eq!(found, []);

    pool.close().await;
    database.remove().await.unwrap();
}
