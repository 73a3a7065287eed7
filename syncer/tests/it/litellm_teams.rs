//! LiteLLM in the KMS's place: what is different there.

use std::time::Duration;

use common::clock::Clock as _;
use common::contract::{PostingKind, QuotaLowV1, QuotaSyncedV1};
use rust_decimal::Decimal;
use serde_json::json;
use syncer::{DriftPolicy, Fate, Policy};

use crate::litellm::{KEY, Litellm};
use crate::world::{World, charged, credited, decimal, reversed, sync, usd};

const DEADLINE: Duration = Duration::from_secs(15 * 60);
const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_team_that_nobody_named_is_made_and_gets_the_newest_quota() {
    let (litellm, world) = Litellm::start().await;
    world.organization("acme", "usd", None).await;
    let replica = world.replica();

    let made = replica.synced(&sync("acme", "req_1")).await;
    assert_eq!((made.data.backend.as_str(), made.data.quota, made.data.changed), ("litellm", Decimal::ZERO, true));
    assert_eq!(made.data.litellm_team_id.unwrap().as_str(), "acme");
    assert_eq!(world.stored_team("acme").await.as_deref(), Some("acme"));
    let team = litellm.info("acme").await["team_info"].take();
    assert_eq!((&team["team_alias"], &team["budget_duration"]), (&json!("acme"), &json!(null)));
    assert_eq!(team["metadata"]["c_organization_id"], "acme");

    let raised = replica.synced(&charged("acme", 1, usd("600.50"))).await;
    assert_eq!((raised.data.previous_quota, raised.data.quota), (Some(Decimal::ZERO), decimal("600.5")));
    replica.synced(&charged("acme", 3, usd("900"))).await;
    // A late event brings no older quota.
    let late = replica.synced(&charged("acme", 2, usd("123.45"))).await;
    assert_eq!((late.data.quota, late.data.ledger_version, late.data.changed), (decimal("900"), 3, false));
    replica.synced(&reversed("acme", 4, usd("123.45"))).await;
    assert_eq!(litellm.writes("acme").await, ["0", "600.5", "900", "123.45"].map(decimal));
    assert_eq!(replica.count("bill_litellm_calls_total", &[("call", "set"), ("result", "ok")]), 3);
    world.end().await;
}

#[tokio::test]
async fn a_budget_that_was_there_is_adopted_on_the_team_that_is_named() {
    let (litellm, world) = Litellm::start().await;
    world.organization("acme", "usd", Some("team/7&x=1")).await;
    litellm.has("team/7&x=1", json!(1000.10)).await;
    let replica = world.replica();

    let adopted = replica.adopted(&sync("acme", "req_1")).await;
    assert_eq!((adopted.data.quota, adopted.data.litellm_team_id.unwrap().as_str()), (usd("1000.10"), "team/7&x=1"));
    let opening = credited("acme", 1, usd("1000.10"), PostingKind::Opening, "req_1");
    assert!(!replica.synced(&opening).await.data.changed);
    replica.synced(&charged("acme", 2, usd("1100.10"))).await;
    assert_eq!(litellm.writes("team/7&x=1").await, ["1000.1", "1100.1"].map(decimal));
    // Once met the team stays. Money for one that somebody names later goes to neither, but back.
    world.run("UPDATE organization_balance_config SET litellm_team_id = 'another'").await;
    let refused = replica.failed(&sync("acme", "req_2")).await.data.reason;
    assert!(refused.starts_with("team_changed: ") && refused.contains("back to team/7&x=1"), "{refused}");
    let charge = charged("acme", 3, usd("1200"));
    assert!(replica.retried(&charge).await.contains("team_changed"));
    world.run("UPDATE organization_balance_config SET litellm_team_id = 'team/7&x=1'").await;
    assert_eq!(replica.synced(&charge).await.data.litellm_team_id.unwrap().as_str(), "team/7&x=1");
    assert_eq!(litellm.writes("team/7&x=1").await, ["1000.1", "1100.1", "1200"].map(decimal));
    assert_eq!(litellm.calls("POST /team/new").await, 1, "that was us");
    world.end().await;
}

