//! The table of cases of `decide`, and properties.
#![expect(clippy::inconsistent_digit_grouping, reason = "dollars_cents")]

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

fn policy() -> Policy {
    Policy {
        auto_recharge_enabled: true,
        currency: Currency::USD,
        minimum_balance: dec("100"),
        target_balance: dec("500"),
        target_basis: TargetBasis::Quota,
        minimum_recharge: usd(100),
        max_daily_recharges: 5,
        max_daily_amount: None,
        max_monthly_amount: None,
        card: Some(SavedCard {
            customer_id: "cus_1".to_owned(),
            payment_method_id: "pm_1".to_owned(),
            fingerprint: None,
        }),
    }
}

fn history() -> History {
    History {
        quota: dec("500"),
        answered_limit: None,
        in_flight: None,
        recharges_today: 0,
        amount_today: usd(0),
        amount_this_month: usd(0),
        paused: None,
        cooldown_until: None,
        card_refusals: 0,
    }
}

fn exceeded(usage: &str, limit: &str) -> Trigger {
    Trigger::LimitExceeded { usage: dec(usage), limit: dec(limit), exceeded_by: None }
}

fn low(usage: &str, quota: &str) -> Trigger {
    Trigger::LowBalance { usage: dec(usage), quota: dec(quota) }
}

fn run(policy: &Policy, history: &History, trigger: &Trigger) -> Decision {
    decide(Some(policy), history, trigger, FeePolicy::default(), Timestamp::UNIX_EPOCH)
}

#[track_caller]
fn charges(decision: Decision, minor: i64) {
    match decision {
        Decision::Charge(plan) => assert_eq!(plan.amount.minor, minor),
        other => panic!("expected a charge of {minor}, got {other:?}"),
    }
}

#[track_caller]
fn skips(decision: Decision, reason: SkipReason) {
    match decision {
        Decision::Skip(skip) => assert_eq!(skip.reason(), reason, "{skip}"),
        Decision::Hold { .. } => assert_eq!(SkipReason::Cooldown, reason),
        Decision::Charge(plan) => panic!("expected {reason:?}, got {plan:?}"),
    }
}

#[test]
fn the_case_of_the_original_plan_gives_100() {
    charges(run(&policy(), &history(), &exceeded("520", "500")), 100_00);
}

#[test]
fn the_same_case_filling_up_what_is_available_gives_520() {
    let available = Policy { target_basis: TargetBasis::Available, ..policy() };
    charges(run(&available, &history(), &exceeded("520", "500")), 520_00);
}

#[test]
fn amounts() {
    let at = |target: &str, minimum: i64, usage: &str, limit: &str| {
        let policy = Policy { target_balance: dec(target), minimum_recharge: usd(minimum), ..policy() };
        run(&policy, &History { quota: dec("0"), ..history() }, &exceeded(usage, limit))
    };
    charges(at("500", 200, "0.06", "0.05"), 499_95);
    charges(at("500", 200, "0", "0"), 500_00);
    charges(at("500", 100, "900", "500"), 400_00);
    charges(at("500", 100, "500", "500"), 100_00);
    charges(at("500", 100, "700.001", "500"), 200_01);
    charges(at("0", 1, "10", "10"), 1_00);
    let said = Trigger::LimitExceeded { usage: dec("520"), limit: dec("500"), exceeded_by: Some(dec("300")) };
    charges(run(&policy(), &history(), &said), 300_00);
    charges(run(&policy(), &history(), &low("450", "500")), 100_00);
    charges(run(&policy(), &History { quota: dec("0"), ..history() }, &low("0", "0")), 500_00);
    charges(run(&policy(), &history(), &Trigger::Manual { amount: usd(7) }), 7_00);
}

