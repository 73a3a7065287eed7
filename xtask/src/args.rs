//! What the commands' arguments have in common.

/// An argument's name, and its value where that stands behind `=`.
pub(crate) fn split(arg: &str) -> (&str, Option<String>) {
    match arg.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (arg, None),
    }
}
