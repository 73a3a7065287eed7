//! The straight road, on both generations of the KMS, and what is refused.

use std::time::Duration;

use common::contract::LedgerCreditedV1;
use common::failure::Failure;
use common::worker::Delivery;
use rust_decimal::Decimal;

use crate::kms::{BOTH, Generation, Kms};
use crate::world::{World, charged, decimal, reversed, sync, usd};

async fn a_recharge_raises_the_quota(generation: Generation) {
    let kms = Kms::start(generation).await;
    let world = World::start(kms.url()).await;
    world.organization("acme", "usd", None).await;
    let replica = world.replica();

    let made = replica.synced(&sync("acme", "req_1")).await;
    assert_eq!((made.id.as_str(), made.correlationid.as_str()), ("quotas.synced:req_1", "req_1"));
    assert_eq!((made.data.quota, made.data.previous_quota, made.data.ledger_version), (Decimal::ZERO, None, 0));
    assert!(made.data.changed);
    let team = kms.team("acme").await;
    assert_eq!(made.data.litellm_team_id.unwrap().as_str(), team);
    assert_eq!(world.stored_team("acme").await, Some(team));

    let raised = replica.synced(&charged("acme", 1, usd("600.50"))).await;
    assert_eq!(raised.id.as_str(), "quotas.synced:ledger.credited:acme-1");
    assert_eq!(raised.correlationid.as_str(), "evt_1");
    assert_eq!((raised.data.quota, raised.data.previous_quota), (decimal("600.5"), Some(Decimal::ZERO)));
    assert_eq!((raised.data.ledger_version, raised.data.changed), (1, true));
    assert_eq!(kms.quota("acme").await, Some(decimal("600.5")));

    // Nothing to change: the KMS is read, not written.
    let again = replica.synced(&sync("acme", "req_2")).await;
    assert_eq!((again.data.changed, again.data.previous_quota), (false, Some(decimal("600.5"))));

    let lowered = replica.synced(&reversed("acme", 2, usd("100"))).await;
    assert_eq!((lowered.data.quota, lowered.data.ledger_version), (decimal("100"), 2));
    assert_eq!(kms.writes("acme").await, [decimal("0"), decimal("600.5"), decimal("100")]);
    assert_eq!(world.recorded("acme").await, (Some("created".to_owned()), Some(2), 4));
    assert_eq!(replica.count("bill_quota_pushes_total", &[("backend", "kms"), ("result", "changed")]), 3);
    assert_eq!(replica.count("bill_quota_pushes_total", &[("backend", "kms"), ("result", "unchanged")]), 1);
    assert_eq!(replica.count("bill_kms_calls_total", &[("call", "set"), ("result", "ok")]), 2);
    world.end().await;
}

#[tokio::test]
async fn with_a_new_kms() {
    a_recharge_raises_the_quota(Generation::New).await;
}

#[tokio::test]
async fn with_an_old_kms() {
    a_recharge_raises_the_quota(Generation::Old).await;
}

#[tokio::test]
async fn a_credit_without_a_sync_before_creates_the_organization() {
    for generation in BOTH {
        let kms = Kms::start(generation).await;
        let world = World::start(kms.url()).await;
        world.organization("acme", "usd", None).await;
        let synced = world.replica().synced(&charged("acme", 1, usd("500"))).await;
        assert_eq!((synced.data.quota, synced.data.changed), (decimal("500"), true));
        assert_eq!(kms.writes("acme").await, [decimal("0"), decimal("500")]);
        assert_eq!(world.stored_team("acme").await, Some(kms.team("acme").await));
        world.end().await;
    }
}

#[tokio::test]
async fn a_late_event_pushes_the_newest_quota() {
    let kms = Kms::start(Generation::New).await;
    let world = World::start(kms.url()).await;
    let replica = world.replica();
    replica.synced(&charged("acme", 3, usd("300"))).await;
    let late = replica.synced(&charged("acme", 2, usd("200"))).await;
    assert_eq!((late.data.quota, late.data.ledger_version, late.data.changed), (decimal("300"), 3, false));
    assert_eq!(kms.writes("acme").await, [decimal("0"), decimal("300")]);
    world.end().await;
}

