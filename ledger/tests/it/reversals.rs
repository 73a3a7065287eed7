//! The way back, in every order: late charges, voids, refunds that came back, disputes.

use std::sync::Arc;

use chrono::Duration;
use common::clock::Timestamp;
use common::contract::{
    DisputeStage, Event, LedgerCreditedV1, LedgerHeldV1, LedgerReversedV1, Outgoing, Payload, PostingKind,
};
use common::failure::Failure;
use common::telemetry;
use common::worker::{Delivery, Handler};
use ledger::handlers::LedgerHandler;
use ledger::verify::verify;

use crate::support::{
    TestDb, balances, charged, delivery, disputed, handler, quota, refund_failed, refunded, usd, with_database,
};

/// What the processor keeps of every charge in these tests.
const COST: i64 = 59;

async fn now(db: &TestDb) -> Timestamp {
    sqlx::query_scalar("SELECT clock_timestamp()").fetch_one(&db.root).await.unwrap()
}

/// Handles an event twice, as the broker may: the second time is the same to the byte.
async fn twice(handler: &LedgerHandler, delivery: &Delivery) -> Result<Vec<Outgoing>, Failure> {
    let first = handler.handle(delivery).await;
    let second = handler.handle(delivery).await;
    match (&first, &second) {
        (Ok(first), Ok(second)) => assert_eq!(first, second),
        (Err(first), Err(second)) => assert_eq!(std::mem::discriminant(first), std::mem::discriminant(second)),
        other => panic!("{other:?}"),
    }
    first
}

async fn said(handler: &LedgerHandler, delivery: &Delivery) -> Vec<Outgoing> {
    twice(handler, delivery).await.unwrap()
}

async fn retried(handler: &LedgerHandler, delivery: &Delivery) {
    let outcome = twice(handler, delivery).await;
    assert!(matches!(outcome, Err(Failure::Retry { .. })), "{outcome:?}");
}

fn read<T: Payload>(out: &Outgoing) -> T {
    Event::<T>::decode(&out.body).unwrap().data
}

async fn clean(db: &TestDb) -> u64 {
    let report = verify(&db.app).await.unwrap();
    assert_eq!(report.drifts, [], "{report}");
    report.transactions
}

async fn assert_balances(db: &TestDb, organization: &str, want: &[(&str, i64)]) {
    let have = balances(&db.app, organization).await;
    assert_eq!(have.iter().map(|(kind, amount)| (kind.as_str(), *amount)).collect::<Vec<_>>(), want);
}

#[tokio::test]
async fn a_charge_after_its_deadline_is_refused() {
    with_database(|db| async move {
        let (handler, registry) = handler(&db);
        let mut late = charged("evt_1", "acme", usd(10_000), usd(330));
        late.data.credit_by = Some(now(&db).await);
        match twice(&handler, &delivery(&late)).await {
            Err(Failure::Refused(why)) => assert!(why.contains("could be credited only before"), "{why}"),
            other => panic!("{other:?}"),
        }
        assert_eq!(quota(&db.app, "acme").await, None);

        // In time, and repeated after the deadline: it answers as it did then.
        let mut timely = charged("evt_2", "acme", usd(10_000), usd(330));
        timely.data.credit_by = Some(now(&db).await + Duration::seconds(30));
        let first = said(&handler, &delivery(&timely)).await;
        timely.data.credit_by = Some(now(&db).await - Duration::seconds(30));
        assert_eq!(said(&handler, &delivery(&timely)).await, first);
        assert_eq!(quota(&db.app, "acme").await, Some((10_000, 1)));
        assert_eq!(clean(&db).await, 1);
        let metrics = telemetry::exposition(&registry);
        assert!(metrics.contains("bill_ledger_postings_total{kind=\"charge\"} 1"), "{metrics}");
    })
    .await;
}

