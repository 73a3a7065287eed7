//! Comparing the ledger's quotas with those in force.

use std::time::Duration;

use common::contract::{QuotaSyncedV1, kind_of};
use common::failure::Failure;
use syncer::{DriftPolicy, Policy};

use crate::kms::{BOTH, Generation, Kms};
use crate::odd::{self, OddKms, WHOLE};
use crate::world::{MAX_ATTEMPTS, World, attempt, charged, decimal, only, reconcile, usd};

/// Books a quota in the ledger's tables, as the first transaction of an organization.
async fn book(world: &World, id: &str, kind: &str, minor: i64) {
    world
        .run(&format!(
            "DO $$
            DECLARE tx uuid := gen_random_uuid(); one bigint; two bigint;
            BEGIN
                INSERT INTO ledger_organizations VALUES ('{id}', 'usd');
                INSERT INTO ledger_accounts (c_organization_id, kind, currency) VALUES ('{id}', 'balance', 'usd') RETURNING id INTO one;
                INSERT INTO ledger_accounts (c_organization_id, kind, currency) VALUES ('{id}', 'stripe_clearing', 'usd') RETURNING id INTO two;
                INSERT INTO ledger_transactions (id, business_key, kind, c_organization_id, correlation_id, description, currency,
                    posted_at, version, quota_after_minor, previous_hash, hash)
                VALUES (tx, '{kind}:{id}', '{kind}', '{id}', 'evt', 'test', 'usd', to_timestamp(1800000000), 1, {minor},
                    decode(repeat('00', 32), 'hex'), decode(repeat('11', 32), 'hex'));
                INSERT INTO ledger_entries (transaction_id, account_id, amount_minor, currency)
                VALUES (tx, one, {minor}, 'usd'), (tx, two, -{minor}, 'usd');
            END $$"
        ))
        .await;
}

type Found = (String, String, Option<String>, Option<String>, String);

async fn findings(world: &World, run_id: &str) -> Vec<Found> {
    sqlx::query_as(
        "SELECT kind, c_organization_id, expected, found, action FROM reconciliation_findings
         WHERE run_id = $1 AND part = 'quotas' ORDER BY kind, c_organization_id",
    )
    .bind(run_id)
    .fetch_all(&world.pool)
    .await
    .unwrap()
}

fn found(kind: &str, id: &str, expected: &str, found: Option<&str>, action: &str) -> Found {
    (kind.to_owned(), id.to_owned(), Some(expected.to_owned()), found.map(str::to_owned), action.to_owned())
}

#[tokio::test]
async fn every_disagreement_is_found_and_put_right() {
    for generation in BOTH {
        let kms = Kms::start(generation).await;
        let world = World::start(kms.url()).await;
        for id in ["fine", "hand", "team", "lost_event"] {
            world.organization(id, "usd", None).await;
            book(&world, id, "charge", 50_000).await;
        }
        for id in ["fine", "hand", "team"] {
            world.replica().synced(&charged(id, 1, usd("500"))).await;
        }
        kms.drifts("hand", "9").await;
        world
            .run("UPDATE organization_balance_config SET litellm_team_id = 'ours' WHERE c_organization_id = 'team'")
            .await;
        // Posted a moment ago: it may still arrive.
        let replica = world.replica();
        world.pass(Duration::from_secs(59));
        assert_eq!(replica.handle(&reconcile("early")).await.unwrap().len(), 1);
        let team = kms.team("team").await;
        let of_team = found("team_mismatch", "team", "ours", Some(&team), "reported");
        let of_hand = found("quota_drift", "hand", "500", Some("9"), "repaired");
        assert_eq!(findings(&world, "early").await, [of_hand, of_team.clone()]);
        assert_eq!(kms.quota("hand").await, Some(decimal("500")));

        world.pass(Duration::from_secs(1));
        let synced = only::<QuotaSyncedV1>(replica.handle(&reconcile("late")).await.unwrap());
        assert_eq!(synced.subject.unwrap().as_str(), "lost_event");
        assert_eq!((synced.data.quota, synced.data.ledger_version), (decimal("500"), 1));
        let of_lost = found("target_behind", "lost_event", "1", Some("0"), "repaired");
        assert_eq!(findings(&world, "late").await, [of_lost, of_team]);
        assert_eq!(kms.quota("lost_event").await, Some(decimal("500")));
        assert_eq!(world.number("SELECT checked FROM reconciliation_parts WHERE run_id = 'late'").await, 4);

        // A repeat does nothing, and what was said once is said again by the sweep only.
        kms.drifts("hand", "9").await;
        assert_eq!(replica.handle(&reconcile("late")).await.unwrap(), []);
        assert_eq!(kms.quota("hand").await, Some(decimal("9")));
        let repaired = [("kind", "target_behind"), ("action", "repaired")];
        assert_eq!(replica.count("bill_reconciliation_findings_total", &repaired), 1);
        world.end().await;
    }
}

