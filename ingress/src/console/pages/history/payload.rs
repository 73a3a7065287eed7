//! What somebody sent, to be read by people. Pure.

use serde_json::Value;

/// So much of it is shown; all of it is in the API's answer.
const LONGEST: usize = 20_000;
/// So much of the value of one field.
const LONGEST_VALUE: usize = 300;

/// As JSON over several lines, in which no character changes the direction of what stands around it.
pub(super) fn pretty(payload: &Value) -> String {
    let text = serde_json::to_string_pretty(payload).unwrap_or_default();
    let mut shown = String::with_capacity(text.len());
    for character in text.chars().take(LONGEST) {
        match character {
            '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                shown.push_str(&format!("\\u{:04x}", u32::from(character)));
            }
            character => shown.push(character),
        }
    }
    if text.chars().nth(LONGEST).is_some() {
        shown.push_str("\n…");
    }
    shown
}

/// The value of one field, or its beginning.
pub(super) fn short(value: &Value) -> Option<String> {
    let text = match value {
        Value::Null => return None,
        Value::String(text) => text.clone(),
        Value::Object(_) | Value::Array(_) => pretty(value),
        other => other.to_string(),
    };
    let cut = text.char_indices().nth(LONGEST_VALUE).map(|(at, _)| at);
    Some(cut.map_or_else(|| text.clone(), |at| format!("{}…", &text[..at])))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn directions_are_written_out_and_the_end_is_cut() {
        assert_eq!(pretty(&json!({ "a": "x\u{202e}y" })), "{\n  \"a\": \"x\\u202ey\"\n}");
        let long = pretty(&json!("y".repeat(LONGEST)));
        assert!(long.ends_with("y\n…") && long.len() < LONGEST + 10);
        assert_eq!(short(&json!("a")), Some("a".to_owned()));
        assert_eq!(short(&json!("é".repeat(400))), Some(format!("{}…", "é".repeat(LONGEST_VALUE))));
        assert_eq!((short(&json!(null)), short(&json!(true))), (None, Some("true".to_owned())));
    }
}
