//! What the commands' arguments have in common.

use anyhow::{Context, Result};

/// The number that an argument is, from `least` to `most`.
pub(crate) fn number(name: &str, value: &str, least: u64, most: u64) -> Result<u64> {
    let number = value.parse().ok().filter(|number| (least..=most).contains(number));
    number.with_context(|| format!("{name} must be a number from {least} to {most}, not `{value}`"))
}

/// An argument's name, and its value where that stands behind `=`.
pub(crate) fn split(arg: &str) -> (&str, Option<String>) {
    match arg.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (arg, None),
    }
}
