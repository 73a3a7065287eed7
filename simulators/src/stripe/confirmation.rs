//! Confirming a payment intent: where a card is charged, refused, or asks for its owner.

use serde_json::{Value, json};

use super::cards::{self, Behaviour, Card, Decline};
use super::charges::{self, Outcome};
use super::error::ApiError;
use super::params::Params;
use super::world::{World, number, text};
use super::{disputes, payment_methods};

/// What a confirmation says, besides the payment method.
#[derive(Debug)]
pub(super) struct Confirmation {
    off_session: bool,
    return_url: Option<String>,
}

/// What the bank does with a card.
enum Verdict {
    Approve,
    Process,
    Authenticate,
    Refuse(&'static Decline),
}

impl Confirmation {
    pub(super) fn from_params(params: &Params) -> Result<Self, ApiError> {
        let off_session = match params.text("off_session") {
            Some("one_off" | "recurring") => true,
            _ => params.boolean("off_session")?.unwrap_or(false),
        };
        Ok(Self { off_session, return_url: params.text("return_url").map(str::to_owned) })
    }

    /// Everything that can be wrong before the bank is asked.
    pub(super) fn check(&self, world: &World, intent: &Value, method: &str) -> Result<(), ApiError> {
        let object = world.in_param("payment_method", method, "payment_method")?;
        if world.cards.get(method).is_some_and(|used| used.spent) {
            return Err(payment_methods::spent());
        }
        if let Some(owner) = object["customer"].as_str()
            && intent["customer"] != owner
        {
            let message = if intent["customer"].is_null() {
                format!("The provided PaymentMethod {method} belongs to a Customer: pass that Customer as `customer`.")
            } else {
                format!(
                    "The provided PaymentMethod {method} does not belong to the Customer {}.",
                    text(intent, "customer")
                )
            };
            return Err(ApiError::invalid("payment_method", message));
        }
        let redirects = intent["automatic_payment_methods"]["enabled"] == true
            && intent["automatic_payment_methods"]["allow_redirects"] != "never";
        if redirects && !self.off_session && self.return_url.is_none() {
            return Err(ApiError::invalid(
                "return_url",
                "This PaymentIntent is configured to accept payment methods enabled in your Dashboard. Because some of these payment methods might redirect your customer off of your page, you must provide a `return_url`. If you don't want to accept redirect-based payment methods, set `automatic_payment_methods[enabled]` to `true` and `automatic_payment_methods[allow_redirects]` to `never` when creating Setup Intents and Payment Intents.",
            ));
        }
        Ok(())
    }

    /// Asks the bank.
    pub(super) fn run(&self, world: &mut World, id: &str, method: &str) -> Result<(), ApiError> {
        world.update(id, |intent| {
            intent["payment_method"] = json!(method);
            intent["last_payment_error"] = Value::Null;
            intent["next_action"] = Value::Null;
        });
        match self.verdict(world, method) {
            Verdict::Approve => approve(world, id, method),
            Verdict::Process => {
                let intent = world.in_path("payment_intent", id, "intent")?;
                let charge = charges::create(world, &intent, method, Outcome::Pending);
                world.update(id, |intent| {
                    intent["status"] = json!("processing");
                    intent["latest_charge"] = json!(charge);
                    intent["processing"] = json!({ "type": "card", "card": { "customer_notification": null } });
                });
                world.emit("payment_intent.processing", id);
                Ok(())
            }
            Verdict::Authenticate => {
                let action = next_action(world, "payment_intents", id, self.return_url.as_deref());
                world.update(id, |intent| {
                    intent["status"] = json!("requires_action");
                    intent["next_action"] = action;
                });
                world.emit("payment_intent.requires_action", id);
                Ok(())
            }
            Verdict::Refuse(decline) => Err(refuse(world, id, method, decline)),
        }
    }

