//! Exact money: integer minor units of a currency. There are no floats anywhere near it.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use rust_decimal::Decimal;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// Why a value is not an amount of money.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// Not a three-letter code.
    #[error("currency must be a three-letter ISO 4217 code, such as usd")]
    Currency,
    /// More decimals than the currency has.
    #[error("{amount} has more decimals than {currency} allows ({digits})")]
    Precision {
        /// What was given.
        amount: Decimal,
        /// The currency.
        currency: Currency,
        /// How many decimals it has.
        digits: u32,
    },
    /// Outside what can be booked.
    #[error("the amount is too large")]
    Range,
    /// Not a number at all.
    #[error("not a decimal number")]
    NotANumber,
}

/// An ISO 4217 currency in lower case, as Stripe writes it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Currency([u8; 3]);

/// Currencies without minor units at Stripe. ISK and UGX are sent with two decimals there.
/// Source: Stripe's documentation, "Zero-decimal currencies".
pub const ZERO_DECIMAL: [&str; 15] =
    ["bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "vnd", "vuv", "xaf", "xof", "xpf"];
/// Currencies with three decimals, of which the last must be 0. Source: as above, "Three-decimal currencies".
pub const THREE_DECIMAL: [&str; 5] = ["bhd", "jod", "kwd", "omr", "tnd"];

impl Currency {
    /// US dollar.
    pub const USD: Self = Self(*b"usd");

    /// The code in lower case.
    #[must_use]
    pub fn code(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("???")
    }

    /// How many decimals an amount has.
    #[must_use]
    pub fn digits(self) -> u32 {
        if ZERO_DECIMAL.contains(&self.code()) {
            0
        } else if THREE_DECIMAL.contains(&self.code()) {
            3
        } else {
            2
        }
    }

    /// The smallest step of an amount that can be charged, in minor units (10 for three-decimal currencies).
    #[must_use]
    pub fn step(self) -> i64 {
        if self.digits() == 3 { 10 } else { 1 }
    }

    /// The least that can be charged, in minor units. Source: Stripe's documentation, "Minimum and maximum charge
    /// amounts". For currencies that it does not list, one minor unit: Stripe then has the last word.
    #[must_use]
    pub fn minimum_charge(self) -> i64 {
        match self.code() {
            "usd" | "eur" | "aud" | "brl" | "cad" | "chf" | "inr" | "nzd" | "sgd" => 50,
            "gbp" => 30,
            "jpy" => 50,
            "hkd" => 400,
            "dkk" => 250,
            "nok" | "sek" => 300,
            "mxn" => 1000,
            "pln" => 200,
            "aed" => 200,
            "czk" => 1500,
            "huf" => 17500,
            "myr" => 200,
            "ron" => 200,
            "thb" => 1000,
            _ => 1,
        }
    }

    /// The most that can be charged, in minor units: Stripe takes at most eight digits.
    #[must_use]
    pub fn maximum_charge(self) -> i64 {
        99_999_999
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}
impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}
impl FromStr for Currency {
    type Err = MoneyError;
    fn from_str(text: &str) -> Result<Self, MoneyError> {
        let bytes: [u8; 3] = text.as_bytes().try_into().map_err(|_| MoneyError::Currency)?;
        if !bytes.iter().all(u8::is_ascii_alphabetic) {
            return Err(MoneyError::Currency);
        }
        Ok(Self(bytes.map(|b| b.to_ascii_lowercase())))
    }
}
impl TryFrom<String> for Currency {
    type Error = MoneyError;
    fn try_from(text: String) -> Result<Self, MoneyError> {
        text.parse()
    }
}
impl From<Currency> for String {
    fn from(currency: Currency) -> Self {
        currency.code().to_owned()
    }
}
impl JsonSchema for Currency {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Currency".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[a-z]{3}$", "description": "ISO 4217, lower case" })
    }
}

/// An amount of money. In JSON `{"amount":"100.00","currency":"usd"}`: a string, so that no reader rounds it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "MoneyJson", into = "MoneyJson")]
pub struct Money {
    /// The amount in minor units (cents, for dollars).
    pub minor: i64,
    /// What it is an amount of.
    pub currency: Currency,
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct MoneyJson {
    /// Decimal number with the currency's decimals
    #[schemars(regex(pattern = r"^-?[0-9]+(\.[0-9]+)?$"))]
    amount: String,
    currency: Currency,
}

impl Money {
    /// So many minor units.
    #[must_use]
    pub const fn new(minor: i64, currency: Currency) -> Self {
        Self { minor, currency }
    }

