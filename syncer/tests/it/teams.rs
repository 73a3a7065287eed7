//! The team that the backend names: filled in where there is none, reported where it differs.

use std::time::Duration;

use crate::kms::{Generation, Kms};
use crate::world::{World, charged, sync, usd};

#[tokio::test]
async fn a_different_team_is_reported_and_not_overwritten() {
    let kms = Kms::start(Generation::New).await;
    let world = World::start(kms.url()).await;
    world.organization("acme", "usd", Some("team_mine")).await;
    let replica = world.replica();
    let synced = replica.synced(&sync("acme", "req_1")).await;
    assert_eq!(synced.data.litellm_team_id.unwrap().as_str(), kms.team("acme").await);
    assert_eq!(world.stored_team("acme").await.as_deref(), Some("team_mine"));
    assert_eq!(replica.count("bill_team_mismatch_total", &[("kind", "different")]), 1);
    world.end().await;
}

#[tokio::test]
async fn a_team_of_another_organization_is_reported_and_the_quota_pushed() {
    let kms = Kms::start(Generation::New).await;
    let world = World::start(kms.url()).await;
    kms.has("acme", "0").await;
    world.organization("other", "usd", Some(&kms.team("acme").await)).await;
    world.organization("acme", "usd", None).await;
    let replica = world.replica();
    let synced = replica.synced(&charged("acme", 1, usd("500"))).await;
    assert!(synced.data.changed);
    assert_eq!(world.stored_team("acme").await, None);
    assert_eq!(world.recorded("acme").await, (Some("created".to_owned()), Some(1), 1));
    assert_eq!(replica.count("bill_team_mismatch_total", &[("kind", "taken")]), 1);
    world.end().await;
}

#[tokio::test]
async fn ingress_is_told_of_a_team_that_is_filled_in_and_of_nothing_else() {
    let kms = Kms::start(Generation::New).await;
    let world = World::start(kms.url()).await;
    world.organization("acme", "usd", None).await;
    let mut listener = sqlx::postgres::PgListener::connect_with(&world.pool).await.unwrap();
    listener.listen("organization_changed").await.unwrap();
    let replica = world.replica();
    replica.synced(&sync("acme", "req_1")).await;
    replica.synced(&sync("acme", "req_2")).await;
    let told = tokio::time::timeout(Duration::from_secs(5), listener.recv()).await.unwrap().unwrap();
    assert_eq!(told.payload(), "acme");
    let more = tokio::time::timeout(Duration::from_millis(100), listener.recv()).await;
    assert!(more.is_err(), "{more:?}");
    drop(listener);
    world.end().await;
}
