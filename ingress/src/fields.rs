//! Reading a JSON object field by field, so that one answer names everything that is wrong with it. Pure.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use common::clock::Timestamp;
use common::ids::{OrganizationId, TeamId};
use common::money::{Currency, decimal_from_json};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use serde::Serialize;
use serde_json::{Map, Value};

/// What is wrong with one field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldProblem {
    /// The field.
    pub field: String,
    /// What is wrong, as the end of a sentence that begins with the field.
    pub problem: String,
}

/// What a reader of one value says.
pub type Read<T> = Result<T, String>;

/// An object that is being read.
pub struct Fields<'a> {
    object: &'a Map<String, Value>,
    known: BTreeSet<&'static str>,
    problems: Vec<FieldProblem>,
}

impl<'a> Fields<'a> {
    /// Begins to read an object.
    #[must_use]
    pub fn of(object: &'a Map<String, Value>) -> Self {
        Self { object, known: BTreeSet::new(), problems: Vec::new() }
    }

    /// A field that must be there. `None` when it is wrong; [`Self::finish`] then says so.
    pub fn required<T>(&mut self, name: &'static str, read: impl FnOnce(&Value) -> Read<T>) -> Option<T> {
        self.known.insert(name);
        match self.object.get(name) {
            None | Some(Value::Null) => {
                self.problem(name, "is missing");
                None
            }
            Some(value) => self.noted(name, read(value)),
        }
    }

    /// A field that may be absent; null counts as absent.
    pub fn optional<T>(&mut self, name: &'static str, read: impl FnOnce(&Value) -> Read<T>) -> Option<T> {
        self.known.insert(name);
        match self.object.get(name) {
            None | Some(Value::Null) => None,
            Some(value) => self.noted(name, read(value)),
        }
    }

    /// A field of a change where null takes the value away: absent is `None`, null is `Some(None)`.
    pub fn clearable<T>(&mut self, name: &'static str, read: impl FnOnce(&Value) -> Read<T>) -> Option<Option<T>> {
        self.known.insert(name);
        match self.object.get(name)? {
            Value::Null => Some(None),
            value => self.noted(name, read(value)).map(Some),
        }
    }

    /// Notes what is wrong with a field.
    pub fn problem(&mut self, name: &str, problem: impl Into<String>) {
        self.problems.push(FieldProblem { field: name.to_owned(), problem: problem.into() });
    }

    /// Fields that nobody asked for are problems too: a misspelt setting must not be ignored silently.
    pub fn refuse_unknown(&mut self) {
        for name in self.object.keys().filter(|name| !self.known.contains(name.as_str())) {
            let field = name.chars().take(64).collect();
            self.problems.push(FieldProblem { field, problem: "is not a known field".to_owned() });
        }
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// Everything that was wrong.
    pub fn finish(self) -> Result<(), Vec<FieldProblem>> {
        if self.problems.is_empty() { Ok(()) } else { Err(self.problems) }
    }

    fn noted<T>(&mut self, name: &str, read: Read<T>) -> Option<T> {
        read.map_err(|problem| self.problem(name, problem)).ok()
    }
}

/// A text without control characters, of at most `longest` characters.
pub fn text(longest: usize) -> impl FnOnce(&Value) -> Read<String> {
    move |value| match value.as_str() {
        Some(text) if !text.is_empty() && text.chars().count() <= longest && !text.chars().any(char::is_control) => {
            Ok(text.to_owned())
        }
        _ => Err(format!("must be a text of 1 to {longest} characters, without control characters")),
    }
}

/// True or false.
///
/// # Errors
/// When it is neither.
pub fn boolean(value: &Value) -> Read<bool> {
    value.as_bool().ok_or_else(|| "must be true or false".to_owned())
}

/// A whole number within a range; a text of digits counts too.
pub fn integer(range: RangeInclusive<i32>) -> impl FnOnce(&Value) -> Read<i32> {
    move |value| {
        let number = match value {
            // `5.0` is a whole number.
            Value::Number(_) => decimal(value).ok().filter(Decimal::is_integer).and_then(|number| number.to_i32()),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        number
            .filter(|number| range.contains(number))
            .ok_or_else(|| format!("must be a whole number from {} to {}", range.start(), range.end()))
    }
}

/// A number of a message in a stream or of a row in a table, from 0; `7.0` is one, too.
///
/// # Errors
/// When it is none.
pub fn position(value: &Value) -> Read<i64> {
    let decimal = || decimal_from_json(value).ok().filter(|number| value.is_number() && number.is_integer())?.to_i64();
    let number = value.as_i64().or_else(decimal).filter(|number| *number >= 0);
    number.ok_or_else(|| format!("must be a whole number from 0 to {}", i64::MAX))
}

/// The most that any amount or spend may be: far beyond every quota, and far from what a decimal can't hold.
const LARGEST: Decimal = Decimal::from_parts(0xA4C6_8000, 0x0003_8D7E, 0, false, 0);

/// A decimal number of zero or more, given as a number or as a text.
///
/// # Errors
/// When it is none.
pub fn decimal(value: &Value) -> Read<Decimal> {
    let wrong = || "must be a decimal number of at least 0 and at most 1000000000000000".to_owned();
    // Texts go through the same narrow gate as JSON numbers: no underscores, no words.
    if value
        .as_str()
        .is_some_and(|text| !text.trim().bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte)))
    {
        return Err(wrong());
    }
    let number = decimal_from_json(value).map_err(|_| wrong())?;
    if number.is_sign_negative() && !number.is_zero() || number > LARGEST { Err(wrong()) } else { Ok(number) }
}

