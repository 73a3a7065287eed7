//! The account's state: every object, the cards behind payment methods, events not yet sent.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::API_VERSION;
use super::cards::Card;
use super::config::Config;
use super::error::ApiError;
use crate::server::Shared;

/// What is known of a payment method but never shown.
#[derive(Debug, Clone)]
pub(super) struct CardUse {
    pub(super) card: &'static Card,
    /// The customer has authenticated for later use.
    pub(super) set_up: bool,
    /// It was detached: it can't be used again.
    pub(super) spent: bool,
}

/// The call being played.
#[derive(Debug, Clone, Default)]
pub(super) struct Request {
    pub(super) id: Option<String>,
    pub(super) idempotency_key: Option<String>,
    pub(super) api_version: Option<String>,
    /// `http://host:port`, as the caller addressed the simulator.
    pub(super) base_url: String,
}

/// The state of the account.
#[derive(Debug)]
pub(super) struct World {
    shared: Arc<Shared>,
    objects: HashMap<String, Value>,
    order: HashMap<String, Vec<String>>,
    pub(super) cards: HashMap<String, CardUse>,
    pub(super) outbox: Vec<Value>,
    pub(super) config: Config,
    pub(super) request: Request,
}

impl World {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            objects: HashMap::new(),
            order: HashMap::new(),
            cards: HashMap::new(),
            outbox: Vec::new(),
            config: Config::default(),
            request: Request::default(),
        }
    }

    pub(super) fn now(&self) -> i64 {
        self.shared.clock.now()
    }

    pub(super) fn new_id(&self, prefix: &str) -> String {
        self.shared.ids.stripe(prefix)
    }

    /// A new object from Stripe's own example, with its id and time set.
    pub(super) fn new_object(&self, template: &str, prefix: &str) -> Value {
        let mut object: Value = serde_json::from_str(template).unwrap_or_else(|error| {
            tracing::error!(%error, "a template is not JSON");
            json!({})
        });
        object["id"] = json!(self.new_id(prefix));
        object["created"] = json!(self.now());
        object["livemode"] = json!(false);
        object
    }

    /// Stores an object; a new one becomes the newest of its kind.
    pub(super) fn put(&mut self, object: Value) {
        let id = text(&object, "id");
        if self.objects.insert(id.clone(), object.clone()).is_none() {
            self.order.entry(text(&object, "object")).or_default().push(id);
        }
    }

    /// Any object.
    pub(super) fn find(&self, id: &str) -> Option<&Value> {
        self.objects.get(id)
    }

    /// An object of a kind, as a copy.
    pub(super) fn get(&self, kind: &str, id: &str) -> Option<Value> {
        self.objects.get(id).filter(|object| object["object"] == kind).cloned()
    }

    /// An object named in a path, or a 404.
    pub(super) fn in_path(&self, kind: &str, id: &str, param: &str) -> Result<Value, ApiError> {
        self.get(kind, id).ok_or_else(|| ApiError::not_found(spoken(kind), id, param))
    }

    /// An object named in a parameter, or a 400.
    pub(super) fn in_param(&self, kind: &str, id: &str, param: &str) -> Result<Value, ApiError> {
        self.get(kind, id)
            .filter(|object| object["deleted"] != true)
            .ok_or_else(|| ApiError::no_such(spoken(kind), id, param))
    }

    /// All objects of a kind, newest first.
    pub(super) fn newest_first(&self, kind: &str) -> impl Iterator<Item = &Value> {
        self.order.get(kind).map(Vec::as_slice).unwrap_or_default().iter().rev().filter_map(|id| self.objects.get(id))
    }

    /// Changes a stored object; an unknown id changes nothing.
    pub(super) fn update(&mut self, id: &str, change: impl FnOnce(&mut Value)) {
        if let Some(object) = self.objects.get_mut(id) {
            change(object);
        }
    }

    /// Records an event about the object `id` as it is now.
    pub(super) fn emit(&mut self, kind: &str, id: &str) {
        self.emit_change(kind, id, None);
    }

    /// The same, with the attributes as they were before.
    pub(super) fn emit_change(&mut self, kind: &str, id: &str, previous: Option<Value>) {
        let Some(object) = self.objects.get(id).cloned() else { return };
        let mut event = self.new_object(include_str!("templates/event.json"), "evt");
        event["type"] = json!(kind);
        event["api_version"] = json!(self.request.api_version.as_deref().unwrap_or(API_VERSION));
        event["data"] = json!({ "object": object });
        if let Some(previous) = previous {
            event["data"]["previous_attributes"] = previous;
        }
        event["pending_webhooks"] = json!(i32::from(self.config.webhook_url.is_some()));
        event["request"] = json!({
            "id": self.request.id,
            "idempotency_key": self.request.idempotency_key,
        });
        self.put(event.clone());
        self.outbox.push(event);
    }
}

/// A text field, empty when there is none.
pub(super) fn text(object: &Value, name: &str) -> String {
    object[name].as_str().unwrap_or_default().to_owned()
}

/// A number field, 0 when there is none.
pub(super) fn number(object: &Value, name: &str) -> i64 {
    object[name].as_i64().unwrap_or_default()
}

/// Stripe's messages write some kinds differently.
fn spoken(kind: &str) -> &str {
    match kind {
        "payment_method" => "PaymentMethod",
        "setup_intent" => "setupintent",
        other => other,
    }
}
