//! The backend has another quota than it was left with: repaired or reported, always counted, and never mistaken for a push
//! that is on its way.

use std::sync::Arc;
use std::time::Duration;

use common::contract::{QuotaSyncedV1, kind_of};
use syncer::{DriftPolicy, Fate, Policy};

use crate::kms::{BOTH, Generation, Kms};
use crate::odd::{Fault, OddKms, WHOLE};
use crate::world::{Replica, World, charged, decimal, sync, usd};

const REPORT: Policy = Policy {
    quota_drift: DriftPolicy::Report,
    sync_deadline: Duration::from_secs(900),
    sweep_interval: Duration::from_secs(60),
    sweep_repeat: Duration::from_secs(300),
};

fn drifts(replica: &Replica) -> [u64; 3] {
    ["repaired", "reported", "failed"].map(|action| replica.count("bill_quota_drift_total", &[("action", action)]))
}

/// A world in which somebody has a quota of 500, and plenty left.
async fn funded(generation: Generation) -> (Kms, World) {
    let kms = Kms::start(generation).await;
    let world = World::start(kms.url()).await;
    world.organization("acme", "usd", None).await;
    world.replica().synced(&charged("acme", 1, usd("500"))).await;
    (kms, world)
}

#[tokio::test]
async fn a_hand_at_the_backend_is_repaired() {
    for generation in BOTH {
        let (kms, world) = funded(generation).await;
        let sweeper = world.sweeper();
        for (count, drift) in [(1, "9"), (2, "7000")] {
            kms.drifts("acme", drift).await;
            let synced = sweeper.says::<QuotaSyncedV1>().await;
            let id = world.number("SELECT max(id) FROM quota_repairs").await;
            assert_eq!(synced.id.as_str(), format!("quotas.synced:repair:{id}"));
            assert_eq!((synced.data.previous_quota, synced.data.quota), (Some(decimal(drift)), decimal("500")));
            assert_eq!((synced.data.ledger_version, synced.data.changed), (1, true));
            assert_eq!(kms.quota("acme").await, Some(decimal("500")));
            assert_eq!(drifts(&sweeper.replica), [count, 0, 0]);
            assert_eq!(sweeper.replica.gauge("bill_quota_drifting", None), 1);
            sweeper.is_silent().await;
            assert_eq!(sweeper.replica.gauge("bill_quota_drifting", None), 0);
        }
        assert_eq!(world.number("SELECT count(*) FROM quota_repairs WHERE ended_at IS NULL").await, 0);
        world.end().await;
    }
}

#[tokio::test]
async fn low_is_what_is_left_of_the_quota_that_was_repaired() {
    let (kms, world) = funded(Generation::New).await;
    kms.spends("acme", "100").await;
    kms.drifts("acme", "100").await;
    let sweeper = world.sweeper();
    sweeper.says::<QuotaSyncedV1>().await;
    // Where it is only reported, what is enforced counts.
    kms.drifts("acme", "100").await;
    sweeper.dies().await;
    let reporting = world.sweeper_with(REPORT);
    let tally = reporting.sweep().await;
    assert_eq!((tally.of(Fate::Low), tally.drifting), (1, 1));
    assert_eq!(kind_of(&reporting.said.take()[0].subject), "quotas.low");
    world.end().await;
}

#[tokio::test]
async fn it_may_be_reported_only() {
    let (kms, world) = funded(Generation::New).await;
    kms.drifts("acme", "900").await;
    let sweeper = world.sweeper_with(REPORT);
    for count in 1..=2 {
        sweeper.is_silent().await;
        assert_eq!(drifts(&sweeper.replica), [0, count, 0]);
        assert_eq!(sweeper.replica.gauge("bill_quota_drifting", None), 1);
    }
    assert_eq!(kms.quota("acme").await, Some(decimal("900")));
    assert_eq!(world.number("SELECT count(*) FROM quota_repairs").await, 0);
    world.end().await;
}

#[tokio::test]
async fn what_was_never_pushed_is_pushed_in_both_modes() {
    let (kms, world) = funded(Generation::New).await;
    kms.goes_away().await;
    world.pass(Duration::from_secs(900));
    world.replica().failed(&charged("acme", 2, usd("700"))).await;
    kms.is_well().await;
    world.pass(Duration::from_secs(60));
    let sweeper = world.sweeper_with(REPORT);
    assert_eq!(sweeper.says::<QuotaSyncedV1>().await.data.ledger_version, 2);
    assert_eq!((kms.quota("acme").await, drifts(&sweeper.replica)), (Some(decimal("700")), [0, 0, 0]));
    world.end().await;
}

#[tokio::test]
async fn one_that_the_backend_has_lost_gets_its_quota_back_in_both_modes() {
    for policy in [Policy::default(), REPORT] {
        let kms = OddKms::start(WHOLE).await;
        let world = World::start(kms.url()).await;
        world.organization("acme", "usd", None).await;
        world.replica().synced(&charged("acme", 1, usd("500"))).await;
        kms.forget("acme");
        let sweeper = world.sweeper_with(policy);
        let synced = sweeper.says::<QuotaSyncedV1>().await;
        assert_eq!((synced.data.previous_quota, synced.data.quota), (None, decimal("500")));
        assert_eq!((kms.quota("acme"), drifts(&sweeper.replica)), (Some(decimal("500")), [1, 0, 0]));
        world.end().await;
    }
}