#[tokio::test]
async fn what_the_backend_has_lost_is_pushed_and_drift_may_be_reported_only() {
    let kms = OddKms::start(WHOLE).await;
    let world = World::start(kms.url()).await;
    for id in ["gone", "hand"] {
        world.organization(id, "usd", None).await;
        book(&world, id, "charge", 50_000).await;
        world.replica().synced(&charged(id, 1, usd("500"))).await;
    }
    kms.forget("gone");
    kms.has("hand", "900", Some("team_hand"));
    let replica = world.replica_with(Policy { quota_drift: DriftPolicy::Report, ..Policy::default() });
    let said = replica.handle(&reconcile("run")).await.unwrap();
    assert_eq!(said.iter().map(|event| kind_of(&event.subject)).collect::<Vec<_>>(), ["quotas.synced"]);
    let want = [
        found("quota_drift", "hand", "500", Some("900"), "reported"),
        found("quota_missing", "gone", "500", None, "repaired"),
    ];
    assert_eq!(findings(&world, "run").await, want);
    assert_eq!((kms.quota("gone"), kms.quota("hand")), (Some(decimal("500")), Some(decimal("900"))));
    world.end().await;
}

#[tokio::test]
async fn an_opening_that_never_arrived_ends_the_wait_for_it() {
    let kms = Kms::start(Generation::New).await;
    let world = World::start(kms.url()).await;
    world.organization("acme", "usd", None).await;
    kms.has("acme", "70").await;
    world.replica().adopted(&crate::world::sync("acme", "req_1")).await;
    book(&world, "acme", "opening", 7_000).await;
    world.pass(Duration::from_secs(60));
    let synced = only::<QuotaSyncedV1>(world.replica().handle(&reconcile("run")).await.unwrap());
    assert_eq!((synced.data.quota, synced.data.changed), (decimal("70"), false));
    world.end().await;
}

#[tokio::test]
async fn one_that_can_not_be_repaired_now_is_recorded_and_begun() {
    let kms = Kms::start(Generation::New).await;
    let world = World::start(kms.url()).await;
    world.organization("acme", "usd", None).await;
    book(&world, "acme", "charge", 50_000).await;
    world.replica().synced(&charged("acme", 1, usd("500"))).await;
    kms.drifts("acme", "9").await;
    kms.faults(&["500_before", "500_before", "500_before"]).await;
    assert_eq!(world.replica().handle(&reconcile("run")).await.unwrap(), []);
    assert_eq!(findings(&world, "run").await, [found("quota_drift", "acme", "500", Some("9"), "reported")]);
    world.sweeper().says::<QuotaSyncedV1>().await;
    assert_eq!(kms.quota("acme").await, Some(decimal("500")));
    world.end().await;
}

#[tokio::test]
async fn one_that_can_not_be_read_keeps_nobody_else_from_being_compared() {
    const OTHERS: [&str; 5] = ["b", "c", "d", "e", "hand"];
    let kms = OddKms::start(WHOLE).await;
    let mut world = World::start(kms.url()).await;
    for id in OTHERS.into_iter().chain(["a"]) {
        world.organization(id, "usd", None).await;
        book(&world, id, "charge", 50_000).await;
        world.replica().synced(&charged(id, 1, usd("500"))).await;
    }
    let report = Policy { quota_drift: DriftPolicy::Report, ..Policy::default() };
    // Whoever is not in its list can't be read: it is refused, or nobody answers.
    for (status, listed, run, want) in [
        (403, &OTHERS[..], "refused", Some(vec![("quota_drift", "hand"), ("quota_unreadable", "a")])),
        (503, &OTHERS[..], "silent", Some(vec![("quota_drift", "hand"), ("quota_unreadable", "a")])),
        (503, &OTHERS[4..], "away", None),
    ] {
        let other = OddKms::start(odd::Generation { single_get: status, ..WHOLE }).await;
        for id in listed {
            other.has(id, if *id == "hand" { "900" } else { "500" }, None);
        }
        world.moves_to_kms(other.url());
        let replica = world.replica_with(report);
        let Some(want) = want else {
            replica.retried(&reconcile(run)).await;
            continue;
        };
        assert_eq!(replica.handle(&reconcile(run)).await.unwrap(), []);
        let kinds: Vec<_> = findings(&world, run).await.into_iter().map(|found| (found.0, found.1)).collect();
        assert_eq!(kinds, want.into_iter().map(|(kind, id)| (kind.to_owned(), id.to_owned())).collect::<Vec<_>>());
    }
    world.end().await;
}

#[tokio::test]
async fn a_backend_that_is_away_is_waited_for_and_not_for_ever() {
    let kms = Kms::start(Generation::New).await;
    let world = World::start(kms.url()).await;
    world.organization("acme", "usd", None).await;
    book(&world, "acme", "charge", 50_000).await;
    world.replica().synced(&charged("acme", 1, usd("500"))).await;
    kms.goes_away().await;
    world.replica().retried(&reconcile("run")).await;
    let outcome = world.replica().handle(&attempt(&reconcile("run"), MAX_ATTEMPTS)).await;
    assert!(matches!(outcome, Err(Failure::Refused(_))), "{outcome:?}");
    assert_eq!(world.number("SELECT count(*) FROM reconciliation_parts").await, 0);
    kms.is_well().await;
    assert_eq!(world.replica().handle(&reconcile("run")).await.unwrap(), []);
    assert_eq!(world.number("SELECT count(*) FROM reconciliation_parts").await, 1);
    world.end().await;
}
