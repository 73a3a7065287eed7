//! What became of the money of a recharge, in a sentence, and where every cent of it went. Pure.

use super::record::{Failure, Record};
use crate::console::amount::Amount;
use crate::console::text::{Rich, Text, rich, term};

/// The sentence.
pub(super) fn sentence(text: &Text, record: &Record) -> Rich {
    let words = &text.history;
    let says = match record.status() {
        "pending" => words.story_pending,
        "processing" => words.story_processing,
        "action_required" => words.story_action_required,
        "charged" => words.story_charged,
        "credited" => words.story_credited,
        "settled" if !record.refunded_total.is_zero() => words.story_settled_refunded,
        "settled" => words.story_settled,
        "declined" => words.story_declined,
        "failed" => words.story_failed,
        "refunding" => words.story_refunding,
        "refunded" => words.story_refunded,
        "returning" => words.story_returning,
        _ => words.story_unknown,
    };
    let money = |amount: Amount| amount.money(&record.currency);
    rich(
        says,
        &[
            ("total", money(record.total()).as_str()),
            ("amount", money(record.amount).as_str()),
            ("refunded", money(record.refunded_total).as_str()),
        ],
    )
}

/// Where the money went.
pub(super) struct Share {
    pub(super) label: &'static str,
    pub(super) money: String,
    pub(super) note: &'static str,
}

/// Each part of what was captured; nothing where nothing was.
pub(super) fn shares(text: &Text, record: &Record) -> Vec<Share> {
    if !record.is_captured() {
        return Vec::new();
    }
    let words = &text.history;
    let zero = Amount::default();
    let credited = if record.is_credited() { record.amount } else { zero };
    let fee_back = record.refunded_total.0.saturating_sub(record.refunded_amount.0);
    let fee_kept = Amount(record.fee.0.saturating_sub(fee_back).max(zero.0));
    let share = |label, amount: Amount, note| Share { label, money: amount.money(&record.currency), note };
    vec![
        share(words.captured, record.total(), words.captured_note),
        share(words.credited, credited, words.credited_note),
        share(words.refunded, record.refunded_total, words.refunded_note),
        share(words.fee_kept, fee_kept, words.fee_kept_note),
    ]
}

/// Why it was not charged, for the customer: the bank's word weighs more than Stripe's.
pub(super) fn why_not(text: &Text, failure: &Failure) -> Option<String> {
    let codes = [&failure.decline_code, &failure.code];
    let known = |code: &String| {
        let says = term(text.terms.declines, code);
        (says != code).then(|| says.to_owned())
    };
    codes.into_iter().flatten().find_map(known)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::record::tests::record;
    use super::*;

    #[test]
    fn every_cent_is_told() {
        let en = Text::of("en").unwrap();
        let told = |more: serde_json::Value| {
            let shares = shares(en, &record(&more));
            shares.into_iter().map(|share| share.money).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(told(json!({})), "$206.30 $200.00 $0.00 $6.30");
        assert_eq!(told(json!({ "refunded_amount": 100, "refunded_total": 103.15 })), "$206.30 $200.00 $103.15 $3.15");
        assert_eq!(told(json!({ "status": "charged" })), "$206.30 $0.00 $0.00 $6.30");
        assert_eq!(told(json!({ "status": "declined" })), "");
        let sentence = sentence(en, &record(&json!({ "status": "settled" }))).to_string();
        assert!(
            sentence.contains("<strong>$206.30</strong>") && sentence.contains("<strong>$200.00</strong>"),
            "{sentence}"
        );
        let failure = |code: &str, bank: &str| Failure {
            code: Some(code.to_owned()),
            decline_code: Some(bank.to_owned()),
            advice_code: None,
            class: None,
            message: None,
            paused: false,
        };
        let why = |code, bank| why_not(en, &failure(code, bank)).unwrap_or_default();
        assert!(why("card_declined", "insufficient_funds").contains("not enough money"));
        assert_eq!(why("card_declined", "odd"), term(en.terms.declines, "card_declined"));
        assert_eq!(why("odd", "odd"), "");
    }
}
