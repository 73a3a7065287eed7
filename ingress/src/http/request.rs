//! A request, with its body still on the way.

use std::convert::Infallible;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use futures_util::{Stream, StreamExt, TryStreamExt};
use serde_json::{Map, Value};
use warp::Filter;
use warp::http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE};
use warp::http::{HeaderMap, Method, StatusCode};

use super::{Problem, Query, is_json};
use crate::fields::FieldProblem;

/// The largest body of an API call or a webhook: LiteLLM's and the KMS's are below 2 KiB.
pub(crate) const LARGEST_BODY: usize = 64 * 1024;
/// How much more than that is read and thrown away, so that a client that writes before it reads gets to see the 413.
const DRAIN: usize = 16 * 1024 * 1024;
/// How long a client may take to send a body.
const PATIENCE: Duration = Duration::from_secs(10);

type Body = Pin<Box<dyn Stream<Item = Result<Bytes, warp::Error>> + Send + Sync>>;

/// A request.
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: Query,
    pub(crate) headers: HeaderMap,
    pub(crate) peer: Option<IpAddr>,
    body: Body,
}

/// The path may hold a secret (LiteLLM's alerts), and headers do.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request").field("method", &self.method).field("peer", &self.peer).finish_non_exhaustive()
    }
}

impl Request {
    /// A request that was made in this process.
    pub(crate) fn internal(method: Method, path: &str, query: &str, headers: HeaderMap, body: Bytes) -> Self {
        let body = Box::pin(futures_util::stream::iter([Ok(body)]));
        Self { method, path: path.to_owned(), query: Query::parse(query), headers, peer: None, body }
    }

    /// A header as text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The bearer token.
    pub(crate) fn bearer(&self) -> Option<&[u8]> {
        let (scheme, token) = self.headers.get(AUTHORIZATION)?.as_bytes().split_first_chunk::<7>()?;
        scheme.eq_ignore_ascii_case(b"Bearer ").then_some(token.trim_ascii())
    }

    /// Whether the content-type says JSON.
    pub(crate) fn says_json(&self) -> bool {
        self.headers.get(CONTENT_TYPE).is_some_and(|value| is_json(value.as_bytes()))
    }

    /// Whether the caller asks not to be kept waiting (RFC 7240).
    pub(crate) fn prefers_async(&self) -> bool {
        let says = |value: &str| value.split([',', ';']).any(|part| part.trim().eq_ignore_ascii_case("respond-async"));
        self.headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok()).any(says)
    }

    /// Reads the whole body, whatever `content-length` says or does not say.
    pub(crate) async fn bytes(&mut self) -> Result<Bytes, Problem> {
        let announced = self.header(CONTENT_LENGTH.as_str()).and_then(|text| text.parse::<usize>().ok()).unwrap_or(0);
        if announced > DRAIN {
            return Err(Problem::too_large(LARGEST_BODY));
        }
        let reading = tokio::time::timeout(PATIENCE, read(&mut self.body));
        reading.await.unwrap_or_else(|_| {
            Err(Problem::new(
                StatusCode::REQUEST_TIMEOUT,
                "body_too_slow",
                "The body did not arrive within ten seconds",
            ))
        })
    }

    /// Reads the body as a JSON object.
    pub(crate) async fn object(&mut self) -> Result<Map<String, Value>, Problem> {
        let body = self.bytes().await?;
        self.as_object(&body)
    }

    /// As [`Self::object`]; no body at all is an object without fields.
    pub(crate) async fn object_or_nothing(&mut self) -> Result<Map<String, Value>, Problem> {
        let body = self.bytes().await?;
        if body.is_empty() { Ok(Map::new()) } else { self.as_object(&body) }
    }

    fn as_object(&self, body: &Bytes) -> Result<Map<String, Value>, Problem> {
        if !self.says_json() {
            return Err(Problem::media_type());
        }
        match serde_json::from_slice(body).map_err(|error| Problem::not_json(&error))? {
            Value::Object(object) => Ok(object),
            _ => {
                Err(Problem::fields(&[FieldProblem { field: String::new(), problem: "must be an object".to_owned() }]))
            }
        }
    }
}

async fn read(body: &mut Body) -> Result<Bytes, Problem> {
    let mut whole = BytesMut::new();
    let mut total = 0_usize;
    while let Some(chunk) = body.next().await {
        let chunk =
            chunk.map_err(|_| Problem::bad_request("incomplete_body", "The body ended before it was complete"))?;
        total = total.saturating_add(chunk.len());
        if total > DRAIN {
            break;
        }
        if total <= LARGEST_BODY {
            whole.extend_from_slice(&chunk);
        }
    }
    if total > LARGEST_BODY { Err(Problem::too_large(LARGEST_BODY)) } else { Ok(whole.freeze()) }
}

/// Takes every request as it comes in. Nothing is refused here.
pub(crate) fn incoming() -> impl Filter<Extract = (Request,), Error = warp::Rejection> + Clone + Send + Sync + 'static {
    let query = warp::query::raw().or_else(|_| async { Ok::<_, Infallible>((String::new(),)) });
    warp::method()
        .and(warp::path::full())
        .and(query)
        .and(warp::header::headers_cloned())
        .and(warp::addr::remote())
        .and(warp::body::stream())
        .map(|method, path: warp::path::FullPath, query: String, headers, peer: Option<SocketAddr>, body| Request {
            method,
            path: path.as_str().to_owned(),
            query: Query::parse(&query),
            headers,
            peer: peer.map(|peer| peer.ip()),
            body: boxed(body),
        })
}

fn boxed<B: Buf>(body: impl Stream<Item = Result<B, warp::Error>> + Send + Sync + 'static) -> Body {
    Box::pin(body.map_ok(|mut chunk| chunk.copy_to_bytes(chunk.remaining())))
}
