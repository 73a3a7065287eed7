//! What people need to see of dead letters to judge them. Pure.

use std::collections::BTreeMap;

use common::clock::Timestamp;
use common::dead_letters::DeadLetter;
use serde_json::Value;

use super::view::GroupView;

/// How much of a body that is not JSON is shown in a list.
const TEXT: usize = 2 * 1024;
/// A JSON body up to this size is shown whole in a list; a longer one as the beginning of its text.
const JSON: usize = 8 * 1024;
/// How much of an error makes a group.
const ERROR: usize = 300;

/// The body as JSON if it is some, else the beginning of its text, with what is no text replaced.
pub(crate) fn preview(body: &[u8]) -> Value {
    if body.len() <= JSON
        && let Ok(value) = serde_json::from_slice(body)
    {
        return value;
    }
    Value::String(lossy(&body[..body.len().min(TEXT)]))
}

/// The whole body, the same way.
pub(crate) fn body_in_full(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap_or_else(|_| Value::String(lossy(body)))
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The letters by service, reason and error, most frequent first: one cause is usually one group.
pub(crate) fn grouped(letters: &[DeadLetter]) -> Vec<GroupView> {
    let mut groups: BTreeMap<(&str, &str, String), Group> = BTreeMap::new();
    for letter in letters {
        let key = (letter.service.as_str(), letter.reason.as_str(), normalized(&letter.error));
        groups.entry(key).and_modify(|group| group.add(letter)).or_insert_with(|| Group {
            count: 1,
            oldest: letter.parked_at,
            newest: letter.parked_at,
            sequences: vec![letter.sequence],
        });
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by_key(|(_, group)| std::cmp::Reverse(group.count));
    let shown = groups.into_iter().map(|((service, reason, error), group)| GroupView {
        service: service.to_owned(),
        reason: reason.to_owned(),
        error,
        count: group.count,
        oldest: group.oldest,
        newest: group.newest,
        sequences: group.sequences,
    });
    shown.collect()
}

struct Group {
    count: u64,
    oldest: Timestamp,
    newest: Timestamp,
    sequences: Vec<u64>,
}

impl Group {
    fn add(&mut self, letter: &DeadLetter) {
        self.count += 1;
        self.oldest = self.oldest.min(letter.parked_at);
        self.newest = self.newest.max(letter.parked_at);
        self.sequences.push(letter.sequence);
    }
}

/// An error without what differs from message to message: every word of four or more characters with a digit in it (an
/// id, a time, an amount) becomes `#`. A short one stays: `v1` and `500` tell kinds of errors apart.
fn normalized(error: &str) -> String {
    let mut text = String::new();
    let mut word = String::new();
    let end = |word: &mut String, text: &mut String| {
        let id = word.chars().count() >= 4 && word.bytes().any(|byte| byte.is_ascii_digit());
        text.push_str(if id { "#" } else { word });
        word.clear();
    };
    for c in error.chars().take(ERROR) {
        if c.is_alphanumeric() || matches!(c, '_' | '-') {
            word.push(c);
        } else {
            end(&mut word, &mut text);
            text.push(c);
        }
    }
    end(&mut word, &mut text);
    text
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn letter(sequence: u64, service: &str, error: &str) -> DeadLetter {
        DeadLetter {
            sequence,
            service: service.to_owned(),
            subject: "recharges.charged.acme".to_owned(),
            reason: "malformed".to_owned(),
            error: error.to_owned(),
            stream: "RECHARGES".to_owned(),
            stream_sequence: Some(1),
            attempts: Some(1),
            message_id: None,
            traceparent: None,
            organization: None,
            parked_at: Timestamp::from_timestamp(i64::try_from(sequence).unwrap(), 0).unwrap(),
            body: Bytes::new(),
        }
    }

    #[test]
    fn errors_that_differ_in_ids_are_one() {
        assert_eq!(normalized("recharge 0d3c1e3e-6a55-5a6f-9c37-0c8b6f0a3f11 is gone"), "recharge # is gone");
        assert_eq!(
            normalized("Stripe answered 500: no such pi_1Abc (request req_99xyz)"),
            "Stripe answered 500: no such # (request #)"
        );
        assert_eq!(normalized("not a bill.recharge.charged.v1"), "not a bill.recharge.charged.v1");
        let letters =
            [letter(1, "ledger", "gone: abc-0001"), letter(2, "syncer", "x"), letter(3, "ledger", "gone: abc-0002")];
        let groups = json!(grouped(&letters));
        assert_eq!(groups.as_array().unwrap().len(), 2, "{groups}");
        assert_eq!(
            (&groups[0]["service"], &groups[0]["count"], &groups[0]["error"]),
            (&json!("ledger"), &json!(2), &json!("gone: #"))
        );
        assert_eq!(
            (&groups[0]["oldest"], &groups[0]["newest"]),
            (&json!(letters[0].parked_at), &json!(letters[2].parked_at))
        );
        assert_eq!(groups[0]["sequences"], json!([1, 3]));
    }

    #[test]
    fn bodies() {
        assert_eq!(preview(br#"{"a":1}"#), json!({ "a": 1 }));
        assert_eq!(preview(b"\xffabc"), json!("\u{FFFD}abc"));
        assert_eq!(preview(&[b'x'; 5_000]).as_str().map(str::len), Some(TEXT));
        let long = format!("[{}1]", "1,".repeat(8_000));
        assert_eq!(preview(long.as_bytes()).as_str().map(str::len), Some(TEXT));
        assert!(body_in_full(long.as_bytes()).is_array());
    }

    proptest! {
        #[test]
        fn nothing_panics(error in "\\PC{0,400}", body in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = normalized(&error);
            let _ = (preview(&body), body_in_full(&body));
        }
    }
}
