//! Payment intents: the calls.

use serde_json::{Value, json};

use super::confirmation::{self, Confirmation};
use super::error::ApiError;
use super::params::Params;
use super::world::{World, number, text};
use super::{charges, currency, payment_methods};

const KIND: &str = "payment_intent";
const TEXTS: &[&str] = &[
    "description",
    "receipt_email",
    "statement_descriptor",
    "statement_descriptor_suffix",
    "setup_future_usage",
    "transfer_group",
];

/// The intent named in the path.
pub(super) fn existing(world: &World, id: &str) -> Result<Value, ApiError> {
    world.in_path(KIND, id, "intent")
}

pub(super) fn create(world: &mut World, params: &Params) -> Result<Value, ApiError> {
    let amount = params.integer("amount")?.ok_or_else(|| ApiError::missing_param("amount"))?;
    let currency = currency::known(params.required("currency")?)?;
    currency::check_amount(amount, &currency)?;
    let confirm = params.boolean("confirm")?.unwrap_or(false);
    if params.text("off_session").is_some() && !confirm {
        return Err(ApiError::invalid("off_session", "off_session can only be set when confirm is true."));
    }
    let customer = params.text("customer");
    if let Some(customer) = customer {
        world.in_param("customer", customer, "customer")?;
    }
    let mut intent = world.new_object(include_str!("templates/payment_intent.json"), "pi");
    let id = text(&intent, "id");
    intent["amount"] = json!(amount);
    intent["currency"] = json!(currency);
    intent["customer"] = json!(customer);
    intent["client_secret"] = json!(secret(world, &id));
    intent["capture_method"] = json!(one_of(params, "capture_method", &["automatic", "automatic_async", "manual"])?);
    intent["confirmation_method"] = json!(one_of(params, "confirmation_method", &["automatic", "manual"])?);
    set_method_types(&mut intent, params)?;
    params.copy_texts(&mut intent, TEXTS);
    params.merge_metadata(&mut intent);
    let confirmation = Confirmation::from_params(params)?;
    let method = params.text("payment_method").map(str::to_owned);
    if confirm {
        let method = method.ok_or_else(|| confirmation::no_method(&intent))?;
        let method = payment_methods::resolve(world, &method)?;
        confirmation.check(world, &intent, &method)?;
        world.put(intent);
        world.emit("payment_intent.created", &id);
        confirmation.run(world, &id, &method)?;
    } else {
        if let Some(method) = method {
            let method = payment_methods::resolve(world, &method)?;
            intent["payment_method"] = json!(method);
            intent["status"] = json!("requires_confirmation");
        }
        world.put(intent);
        world.emit("payment_intent.created", &id);
    }
    existing(world, &id)
}

/// A client secret for an intent.
pub(super) fn secret(world: &World, id: &str) -> String {
    world.new_id(&format!("{id}_secret"))
}

