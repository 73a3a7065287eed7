//! Tables of cases and properties of `posting.rs`.

use common::clock::Timestamp;
use common::contract::{
    DisputeStage, RechargeChargedV1, RechargeDisputedV1, RechargeRefundFailedV1, RechargeRefundedV1, RefundCause,
    TriggerKind,
};
use proptest::prelude::*;

use super::*;

fn organization() -> OrganizationId {
    OrganizationId::parse("acme").unwrap()
}

fn event<T: Payload>(data: T) -> Event<T> {
    Event::first(EventId::parse("evt_1").unwrap(), Some(organization()), Timestamp::UNIX_EPOCH, data)
}

fn usd(minor: i64) -> Money {
    Money::new(minor, Currency::USD)
}

fn eur(minor: i64) -> Money {
    Money::new(minor, "eur".parse().unwrap())
}

fn charged(amount: Money, fee: Money, total: Money, processor_fee: Option<Money>) -> Event<RechargeChargedV1> {
    let trigger = EventId::parse("evt_1").unwrap();
    event(RechargeChargedV1 {
        recharge_id: RechargeId::for_trigger(&trigger),
        triggered_by: TriggerKind::Manual,
        trigger_event_id: trigger,
        amount,
        fee,
        total_charge: total,
        processor_fee,
        payment_intent_id: "pi_1".to_owned(),
        charge_id: None,
        charged_at: Timestamp::UNIX_EPOCH,
        credit_by: None,
    })
}

fn refunded(refund_id: &str, amount: Money, total_refunded: Money) -> Event<RechargeRefundedV1> {
    event(RechargeRefundedV1 {
        recharge_id: RechargeId::for_trigger(&EventId::parse("evt_1").unwrap()),
        refund_id: refund_id.to_owned(),
        amount,
        total_refunded,
        was_credited: true,
        reason: "sync failed".to_owned(),
        cause: Some(RefundCause::SyncFailed),
        charge_fully_refunded: false,
        total_charge: None,
        processor_fee: None,
    })
}

fn adopted(quota: Money) -> Event<QuotaAdoptedV1> {
    event(QuotaAdoptedV1 { backend: "kms".to_owned(), quota, litellm_team_id: None })
}

fn adjust(amount: Money) -> Event<AdjustRequestedV1> {
    event(AdjustRequestedV1 {
        amount,
        basis_version: None,
        reason: "goodwill".to_owned(),
        requested_by: "ann".to_owned(),
    })
}

fn lines(posting: &Posting) -> Vec<(&'static str, i64)> {
    posting.entries().iter().map(|entry| (entry.account.as_str(), entry.amount)).collect()
}

#[test]
fn a_charge() {
    let plain = Posting::charge(&charged(usd(10_000), usd(0), usd(10_000), None)).unwrap();
    assert_eq!(lines(&plain), [("balance", 10_000), ("stripe_clearing", -10_000)]);
    assert_eq!(plain.business_key(), "charge:".to_owned() + &plain.recharge_id().unwrap().to_string());

    let all = Posting::charge(&charged(usd(10_000), usd(330), usd(10_330), Some(usd(329)))).unwrap();
    let expected = [
        ("balance", 10_000),
        ("fees_collected", 330),
        ("stripe_clearing", -10_330),
        ("stripe_clearing", 329),
        ("processing_costs", -329),
    ];
    assert_eq!(lines(&all), expected);
    assert_eq!(all.quota_change(), 10_000);
}

#[test]
fn a_cost_in_another_currency_is_told_and_not_booked() {
    let posting = Posting::charge(&charged(usd(10_000), usd(0), usd(10_000), Some(eur(300)))).unwrap();
    assert_eq!(lines(&posting), [("balance", 10_000), ("stripe_clearing", -10_000)]);
    assert!(posting.description().contains("3.00 eur"), "{}", posting.description());
}

#[test]
fn a_refund_takes_the_quota_back() {
    let whole = Posting::refund(&refunded("re_1", usd(10_000), usd(10_330))).unwrap();
    assert_eq!(lines(&whole), [("balance", -10_000), ("refunds", -330), ("stripe_clearing", 10_330)]);
    assert_eq!(whole.business_key(), "refund:re_1");
    let without_fee = Posting::refund(&refunded("re_2", usd(10_000), usd(10_000))).unwrap();
    assert_eq!(lines(&without_fee), [("balance", -10_000), ("stripe_clearing", 10_000)]);
}

#[test]
fn an_opening_and_an_adjustment() {
    let opening = Posting::opening(&adopted(usd(50_000))).unwrap().unwrap();
    assert_eq!(lines(&opening), [("balance", 50_000), ("opening_equity", -50_000)]);
    assert_eq!(opening.business_key(), "opening:acme");
    assert_eq!(Posting::opening(&adopted(usd(0))).unwrap(), None);

    let down = Posting::adjustment(&adjust(usd(-250))).unwrap();
    assert_eq!(lines(&down), [("balance", -250), ("adjustments", 250)]);
    assert_eq!((down.business_key(), down.quota_change()), ("adjust:evt_1", -250));
}

