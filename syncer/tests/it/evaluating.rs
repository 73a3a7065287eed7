//! A look that somebody asked for.

use std::time::Duration;

use common::contract::{QuotaLowV1, kind_of};
use common::failure::Failure;

use crate::kms::{Generation, Kms};
use crate::world::{MAX_ATTEMPTS, World, attempt, charged, decimal, evaluate, only, usd};

async fn low() -> (Kms, World) {
    let kms = Kms::start(Generation::New).await;
    let world = World::start(kms.url()).await;
    world.organization("acme", "usd", None).await;
    world.replica().synced(&charged("acme", 1, usd("500"))).await;
    kms.spends("acme", "450").await;
    (kms, world)
}

#[tokio::test]
async fn a_repeat_says_the_same() {
    let (kms, world) = low().await;
    let event = evaluate("acme", "req_1");
    let first = world.replica().handle(&event).await.unwrap();
    let said = only::<QuotaLowV1>(first.clone());
    assert_eq!((said.correlationid.as_str(), said.data.usage), ("req_1", decimal("450")));
    // Whatever has changed since, and though the backend is away.
    world.pass(Duration::from_secs(900));
    kms.spends("acme", "0").await;
    world.run("UPDATE organization_balance_config SET minimum_balance = 0").await;
    kms.goes_away().await;
    assert_eq!(world.replica().handle(&event).await.unwrap(), first);
    assert_eq!(world.number("SELECT count(*) FROM usage_snapshots").await, 1);
    world.end().await;
}

#[tokio::test]
async fn it_is_said_though_the_sweep_has_just_said_it_and_the_sweep_does_not_say_it_after_it() {
    let (_kms, world) = low().await;
    let sweeper = world.sweeper();
    let by_sweep = sweeper.says::<QuotaLowV1>().await;
    let by_request = only::<QuotaLowV1>(world.replica().handle(&evaluate("acme", "req_1")).await.unwrap());
    assert_ne!(by_sweep.id, by_request.id);
    sweeper.is_silent().await;
    world.end().await;
}

#[tokio::test]
async fn enough_is_enough_also_when_asked_again() {
    let (kms, world) = low().await;
    kms.spends("acme", "400").await;
    assert_eq!(world.replica().handle(&evaluate("acme", "req_1")).await.unwrap(), []);
    kms.spends("acme", "500").await;
    assert_eq!(world.replica().handle(&evaluate("acme", "req_1")).await.unwrap(), []);
    assert_eq!(world.replica().handle(&evaluate("acme", "req_2")).await.unwrap().len(), 1);
    world.end().await;
}

#[tokio::test]
async fn drift_is_repaired_first_and_said_even_if_the_request_is_lost_then() {
    let (kms, world) = low().await;
    kms.spends("acme", "100").await;
    kms.drifts("acme", "100").await;
    let said = world.replica().handle(&evaluate("acme", "req_1")).await.unwrap();
    assert_eq!(said.iter().map(|event| kind_of(&event.subject)).collect::<Vec<_>>(), ["quotas.synced"]);
    let sweeper = world.sweeper();
    sweeper.sweep().await;
    assert_eq!(sweeper.said.take(), said);
    sweeper.is_silent().await;
    world.end().await;
}

#[tokio::test]
async fn whom_there_is_nothing_to_look_at() {
    let (_kms, world) = low().await;
    for id in ["unsynced", "closed", "manual"] {
        world.organization(id, "usd", None).await;
    }
    world.replica().synced(&charged("manual", 1, usd("5"))).await;
    world
        .run("UPDATE organization_balance_config SET auto_recharge_enabled = false WHERE c_organization_id = 'manual'")
        .await;
    world.run("UPDATE organization_balance_config SET closed_at = now() WHERE c_organization_id = 'closed'").await;
    let replica = world.replica();
    for id in ["nobody", "closed"] {
        assert!(matches!(replica.handle(&evaluate(id, "req_1")).await, Err(Failure::Refused(_))), "{id}");
    }
    for id in ["unsynced", "manual"] {
        assert_eq!(replica.handle(&evaluate(id, &format!("req_{id}"))).await.unwrap(), [], "{id}");
    }
    world.end().await;
}

#[tokio::test]
async fn what_was_asked_before_the_first_sync_is_left_to_the_sweep() {
    let kms = Kms::start(Generation::New).await;
    let world = World::start(kms.url()).await;
    world.organization("acme", "usd", None).await;
    let asked = evaluate("acme", "req_1");
    world.pass(Duration::from_secs(1));
    world.replica().synced(&charged("acme", 1, usd("500"))).await;
    kms.spends("acme", "500").await;
    assert!(matches!(world.replica().handle(&asked).await, Err(Failure::Refused(_))));
    assert_eq!(world.number("SELECT count(*) FROM usage_snapshots").await, 0);
    world.end().await;
}

#[tokio::test]
async fn a_backend_that_is_away_is_waited_for_and_not_for_ever() {
    let (kms, world) = low().await;
    kms.goes_away().await;
    let event = evaluate("acme", "req_1");
    world.replica().retried(&event).await;
    let refused = |outcome| matches!(outcome, Err(Failure::Refused(reason)) if reason.contains("the next sweep"));
    assert!(refused(world.replica().handle(&attempt(&event, MAX_ATTEMPTS)).await.map(drop)));
    world.pass(Duration::from_secs(599));
    world.replica().retried(&event).await;
    world.pass(Duration::from_secs(1));
    assert!(refused(world.replica().handle(&event).await.map(drop)));
    kms.is_well().await;
    assert_eq!(world.replica().handle(&event).await.unwrap().len(), 1, "brought back, it looks");
    world.end().await;
}