fn one_of<'a>(params: &'a Params, name: &str, allowed: &[&'a str]) -> Result<&'a str, ApiError> {
    let first = allowed.first().copied().unwrap_or_default();
    let value = params.text(name).unwrap_or(first);
    if allowed.contains(&value) {
        return Ok(value);
    }
    let message = format!("Invalid {name}: must be one of {}", allowed.join(", "));
    Err(ApiError::invalid(name, message))
}

/// Explicit types, or, without any, what the Dashboard offers.
pub(super) fn set_method_types(intent: &mut Value, params: &Params) -> Result<(), ApiError> {
    let types = params.list("payment_method_types");
    let automatic = params.boolean("automatic_payment_methods.enabled")?;
    if !types.is_empty() && automatic == Some(true) {
        return Err(ApiError::invalid(
            "",
            "You may only specify one of these parameters: automatic_payment_methods, payment_method_types.",
        ));
    }
    if types.is_empty() && automatic != Some(false) {
        let redirects = params.text("automatic_payment_methods.allow_redirects").unwrap_or("always");
        intent["automatic_payment_methods"] = json!({ "enabled": true, "allow_redirects": redirects });
    }
    if !types.is_empty() {
        intent["payment_method_types"] = json!(types);
    }
    Ok(())
}

pub(super) fn update(world: &mut World, id: &str, params: &Params) -> Result<Value, ApiError> {
    let mut intent = existing(world, id)?;
    let status = text(&intent, "status");
    let open = status.starts_with("requires_");
    for name in ["amount", "currency", "customer", "payment_method"] {
        if params.text(name).is_some() && !open {
            let message = format!(
                "This PaymentIntent's {name} could not be updated because it has a status of {status}. You may only update the {name} of a PaymentIntent with one of the following statuses: requires_payment_method, requires_confirmation, requires_action."
            );
            return Err(ApiError::unexpected_state(KIND, message, intent));
        }
    }
    if let Some(currency) = params.text("currency") {
        intent["currency"] = json!(currency::known(currency)?);
    }
    if let Some(amount) = params.integer("amount")? {
        currency::check_amount(amount, &text(&intent, "currency"))?;
        intent["amount"] = json!(amount);
    }
    if let Some(customer) = params.text("customer") {
        world.in_param("customer", customer, "customer")?;
        intent["customer"] = json!(customer);
    }
    if let Some(method) = params.text("payment_method") {
        intent["payment_method"] = json!(payment_methods::resolve(world, method)?);
        intent["status"] = json!("requires_confirmation");
        intent["next_action"] = Value::Null;
    }
    params.copy_texts(&mut intent, TEXTS);
    params.merge_metadata(&mut intent);
    world.put(intent);
    existing(world, id)
}

pub(super) fn confirm(world: &mut World, id: &str, params: &Params) -> Result<Value, ApiError> {
    let intent = existing(world, id)?;
    match text(&intent, "status").as_str() {
        "requires_payment_method" | "requires_confirmation" | "requires_action" => {}
        "succeeded" => {
            let message = "You cannot confirm this PaymentIntent because it has already succeeded after being previously confirmed.";
            return Err(ApiError::unexpected_state(KIND, message, intent));
        }
        status => {
            let message = format!(
                "You cannot confirm this PaymentIntent because it has a status of {status}. Only a PaymentIntent with one of the following statuses may be confirmed: requires_confirmation, requires_action."
            );
            return Err(ApiError::unexpected_state(KIND, message, intent));
        }
    }
    let confirmation = Confirmation::from_params(params)?;
    let method = params
        .text("payment_method")
        .or_else(|| intent["payment_method"].as_str())
        .ok_or_else(|| confirmation::no_method(&intent))?;
    let method = payment_methods::resolve(world, method)?;
    confirmation.check(world, &intent, &method)?;
    confirmation.run(world, id, &method)?;
    existing(world, id)
}

pub(super) fn cancel(world: &mut World, id: &str, params: &Params) -> Result<Value, ApiError> {
    let intent = existing(world, id)?;
    let status = text(&intent, "status");
    if !status.starts_with("requires_") {
        let message = format!(
            "You cannot cancel this PaymentIntent because it has a status of {status}. Only a PaymentIntent with one of the following statuses may be canceled: requires_payment_method, requires_capture, requires_confirmation, requires_action, processing."
        );
        return Err(ApiError::unexpected_state(KIND, message, intent));
    }
    let now = world.now();
    let reason = params.text("cancellation_reason");
    world.update(id, |intent| {
        intent["status"] = json!("canceled");
        intent["canceled_at"] = json!(now);
        intent["cancellation_reason"] = json!(reason);
        intent["amount_capturable"] = json!(0);
        intent["next_action"] = Value::Null;
    });
    world.emit("payment_intent.canceled", id);
    existing(world, id)
}

pub(super) fn capture(world: &mut World, id: &str, params: &Params) -> Result<Value, ApiError> {
    let intent = existing(world, id)?;
    if intent["status"] != "requires_capture" {
        let message = format!(
            "This PaymentIntent could not be captured because it has a status of {}. Only a PaymentIntent with one of the following statuses may be captured: requires_capture.",
            text(&intent, "status")
        );
        return Err(ApiError::unexpected_state(KIND, message, intent));
    }
    let most = number(&intent, "amount_capturable");
    let amount = params.integer("amount_to_capture")?.unwrap_or(most);
    if !(1..=most).contains(&amount) {
        return Err(ApiError::invalid(
            "amount_to_capture",
            "The amount_to_capture must be between 1 and the authorized amount.",
        ));
    }
    charges::capture(world, &text(&intent, "latest_charge"), amount);
    confirmation::succeed(world, id, amount);
    existing(world, id)
}
