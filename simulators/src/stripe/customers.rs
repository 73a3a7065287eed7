//! Customers.

use serde_json::{Value, json};

use super::error::ApiError;
use super::params::Params;
use super::payment_methods;
use super::world::{World, text};

const TEXTS: &[&str] = &["email", "name", "phone", "description"];

pub(super) fn create(world: &mut World, params: &Params) -> Result<Value, ApiError> {
    let mut customer = world.new_object(include_str!("templates/customer.json"), "cus");
    let id = text(&customer, "id");
    customer["invoice_prefix"] = json!(id.chars().skip(4).take(8).collect::<String>().to_uppercase());
    params.copy_texts(&mut customer, TEXTS);
    params.merge_metadata(&mut customer);
    world.put(customer);
    if let Some(method) = params.text("payment_method") {
        payment_methods::attach(world, method, &id)?;
    }
    set_default(world, &id, params)?;
    world.emit("customer.created", &id);
    world.in_path("customer", &id, "id")
}

pub(super) fn update(world: &mut World, id: &str, params: &Params) -> Result<Value, ApiError> {
    let mut customer = existing(world, id)?;
    set_default(world, id, params)?;
    if let Some(current) = world.get("customer", id) {
        customer = current;
    }
    params.copy_texts(&mut customer, TEXTS);
    params.merge_metadata(&mut customer);
    world.put(customer);
    world.emit("customer.updated", id);
    world.in_path("customer", id, "id")
}

pub(super) fn delete(world: &mut World, id: &str) -> Result<Value, ApiError> {
    existing(world, id)?;
    let attached: Vec<String> = world
        .newest_first("payment_method")
        .filter(|method| method["customer"] == id)
        .map(|method| text(method, "id"))
        .collect();
    for method in attached {
        payment_methods::detach(world, &method)?;
    }
    world.emit("customer.deleted", id);
    let gone = json!({ "id": id, "object": "customer", "deleted": true });
    world.put(gone.clone());
    Ok(gone)
}

/// A customer named in the path that has not been deleted.
pub(super) fn existing(world: &World, id: &str) -> Result<Value, ApiError> {
    world
        .in_path("customer", id, "id")
        .ok()
        .filter(|customer| customer["deleted"] != true)
        .ok_or_else(|| ApiError::not_found("customer", id, "id"))
}

fn set_default(world: &mut World, id: &str, params: &Params) -> Result<(), ApiError> {
    const PARAM: &str = "invoice_settings.default_payment_method";
    if params.is_cleared(PARAM) {
        world.update(id, |customer| {
            customer["invoice_settings"]["default_payment_method"] = Value::Null;
        });
    }
    let Some(method) = params.text(PARAM) else { return Ok(()) };
    let attached = world.get("payment_method", method);
    if attached.is_none_or(|method| method["customer"] != id) {
        let message = format!(
            "The customer does not have a payment method with the ID {method}. The payment method must be attached to the customer."
        );
        return Err(ApiError::invalid(PARAM, message).code("resource_missing"));
    }
    world.update(id, |customer| {
        customer["invoice_settings"]["default_payment_method"] = json!(method);
    });
    Ok(())
}
