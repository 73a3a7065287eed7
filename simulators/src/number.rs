//! Exact decimals in JSON.

use rust_decimal::Decimal;
use serde_json::{Number, Value};

/// A number, also one written as a string.
pub(crate) fn read(value: &Value) -> Option<Decimal> {
    let text = match value {
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.trim().to_owned(),
        _ => return None,
    };
    text.parse().ok().or_else(|| Decimal::from_scientific(&text).ok())
}

/// A JSON number as a program writes it that keeps money as floats: `100.0`, `0.06000000000000001`.
pub(crate) fn float(value: Decimal) -> Value {
    let kept: f64 = value.to_string().parse().unwrap_or_default();
    let text = format!("{kept:?}");
    text.parse::<Number>().map_or(Value::String(text), Value::Number)
}

/// A JSON number with the decimal's own digits.
pub(crate) fn write(value: Decimal) -> Value {
    let text = value.to_string();
    text.parse::<Number>().map_or(Value::String(text), Value::Number)
}