    fn verdict(&self, world: &World, method: &str) -> Verdict {
        let Some(used) = world.cards.get(method) else { return Verdict::Approve };
        let ask = if self.off_session { Verdict::Refuse(&cards::AUTHENTICATION) } else { Verdict::Authenticate };
        match used.card.behaviour {
            Behaviour::Approve | Behaviour::RefundPending | Behaviour::Dispute => Verdict::Approve,
            Behaviour::Decline(decline) | Behaviour::DeclineOnceAttached(decline) => Verdict::Refuse(decline),
            Behaviour::AuthenticateAlways | Behaviour::AuthenticateThenDecline(_) => ask,
            Behaviour::AuthenticateUnlessSetUp if used.set_up => Verdict::Approve,
            Behaviour::AuthenticateUnlessSetUp => ask,
            Behaviour::AuthenticateOnSession if self.off_session => Verdict::Approve,
            Behaviour::AuthenticateOnSession => ask,
            Behaviour::Process => Verdict::Process,
        }
    }
}

/// What the customer has to do next: a page of the simulator stands for the bank's.
pub(super) fn next_action(world: &World, collection: &str, id: &str, return_url: Option<&str>) -> Value {
    let page = format!("{}/_sim/{collection}/{id}/authenticate", world.request.base_url);
    match return_url {
        Some(url) => json!({
            "type": "redirect_to_url",
            "redirect_to_url": { "return_url": url, "url": page },
        }),
        None => json!({
            "type": "use_stripe_sdk",
            "use_stripe_sdk": { "type": "three_d_secure_redirect", "stripe_js": page },
        }),
    }
}

/// The error for a confirmation without a payment method.
pub(super) fn no_method(intent: &Value) -> ApiError {
    let message = "You cannot confirm this PaymentIntent because it's missing a payment method. You can either update the PaymentIntent with a payment method and then confirm it again, or confirm it again directly with a payment method or ConfirmationToken.";
    ApiError::unexpected_state("payment_intent", message, intent.clone())
}

fn approve(world: &mut World, id: &str, method: &str) -> Result<(), ApiError> {
    let intent = world.in_path("payment_intent", id, "intent")?;
    let manual = intent["capture_method"] == "manual";
    let outcome = if manual { Outcome::Authorized } else { Outcome::Captured };
    let charge = charges::create(world, &intent, method, outcome);
    world.update(id, |intent| intent["latest_charge"] = json!(charge));
    save_method(world, &intent, method);
    if manual {
        world.update(id, |intent| {
            intent["status"] = json!("requires_capture");
            intent["amount_capturable"] = intent["amount"].clone();
        });
        world.emit("payment_intent.amount_capturable_updated", id);
        return Ok(());
    }
    succeed(world, id, number(&intent, "amount"));
    if card_of(world, method).is_some_and(|card| card.behaviour == Behaviour::Dispute) {
        disputes::open(world, &charge, None)?;
    }
    Ok(())
}

/// The intent has its money.
pub(super) fn succeed(world: &mut World, id: &str, received: i64) {
    world.update(id, |intent| {
        intent["status"] = json!("succeeded");
        intent["amount_received"] = json!(received);
        intent["amount_capturable"] = json!(0);
        intent["next_action"] = Value::Null;
        intent["processing"] = Value::Null;
        intent["last_payment_error"] = Value::Null;
    });
    world.emit("payment_intent.succeeded", id);
}

/// `setup_future_usage` keeps the payment method for the customer.
fn save_method(world: &mut World, intent: &Value, method: &str) {
    let Some(customer) = intent["customer"].as_str() else { return };
    if intent["setup_future_usage"].is_null() {
        return;
    }
    match payment_methods::attach(world, method, customer) {
        Ok(_) => {
            if let Some(used) = world.cards.get_mut(method) {
                used.set_up = true;
            }
        }
        Err(error) => tracing::debug!(?error, "the payment method could not be kept"),
    }
}

fn card_of(world: &World, method: &str) -> Option<&'static Card> {
    world.cards.get(method).map(|used| used.card)
}

