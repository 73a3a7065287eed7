//! What an event does to the books of its recharge: each case names what is booked, what comes, and what follows.

use chrono::Duration;

use super::*;

fn recharge() -> RechargeId {
    RechargeId::for_trigger(&EventId::parse("evt_1").unwrap())
}

fn charge_of_100() -> Event<RechargeChargedV1> {
    charged(usd(10_000), usd(330), usd(10_330), Some(usd(329)))
}

/// All of it goes back, or a part.
fn refund_of(id: &str, amount: i64, total: i64, full: bool) -> Event<RechargeRefundedV1> {
    let mut event = refunded(id, usd(amount), usd(total));
    event.data.charge_fully_refunded = full;
    event.data.total_charge = Some(usd(10_330));
    event.data.processor_fee = Some(usd(329));
    event
}

fn failed(id: Option<&str>, was_refunded: bool) -> Event<RechargeRefundFailedV1> {
    event(RechargeRefundFailedV1 {
        recharge_id: recharge(),
        total: usd(10_330),
        reason: "account closed".to_owned(),
        attempts: 1,
        refund_id: id.map(str::to_owned),
        amount: Some(usd(10_000)),
        was_refunded,
    })
}

fn disputed(stage: DisputeStage, amount: i64, total: i64) -> Event<RechargeDisputedV1> {
    let (dispute_id, reason) = ("dp_1".to_owned(), "fraudulent".to_owned());
    let data = RechargeDisputedV1 {
        recharge_id: recharge(),
        dispute_id,
        stage,
        amount: usd(amount),
        total: usd(total),
        reason,
    };
    event(data)
}

/// Nothing is booked yet.
fn empty() -> RechargeBooks {
    RechargeBooks { recharge_id: recharge(), now: Timestamp::UNIX_EPOCH, booked: Vec::new() }
}

/// Books a decision, and returns its postings as `key: account amount, …`.
fn apply(
    books: &mut RechargeBooks,
    decide: impl FnOnce(&RechargeBooks) -> Result<Decision, PostingError>,
) -> Vec<String> {
    let decision = decide(books);
    let Ok(Decision::Post(postings)) = decision else { panic!("{decision:?}") };
    let said = postings.iter().map(|posting| {
        holds(posting, posting.quota_change()).unwrap();
        let text = lines(posting).iter().map(|(account, amount)| format!("{account} {amount}")).collect::<Vec<_>>();
        let key = posting.business_key().replace(&recharge().to_string(), "R");
        format!("{} {key}: {}", posting.kind().as_str(), text.join(", "))
    });
    let said = said.collect();
    books.booked.extend(postings.into_iter().map(|posting| Booked {
        business_key: posting.business_key.clone(),
        kind: posting.kind,
        entries: posting.entries,
    }));
    said
}

fn again(decision: Result<Decision, PostingError>, key: &str) {
    let business_key = key.replace('R', &recharge().to_string());
    assert_eq!(decision, Ok(Decision::Again { business_key, contradicts: None }));
}

#[test]
fn a_charge_is_credited_only_before_its_deadline() {
    let mut event = charge_of_100();
    for (late_by, credited) in [(-1, true), (0, false), (1, false)] {
        event.data.credit_by = Some(Timestamp::UNIX_EPOCH - Duration::microseconds(late_by));
        let decision = charge(&event, &empty()).unwrap();
        assert_eq!(matches!(decision, Decision::Post(_)), credited, "{late_by}");
        assert_eq!(matches!(decision, Decision::TooLate(_)), !credited, "{late_by}");
    }
    // What was credited in time is answered whenever it is repeated.
    let mut books = empty();
    apply(&mut books, |books| charge(&charge_of_100(), books));
    again(charge(&event, &books), "charge:R");
    event.data.processor_fee = None;
    assert!(matches!(charge(&event, &books), Ok(Decision::Again { contradicts: Some(_), .. })));
}

#[test]
fn a_refund_of_what_was_credited() {
    let mut books = empty();
    apply(&mut books, |books| charge(&charge_of_100(), books));
    let (part, rest) = (refund_of("re_1", 4_000, 4_132, false), refund_of("re_2", 6_000, 6_198, true));
    let said = apply(&mut books, |books| refund(&part, books));
    assert_eq!(said, ["refund refund:re_1: balance -4000, refunds -132, stripe_clearing 4132"]);
    let said = apply(&mut books, |books| refund(&rest, books));
    assert_eq!(said, ["refund refund:re_2: balance -6000, refunds -198, stripe_clearing 6198"]);
    again(refund(&part, &books), "refund:re_1");
    let cent = refund_of("re_3", 0, 1, true);
    assert_eq!(apply(&mut books, |books| refund(&cent, books)), ["refund refund:re_3: refunds -1, stripe_clearing 1"]);
}

