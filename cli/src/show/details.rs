//! One thing with all its fields. Pure.

use serde_json::{Map, Value};

use super::list::rows;
use super::value::currency_of;
use super::{Show, text_of};

/// Name and value, a line each.
pub(crate) fn pairs(pairs: &[(String, String)], indent: usize) -> String {
    let width = pairs.iter().map(|(name, _)| name.chars().count()).max().unwrap_or_default();
    pairs.iter().map(|(name, value)| format!("{:indent$}{name:width$}  {value}\n", "")).collect()
}

/// Every line further to the right.
pub(crate) fn indented(text: &str, by: usize) -> String {
    text.lines().map(|line| if line.is_empty() { "\n".to_owned() } else { format!("{:by$}{line}\n", "") }).collect()
}

/// The fields that there are: those of `first` first, in this order; what is null is left out.
pub(crate) fn details(body: &Value, first: &[&str], show: &Show) -> String {
    fields(body, first, false, currency_of(body), show)
}

/// The same, with what is null.
pub(crate) fn full_details(body: &Value, first: &[&str], show: &Show) -> String {
    fields(body, first, true, currency_of(body), show)
}

fn fields(body: &Value, first: &[&str], nulls: bool, currency: Option<&str>, show: &Show) -> String {
    let Some(object) = body.as_object() else { return format!("{}\n", text_of("", body, currency, show)) };
    let (mut plain, mut nested) = (Vec::new(), String::new());
    for (name, value) in ordered(object, first) {
        let own = currency_of(value).or(currency);
        match value {
            Value::Null if !nulls => {}
            Value::Object(inner) if !inner.is_empty() => {
                nested.push_str(&format!("\n{name}\n{}", indented(&fields(value, first, nulls, own, show), 2)));
            }
            Value::Array(items) if items.iter().any(Value::is_object) => {
                nested.push_str(&format!("\n{name}\n{}", indented(&rows(items, currency, show), 2)));
            }
            Value::Array(items) if items.is_empty() && !nulls => {}
            value => plain.push((super::plain(name), text_of(name, value, currency, show))),
        }
    }
    pairs(&plain, 0) + &nested
}

fn ordered<'a>(object: &'a Map<String, Value>, first: &'a [&str]) -> impl Iterator<Item = (&'a str, &'a Value)> {
    let known = first.iter().filter_map(|name| Some((*name, object.get(*name)?)));
    known.chain(object.iter().map(|(name, value)| (name.as_str(), value)).filter(|(name, _)| !first.contains(name)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn everything_is_shown_the_known_first() {
        let body = json!({
            "zebra": 1, "quota": 5, "currency": "jpy", "gone": null, "none": [],
            "card": { "brand": "visa", "fee": 2 }, "parts": [{ "part": "ledger", "usage": 3 }], "odd": {},
        });
        let show = Show::plain_utc();
        assert_eq!(
            details(&body, &["quota"], &show),
            "quota     5 JPY\ncurrency  jpy\nodd       {}\nzebra     1\n\ncard\n  brand  visa\n  fee    2 JPY\n\nparts\n  \
             part    usage\n  ledger  3 JPY\n"
        );
        assert!(full_details(&body, &[], &show).contains("gone      -\n"));
        assert_eq!(details(&json!("x"), &[], &show), "x\n");
    }
}
