//! Errors in Stripe's words.

use serde_json::{Map, Value, json};

use super::cards::Decline;
use crate::http::Reply;

/// An error answer.
#[derive(Debug, Clone)]
pub(super) struct ApiError {
    pub(super) status: u16,
    pub(super) fields: Map<String, Value>,
    /// The request had begun to execute: an idempotency key keeps this answer.
    executed: bool,
}

impl ApiError {
    fn new(status: u16, kind: &str, message: &str) -> Self {
        let mut fields = Map::new();
        fields.insert("message".into(), json!(message));
        fields.insert("type".into(), json!(kind));
        Self { status, fields, executed: status == 402 || status >= 500 }
    }

    /// 400, with the parameter that is to blame.
    pub(super) fn invalid(param: &str, message: impl AsRef<str>) -> Self {
        let error = Self::new(400, "invalid_request_error", message.as_ref());
        if param.is_empty() { error } else { error.field("param", json!(bracketed(param))) }
    }

    pub(super) fn missing_param(param: &str) -> Self {
        Self::invalid(param, format!("Missing required param: {}.", bracketed(param))).code("parameter_missing")
    }

    /// An object named in the path does not exist.
    pub(super) fn not_found(kind: &str, id: &str, param: &str) -> Self {
        let mut error = Self::no_such(kind, id, param);
        error.status = 404;
        error
    }

    /// An object named in a parameter does not exist.
    pub(super) fn no_such(kind: &str, id: &str, param: &str) -> Self {
        Self::invalid(param, format!("No such {kind}: '{id}'")).code("resource_missing")
    }

    /// The object's state does not allow the call.
    pub(super) fn unexpected_state(kind: &str, message: impl AsRef<str>, object: Value) -> Self {
        Self::invalid("", message).code(&format!("{kind}_unexpected_state")).field(kind, object)
    }

    pub(super) fn unknown_url(method: &str, path: &str) -> Self {
        let mut error = Self::invalid(
            "",
            format!(
                "Unrecognized request URL ({method}: {path}). Please see https://stripe.com/docs or we can help at https://support.stripe.com/."
            ),
        );
        error.status = 404;
        error
    }

    pub(super) fn no_key() -> Self {
        Self::new(
            401,
            "invalid_request_error",
            "You did not provide an API key. You need to provide your API key in the Authorization header, using Bearer auth (e.g. 'Authorization: Bearer YOUR_SECRET_KEY'). See https://stripe.com/docs/api#authentication for details, or we can help at https://support.stripe.com/.",
        )
    }

    /// A key of no account. Of the key itself, what Stripe shows: how it begins and ends.
    pub(super) fn wrong_key(key: &str) -> Self {
        let shown = |range: Option<&str>| range.unwrap_or_default().to_owned();
        let hidden = key.len().saturating_sub(12);
        let (start, end) = (shown(key.get(..8)), shown(key.get(key.len().saturating_sub(4)..)));
        let message = format!("Invalid API Key provided: {start}{}{end}", "*".repeat(hidden));
        Self::new(401, "invalid_request_error", &message)
    }

    pub(super) fn key_reused(key: &str, elsewhere: Option<&str>) -> Self {
        let message = match elsewhere {
            Some(endpoint) => format!(
                "Keys for idempotent requests can only be used for the same endpoint they were first used for ('{endpoint}'). Try using a key other than '{key}' if you meant to execute a different request."
            ),
            None => format!(
                "Keys for idempotent requests can only be used with the same parameters they were first used with. Try using a key other than '{key}' if you meant to execute a different request."
            ),
        };
        Self::new(400, "idempotency_error", &message)
    }

    pub(super) fn key_in_use(key: &str) -> Self {
        let mut error = Self::invalid(
            "",
            format!(
                "There is currently another in-progress request using this Idempotent Key (that probably means you submitted twice, and the other request is still going through): {key}. Please try again later."
            ),
        )
        .code("idempotency_key_in_use");
        error.status = 409;
        error
    }

    pub(super) fn rate_limited() -> Self {
        let mut error = Self::invalid(
            "",
            "Request rate limit exceeded. Learn more about rate limits here https://stripe.com/docs/rate-limits.",
        )
        .code("rate_limit");
        error.status = 429;
        error
    }

    pub(super) fn internal() -> Self {
        Self::new(
            500,
            "api_error",
            "Sorry! There was an error while talking to one of our backends. Support has been notified.",
        )
    }

    /// 402: the card was refused.
    pub(super) fn card(decline: &Decline) -> Self {
        let mut error = Self::new(402, "card_error", decline.message).code(decline.code);
        if let Some(code) = decline.decline_code {
            error = error.field("decline_code", json!(code));
        }
        if let Some(advice) = decline.advice_code {
            error = error.field("advice_code", json!(advice));
        }
        if let Some(param) = decline.param {
            error = error.field("param", json!(param));
        }
        error
    }

    /// The refusal came while the request was executing, not from a look at its parameters.
    pub(super) fn after_execution(mut self) -> Self {
        self.executed = true;
        self
    }

    /// Whether an idempotency key keeps this answer.
    pub(super) fn is_kept(&self) -> bool {
        self.executed
    }

    pub(super) fn code(self, code: &str) -> Self {
        let url = format!("https://stripe.com/docs/error-codes/{}", code.replace('_', "-"));
        self.field("code", json!(code)).field("doc_url", json!(url))
    }

    pub(super) fn field(mut self, name: &str, value: Value) -> Self {
        self.fields.insert(name.into(), value);
        self
    }

    /// The inner object, as it is also stored in `last_payment_error`.
    pub(super) fn body(&self) -> Value {
        Value::Object(self.fields.clone())
    }

    pub(super) fn reply(&self) -> Reply {
        let reply = Reply::json(self.status, &json!({ "error": self.body() }));
        // Lock time-outs and keys in use go away by themselves, and Stripe says so.
        if self.status == 409 { reply.with("stripe-should-retry", "true") } else { reply }
    }
}

/// `card.number` as Stripe writes it: `card[number]`.
fn bracketed(path: &str) -> String {
    let mut parts = path.split('.');
    let head = parts.next().unwrap_or_default().to_owned();
    parts.fold(head, |name, part| format!("{name}[{part}]"))
}
