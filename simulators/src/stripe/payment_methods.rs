//! Payment methods: cards, behind magic tokens or raw test numbers.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::cards::{self, Behaviour, Card};
use super::error::ApiError;
use super::params::Params;
use super::world::{CardUse, World, number, text};
use crate::ids::base62;

/// `POST /v1/payment_methods`.
pub(super) fn create(world: &mut World, params: &Params) -> Result<Value, ApiError> {
    let kind = params.required("type")?;
    if kind != "card" {
        let message = format!("The payment method type \"{kind}\" is not played by this simulator: use \"card\".");
        return Err(ApiError::invalid("type", message));
    }
    let (card, expiry) = match params.text("card.token") {
        Some(token) => {
            let card = cards::by_token(token).ok_or_else(|| ApiError::no_such("token", token, "card.token"))?;
            (card, None)
        }
        None => {
            let card = cards::by_number(params.required("card.number")?).map_err(ApiError::card)?;
            (card, Some(expiry_of(world, params)?))
        }
    };
    let id = insert(world, card, expiry);
    let mut method = world.in_path("payment_method", &id, "payment_method")?;
    for name in ["email", "name", "phone"] {
        if let Some(value) = params.text(&format!("billing_details.{name}")) {
            method["billing_details"][name] = json!(value);
        }
    }
    for name in ["city", "country", "line1", "line2", "postal_code", "state"] {
        if let Some(value) = params.text(&format!("billing_details.address.{name}")) {
            method["billing_details"]["address"][name] = json!(value);
        }
    }
    params.merge_metadata(&mut method);
    world.put(method.clone());
    Ok(method)
}

/// `POST /v1/payment_methods/:id`.
pub(super) fn update(world: &mut World, id: &str, params: &Params) -> Result<Value, ApiError> {
    let mut method = world.in_path("payment_method", id, "payment_method")?;
    params.merge_metadata(&mut method);
    for name in ["exp_month", "exp_year"] {
        if let Some(value) = params.integer(&format!("card.{name}"))? {
            method["card"][name] = json!(value);
        }
    }
    world.put(method.clone());
    world.emit("payment_method.updated", id);
    Ok(method)
}

fn expiry_of(world: &World, params: &Params) -> Result<(i64, i64), ApiError> {
    let missing = ApiError::missing_param;
    let month = params.integer("card.exp_month")?.ok_or_else(|| missing("card.exp_month"))?;
    let year = params.integer("card.exp_year")?.ok_or_else(|| missing("card.exp_year"))?;
    let year = if year < 100 { year + 2000 } else { year };
    let refused = |code: &str, words: &str, param: &str| {
        let mut error = ApiError::invalid(param, words).code(code).field("type", json!("card_error"));
        error.status = 402;
        error
    };
    if !(1..=12).contains(&month) {
        return Err(refused("invalid_expiry_month", "Your card's expiration month is invalid.", "exp_month"));
    }
    let days_since_epoch = world.now() / 86_400;
    let this_year = 1970 + days_since_epoch * 100 / 36_525;
    if year < this_year || year > this_year + 50 {
        return Err(refused("invalid_expiry_year", "Your card's expiration year is invalid.", "exp_year"));
    }
    Ok((month, year))
}

/// A new payment method for a card.
fn insert(world: &mut World, card: &'static Card, expiry: Option<(i64, i64)>) -> String {
    let mut method = world.new_object(include_str!("templates/payment_method.json"), "pm");
    describe(&mut method["card"], card);
    if let Some((month, year)) = expiry {
        method["card"]["exp_month"] = json!(month);
        method["card"]["exp_year"] = json!(year);
    }
    let id = text(&method, "id");
    world.put(method);
    world.cards.insert(id.clone(), CardUse { card, set_up: false, spent: false });
    id
}

/// A new payment method for a card that a person chose by its number.
pub(super) fn of_number(world: &mut World, number: &str) -> Result<String, ApiError> {
    let card = cards::by_number(number).map_err(ApiError::card)?;
    Ok(insert(world, card, None))
}

/// What one can see of a card.
fn describe(shown: &mut Value, card: &Card) {
    let last4: String = card.number.chars().skip(card.number.len() - 4).collect();
    let hash = Sha256::digest(format!("fingerprint of {}", card.number));
    shown["brand"] = json!(card.brand);
    shown["display_brand"] = json!(card.brand);
    shown["country"] = json!(card.country);
    shown["funding"] = json!(card.funding);
    shown["last4"] = json!(last4);
    shown["fingerprint"] = json!(base62(&hash, 16));
    shown["networks"] = json!({ "available": [card.brand], "preferred": null });
}

