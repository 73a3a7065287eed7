//! A policy as a sentence. Pure.

use rust_decimal::Decimal;

use super::data::{Config, Decision, round};
use super::phrase::{Phrase, Value, phrase, plain};
use crate::console::amount::Amount;
use crate::console::text::{Text, term};

/// What the policy does, in plain words with its numbers emphasized. Whether it is switched on is not in it.
pub(super) fn sentence(text: &Text, config: &Config, quota: Option<Amount>) -> Phrase {
    let words = &text.organization;
    let show = |amount: Amount| round(amount, &config.currency);
    if config.max_daily_recharges == 0 {
        return plain(words.policy_never);
    }
    let (minimum, target, least) =
        (show(config.minimum_balance), show(config.target_balance), show(config.minimum_recharge_amount));
    let card = config.card().map_or_else(
        || plain(words.policy_no_card),
        |card| phrase(words.policy_card, &[("card", Value::Strong(&card))]),
    );
    let when = if config.minimum_balance.is_zero() { words.policy_when_nothing } else { words.policy_when_less };
    let when = phrase(when, &[("minimum", Value::Strong(&minimum))]);
    let what = match config.target_basis.as_str() {
        "available" if fills_by_more(config) => words.policy_fill,
        "available" => words.policy_fill_at_least,
        // The quota is all that was ever bought: once it has reached the target, the least is what counts.
        _ if is_reached(config, quota) => words.policy_fixed,
        _ => words.policy_reach,
    };
    let what = phrase(
        what,
        &[("target", Value::Strong(&target)), ("least", Value::Strong(&least)), ("card", Value::Phrase(&card))],
    );
    let caps = caps(text, config);
    phrase(
        words.policy_whole,
        &[("when", Value::Phrase(&when)), ("what", Value::Phrase(&what)), ("caps", Value::Phrase(&caps))],
    )
}

/// Whether filling up always takes more than the least amount.
fn fills_by_more(config: &Config) -> bool {
    let gap = config.target_balance.0.checked_sub(config.minimum_balance.0).unwrap_or_default();
    gap >= config.minimum_recharge_amount.0
}

/// Whether the target asks for no more than the least amount.
fn is_reached(config: &Config, quota: Option<Amount>) -> bool {
    let missing =
        quota.and_then(|quota| config.target_balance.0.checked_sub(quota.0)).unwrap_or(config.target_balance.0);
    missing <= config.minimum_recharge_amount.0
}

fn caps(text: &Text, config: &Config) -> Phrase {
    let words = &text.organization;
    let show = |amount: Amount| round(amount, &config.currency);
    let times = config.max_daily_recharges.to_string();
    let daily = if config.max_daily_recharges == 1 { words.policy_once } else { words.policy_times };
    let mut caps = vec![phrase(daily, &[("times", Value::Strong(&times))])];
    for (cap, says) in [(config.max_daily_amount, words.policy_day), (config.max_monthly_amount, words.policy_month)] {
        caps.extend(cap.map(|cap| phrase(says, &[("amount", Value::Strong(&show(cap)))])));
    }
    let last = caps.len().saturating_sub(1);
    let mut joined = plain(words.policy_caps);
    for (place, cap) in caps.into_iter().enumerate() {
        let between = match place {
            0 => "",
            place if place == last => words.policy_and,
            _ => words.policy_comma,
        };
        joined = joined.then(&plain(between)).then(&cap);
    }
    joined
}

/// What the policy would do at this moment.
pub(super) fn now(text: &Text, config: &Config, decision: &Decision, available: Option<Amount>) -> Phrase {
    let words = &text.organization;
    let show = |amount: Amount| amount.money(&config.currency);
    match (decision.would.as_str(), decision.total_charge) {
        ("charge", Some(total)) => {
            let (amount, fee) = (decision.amount.unwrap_or(total), decision.fee.unwrap_or_default());
            let says = match (fee.is_zero(), decision.reduced) {
                (true, false) => words.now_charge,
                (false, false) => words.now_charge_with_fee,
                (true, true) => words.now_charge_reduced,
                (false, true) => words.now_charge_reduced_with_fee,
            };
            let (total, amount, fee) = (show(total), show(amount), show(fee));
            let values = [
                ("total", Value::Strong(total.as_str())),
                ("amount", Value::Strong(&amount)),
                ("fee", Value::Plain(&fee)),
            ];
            phrase(says, &values)
        }
        ("hold", _) => match decision.until {
            Some(until) => phrase(words.now_rests_until, &[("time", Value::At(until))]),
            None => plain(words.now_rests),
        },
        _ => nothing(text, config, decision, available),
    }
}

