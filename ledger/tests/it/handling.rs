//! Events in, events out.

use common::clock::Timestamp;
use common::contract::{
    Event, LedgerCreditedV1, LedgerReversedV1, Payload, PostingKind, RechargeSettledV1, SyncRequestedV1,
};
use common::failure::Failure;
use common::ids::EventId;
use common::money::{Currency, Money};
use common::telemetry;
use common::worker::Handler;
use ledger::handlers::LedgerHandler;

use crate::support::{adjust, adopted, charged, delivery, event, handler, quota, refunded, usd, with_database};

/// Handles an event that one event follows from.
async fn handled<T: Payload + Clone, O: Payload>(handler: &LedgerHandler, event: &Event<T>) -> Event<O> {
    let out = handler.handle(&delivery(event)).await.unwrap();
    assert_eq!(out.len(), 1);
    let following = Event::<O>::decode(&out[0].body).unwrap();
    assert_eq!(out[0].subject, format!("{}.{}", O::KIND, event.subject.as_ref().unwrap()));
    assert_eq!(out[0].id, following.id);
    EventId::parse(following.id.as_str()).unwrap();
    assert_eq!(following.correlationid, event.correlationid);
    // A repeat is the same to the byte.
    assert_eq!(handler.handle(&delivery(event)).await.unwrap(), out);
    following
}

async fn malformed<T: Payload + Clone>(handler: &LedgerHandler, event: &Event<T>) -> String {
    match handler.handle(&delivery(event)).await {
        Err(Failure::Malformed(error)) => format!("{error:#}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_charge_credits_and_its_refund_reverses() {
    with_database(|db| async move {
        let (handler, registry) = handler(&db);
        let opening: Event<LedgerCreditedV1> = handled(&handler, &adopted("evt_0", "acme", usd(50_000))).await;
        assert_eq!((opening.data.posting, opening.data.quota), (PostingKind::Opening, usd(50_000)));

        let mut charge = charged("evt_1", "acme", usd(10_000), usd(330));
        charge.correlationid = EventId::parse("whk_1").unwrap();
        let credited: Event<LedgerCreditedV1> = handled(&handler, &charge).await;
        let data = &credited.data;
        assert_eq!((data.posting, data.recharge_id), (PostingKind::Charge, Some(charge.data.recharge_id)));
        assert_eq!((data.amount, data.quota, data.ledger_version), (usd(10_000), usd(60_000), 2));
        let posted_at: Timestamp = sqlx::query_scalar("SELECT posted_at FROM ledger_transactions WHERE id = $1")
            .bind(data.transaction_id)
            .fetch_one(&db.app)
            .await
            .unwrap();
        assert_eq!(credited.time, posted_at);

        let reversed: Event<LedgerReversedV1> = handled(&handler, &refunded(&charge, "re_1", true)).await;
        let data = &reversed.data;
        assert_eq!((data.posting, data.recharge_id), (PostingKind::Refund, Some(charge.data.recharge_id)));
        assert_eq!((data.amount, data.quota, data.ledger_version), (usd(10_000), usd(50_000), 3));

        // The charge comes once more, late: it answers as it did then.
        let again: Event<LedgerCreditedV1> = handled(&handler, &charge).await;
        assert_eq!(again, credited);
        assert_eq!(quota(&db.app, "acme").await, Some((50_000, 3)));
        let metrics = telemetry::exposition(&registry);
        for kind in ["charge", "opening", "refund"] {
            let line = format!("bill_ledger_postings_total{{kind=\"{kind}\"}} 1");
            assert!(metrics.contains(&line), "{metrics}");
        }
    })
    .await;
}

#[tokio::test]
async fn an_adjustment_goes_either_way() {
    with_database(|db| async move {
        let (handler, _) = handler(&db);
        // The longest event id there is: what follows has an id of its own that is not longer than allowed.
        let up = adjust(&"e".repeat(200), "acme", usd(300));
        let credited: Event<LedgerCreditedV1> = handled(&handler, &up).await;
        assert_eq!((credited.data.posting, credited.data.amount), (PostingKind::Adjustment, usd(300)));
        let reversed: Event<LedgerReversedV1> = handled(&handler, &adjust("down", "acme", usd(-100))).await;
        assert_eq!((reversed.data.amount, reversed.data.quota), (usd(100), usd(200)));
        // Two that were worked out from the same books: the second would take away once more.
        let beside = |id: &str| {
            let mut event = adjust(id, "acme", usd(-50));
            event.data.basis_version = Some(2);
            event
        };
        let first: Event<LedgerReversedV1> = handled(&handler, &beside("one")).await;
        assert_eq!((first.data.quota, first.data.ledger_version), (usd(150), 3));
        let refused = handler.handle(&delivery(&beside("two"))).await;
        assert!(matches!(refused, Err(Failure::Refused(_))), "{refused:?}");
        let again: Event<LedgerReversedV1> = handled(&handler, &beside("one")).await;
        assert_eq!(again, first);
        assert_eq!(quota(&db.app, "acme").await, Some((150, 3)));
    })
    .await;
}

#[tokio::test]
async fn nothing_adopted_books_nothing() {
    with_database(|db| async move {
        let (handler, _) = handler(&db);
        assert_eq!(handler.handle(&delivery(&adopted("evt_1", "acme", usd(0)))).await.unwrap(), []);
        assert_eq!(quota(&db.app, "acme").await, None);
    })
    .await;
}

#[tokio::test]
async fn what_can_not_be_booked_is_malformed_and_says_why() {
    with_database(|db| async move {
        let (handler, _) = handler(&db);
        let _: Event<LedgerCreditedV1> = handled(&handler, &adjust("evt_1", "acme", usd(300))).await;

        let mut wrong = charged("evt_2", "acme", usd(100), usd(3));
        wrong.data.total_charge = usd(104);
        assert!(malformed(&handler, &wrong).await.contains("total_charge is 1.04 usd"));
        let euros = Money::new(5, "eur".parse::<Currency>().unwrap());
        assert!(malformed(&handler, &adjust("evt_3", "acme", euros)).await.contains("the books of acme are in usd"));
        let mut nobody = adjust("evt_4", "acme", usd(1));
        nobody.subject = None;
        assert!(malformed(&handler, &nobody).await.contains("no organization"));
        let sync = event("evt_5", "acme", SyncRequestedV1 { requested_by: "ann".to_owned(), litellm_team_id: None });
        assert!(malformed(&handler, &sync).await.contains("no use for requests.sync"));
        let mut other_type = delivery(&adjust("evt_6", "acme", usd(1)));
        other_type.subject = format!("{}.acme", RechargeSettledV1::KIND);
        assert!(matches!(handler.handle(&other_type).await, Err(Failure::Malformed(_))));
        assert_eq!(quota(&db.app, "acme").await, Some((300, 1)));
    })
    .await;
}

#[tokio::test]
async fn a_database_that_is_away_is_tried_again() {
    with_database(|db| async move {
        let (handler, _) = handler(&db);
        db.app.close().await;
        let outcome = handler.handle(&delivery(&adjust("evt_1", "acme", usd(1)))).await;
        assert!(matches!(outcome, Err(Failure::Retry { .. })), "{outcome:?}");
    })
    .await;
}
