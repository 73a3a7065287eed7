//! What must not be written to LiteLLM, because money would be lost by it or given away.

use std::time::Duration;

use common::contract::{PostingKind, QuotaSyncedV1};
use serde_json::json;
use syncer::{DriftPolicy, Fate, Policy};

use crate::litellm::{KEY, Litellm};
use crate::odd::{OddKms, WHOLE};
use crate::world::{World, charged, credited, decimal, sync, usd};

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn another_backend_is_not_touched_before_it_has_what_was_in_force() {
    let kms = OddKms::start(WHOLE).await;
    let mut world = World::start(kms.url()).await;
    for (id, team) in [("acme", "team_a"), ("one", "shared"), ("two", "shared")] {
        world.organization(id, "usd", None).await;
        kms.has(id, "0", Some(team));
        world.replica().synced(&charged(id, 1, usd("500"))).await;
    }
    let litellm = Litellm::alone().await;
    litellm.has("team_a", json!(null)).await;
    litellm.has("shared", json!(500)).await;
    world.moves_to_litellm(litellm.url(), KEY);
    world.pass(MINUTE);
    let (replica, sweeper) = (world.replica(), world.sweeper());
    let tally = sweeper.is_silent().await;
    assert_eq!((tally.of(Fate::Refused), tally.drifting), (3, 0));
    for (request, hand) in [("req_1", json!(null)), ("req_2", json!(9000)), ("req_3", json!(499))] {
        litellm.drifts("team_a", hand.clone()).await;
        let refused = replica.failed(&sync("acme", request)).await.data.reason;
        assert!(refused.starts_with("backend_changed: ") && refused.contains("at kms, 500,"), "{hand}: {refused}");
    }
    assert!(replica.retried(&charged("acme", 2, usd("600"))).await.contains("backend_changed"));
    assert_eq!(litellm.writes("team_a").await, []);
    // Whoever gives it by hand what was in force has decided.
    litellm.drifts("team_a", json!(500)).await;
    let synced = replica.synced(&charged("acme", 2, usd("600"))).await;
    assert_eq!((synced.data.previous_quota, synced.data.backend.as_str()), (Some(decimal("500")), "litellm"));
    litellm.drifts("team_a", json!(9)).await;
    assert!(replica.synced(&sync("acme", "req_4")).await.data.changed, "from now on that is drift");
    assert_eq!(litellm.writes("team_a").await, ["600", "600"].map(decimal));

    // Two that shared a team at the KMS do not set its budget in turns.
    for id in ["one", "two"] {
        let refused = replica.failed(&sync(id, &format!("req_{id}"))).await.data.reason;
        assert!(refused.starts_with("team_taken: "), "{refused}");
    }
    litellm.has("own", json!(500)).await;
    world.run("UPDATE organization_balance_config SET litellm_team_id = 'own' WHERE c_organization_id = 'two'").await;
    assert_eq!(replica.synced(&sync("two", "req_5")).await.data.litellm_team_id.unwrap().as_str(), "own");
    assert!(!replica.synced(&sync("one", "req_6")).await.data.changed);
    world.end().await;
}

#[tokio::test]
async fn a_team_whose_spend_is_zeroed_is_not_adopted_and_not_raised_in_silence() {
    let (litellm, world) = Litellm::start().await;
    world.organization("acme", "usd", None).await;
    litellm.has("acme", json!(100)).await;
    litellm.resets("acme", json!("30d")).await;
    let replica = world.replica();
    let refused = replica.failed(&sync("acme", "req_1")).await.data.reason;
    assert!(refused.starts_with("budget_duration: ") && refused.contains("every 30d"), "{refused}");
    litellm.resets("acme", json!(null)).await;
    replica.adopted(&sync("acme", "req_2")).await;
    replica.synced(&credited("acme", 1, usd("100"), PostingKind::Opening, "req_2")).await;
    assert_eq!(replica.count("bill_quota_usage_resets_total", &[]), 0);
    litellm.resets("acme", json!("1mo")).await;
    replica.synced(&charged("acme", 2, usd("200"))).await;
    assert_eq!(replica.count("bill_quota_usage_resets_total", &[("backend", "litellm")]), 1);
    world.end().await;
}