fn nothing(text: &Text, config: &Config, decision: &Decision, available: Option<Amount>) -> Phrase {
    let words = &text.organization;
    let reason = decision.reason.as_deref().unwrap_or_default();
    let enough = available.filter(|left| left.0 > Decimal::ZERO && left.0 >= config.minimum_balance.0);
    match (reason, enough) {
        // Both mean that not too little is left.
        ("already_recharged" | "not_actionable", Some(left)) => {
            let (left, minimum) = (left.money(&config.currency), round(config.minimum_balance, &config.currency));
            phrase(words.now_enough, &[("available", Value::Strong(&left)), ("minimum", Value::Plain(&minimum))])
        }
        _ => phrase(words.now_nothing, &[("reason", Value::Strong(term(text.terms.skips, reason)))]),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;

    fn config(changes: &Json) -> Config {
        let mut config = json!({
            "c_organization_id": "acme", "currency": "usd", "minimum_balance": 100, "target_balance": 1000,
            "target_basis": "quota", "auto_recharge_enabled": true, "minimum_recharge_amount": 200,
            "max_daily_recharges": 5, "cooldown_seconds": 3600, "default_payment_method_id": "pm_1",
            "payment_method_brand": "visa", "payment_method_last4": "4242",
        });
        config.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        serde_json::from_value(config).unwrap()
    }

    fn said(changes: Json, quota: &str) -> String {
        let quota = serde_json::from_value(json!(quota)).unwrap();
        let said = sentence(Text::of("en").unwrap(), &config(&changes), Some(quota)).to_string();
        said.replace("<strong>", "").replace("</strong>", "")
    }

    #[test]
    fn policies_in_plain_words() {
        for (changes, quota, want) in [
            (
                json!({"max_monthly_amount": 1000}),
                "5000",
                "When less than $100 is left, charge $200 to Visa •••• 4242, at most 5 times a day and $1,000 a month.",
            ),
            (
                json!({"max_daily_recharges": 1, "max_daily_amount": "250.50", "max_monthly_amount": 1000}),
                "700",
                "When less than $100 is left, charge to Visa •••• 4242 what brings the quota up to $1,000, but at least $200, at \
                 most once a day, $250.50 a day and $1,000 a month.",
            ),
            (
                json!({"target_basis": "available", "minimum_balance": 0, "default_payment_method_id": null}),
                "700",
                "When nothing is left, fill up to $1,000 from a card (which has yet to be added), at most 5 times a day.",
            ),
            (
                json!({"target_basis": "available", "target_balance": 150}),
                "0",
                "When less than $100 is left, fill up to $150 from Visa •••• 4242, charging at least $200, at most 5 times a day.",
            ),
            (
                json!({"max_daily_recharges": 0}),
                "0",
                "Nothing is ever charged by itself, because the number of recharges a day is 0.",
            ),
        ] {
            assert_eq!(said(changes, quota), want);
        }
        let zh = sentence(Text::of("zh").unwrap(), &config(&json!({"payment_method_brand": "<b>"})), None).to_string();
        assert!(zh.contains("&lt;b&gt; •••• 4242") && !zh.contains("<b>"), "{zh}");
    }

    #[test]
    fn what_it_would_do_now() {
        let text = Text::of("en").unwrap();
        let says = |decision: Json| {
            let decision: Decision = serde_json::from_value(decision).unwrap();
            let left = serde_json::from_value(json!("250")).unwrap();
            now(text, &config(&json!({})), &decision, Some(left))
                .to_string()
                .replace("<strong>", "")
                .replace("</strong>", "")
        };
        for (decision, want) in [
            (json!({"would": "charge", "amount": 200, "fee": "6.10", "total_charge": "206.10"}), "$206.10"),
            (json!({"would": "skip", "reason": "already_recharged"}), "$250.00"),
            (json!({"would": "skip", "reason": "not_actionable"}), "$250.00"),
            (json!({"would": "skip", "reason": "paused"}), "paused"),
            (json!({"would": "skip", "reason": "what_comes_later"}), "what_comes_later"),
            (json!({"would": "hold", "until": "2026-03-01T09:05:07Z"}), "2026-03-01 09:05 UTC"),
        ] {
            let said = says(decision);
            assert!(said.contains(want), "{want}: {said}");
        }
    }
}
