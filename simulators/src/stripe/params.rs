//! Stripe's form encoding: `a[b]=c`, `a[]=x`, `a[0]=x`.

use serde_json::{Map, Value, json};

use super::error::ApiError;
use crate::http::pairs;

/// The parameters of a call, as a tree.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Params {
    root: Value,
}

impl Params {
    /// Reads a query string or a form body.
    pub(super) fn parse(text: &str) -> Self {
        let mut root = Value::Object(Map::new());
        for (key, value) in pairs(text) {
            insert(&mut root, &path_of(&key), value);
        }
        Self { root }
    }

    /// Both the query's and the body's parameters.
    pub(super) fn of_call(query: &str, body: &[u8]) -> Self {
        let body = String::from_utf8_lossy(body);
        Self::parse(&format!("{query}&{body}"))
    }

    /// The value under a dotted path (`card.number`).
    pub(super) fn value(&self, path: &str) -> Option<&Value> {
        path.split('.').try_fold(&self.root, |value, key| value.get(key))
    }

    /// The parameters beneath a path, as a tree of their own.
    pub(super) fn within(&self, path: &str) -> Self {
        Self { root: self.value(path).cloned().unwrap_or_else(|| Value::Object(Map::new())) }
    }

    /// A text; an empty one counts as absent.
    pub(super) fn text(&self, path: &str) -> Option<&str> {
        self.value(path).and_then(Value::as_str).filter(|text| !text.is_empty())
    }

    /// Whether the parameter was sent empty, which clears a field.
    pub(super) fn is_cleared(&self, path: &str) -> bool {
        self.value(path).and_then(Value::as_str).is_some_and(str::is_empty)
    }

    /// A text which must be there.
    pub(super) fn required(&self, path: &str) -> Result<&str, ApiError> {
        self.text(path).ok_or_else(|| ApiError::missing_param(path))
    }

    /// A whole number.
    pub(super) fn integer(&self, path: &str) -> Result<Option<i64>, ApiError> {
        self.text(path)
            .map(|text| {
                text.parse().map_err(|_| {
                    ApiError::invalid(path, format!("Invalid integer: {text}")).code("parameter_invalid_integer")
                })
            })
            .transpose()
    }

    /// A boolean.
    pub(super) fn boolean(&self, path: &str) -> Result<Option<bool>, ApiError> {
        self.text(path)
            .map(|text| match text {
                "true" => Ok(true),
                "false" => Ok(false),
                other => Err(ApiError::invalid(path, format!("Invalid boolean: {other}"))),
            })
            .transpose()
    }

    /// The texts of a list.
    pub(super) fn list(&self, path: &str) -> Vec<String> {
        let texts = |value: &Value| value.as_str().map(str::to_owned);
        match self.value(path) {
            Some(Value::Array(items)) => items.iter().filter_map(texts).collect(),
            Some(Value::Object(items)) => items.values().filter_map(texts).collect(),
            Some(Value::String(one)) if !one.is_empty() => vec![one.clone()],
            _ => Vec::new(),
        }
    }

    /// Merges `metadata` into `object`: an empty value removes a key, an empty `metadata` all.
    pub(super) fn merge_metadata(&self, object: &mut Value) {
        if self.is_cleared("metadata") {
            object["metadata"] = json!({});
        }
        let Some(Value::Object(changes)) = self.value("metadata") else { return };
        let Some(metadata) = object["metadata"].as_object_mut() else { return };
        for (key, value) in changes {
            if value.as_str().is_some_and(str::is_empty) {
                metadata.remove(key);
            } else {
                metadata.insert(key.clone(), value.clone());
            }
        }
    }

    /// Copies the texts named, where they were sent, into `object`; an empty one becomes null.
    pub(super) fn copy_texts(&self, object: &mut Value, names: &[&str]) {
        for name in names {
            if let Some(text) = self.text(name) {
                object[*name] = json!(text);
            } else if self.is_cleared(name) {
                object[*name] = Value::Null;
            }
        }
    }
}

fn path_of(key: &str) -> Vec<String> {
    let Some((head, rest)) = key.split_once('[') else { return vec![key.to_owned()] };
    let mut path = vec![head.to_owned()];
    path.extend(rest.trim_end_matches(']').split("][").map(str::to_owned));
    path
}

fn insert(node: &mut Value, path: &[String], value: String) {
    let Some((key, rest)) = path.split_first() else {
        *node = Value::String(value);
        return;
    };
    let index = key.bytes().all(|letter| letter.is_ascii_digit());
    if key.is_empty() || (index && node.is_array()) {
        if !node.is_array() {
            *node = json!([]);
        }
        if let Some(items) = node.as_array_mut() {
            let mut item = Value::Null;
            insert(&mut item, rest, value);
            items.push(item);
        }
        return;
    }
    if !node.is_object() {
        *node = json!({});
    }
    insert(&mut node[key.as_str()], rest, value);
}
