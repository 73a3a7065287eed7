//! Values as people write them on a command line. Pure.

use std::str::FromStr;

use chrono::{NaiveDate, NaiveTime, TimeDelta};
use common::clock::Timestamp;
use common::config::{Secret, parse_duration};
use common::ids::{EventId, OrganizationId};
use rust_decimal::Decimal;
use serde_json::Value;

/// Fields that are texts even where their value looks like a number.
const TEXTS: [&str; 4] = ["c_organization_id", "currency", "litellm_team_id", "target_basis"];

/// A moment: `2026-11-23T10:00:00Z`, `2026-11-23` (its beginning, in UTC), or a time away from now: `90d`, `12h`, `30m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    At(Timestamp),
    Away(TimeDelta),
}

impl Moment {
    /// The moment, where a time is one before now.
    pub(crate) fn before(self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::At(at) => Some(at),
            Self::Away(time) => now.checked_sub_signed(time),
        }
    }

    /// The moment, where a time is one after now.
    pub(crate) fn after(self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::At(at) => Some(at),
            Self::Away(time) => now.checked_add_signed(time),
        }
    }
}

impl FromStr for Moment {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(at) = chrono::DateTime::parse_from_rfc3339(text) {
            return Ok(Self::At(at.to_utc()));
        }
        if let Ok(day) = text.parse::<NaiveDate>() {
            return Ok(Self::At(day.and_time(NaiveTime::MIN).and_utc()));
        }
        // A bare number could be meant in any unit.
        let has_unit = text.ends_with(|c: char| c.is_ascii_alphabetic());
        let away = parse_duration(text).filter(|_| has_unit).and_then(|time| TimeDelta::from_std(time).ok());
        away.map(Self::Away).ok_or("write 2026-11-23T10:00:00Z, 2026-11-23, or a time such as 90d, 12h or 30m")
    }
}

/// One `key=value` of a change: numbers, `true`, `false` and `null` are such; anything else is a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Setting {
    pub(crate) key: String,
    pub(crate) value: Value,
}

impl FromStr for Setting {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (key, value) = text.split_once('=').ok_or("write key=value")?;
        if key.is_empty() {
            return Err("write key=value");
        }
        let read = serde_json::from_str::<Value>(value).ok();
        let value = match read {
            Some(Value::Null) => Value::Null,
            Some(read @ (Value::Bool(_) | Value::Number(_))) if !TEXTS.contains(&key) => read,
            _ => Value::String(value.to_owned()),
        };
        Ok(Self { key: key.to_owned(), value })
    }
}

/// An amount, exact.
pub(crate) fn amount(text: &str) -> Result<Decimal, String> {
    let amount = Decimal::from_str_exact(text).map_err(|_| "write an amount such as 25 or 25.50")?;
    if amount.is_sign_negative() { Err("must not be negative".to_owned()) } else { Ok(amount) }
}

pub(crate) fn organization(text: &str) -> Result<OrganizationId, String> {
    OrganizationId::parse(text).map_err(|error| error.to_string())
}

pub(crate) fn event(text: &str) -> Result<EventId, String> {
    EventId::parse(text).map_err(|error| error.to_string())
}

/// A word that becomes part of a path or a header.
pub(crate) fn word(text: &str) -> Result<String, &'static str> {
    let fits = !text.is_empty() && text.len() <= 255 && text.bytes().all(|byte| byte.is_ascii_graphic());
    if fits && ![".", ".."].contains(&text) { Ok(text.to_owned()) } else { Err("must be 1 to 255 ASCII characters") }
}

/// Never fails: an error would show the value.
pub(crate) fn secret(text: &str) -> Result<Secret, std::convert::Infallible> {
    Ok(Secret::new(text.trim()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn moments() {
        let now: Timestamp = "2026-11-23T10:00:00Z".parse().unwrap();
        let before = |text: &str| text.parse::<Moment>().map(|moment| moment.before(now).unwrap().to_rfc3339());
        assert_eq!(before("2026-11-01"), Ok("2026-11-01T00:00:00+00:00".to_owned()));
        assert_eq!(before("2026-11-01T12:00:00+02:00"), Ok("2026-11-01T10:00:00+00:00".to_owned()));
        assert_eq!(before("2d"), Ok("2026-11-21T10:00:00+00:00".to_owned()));
        assert_eq!("2h".parse::<Moment>().unwrap().after(now).unwrap().to_rfc3339(), "2026-11-23T12:00:00+00:00");
        assert_eq!("99999999999d".parse::<Moment>().unwrap().before(now), None);
        for bad in ["", "soon", "3", "2026-13-01", "d", "9999999999999999d"] {
            assert!(bad.parse::<Moment>().is_err(), "{bad}");
        }
    }

    #[test]
    fn settings() {
        let value = |text: &str| text.parse::<Setting>().map(|setting| setting.value);
        assert_eq!(value("target_balance=500.50").unwrap().to_string(), "500.50");
        assert_eq!(value("auto_recharge_enabled=false"), Ok(json!(false)));
        assert_eq!(value("max_daily_amount=null"), Ok(json!(null)));
        assert_eq!(value("litellm_team_id=123"), Ok(json!("123")));
        assert_eq!(value("litellm_team_id=null"), Ok(json!(null)));
        assert_eq!(value("target_basis=a=b"), Ok(json!("a=b")));
        assert!(value("x").is_err() && value("=1").is_err());
    }

    #[test]
    fn amounts_and_words() {
        assert_eq!(amount("25.50").unwrap().to_string(), "25.50");
        for bad in ["", "x", "-1", "1e3", "25,50"] {
            assert!(amount(bad).is_err(), "{bad}");
        }
        assert!(word("pm_card_visa").is_ok() && word("..").is_err() && word("a b").is_err() && word("").is_err());
    }
}
