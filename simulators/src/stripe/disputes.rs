//! Disputes: opened and closed by knobs, or by the card made for it.

use serde_json::{Value, json};

use super::charges;
use super::error::ApiError;
use super::world::{World, number, text};

const FEE: i64 = 1500;

/// Whether the bank has taken the money, or will keep it.
pub(super) fn took_money(dispute: &Value) -> bool {
    let status = text(dispute, "status");
    status != "won" && !status.starts_with("warning_")
}

/// Opens a dispute on a charge.
pub(super) fn open(world: &mut World, charge: &str, amount: Option<i64>) -> Result<Value, ApiError> {
    open_as(world, charge, amount, false)
}

fn open_as(world: &mut World, charge: &str, amount: Option<i64>, inquiry: bool) -> Result<Value, ApiError> {
    let charge = world.in_param("charge", charge, "charge")?;
    let id = text(&charge, "id");
    let captured = number(&charge, "amount_captured");
    let amount = amount.unwrap_or(captured);
    if charge["status"] != "succeeded" || !(1..=captured).contains(&amount) {
        return Err(ApiError::invalid("amount", "Only what was captured can be disputed."));
    }
    if charge["disputed"] == true {
        return Err(ApiError::invalid("charge", format!("Charge {id} is disputed already.")));
    }
    let mut dispute = world.new_object(include_str!("templates/dispute.json"), "du");
    let dispute_id = text(&dispute, "id");
    dispute["amount"] = json!(amount);
    dispute["charge"] = json!(id);
    dispute["currency"] = charge["currency"].clone();
    dispute["payment_intent"] = charge["payment_intent"].clone();
    if inquiry {
        dispute["status"] = json!("warning_needs_response");
        dispute["is_charge_refundable"] = json!(true);
        dispute["payment_method_details"]["card"]["case_type"] = json!("inquiry");
    } else {
        let withdrawn = charges::balance_transaction(world, &charge, "adjustment", &dispute_id, -amount, FEE);
        dispute["balance_transactions"] = json!([world.find(&withdrawn)]);
    }
    dispute["evidence_details"]["due_by"] = json!(world.now() + 7 * 86_400);
    world.put(dispute);
    world.update(&id, |charge| charge["disputed"] = json!(true));
    world.emit("charge.dispute.created", &dispute_id);
    if !inquiry {
        world.emit("charge.dispute.funds_withdrawn", &dispute_id);
    }
    world.in_path("dispute", &dispute_id, "dispute")
}

/// `POST /_sim/disputes`.
pub(super) fn open_by_knob(world: &mut World, body: &Value) -> Result<Value, ApiError> {
    let charge = match (body["charge"].as_str(), body["payment_intent"].as_str()) {
        (Some(charge), _) => charge.to_owned(),
        (None, Some(intent)) => {
            let intent = world.in_param("payment_intent", intent, "payment_intent")?;
            text(&intent, "latest_charge")
        }
        (None, None) => return Err(ApiError::missing_param("payment_intent")),
    };
    open_as(world, &charge, body["amount"].as_i64(), body["inquiry"] == true)
}

/// The bank decides. (A knob.)
pub(super) fn close(world: &mut World, id: &str, body: &Value) -> Result<Value, ApiError> {
    let dispute = world.in_path("dispute", id, "dispute")?;
    let now = text(&dispute, "status");
    let ends: &[&str] = if now.starts_with("warning_") { &["warning_closed"] } else { &["won", "lost"] };
    let status = body["status"].as_str().unwrap_or_default();
    if !ends.contains(&status) {
        return Err(ApiError::invalid("status", format!("status must be {}", ends.join(" or "))));
    }
    if ends.contains(&now.as_str()) {
        return Err(ApiError::invalid("", "The dispute is closed already."));
    }
    let before = json!({ "status": dispute["status"] });
    world.update(id, |dispute| {
        dispute["status"] = json!(status);
    });
    if status == "won" {
        let charge = world.in_path("charge", &text(&dispute, "charge"), "charge")?;
        let amount = number(&dispute, "amount");
        let back = charges::balance_transaction(world, &charge, "adjustment", id, amount, -FEE);
        let back = world.find(&back).cloned().unwrap_or_default();
        world.update(id, |dispute| {
            if let Some(entries) = dispute["balance_transactions"].as_array_mut() {
                entries.push(back);
            }
        });
        world.emit("charge.dispute.funds_reinstated", id);
    }
    world.emit_change("charge.dispute.closed", id, Some(before));
    world.in_path("dispute", id, "dispute")
}