#[tokio::test]
async fn a_write_that_was_given_up_on_and_lands_late_is_repaired() {
    let (kms, world) = funded(Generation::New).await;
    // Longer than we wait for the KMS. The event ends with this attempt, so that nobody but the sweep is left to see it.
    kms.faults(&["slow:1500"]).await;
    world.pass(Duration::from_secs(900));
    world.replica().failed(&charged("acme", 2, usd("700"))).await;
    world.replica().synced(&charged("acme", 3, usd("200"))).await;
    assert_eq!(kms.quota("acme").await, Some(decimal("200")));
    let patience = tokio::time::Instant::now() + Duration::from_secs(20);
    while kms.quota("acme").await != Some(decimal("700")) {
        assert!(tokio::time::Instant::now() < patience, "it never landed");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let sweeper = world.sweeper();
    let synced = sweeper.says::<QuotaSyncedV1>().await;
    assert_eq!((synced.data.previous_quota, synced.data.ledger_version), (Some(decimal("700")), 3));
    assert_eq!((kms.quota("acme").await, drifts(&sweeper.replica)), (Some(decimal("200")), [1, 0, 0]));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pushes_on_their_way_are_no_drift() {
    let (kms, world) = funded(Generation::New).await;
    kms.spends("acme", "0").await;
    let replica = Arc::new(world.replica());
    let pushing = tokio::spawn(async move {
        for version in 2..60 {
            replica.synced(&charged("acme", version, usd(&format!("{}", 500 + version)))).await;
        }
    });
    let sweeper = world.sweeper();
    while !pushing.is_finished() {
        sweeper.is_silent().await;
    }
    pushing.await.unwrap();
    sweeper.is_silent().await;
    assert_eq!((drifts(&sweeper.replica), kms.quota("acme").await), ([0, 0, 0], Some(decimal("559"))));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_that_holds_the_row_is_waited_for() {
    let (kms, world) = funded(Generation::New).await;
    // A push has written, and is about to record it.
    let mut push = world.pool.begin().await.unwrap();
    let sql = "UPDATE quota_targets SET target_quota = 700, target_version = 2, pushed_quota = 700, pushed_version = 2";
    sqlx::query(sql).execute(&mut *push).await.unwrap();
    kms.drifts("acme", "700").await;
    let sweeper = Arc::new(world.sweeper());
    let sweeping = Arc::clone(&sweeper);
    let task = tokio::spawn(async move { sweeping.is_silent().await });
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let patience = tokio::time::Instant::now() + Duration::from_secs(20);
    while world.number(waits).await == 0 {
        assert!(tokio::time::Instant::now() < patience, "the sweep does not wait for the row");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    push.commit().await.unwrap();
    assert_eq!(task.await.unwrap().of(Fate::Enough), 1);
    assert_eq!((drifts(&sweeper.replica), kms.quota("acme").await), ([0, 0, 0], Some(decimal("700"))));
    world.end().await;
}

#[tokio::test]
async fn a_repair_that_does_not_succeed_is_finished_by_a_later_sweep() {
    let kms = OddKms::start(WHOLE).await;
    let world = World::start(kms.url()).await;
    world.organization("acme", "usd", None).await;
    world.replica().synced(&charged("acme", 1, usd("500"))).await;
    kms.faults(&[]);
    let sweeper = world.sweeper();
    // Somebody's hand, and writes that are refused.
    kms.has("acme", "9", None);
    kms.faults(&[Fault::Status(403)]);
    let tally = sweeper.is_silent().await;
    assert_eq!((tally.of(Fate::Refused), tally.drifting), (1, 1));
    assert_eq!(drifts(&sweeper.replica), [0, 0, 1]);
    let synced = sweeper.says::<QuotaSyncedV1>().await;
    assert_eq!((synced.data.previous_quota, kms.quota("acme")), (Some(decimal("9")), Some(decimal("500"))));
    assert_eq!(world.number("SELECT count(*) FROM quota_repairs WHERE ended_at IS NOT NULL").await, 1);
    sweeper.is_silent().await;
    world.end().await;
}

#[tokio::test]
async fn a_repair_that_was_not_published_is_said_later_the_same() {
    let (kms, world) = funded(Generation::New).await;
    kms.drifts("acme", "9").await;
    let sweeper = world.sweeper();
    sweeper.said.deaf(true);
    sweeper.sweep().await;
    assert_eq!(kms.quota("acme").await, Some(decimal("500")));
    let recorded =
        world.number("SELECT extract(epoch FROM synced_at)::bigint FROM quota_syncs ORDER BY id DESC LIMIT 1").await;
    world.pass(Duration::from_secs(60));
    sweeper.said.deaf(false);
    let synced = sweeper.says::<QuotaSyncedV1>().await;
    assert_eq!((synced.data.previous_quota, synced.time.timestamp()), (Some(decimal("9")), recorded));
    sweeper.is_silent().await;
    world.end().await;
}

#[tokio::test]
async fn a_sync_by_a_person_is_repaired_like_any_other() {
    let (kms, world) = funded(Generation::New).await;
    world.replica().synced(&sync("acme", "req_1")).await;
    kms.drifts("acme", "1").await;
    world.sweeper().says::<QuotaSyncedV1>().await;
    world.end().await;
}
