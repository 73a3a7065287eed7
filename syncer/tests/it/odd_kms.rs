//! A KMS that does what none should.

use crate::odd::{Fault, OLD_404, OddKms, WHOLE};
use crate::world::{World, charged, decimal, sync, usd};

#[tokio::test]
async fn one_whose_single_get_is_not_found() {
    let kms = OddKms::start(OLD_404).await;
    let world = World::start(kms.url()).await;
    world.organization("acme", "usd", None).await;
    let replica = world.replica();
    replica.synced(&charged("acme", 1, usd("600.50"))).await;
    replica.synced(&charged("acme", 2, usd("700"))).await;
    assert_eq!(kms.writes("acme"), [decimal("0"), decimal("600.5"), decimal("700")]);
    assert_eq!(world.stored_team("acme").await.as_deref(), Some("team_acme"));
    world.end().await;
}

#[tokio::test]
async fn what_it_does_not_keep_is_not_recorded() {
    let kms = OddKms::start(WHOLE).await;
    let world = World::start(kms.url()).await;
    kms.has("acme", "0", None);
    let replica = world.replica();
    kms.faults(&[Fault::Ignored]);
    let synced = replica.synced(&charged("acme", 1, usd("500"))).await;
    assert_eq!(synced.data.quota, decimal("500"));
    kms.faults(&[Fault::Ignored, Fault::Ignored]);
    assert!(replica.retried(&charged("acme", 2, usd("700"))).await.contains("told 700"));
    assert_eq!(replica.count("bill_quota_pushes_total", &[("result", "disagrees")]), 1);
    assert_eq!(world.recorded("acme").await, (Some("created".to_owned()), Some(1), 1));
    replica.synced(&charged("acme", 2, usd("700"))).await;
    assert_eq!(kms.quota("acme"), Some(decimal("700")));
    world.end().await;
}

#[tokio::test]
async fn one_that_refuses_is_tried_again() {
    let kms = OddKms::start(WHOLE).await;
    let world = World::start(kms.url()).await;
    let replica = world.replica();
    replica.synced(&charged("acme", 1, usd("100"))).await;
    kms.down(Some(403));
    assert!(replica.retried(&charged("acme", 2, usd("200"))).await.contains("403"));
    assert_eq!(replica.count("bill_quota_pushes_total", &[("backend", "kms"), ("result", "refused")]), 1);
    kms.down(None);
    replica.synced(&charged("acme", 2, usd("200"))).await;
    world.end().await;
}

#[tokio::test]
async fn one_that_loses_the_organization_gets_it_back() {
    let kms = OddKms::start(WHOLE).await;
    let world = World::start(kms.url()).await;
    world.organization("acme", "usd", None).await;
    let replica = world.replica();
    replica.synced(&charged("acme", 1, usd("500"))).await;
    kms.forget("acme");
    replica.synced(&sync("acme", "req_1")).await;
    assert_eq!(kms.quota("acme"), Some(decimal("500")));
    world.end().await;
}

#[tokio::test]
async fn an_organization_that_somebody_else_creates_at_the_same_moment_is_adopted() {
    let kms = OddKms::start(WHOLE).await;
    let world = World::start(kms.url()).await;
    world.organization("acme", "usd", None).await;
    // The read finds nothing, and the create is told that it exists.
    kms.appears_before_the_create("acme", "700");
    let adopted = world.replica().adopted(&sync("acme", "req_1")).await;
    assert_eq!((adopted.data.quota, adopted.data.litellm_team_id), (usd("700"), None));
    assert_eq!(kms.writes("acme"), []);
    world.end().await;
}

#[tokio::test]
async fn one_that_says_yes_with_a_page_or_no_in_passing() {
    for faults in [
        &[Fault::Html][..],
        &[Fault::None, Fault::Html, Fault::Html, Fault::Html],
        &[Fault::None, Fault::Status(409), Fault::Status(425)],
        &[Fault::None, Fault::Status(400)],
    ] {
        let kms = OddKms::start(WHOLE).await;
        let world = World::start(kms.url()).await;
        kms.faults(faults);
        let event = charged("acme", 1, usd("500"));
        let mut outcome = world.replica().handle(&event).await;
        for _ in 0..2 {
            if outcome.is_err() {
                outcome = world.replica().handle(&event).await;
            }
        }
        assert_eq!(outcome.unwrap()[0].subject, "quotas.synced.acme", "{faults:?}");
        assert_eq!(kms.quota("acme"), Some(decimal("500")), "{faults:?}");
        world.end().await;
    }
}