#[tokio::test]
async fn an_unlimited_team_is_refused_until_somebody_says_with_what_it_begins() {
    let (litellm, world) = Litellm::start().await;
    world.organization("acme", "usd", None).await;
    litellm.has("acme", json!(null)).await;
    let replica = world.replica();

    // Who asks is told at once; what was paid for is tried until its time is over, and then given back.
    let refused = replica.failed(&sync("acme", "req_1")).await.data.reason;
    assert!(refused.starts_with("unlimited_team: ") && refused.contains("opening_quota"), "{refused}");
    let charge = charged("acme", 1, usd("100"));
    assert!(replica.retried(&charge).await.contains("unlimited_team"));
    let sweeper = world.sweeper();
    world.pass(MINUTE);
    assert_eq!(sweeper.is_silent().await.of(Fate::Refused), 1);
    world.pass(DEADLINE);
    assert!(replica.failed(&charge).await.data.reason.starts_with("unlimited_team: "));
    assert_eq!((litellm.budget("acme").await, litellm.writes("acme").await), (None, vec![]));

    // From now on the sweep, or a sync, adopts what was said.
    world.run("UPDATE organization_balance_config SET opening_quota = 250").await;
    let adopted = replica.adopted(&sync("acme", "req_2")).await;
    assert_eq!(adopted.data.quota, usd("250"));
    assert_eq!(litellm.budget("acme").await, None, "not before the ledger has booked it");
    replica.adopted(&reversed("acme", 2, usd("0"))).await;
    let synced = replica.synced(&credited("acme", 3, usd("250"), PostingKind::Opening, "req_2")).await;
    assert_eq!((synced.data.previous_quota, synced.data.changed), (None, true));
    assert_eq!(litellm.writes("acme").await, [decimal("250")]);

    // Zero is an answer too: it begins with what it buys.
    world.organization("zero", "usd", None).await;
    world.run("UPDATE organization_balance_config SET opening_quota = 0 WHERE c_organization_id = 'zero'").await;
    litellm.has("zero", json!(null)).await;
    replica.synced(&charged("zero", 1, usd("100"))).await;
    assert_eq!(litellm.writes("zero").await, [decimal("100")]);
    world.end().await;
}

#[tokio::test]
async fn two_organizations_do_not_set_one_team() {
    let (litellm, world) = Litellm::start().await;
    world.organization("one", "usd", Some("two")).await;
    world.organization("two", "usd", None).await;
    let replica = world.replica();
    // Without a name of its own it would take the one that is another's.
    let refused = replica.failed(&sync("two", "req_1")).await.data.reason;
    assert!(refused.starts_with("team_taken: ") && refused.contains("team of one"), "{refused}");
    replica.synced(&charged("one", 1, usd("100"))).await;
    assert!(replica.retried(&charged("two", 1, usd("7"))).await.contains("team_taken"));
    assert_eq!(litellm.writes("two").await, [decimal("0"), decimal("100")]);
    // What a closed one has is still its own.
    world.run("UPDATE organization_balance_config SET closed_at = now() WHERE c_organization_id = 'one'").await;
    assert!(replica.failed(&sync("two", "req_2")).await.data.reason.starts_with("team_taken: "));
    world.end().await;
}

#[tokio::test]
async fn trouble_on_the_way_and_a_key_that_is_not_accepted() {
    let (litellm, world) = Litellm::start().await;
    let replica = world.replica();
    replica.synced(&charged("acme", 1, usd("100"))).await;
    // Short trouble is not noticed: what is set is absolute.
    litellm.faults(&["500_after", "html502"]).await;
    replica.synced(&charged("acme", 2, usd("200"))).await;
    litellm.faults(&["down:600"]).await;
    assert!(world.replica().retried(&charged("acme", 3, usd("300"))).await.contains("unavailable"));
    litellm.is_well().await;
    world.replica().synced(&charged("acme", 3, usd("300"))).await;
    assert_eq!(litellm.writes("acme").await, ["0", "100", "200", "200", "300"].map(decimal));

    // What LiteLLM says of a key has its end and its hash.
    let stranger = "sk-of-somebody-else-987654";
    let other = World::on_litellm(litellm.url(), stranger).await;
    let reason = other.replica().retried(&charged("acme", 1, usd("100"))).await;
    assert!(reason.contains("401") && reason.contains("LITELLM_MASTER_KEY is not accepted"), "{reason}");
    assert!(!reason.contains("7654") && !reason.contains("Hash") && !reason.contains(KEY), "{reason}");
    other.end().await;
    world.end().await;
}

