//! Charges and what they do to the account's balance.

use serde_json::{Value, json};

use super::cards::Decline;
use super::error::ApiError;
use super::world::{World, number, text};

const DAY: i64 = 86_400;

/// What became of a charge.
#[derive(Debug, Clone, Copy)]
pub(super) enum Outcome {
    Captured,
    Authorized,
    Pending,
    Failed(&'static Decline),
}

/// Stripe's fee: 2.9 % and 30 minor units.
fn fee_on(amount: i64) -> i64 {
    (amount * 29 + 500) / 1000 + 30
}

/// A new charge for a payment intent.
pub(super) fn create(world: &mut World, intent: &Value, method: &str, outcome: Outcome) -> String {
    let mut charge = world.new_object(include_str!("templates/charge.json"), "ch");
    let id = text(&charge, "id");
    for name in
        ["amount", "currency", "customer", "description", "metadata", "receipt_email", "statement_descriptor_suffix"]
    {
        charge[name] = intent[name].clone();
    }
    set_status(&mut charge, "pending", false, false);
    charge["payment_intent"] = intent["id"].clone();
    charge["payment_method"] = json!(method);
    charge["receipt_url"] = json!(format!("https://pay.stripe.com/receipts/payment/{id}"));
    charge["calculated_statement_descriptor"] = json!("SIMULATOR");
    charge["balance_transaction"] = Value::Null;
    if let Some(paid_with) = world.get("payment_method", method) {
        charge["billing_details"] = paid_with["billing_details"].clone();
        for name in ["brand", "country", "exp_month", "exp_year", "fingerprint", "funding", "last4"] {
            charge["payment_method_details"]["card"][name] = paid_with["card"][name].clone();
        }
        charge["payment_method_details"]["card"]["network"] = paid_with["card"]["brand"].clone();
        charge["payment_method_details"]["card"]["amount_authorized"] = intent["amount"].clone();
        charge["payment_method_details"]["card"]["overcapture"]["maximum_amount_capturable"] = intent["amount"].clone();
    }
    world.put(charge);
    set_outcome(world, &id, outcome);
    id
}

/// Gives a charge its outcome, at once or later.
pub(super) fn set_outcome(world: &mut World, id: &str, outcome: Outcome) {
    match outcome {
        Outcome::Captured => {
            let amount = world.find(id).map(|charge| number(charge, "amount")).unwrap_or_default();
            capture(world, id, amount);
        }
        Outcome::Authorized => {
            world.update(id, |charge| set_status(charge, "succeeded", true, false));
            world.emit("charge.succeeded", id);
        }
        Outcome::Pending => {
            world.update(id, |charge| set_status(charge, "pending", false, true));
            world.emit("charge.pending", id);
        }
        Outcome::Failed(decline) => {
            world.update(id, |charge| {
                set_status(charge, "failed", false, false);
                charge["failure_code"] = json!(decline.code);
                charge["failure_message"] = json!(decline.message);
                charge["receipt_url"] = Value::Null;
                charge["outcome"] = json!({
                    "advice_code": decline.advice_code,
                    "network_advice_code": null,
                    "network_decline_code": null,
                    "network_status": "declined_by_network",
                    "reason": decline.decline_code.unwrap_or(decline.code),
                    "risk_level": "normal",
                    "risk_score": 20,
                    "seller_message": "The bank did not return any further details with this decline.",
                    "type": "issuer_declined",
                });
            });
            world.emit("charge.failed", id);
        }
    }
}

/// Captures `amount` of a charge: the money is in the balance now.
pub(super) fn capture(world: &mut World, id: &str, amount: i64) {
    let Some(charge) = world.get("charge", id) else { return };
    let fee = fee_on(amount);
    let transaction = balance_transaction(world, &charge, "charge", id, amount, fee);
    let was_authorized = charge["status"] == "succeeded";
    world.update(id, |charge| {
        set_status(charge, "succeeded", true, true);
        charge["amount_captured"] = json!(amount);
        charge["balance_transaction"] = json!(transaction);
    });
    world.emit(if was_authorized { "charge.captured" } else { "charge.succeeded" }, id);
}

/// A captured charge fails after all: the money leaves the balance again.
pub(super) fn take_back(world: &mut World, id: &str, decline: &'static Decline) -> Result<(), ApiError> {
    let charge = world.in_param("charge", id, "charge")?;
    if number(&charge, "amount_refunded") != 0 || charge["disputed"] == true {
        let message = format!("Charge {id} was refunded or disputed: it can't fail as well.");
        return Err(ApiError::invalid("charge", message));
    }
    let returned =
        balance_transaction(world, &charge, "payment_failure_refund", id, -number(&charge, "amount_captured"), 0);
    world.update(id, |charge| {
        charge["amount_captured"] = json!(0);
        charge["failure_balance_transaction"] = json!(returned);
    });
    set_outcome(world, id, Outcome::Failed(decline));
    Ok(())
}

fn set_status(charge: &mut Value, status: &str, paid: bool, captured: bool) {
    charge["status"] = json!(status);
    charge["paid"] = json!(paid);
    charge["captured"] = json!(captured);
}

/// Books a movement of the account's balance, and gives its id.
pub(super) fn balance_transaction(
    world: &mut World,
    charge: &Value,
    kind: &str,
    source: &str,
    amount: i64,
    fee: i64,
) -> String {
    let mut entry = world.new_object(include_str!("templates/balance_transaction.json"), "txn");
    if let Some(fields) = entry.as_object_mut() {
        fields.remove("livemode");
    }
    entry["amount"] = json!(amount);
    entry["fee"] = json!(fee);
    entry["net"] = json!(amount - fee);
    entry["currency"] = charge["currency"].clone();
    entry["description"] = charge["description"].clone();
    entry["available_on"] = json!(world.now() + 2 * DAY);
    entry["status"] = json!("pending");
    entry["type"] = json!(kind);
    entry["reporting_category"] = json!(if kind == "adjustment" { "dispute" } else { kind });
    entry["source"] = json!(source);
    if fee != 0 {
        entry["fee_details"] = json!([{
            "amount": fee,
            "application": null,
            "currency": charge["currency"],
            "description": "Stripe processing fees",
            "type": "stripe_fee",
        }]);
    }
    let id = text(&entry, "id");
    world.put(entry);
    id
}
