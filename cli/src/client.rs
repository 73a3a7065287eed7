//! Makes the calls.

use std::time::Duration;

use common::config::Secret;
use reqwest::header::RETRY_AFTER;
use reqwest::redirect::Policy;
use reqwest::{Response, StatusCode, Url};
use serde_json::Value;

use crate::call::{Call, Pages};
use crate::failure::{Failure, Refusal};
use crate::terminal;

/// How long one try may take: the API waits some seconds for an outcome before it says 202.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(10);
/// How often a call with an Idempotency-Key is tried.
const TRIES: u32 = 4;
/// The longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// The most items that the API puts on a page.
const LARGEST_PAGE: usize = 200;

/// A connection to the API.
pub(crate) struct Client {
    http: reqwest::Client,
    url: Url,
    token: Option<Secret>,
}

/// An answer that is no refusal.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
}

impl Client {
    pub(crate) fn new(url: &str, token: Option<Secret>) -> Result<Self, Failure> {
        let wrong = |why: &str| Failure::Usage(format!("--url (BILL_URL) {why}: write it as http://127.0.0.1:3000"));
        let url = Url::parse(url).map_err(|error| wrong(&format!("can't be read: {error}")))?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err(wrong("is no HTTP address"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(wrong("has a user or a password, which has no use here"));
        }
        if token.as_ref().is_some_and(|token| !token.expose().bytes().all(|byte| byte.is_ascii_graphic())) {
            return Err(Failure::Usage("the token has characters that no token has".to_owned()));
        }
        common::clients::install_tls();
        // Followed, a redirect would bring a call that moves money to an address that nobody named.
        let http = reqwest::Client::builder().timeout(PATIENCE).connect_timeout(CONNECT).redirect(Policy::none());
        let http = http.build().map_err(|error| Failure::Usage(format!("no HTTP client can be made: {error}")))?;
        Ok(Self { http, url, token })
    }

    /// Makes the call; a list with as many pages as it takes.
    pub(crate) async fn make(&self, call: &Call) -> Result<Answer, Failure> {
        match (&call.pages, &call.key) {
            (Some(pages), _) => self.all_pages(call, *pages).await,
            (None, Some(key)) => self.until_clear(call, key).await,
            (None, None) => self.once(call, &[]).await.map_err(|(failure, _)| failure),
        }
    }

    /// How ingress is, which it tells everybody.
    pub(crate) async fn health(&self) -> Result<Answer, Failure> {
        let mut url = self.url.clone();
        url.set_query(None);
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push("health");
        }
        let answer = match self.http.get(url).send().await {
            Ok(answer) => read(answer).await,
            Err(error) => Err(error),
        };
        answer.map_err(|error| self.not_reachable(error)).and_then(|raw| judge(raw).map_err(|(failure, _)| failure))
    }

    /// Where it is, for people.
    pub(crate) fn place(&self) -> &str {
        self.url.as_str().trim_end_matches('/')
    }

    async fn all_pages(&self, call: &Call, Pages { cursor, limit }: Pages) -> Result<Answer, Failure> {
        let mut whole: Option<Answer> = None;
        let (mut left, mut next) = (limit, None);
        loop {
            let size = left.min(LARGEST_PAGE);
            let mut place = vec![("limit", size.to_string())];
            place.extend(next.take().map(|next| (cursor, next)));
            let mut page = self.once(call, &place).await.map_err(|(failure, _)| failure)?;
            next = page.body["next_cursor"].as_str().map(str::to_owned);
            let items = page.body["items"].as_array().map_or(0, Vec::len);
            left = left.saturating_sub(items);
            match &mut whole {
                None => whole = Some(page),
                Some(whole) => {
                    let more = page.body["items"].take();
                    if let (Some(all), Value::Array(more)) = (whole.body["items"].as_array_mut(), more) {
                        all.extend(more);
                    }
                    whole.body["next_cursor"] = page.body["next_cursor"].take();
                }
            }
            if let Some(whole) = whole.take_if(|_| next.is_none() || left == 0 || items == 0) {
                return Ok(whole);
            }
        }
    }

