//! Facts about a step. Pure.

use crate::console::moment::Moment;

/// Something to know of it.
pub(super) struct Fact {
    pub(super) label: &'static str,
    value: Value,
}

/// What is known.
enum Value {
    Words(String),
    /// To be copied.
    Id(String),
    At(Moment),
}

impl Fact {
    pub(super) fn id(label: &'static str, id: Option<&String>) -> Option<Self> {
        Some(Self { label, value: Value::Id(id?.clone()) })
    }

    pub(super) fn at(label: &'static str, at: Option<Moment>) -> Option<Self> {
        Some(Self { label, value: Value::At(at?) })
    }

    pub(super) fn words(label: &'static str, words: Option<String>) -> Option<Self> {
        Some(Self { label, value: Value::Words(words?) })
    }

    pub(super) fn as_id(&self) -> Option<&str> {
        if let Value::Id(id) = &self.value { Some(id) } else { None }
    }

    pub(super) fn as_words(&self) -> Option<&str> {
        if let Value::Words(words) = &self.value { Some(words) } else { None }
    }

    pub(super) fn as_at(&self) -> Option<Moment> {
        if let Value::At(at) = &self.value { Some(*at) } else { None }
    }
}
