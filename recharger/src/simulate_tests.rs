//! Tables of replays, and properties.
#![expect(clippy::inconsistent_digit_grouping, reason = "dollars_cents")]

use chrono::Duration;
use common::money::Currency;
use proptest::prelude::*;

use super::*;
use crate::policy::SavedCard;

fn dec(text: &str) -> Decimal {
    Decimal::from_str_exact(text).unwrap()
}

fn usd(whole: i64) -> Money {
    Money::new(whole * 100, Currency::USD)
}

/// So many hours after the beginning of the last day of a month.
fn hour(hours: i64) -> Timestamp {
    "2026-10-31T00:00:00Z".parse::<Timestamp>().unwrap() + Duration::hours(hours)
}

fn policy() -> Policy {
    Policy {
        auto_recharge_enabled: true,
        currency: Currency::USD,
        minimum_balance: dec("50"),
        target_balance: dec("300"),
        target_basis: TargetBasis::Available,
        minimum_recharge: usd(100),
        max_daily_recharges: 3,
        max_daily_amount: None,
        max_monthly_amount: None,
        card: Some(SavedCard {
            customer_id: "cus_1".to_owned(),
            payment_method_id: "pm_1".to_owned(),
            fingerprint: None,
        }),
    }
}

fn beginning(quota: &str) -> Beginning {
    let spent = Spent { recharges_today: 0, amount_today: usd(0), amount_this_month: usd(0) };
    Beginning { at: hour(0), quota: dec(quota), spent }
}

fn looks(seen: &[(i64, &str)]) -> Vec<Seen> {
    seen.iter().map(|(hours, usage)| Seen { at: hour(*hours), usage: dec(usage), looks: 1 }).collect()
}

fn run(policy: &Policy, beginning: &Beginning, seen: &[Seen]) -> Replay {
    replay(policy, beginning, seen, FeePolicy::default())
}

/// At which hour, and for how much.
fn bought(replay: &Replay) -> Vec<(i64, i64)> {
    let first = hour(0);
    replay.listed.iter().map(|one| ((one.at - first).num_hours(), one.plan.amount.minor)).collect()
}

fn skipped(replay: &Replay) -> Vec<(SkipReason, u64)> {
    replay.skips.iter().map(|(reason, skips)| (*reason, skips.count)).collect()
}

#[test]
fn usage_alone_decides_and_the_quota_is_the_replays_own() {
    let available = policy();
    let quota = Policy { target_basis: TargetBasis::Quota, ..policy() };
    let seen = looks(&[(0, "100"), (1, "449.99"), (2, "451"), (3, "460"), (4, "800"), (5, "1300")]);
    let replay = run(&available, &beginning("500"), &seen);
    // 49 are left: filled up to 300. Nothing is left: more than was exceeded, and up to 300.
    assert_eq!(bought(&replay), [(2, 251_00), (4, 349_00), (5, 500_00)]);
    assert_eq!((replay.quota, replay.amount, replay.recharges), (dec("1600"), usd(1100), 3));
    assert_eq!(skipped(&replay), []);
    // The target is a quota, and it is reached: the least that is bought, as long as that covers the gap.
    assert_eq!(bought(&run(&quota, &beginning("500"), &seen)), [(2, 100_00), (4, 200_00), (5, 500_00)]);
    // Enough at every look.
    assert_eq!(run(&available, &beginning("5000"), &seen).recharges, 0);
    // Nothing was seen.
    assert_eq!(run(&available, &beginning("0"), &[]).quota, dec("0"));
}