/// Records a refusal, and gives the error to answer with.
fn refuse(world: &mut World, id: &str, method: &str, decline: &'static Decline) -> ApiError {
    let intent = world.find(id).cloned().unwrap_or_default();
    let charge = charges::create(world, &intent, method, Outcome::Failed(decline));
    world.update(id, |intent| intent["latest_charge"] = json!(charge));
    failed(world, id, method, decline)
}

/// The intent needs another payment method: sets `last_payment_error`, and gives it as an error.
fn failed(world: &mut World, id: &str, method: &str, decline: &'static Decline) -> ApiError {
    let method = world.get("payment_method", method).unwrap_or_default();
    let charge = world.find(id).map(|intent| intent["latest_charge"].clone()).unwrap_or_default();
    let mut error = ApiError::card(decline).field("payment_method", method);
    if charge.is_string() {
        error = error.field("charge", charge);
    }
    world.update(id, |intent| {
        intent["status"] = json!("requires_payment_method");
        intent["payment_method"] = Value::Null;
        intent["next_action"] = Value::Null;
        intent["processing"] = Value::Null;
        intent["last_payment_error"] = error.body();
    });
    world.emit("payment_intent.payment_failed", id);
    let intent = world.find(id).cloned().unwrap_or_default();
    error.field("payment_intent", intent)
}

/// The customer authenticates, or fails to. (A knob.)
pub(super) fn authenticate(world: &mut World, id: &str, succeeded: bool) -> Result<Value, ApiError> {
    let intent = world.in_path("payment_intent", id, "intent")?;
    if intent["status"] != "requires_action" {
        let message = "Only a PaymentIntent with the status requires_action can be authenticated.";
        return Err(ApiError::unexpected_state("payment_intent", message, intent));
    }
    let method = text(&intent, "payment_method");
    let then = card_of(world, &method).map(|card| card.behaviour);
    match (succeeded, then) {
        (false, _) => {
            failed(world, id, &method, &cards::AUTHENTICATION_FAILED);
        }
        (true, Some(Behaviour::AuthenticateThenDecline(decline))) => {
            refuse(world, id, &method, decline);
        }
        (true, _) => approve(world, id, &method)?,
    }
    world.in_path("payment_intent", id, "intent")
}

/// A processing payment comes to its end. (A knob.)
pub(super) fn settle(world: &mut World, id: &str, succeeded: bool) -> Result<Value, ApiError> {
    let intent = world.in_path("payment_intent", id, "intent")?;
    if intent["status"] != "processing" {
        let message = "Only a PaymentIntent with the status processing can be settled.";
        return Err(ApiError::unexpected_state("payment_intent", message, intent));
    }
    let charge = text(&intent, "latest_charge");
    if succeeded {
        charges::set_outcome(world, &charge, Outcome::Captured);
        succeed(world, id, number(&intent, "amount"));
    } else {
        charges::set_outcome(world, &charge, Outcome::Failed(cards::SETTLED_BADLY));
        failed(world, id, &text(&intent, "payment_method"), cards::SETTLED_BADLY);
    }
    world.in_path("payment_intent", id, "intent")
}

/// A payment that had succeeded fails after all, as a bank debit can. (A knob.)
pub(super) fn fail_late(world: &mut World, id: &str) -> Result<Value, ApiError> {
    let intent = world.in_path("payment_intent", id, "intent")?;
    if intent["status"] != "succeeded" {
        let message = "Only a PaymentIntent with the status succeeded can fail late.";
        return Err(ApiError::unexpected_state("payment_intent", message, intent));
    }
    charges::take_back(world, &text(&intent, "latest_charge"), &cards::TAKEN_BACK)?;
    world.update(id, |intent| intent["amount_received"] = json!(0));
    failed(world, id, &text(&intent, "payment_method"), &cards::TAKEN_BACK);
    world.in_path("payment_intent", id, "intent")
}
