//! Up, down, up; and many databases of one cluster at once.

use common::db::{MIGRATOR, migrate_down, migrate_up};
use ledger::posting::Posting;
use ledger::repo::post;
use ledger::verify::verify;
use sqlx::PgPool;

use crate::support::{adjustment, charged, execute, quota, refunded, refused, usd, with_empty_database};

async fn ledger_objects(pool: &PgPool) -> i64 {
    sqlx::query_scalar(
        "SELECT (SELECT count(*) FROM pg_class WHERE relname LIKE 'ledger\\_%') + (SELECT count(*) FROM pg_proc WHERE proname LIKE 'ledger\\_%')",
    )
    .fetch_one(pool)
    .await
    .unwrap()
}

#[tokio::test]
async fn up_down_up() {
    with_empty_database(|db| async move {
        migrate_up(&db.root).await.unwrap();
        post(&db.app, &adjustment("evt_1", "acme", 100)).await.unwrap();
        db.app.close().await;
        MIGRATOR.undo(&db.root, 2).await.unwrap();
        assert_eq!(ledger_objects(&db.root).await, 0);
        migrate_up(&db.root).await.unwrap();
        post(&db.root, &adjustment("evt_1", "acme", 100)).await.unwrap();
        assert_eq!(quota(&db.root, "acme").await, Some((100, 1)));
        migrate_down(&db.root, 0, true).await.unwrap();
        assert_eq!(ledger_objects(&db.root).await, 0);
        migrate_up(&db.root).await.unwrap();
        assert_eq!(verify(&db.root).await.unwrap().organizations, 0);
    })
    .await;
}

/// Before `0007_ledger_reversals`.
const BEFORE_REVERSALS: i64 = 6;

#[tokio::test]
async fn books_with_reversals_keep_them_when_the_migration_is_taken_back() {
    with_empty_database(|db| async move {
        migrate_up(&db.root).await.unwrap();
        let refund = refunded(&charged("evt_1", "acme", usd(10_000), usd(0)), "re_1", false);
        let void = Posting::void(&refund).unwrap();
        post(&db.app, &void).await.unwrap();
        MIGRATOR.undo(&db.root, BEFORE_REVERSALS).await.unwrap();

        // The row stays, a new one is refused, and what the code before writes is not.
        let report = verify(&db.root).await.unwrap();
        assert_eq!((report.transactions, report.drifts), (1, vec![]));
        let other = Posting::void(&refunded(&charged("evt_2", "acme", usd(10_000), usd(0)), "re_2", false)).unwrap();
        let error = post(&db.app, &other).await.unwrap_err();
        assert!(error.to_string().contains("ledger_transactions_kind_check"), "{error}");
        post(&db.app, &adjustment("evt_3", "acme", 100)).await.unwrap();
        let said = refused(&db.app, "SELECT status FROM recharge_records").await;
        assert!(said.contains("permission denied"), "{said}");

        migrate_up(&db.root).await.unwrap();
        post(&db.app, &other).await.unwrap();
        let report = verify(&db.root).await.unwrap();
        assert_eq!((report.transactions, report.drifts), (3, vec![]));
        let checked: bool = sqlx::query_scalar(
            "SELECT convalidated FROM pg_constraint WHERE conname = 'ledger_transactions_kind_check'",
        )
        .fetch_one(&db.root)
        .await
        .unwrap();
        assert!(checked);
        migrate_down(&db.root, 0, true).await.unwrap();
        assert_eq!(ledger_objects(&db.root).await, 0);
    })
    .await;
}

#[tokio::test]
async fn a_login_that_may_not_make_roles_can_still_migrate() {
    with_empty_database(|db| async move {
            let mut root = db.connect().await;
            let login = format!("bill_plain_{}", std::process::id());
            execute(&mut root, &format!("CREATE ROLE {login}; GRANT ALL ON SCHEMA public TO {login}")).await.unwrap();
            let up = include_str!("../../../migrations/0003_ledger.up.sql");
            let down = include_str!("../../../migrations/0003_ledger.down.sql");
            let outcome = execute(&mut root, &format!("SET ROLE {login}; BEGIN; {up}; COMMIT; BEGIN; {down}; COMMIT; BEGIN; {up}; COMMIT")).await;
            // The owner of the tables, who is no superuser, is held by the triggers too.
            let update = execute(&mut root, "DELETE FROM ledger_accounts; INSERT INTO ledger_organizations VALUES ('a', 'usd'); DELETE FROM ledger_organizations").await;
            execute(&mut root, &format!("RESET ROLE; DROP OWNED BY {login}; DROP ROLE {login}")).await.unwrap();
            outcome.unwrap();
            assert!(update.unwrap_err().to_string().contains("append-only"));
    })
    .await;
}

#[tokio::test]
async fn many_databases_at_once() {
    let one = || with_empty_database(|db| async move { drop(migrate_up(&db.root).await.unwrap()) });
    tokio::join!(one(), one(), one(), one(), one(), one(), one(), one());
}
