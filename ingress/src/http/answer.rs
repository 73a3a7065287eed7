//! What is answered: JSON, and every error with a sentence and a stable word; to a customer's browser, a page.

use serde_json::{Value, json};
use warp::http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use warp::http::{HeaderName, HeaderValue, StatusCode};
use warp::hyper::body::Bytes;
use warp::reply::Response;

use crate::fields::FieldProblem;

/// An answer with a JSON body, or for a browser with a page.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Value,
    /// Sent in the place of the body, as this media type.
    text: Option<(&'static str, String)>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Answer {
    pub(crate) fn new(status: StatusCode, body: Value) -> Self {
        Self { status, body, text: None, headers: Vec::new() }
    }

    pub(crate) fn ok(body: Value) -> Self {
        Self::new(StatusCode::OK, body)
    }

    /// An HTML page.
    pub(crate) fn page(status: StatusCode, html: String) -> Self {
        Self::text(status, "text/html; charset=utf-8", html)
    }

    /// Text of this media type.
    pub(crate) fn text(status: StatusCode, media_type: &'static str, text: String) -> Self {
        Self { status, body: Value::Null, text: Some((media_type, text)), headers: Vec::new() }
    }

    /// Adds a header; a value that no header can have is left out.
    pub(crate) fn with(mut self, name: HeaderName, value: &str) -> Self {
        self.headers.extend(HeaderValue::from_str(value).ok().map(|value| (name, value)));
        self
    }

    pub(crate) fn into_response(self) -> Response {
        let (content_type, text) = self.text.unwrap_or_else(|| ("application/json", self.body.to_string()));
        let mut response = Response::new(Bytes::from(text).into());
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.extend(self.headers);
        response
    }
}

/// Why a request is not done, as it is answered.
#[derive(Debug)]
pub(crate) struct Problem(Answer);

impl Problem {
    /// A problem with its status, its stable word and its sentence.
    pub(crate) fn new(status: StatusCode, code: &'static str, error: impl Into<String>) -> Self {
        Self(Answer::new(status, json!({ "error": error.into(), "code": code })))
    }

    /// Adds a fact to the body.
    pub(crate) fn and(mut self, name: &str, value: impl Into<Value>) -> Self {
        if let Some(body) = self.0.body.as_object_mut() {
            body.insert(name.to_owned(), value.into());
        }
        self
    }

    pub(crate) fn with(self, name: HeaderName, value: &str) -> Self {
        Self(self.0.with(name, value))
    }

    pub(crate) fn code(&self) -> &str {
        self.0.body["code"].as_str().unwrap_or_default()
    }

    /// The answer of a call, if it is what was asked for; else why not.
    pub(crate) fn unless_done(answer: Answer) -> Result<Answer, Self> {
        if answer.status.is_success() { Ok(answer) } else { Err(Self(answer)) }
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.0.status
    }

    /// The sentence.
    pub(crate) fn sentence(&self) -> &str {
        self.0.body["error"].as_str().unwrap_or_default()
    }

    /// A fact of the body.
    pub(crate) fn fact(&self, name: &str) -> &Value {
        &self.0.body[name]
    }

    pub(crate) fn bad_request(code: &'static str, error: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, error)
    }

    pub(crate) fn not_found(code: &'static str, error: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, error)
    }

    pub(crate) fn conflict(code: &'static str, error: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, code, error)
    }

    pub(crate) fn no_route() -> Self {
        Self::not_found("no_such_route", "There is nothing here")
    }

    pub(crate) fn method(allowed: &str) -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", format!("Use {allowed} here"))
            .with(ALLOW, allowed)
    }

    pub(crate) fn too_large(limit: usize) -> Self {
        let error = format!("The body is larger than {limit} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", error).and("limit", limit)
    }

    pub(crate) fn media_type() -> Self {
        let error = "Send the body as content-type application/json";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", error)
    }

    /// What is not JSON, and where it stops being it.
    pub(crate) fn not_json(error: &serde_json::Error) -> Self {
        Self::bad_request("invalid_json", format!("The body is not JSON: {error}"))
            .and("line", error.line())
            .and("column", error.column())
    }

    /// Every field that is wrong, at once.
    pub(crate) fn fields(problems: &[FieldProblem]) -> Self {
        let names: Vec<_> = problems
            .iter()
            .map(|wrong| if wrong.field.is_empty() { "the body" } else { wrong.field.as_str() })
            .zip(problems)
            .map(|(name, wrong)| format!("{name} {}", wrong.problem))
            .collect();
        let error = format!("The body is not valid: {}", names.join("; "));
        Self::bad_request("invalid_body", error).and("fields", json!(problems))
    }

    pub(crate) fn unauthorized() -> Self {
        let error = "Send an API token as `Authorization: Bearer <token>`";
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", error).with(WWW_AUTHENTICATE, "Bearer")
    }

    /// A token that nobody has, or has any more.
    pub(crate) fn invalid_token() -> Self {
        let error = "The API token is not valid: it is unknown, revoked or expired";
        let challenge = "Bearer error=\"invalid_token\"";
        Self::new(StatusCode::UNAUTHORIZED, "invalid_token", error).with(WWW_AUTHENTICATE, challenge)
    }

    pub(crate) fn too_many(seconds: u64) -> Self {
        Self::come_again("rate_limited", "Too many requests from this address", seconds)
    }

    pub(crate) fn too_many_failures(seconds: u64) -> Self {
        Self::come_again("too_many_failures", "Too many calls with a wrong token from this address", seconds)
    }

    fn come_again(code: &'static str, error: &str, seconds: u64) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, code, error)
            .and("retry_after_seconds", seconds)
            .with(RETRY_AFTER, &seconds.to_string())
    }

    pub(crate) fn no_database() -> Self {
        Self::unavailable("database_unavailable", "The database is not available; nothing was changed")
    }

    /// Something that we need is not there. Nothing is pretended: the caller shall come again.
    pub(crate) fn unavailable(code: &'static str, error: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, error).with(RETRY_AFTER, "2")
    }
}

impl From<Problem> for Answer {
    fn from(problem: Problem) -> Self {
        problem.0
    }
}

/// Whatever the database says no to, other than what a caller can put right, is a state of ours.
impl From<sqlx::Error> for Problem {
    fn from(error: sqlx::Error) -> Self {
        tracing::warn!(%error, "a request needs the database, which answered: {error}");
        Self::no_database()
    }
}
