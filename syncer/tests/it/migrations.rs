//! What the database itself refuses, and that the migrations can be taken back.

use crate::kms::{Generation, Kms};
use crate::world::{World, charged, usd};

#[tokio::test]
async fn versions_can_not_go_back_whatever_the_code_does() {
    let kms = Kms::start(Generation::New).await;
    let world = World::start(kms.url()).await;
    world.replica().synced(&charged("acme", 3, usd("500"))).await;
    for sql in [
        "UPDATE quota_targets SET target_version = 2, pushed_version = 2",
        "UPDATE quota_targets SET pushed_version = 2",
        "UPDATE quota_targets SET pushed_version = 4",
        "UPDATE quota_targets SET first_contact = 'adopted'",
        "UPDATE quota_targets SET first_contact = 'guessed'",
        "INSERT INTO quota_syncs (c_organization_id, backend, ledger_version, quota, changed, cause, correlation_id, synced_at)
         SELECT c_organization_id, backend, ledger_version, quota, changed, cause, correlation_id, synced_at FROM quota_syncs",
    ] {
        assert!(sqlx::query(sql).execute(&world.pool).await.is_err(), "{sql}");
    }
    world.end().await;
}

#[tokio::test]
async fn up_down_up() {
    let kms = Kms::start(Generation::New).await;
    let world = World::start(kms.url()).await;
    common::db::migrate_down(&world.pool, 0, true).await.unwrap();
    common::db::migrate_up(&world.pool).await.unwrap();
    world.replica().synced(&charged("acme", 1, usd("500"))).await;
    world.end().await;
}
