//! Calls of the API that pages make, as whoever looks at the page.

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde_json::Value;
use warp::http::header::CONTENT_TYPE;
use warp::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use super::visit::Visit;
use crate::api::calls;
use crate::http::{Answer, Problem, Request};

impl Visit {
    /// What a GET answers. `path` may have a query string.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Problem> {
        read(path, self.call(Method::GET, path, None, &[]).await?)
    }

    /// The same, where "there is nothing", "not now" and "not for you" are for the page to show, not instead of it.
    pub(crate) async fn try_get<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, Problem> {
        match self.get(path).await {
            Ok(answer) => Ok(Some(answer)),
            Err(problem) if problem.code() == "database_unavailable" => Err(problem),
            Err(problem) if problem.code() == "unreadable_answer" => Err(problem),
            Err(problem) => {
                tracing::debug!(code = problem.code(), path, "a part of a page is left out");
                Ok(None)
            }
        }
    }

    /// What a POST of JSON answers.
    pub(crate) async fn post<T: DeserializeOwned>(&self, path: &str, body: Value) -> Result<T, Problem> {
        read(path, self.call(Method::POST, path, Some(body), &[]).await?)
    }

    /// A call, with its status.
    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
        more: &[(&'static str, &str)],
    ) -> Result<Answer, Problem> {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let mut headers = HeaderMap::new();
        for (name, value) in more {
            headers.extend(HeaderValue::from_str(value).ok().map(|value| (HeaderName::from_static(name), value)));
        }
        let body = match body {
            Some(body) => {
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                Bytes::from(body.to_string())
            }
            None => Bytes::new(),
        };
        let request = Request::internal(method, path, query, headers, body);
        // Webhooks need connections to the database more than pages do, however many of them are open.
        let _turn = self.app.console_turns.acquire().await;
        let answer = calls::perform_here(&self.app, self.viewer.caller.clone(), request).await?;
        // Not a word that it was done: the page shows its button again, with the same key.
        if answer.body["state"] == "unconfirmed" && answer.status == StatusCode::ACCEPTED {
            return Err(Problem::unavailable("unconfirmed", "It is not known whether this was accepted"));
        }
        Ok(answer)
    }
}

/// The answer as the page's own type; that it does not fit is a mistake of ours, which tests of each page find.
pub(crate) fn read<T: DeserializeOwned>(path: &str, answer: Answer) -> Result<T, Problem> {
    serde_json::from_value(answer.body).map_err(|error| {
        tracing::error!(%error, path, "an answer of the API is not what a page expects: {error}");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "unreadable_answer", "An answer of the API can't be read")
    })
}
