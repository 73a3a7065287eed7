//! One call of the API, as a command asks for it, and how its answer is shown. Pure.

use std::fmt::Display;

use reqwest::Method;
use serde_json::{Map, Value};

use crate::show::Show;

/// Writes an answer for people.
pub(crate) type View = fn(&Value, &Show) -> String;

/// A list that comes in pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pages {
    /// The query parameter that takes the cursor.
    pub(crate) cursor: &'static str,
    /// How many items in all.
    pub(crate) limit: usize,
}

/// A call of the API.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) method: Method,
    /// The path's segments after `/api`.
    pub(crate) path: Vec<String>,
    pub(crate) query: Vec<(&'static str, String)>,
    pub(crate) body: Option<Value>,
    pub(crate) pages: Option<Pages>,
    /// Sent as `Idempotency-Key`: the call may be repeated.
    pub(crate) key: Option<String>,
    /// Don't wait for the outcome.
    pub(crate) no_wait: bool,
    /// What a person is asked before it is made; nobody is asked when this is absent.
    pub(crate) question: Option<String>,
    pub(crate) view: View,
}

impl Call {
    fn new(method: Method, path: &[&dyn Display], view: View) -> Self {
        Self {
            method,
            path: path.iter().map(ToString::to_string).collect(),
            query: Vec::new(),
            body: None,
            pages: None,
            key: None,
            no_wait: false,
            question: None,
            view,
        }
    }

    /// Reads something.
    pub(crate) fn get(path: &[&dyn Display], view: View) -> Self {
        Self::new(Method::GET, path, view)
    }

    /// Does something.
    pub(crate) fn post(path: &[&dyn Display], view: View) -> Self {
        Self::new(Method::POST, path, view)
    }

    /// Changes something.
    pub(crate) fn patch(path: &[&dyn Display], view: View) -> Self {
        Self::new(Method::PATCH, path, view)
    }

    /// Ends something.
    pub(crate) fn delete(path: &[&dyn Display], view: View) -> Self {
        Self::new(Method::DELETE, path, view)
    }

    /// It is a list in pages, of which the next is asked for with this parameter.
    pub(crate) fn pages(mut self, cursor: &'static str, limit: usize) -> Self {
        self.pages = Some(Pages { cursor, limit });
        self
    }

    /// With a query parameter, if there is a value.
    pub(crate) fn query(mut self, name: &'static str, value: Option<impl Display>) -> Self {
        self.query.extend(value.map(|value| (name, value.to_string())));
        self
    }

    /// With a body.
    pub(crate) fn body(mut self, body: Body) -> Self {
        self.body = Some(Value::Object(body.0));
        self
    }

    /// The same call with the same key is one, however often it is sent.
    pub(crate) fn keyed(mut self, key: String) -> Self {
        self.key = Some(key);
        self
    }

    /// Doesn't wait for the outcome, if so.
    pub(crate) fn no_wait(mut self, no_wait: bool) -> Self {
        self.no_wait = no_wait;
        self
    }

    /// Asks before it is made, unless the answer was given.
    pub(crate) fn asks(mut self, yes: bool, question: impl FnOnce() -> String) -> Self {
        self.question = (!yes).then(question);
        self
    }
}

/// A body that has what was given.
#[derive(Debug, Default)]
pub(crate) struct Body(Map<String, Value>);

impl Body {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// A field.
    pub(crate) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.insert(name.to_owned(), value.into());
        self
    }

    /// A field, if there is a value.
    pub(crate) fn maybe(self, name: &str, value: Option<impl Into<Value>>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// An amount, if there is one. As a text: it stays as it was written.
    pub(crate) fn amount(self, name: &str, amount: Option<rust_decimal::Decimal>) -> Self {
        self.maybe(name, amount.map(|amount| amount.to_string()))
    }

    /// Every setting.
    pub(crate) fn settings(self, settings: Vec<crate::values::Setting>) -> Self {
        settings.into_iter().fold(self, |body, setting| body.with(&setting.key, setting.value))
    }

    /// Whether nothing was given.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<Body> for Value {
    fn from(body: Body) -> Self {
        Self::Object(body.0)
    }
}