/// The payment method meant by a parameter: a magic token stands for a new one.
pub(super) fn resolve(world: &mut World, id: &str) -> Result<String, ApiError> {
    if let Some(card) = id.starts_with("pm_card_").then(|| cards::by_token(id)).flatten() {
        return Ok(insert(world, card, None));
    }
    if world.get("payment_method", id).is_none() {
        return Err(ApiError::no_such("PaymentMethod", id, "payment_method"));
    }
    Ok(id.to_owned())
}

/// Attaches to a customer, and gives the real id.
pub(super) fn attach(world: &mut World, id: &str, customer: &str) -> Result<String, ApiError> {
    world.in_param("customer", customer, "customer")?;
    let known = id.starts_with("pm_card_") && cards::by_token(id).is_some();
    if !known && world.get("payment_method", id).is_none() {
        return Err(ApiError::not_found("PaymentMethod", id, "payment_method"));
    }
    let strict = world.config.strict_attach;
    let card = cards::by_token(id).or_else(|| world.cards.get(id).map(|used| used.card));
    if let Some(Behaviour::Decline(decline)) = card.map(|card| card.behaviour)
        && strict
    {
        return Err(ApiError::card(decline));
    }
    let id = resolve(world, id)?;
    let method = world.in_path("payment_method", &id, "payment_method")?;
    if world.cards.get(&id).is_some_and(|used| used.spent) {
        return Err(spent());
    }
    match method["customer"].as_str() {
        Some(owner) if owner == customer => return Ok(id),
        Some(_) => {
            return Err(ApiError::invalid(
                "",
                "The payment method you provided has already been attached to a customer.",
            ));
        }
        None => {}
    }
    world.update(&id, |method| method["customer"] = json!(customer));
    world.emit("payment_method.attached", &id);
    Ok(id)
}

/// Detaches; the payment method can't be used again.
pub(super) fn detach(world: &mut World, id: &str) -> Result<Value, ApiError> {
    let method = world.in_path("payment_method", id, "payment_method")?;
    let Some(customer) = method["customer"].as_str() else {
        return Err(ApiError::invalid(
            "payment_method",
            "The payment method you provided is not attached to a customer so detachment is impossible.",
        ));
    };
    world.update(customer, |customer| {
        if customer["invoice_settings"]["default_payment_method"] == id {
            customer["invoice_settings"]["default_payment_method"] = Value::Null;
        }
    });
    world.update(id, |method| method["customer"] = Value::Null);
    if let Some(used) = world.cards.get_mut(id) {
        used.spent = true;
    }
    world.emit_change("payment_method.detached", id, Some(json!({ "customer": customer })));
    world.in_path("payment_method", id, "payment_method")
}

/// The error for a payment method that was detached.
pub(super) fn spent() -> ApiError {
    ApiError::invalid(
        "payment_method",
        "This PaymentMethod was previously used without being attached to a Customer or was detached from a Customer, and may not be used again.",
    )
}

/// The card network sent new data: a new expiry, or a whole new card.
pub(super) fn auto_update(world: &mut World, id: &str, body: &Value) -> Result<Value, ApiError> {
    let mut method = world.in_path("payment_method", id, "payment_method")?;
    let before = method["card"].clone();
    if let Some(wanted) = body["number"].as_str() {
        let card = cards::by_number(wanted).map_err(ApiError::card)?;
        describe(&mut method["card"], card);
        if let Some(used) = world.cards.get_mut(id) {
            used.card = card;
        }
    }
    let month = body["exp_month"].as_i64().unwrap_or_else(|| number(&before, "exp_month"));
    let year = body["exp_year"].as_i64().unwrap_or_else(|| number(&before, "exp_year") + 4);
    method["card"]["exp_month"] = json!(month);
    method["card"]["exp_year"] = json!(year);
    world.put(method.clone());
    let previous = json!({ "card": {
        "exp_month": before["exp_month"],
        "exp_year": before["exp_year"],
        "last4": before["last4"],
        "fingerprint": before["fingerprint"],
    }});
    world.emit_change("payment_method.automatically_updated", id, Some(previous));
    Ok(method)
}