#[tokio::test]
async fn a_changed_or_removed_budget_is_drift() {
    let (litellm, world) = Litellm::start().await;
    world.organization("acme", "usd", None).await;
    world.replica().synced(&charged("acme", 1, usd("500"))).await;
    let sweeper = world.sweeper();
    for (hand, before) in [(json!(9), Some(decimal("9"))), (json!(null), None)] {
        litellm.drifts("acme", hand).await;
        let synced = sweeper.says::<QuotaSyncedV1>().await;
        assert_eq!((synced.data.previous_quota, synced.data.changed), (before, true));
        assert_eq!(litellm.budget("acme").await, Some(decimal("500")));
    }
    // The float that it keeps is no drift.
    litellm.drifts("acme", json!(500.00000000000006)).await;
    assert_eq!(sweeper.is_silent().await.of(Fate::Enough), 1);

    sweeper.dies().await;
    litellm.drifts("acme", json!(null)).await;
    let reporter = world.sweeper_with(Policy { quota_drift: DriftPolicy::Report, ..Policy::default() });
    let tally = reporter.is_silent().await;
    assert_eq!((tally.of(Fate::Unwatched), tally.drifting), (1, 1));
    assert_eq!(litellm.budget("acme").await, None);
    world.end().await;
}

#[tokio::test]
async fn spend_that_shows_late_is_seen_by_the_next_sweep() {
    let (litellm, world) = Litellm::start().await;
    world.organization("acme", "usd", None).await;
    world.replica().synced(&charged("acme", 1, usd("500"))).await;
    litellm.is_at(world.clock.now()).await;
    litellm.configure(json!({ "spend_lag_seconds": 10 })).await;
    litellm.spends("acme", "450.0000000000001").await;
    let sweeper = world.sweeper();
    assert_eq!(sweeper.is_silent().await.of(Fate::Enough), 1);
    world.pass(MINUTE);
    litellm.is_at(world.clock.now()).await;
    let low = sweeper.says::<QuotaLowV1>().await.data;
    assert_eq!((low.usage, low.available), (decimal("450"), decimal("50")), "without the noise of floats");
    // A raise ends it, although spend goes on being late.
    litellm.spends("acme", "460").await;
    world.replica().synced(&charged("acme", 2, usd("1000"))).await;
    assert_eq!(sweeper.is_silent().await.of(Fate::Enough), 1);
    world.end().await;
}

#[tokio::test]
async fn the_months_usage_is_read_now_and_then() {
    let (litellm, world) = Litellm::start().await;
    world.organization("acme", "usd", None).await;
    world.replica().synced(&charged("acme", 1, usd("500"))).await;
    // A day of the month before, and two of this one.
    for (days, usage) in [(-20, "100"), (-1, "150.25"), (0, "170.5")] {
        litellm.is_at(world.clock.now() + chrono::Duration::days(days)).await;
        litellm.spends("acme", usage).await;
    }
    let sweeper = world.sweeper();
    let stored = "SELECT count(month_usage), max(month_usage) FROM usage_snapshots";
    for (minutes, count) in [(0, 1), (9, 1), (1, 2)] {
        world.pass(MINUTE * minutes);
        sweeper.is_silent().await;
        let got: (i64, Decimal) = sqlx::query_as(stored).fetch_one(&world.pool).await.unwrap();
        assert_eq!(got, (count, decimal("70.5")));
    }
    assert_eq!(litellm.calls("GET /team/daily/activity").await, 2);
    // One that can't tell is not asked again and again, and everything else goes on.
    litellm.configure(json!({ "activity_route": false })).await;
    for _ in 0..2 {
        world.pass(MINUTE * 10);
        assert_eq!(sweeper.is_silent().await.of(Fate::Enough), 1);
    }
    assert_eq!(litellm.calls("GET /team/daily/activity").await, 3);
    assert_eq!(world.number("SELECT count(*) FROM usage_snapshots").await, 5);
    world.end().await;
}
