//! Refunds.

use serde_json::{Value, json};

use super::cards::Behaviour;
use super::config::RefundMode;
use super::error::ApiError;
use super::params::Params;
use super::world::{World, number, text};
use super::{charges, currency, disputes};

const REASONS: &[&str] = &["duplicate", "fraudulent", "requested_by_customer"];

pub(super) fn create(world: &mut World, params: &Params) -> Result<Value, ApiError> {
    let charge = charge_to_refund(world, params)?;
    let amount = amount_to_refund(params, &charge)?;
    let reason = params.text("reason");
    if reason.is_some_and(|reason| !REASONS.contains(&reason)) {
        let message = format!("Invalid reason: must be one of {}", REASONS.join(", "));
        return Err(ApiError::invalid("reason", message));
    }
    if refuses(world) {
        return Err(ApiError::invalid(
            "",
            "Insufficient funds in your Stripe account. One way to add funds is by creating a charge with a test card that bypasses your pending balance.",
        )
        .code("balance_insufficient")
        .after_execution());
    }
    let charge_id = text(&charge, "id");
    let pending = world.config.refunds == RefundMode::Pending
        || world
            .cards
            .get(&text(&charge, "payment_method"))
            .is_some_and(|used| used.card.behaviour == Behaviour::RefundPending);
    let mut refund = world.new_object(include_str!("templates/refund.json"), "re");
    let id = text(&refund, "id");
    if let Some(fields) = refund.as_object_mut() {
        fields.remove("livemode");
    }
    refund["amount"] = json!(amount);
    refund["charge"] = json!(charge_id);
    refund["currency"] = charge["currency"].clone();
    refund["payment_intent"] = charge["payment_intent"].clone();
    refund["reason"] = json!(reason);
    refund["status"] = json!(if pending { "pending" } else { "succeeded" });
    refund["balance_transaction"] = json!(charges::balance_transaction(world, &charge, "refund", &id, -amount, 0));
    params.merge_metadata(&mut refund);
    world.put(refund.clone());
    change_refunded(world, &charge_id, amount);
    world.emit("refund.created", &id);
    world.emit("charge.refunded", &charge_id);
    Ok(refund)
}

/// Whether the balance is too low for the next refund.
fn refuses(world: &mut World) -> bool {
    match world.config.refunds_refuse_next.checked_sub(1) {
        Some(left) => {
            world.config.refunds_refuse_next = left;
            true
        }
        None => world.config.refunds == RefundMode::Refuse,
    }
}

fn charge_to_refund(world: &World, params: &Params) -> Result<Value, ApiError> {
    let charge = match (params.text("charge"), params.text("payment_intent")) {
        (Some(charge), _) => world.in_param("charge", charge, "charge")?,
        (None, Some(id)) => {
            let intent = world.in_param("payment_intent", id, "payment_intent")?;
            world
                .get("charge", &text(&intent, "latest_charge"))
                .filter(|charge| charge["status"] == "succeeded")
                .ok_or_else(|| {
                    let message = format!("This PaymentIntent ({id}) does not have a successful charge to refund.");
                    ApiError::invalid("payment_intent", message).code("payment_intent_unexpected_state")
                })?
        }
        (None, None) => {
            return Err(ApiError::invalid(
                "",
                "One of the following params should be provided for this request: payment_intent or charge.",
            ));
        }
    };
    let id = text(&charge, "id");
    if charge["captured"] != true || charge["status"] != "succeeded" {
        let message = format!("Charge {id} has not been captured, and can't be refunded.");
        return Err(ApiError::invalid("charge", message).code("charge_not_refundable"));
    }
    let lost = world.newest_first("dispute").any(|dispute| dispute["charge"] == id && disputes::took_money(dispute));
    if lost {
        let message = format!("Charge {id} has been charged back; cannot issue a refund.");
        return Err(ApiError::invalid("charge", message).code("charge_disputed"));
    }
    Ok(charge)
}

fn amount_to_refund(params: &Params, charge: &Value) -> Result<i64, ApiError> {
    let left = number(charge, "amount_captured") - number(charge, "amount_refunded");
    if left == 0 {
        let message = format!("Charge {} has already been refunded.", text(charge, "id"));
        return Err(ApiError::invalid("charge", message).code("charge_already_refunded"));
    }
    let amount = params.integer("amount")?.unwrap_or(left);
    if amount < 1 {
        return Err(ApiError::invalid("amount", "This value must be greater than or equal to 1.")
            .code("parameter_invalid_integer"));
    }
    if amount > left {
        let currency = text(charge, "currency");
        let message = format!(
            "Refund amount ({}) is greater than unrefunded amount on charge ({})",
            currency::show(amount, &currency),
            currency::show(left, &currency)
        );
        return Err(ApiError::invalid("amount", message).code("amount_too_large"));
    }
    Ok(amount)
}

fn change_refunded(world: &mut World, charge: &str, by: i64) {
    world.update(charge, |charge| {
        let refunded = number(charge, "amount_refunded") + by;
        charge["amount_refunded"] = json!(refunded);
        charge["refunded"] = json!(refunded == number(charge, "amount_captured"));
    });
}

pub(super) fn update(world: &mut World, id: &str, params: &Params) -> Result<Value, ApiError> {
    let mut refund = world.in_path("refund", id, "id")?;
    params.merge_metadata(&mut refund);
    world.put(refund.clone());
    world.emit("refund.updated", id);
    Ok(refund)
}

/// A pending refund comes to its end; one that succeeded may still fail. (A knob.)
pub(super) fn settle(world: &mut World, id: &str, succeeded: bool) -> Result<Value, ApiError> {
    let refund = world.in_path("refund", id, "id")?;
    let status = text(&refund, "status");
    if status == "failed" || (succeeded && status != "pending") {
        return Err(ApiError::invalid("", format!("The refund is {status} already.")));
    }
    if succeeded {
        world.update(id, |refund| refund["status"] = json!("succeeded"));
        world.emit_change("refund.updated", id, Some(json!({ "status": status })));
        return world.in_path("refund", id, "id");
    }
    let charge_id = text(&refund, "charge");
    let amount = number(&refund, "amount");
    let charge = world.in_path("charge", &charge_id, "charge")?;
    let returned = charges::balance_transaction(world, &charge, "refund_failure", id, amount, 0);
    world.update(id, |refund| {
        refund["status"] = json!("failed");
        refund["failure_reason"] = json!("expired_or_canceled_card");
        refund["failure_balance_transaction"] = json!(returned);
    });
    change_refunded(world, &charge_id, -amount);
    world.emit_change("refund.updated", id, Some(json!({ "status": status })));
    world.emit("refund.failed", id);
    world.in_path("refund", id, "id")
}