#[test]
fn caps_count_by_day_and_month_and_with_what_was_before() {
    let hourly: Vec<Seen> = looks(&[(1, "100"), (2, "200"), (3, "300"), (22, "400"), (25, "500"), (26, "600")]);
    let least = Policy { target_basis: TargetBasis::Quota, target_balance: dec("0"), ..policy() };
    let two = Policy { max_daily_recharges: 2, ..least.clone() };
    let replay = run(&two, &beginning("100"), &hourly);
    // On the first day two; on the next, the first of another month, two more.
    assert_eq!(bought(&replay), [(1, 100_00), (2, 100_00), (25, 200_00), (26, 100_00)]);
    assert_eq!(skipped(&replay), [(SkipReason::DailyLimitReached, 2)]);
    let skips = replay.skips[&SkipReason::DailyLimitReached];
    assert_eq!((skips.first, skips.last), (hour(3), hour(22)));

    // One recharge of 150 before the beginning counts against both amounts; what is left of the cap is bought.
    let spent = Spent { recharges_today: 1, amount_today: usd(150), amount_this_month: usd(150) };
    let before = Beginning { spent, ..beginning("100") };
    let daily = Policy { max_daily_amount: Some(usd(370)), max_daily_recharges: 9, ..least.clone() };
    let replay = run(&daily, &before, &hourly);
    assert_eq!(bought(&replay), [(1, 100_00), (2, 100_00), (25, 200_00), (26, 100_00)]);
    assert_eq!(skipped(&replay), [(SkipReason::AmountLimitReached, 2)]);
    let monthly = Policy { max_monthly_amount: Some(usd(250)), max_daily_recharges: 9, ..least };
    let replay = run(&monthly, &before, &hourly);
    assert_eq!(bought(&replay), [(1, 100_00), (25, 250_00)]);
    assert!(replay.listed[1].plan.reduced);
    assert_eq!(skipped(&replay), [(SkipReason::AmountLimitReached, 4)]);
}

#[test]
fn what_stands_in_the_way_is_counted_where_little_was_left() {
    let seen = looks(&[(0, "0"), (1, "500"), (2, "500")]);
    let off = Policy { auto_recharge_enabled: false, ..policy() };
    let without_card = Policy { card: None, ..policy() };
    let replay = run(&off, &beginning("500"), &seen);
    assert_eq!((replay.recharges, skipped(&replay)), (0, vec![(SkipReason::AutoRechargeDisabled, 2)]));
    assert_eq!(skipped(&run(&without_card, &beginning("500"), &seen)), [(SkipReason::NoPaymentMethod, 2)]);
    // What can't be held is no panic.
    let absurd = [Seen { at: hour(0), usage: Decimal::MAX, looks: 3 }];
    assert_eq!(skipped(&run(&policy(), &beginning("-1"), &absurd)), [(SkipReason::AmountTooLarge, 3)]);
}

/// Thinned usage stands for several looks: as many recharges as those would have led to, and no more than are wanted.
#[test]
fn a_point_is_as_many_looks_as_it_stands_for() {
    let least =
        Policy { target_basis: TargetBasis::Quota, target_balance: dec("0"), max_daily_recharges: 9, ..policy() };
    let at = |looks| [Seen { at: hour(1), usage: dec("160"), looks }];
    assert_eq!(run(&least, &beginning("100"), &at(1)).recharges, 1);
    // 160 of 200: 40 are left, less than 50.
    let replay = run(&least, &beginning("100"), &at(20));
    assert_eq!((replay.recharges, replay.quota, replay.skips.len()), (2, dec("300"), 0));
    let one = Policy { max_daily_recharges: 1, ..least };
    assert_eq!(skipped(&run(&one, &beginning("100"), &at(20))), [(SkipReason::DailyLimitReached, 19)]);
}

#[test]
fn a_long_list_is_cut_and_the_totals_count_all() {
    let often = Policy {
        minimum_recharge: usd(1),
        minimum_balance: dec("0"),
        target_balance: dec("0"),
        max_daily_recharges: 1_440,
        ..policy()
    };
    let seen: Vec<Seen> =
        (0..600).map(|n| Seen { at: hour(0) + Duration::minutes(n), usage: Decimal::from(n), looks: 1 }).collect();
    let fees = FeePolicy { bps: 290, fixed: 30 };
    let replay = replay(&often, &beginning("0"), &seen, fees);
    assert_eq!((replay.listed.len(), replay.recharges), (LISTED, 600));
    assert_eq!((replay.amount, replay.quota), (usd(600), dec("600")));
    assert_eq!(replay.total.minor, 600 * fees.total_for(usd(1)).unwrap().minor);
}