/// Each case adds one obstacle to all those before it, from the least to the most important: the newest must win.
#[test]
fn the_order_of_precedence_is_fixed() {
    let mut policy = policy();
    let mut history = history();
    let trigger = exceeded("520", "500");
    let huge = Trigger::LimitExceeded { usage: dec("9999999999"), limit: dec("500"), exceeded_by: None };
    skips(run(&policy, &history, &huge), SkipReason::AmountTooLarge);
    policy.minimum_recharge = Money::new(10, Currency::USD);
    policy.max_daily_amount = Some(usd(100));
    history.amount_today = Money::new(99_80, Currency::USD);
    skips(run(&policy, &history, &trigger), SkipReason::AmountTooSmall);
    policy.minimum_recharge = usd(100);
    skips(run(&policy, &history, &trigger), SkipReason::AmountLimitReached);
    history.recharges_today = 5;
    skips(run(&policy, &history, &trigger), SkipReason::DailyLimitReached);
    history.cooldown_until = Some(Timestamp::UNIX_EPOCH + chrono::Duration::seconds(1));
    skips(run(&policy, &history, &trigger), SkipReason::Cooldown);
    history.in_flight = Some(RechargeId(uuid::Uuid::nil()));
    skips(run(&policy, &history, &trigger), SkipReason::InFlight);
    history.quota = dec("600");
    skips(run(&policy, &history, &trigger), SkipReason::AlreadyRecharged);
    policy.card = None;
    skips(run(&policy, &history, &trigger), SkipReason::NoPaymentMethod);
    history.paused = Some("lost_card".to_owned());
    skips(run(&policy, &history, &trigger), SkipReason::Paused);
    policy.auto_recharge_enabled = false;
    skips(run(&policy, &history, &trigger), SkipReason::AutoRechargeDisabled);
    let unknown = decide(None, &history, &trigger, FeePolicy::default(), Timestamp::UNIX_EPOCH);
    skips(unknown, SkipReason::UnknownOrganization);
}

#[test]
fn manual_requests_skip_only_on_what_makes_sense_for_them() {
    let manual = Trigger::Manual { amount: usd(50) };
    let policy =
        Policy { auto_recharge_enabled: false, max_daily_recharges: 0, max_daily_amount: Some(usd(0)), ..policy() };
    let history = History {
        paused: Some("declined".to_owned()),
        cooldown_until: Some(Timestamp::UNIX_EPOCH + chrono::Duration::hours(1)),
        recharges_today: 9,
        ..history()
    };
    charges(run(&policy, &history, &manual), 50_00);
    let busy = History { in_flight: Some(RechargeId(uuid::Uuid::nil())), ..history.clone() };
    skips(run(&policy, &busy, &manual), SkipReason::InFlight);
    skips(run(&Policy { card: None, ..policy.clone() }, &history, &manual), SkipReason::NoPaymentMethod);
    let cents = Trigger::Manual { amount: Money::new(49, Currency::USD) };
    skips(run(&policy, &history, &cents), SkipReason::AmountTooSmall);
    skips(run(&policy, &history, &Trigger::Manual { amount: usd(1_000_000) }), SkipReason::AmountTooLarge);
    skips(run(&policy, &history, &Trigger::Manual { amount: usd(0) }), SkipReason::AmountTooSmall);
}

#[test]
fn one_crossing_is_answered_once_even_where_the_senders_limit_is_not_the_ledgers_quota() {
    let answered = History { quota: dec("200"), answered_limit: Some(dec("500")), ..history() };
    skips(run(&policy(), &answered, &exceeded("520", "500")), SkipReason::AlreadyRecharged);
    skips(run(&policy(), &answered, &exceeded("520", "499")), SkipReason::AlreadyRecharged);
    charges(run(&policy(), &answered, &exceeded("720", "500.01")), 219_99);
    // The sweep reads the ledger's own quota: for it the answered limit means nothing.
    charges(run(&policy(), &answered, &low("200", "200")), 300_00);
}

