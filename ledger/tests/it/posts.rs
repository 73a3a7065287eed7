//! Posting through the ledger's code.

use common::money::{Currency, Money};
use ledger::posted::Posted;
use ledger::posting::Posting;
use ledger::repo::{PostError, post};
use ledger::verify::verify;

use crate::support::{adjust, adjustment, adopted, balances, charged, quota, refunded, usd, with_database};

#[tokio::test]
async fn a_life_in_the_books() {
    with_database(|db| async move {
        let charge = charged("evt_1", "acme", usd(10_000), usd(330));
        let postings = [
            Posting::opening(&adopted("evt_0", "acme", usd(50_000))).unwrap().unwrap(),
            Posting::charge(&charge).unwrap(),
            adjustment("evt_2", "acme", -500),
            Posting::refund(&refunded(&charge, "re_1", true)).unwrap(),
        ];
        for (posting, (want, version)) in postings.iter().zip([(50_000, 1), (60_000, 2), (59_500, 3), (49_500, 4)]) {
            let posted = post(&db.app, posting).await.unwrap();
            assert_eq!((posted.quota, posted.ledger_version), (usd(want), version));
            assert_eq!(posted.transaction_id, posting.transaction_id());
            assert_eq!(posted.change.minor, posting.quota_change());
            assert!(!posted.was_there_already);
            assert_eq!(quota(&db.app, "acme").await, Some((want, version)));
        }
        let want = [
            ("adjustments", 500),
            ("balance", 49_500),
            ("fees_collected", 330),
            ("opening_equity", -50_000),
            ("processing_costs", -59),
            ("refunds", -330),
            ("stripe_clearing", 59),
        ];
        assert_eq!(balances(&db.app, "acme").await, want.map(|(kind, balance)| (kind.to_owned(), balance)));
        let report = verify(&db.app).await.unwrap();
        assert_eq!((report.organizations, report.transactions, report.drifts), (1, 4, vec![]));
    })
    .await;
}

#[tokio::test]
async fn a_repeat_posts_nothing_and_says_what_the_first_did() {
    with_database(|db| async move {
        let charge = Posting::charge(&charged("evt_1", "acme", usd(10_000), usd(0))).unwrap();
        let first = post(&db.app, &charge).await.unwrap();
        let opening = post(&db.app, &Posting::opening(&adopted("a", "acme", usd(7))).unwrap().unwrap()).await.unwrap();
        post(&db.app, &adjustment("evt_2", "acme", 1)).await.unwrap();

        let again = post(&db.app, &charge).await.unwrap();
        assert!(again.was_there_already);
        assert_eq!((again.quota, again.ledger_version), (usd(10_000), 1));
        assert_eq!(Posted { was_there_already: false, ..again }, first);

        // Another backend is met: the books were opened already, and keep their first numbers.
        let other = Posting::opening(&adopted("b", "acme", usd(99))).unwrap().unwrap();
        let again = post(&db.app, &other).await.unwrap();
        assert_eq!(Posted { was_there_already: false, ..again }, opening);
        assert_eq!(quota(&db.app, "acme").await, Some((10_008, 3)));
    })
    .await;
}

#[tokio::test]
async fn fifty_at_once_of_one_event_post_it_once() {
    with_database(|db| async move {
        let posting = adjustment("evt_1", "acme", 100);
        let posts = (0..50).map(|_| {
            let (pool, posting) = (db.app.clone(), posting.clone());
            tokio::spawn(async move { post(&pool, &posting).await.unwrap() })
        });
        let mut fresh = 0;
        for task in posts.collect::<Vec<_>>() {
            let posted = task.await.unwrap();
            assert_eq!((posted.quota, posted.ledger_version), (usd(100), 1));
            fresh += i32::from(!posted.was_there_already);
        }
        assert_eq!(fresh, 1);
        assert_eq!(quota(&db.app, "acme").await, Some((100, 1)));
        assert_eq!(verify(&db.app).await.unwrap().transactions, 1);
    })
    .await;
}

#[tokio::test]
async fn fifty_at_once_for_one_organization_come_one_after_the_other() {
    with_database(|db| async move {
        let postings = (1..=50_i64).map(|number| ("acme", number)).chain((51..=60).map(|number| ("other", number)));
        let posts = postings.map(|(name, number)| {
            let (pool, posting) = (db.app.clone(), adjustment(&format!("evt_{number}"), name, number));
            tokio::spawn(async move { (name, post(&pool, &posting).await.unwrap()) })
        });
        let mut versions = Vec::new();
        for task in posts.collect::<Vec<_>>() {
            let (name, posted) = task.await.unwrap();
            if name == "acme" {
                versions.push(posted.ledger_version);
            }
        }
        versions.sort_unstable();
        assert_eq!(versions, (1..=50).collect::<Vec<_>>());
        assert_eq!(quota(&db.app, "acme").await, Some((1275, 50)));
        assert_eq!(quota(&db.app, "other").await, Some((555, 10)));
        let report = verify(&db.app).await.unwrap();
        assert_eq!((report.organizations, report.transactions, report.drifts), (2, 60, vec![]));
    })
    .await;
}

#[tokio::test]
async fn what_does_not_fit_the_books_is_refused_and_posts_nothing() {
    with_database(|db| async move {
        post(&db.app, &adjustment("evt_1", "acme", 100)).await.unwrap();
        let euros = Money::new(5, "eur".parse::<Currency>().unwrap());
        let euros = Posting::adjustment(&adjust("evt_2", "acme", euros)).unwrap();
        let error = post(&db.app, &euros).await.unwrap_err();
        assert!(matches!(error, PostError::Currency { .. }));
        assert_eq!(error.to_string(), "the books of acme are in usd, so eur can't be posted");

        let error = post(&db.app, &adjustment("evt_1", "other", 100)).await.unwrap_err();
        assert!(matches!(error, PostError::OtherOrganization { .. }), "{error}");
        let refund_of =
            |id: &str| Posting::refund_of_void(&refunded(&charged(id, "acme", usd(5), usd(0)), "re_1", false));
        post(&db.app, &refund_of("evt_5").unwrap()).await.unwrap();
        let error = post(&db.app, &refund_of("evt_6").unwrap()).await.unwrap_err();
        assert!(matches!(error, PostError::OtherRecharge { .. }), "{error}");
        let error = post(&db.app, &adjustment("evt_3", "acme", i64::MAX)).await.unwrap_err();
        assert!(matches!(error, PostError::Range(_)), "{error}");
        db.app.close().await;
        let error = post(&db.app, &adjustment("evt_4", "acme", 1)).await.unwrap_err();
        assert!(matches!(error, PostError::Database(_)), "{error}");

        assert_eq!(quota(&db.root, "acme").await, Some((100, 2)));
        assert_eq!(quota(&db.root, "other").await, None);
    })
    .await;
}
