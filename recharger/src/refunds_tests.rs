use common::money::Currency;

use super::*;
use crate::saga::State;

fn usd(minor: i64) -> Money {
    Money::new(minor, Currency::USD)
}

pub(crate) fn record(amount: i64, total: i64) -> Record {
    Record::for_tests(usd(amount), usd(total), State::Settled)
}

#[test]
fn a_part_of_the_quota_comes_with_its_part_of_the_fee() {
    for (amount, total, quota, left, want) in [
        (10_000, 10_300, 10_000, (10_000, 10_300), 10_300),
        (10_000, 10_300, 5_000, (10_000, 10_300), 5_150),
        (10_000, 10_301, 5_000, (10_000, 10_301), 5_150),
        // The rest is the rest, whatever was rounded before.
        (10_000, 10_301, 5_000, (5_000, 5_151), 5_151),
        (10_000, 10_000, 1, (10_000, 10_000), 1),
    ] {
        let got = share(&record(amount, total), usd(quota), (usd(left.0), usd(left.1)));
        assert_eq!(got, usd(want), "{quota} of {amount}/{total}");
    }
}

#[test]
fn what_somebody_else_gave_back_takes_its_part_of_the_quota() {
    for (amount, total, back, left, want) in [
        (10_000, 10_300, 10_300, (10_000, 10_300), 10_000),
        (10_000, 10_300, 5_150, (10_000, 10_300), 5_000),
        (10_000, 10_300, 1, (10_000, 10_300), 1),
        (10_000, 10_300, 5_150, (5_000, 5_150), 5_000),
    ] {
        let got = quota_of(&record(amount, total), usd(back), (usd(left.0), usd(left.1)));
        assert_eq!(got, usd(want), "{back} of {amount}/{total}");
    }
}

#[test]
fn the_key_changes_after_a_definite_refusal_only() {
    let wish = Wish {
        refund_key: "undo:1".to_owned(),
        cause: RefundCause::SyncFailed,
        reason: String::new(),
        requested_by: None,
        correlation_id: EventId::from_body("evt", b"1"),
    };
    let record = record(100, 100);
    let mut refund = Refund::open(&record, wish, record.left(), Timestamp::UNIX_EPOCH);
    let first = refund.order("pi_1").idempotency_key;
    refund.tries = 7;
    assert_eq!(refund.order("pi_1").idempotency_key, first);
    refund.refusals = 1;
    assert_ne!(refund.order("pi_1").idempotency_key, first);
    let second = refund.replacement(Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH);
    assert_eq!(second.refund_key, "undo:1~2");
    assert_eq!(second.replacement(Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH).refund_key, "undo:1~3");
}

#[test]
fn parts_are_what_a_three_decimal_currency_can_move() {
    let kwd: Currency = "kwd".parse().unwrap();
    let money = |minor| Money::new(minor, kwd);
    let record = Record::for_tests(money(10_000), money(10_300), State::Settled);
    let left = (money(10_000), money(10_300));
    assert_eq!(share(&record, money(3_330), left), money(3_420));
    assert_eq!(quota_of(&record, money(3_430), left), money(3_330));
}