    /// Nothing.
    #[must_use]
    pub const fn zero(currency: Currency) -> Self {
        Self::new(0, currency)
    }

    /// An exact decimal as money.
    ///
    /// # Errors
    /// When it has more decimals than the currency, or is too large.
    pub fn from_decimal(amount: Decimal, currency: Currency) -> Result<Self, MoneyError> {
        let digits = currency.digits();
        let amount = amount.normalize();
        if amount.scale() > digits {
            return Err(MoneyError::Precision { amount, currency, digits });
        }
        let factor = Decimal::from(10_i64.pow(digits));
        let minor = amount.checked_mul(factor).ok_or(MoneyError::Range)?;
        Ok(Self::new(i64::try_from(minor).map_err(|_| MoneyError::Range)?, currency))
    }

    /// A decimal as money, rounded up to the next minor unit: what covers a gap that was measured more finely.
    ///
    /// # Errors
    /// When it is too large.
    pub fn covering(amount: Decimal, currency: Currency) -> Result<Self, MoneyError> {
        let digits = currency.digits();
        let rounded = amount.round_dp_with_strategy(digits, rust_decimal::RoundingStrategy::ToPositiveInfinity);
        Self::from_decimal(rounded, currency)
    }

    /// The amount as an exact decimal with the currency's decimals.
    #[must_use]
    pub fn to_decimal(self) -> Decimal {
        Decimal::new(self.minor, self.currency.digits())
    }

    /// The amount as a JSON number with the currency's decimals, such as `100.00`.
    #[must_use]
    pub fn to_number(self) -> serde_json::Number {
        decimal_to_number(self.to_decimal())
    }

    /// Adds, if both are of one currency and the sum can be held.
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        let sum = self.minor.checked_add(other.minor)?;
        (self.currency == other.currency).then_some(Self::new(sum, self.currency))
    }
}

/// An exact decimal as a JSON number.
#[must_use]
pub fn decimal_to_number(decimal: Decimal) -> serde_json::Number {
    serde_json::from_str(&decimal.to_string()).unwrap_or_else(|_| serde_json::Number::from(0))
}

/// Reads an exact decimal from a JSON number or a string, never through a float.
///
/// # Errors
/// [`MoneyError::NotANumber`] for anything else, or for what a decimal can't hold exactly.
pub fn decimal_from_json(value: &serde_json::Value) -> Result<Decimal, MoneyError> {
    let text = match value {
        serde_json::Value::Number(number) => number.to_string(),
        serde_json::Value::String(text) => text.trim().to_owned(),
        _ => return Err(MoneyError::NotANumber),
    };
    // The library takes `1_000`, which no sender of JSON means as a number.
    if text.contains('_') {
        return Err(MoneyError::NotANumber);
    }
    let parsed =
        if text.contains(['e', 'E']) { Decimal::from_scientific(&text) } else { Decimal::from_str_exact(&text) };
    parsed.map_err(|_| MoneyError::NotANumber)
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.to_decimal(), self.currency)
    }
}
impl fmt::Debug for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
impl TryFrom<MoneyJson> for Money {
    type Error = MoneyError;
    fn try_from(json: MoneyJson) -> Result<Self, MoneyError> {
        let amount = Decimal::from_str_exact(&json.amount).map_err(|_| MoneyError::NotANumber)?;
        Self::from_decimal(amount, json.currency)
    }
}
impl From<Money> for MoneyJson {
    fn from(money: Money) -> Self {
        Self { amount: money.to_decimal().to_string(), currency: money.currency }
    }
}
impl JsonSchema for Money {
    fn schema_name() -> Cow<'static, str> {
        "Money".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        MoneyJson::json_schema(generator)
    }
}

/// What the customer pays on top of the quota, so that the processor's cost is covered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FeePolicy {
    /// The processor's share of the total, in hundredths of a percent.
    pub bps: u32,
    /// The processor's fixed cost per charge, in minor units.
    pub fixed: i64,
}