#[test]
fn a_correction_is_booked_beside_what_it_was_worked_out_from_and_nothing_else() {
    let decide =
        |basis, booked, newest| correction(Posting::adjustment(&adjust(usd(-250))).unwrap(), basis, booked, newest);
    assert!(matches!(decide(4, false, 4), Decision::Post(_)));
    // Said again, whatever came since.
    assert!(matches!(decide(4, true, 9), Decision::Post(_)));
    for newest in [3, 5] {
        let Decision::TooLate(why) = decide(4, false, newest) else { panic!("{newest}") };
        assert!(why.contains("version 4") && why.contains(&format!("version {newest}")), "{why}");
    }
}

#[test]
fn what_contradicts_itself_is_refused() {
    let cases = [
        charged(usd(100), usd(3), usd(104), None),
        charged(usd(100), usd(3), eur(103), None),
        charged(usd(100), eur(3), usd(103), None),
        charged(usd(100), usd(-3), usd(97), None),
        charged(usd(0), usd(3), usd(3), None),
        charged(usd(-100), usd(0), usd(-100), None),
        charged(usd(100), usd(0), usd(100), Some(usd(-1))),
        charged(usd(i64::MAX), usd(i64::MAX), usd(-2), None),
    ];
    for case in cases {
        assert!(Posting::charge(&case).is_err(), "{:?}", case.data);
    }
    for case in [
        refunded("re_1", usd(-1), usd(1)),
        refunded("re_1", usd(1), usd(0)),
        refunded("re_1", usd(1), eur(1)),
        refunded("", usd(1), usd(1)),
        refunded("a b", usd(1), usd(1)),
        refunded(&"x".repeat(201), usd(1), usd(1)),
    ] {
        assert!(Posting::refund(&case).is_err(), "{:?}", case.data);
    }
    assert_eq!(Posting::adjustment(&adjust(usd(0))), Err(PostingError::NoChange));
    assert_eq!(Posting::adjustment(&adjust(usd(i64::MIN))), Err(PostingError::Range));
    assert!(Posting::opening(&adopted(usd(-1))).is_err());
    let mut nobody = adjust(usd(1));
    nobody.subject = None;
    assert_eq!(Posting::adjustment(&nobody), Err(PostingError::NoOrganization));
}

#[test]
fn the_transaction_id_follows_from_the_business_key() {
    let one = Posting::adjustment(&adjust(usd(1))).unwrap();
    let again = Posting::adjustment(&adjust(usd(2))).unwrap();
    let other = Posting::opening(&adopted(usd(1))).unwrap().unwrap();
    assert_eq!(one.transaction_id(), again.transaction_id());
    assert_ne!(one.transaction_id(), other.transaction_id());
}

#[path = "posting/recharge_tests.rs"]
mod recharges;

/// What every posting keeps, whatever the event.
fn holds(posting: &Posting, quota_change: i64) -> Result<(), TestCaseError> {
    let sum: i128 = posting.entries().iter().map(|entry| i128::from(entry.amount)).sum();
    prop_assert_eq!(sum, 0);
    prop_assert!(posting.entries().len() >= 2);
    prop_assert!(posting.entries().iter().all(|entry| entry.amount != 0));
    prop_assert_eq!(posting.quota_change(), quota_change);
    Ok(())
}

proptest! {
    #[test]
    fn charges_balance(amount in 1..i64::MAX / 2, fee in 0..i64::MAX / 2, cost in proptest::option::of(0..i64::MAX)) {
        let event = charged(usd(amount), usd(fee), usd(amount + fee), cost.map(usd));
        holds(&Posting::charge(&event).unwrap(), amount)?;
    }

    #[test]
    fn a_wrong_total_is_never_booked(amount in 1..1_000_000_i64, fee in 0..1_000_i64, off in 1..1_000_i64) {
        for total in [amount + fee + off, amount + fee - off] {
            prop_assert!(Posting::charge(&charged(usd(amount), usd(fee), usd(total), None)).is_err());
        }
    }

    #[test]
    fn refunds_balance(amount in 1..i64::MAX, total in 1..i64::MAX) {
        holds(&Posting::refund(&refunded("re_1", usd(amount), usd(total))).unwrap(), -amount)?;
    }

    #[test]
    fn adjustments_balance(amount in any::<i64>().prop_filter("a change", |a| *a != 0 && *a != i64::MIN)) {
        holds(&Posting::adjustment(&adjust(usd(amount))).unwrap(), amount)?;
    }

    #[test]
    fn openings_balance(amount in 1..i64::MAX) {
        holds(&Posting::opening(&adopted(usd(amount))).unwrap().unwrap(), amount)?;
    }

    #[test]
    fn any_amounts_at_all_never_panic(a in any::<i64>(), b in any::<i64>(), c in any::<i64>(), d in any::<i64>()) {
        if let Ok(posting) = Posting::charge(&charged(usd(a), usd(b), usd(c), Some(usd(d)))) {
            holds(&posting, a)?;
        }
        if let Ok(posting) = Posting::refund(&refunded("re_1", usd(a), usd(b))) {
            holds(&posting, -a)?;
        }
    }
}
