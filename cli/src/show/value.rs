//! One value of an answer as a text. Pure.

use chrono::DateTime;
use serde_json::Value;

use super::Show;

/// Names, or their last words, of what is an amount wherever it stands beside a currency.
const AMOUNTS: [&str; 16] = [
    "amount",
    "available",
    "balance",
    "captured",
    "charge",
    "fee",
    "limit",
    "paid",
    "price",
    "quota",
    "quota_after",
    "quota_before",
    "quota_in_force",
    "refunded",
    "spend",
    "usage",
];

/// A text without what would move the cursor of a terminal, or write over what is there: it may be a stranger's.
pub(crate) fn plain(text: &str) -> String {
    let shown = |c: char| match c {
        '\n' | '\r' | '\t' => ' ',
        c if c.is_control() => '\u{FFFD}',
        c => c,
    };
    text.chars().map(shown).collect()
}

/// Whether a field of this name is an amount.
pub(super) fn is_amount(name: &str) -> bool {
    let total = name == "total" || name.ends_with("_total");
    total || AMOUNTS.iter().any(|last| name == *last || name.strip_suffix(last).is_some_and(|rest| rest.ends_with('_')))
}

/// The field called `name`: an amount with its currency, a time in the reader's zone, the rest as it is.
pub(crate) fn text_of(name: &str, value: &Value, currency: Option<&str>, show: &Show) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Number(number) => match currency.filter(|_| is_amount(name)) {
            Some(currency) => format!("{number} {}", plain(&currency.to_uppercase())),
            None => number.to_string(),
        },
        Value::String(text) => time(text, show).unwrap_or_else(|| plain(text)),
        Value::Array(items) if items.iter().all(|item| !item.is_array() && !item.is_object()) => {
            let items: Vec<_> = items.iter().map(|item| text_of(name, item, currency, show)).collect();
            if items.is_empty() { "-".to_owned() } else { items.join(", ") }
        }
        Value::Array(_) | Value::Object(_) => plain(&value.to_string()),
    }
}

/// A moment in the reader's zone, to the second.
fn time(text: &str, show: &Show) -> Option<String> {
    let at = DateTime::parse_from_rfc3339(text).ok()?;
    Some((show.zone)(at.to_utc()).format("%Y-%m-%d %H:%M:%S").to_string())
}

/// What an answer's amounts are in.
pub(super) fn currency_of(body: &Value) -> Option<&str> {
    body["currency"].as_str()
}

#[cfg(test)]
mod tests {
    use chrono::FixedOffset;
    use serde_json::json;

    use super::*;

    #[test]
    fn values() {
        let show = Show {
            zone: |at| FixedOffset::east_opt(3600).map_or(at.fixed_offset(), |zone| at.with_timezone(&zone)),
            width: None,
        };
        let exact: Value = serde_json::from_str("25.50").unwrap();
        let table = [
            ("amount", exact.clone(), "25.50 USD"),
            ("new_quota", exact.clone(), "25.50 USD"),
            ("refunded_total", exact.clone(), "25.50 USD"),
            ("attempts", json!(3), "3"),
            ("ledger_version", json!(7), "7"),
            ("paused", json!(true), "yes"),
            ("reason", json!(null), "-"),
            ("created_at", json!("2026-11-23T10:00:00.123456Z"), "2026-11-23 11:00:00"),
            ("name", json!("two\nlines\u{1b}[31m\u{9b}"), "two lines\u{FFFD}[31m\u{FFFD}"),
            ("sequences", json!([1, 2]), "1, 2"),
            ("sequences", json!([]), "-"),
            ("payload", json!({ "a": "\u{7f}" }), "{\"a\":\"\u{FFFD}\"}"),
        ];
        for (name, value, want) in table {
            assert_eq!(text_of(name, &value, Some("usd"), &show), want, "{name}");
        }
        assert_eq!(text_of("amount", &exact, None, &show), "25.50");
    }

    #[test]
    fn amounts() {
        for name in
            ["quota", "total_charge", "minimum_balance", "current_usage", "quota_in_force", "total", "max_daily_amount"]
        {
            assert!(is_amount(name), "{name}");
        }
        for name in ["max_daily_recharges", "cooldown_seconds", "subtotals", "recharges", "surcharge"] {
            assert!(!is_amount(name), "{name}");
        }
    }
}
