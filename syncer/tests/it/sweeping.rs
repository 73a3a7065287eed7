//! What the sweep says of low balances, and of whom.

use std::time::Duration;

use common::contract::{PostingKind, QuotaLowV1};
use serde_json::json;
use syncer::{Fate, Policy};

use crate::kms::{BOTH, Generation, Kms};
use crate::odd::{OddKms, WHOLE};
use crate::world::{World, charged, credited, decimal, sync, usd};

const REPEAT: Duration = Duration::from_secs(300);
const SECOND: Duration = Duration::from_secs(1);

/// A world with an organization that has a quota of 500 and keeps a balance of 100.
async fn funded(generation: Generation) -> (Kms, World) {
    let kms = Kms::start(generation).await;
    let world = World::start(kms.url()).await;
    world.organization("acme", "usd", None).await;
    world.replica().synced(&charged("acme", 1, usd("500"))).await;
    (kms, world)
}

#[tokio::test]
async fn a_low_balance_is_said_with_its_numbers() {
    for (usage, minimum, low) in [
        ("400", "100", false),
        ("400.01", "100", true),
        ("499.99", "0", false),
        // Exactly used up.
        ("500", "0", true),
        ("520.5", "100", true),
    ] {
        let (kms, world) = funded(Generation::New).await;
        world.run(&format!("UPDATE organization_balance_config SET minimum_balance = {minimum}")).await;
        kms.spends("acme", usage).await;
        let sweeper = world.sweeper();
        let tally = sweeper.sweep().await;
        let said = sweeper.said.take();
        assert_eq!(world.number("SELECT count(*) FROM usage_snapshots").await, 1);
        assert_eq!((tally.of(Fate::Low), tally.of(Fate::Enough)), (i64::from(low), i64::from(!low)), "{usage}");
        assert_eq!(sweeper.replica.gauge("bill_sweep_organizations", Some("low")), i64::from(low));
        assert_eq!(sweeper.replica.gauge("bill_sweep_last_finished_seconds", None), 1_800_000_000);
        if low {
            let event = crate::world::only::<QuotaLowV1>(said);
            let id = world.number("SELECT id FROM usage_snapshots").await;
            assert_eq!(event.id.as_str(), format!("quotas.low:usage_{id}_1800000000123456"));
            assert_eq!((event.correlationid, event.subject.unwrap().as_str()), (event.id, "acme"));
            assert_eq!((event.data.usage, event.data.quota), (decimal(usage), decimal("500")));
            assert_eq!(event.data.available, decimal("500") - decimal(usage));
            assert_eq!(event.data.minimum_balance, decimal(minimum));
        } else {
            assert_eq!(said, []);
        }
        world.end().await;
    }
}

#[tokio::test]
async fn it_is_said_again_only_when_something_changed_or_a_while_has_passed() {
    let (kms, world) = funded(Generation::New).await;
    kms.spends("acme", "450").await;
    let sweeper = world.sweeper();
    let mut ids = vec![sweeper.says::<QuotaLowV1>().await.id];
    sweeper.is_silent().await;

    // A while has passed.
    world.pass(REPEAT - SECOND);
    sweeper.is_silent().await;
    world.pass(SECOND);
    ids.push(sweeper.says::<QuotaLowV1>().await.id);
    sweeper.is_silent().await;

    // The ledger said something, and it is still low.
    world.replica().synced(&charged("acme", 2, usd("510"))).await;
    ids.push(sweeper.says::<QuotaLowV1>().await.id);
    sweeper.is_silent().await;

    // The policy, or the card, was changed.
    world.run("UPDATE organization_balance_config SET updated_at = now() + interval '1 day'").await;
    ids.push(sweeper.says::<QuotaLowV1>().await.id);
    sweeper.is_silent().await;

    // It was enough for a moment.
    kms.spends("acme", "0").await;
    sweeper.is_silent().await;
    kms.spends("acme", "450").await;
    ids.push(sweeper.says::<QuotaLowV1>().await.id);
    // Another replica knows what was said.
    let other = world.sweeper();
    sweeper.dies().await;
    other.is_silent().await;
    let count = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), count, "each has an id of its own");
    world.end().await;
}

#[tokio::test]
async fn what_was_not_published_is_said_by_the_next_sweep() {
    let (kms, world) = funded(Generation::New).await;
    kms.spends("acme", "450").await;
    let sweeper = world.sweeper();
    sweeper.said.deaf(true);
    assert_eq!(sweeper.sweep().await.of(Fate::Failed), 1);
    assert_eq!(world.number("SELECT count(*) FROM usage_snapshots").await, 1);
    sweeper.said.deaf(false);
    sweeper.says::<QuotaLowV1>().await;
    sweeper.is_silent().await;
    world.end().await;
}

#[tokio::test]
async fn usage_that_is_not_known_is_not_low() {
    for generation in BOTH {
        let (kms, world) = funded(generation).await;
        if let Generation::New = generation {
            kms.configure(json!({ "spend_unavailable": true })).await;
        }
        let sweeper = world.sweeper();
        assert_eq!(sweeper.is_silent().await.of(Fate::UsageUnavailable), 1);
        assert_eq!(world.number("SELECT count(*) FROM usage_snapshots").await, 0);
        assert_eq!(sweeper.replica.gauge("bill_sweep_organizations", Some("usage_unavailable")), 1);
        world.end().await;
    }
}