#[tokio::test]
async fn what_was_given_back_before_it_was_credited_never_is() {
    with_database(|db| async move {
        let (handler, registry) = handler(&db);
        let charge = charged("evt_1", "acme", usd(10_000), usd(330));
        let mut part = refunded(&charge, "re_0", false);
        (part.data.amount, part.data.total_refunded, part.data.charge_fully_refunded) = (usd(1_000), usd(1_033), false);
        retried(&handler, &delivery(&part)).await;

        let mut rest = refunded(&charge, "re_1", false);
        (rest.data.amount, rest.data.total_refunded) = (usd(9_000), usd(9_297));
        let voided = said(&handler, &delivery(&rest)).await;
        let [void, refund] = &voided[..] else { panic!("{voided:?}") };
        let (void, refund) = (read::<LedgerReversedV1>(void), read::<LedgerReversedV1>(refund));
        assert_eq!(
            (void.posting, void.amount, void.quota, void.ledger_version),
            (PostingKind::Void, usd(0), usd(0), 1)
        );
        assert_eq!((refund.posting, refund.amount, refund.ledger_version), (PostingKind::Refund, usd(0), 2));
        assert_balances(
            &db,
            "acme",
            &[("processing_costs", -COST), ("refunds", 1_033), ("stripe_clearing", COST - 1_033)],
        )
        .await;

        // The charge comes late, with time enough: it posts nothing, and answers the same.
        assert_eq!(said(&handler, &delivery(&charge)).await, voided);
        assert_eq!(said(&handler, &delivery(&part)).await.len(), 1);
        assert_eq!(said(&handler, &delivery(&rest)).await, voided);
        assert_balances(&db, "acme", &[("processing_costs", -COST), ("stripe_clearing", COST)]).await;
        assert_eq!(clean(&db).await, 3);
        let metrics = telemetry::exposition(&registry);
        for line in ["kind=\"void\"} 1", "kind=\"refund\"} 2"] {
            assert!(metrics.contains(line), "{metrics}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_refund_that_came_back_gives_the_quota_back() {
    with_database(|db| async move {
        let (handler, _) = handler(&db);
        for (name, credited) in [("acme", true), ("other", false)] {
            let charge = charged(&format!("evt_{name}"), name, usd(10_000), usd(330));
            let (first, second) = (format!("re_1_{name}"), format!("re_2_{name}"));
            if credited {
                said(&handler, &delivery(&charge)).await;
            }
            retried(&handler, &delivery(&refund_failed(&charge, &first))).await;
            said(&handler, &delivery(&refunded(&charge, &first, credited))).await;
            let back = said(&handler, &delivery(&refund_failed(&charge, &first))).await;
            let back = read::<LedgerCreditedV1>(&back[0]);
            let amount = if credited { 10_000 } else { 0 };
            assert_eq!((back.posting, back.amount, back.quota), (PostingKind::RefundFailed, usd(amount), usd(amount)));
            let held = ("stripe_clearing", COST - 10_330);
            if credited {
                let want = [("balance", 10_000), ("fees_collected", 330), ("processing_costs", -COST), held];
                assert_balances(&db, name, &want).await;
            } else {
                assert_balances(&db, name, &[("processing_costs", -COST), ("refunds", 10_330), held]).await;
            }
            // Repeats of what is over, and then the refund that works.
            said(&handler, &delivery(&refunded(&charge, &first, credited))).await;
            said(&handler, &delivery(&charge)).await;
            said(&handler, &delivery(&refunded(&charge, &second, credited))).await;
            said(&handler, &delivery(&refund_failed(&charge, &first))).await;
            let mut want = vec![("processing_costs", -COST), ("stripe_clearing", COST)];
            if credited {
                want = vec![
                    ("fees_collected", 330),
                    ("processing_costs", -COST),
                    ("refunds", -330),
                    ("stripe_clearing", COST),
                ];
            }
            assert_balances(&db, name, &want).await;
        }
        let mut never_told = refund_failed(&charged("evt_acme", "acme", usd(10_000), usd(330)), "re_3");
        never_told.data.was_refunded = false;
        assert_eq!(said(&handler, &delivery(&never_told)).await, []);
        assert_eq!(clean(&db).await, 8);
    })
    .await;
}

/// Handles deliveries at once, each again until it is through, and returns what each said.
async fn all_at_once(handler: &Arc<LedgerHandler>, deliveries: Vec<Delivery>) -> Vec<Vec<Outgoing>> {
    let tasks = deliveries.into_iter().map(|delivery| {
        let handler = handler.clone();
        tokio::spawn(async move {
            for _ in 0..200 {
                match handler.handle(&delivery).await {
                    Ok(said) => return said,
                    Err(Failure::Retry { .. }) => tokio::time::sleep(std::time::Duration::from_millis(5)).await,
                    Err(other) => panic!("{other}"),
                }
            }
            panic!("not through after 200 tries: {}", delivery.subject);
        })
    });
    let mut all = Vec::new();
    for task in tasks.collect::<Vec<_>>() {
        all.push(task.await.unwrap());
    }
    all
}

#[tokio::test]
async fn a_charge_and_its_refund_at_once_end_with_nothing() {
    with_database(|db| async move {
        let handler = Arc::new(handler(&db).0);
        let mut ways = [0, 0];
        for round in 0..60_usize {
            let name = format!("org_{round}");
            let charge = charged(&format!("evt_{round}"), &name, usd(10_000), usd(330));
            let refund = refunded(&charge, &format!("re_{round}"), false);
            let mut both = vec![delivery(&charge), delivery(&refund), delivery(&charge), delivery(&refund)];
            both.rotate_left(round % 4);
            all_at_once(&handler, both).await;
            let kept: i64 =
                balances(&db.app, &name).await.iter().filter(|(kind, _)| kind == "balance").map(|b| b.1).sum();
            assert_eq!(kept, 0, "{name}");
            let clearing = balances(&db.app, &name).await.into_iter().find(|(kind, _)| kind == "stripe_clearing");
            assert_eq!(clearing, Some(("stripe_clearing".to_owned(), COST)), "{name}");
            ways[usize::from(quota(&db.app, &name).await.is_some())] += 1;
        }
        assert_eq!(clean(&db).await, 120);
        assert!(ways.iter().all(|way| *way > 0), "only one order was seen: {ways:?}");
    })
    .await;
}

#[tokio::test]
async fn refunds_that_come_back_end_the_same_in_every_order() {
    with_database(|db| async move {
        let handler = Arc::new(handler(&db).0);
        for round in 0..40_usize {
            let name = format!("org_{round}");
            let charge = charged(&format!("evt_{round}"), &name, usd(10_000), usd(0));
            let (first, second) = (format!("re_1_{round}"), format!("re_2_{round}"));
            let mut all = vec![
                delivery(&refunded(&charge, &first, false)),
                delivery(&refund_failed(&charge, &first)),
                delivery(&refunded(&charge, &second, false)),
                delivery(&charge),
            ];
            all.rotate_left(round % 4);
            if round % 8 > 3 {
                all.reverse();
            }
            all.extend(all.clone());
            all_at_once(&handler, all).await;
            assert_balances(&db, &name, &[("processing_costs", -COST), ("stripe_clearing", COST)]).await;
        }
        clean(&db).await;
    })
    .await;
}

#[tokio::test]
async fn a_dispute_comes_right_in_every_order() {
    use DisputeStage::{Lost, Opened, Won};
    with_database(|db| async move {
        let (handler, _) = handler(&db);
        let orders = [
            (Won, vec![Opened, Won]),
            (Won, vec![Won, Opened]),
            (Won, vec![Won]),
            (Lost, vec![Opened, Lost]),
            (Lost, vec![Lost, Opened]),
            (Lost, vec![Lost]),
        ];
        for (number, (end, order)) in orders.iter().enumerate() {
            let (name, dispute) = (format!("org_{number}"), format!("dp_{number}"));
            let charge = charged(&format!("evt_{number}"), &name, usd(10_000), usd(330));
            retried(&handler, &delivery(&disputed(&charge, &dispute, order[0]))).await;
            said(&handler, &delivery(&charge)).await;
            for stage in order {
                let out = said(&handler, &delivery(&disputed(&charge, &dispute, *stage))).await;
                let last = out.last().unwrap();
                if *stage == Opened && order[0] == Opened {
                    let held = read::<LedgerHeldV1>(last);
                    assert_eq!((held.amount, held.quota), (usd(10_000), usd(0)));
                    assert_eq!(quota(&db.app, &name).await, Some((0, 2)));
                    clean(&db).await;
                } else if *end == Won {
                    let held = read::<LedgerHeldV1>(last);
                    assert_eq!((held.amount, held.quota), (usd(-10_000), usd(10_000)), "{order:?}");
                } else {
                    let gone = read::<LedgerReversedV1>(last);
                    assert_eq!((gone.posting, gone.amount), (PostingKind::DisputeLost, usd(10_000)), "{order:?}");
                    assert_eq!(gone.quota, usd(0));
                }
            }
            let (fees, costs) = (("fees_collected", 330), ("processing_costs", -COST));
            if *end == Won {
                let want = [("balance", 10_000), fees, costs, ("stripe_clearing", COST - 10_330)];
                assert_balances(&db, &name, &want).await;
            } else {
                assert_balances(&db, &name, &[fees, costs, ("refunds", -330), ("stripe_clearing", COST)]).await;
            }
            // Decided the other way: a person must look.
            let other = if *end == Won { Lost } else { Won };
            let contradiction = twice(&handler, &delivery(&disputed(&charge, &dispute, other))).await;
            assert!(matches!(contradiction, Err(Failure::Malformed(_))), "{contradiction:?}");
        }
        assert_eq!(clean(&db).await, 18);
    })
    .await;
}

#[tokio::test]
async fn disputes_at_once_hold_nothing_in_the_end() {
    use DisputeStage::{Opened, Won};
    with_database(|db| async move {
        let handler = Arc::new(handler(&db).0);
        for round in 0..20_usize {
            let name = format!("org_{round}");
            let charge = charged(&format!("evt_{round}"), &name, usd(10_000), usd(0));
            let dispute = format!("dp_{round}");
            let (opened, won) = (disputed(&charge, &dispute, Opened), disputed(&charge, &dispute, Won));
            let mut all = vec![delivery(&opened), delivery(&won), delivery(&charge), delivery(&won), delivery(&opened)];
            all.rotate_left(round % 5);
            all_at_once(&handler, all).await;
            assert_eq!(quota(&db.app, &name).await, Some((10_000, 3)));
        }
        assert_eq!(clean(&db).await, 60);
    })
    .await;
}
