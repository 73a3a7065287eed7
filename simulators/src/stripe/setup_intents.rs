//! Setup intents: collecting a card for later.

use serde_json::{Value, json};

use super::cards::{self, Behaviour, Decline};
use super::confirmation::next_action;
use super::error::ApiError;
use super::params::Params;
use super::payment_intents::{secret, set_method_types};
use super::world::{World, text};
use super::{checkout, payment_methods};

const KIND: &str = "setup_intent";

static AUTHENTICATION_FAILED: Decline =
    Decline { code: "setup_intent_authentication_failure", ..copy_of(&cards::AUTHENTICATION_FAILED) };

const fn copy_of(decline: &Decline) -> Decline {
    Decline {
        code: decline.code,
        decline_code: decline.decline_code,
        advice_code: decline.advice_code,
        message: decline.message,
        param: decline.param,
    }
}

pub(super) fn existing(world: &World, id: &str) -> Result<Value, ApiError> {
    world.in_path(KIND, id, "intent")
}

pub(super) fn create(world: &mut World, params: &Params) -> Result<Value, ApiError> {
    let customer = params.text("customer");
    if let Some(customer) = customer {
        world.in_param("customer", customer, "customer")?;
    }
    let usage = params.text("usage").unwrap_or("off_session");
    if !["off_session", "on_session"].contains(&usage) {
        return Err(ApiError::invalid("usage", "Invalid usage: must be one of on_session or off_session"));
    }
    let mut intent = blank(world, customer, params);
    let id = text(&intent, "id");
    intent["usage"] = json!(usage);
    set_method_types(&mut intent, params)?;
    let confirm = params.boolean("confirm")?.unwrap_or(false);
    let method = params.text("payment_method").map(str::to_owned);
    if confirm && method.is_none() {
        return Err(no_method(intent));
    }
    if let Some(method) = method {
        intent["payment_method"] = json!(payment_methods::resolve(world, &method)?);
        intent["status"] = json!("requires_confirmation");
    }
    world.put(intent);
    world.emit("setup_intent.created", &id);
    if confirm {
        return self::confirm(world, &id, params);
    }
    existing(world, &id)
}

/// An intent that is not stored yet.
fn blank(world: &World, customer: Option<&str>, params: &Params) -> Value {
    let mut intent = world.new_object(include_str!("templates/setup_intent.json"), "seti");
    intent["customer"] = json!(customer);
    intent["client_secret"] = json!(secret(world, &text(&intent, "id")));
    params.copy_texts(&mut intent, &["description"]);
    params.merge_metadata(&mut intent);
    intent
}

/// The intent of a Checkout Session; gives its id. `params` are the session's `setup_intent_data`.
pub(super) fn for_session(world: &mut World, customer: Option<&str>, params: &Params) -> String {
    let intent = blank(world, customer, params);
    let id = text(&intent, "id");
    world.put(intent);
    world.emit("setup_intent.created", &id);
    id
}

fn no_method(intent: Value) -> ApiError {
    let message = "You cannot confirm this SetupIntent because it's missing a payment method. Update the SetupIntent with a payment method and then confirm it again.";
    ApiError::unexpected_state(KIND, message, intent)
}

pub(super) fn confirm(world: &mut World, id: &str, params: &Params) -> Result<Value, ApiError> {
    let intent = existing(world, id)?;
    let status = text(&intent, "status");
    if !status.starts_with("requires_") {
        let message = format!("You cannot confirm this SetupIntent because it has a status of {status}.");
        return Err(ApiError::unexpected_state(KIND, message, intent));
    }
    // The payment method of the creation is a real one by now.
    let given = params
        .text("payment_method")
        .filter(|given| !(given.starts_with("pm_card_") && intent["payment_method"].is_string()));
    let Some(method) = given.or_else(|| intent["payment_method"].as_str()) else {
        return Err(no_method(intent));
    };
    let method = payment_methods::resolve(world, method)?;
    world.update(id, |intent| intent["payment_method"] = json!(method));
    let behaviour = world.cards.get(&method).map(|used| used.card.behaviour);
    match behaviour {
        Some(Behaviour::Decline(decline)) if world.config.strict_attach => Err(failed(world, id, &method, decline)),
        Some(
            Behaviour::AuthenticateAlways | Behaviour::AuthenticateUnlessSetUp | Behaviour::AuthenticateThenDecline(_),
        ) => {
            let action = next_action(world, "setup_intents", id, params.text("return_url"));
            world.update(id, |intent| {
                intent["status"] = json!("requires_action");
                intent["next_action"] = action;
            });
            world.emit("setup_intent.requires_action", id);
            existing(world, id)
        }
        _ => succeed(world, id, &method),
    }
}

pub(super) fn cancel(world: &mut World, id: &str) -> Result<Value, ApiError> {
    let intent = existing(world, id)?;
    let status = text(&intent, "status");
    if !status.starts_with("requires_") {
        let message = format!("You cannot cancel this SetupIntent because it has a status of {status}.");
        return Err(ApiError::unexpected_state(KIND, message, intent));
    }
    world.update(id, |intent| intent["status"] = json!("canceled"));
    world.emit("setup_intent.canceled", id);
    existing(world, id)
}

fn succeed(world: &mut World, id: &str, method: &str) -> Result<Value, ApiError> {
    let intent = existing(world, id)?;
    if let Some(customer) = intent["customer"].as_str() {
        payment_methods::attach(world, method, customer)?;
    }
    if let Some(used) = world.cards.get_mut(method) {
        used.set_up = true;
    }
    world.update(id, |intent| {
        intent["status"] = json!("succeeded");
        intent["next_action"] = Value::Null;
        intent["last_setup_error"] = Value::Null;
    });
    world.emit("setup_intent.succeeded", id);
    checkout::complete(world, id);
    existing(world, id)
}

fn failed(world: &mut World, id: &str, method: &str, decline: &'static Decline) -> ApiError {
    let method = world.get("payment_method", method).unwrap_or_default();
    let error = ApiError::card(decline).field("payment_method", method);
    world.update(id, |intent| {
        intent["status"] = json!("requires_payment_method");
        intent["payment_method"] = Value::Null;
        intent["next_action"] = Value::Null;
        intent["last_setup_error"] = error.body();
    });
    world.emit("setup_intent.setup_failed", id);
    let intent = world.find(id).cloned().unwrap_or_default();
    error.field(KIND, intent)
}

/// The customer authenticates, or fails to. (A knob.)
pub(super) fn authenticate(world: &mut World, id: &str, succeeded: bool) -> Result<Value, ApiError> {
    let intent = existing(world, id)?;
    if intent["status"] != "requires_action" {
        let message = "Only a SetupIntent with the status requires_action can be authenticated.";
        return Err(ApiError::unexpected_state(KIND, message, intent));
    }
    let method = text(&intent, "payment_method");
    if succeeded {
        return succeed(world, id, &method);
    }
    failed(world, id, &method, &AUTHENTICATION_FAILED);
    existing(world, id)
}
