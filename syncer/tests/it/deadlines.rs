//! A backend that stays away: the push is given up in time, once, and the quota is put right when the backend is back.

use std::time::Duration;

use common::contract::{Outgoing, PostingKind, QuotaSyncedV1};
use common::failure::Failure;
use common::ids::{EventId, RechargeId};

use crate::kms::{BOTH, Generation, Kms};
use crate::odd::{OddKms, WHOLE};
use crate::world::{MAX_ATTEMPTS, World, attempt, charged, credited, decimal, held, recharged, reversed, sync, usd};

const DEADLINE: Duration = Duration::from_secs(15 * 60);
const MICROSECOND: Duration = Duration::from_micros(1);

async fn after(world: &World, delivery: &common::worker::Delivery) -> Option<Duration> {
    match world.replica().handle(delivery).await {
        Err(Failure::Retry { after, .. }) => after,
        other => panic!("expected to be tried again, got {other:?}"),
    }
}

async fn an_outage_past_the_deadline(generation: Generation) {
    let kms = Kms::start(generation).await;
    let world = World::start(kms.url()).await;
    world.organization("acme", "usd", None).await;
    world.replica().synced(&charged("acme", 1, usd("100"))).await;
    let recharge = RechargeId::for_trigger(&EventId::parse("evt_2").unwrap());
    let event = recharged("acme", 2, usd("600"), recharge);

    kms.goes_away().await;
    world.replica().retried(&event).await;
    world.pass(DEADLINE - MICROSECOND);
    world.replica().retried(&event).await;
    world.pass(MICROSECOND);
    let failed = world.replica().failed(&event).await;
    assert_eq!(failed.id.as_str(), "quotas.failed:ledger.credited:acme-2");
    assert_eq!(failed.correlationid.as_str(), "evt_2");
    assert_eq!((failed.data.quota, failed.data.ledger_version), (decimal("600"), 2));
    assert_eq!((failed.data.backend.as_str(), failed.data.recharge_id), ("kms", Some(recharge)));
    assert!(failed.data.reason.contains("unavailable"), "{}", failed.data.reason);

    // The repeat says the same to the byte, whatever the time, and whether or not the backend is back.
    let first: Vec<Outgoing> = world.replica().handle(&event).await.unwrap();
    world.pass(Duration::from_secs(60));
    kms.is_well().await;
    assert_eq!(world.replica().handle(&event).await.unwrap(), first);
    assert_eq!(first[0].id, failed.id);
    assert_eq!(kms.quota("acme").await, Some(decimal("100")), "the repeat pushes nothing");
    assert_eq!(world.number("SELECT count(*) FROM quota_failures").await, 1);

    // The sweep brings what the ledger wants; the recharger's refund then lowers it again.
    let synced = world.sweeper().says::<QuotaSyncedV1>().await;
    assert_eq!((synced.data.quota, synced.data.ledger_version, synced.data.changed), (decimal("600"), 2, true));
    let lowered = world.replica().synced(&reversed("acme", 3, usd("100"))).await;
    assert_eq!((lowered.data.quota, lowered.data.ledger_version), (decimal("100"), 3));
    assert_eq!(world.replica().handle(&event).await.unwrap(), first);
    world.end().await;
}

#[tokio::test]
async fn it_is_given_up_once_and_the_sweep_brings_it() {
    for generation in BOTH {
        an_outage_past_the_deadline(generation).await;
    }
}

#[tokio::test]
async fn whatever_the_ledger_said_ends_in_time() {
    let kms = Kms::start(Generation::New).await;
    let world = World::start(kms.url()).await;
    world.organization("asked", "usd", None).await;
    for id in ["refunded", "disputed", "adjusted", "opened"] {
        world.replica().synced(&charged(id, 1, usd("100"))).await;
    }
    kms.goes_away().await;
    let events = [
        reversed("refunded", 2, usd("40")),
        held("disputed", 2, usd("50")),
        credited("adjusted", 2, usd("160"), PostingKind::Adjustment, "evt"),
        credited("opened", 2, usd("170"), PostingKind::Opening, "evt"),
        sync("asked", "req_1"),
    ];
    for event in &events {
        world.replica().retried(event).await;
    }
    world.pass(DEADLINE);
    for event in &events {
        let failed = world.replica().failed(event).await;
        assert_eq!(failed.data.recharge_id, None);
        assert_eq!(failed.data.ledger_version, if failed.subject.unwrap().as_str() == "asked" { 0 } else { 2 });
    }
    kms.is_well().await;
    let sweeper = world.sweeper();
    assert_eq!(sweeper.sweep().await.all(), 4, "who was never met is left alone");
    for (id, quota) in [("refunded", "40"), ("disputed", "50"), ("adjusted", "160"), ("opened", "170")] {
        assert_eq!(kms.quota(id).await, Some(decimal(quota)), "{id}");
    }
    assert_eq!(kms.quota("asked").await, None);
    assert_eq!(sweeper.said.take().len(), 4);
    assert_eq!(sweeper.replica.count("bill_quota_drift_total", &[]), 0, "that is nobody's drift");
    world.end().await;
}