#[test]
fn a_refund_of_what_was_not_credited_voids_it() {
    let mut books = empty();
    let (part, rest) = (refund_of("re_1", 4_000, 4_132, false), refund_of("re_2", 6_000, 6_198, true));
    assert!(matches!(refund(&part, &books), Ok(Decision::NotYet(_))));
    let said = apply(&mut books, |books| refund(&rest, books));
    let want = [
        "void charge:R: stripe_clearing -10330, refunds 10330, stripe_clearing 329, processing_costs -329",
        "refund refund:re_2: refunds -6198, stripe_clearing 6198",
    ];
    assert_eq!(said, want);
    // The charge never comes to life again, and each refund is booked once.
    again(charge(&charge_of_100(), &books), "charge:R");
    again(refund(&rest, &books), "refund:re_2");
    let said = apply(&mut books, |books| refund(&part, books));
    assert_eq!(said, ["refund refund:re_1: refunds -4132, stripe_clearing 4132"]);

    let mut no_total = rest.clone();
    no_total.data.total_charge = None;
    assert_eq!(refund(&no_total, &empty()), Err(PostingError::Missing("total_charge")));
    let mut beyond = rest;
    beyond.data.total_charge = Some(usd(6_197));
    assert!(matches!(refund(&beyond, &empty()), Err(PostingError::Beyond { .. })));
}

#[test]
fn a_refund_that_came_back_is_taken_back() {
    for credited in [true, false] {
        let mut books = empty();
        if credited {
            apply(&mut books, |books| charge(&charge_of_100(), books));
        }
        assert!(matches!(refund_failed(&failed(Some("re_1"), true), &books), Ok(Decision::NotYet(_))));
        apply(&mut books, |books| refund(&refund_of("re_1", 10_000, 10_330, true), books));
        let said = apply(&mut books, |books| refund_failed(&failed(Some("re_1"), true), books));
        let want = if credited { "balance 10000, refunds 330" } else { "refunds 10330" };
        assert_eq!(said, [format!("refund_failed refund_failed:re_1: {want}, stripe_clearing -10330")]);
        again(refund_failed(&failed(Some("re_1"), true), &books), "refund_failed:re_1");
        again(refund(&refund_of("re_1", 10_000, 10_330, true), &books), "refund:re_1");
        let said = apply(&mut books, |books| refund(&refund_of("re_2", 10_000, 10_330, true), books));
        let want = if credited { "balance -10000, refunds -330" } else { "refunds -10330" };
        assert_eq!(said, [format!("refund refund:re_2: {want}, stripe_clearing 10330")]);
    }
    assert!(matches!(refund_failed(&failed(Some("re_1"), false), &empty()), Ok(Decision::Nothing(_))));
    assert_eq!(refund_failed(&failed(None, true), &empty()), Err(PostingError::Missing("refund_id")));
    assert_eq!(refund_failed(&failed(Some(""), true), &empty()), Err(PostingError::Reference("refund_id")));
}

#[test]
fn a_dispute_holds_and_its_end_releases_or_takes() {
    use DisputeStage::{Lost, Opened, Won};
    let hold = "hold dispute:dp_1:opened: balance -10000, disputes_held 10000";
    let won = "release dispute:dp_1:won: disputes_held -10000, balance 10000";
    let lost = "dispute_lost dispute:dp_1:lost: disputes_held -10000, refunds -330, stripe_clearing 10330";
    for (end, want, other) in [(Won, won, Lost), (Lost, lost, Won)] {
        let mut credited = empty();
        apply(&mut credited, |books| charge(&charge_of_100(), books));
        // In order; the end names another amount, and what was held is what counts.
        let mut books = credited.clone();
        assert_eq!(apply(&mut books, |books| dispute(&disputed(Opened, 10_000, 10_330), books)), [hold]);
        again(dispute(&disputed(Opened, 10_000, 10_330), &books), "dispute:dp_1:opened");
        assert_eq!(apply(&mut books, |books| dispute(&disputed(end, 20_000, 10_330), books)), [want]);
        // Out of order.
        let mut turned = credited;
        assert_eq!(apply(&mut turned, |books| dispute(&disputed(end, 10_000, 10_330), books)), [hold, want]);
        for books in [&books, &turned] {
            let key = format!("dispute:dp_1:{}", end.as_str());
            again(dispute(&disputed(Opened, 10_000, 10_330), books), &key);
            again(dispute(&disputed(end, 10_000, 10_330), books), &key);
            let contradiction = dispute(&disputed(other, 10_000, 10_330), books);
            assert!(matches!(contradiction, Err(PostingError::DecidedOtherwise { .. })), "{contradiction:?}");
        }
    }
    for stage in [Opened, Won, Lost] {
        assert!(matches!(dispute(&disputed(stage, 10_000, 10_330), &empty()), Ok(Decision::NotYet(_))));
        assert!(dispute(&disputed(stage, -1, 10_330), &empty()).is_err());
        assert!(dispute(&disputed(stage, 1, 0), &empty()).is_err());
    }
}

#[test]
fn a_dispute_about_no_quota_holds_none() {
    use DisputeStage::{Lost, Opened, Won};
    let mut credited = empty();
    apply(&mut credited, |books| charge(&charge_of_100(), books));
    let mut voided = empty();
    apply(&mut voided, |books| refund(&refund_of("re_1", 10_000, 10_330, true), books));
    let won = "release dispute:dp_1:won: stripe_clearing 330, stripe_clearing -330";
    let lost = "dispute_lost dispute:dp_1:lost: refunds -330, stripe_clearing 330";
    for (books, amount) in [(credited, 0), (voided, 10_000)] {
        assert!(matches!(dispute(&disputed(Opened, amount, 330), &books), Ok(Decision::Nothing(_))));
        for (end, want) in [(Won, won), (Lost, lost)] {
            let mut books = books.clone();
            assert_eq!(apply(&mut books, |books| dispute(&disputed(end, amount, 330), books)), [want]);
            again(dispute(&disputed(Opened, 10_000, 330), &books), &format!("dispute:dp_1:{}", end.as_str()));
        }
    }
}
