//! First contact adopts, never lowers, and does so once.

use common::contract::PostingKind;
use common::money::Money;

use crate::kms::{BOTH, Generation, Kms};
use crate::world::{World, charged, credited, decimal, sync, usd};

#[tokio::test]
async fn a_quota_that_was_there_is_adopted_and_raised_by_the_opening() {
    for generation in BOTH {
        let kms = Kms::start(generation).await;
        let world = World::start(kms.url()).await;
        world.organization("acme", "usd", None).await;
        kms.has("acme", "1000").await;
        let replica = world.replica();

        let adopted = replica.adopted(&sync("acme", "req_1")).await;
        assert_eq!(adopted.id.as_str(), "quotas.adopted:acme");
        assert_eq!(adopted.correlationid.as_str(), "req_1");
        assert_eq!(adopted.data.quota, usd("1000"));
        let team = kms.team("acme").await;
        assert_eq!(adopted.data.litellm_team_id.as_ref().unwrap().as_str(), team);
        assert_eq!(world.stored_team("acme").await, Some(team));

        // The opening keeps the request's correlation, so the caller who waits for it gets this answer.
        let opening = credited("acme", 1, usd("1000"), PostingKind::Opening, "req_1");
        let synced = replica.synced(&opening).await;
        assert_eq!(synced.correlationid.as_str(), "req_1");
        assert_eq!((synced.data.quota, synced.data.ledger_version, synced.data.changed), (decimal("1000"), 1, false));

        let raised = replica.synced(&charged("acme", 2, usd("1100"))).await;
        assert_eq!((raised.data.previous_quota, raised.data.quota), (Some(decimal("1000")), decimal("1100")));
        assert_eq!(kms.writes("acme").await, [decimal("1000"), decimal("1100")]);
        assert_eq!(world.recorded("acme").await, (Some("adopted".to_owned()), Some(2), 2));
        world.end().await;
    }
}

#[tokio::test]
async fn nothing_is_pushed_before_the_opening_has_arrived() {
    let kms = Kms::start(Generation::New).await;
    let world = World::start(kms.url()).await;
    world.organization("acme", "usd", None).await;
    kms.has("acme", "1000").await;
    let (one, two) = (world.replica(), world.replica());

    // A charge that was booked before the backend was met: pushing its 100 would take 900 away.
    let first = one.adopted(&charged("acme", 1, usd("100"))).await;
    // A repeat, another replica, other events, even when somebody changed the quota by hand meanwhile: the same event.
    assert_eq!(one.adopted(&charged("acme", 1, usd("100"))).await, first);
    kms.drifts("acme", "50").await;
    assert_eq!(two.adopted(&sync("acme", "req_1")).await, first);
    // It needs no KMS.
    kms.goes_away().await;
    assert_eq!(two.adopted(&charged("acme", 3, usd("1300"))).await, first);
    kms.is_well().await;
    assert_eq!(kms.writes("acme").await, [decimal("1000")]);

    // Version 3 came before the opening, version 2: the opening brings version 3.
    let synced = one.synced(&credited("acme", 2, usd("1100"), PostingKind::Opening, "evt_1")).await;
    assert_eq!((synced.data.quota, synced.data.ledger_version), (decimal("1300"), 3));
    assert_eq!(kms.writes("acme").await, [decimal("1000"), decimal("1300")]);
    world.end().await;
}

#[tokio::test]
async fn what_the_currency_can_not_hold_is_rounded_up() {
    let kms = Kms::start(Generation::New).await;
    let world = World::start(kms.url()).await;
    for (index, (currency, quota, want)) in
        [("usd", "100.001", 10_001), ("usd", "0.001", 1), ("jpy", "99.5", 100), ("kwd", "1.0001", 1001)]
            .into_iter()
            .enumerate()
    {
        let id = format!("acme_{index}");
        world.organization(&id, currency, None).await;
        kms.has(&id, quota).await;
        let adopted = world.replica().adopted(&sync(&id, "req_1")).await;
        let want = Money::new(want, currency.parse().unwrap());
        assert_eq!(adopted.data.quota, want);
        assert!(want.to_decimal() >= decimal(quota));
        // Read back from the database it is the same.
        assert_eq!(world.replica().adopted(&sync(&id, "req_2")).await, adopted);
    }
    world.end().await;
}

#[tokio::test]
async fn zero_is_nothing_to_adopt() {
    let kms = Kms::start(Generation::New).await;
    let world = World::start(kms.url()).await;
    kms.has("acme", "0.00").await;
    let synced = world.replica().synced(&charged("acme", 1, usd("100"))).await;
    assert_eq!((synced.data.quota, synced.data.previous_quota), (decimal("100"), Some(decimal("0"))));
    assert_eq!(world.recorded("acme").await.0.as_deref(), Some("created"));
    world.end().await;
}

#[tokio::test]
async fn an_opening_that_a_person_booked_is_not_adopted_again() {
    let kms = Kms::start(Generation::New).await;
    let world = World::start(kms.url()).await;
    kms.has("acme", "300").await;
    let synced = world.replica().synced(&credited("acme", 1, usd("400"), PostingKind::Opening, "req_1")).await;
    assert_eq!((synced.data.quota, synced.data.previous_quota), (decimal("400"), Some(decimal("300"))));
    world.end().await;
}
