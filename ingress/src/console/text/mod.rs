//! Every word that the console says, in one place per language: `en/` and `zh/`, with the same files and the same names.
//! Names without a text do not compile; that the two say things of the same shape, a test looks at.
//!
//! A text may have places for values, as `{amount}`; [`fill`] puts them in as text, [`rich`] emphasizes them.

pub(crate) mod common;
mod en;
pub(crate) mod history;
pub(crate) mod operator;
pub(crate) mod organization;
pub(crate) mod terms;
mod zh;

use std::fmt;

use warp::http::header::ACCEPT_LANGUAGE;

use super::cookie;
use crate::http::Request;

/// A group of texts: a struct of names, and in tests a list of them.
macro_rules! texts {
    ($(#[$meta:meta])* $name:ident { $($field:ident),* $(,)? }) => {
        $(#[$meta])*
        pub(crate) struct $name { $(pub(crate) $field: &'static str),* }

        #[cfg(test)]
        impl $name {
            pub(crate) fn each(&self) -> Vec<(&'static str, &'static str)> {
                vec![$((stringify!($field), self.$field)),*]
            }
        }
    };
}
pub(crate) use texts;

/// Words for the API's words: what it says, and how that is said to people.
pub(crate) type Terms = &'static [(&'static str, &'static str)];

/// The cookie with the language that somebody chose.
pub(crate) const COOKIE: &str = "bill_language";

/// A language.
pub(crate) struct Text {
    /// Its code, for `lang` attributes.
    pub(crate) code: &'static str,
    pub(crate) common: common::Common,
    pub(crate) terms: terms::Vocabulary,
    pub(crate) organization: organization::Organization,
    pub(crate) history: history::History,
    pub(crate) operator: operator::Operator,
}

impl Text {
    /// The language that is chosen, or else preferred by the browser, as far as it is one of ours.
    pub(crate) fn chosen(request: &Request) -> &'static Self {
        let chosen = cookie::find(&request.headers, COOKIE).and_then(Self::of);
        let preferred = || request.header(ACCEPT_LANGUAGE.as_str()).and_then(preferred);
        chosen.or_else(preferred).unwrap_or(&en::TEXT)
    }

    /// The language with this code, in any of its forms (`zh`, `zh-CN`).
    pub(crate) fn of(code: &str) -> Option<&'static Self> {
        match code.split(['-', '_']).next().unwrap_or_default().to_ascii_lowercase().as_str() {
            "en" => Some(&en::TEXT),
            "zh" => Some(&zh::TEXT),
            _ => None,
        }
    }
}

/// The best language of an `Accept-Language` header that is one of ours.
fn preferred(header: &str) -> Option<&'static Text> {
    let weighed = header.split(',').filter_map(|part| {
        let (code, weight) = part.split_once(';').unwrap_or((part, "q=1"));
        let text = Text::of(code.trim())?;
        // Thousandths, as the header has at most.
        let weight = weight.trim().strip_prefix("q=")?;
        let (whole, thousandths) = weight.split_once('.').unwrap_or((weight, ""));
        let thousandths = format!("{thousandths:0<3}").get(..3)?.parse::<u32>().ok()?;
        Some((whole.parse::<u32>().ok()?.min(1) * 1_000 + thousandths, text))
    });
    // Of equals, the first is meant.
    let best =
        weighed.filter(|(weight, _)| *weight > 0).reduce(|best, other| if other.0 > best.0 { other } else { best });
    best.map(|(_, text)| text)
}

/// The words for a word of the API; the word itself where there are none.
pub(crate) fn term(terms: Terms, word: &str) -> &str {
    terms.iter().find(|(have, _)| *have == word).map_or(word, |(_, says)| says)
}

/// A text with values in the places of their names.
pub(crate) fn fill(text: &str, values: &[(&str, &str)]) -> String {
    pieces(text, values).into_iter().map(|(piece, _)| piece).collect()
}

/// A text with emphasized values in the places of their names, as HTML.
pub(crate) fn rich(text: &str, values: &[(&str, &str)]) -> Rich {
    let piece = |(piece, is_value): (&str, bool)| {
        let piece = crate::pay::escape(piece);
        if is_value { format!("<strong>{piece}</strong>") } else { piece }
    };
    Rich(pieces(text, values).into_iter().map(piece).collect())
}

/// HTML that was made of escaped texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rich(String);

impl askama::filters::HtmlSafe for Rich {}

impl fmt::Display for Rich {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text in pieces, and whether each is a value. A value is not looked into: what stands in it, stays.
fn pieces<'a>(text: &'a str, values: &[(&str, &'a str)]) -> Vec<(&'a str, bool)> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        found.push((before, false));
        let Some((name, after)) = after.split_once('}') else { return found };
        let value = values.iter().find(|(have, _)| *have == name).map_or("", |(_, value)| value);
        found.push((value, true));
        rest = after;
    }
    found.push((rest, false));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(text: &str) -> Vec<&str> {
        let mut places: Vec<_> = text.split('{').skip(1).filter_map(|rest| rest.split('}').next()).collect();
        places.sort_unstable();
        places.dedup();
        places
    }

    fn same_shape(group: &str, en: Vec<(&'static str, &'static str)>, zh: Vec<(&'static str, &'static str)>) {
        assert_eq!(en.len(), zh.len(), "{group}");
        for ((name, en), (other, zh)) in en.into_iter().zip(zh) {
            assert_eq!(name, other, "{group}: in the same order");
            assert!(!en.is_empty() && !zh.is_empty(), "{group}.{name} is empty");
            assert_eq!(places(en), places(zh), "{group}.{name}: {en} / {zh}");
        }
    }

    #[test]
    fn both_languages_say_the_same_things() {
        let (en, zh) = (&en::TEXT, &zh::TEXT);
        same_shape("common", en.common.each(), zh.common.each());
        same_shape("organization", en.organization.each(), zh.organization.each());
        same_shape("history", en.history.each(), zh.history.each());
        same_shape("operator", en.operator.each(), zh.operator.each());
        for ((name, en), (other, zh)) in en.terms.each().into_iter().zip(zh.terms.each()) {
            assert_eq!(name, other);
            same_shape(name, en.to_vec(), zh.to_vec());
        }
    }

    #[test]
    fn the_language_is_the_browsers_best() {
        for (header, code) in [
            ("zh-CN,zh;q=0.9,en;q=0.8", Some("zh")),
            ("en-US,en;q=0.9,zh;q=0.8", Some("en")),
            ("de-DE,de;q=0.9,zh;q=0.5,en;q=0.4", Some("zh")),
            ("en;q=0, zh;q=0.001", Some("zh")),
            ("fr", None),
            ("", None),
            ("zh;q=x,en;q=0.5.5", None),
        ] {
            assert_eq!(preferred(header).map(|text| &text.code[..2]), code, "{header}");
        }
    }

    #[test]
    fn values_are_put_in_as_they_are() {
        let values = [("a", "<b>{c}"), ("c", "x")];
        assert_eq!(fill("1 {a} 2 {c} {none}", &values), "1 <b>{c} 2 x ");
        assert_eq!(rich("1 & {a}", &values).to_string(), "1 &amp; <strong>&lt;b&gt;{c}</strong>");
        assert_eq!((fill("open {a", &values), fill("plain", &[])), ("open ".to_owned(), "plain".to_owned()));
        assert_eq!((term(&[("a", "A")], "a"), term(&[("a", "A")], "b")), ("A", "b"));
    }
}
