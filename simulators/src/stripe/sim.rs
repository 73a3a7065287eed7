//! The knobs: `/_sim/…` of the Stripe simulator.

use hyper::Method;
use serde_json::{Value, json};

use super::error::ApiError;
use super::world::{World, text};
use super::{Stripe, books, confirmation, disputes, payment_methods, refunds, setup_intents};
use crate::config::merged;
use crate::http::{Call, Reply, lock, pairs};
use crate::server::Service as _;

impl Stripe {
    pub(super) async fn knob(&self, call: &Call) -> Reply {
        let segments = call.segments();
        let path = segments.get(1..).unwrap_or_default();
        match (call.method.clone(), path) {
            (Method::GET, ["books"]) => {
                let books = books::of(&lock(&self.world), self.shared(), self.keys.replays());
                Reply::json(200, &books)
            }
            (Method::GET, ["config"]) => self.show_config(),
            (Method::POST, ["config"]) => self.configure(call),
            (Method::GET, ["webhooks"]) => Reply::json(200, &json!({ "attempts": self.deliveries.log() })),
            (Method::GET, [kind @ ("payment_intents" | "setup_intents"), id, "authenticate"]) => {
                bank_page(&lock(&self.world), kind, id)
            }
            (Method::GET | Method::POST, ["checkout", "sessions", id]) => self.checkout_page(call, id),
            (Method::POST, path) => self.act(call, path),
            _ => Reply::problem(404, "no such knob: see the README of the simulators"),
        }
    }

    fn show_config(&self) -> Reply {
        let config = lock(&self.world).config.clone();
        match serde_json::to_value(config) {
            Ok(value) => Reply::json(200, &value),
            Err(error) => Reply::problem(500, &error.to_string()),
        }
    }

    fn configure(&self, call: &Call) -> Reply {
        let patch = match call.json() {
            Ok(patch) => patch,
            Err(reply) => return reply,
        };
        let current = lock(&self.world).config.clone();
        match merged(&current, &patch) {
            Ok(config) => {
                lock(&self.world).config = config;
                self.show_config()
            }
            Err(message) => Reply::problem(400, &message),
        }
    }

    /// The knobs that do something to an object.
    fn act(&self, call: &Call, path: &[&str]) -> Reply {
        let from_page = call.header("content-type").is_some_and(|kind| kind.contains("form"));
        let body = if from_page {
            let fields = pairs(&String::from_utf8_lossy(&call.body));
            Ok(fields.into_iter().map(|(name, value)| (name, json!(value))).collect::<Value>())
        } else {
            call.json()
        };
        let body = match body {
            Ok(body) => body,
            Err(reply) => return reply,
        };
        let mut request = self.request_of(call);
        request.id = None;
        request.idempotency_key = None;
        let outcome = self.with_world(request, |world| knob(world, path, &body));
        match outcome {
            None => Reply::problem(404, "no such knob: see the README of the simulators"),
            // A button pressed twice: where the first press led.
            Some(Err(error)) if from_page && error.fields.contains_key("payment_intent") => {
                return_to_shop(&error.fields["payment_intent"], &body)
            }
            Some(Err(error)) => error.reply(),
            Some(Ok(object)) if from_page => return_to_shop(&object, &body),
            Some(Ok(object)) => Reply::json(200, &object),
        }
    }
}

fn knob(world: &mut World, path: &[&str], body: &Value) -> Option<Result<Value, ApiError>> {
    let outcome = || match body["outcome"].as_str() {
        Some("succeeded") => Ok(true),
        Some("failed") => Ok(false),
        _ => Err(ApiError::invalid("outcome", "outcome must be succeeded or failed")),
    };
    Some(match path {
        ["payment_intents", id, "settle"] => outcome().and_then(|succeeded| confirmation::settle(world, id, succeeded)),
        ["payment_intents", id, "authenticate"] => {
            outcome().and_then(|succeeded| confirmation::authenticate(world, id, succeeded))
        }
        ["payment_intents", id, "fail_late"] => confirmation::fail_late(world, id),
        ["setup_intents", id, "authenticate"] => {
            outcome().and_then(|succeeded| setup_intents::authenticate(world, id, succeeded))
        }
        ["refunds", id, "settle"] => outcome().and_then(|succeeded| refunds::settle(world, id, succeeded)),
        ["disputes"] => disputes::open_by_knob(world, body),
        ["disputes", id, "close"] => disputes::close(world, id, body),
        ["payment_methods", id, "auto_update"] => payment_methods::auto_update(world, id, body),
        _ => return None,
    })
}

const PAGE_HEAD: &str = "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
<title>3D Secure (simulated)</title></head><body>";

/// The page which stands for the bank's, for a person with a browser.
fn bank_page(world: &World, kind: &str, id: &str) -> Reply {
    let Some(intent) = world.find(id) else { return Reply::problem(404, "no such intent") };
    if intent["status"] != "requires_action" {
        let page = format!(
            "{PAGE_HEAD}<h1>3D Secure (simulated)</h1><p>There is nothing to confirm: {} is {}.</p></body></html>",
            escaped(&text(intent, "id")),
            escaped(&text(intent, "status")),
        );
        return html(200, page);
    }
    let return_url = intent["next_action"]["redirect_to_url"]["return_url"].as_str().unwrap_or("");
    let page = format!(
        "{PAGE_HEAD}<h1>3D Secure (simulated)</h1><p>{} is {}.</p>\
<form method=\"post\" action=\"/_sim/{kind}/{}/authenticate\">\
<input type=\"hidden\" name=\"return_url\" value=\"{}\">\
<button name=\"outcome\" value=\"succeeded\">Authenticate</button> \
<button name=\"outcome\" value=\"failed\">Fail</button></form></body></html>",
        escaped(&text(intent, "id")),
        escaped(&text(intent, "status")),
        escaped(&text(intent, "id")),
        escaped(return_url),
    );
    html(200, page)
}

/// Back to where the merchant wanted the customer, with Stripe's parameters.
fn return_to_shop(intent: &Value, body: &Value) -> Reply {
    let failed = matches!(text(intent, "status").as_str(), "requires_payment_method" | "canceled");
    let status = if failed { "failed" } else { "succeeded" };
    let Some(url) = body["return_url"].as_str().filter(|url| url.starts_with("http")) else {
        return html(200, format!("<!doctype html><title>Done</title><p>{status}</p>"));
    };
    let kind = text(intent, "object");
    let separator = if url.contains('?') { '&' } else { '?' };
    let target = format!(
        "{url}{separator}{kind}={}&{kind}_client_secret={}&redirect_status={status}",
        text(intent, "id"),
        text(intent, "client_secret"),
    );
    html(303, String::new()).with("location", target)
}

pub(super) fn html(status: u16, page: String) -> Reply {
    Reply { status, content_type: "text/html; charset=utf-8", headers: Vec::new(), body: page.into() }
}

pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