    /// The same call again, with the same key, while nobody knows whether it was done.
    async fn until_clear(&self, call: &Call, key: &str) -> Result<Answer, Failure> {
        let mut pause = Duration::from_millis(500);
        let mut tries = 1;
        loop {
            match self.once(call, &[]).await {
                Err((failure, after)) if tries < TRIES && may_clear_up(&failure) => {
                    let after = after.unwrap_or(pause).min(LONGEST_PAUSE);
                    terminal::note(&format!("no clear answer yet: trying again with Idempotency-Key {key} …\n"));
                    tokio::time::sleep(after).await;
                    (tries, pause) = (tries + 1, pause * 2);
                }
                done => return done.map_err(|(failure, _)| failure),
            }
        }
    }

    /// One try. With a failure: when to come again, where the API says so.
    async fn once(&self, call: &Call, place: &[(&str, String)]) -> Result<Answer, (Failure, Option<Duration>)> {
        let mut request = self.http.request(call.method.clone(), self.address(call, place));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token.expose());
        }
        if let Some(key) = &call.key {
            request = request.header("idempotency-key", key);
        }
        if call.no_wait {
            request = request.header("prefer", "respond-async");
        }
        if let Some(body) = &call.body {
            request = request.json(body);
        }
        let answer = match request.send().await {
            Ok(answer) => read(answer).await,
            Err(error) => Err(error),
        };
        answer.map_err(|error| (self.not_reachable(error), None)).and_then(judge)
    }

    fn address(&self, call: &Call, place: &[(&str, String)]) -> Url {
        let mut url = self.url.clone();
        url.set_query(None);
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push("api").extend(&call.path);
        }
        for (name, value) in call.query.iter().chain(place) {
            url.query_pairs_mut().append_pair(name, value);
        }
        url
    }

    fn not_reachable(&self, error: reqwest::Error) -> Failure {
        let error = error.without_url();
        let mut why = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(deeper) = source {
            why = deeper.to_string();
            source = deeper.source();
        }
        Failure::NotReachable(format!("no answer from {}: {why}", self.url))
    }
}

/// What came back, whatever it is.
struct Raw {
    status: StatusCode,
    request_id: Option<String>,
    retry_after: Option<Duration>,
    body: Vec<u8>,
}

async fn read(answer: Response) -> reqwest::Result<Raw> {
    let header = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let retry_after = header(RETRY_AFTER.as_str()).and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs);
    let (status, request_id) = (answer.status(), header("x-request-id"));
    let body = answer.bytes().await?.to_vec();
    Ok(Raw { status, request_id, retry_after, body })
}

fn judge(raw: Raw) -> Result<Answer, (Failure, Option<Duration>)> {
    let status = raw.status.as_u16();
    match serde_json::from_slice::<Value>(&raw.body) {
        Ok(body) if body.is_object() && raw.status.is_success() => Ok(Answer { status, body }),
        Ok(body) if body["error"].is_string() => {
            Err((Failure::Refused(Refusal { status, body, request_id: raw.request_id }), raw.retry_after))
        }
        _ => {
            let text = String::from_utf8_lossy(&raw.body).into_owned();
            Err((Failure::Unreadable { status, text }, raw.retry_after))
        }
    }
}

