//! A client without comfort, and a receiver of webhooks.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use simulators::Running;
use simulators::stripe::Stripe;
use tokio::net::TcpListener;

/// An address with a port of the system's choice.
pub(crate) fn any_port() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

pub(crate) fn http_client() -> reqwest::Client {
    // Other tests of this process may have been first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().timeout(Duration::from_secs(20)).build().unwrap()
}

/// An answer, read to its end.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) text: String,
    pub(crate) body: Value,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn str(&self, pointer: &str) -> &str {
        self.body.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }

    /// The object, which must have come with a 200.
    pub(crate) fn ok(self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text);
        self.body
    }
}

pub(crate) async fn read(response: reqwest::Response) -> Answer {
    let status = response.status().as_u16();
    let headers = response.headers().clone();
    let text = response.text().await.unwrap();
    let body = serde_json::from_str(&text).unwrap_or_default();
    Answer { status, headers, text, body }
}

/// Form encoding.
pub(crate) fn form(fields: &[(&str, &str)]) -> String {
    let escape = |text: &str| -> String {
        text.bytes()
            .map(|byte| match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(byte).to_string(),
                other => format!("%{other:02X}"),
            })
            .collect()
    };
    let pairs: Vec<String> = fields.iter().map(|(key, value)| format!("{}={}", escape(key), escape(value))).collect();
    pairs.join("&")
}

/// A simulator and a client for it.
pub(crate) struct Api {
    pub(crate) running: Running,
    pub(crate) client: reqwest::Client,
}

impl Api {
    pub(crate) fn new(running: Running) -> Self {
        Self { running, client: http_client() }
    }

    pub(crate) async fn stripe() -> Self {
        Self::new(Stripe::start(any_port()).await.unwrap())
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.running.url())
    }

    /// A Stripe call that may fail on the way.
    pub(crate) async fn try_post(
        &self,
        path: &str,
        fields: &[(&str, &str)],
        key: Option<&str>,
    ) -> Result<Answer, reqwest::Error> {
        let mut request = self
            .client
            .post(self.url(path))
            .bearer_auth("sk_test_tests")
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form(fields));
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        Ok(read(request.send().await?).await)
    }

    pub(crate) async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        self.try_post(path, fields, None).await.unwrap()
    }

    pub(crate) async fn post_with_key(&self, path: &str, fields: &[(&str, &str)], key: &str) -> Answer {
        self.try_post(path, fields, Some(key)).await.unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        let request = self.client.get(self.url(path)).bearer_auth("sk_test_tests");
        read(request.send().await.unwrap()).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        let request = self.client.delete(self.url(path)).bearer_auth("sk_test_tests");
        read(request.send().await.unwrap()).await
    }

    pub(crate) async fn json(&self, method: &str, path: &str, body: Value) -> Answer {
        self.try_json(method, path, body).await.unwrap()
    }

    pub(crate) async fn try_json(&self, method: &str, path: &str, body: Value) -> Result<Answer, reqwest::Error> {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let request = self.client.request(method, self.url(path)).bearer_auth("sk-master");
        Ok(read(request.json(&body).send().await?).await)
    }

    /// Turns a knob, which must work.
    pub(crate) async fn sim(&self, path: &str, body: Value) -> Value {
        self.json("POST", &format!("/_sim/{path}"), body).await.ok()
    }

    pub(crate) async fn books(&self) -> Value {
        self.get("/_sim/books").await.ok()
    }

    /// A customer with a card attached: both ids.
    pub(crate) async fn customer_with(&self, token: &str) -> (String, String) {
        let customer = self.post("/v1/customers", &[("email", "jenny@example.com")]).await;
        let customer = customer.str("/id").to_owned();
        let path = format!("/v1/payment_methods/{token}/attach");
        let method = self.post(&path, &[("customer", &customer)]).await;
        assert_eq!(method.status, 200, "{}", method.text);
        (customer, method.str("/id").to_owned())
    }

    /// An off-session charge of 25.00 USD.
    pub(crate) async fn charge(&self, customer: &str, method: &str) -> Answer {
        self.post("/v1/payment_intents", &charge_of(customer, method)).await
    }

    /// A good customer's payment intent, paid.
    pub(crate) async fn paid(&self) -> Value {
        let (customer, method) = self.customer_with("pm_card_visa").await;
        self.charge(&customer, &method).await.ok()
    }

    pub(crate) async fn faults(&self, list: Value) {
        self.sim("faults", list).await;
    }
}

pub(crate) fn charge_of<'a>(customer: &'a str, method: &'a str) -> [(&'a str, &'a str); 7] {
    [
        ("amount", "2500"),
        ("currency", "usd"),
        ("customer", customer),
        ("payment_method", method),
        ("off_session", "true"),
        ("confirm", "true"),
        ("metadata[recharge_id]", "r1"),
    ]
}

/// A webhook as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) headers: hyper::HeaderMap,
    pub(crate) text: String,
    pub(crate) body: Value,
}

impl Received {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// Receives webhooks.
#[derive(Clone)]
pub(crate) struct Receiver {
    pub(crate) url: String,
    received: Arc<Mutex<Vec<Received>>>,
    /// Statuses for the next webhooks; then 200.
    statuses: Arc<Mutex<Vec<u16>>>,
}

impl Receiver {
    pub(crate) async fn start(statuses: &[u16]) -> Self {
        let listener = TcpListener::bind(any_port()).await.unwrap();
        let receiver = Self {
            url: format!("http://{}/hook", listener.local_addr().unwrap()),
            received: Arc::default(),
            statuses: Arc::new(Mutex::new(statuses.iter().rev().copied().collect())),
        };
        let answering = receiver.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let answering = answering.clone();
                tokio::spawn(async move {
                    let service = service_fn(move |request| answering.clone().answer(request));
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        receiver
    }

    async fn answer(self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        let (parts, body) = request.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let body = serde_json::from_str(&text).unwrap();
        self.received.lock().unwrap().push(Received { headers: parts.headers, text, body });
        let status = self.statuses.lock().unwrap().pop().unwrap_or(200);
        let mut response = Response::new(Full::new(Bytes::from(json!({ "seen": true }).to_string())));
        *response.status_mut() = hyper::StatusCode::from_u16(status).unwrap();
        Ok(response)
    }

    pub(crate) fn all(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    /// Waits until `enough` says so.
    pub(crate) async fn until(&self, enough: impl Fn(&[Received]) -> bool) -> Vec<Received> {
        for _ in 0..2000 {
            let all = self.all();
            if enough(&all) {
                return all;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let kinds: Vec<Value> = self.all().iter().map(|one| one.body["type"].clone()).collect();
        panic!("the webhooks did not come, only {kinds:?}");
    }
}

/// HMAC-SHA256 in hex, written once more than in the simulators.
pub(crate) fn hmac_hex(key: &[u8], message: &str) -> String {
    use hmac::{KeyInit as _, Mac as _};
    let mut mac = hmac::Hmac::<sha2::Sha256>::new_from_slice(key).unwrap();
    mac.update(message.as_bytes());
    hex::encode(mac.finalize().into_bytes())
}