#[tokio::test]
async fn who_is_looked_at() {
    let (kms, world) = funded(Generation::New).await;
    for id in ["unsynced", "empty", "manual", "closed", "closed_late", "adopted"] {
        world.organization(id, "usd", None).await;
    }
    world.replica().synced(&sync("empty", "req_1")).await;
    for id in ["manual", "closed"] {
        world.replica().synced(&charged(id, 1, usd("5"))).await;
    }
    kms.has("adopted", "5").await;
    world.replica().adopted(&sync("adopted", "req_2")).await;
    kms.spends("adopted", "5").await;
    kms.has("unsynced", "7").await;
    world
        .run("UPDATE organization_balance_config SET auto_recharge_enabled = false WHERE c_organization_id = 'manual'")
        .await;
    world.run("UPDATE organization_balance_config SET closed_at = now() WHERE c_organization_id LIKE 'closed%'").await;
    // A closed one whose last booking was given up: that is still to be done.
    kms.goes_away().await;
    world.replica().retried(&charged("closed_late", 1, usd("5"))).await;
    kms.is_well().await;
    world.pass(REPEAT);

    let sweeper = world.sweeper();
    let tally = sweeper.sweep().await;
    let fates = [Fate::Enough, Fate::Low, Fate::AwaitsOpening, Fate::Unwatched].map(|fate| (fate, tally.of(fate)));
    // acme, empty, adopted, closed_late; and neither unsynced nor manual nor closed.
    assert_eq!(fates, [(Fate::Enough, 1), (Fate::Low, 1), (Fate::AwaitsOpening, 1), (Fate::Unwatched, 1)]);
    assert_eq!(tally.all(), 4);
    let mut subjects: Vec<_> = sweeper.said.take().into_iter().map(|event| event.subject).collect();
    subjects.sort();
    assert_eq!(subjects, ["quotas.low.empty", "quotas.synced.closed_late"]);
    assert_eq!(kms.writes("adopted").await, [decimal("5")]);
    assert_eq!(kms.writes("unsynced").await, [decimal("7")]);

    // Once the opening is booked, what is low is said.
    world.replica().synced(&credited("adopted", 1, usd("5"), PostingKind::Opening, "req_2")).await;
    assert_eq!(sweeper.says::<QuotaLowV1>().await.subject.unwrap().as_str(), "adopted");
    world.end().await;
}

#[tokio::test]
async fn a_backend_that_is_away_is_not_asked_for_everybody() {
    let kms = Kms::start(Generation::New).await;
    let world = World::start(kms.url()).await;
    for index in 0..30 {
        let id = format!("org_{index}");
        world.organization(&id, "usd", None).await;
        world.replica().synced(&charged(&id, 1, usd("5"))).await;
    }
    let sweeper = world.sweeper();
    kms.goes_away().await;
    let tally = sweeper.is_silent().await;
    assert!(tally.away.is_some() && tally.of(Fate::Left) > 15, "{tally:?}");
    assert_eq!(tally.all(), 30);
    assert_eq!(sweeper.replica.gauge("bill_sweep_last_finished_seconds", None), 0);
    assert_eq!(sweeper.replica.gauge("bill_sweep_organizations", Some("left")), tally.of(Fate::Left));
    kms.is_well().await;
    sweeper.dies().await;
    let next = world.sweeper();
    let tally = next.sweep().await;
    assert!(tally.is_whole(), "{tally:?}");
    assert_eq!((tally.of(Fate::Low), next.said.take().len()), (30, 30));
    world.end().await;
}

#[tokio::test]
async fn one_that_is_refused_does_not_keep_the_others() {
    let kms = OddKms::start(WHOLE).await;
    let world = World::start(kms.url()).await;
    for id in ["one", "two"] {
        world.organization(id, "usd", None).await;
        world.replica().synced(&charged(id, 1, usd("500"))).await;
        kms.spends(id, json!("500"));
    }
    kms.spends("one", json!("plenty"));
    let sweeper = world.sweeper();
    assert_eq!(sweeper.says::<QuotaLowV1>().await.subject.unwrap().as_str(), "two");
    assert_eq!(sweeper.replica.gauge("bill_sweep_organizations", Some("unavailable")), 1);
    world.end().await;
}

#[tokio::test]
async fn old_snapshots_are_taken_away_a_number_at_a_time() {
    let (_kms, world) = funded(Generation::New).await;
    let old = "INSERT INTO usage_snapshots (c_organization_id, usage, quota, taken_at)
               SELECT 'acme', 1, 500, to_timestamp(1800000000) - interval '90 days 1 second' FROM generate_series(1, 1500)";
    world.run(old).await;
    world.run(&old.replace("1 second", "-60 seconds")).await;
    let sweeper = world.sweeper_with(Policy { sweep_repeat: Duration::ZERO, ..Policy::default() });
    for left in [2_001, 1_502, 1_503] {
        sweeper.sweep().await;
        assert_eq!(world.number("SELECT count(*) FROM usage_snapshots").await, left);
    }
    world.end().await;
}