#[tokio::test]
async fn the_first_contact_may_be_the_sweeps() {
    let kms = Kms::start(Generation::New).await;
    let world = World::start(kms.url()).await;
    kms.goes_away().await;
    world.pass(DEADLINE);
    world.replica().failed(&charged("acme", 1, usd("100"))).await;
    kms.is_well().await;
    let sweeper = world.sweeper();
    let tally = sweeper.is_silent().await;
    assert_eq!(tally.of(syncer::Fate::UnderWay), 1, "it arrived a moment ago");
    world.pass(Duration::from_secs(60));
    assert_eq!(sweeper.says::<QuotaSyncedV1>().await.data.quota, decimal("100"));
    assert_eq!(kms.writes("acme").await, [decimal("0"), decimal("100")]);
    world.end().await;
}

#[tokio::test]
async fn a_refusal_ends_in_time_too_with_what_was_said() {
    let kms = OddKms::start(WHOLE).await;
    let world = World::start(kms.url()).await;
    world.replica().synced(&charged("acme", 1, usd("100"))).await;
    kms.down(Some(403));
    world.pass(DEADLINE);
    let failed = world.replica().failed(&charged("acme", 2, usd("200"))).await;
    assert!(failed.data.reason.contains("403"), "{}", failed.data.reason);
    world.end().await;
}

#[tokio::test]
async fn a_push_that_was_recorded_wins() {
    let kms = Kms::start(Generation::New).await;
    let world = World::start(kms.url()).await;
    let event = charged("acme", 1, usd("100"));
    let first = world.replica().handle(&event).await.unwrap();
    kms.goes_away().await;
    world.pass(DEADLINE * 2);
    assert_eq!(world.replica().handle(&attempt(&event, MAX_ATTEMPTS)).await.unwrap(), first);
    // Nor has a late one failed that a newer one covers: its quota was in force.
    world.organization("late", "usd", None).await;
    kms.is_well().await;
    world.replica().synced(&charged("late", 3, usd("300"))).await;
    kms.goes_away().await;
    let late = charged("late", 2, usd("200"));
    let covered = world.replica().synced(&late).await;
    assert_eq!((covered.data.quota, covered.data.ledger_version, covered.data.changed), (decimal("300"), 3, false));
    assert_eq!(world.replica().synced(&late).await, covered);
    world.end().await;
}

#[tokio::test]
async fn deliveries_last_until_the_deadline_and_the_last_one_is_the_end() {
    let kms = Kms::start(Generation::New).await;
    let world = World::start(kms.url()).await;
    kms.goes_away().await;
    let event = charged("acme", 1, usd("100"));
    assert_eq!(after(&world, &attempt(&event, 1)).await, None);
    assert_eq!(after(&world, &attempt(&event, 19)).await, None);
    // Half of them are used up: what is left of the time is shared out.
    assert_eq!(after(&world, &attempt(&event, 20)).await, Some(DEADLINE / 20));
    assert_eq!(after(&world, &attempt(&event, 39)).await, Some(DEADLINE));
    let failed = world.replica().failed(&attempt(&event, MAX_ATTEMPTS)).await;
    assert!(failed.data.reason.contains("the last of 40 attempts"), "{}", failed.data.reason);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_that_give_up_at_once_say_one_thing() {
    let kms = Kms::start(Generation::New).await;
    let world = World::start(kms.url()).await;
    kms.goes_away().await;
    world.pass(DEADLINE);
    let event = charged("acme", 1, usd("100"));
    let (one, two) = (world.replica(), world.replica());
    let (first, second) = tokio::join!(one.handle(&event), two.handle(&event));
    assert_eq!(first.unwrap(), second.unwrap());
    assert_eq!(world.number("SELECT count(*) FROM quota_failures").await, 1);
    world.end().await;
}
