//! Texts with values in their places, of which some are emphasized and some are times. Pure.

use std::fmt;

use crate::console::moment::Moment;
use crate::pay::escape;

/// HTML that was made of escaped texts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Phrase(String);

impl askama::filters::HtmlSafe for Phrase {}

impl fmt::Display for Phrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What stands in the place of a name.
#[derive(Clone, Copy)]
pub(super) enum Value<'a> {
    /// A text, as it is.
    Plain(&'a str),
    /// A text that the sentence is about.
    Strong(&'a str),
    /// A text that somebody else wrote, in whatever direction.
    Foreign(&'a str),
    /// A time.
    At(Moment),
    /// Another phrase.
    Phrase(&'a Phrase),
}

/// A text with its values. A name without a value is left out, and a value is not looked into.
pub(super) fn phrase(text: &str, values: &[(&str, Value<'_>)]) -> Phrase {
    let mut html = String::with_capacity(text.len() * 2);
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        html.push_str(&escape(before));
        let Some((name, after)) = after.split_once('}') else { return Phrase(html) };
        if let Some((_, value)) = values.iter().find(|(have, _)| *have == name) {
            match value {
                Value::Plain(text) => html.push_str(&escape(text)),
                Value::Strong(text) => html.push_str(&format!("<strong>{}</strong>", escape(text))),
                Value::Foreign(text) => html.push_str(&format!("<bdi>{}</bdi>", escape(text))),
                Value::At(moment) => html.push_str(&moment.to_string()),
                Value::Phrase(phrase) => html.push_str(&phrase.0),
            }
        }
        rest = after;
    }
    html.push_str(&escape(rest));
    Phrase(html)
}

/// A text without values.
pub(super) fn plain(text: &str) -> Phrase {
    Phrase(escape(text))
}

impl Phrase {
    /// One phrase after the other.
    pub(super) fn then(self, next: &Self) -> Self {
        Self(self.0 + &next.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stand_in_their_places_and_nothing_gets_out_of_them() {
        let at: Moment = serde_json::from_str("\"2026-03-01T09:05:07Z\"").unwrap();
        let inner = phrase("<{a}>", &[("a", Value::Strong("\"1\""))]);
        let values = [
            ("a", Value::Plain("<b>{c}")),
            ("b", Value::Foreign("</bdi>")),
            ("c", Value::At(at)),
            ("d", Value::Phrase(&inner)),
        ];
        let said = phrase("1 & {a} {b} {d} {none}", &values).then(&phrase(" until {c}", &values)).then(&plain(" <"));
        assert_eq!(
            said.to_string(),
            format!(
                "1 &amp; &lt;b&gt;{{c}} <bdi>&lt;/bdi&gt;</bdi> &lt;<strong>&quot;1&quot;</strong>&gt;  until {at} &lt;"
            )
        );
        assert_eq!(phrase("open {a", &values).to_string(), "open ");
    }
}
