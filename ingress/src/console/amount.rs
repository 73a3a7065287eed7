//! Amounts as people read them. Pure.

use std::fmt;

use common::money::{Currency, decimal_from_json};
use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// An amount from an answer of the API, exact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Amount(pub(crate) Decimal);

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        decimal_from_json(&Value::deserialize(deserializer)?).map(Self).map_err(serde::de::Error::custom)
    }
}

/// As a number for forms: without a currency and without separators.
impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.normalize().fmt(f)
    }
}

impl Amount {
    /// With its currency, as `$1,234.50`.
    pub(crate) fn money(&self, currency: &Currency) -> String {
        let mut number = self.0.abs().normalize();
        if number.scale() < currency.digits() {
            number.rescale(currency.digits());
        }
        let digits = number.to_string();
        let (whole, rest) = digits.split_once('.').map_or((digits.as_str(), None), |(whole, rest)| (whole, Some(rest)));
        let rest = rest.map(|rest| format!(".{rest}")).unwrap_or_default();
        let sign = if self.0.is_sign_negative() && !self.0.is_zero() { "−" } else { "" };
        format!("{sign}{}{}{rest}", symbol(currency), grouped(whole))
    }

    /// The same with a plus before what is more than nothing.
    pub(crate) fn change(&self, currency: &Currency) -> String {
        let plus = if self.0 > Decimal::ZERO { "+" } else { "" };
        format!("{plus}{}", self.money(currency))
    }

    pub(crate) fn is_negative(&self) -> bool {
        self.0 < Decimal::ZERO
    }

    pub(crate) fn is_zero(&self) -> bool {
        self.0.is_zero()
    }
}

/// What stands before a number: a sign that means one currency only, else the currency's code.
pub(crate) fn symbol(currency: &Currency) -> String {
    match currency.code() {
        "usd" => "$".to_owned(),
        "eur" => "€".to_owned(),
        "gbp" => "£".to_owned(),
        "inr" => "₹".to_owned(),
        "krw" => "₩".to_owned(),
        "cny" => "CN¥".to_owned(),
        "jpy" => "JP¥".to_owned(),
        code => format!("{}\u{a0}", code.to_uppercase()),
    }
}

/// Digits in groups of three.
fn grouped(digits: &str) -> String {
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_as_people_read_them() {
        let read = |text: &str| serde_json::from_str::<Amount>(text).unwrap();
        let usd = Currency::USD;
        for (number, shown) in [
            ("0", "$0.00"),
            ("12.5", "$12.50"),
            ("1234567.891", "$1,234,567.891"),
            ("-5", "−$5.00"),
            ("-0.00", "$0.00"),
            ("\"100\"", "$100.00"),
            ("999", "$999.00"),
            ("1000", "$1,000.00"),
        ] {
            assert_eq!(read(number).money(&usd), shown, "{number}");
        }
        assert_eq!(read("1000").money(&"jpy".parse().unwrap()), "JP¥1,000");
        assert_eq!(read("1000").money(&"chf".parse().unwrap()), "CHF\u{a0}1,000.00");
        assert_eq!((read("5").change(&usd), read("-5").change(&usd)), ("+$5.00".to_owned(), "−$5.00".to_owned()));
        assert_eq!(read("250.00").to_string(), "250");
        assert!(serde_json::from_str::<Amount>("\"much\"").is_err());
    }
}