/// Whether the same call may have a clear answer soon.
fn may_clear_up(failure: &Failure) -> bool {
    match failure {
        Failure::NotReachable(_) => true,
        // A 502 of ours is an answer: Stripe or the broker refused. A proxy's is none.
        Failure::Refused(Refusal { status, .. }) => *status == 503,
        Failure::Unreadable { status, .. } => (502..=504).contains(status),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::show;

    /// Answers call after call with these, each on a connection of its own, and returns what was asked. `None`: it hangs up.
    async fn served(answers: &[Option<&str>], call: Call) -> (Result<Answer, Failure>, Vec<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/base/", listener.local_addr().unwrap());
        let serve = async {
            let mut asked = Vec::new();
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = vec![0; 8 * 1024];
                let read = stream.read(&mut request).await.unwrap();
                asked.push(String::from_utf8_lossy(&request[..read]).to_lowercase());
                if let Some(answer) = answer {
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            }
            asked
        };
        let client = Client::new(&url, Some(Secret::new("t0ken"))).unwrap();
        tokio::join!(client.make(&call), serve)
    }

    fn http(status: &str, body: &Value) -> String {
        let body = body.to_string();
        format!(
            "HTTP/1.1 {status}\r\nretry-after: 0\r\nx-request-id: r-1\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
    }

    #[tokio::test]
    async fn a_call_with_a_key_is_repeated_with_it_until_it_is_clear() {
        let away = http("503 Service Unavailable", &json!({ "error": "later", "code": "broker_unavailable" }));
        let done = http("200 OK", &json!({ "success": true }));
        let call = Call::post(&[&"organizations", &"acme", &"recharge"], show::outcome).keyed("k-1".to_owned());
        let (answer, asked) = served(&[None, Some(&away), Some(&done)], call.clone()).await;
        assert_eq!(answer.unwrap().body, json!({ "success": true }));
        for asked in &asked {
            assert!(asked.starts_with("post /base/api/organizations/acme/recharge http/1.1\r\n"), "{asked}");
            assert!(
                asked.contains("idempotency-key: k-1\r\n") && asked.contains("authorization: bearer t0ken\r\n"),
                "{asked}"
            );
        }
        // Not for ever, and the last answer is told.
        let (answer, asked) = served(&[Some(away.as_str()); 4], call).await;
        let Err(Failure::Refused(refusal)) = answer else { panic!("{answer:?}") };
        assert_eq!((refusal.status, refusal.request_id.as_deref(), asked.len()), (503, Some("r-1"), 4));
    }

    #[tokio::test]
    async fn a_call_without_a_key_is_made_once() {
        let (answer, asked) = served(&[None], Call::post(&[&"tokens"], show::outcome)).await;
        assert!(matches!(answer, Err(Failure::NotReachable(_))), "{answer:?}");
        assert_eq!(asked.len(), 1);
    }

    #[tokio::test]
    async fn a_redirect_is_not_followed() {
        let moved = "HTTP/1.1 307 Temporary Redirect\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n";
        let (answer, _) = served(&[Some(moved)], Call::post(&[&"tokens"], show::outcome)).await;
        assert_eq!(answer.unwrap_err(), Failure::Unreadable { status: 307, text: String::new() });
    }

    #[tokio::test]
    async fn pages_are_joined_up_to_the_limit() {
        let page = |items: Vec<usize>, next: Value| http("200 OK", &json!({ "items": items, "next_cursor": next }));
        let (first, second) = (page((0..200).collect(), json!("c&1")), page((200..250).collect(), json!("c2")));
        let call = Call::get(&[&"organizations"], show::outcome).pages("after", 250);
        let (answer, asked) = served(&[Some(&first), Some(&second)], call).await;
        let body = answer.unwrap().body;
        assert_eq!(body, json!({ "items": (0..250).collect::<Vec<_>>(), "next_cursor": "c2" }));
        assert!(asked[0].starts_with("get /base/api/organizations?limit=200 http"), "{asked:?}");
        assert!(asked[1].starts_with("get /base/api/organizations?limit=50&after=c%261 http"), "{asked:?}");
    }

    #[test]
    fn addresses_that_are_none() {
        for bad in ["", "localhost:3000", "ftp://x", "http://", "http://ann:secret@x"] {
            let Err(Failure::Usage(told)) = Client::new(bad, None).map(|_| ()) else { panic!("{bad}") };
            assert!(told.starts_with("--url") && !told.contains("secret"), "{told}");
        }
        assert!(matches!(Client::new("http://x", Some(Secret::new("a b"))), Err(Failure::Usage(_))));
    }
}
