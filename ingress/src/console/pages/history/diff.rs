//! What differs between two states of a thing. Pure.

use std::collections::BTreeSet;

use serde_json::Value;

use super::payload::short;
use crate::console::text::{Text, term};

/// A field that is not what it was.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) name: String,
    pub(super) before: Option<String>,
    pub(super) after: Option<String>,
}

/// Every field that differs. Of something new or gone, those that say something.
pub(super) fn differences(text: &Text, before: Option<&Value>, after: Option<&Value>) -> Vec<Difference> {
    let (Some(fields), true) = (names(before, after), before.is_some() || after.is_some()) else {
        let (before, after) = (before.and_then(short), after.and_then(short));
        let whole = Difference { name: text.history.whole.to_owned(), before, after };
        return if whole.before == whole.after { Vec::new() } else { vec![whole] };
    };
    let one = |name: &&str| {
        let of = |value: Option<&Value>| value.and_then(|value| value.get(*name)).and_then(short);
        let (before, after) = (of(before), of(after));
        (before != after).then(|| Difference { name: term(text.terms.fields, name).to_owned(), before, after })
    };
    // When it changed is the line's own time.
    fields.iter().filter(|name| **name != "updated_at").filter_map(one).collect()
}

/// The fields of both; none where one of them has no fields.
fn names<'a>(before: Option<&'a Value>, after: Option<&'a Value>) -> Option<BTreeSet<&'a str>> {
    let mut names = BTreeSet::new();
    for value in [before, after].into_iter().flatten() {
        names.extend(value.as_object()?.keys().map(String::as_str));
    }
    Some(names)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_differs_is_told() {
        let en = Text::of("en").unwrap();
        let told = |before: Value, after: Value| {
            let given = |value: &Value| !value.is_null();
            let found = differences(en, Some(&before).filter(|v| given(v)), Some(&after).filter(|v| given(v)));
            let words = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
            found
                .into_iter()
                .map(|d| format!("{}: {} > {}", d.name, words(d.before), words(d.after)))
                .collect::<Vec<_>>()
        };
        let before = json!({ "amount": 5, "odd": "x", "same": [1], "gone": true, "updated_at": "a" });
        let after = json!({ "amount": 7, "odd": "<b>", "same": [1], "updated_at": "b" });
        assert_eq!(told(before, after), ["Amount: 5 > 7", "gone: true > -", "odd: x > <b>"]);
        assert_eq!(told(json!(null), json!({ "amount": 1, "x": null })), ["Amount: - > 1"]);
        assert_eq!(told(json!("a"), json!("b")), [format!("{}: a > b", en.history.whole)]);
        assert!(told(json!(null), json!(null)).is_empty());
    }
}