#[tokio::test]
async fn a_hand_at_the_backend_is_repaired_by_a_sync() {
    let kms = Kms::start(Generation::New).await;
    let world = World::start(kms.url()).await;
    world.organization("acme", "usd", None).await;
    let replica = world.replica();
    replica.synced(&charged("acme", 1, usd("500"))).await;
    for drift in ["9", "7000"] {
        kms.drifts("acme", drift).await;
        let repaired = replica.synced(&sync("acme", &format!("req_{drift}"))).await;
        assert_eq!((repaired.data.previous_quota, repaired.data.changed), (Some(decimal(drift)), true));
        assert_eq!(kms.quota("acme").await, Some(decimal("500")));
    }
    world.end().await;
}

#[tokio::test]
async fn an_unknown_organization_is_refused() {
    let kms = Kms::start(Generation::New).await;
    let world = World::start(kms.url()).await;
    let replica = world.replica();
    assert!(matches!(replica.handle(&sync("nobody", "req_1")).await, Err(Failure::Refused(_))));
    assert_eq!(kms.quota("nobody").await, None);
    world.end().await;
}

#[tokio::test]
async fn what_can_not_be_understood_is_malformed() {
    let kms = Kms::start(Generation::New).await;
    let world = World::start(kms.url()).await;
    let replica = world.replica();
    let good = charged("acme", 1, usd("5"));
    for (subject, body) in [
        ("ledger.credited.acme", "{}"),
        ("ledger.reversed.acme", std::str::from_utf8(&good.body).unwrap()),
        ("ledger.invented.acme", std::str::from_utf8(&good.body).unwrap()),
        ("ledger.credited.acme", "\u{0}"),
    ] {
        let delivery = Delivery { subject: subject.to_owned(), body: body.to_owned().into(), ..good.clone() };
        assert!(matches!(replica.handle(&delivery).await, Err(Failure::Malformed(_))), "{subject} {body}");
    }
    let mut event = good.decode::<LedgerCreditedV1>().unwrap();
    event.data.ledger_version = 0;
    let delivery = Delivery { body: event.outgoing().unwrap().body, ..good };
    assert!(matches!(replica.handle(&delivery).await, Err(Failure::Malformed(_))));
    world.end().await;
}

#[tokio::test]
async fn a_kms_that_is_away_is_tried_again() {
    let kms = Kms::start(Generation::New).await;
    let world = World::start(kms.url()).await;
    let replica = world.replica();
    replica.synced(&charged("acme", 1, usd("100"))).await;

    kms.goes_away().await;
    replica.retried(&charged("acme", 2, usd("200"))).await;
    replica.retried(&charged("acme", 2, usd("200"))).await;
    // Six failures in two rounds: the breaker has opened, and says when to come again.
    match replica.handle(&charged("acme", 2, usd("200"))).await {
        Err(Failure::Retry { after: Some(after), reason }) => {
            assert!(after <= Duration::from_secs(2));
            // What it said last is known all the same.
            assert!(reason.to_string().contains("left alone for a moment; last: error sending request"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
    assert!(replica.count("bill_kms_calls_total", &[("call", "read"), ("result", "not_asked")]) > 0);
    assert_eq!(replica.count("bill_quota_pushes_total", &[("result", "unavailable")]), 3);

    kms.is_well().await;
    // A replica with a breaker of its own does not have to wait.
    let synced = world.replica().synced(&charged("acme", 2, usd("200"))).await;
    assert_eq!(synced.data.ledger_version, 2);
    tokio::time::sleep(Duration::from_millis(2_050)).await;
    assert_eq!(replica.synced(&charged("acme", 3, usd("300"))).await.data.quota, decimal("300"));
    world.end().await;
}

#[tokio::test]
async fn what_the_ledger_said_is_kept_while_the_kms_is_away() {
    let kms = Kms::start(Generation::New).await;
    let world = World::start(kms.url()).await;
    world.organization("acme", "usd", None).await;
    world.replica().synced(&charged("acme", 1, usd("100"))).await;
    kms.goes_away().await;
    world.replica().retried(&charged("acme", 2, usd("200"))).await;
    kms.is_well().await;
    let repeated = world.replica().synced(&charged("acme", 1, usd("100"))).await;
    assert_eq!(repeated.data.ledger_version, 1, "a repeat is answered as it was");
    // Another event brings what the failed one has left.
    let synced = world.replica().synced(&sync("acme", "req_1")).await;
    assert_eq!((synced.data.quota, synced.data.ledger_version), (decimal("200"), 2));
    world.end().await;
}
