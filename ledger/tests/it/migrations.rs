//! Up, down, up; and many databases of one cluster at once.

use common::db::{MIGRATOR, migrate_down, migrate_up};
use ledger::repo::post;
use ledger::verify::verify;
use sqlx::PgPool;

use crate::support::{adjustment, execute, quota, with_empty_database};

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
        post(&db.app, None, &adjustment("evt_1", "acme", 100)).await.unwrap();
        db.app.close().await;
        MIGRATOR.undo(&db.root, 2).await.unwrap();
        assert_eq!(ledger_objects(&db.root).await, 0);
        migrate_up(&db.root).await.unwrap();
        post(&db.root, Some("bill_ledger"), &adjustment("evt_1", "acme", 100)).await.unwrap();
        assert_eq!(quota(&db.root, "acme").await, Some((100, 1)));
        migrate_down(&db.root).await.unwrap();
        assert_eq!(ledger_objects(&db.root).await, 0);
        migrate_up(&db.root).await.unwrap();
        assert_eq!(verify(&db.root).await.unwrap().organizations, 0);
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
    let one = || with_empty_database(|db| async move { migrate_up(&db.root).await.unwrap() });
    tokio::join!(one(), one(), one(), one(), one(), one(), one(), one());
}