/// An organization's id.
///
/// # Errors
/// When it is none.
pub fn organization_id(value: &Value) -> Read<OrganizationId> {
    parsed(value, OrganizationId::PATTERN)
}

/// A team's id.
///
/// # Errors
/// When it is none.
pub fn team_id(value: &Value) -> Read<TeamId> {
    parsed(value, TeamId::PATTERN)
}

fn parsed<T: std::str::FromStr>(value: &Value, pattern: &str) -> Read<T> {
    value.as_str().and_then(|text| text.parse().ok()).ok_or_else(|| format!("must be a text that matches {pattern}"))
}

/// A currency.
///
/// # Errors
/// When it is none.
pub fn currency(value: &Value) -> Read<Currency> {
    value
        .as_str()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| "must be a three-letter ISO 4217 code, such as usd".to_owned())
}

/// A moment.
///
/// # Errors
/// When it is none.
pub fn timestamp(value: &Value) -> Read<Timestamp> {
    value
        .as_str()
        .and_then(|text| chrono::DateTime::parse_from_rfc3339(text).ok())
        .map(|moment| moment.to_utc())
        .ok_or_else(|| "must be an RFC 3339 time, such as 2025-07-17T10:00:00Z".to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_may_be_texts_and_are_exact() {
        for (value, want) in [
            ("520", "520"),
            ("520.10", "520.10"),
            ("\"520.1\"", "520.1"),
            ("5.2e2", "520"),
            ("0.8700000000000006", "0.8700000000000006"),
            ("1e15", "1000000000000000"),
            ("-0", "0"),
        ] {
            let value: Value = serde_json::from_str(value).unwrap();
            assert_eq!(decimal(&value), Ok(want.parse().unwrap()), "{value}");
        }
        for bad in [
            "-1",
            "1000000000000001",
            "1e400",
            "1e-400",
            "\"\"",
            "\"1_000\"",
            "\"NaN\"",
            "true",
            "null",
            "[]",
            "{}",
            "\"1,5\"",
        ] {
            let value: Value = serde_json::from_str(bad).unwrap();
            assert!(decimal(&value).is_err(), "{bad}");
        }
    }

    #[test]
    fn positions() {
        for (value, want) in [
            ("0", 0),
            ("7", 7),
            ("7.0", 7),
            ("2251799813685248.0", 2_251_799_813_685_248),
            ("9223372036854775807", i64::MAX),
        ] {
            assert_eq!(position(&serde_json::from_str(value).unwrap()), Ok(want), "{value}");
        }
        for bad in ["-1", "7.5", "9223372036854775808", "\"7\"", "null", "1e300", "[]"] {
            assert!(position(&serde_json::from_str(bad).unwrap()).is_err(), "{bad}");
        }
    }

    #[test]
    fn everything_that_is_wrong_is_named_at_once() {
        let value = json!({ "a": 1, "b": "x", "extra": 1, "n": null });
        let mut fields = Fields::of(value.as_object().unwrap());
        assert_eq!(fields.required("a", integer(0..=5)), Some(1));
        assert_eq!(fields.required("b", boolean), None);
        assert_eq!(fields.required("c", text(5)), None);
        assert_eq!(fields.clearable("n", decimal), Some(None));
        assert_eq!(fields.clearable("m", decimal), None);
        fields.refuse_unknown();
        let names: Vec<_> = fields.finish().unwrap_err().into_iter().map(|problem| problem.field).collect();
        assert_eq!(names, ["b", "c", "extra"]);
    }

    proptest! {
        #[test]
        fn no_number_panics(text in r"-?[0-9]{1,40}(\.[0-9]{1,40})?([eE][-+]?[0-9]{1,12})?") {
            if let Ok(value) = serde_json::from_str::<Value>(&text) {
                let _ = decimal(&value);
                let _ = integer(0..=5)(&value);
            }
            let _ = decimal(&Value::String(text));
        }

        #[test]
        fn no_text_panics(given in ".{0,80}") {
            let value = Value::String(given);
            let _ = (decimal(&value), boolean(&value), organization_id(&value), team_id(&value), currency(&value), timestamp(&value));
            let _ = text(10)(&value);
        }
    }
}
