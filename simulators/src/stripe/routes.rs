//! Which call does what.

use serde_json::{Value, json};

use super::error::ApiError;
use super::list::{matches, page};
use super::params::Params;
use super::world::World;
use super::{checkout, customers, payment_intents, payment_methods, refunds, setup_intents};
use crate::http::Call;

type Answer = Result<Value, ApiError>;

/// Plays one call of Stripe's API.
pub(super) fn dispatch(world: &mut World, call: &Call, params: &Params) -> Answer {
    let segments = call.segments();
    let path = match segments.split_first() {
        Some((&"v1", path)) => path,
        _ => &[],
    };
    let method = call.method.as_str();
    let answer = match path.first().copied() {
        Some("customers") => of_customers(world, method, path, params),
        Some("payment_methods") => of_payment_methods(world, method, path, params),
        Some("payment_intents") => of_payment_intents(world, method, path, params),
        Some("setup_intents") => of_setup_intents(world, method, path, params),
        Some("checkout") => of_checkout(world, method, path, params),
        Some("refunds") => of_refunds(world, method, path, params),
        _ => of_the_rest(world, method, path, params),
    };
    answer.unwrap_or_else(|| Err(ApiError::unknown_url(method, &call.path)))
}

fn of_customers(world: &mut World, method: &str, path: &[&str], params: &Params) -> Option<Answer> {
    Some(match (method, path) {
        ("POST", ["customers"]) => customers::create(world, params),
        ("GET", ["customers"]) => {
            page(world, "customer", "/v1/customers", params, |customer| matches(params, customer, "email"))
        }
        ("GET", ["customers", id]) => world.in_path("customer", id, "id"),
        ("POST", ["customers", id]) => customers::update(world, id, params),
        ("DELETE", ["customers", id]) => customers::delete(world, id),
        ("GET", ["customers", id, "payment_methods"]) => customers::existing(world, id).and_then(|_| {
            let url = format!("/v1/customers/{id}/payment_methods");
            page(world, "payment_method", &url, params, |item| item["customer"] == *id && matches(params, item, "type"))
        }),
        ("GET", ["customers", id, "payment_methods", item]) => {
            world.in_path("payment_method", item, "payment_method").and_then(|found| {
                if found["customer"] == *id {
                    return Ok(found);
                }
                Err(ApiError::not_found("PaymentMethod", item, "payment_method"))
            })
        }
        _ => return None,
    })
}

fn of_payment_methods(world: &mut World, method: &str, path: &[&str], params: &Params) -> Option<Answer> {
    Some(match (method, path) {
        ("POST", ["payment_methods"]) => payment_methods::create(world, params),
        ("GET", ["payment_methods"]) => {
            let customer = params.text("customer").unwrap_or_default();
            page(world, "payment_method", "/v1/payment_methods", params, |item| {
                item["customer"] == customer && matches(params, item, "type")
            })
        }
        ("GET", ["payment_methods", id]) => payment_methods::resolve(world, id)
            .map_err(|_| ApiError::not_found("PaymentMethod", id, "payment_method"))
            .and_then(|id| world.in_path("payment_method", &id, "payment_method")),
        ("POST", ["payment_methods", id]) => payment_methods::update(world, id, params),
        ("POST", ["payment_methods", id, "attach"]) => params
            .required("customer")
            .and_then(|customer| payment_methods::attach(world, id, customer))
            .and_then(|id| world.in_path("payment_method", &id, "payment_method")),
        ("POST", ["payment_methods", id, "detach"]) => payment_methods::detach(world, id),
        _ => return None,
    })
}

fn of_payment_intents(world: &mut World, method: &str, path: &[&str], params: &Params) -> Option<Answer> {
    Some(match (method, path) {
        ("POST", ["payment_intents"]) => payment_intents::create(world, params),
        ("GET", ["payment_intents"]) => customer_filter(world, params).and_then(|()| {
            page(world, "payment_intent", "/v1/payment_intents", params, |intent| matches(params, intent, "customer"))
        }),
        ("GET", ["payment_intents", id]) => payment_intents::existing(world, id),
        ("POST", ["payment_intents", id]) => payment_intents::update(world, id, params),
        ("POST", ["payment_intents", id, "confirm"]) => payment_intents::confirm(world, id, params),
        ("POST", ["payment_intents", id, "cancel"]) => payment_intents::cancel(world, id, params),
        ("POST", ["payment_intents", id, "capture"]) => payment_intents::capture(world, id, params),
        _ => return None,
    })
}