#[test]
fn edges_of_the_limit() {
    let fresh = History { quota: dec("0"), ..history() };
    // LiteLLM refuses at equality and sends no webhook: the sweep must see it as low.
    charges(run(&policy(), &fresh, &exceeded("500", "500")), 100_00);
    skips(run(&policy(), &fresh, &exceeded("499.99", "500")), SkipReason::NotActionable);
    let careless = Policy { minimum_balance: dec("0"), ..policy() };
    charges(run(&careless, &history(), &low("500", "500")), 100_00);
    skips(run(&careless, &history(), &low("499.99", "500")), SkipReason::NotActionable);
    skips(run(&policy(), &history(), &low("400", "500")), SkipReason::NotActionable);
    charges(run(&policy(), &history(), &low("400.01", "500")), 100_00);
    skips(
        run(&policy(), &History { quota: dec("600"), ..history() }, &low("500", "500")),
        SkipReason::AlreadyRecharged,
    );
    // A cooldown that ends now has ended.
    let rested = History { cooldown_until: Some(Timestamp::UNIX_EPOCH), ..history() };
    charges(run(&policy(), &rested, &exceeded("520", "500")), 100_00);
}

#[test]
fn a_charge_is_reduced_to_the_headroom_or_skipped() {
    let capped = |today: i64, month: i64| {
        let policy = Policy {
            max_daily_amount: Some(usd(1_000)),
            max_monthly_amount: Some(usd(3_000)),
            target_balance: dec("900"),
            ..policy()
        };
        let history = History { amount_today: usd(today), amount_this_month: usd(month), ..history() };
        run(&policy, &history, &exceeded("520", "500"))
    };
    charges(capped(0, 0), 400_00);
    charges(capped(600, 600), 400_00);
    charges(capped(700, 700), 300_00);
    charges(capped(0, 2_850), 150_00);
    charges(capped(900, 900), 100_00);
    skips(capped(901, 901), SkipReason::AmountLimitReached);
    skips(capped(2_000, 2_000), SkipReason::AmountLimitReached);
}

#[test]
fn fees_and_currencies() {
    let tariff = FeePolicy { bps: 290, fixed: 30 };
    let decision = decide(Some(&policy()), &history(), &exceeded("520", "500"), tariff, Timestamp::UNIX_EPOCH);
    let Decision::Charge(plan) = decision else { panic!("{decision:?}") };
    assert_eq!((plan.amount.minor, plan.total.minor), (100_00, 103_30));
    let in_currency = |code: &str, minimum: i64| {
        let currency: Currency = code.parse().unwrap();
        let policy = Policy { currency, minimum_recharge: Money::new(minimum, currency), ..policy() };
        run(
            &policy,
            &History {
                quota: dec("0"),
                amount_today: Money::zero(currency),
                amount_this_month: Money::zero(currency),
                ..history()
            },
            &exceeded("590.5551", "500"),
        )
    };
    charges(in_currency("jpy", 10), 91);
    charges(in_currency("kwd", 1_000), 90_560);
}

proptest! {
    /// Whatever comes in, a charge never exceeds a cap, is never below the minimum, and can be expressed.
    #[test]
    fn no_charge_breaks_a_rule(
        usage in 0_i64..10_000_000, limit in 0_i64..10_000_000, target in 0_i64..1_000_000, minimum in 1_i64..100_000,
        cap in proptest::option::of(0_i64..1_000_000), spent in 0_i64..1_000_000, count in 0_u32..8, available in any::<bool>(),
    ) {
        let policy = Policy {
            target_balance: Decimal::new(target, 2),
            minimum_recharge: Money::new(minimum, Currency::USD),
            max_daily_amount: cap.map(|cap| Money::new(cap, Currency::USD)),
            target_basis: if available { TargetBasis::Available } else { TargetBasis::Quota },
            ..policy()
        };
        let history = History {
            quota: dec("0"), amount_today: Money::new(spent, Currency::USD), recharges_today: count, ..history()
        };
        // Four decimals: finer than the currency.
        let trigger = Trigger::LimitExceeded { usage: Decimal::new(usage, 4), limit: Decimal::new(limit, 4), exceeded_by: None };
        if let Decision::Charge(plan) = run(&policy, &history, &trigger) {
            prop_assert!(usage >= limit);
            prop_assert!(count < 5);
            prop_assert!(plan.amount.minor >= minimum);
            prop_assert!(plan.total.minor <= Currency::USD.maximum_charge());
            if let Some(cap) = cap {
                prop_assert!(plan.amount.minor + spent <= cap);
            }
            if !plan.reduced {
                prop_assert!(plan.amount.to_decimal() >= Decimal::new(usage - limit, 4));
            }
        }
    }
}
