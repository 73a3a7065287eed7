//! A sender's JSON as it may travel on: what no JSON reader minds, PostgreSQL's `jsonb` and the readers behind the
//! broker do, and a webhook that is answered with 200 must not get stuck there. Pure.

use common::money::decimal_from_json;
use serde_json::{Map, Value};

/// Deeper values become texts. The event wraps the body in two more levels, and readers stop at 128.
const DEEPEST: usize = 32;

/// The same value, except: U+0000 in texts becomes U+FFFD, numbers that no decimal holds and values that are nested
/// too deeply become texts.
#[must_use]
pub fn storable(value: Value) -> Value {
    below(value, 0)
}

fn below(value: Value, depth: usize) -> Value {
    match value {
        Value::String(text) => Value::String(clean(text)),
        Value::Number(_) if decimal_from_json(&value).is_err() => Value::String(value.to_string()),
        Value::Array(_) | Value::Object(_) if depth >= DEEPEST => Value::String(clean(value.to_string())),
        Value::Array(items) => Value::Array(items.into_iter().map(|item| below(item, depth + 1)).collect()),
        Value::Object(fields) => {
            let fields: Map<_, _> =
                fields.into_iter().map(|(name, field)| (clean(name), below(field, depth + 1))).collect();
            Value::Object(fields)
        }
        other => other,
    }
}

/// U+0000 is the one character that PostgreSQL does not store.
fn clean(text: String) -> String {
    if text.contains('\0') { text.replace('\0', "\u{FFFD}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_stored_becomes_what_can() {
        let given = r#"{"a":"x\u0000y","n\u0000":1,"big":1e999999,"fine":0.8700000000000006,"list":[null,true,"é"]}"#;
        let got = storable(serde_json::from_str(given).unwrap());
        let want = r#"{"a":"x�y","big":"1e+999999","fine":0.8700000000000006,"list":[null,true,"é"],"n�":1}"#;
        let text = got.to_string();
        assert!(text == want || text == want.replace("e+", "e"), "{text}");
    }

    #[test]
    fn deep_nesting_ends() {
        let given = format!("{}1{}", "[".repeat(120), "]".repeat(120));
        let got = storable(serde_json::from_str(&given).unwrap()).to_string();
        assert_eq!(got.find('"'), Some(DEEPEST));
        assert_eq!(got.matches('[').count(), 120);
    }
}