#[test]
fn changes_are_tried_and_wrong_ones_are_named() {
    let none = changed(policy(), &PolicyChangesV1::default()).unwrap();
    assert_eq!(none, policy());
    let changes = PolicyChangesV1 {
        auto_recharge_enabled: Some(false),
        minimum_balance: Some(dec("1.5")),
        target_balance: Some(dec("20")),
        target_basis: Some(TargetBasisV1::Quota),
        minimum_recharge_amount: Some(dec("10")),
        max_daily_recharges: Some(7),
        max_daily_amount: Some(Some(dec("70"))),
        max_monthly_amount: Some(None),
    };
    let before = Policy { max_monthly_amount: Some(usd(5)), ..policy() };
    let want = Policy {
        auto_recharge_enabled: false,
        minimum_balance: dec("1.5"),
        target_balance: dec("20"),
        target_basis: TargetBasis::Quota,
        minimum_recharge: usd(10),
        max_daily_recharges: 7,
        max_daily_amount: Some(usd(70)),
        ..policy()
    };
    assert_eq!(changed(before, &changes).unwrap(), want);
    for (changes, field) in [
        (PolicyChangesV1 { minimum_balance: Some(dec("-1")), ..Default::default() }, "minimum_balance"),
        (PolicyChangesV1 { target_balance: Some(dec("0.001")), ..Default::default() }, "target_balance"),
        (PolicyChangesV1 { max_daily_amount: Some(Some(Decimal::MAX)), ..Default::default() }, "max_daily_amount"),
    ] {
        let problem = changed(policy(), &changes).unwrap_err();
        assert!(problem.starts_with(field), "{problem}");
    }
}

proptest! {
    /// Whatever was spent under whatever policy: the quota is what it was plus what was bought, each day and month stays
    /// within its caps, and nothing is bought while there is enough.
    #[test]
    fn caps_hold_and_the_quota_follows(
        spent in proptest::collection::vec((0_i64..40_000, 1_i64..400, 1_u32..4), 0..120),
        basis in any::<bool>(),
        target in 0_i64..2_000,
        least in 1_i64..300,
        recharges in 0_u32..5,
        daily in proptest::option::of(0_i64..1_000),
        monthly in proptest::option::of(0_i64..3_000),
    ) {
        let policy = Policy {
            target_basis: if basis { TargetBasis::Quota } else { TargetBasis::Available },
            target_balance: Decimal::from(target),
            minimum_recharge: usd(least),
            max_daily_recharges: recharges,
            max_daily_amount: daily.map(usd),
            max_monthly_amount: monthly.map(usd),
            ..policy()
        };
        let (mut at, mut usage) = (hour(0), Decimal::ZERO);
        let seen: Vec<Seen> = spent.into_iter().map(|(cents, minutes, looks)| {
            (at, usage) = (at + Duration::minutes(minutes), usage + Decimal::new(cents, 2));
            Seen { at, usage, looks }
        }).collect();
        let replay = run(&policy, &beginning("100"), &seen);
        prop_assert!(replay.listed.len() < LISTED);
        let mut quota = dec("100");
        let mut days: BTreeMap<NaiveDate, (u32, i64)> = BTreeMap::new();
        let mut months: BTreeMap<(i32, u32), i64> = BTreeMap::new();
        for one in &replay.listed {
            prop_assert_eq!(one.quota_before, quota);
            prop_assert!(is_low(&policy, one.usage, quota));
            prop_assert!(one.plan.amount.minor >= policy.minimum_recharge.minor);
            quota += one.plan.amount.to_decimal();
            prop_assert_eq!(one.quota_after, quota);
            let date = one.at.date_naive();
            let day = days.entry(date).or_default();
            *day = (day.0 + 1, day.1 + one.plan.amount.minor);
            *months.entry((date.year(), date.month())).or_default() += one.plan.amount.minor;
        }
        prop_assert_eq!(replay.quota, quota);
        prop_assert_eq!(replay.amount.minor, replay.listed.iter().map(|one| one.plan.amount.minor).sum::<i64>());
        for (recharges, amount) in days.into_values() {
            prop_assert!(recharges <= policy.max_daily_recharges);
            prop_assert!(policy.max_daily_amount.is_none_or(|cap| amount <= cap.minor));
        }
        for amount in months.into_values() {
            prop_assert!(policy.max_monthly_amount.is_none_or(|cap| amount <= cap.minor));
        }
        // Every look at which little was left has bought something or says why not.
        let looks: u64 = seen.iter().map(|seen| u64::from(seen.looks)).sum();
        prop_assert!(replay.recharges + replay.skips.values().map(|skips| skips.count).sum::<u64>() <= looks);
        if let Some(last) = seen.last().filter(|last| is_low(&policy, last.usage, quota)) {
            let bought = replay.listed.iter().any(|one| one.at == last.at);
            prop_assert!(bought || replay.skips.values().any(|skips| skips.last == last.at));
        }
    }
}