impl FeePolicy {
    /// The total to charge so that `amount` is left after the processor's cost: `ceil((amount + fixed)·10000 / (10000 −
    /// bps))`, rounded up to what the currency allows. `None` when it can't be held, or at 100 % and more.
    #[must_use]
    pub fn total_for(self, amount: Money) -> Option<Money> {
        let share = 10_000_i64.checked_sub(i64::from(self.bps)).filter(|share| *share > 0)?;
        let numerator = amount.minor.checked_add(self.fixed)?.checked_mul(10_000)?;
        let total = ceil_div(numerator, share);
        let step = amount.currency.step();
        Some(Money::new(ceil_div(total, step).checked_mul(step)?, amount.currency))
    }
}

fn ceil_div(numerator: i64, denominator: i64) -> i64 {
    numerator.div_euclid(denominator) + i64::from(numerator.rem_euclid(denominator) != 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn dec(text: &str) -> Decimal {
        Decimal::from_str_exact(text).unwrap()
    }

    #[test]
    fn money_is_exact_in_every_kind_of_currency() {
        let jpy: Currency = "JPY".parse().unwrap();
        let kwd: Currency = "kwd".parse().unwrap();
        assert_eq!(Money::from_decimal(dec("100"), Currency::USD).unwrap().minor, 10_000);
        assert_eq!(Money::from_decimal(dec("0.10"), Currency::USD).unwrap().to_string(), "0.10 usd");
        assert_eq!(Money::from_decimal(dec("500"), jpy).unwrap().minor, 500);
        assert_eq!(Money::from_decimal(dec("1.230"), kwd).unwrap().minor, 1_230);
        assert!(matches!(Money::from_decimal(dec("0.001"), Currency::USD), Err(MoneyError::Precision { .. })));
        assert!(matches!(Money::from_decimal(dec("0.5"), jpy), Err(MoneyError::Precision { .. })));
        assert_eq!(Money::covering(dec("20.001"), Currency::USD).unwrap().minor, 2_001);
    }

    #[test]
    fn json_keeps_every_digit() {
        let money = Money::new(10_000, Currency::USD);
        assert_eq!(serde_json::to_string(&money).unwrap(), r#"{"amount":"100.00","currency":"usd"}"#);
        assert_eq!(serde_json::from_str::<Money>(r#"{"amount":"100","currency":"usd"}"#).unwrap(), money);
        assert_eq!(serde_json::to_string(&money.to_number()).unwrap(), "100.00");
        let cases = [("0.1", "0.1"), ("\"2.50\"", "2.50"), ("1e2", "100"), ("-3", "-3")];
        for (json, want) in cases {
            let value: serde_json::Value = serde_json::from_str(json).unwrap();
            assert_eq!(decimal_from_json(&value).unwrap(), dec(want), "{json}");
        }
        for bad in ["true", "null", "\"\"", "\"1,5\"", "\"1_000\"", "1e400", "[1]", "\"NaN\""] {
            let value: serde_json::Value = serde_json::from_str(bad).unwrap();
            assert!(decimal_from_json(&value).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_fee_covers_the_processors_cost() {
        let tariff = FeePolicy { bps: 290, fixed: 30 };
        assert_eq!(tariff.total_for(Money::new(2_500, Currency::USD)).unwrap().minor, 2_606);
        assert_eq!(FeePolicy::default().total_for(Money::new(2_500, Currency::USD)).unwrap().minor, 2_500);
        let kwd: Currency = "kwd".parse().unwrap();
        assert_eq!(tariff.total_for(Money::new(10_000, kwd)).unwrap().minor % 10, 0);
        assert_eq!(FeePolicy { bps: 10_000, fixed: 0 }.total_for(Money::new(1, Currency::USD)), None);
    }

    proptest! {
        #[test]
        fn never_short_and_at_most_one_unit_over(goal in 50_i64..99_999_999, bps in 0_u32..2_000, fixed in 0_i64..500) {
            let total = FeePolicy { bps, fixed }.total_for(Money::new(goal, Currency::USD)).unwrap().minor;
            let left = |total: i64| total * 10_000 - total * i64::from(bps) - fixed * 10_000;
            prop_assert!(left(total) >= goal * 10_000);
            prop_assert!(left(total - 1) < goal * 10_000);
        }

        #[test]
        fn decimals_survive_the_round_trip(minor in any::<i32>()) {
            let money = Money::new(i64::from(minor), Currency::USD);
            prop_assert_eq!(Money::from_decimal(money.to_decimal(), Currency::USD).unwrap(), money);
            let json = serde_json::to_string(&money).unwrap();
            prop_assert_eq!(serde_json::from_str::<Money>(&json).unwrap(), money);
        }
    }
}
