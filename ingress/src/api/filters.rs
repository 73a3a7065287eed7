//! What lists are narrowed by: words out of a few, times, parts of names. Pure; what can't be meant is refused with a
//! sentence that says what can.

use std::borrow::Cow;
use std::marker::PhantomData;

use chrono::DateTime;
use common::clock::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::http::{Problem, Query};

/// A parameter that is one of a few words.
pub(super) trait Choice {
    /// All of them.
    const WORDS: &'static [&'static str];
}

/// The schema of such a parameter.
pub(super) struct OneOf<T>(PhantomData<T>);

impl<T: Choice> JsonSchema for OneOf<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        T::WORDS.join("_or_").into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "enum": T::WORDS })
    }
}

fn wrong(error: impl Into<String>) -> Problem {
    Problem::bad_request("invalid_query", error)
}

/// The word that was chosen, if one was.
pub(super) fn choice<T: Choice>(query: &Query, name: &str) -> Result<Option<&'static str>, Problem> {
    let Some(given) = query.get(name) else { return Ok(None) };
    match T::WORDS.iter().find(|word| **word == given) {
        Some(word) => Ok(Some(word)),
        None => Err(wrong(format!("{name} must be one of {}", T::WORDS.join(", ")))),
    }
}

/// A switch that is off unless it is on.
pub(super) fn flag(query: &Query, name: &str) -> Result<bool, Problem> {
    match query.get(name) {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(wrong(format!("{name} must be true or false"))),
    }
}

/// A part of a name, as people type it.
pub(super) fn words<'a>(query: &'a Query, name: &str, longest: usize) -> Result<Option<&'a str>, Problem> {
    let fits = |text: &str| text.chars().count() <= longest && !text.chars().any(char::is_control);
    match query.get(name) {
        Some(text) if !fits(text) => {
            Err(wrong(format!("{name} must be a text of 1 to {longest} characters, without control characters")))
        }
        given => Ok(given),
    }
}

/// A moment.
pub(super) fn moment(query: &Query, name: &str) -> Result<Option<Timestamp>, Problem> {
    match query.get(name).map(DateTime::parse_from_rfc3339) {
        None => Ok(None),
        Some(Ok(moment)) => Ok(Some(moment.to_utc())),
        Some(Err(_)) => Err(wrong(format!("{name} must be an RFC 3339 time, such as 2025-07-17T10:00:00Z"))),
    }
}

/// A time between two moments, each of which may be open: from the first on, and before the second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Period {
    pub(super) from: Option<Timestamp>,
    pub(super) to: Option<Timestamp>,
}

impl Period {
    pub(super) fn read(query: &Query) -> Result<Self, Problem> {
        let (from, to) = (moment(query, "from")?, moment(query, "to")?);
        if from.zip(to).is_some_and(|(from, to)| from >= to) {
            return Err(wrong("from must be before to"));
        }
        Ok(Self { from, to })
    }
}

/// A dotted word such as `organization.changed`, or its beginning up to a dot.
pub(super) struct Dotted;

/// The longest of them.
const LONGEST_WORD: usize = 64;

impl Dotted {
    pub(super) fn read<'a>(query: &'a Query, name: &str) -> Result<Option<&'a str>, Problem> {
        let part = |part: &str| {
            !part.is_empty()
                && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        };
        match query.get(name) {
            Some(text) if text.len() > LONGEST_WORD || !text.split('.').all(part) => {
                Err(wrong(format!("{name} must be a word such as organization or organization.changed")))
            }
            given => Ok(given),
        }
    }
}

impl JsonSchema for Dotted {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Dotted".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string", "minLength": 1, "maxLength": LONGEST_WORD, "pattern": r"^[a-z0-9_]+(\.[a-z0-9_]+)*$",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Light;

    impl Choice for Light {
        const WORDS: &'static [&'static str] = &["red", "green"];
    }

    fn code<T>(read: Result<T, Problem>) -> Option<String> {
        read.err().map(|problem| problem.code().to_owned())
    }

    #[test]
    fn what_is_meant_is_read_and_the_rest_refused() {
        let query = Query::parse(
            "light=green&dark=blue&on=true&off=false&maybe=1&from=2026-03-01T00:00:00Z&to=2026-03-02T00:00:00%2B01:00&soon=tomorrow\
             &part=Ac%25_&odd=a%00&long=abcdef&action=organization&whole=organization.changed&bad=organization.&worse=Or-g",
        );
        assert_eq!(choice::<Light>(&query, "light").unwrap(), Some("green"));
        assert_eq!(choice::<Light>(&query, "absent").unwrap(), None);
        assert_eq!(["on", "off", "absent"].map(|name| flag(&query, name).unwrap()), [true, false, false]);
        assert_eq!(words(&query, "part", 5).unwrap(), Some("Ac%_"));
        let period = Period::read(&query).unwrap();
        assert_eq!((period.to.unwrap() - period.from.unwrap()).num_hours(), 23);
        assert_eq!(Period::read(&Query::default()).unwrap(), Period::default());
        for name in ["action", "whole"] {
            assert!(Dotted::read(&query, name).unwrap().is_some(), "{name}");
        }
        let refused = [
            code(choice::<Light>(&query, "dark")),
            code(flag(&query, "maybe")),
            code(moment(&query, "soon")),
            code(words(&query, "odd", 5)),
            code(words(&query, "long", 5)),
            code(Dotted::read(&query, "bad")),
            code(Dotted::read(&query, "worse")),
            code(Period::read(&Query::parse("from=2026-03-02T00:00:00Z&to=2026-03-02T00:00:00Z"))),
        ];
        assert!(refused.iter().all(|code| code.as_deref() == Some("invalid_query")), "{refused:?}");
    }
}