#[tokio::test]
async fn a_lost_team_that_had_spent_something_is_not_made_again() {
    let (litellm, world) = Litellm::start().await;
    for (id, spent) in [("acme", "120"), ("fresh", "0")] {
        world.organization(id, "usd", None).await;
        world.replica().synced(&charged(id, 1, usd("500"))).await;
        litellm.spends(id, spent).await;
    }
    let sweeper = world.sweeper();
    assert_eq!(sweeper.is_silent().await.of(Fate::Enough), 2);
    litellm.forgets("acme").await;
    litellm.forgets("fresh").await;
    // Where nothing was spent nothing is lost.
    assert!(sweeper.says::<QuotaSyncedV1>().await.data.changed);
    assert_eq!((litellm.budget("fresh").await, litellm.calls("POST /team/new").await), (Some(decimal("500")), 3));
    let replica = world.replica();
    let refused = replica.failed(&sync("acme", "req_1")).await.data.reason;
    assert!(refused.starts_with("team_gone: ") && refused.contains("(120)"), "{refused}");
    assert!(replica.retried(&charged("acme", 2, usd("600"))).await.contains("team_gone"));
    sweeper.dies().await;
    let reporter = world.sweeper_with(Policy { quota_drift: DriftPolicy::Report, ..Policy::default() });
    world.pass(MINUTE);
    assert_eq!(reporter.is_silent().await.of(Fate::Refused), 1);
    assert_eq!(litellm.calls("POST /team/new").await, 3);
    // Whoever makes it by hand accepts that its spend begins at zero.
    litellm.has("acme", json!(0)).await;
    reporter.says::<QuotaSyncedV1>().await;
    assert_eq!(litellm.writes("acme").await, ["0", "600"].map(decimal));
    world.end().await;
}

#[tokio::test]
async fn a_proxy_without_its_database_is_away_and_has_lost_no_team() {
    let (litellm, world) = Litellm::start().await;
    world.organization("acme", "usd", None).await;
    world.replica().synced(&charged("acme", 1, usd("500"))).await;
    litellm.configure(json!({ "database": false })).await;
    let sweeper = world.sweeper();
    let tally = sweeper.is_silent().await;
    assert_eq!((tally.of(Fate::Unavailable), tally.drifting), (1, 0));
    assert_eq!(world.number("SELECT count(*) FROM quota_repairs").await, 0);
    // It answers, and yet it is left alone after a while.
    let replica = world.replica();
    let charge = charged("other", 1, usd("7"));
    let said = replica.retried(&charge).await;
    assert!(said.contains("/health/readiness says") && said.contains("disconnected"), "{said}");
    for _ in 0..5 {
        replica.retried(&charge).await;
    }
    let said = replica.retried(&charge).await;
    assert!(said.contains("left alone"), "{said}");
    assert_eq!(litellm.calls("POST /team/new").await, 1, "a team that is not known to be missing is not made");
    litellm.configure(json!({ "database": true })).await;
    world.replica().synced(&charge).await;
    world.end().await;
}

#[tokio::test]
async fn a_budget_that_floats_do_not_keep_to_the_cent_is_not_adopted() {
    let (litellm, world) = Litellm::start().await;
    world.organization("acme", "usd", None).await;
    litellm.has("acme", json!(1e13)).await;
    let replica = world.replica();
    let refused = replica.failed(&sync("acme", "req_1")).await.data.reason;
    assert!(refused.starts_with("budget_too_large: ") && refused.contains("opening_quota"), "{refused}");
    world.run("UPDATE organization_balance_config SET opening_quota = 250").await;
    assert_eq!(replica.adopted(&sync("acme", "req_2")).await.data.quota, usd("250"));
    world.end().await;
}

#[tokio::test]
async fn of_two_that_meet_one_team_at_a_time_one_waits() {
    let (litellm, world) = Litellm::start().await;
    for id in ["one", "two"] {
        world.organization(id, "usd", None).await;
    }
    let (mine, theirs) = (world.replica(), world.replica());
    litellm.faults(&["slow:400"]).await;
    let (charge, sync) = (charged("two", 1, usd("100")), sync("one", "req_1"));
    // The second is given the team's name while the first makes the team, after it has seen that nobody has it.
    let second = async {
        while litellm.calls("POST /team/new").await == 0 {
            tokio::task::yield_now().await;
        }
        world
            .run("UPDATE organization_balance_config SET litellm_team_id = 'two' WHERE c_organization_id = 'one'")
            .await;
        theirs.failed(&sync).await.data.reason
    };
    let (first, second) = tokio::join!(mine.synced(&charge), second);
    assert_eq!(first.data.quota, decimal("100"));
    assert!(second.starts_with("team_taken: ") && second.contains("team of two"), "{second}");
    assert_eq!(litellm.writes("two").await, ["0", "100"].map(decimal));
    world.end().await;
}