fn of_setup_intents(world: &mut World, method: &str, path: &[&str], params: &Params) -> Option<Answer> {
    Some(match (method, path) {
        ("POST", ["setup_intents"]) => setup_intents::create(world, params),
        ("GET", ["setup_intents"]) => page(world, "setup_intent", "/v1/setup_intents", params, |intent| {
            matches(params, intent, "customer") && matches(params, intent, "payment_method")
        }),
        ("GET", ["setup_intents", id]) => setup_intents::existing(world, id),
        ("POST", ["setup_intents", id, "confirm"]) => {
            checkout::refuse_sessions(world, id, "confirm").and_then(|()| setup_intents::confirm(world, id, params))
        }
        ("POST", ["setup_intents", id, "cancel"]) => {
            checkout::refuse_sessions(world, id, "cancel").and_then(|()| setup_intents::cancel(world, id))
        }
        _ => return None,
    })
}

fn of_checkout(world: &mut World, method: &str, path: &[&str], params: &Params) -> Option<Answer> {
    checkout::end_the_old(world);
    Some(match (method, path) {
        ("POST", ["checkout", "sessions"]) => checkout::create(world, params),
        ("GET", ["checkout", "sessions"]) => page(world, checkout::KIND, "/v1/checkout/sessions", params, |session| {
            matches(params, session, "customer") && matches(params, session, "status")
        }),
        ("GET", ["checkout", "sessions", id]) => world.in_path(checkout::KIND, id, "session"),
        ("POST", ["checkout", "sessions", id, "expire"]) => checkout::expire(world, id),
        _ => return None,
    })
}

fn of_refunds(world: &mut World, method: &str, path: &[&str], params: &Params) -> Option<Answer> {
    Some(match (method, path) {
        ("POST", ["refunds"]) => refunds::create(world, params),
        ("GET", ["refunds"]) => page(world, "refund", "/v1/refunds", params, |refund| {
            matches(params, refund, "payment_intent") && matches(params, refund, "charge")
        }),
        ("GET", ["refunds", id]) => world.in_path("refund", id, "id"),
        ("POST", ["refunds", id]) => refunds::update(world, id, params),
        _ => return None,
    })
}

/// What can only be read.
fn of_the_rest(world: &World, method: &str, path: &[&str], params: &Params) -> Option<Answer> {
    if method != "GET" {
        return None;
    }
    Some(match path {
        ["charges"] => page(world, "charge", "/v1/charges", params, |charge| {
            matches(params, charge, "payment_intent") && matches(params, charge, "customer")
        }),
        ["charges", id] => world.in_path("charge", id, "charge"),
        ["balance_transactions"] => page(world, "balance_transaction", "/v1/balance_transactions", params, |entry| {
            matches(params, entry, "source") && matches(params, entry, "type")
        }),
        ["balance_transactions", id] => world.in_path("balance_transaction", id, "id"),
        ["disputes"] => page(world, "dispute", "/v1/disputes", params, |dispute| {
            matches(params, dispute, "payment_intent") && matches(params, dispute, "charge")
        }),
        ["disputes", id] => world.in_path("dispute", id, "dispute"),
        ["events"] => {
            let types = params.list("types");
            page(world, "event", "/v1/events", params, |event| {
                matches(params, event, "type") && (types.is_empty() || types.iter().any(|kind| event["type"] == *kind))
            })
        }
        ["events", id] => world.in_path("event", id, "id"),
        ["balance"] => Ok(json!({
            "object": "balance",
            "available": [{ "amount": 0, "currency": "usd", "source_types": { "card": 0 } }],
            "pending": [{ "amount": 0, "currency": "usd", "source_types": { "card": 0 } }],
            "livemode": false,
        })),
        _ => return None,
    })
}

/// Stripe refuses to list for a customer that never was.
fn customer_filter(world: &World, params: &Params) -> Result<(), ApiError> {
    match params.text("customer") {
        Some(id) if world.get("customer", id).is_none() => Err(ApiError::no_such("customer", id, "customer")),
        _ => Ok(()),
    }
}
