//! Checkout Sessions in setup mode: a page of Stripe's on which a customer gives a card.

use serde_json::{Value, json};

use super::error::ApiError;
use super::params::Params;
use super::world::{World, number, text};
use super::{currency, setup_intents};

pub(super) const KIND: &str = "checkout.session";
const TEXTS: &[&str] = &["cancel_url", "client_reference_id", "customer_email", "locale", "success_url"];
/// What Stripe refuses beside `mode=setup`.
const NOT_IN_SETUP: &[&str] = &["line_items", "payment_intent_data", "subscription_data"];
const LONGEST_URL: usize = 5000;
const LIFETIME_SECONDS: i64 = 24 * 60 * 60;
const SHORTEST_LIFETIME_SECONDS: i64 = 30 * 60;

/// `POST /v1/checkout/sessions`.
pub(super) fn create(world: &mut World, params: &Params) -> Result<Value, ApiError> {
    check(params)?;
    let customer = params.text("customer");
    let owner = customer.map(|customer| world.in_param("customer", customer, "customer")).transpose()?;
    let types = params.list("payment_method_types");
    let currency = match params.text("currency") {
        Some(currency) => Some(currency::known(currency)?),
        None if types.is_empty() => return Err(ApiError::missing_param("currency")),
        None => None,
    };
    let expires_at = expiry(world, params)?;
    let intent = setup_intents::for_session(world, customer, &params.within("setup_intent_data"));
    let mut session = world.new_object(include_str!("templates/checkout_session.json"), "cs_test");
    let id = text(&session, "id");
    session["url"] = json!(page_of(world, &id));
    session["customer"] = json!(customer);
    session["customer_details"] = owner.map_or(Value::Null, |owner| details(&owner));
    session["currency"] = json!(currency);
    session["expires_at"] = json!(expires_at);
    session["setup_intent"] = json!(intent);
    let allowed = params.list("allowed_payment_method_types");
    if !allowed.is_empty() {
        session["allowed_payment_method_types"] = json!(allowed);
    }
    params.copy_texts(&mut session, TEXTS);
    params.merge_metadata(&mut session);
    world.put(session);
    world.in_path(KIND, &id, "session")
}

fn details(customer: &Value) -> Value {
    json!({
        "address": null, "business_name": null, "email": customer["email"], "individual_name": null, "name": null,
        "phone": null, "tax_exempt": null, "tax_ids": null,
    })
}

/// What is wrong with the parameters alone.
fn check(params: &Params) -> Result<(), ApiError> {
    match params.required("mode")? {
        "setup" => {}
        mode @ ("payment" | "subscription") => {
            let message = format!("The mode \"{mode}\" is not played by this simulator: use \"setup\".");
            return Err(ApiError::invalid("mode", message));
        }
        _ => return Err(ApiError::invalid("mode", "Invalid mode: must be one of payment, setup, or subscription")),
    }
    if let Some(param) = NOT_IN_SETUP.iter().find(|param| params.value(param).is_some()) {
        return Err(ApiError::invalid(param, format!("You can not pass `{param}` in `setup` mode.")));
    }
    if let Some(other) = params.text("ui_mode").filter(|mode| !["hosted", "hosted_page"].contains(mode)) {
        let message = format!("The ui_mode \"{other}\" is not played by this simulator: use \"hosted_page\".");
        return Err(ApiError::invalid("ui_mode", message));
    }
    for name in ["payment_method_types", "allowed_payment_method_types"] {
        if let Some(other) = params.list(name).iter().find(|kind| *kind != "card") {
            let message = format!("The payment method type \"{other}\" is not played by this simulator: use \"card\".");
            return Err(ApiError::invalid(name, message));
        }
    }
    params.required("success_url")?;
    for name in ["success_url", "cancel_url"] {
        match params.text(name) {
            Some(url) if url.len() > LONGEST_URL => {
                let message = format!("Invalid URL: URL must be {LONGEST_URL} characters or less.");
                return Err(ApiError::invalid(name, message));
            }
            Some(url) if !is_address(url) => return Err(ApiError::invalid(name, "Not a valid URL").code("url_invalid")),
            _ => {}
        }
    }
    Ok(())
}

fn is_address(url: &str) -> bool {
    reqwest::Url::parse(url).is_ok_and(|url| ["http", "https"].contains(&url.scheme()) && url.has_host())
}

fn expiry(world: &World, params: &Params) -> Result<i64, ApiError> {
    let lifetime = params.integer("expires_at")?.map_or(LIFETIME_SECONDS, |at| at - world.now());
    let refused = |words: &str| {
        let message = format!("The `expires_at` timestamp must be {words} from Checkout Session creation.");
        Err(ApiError::invalid("expires_at", message))
    };
    match lifetime {
        ..SHORTEST_LIFETIME_SECONDS => refused("at least 30 minutes"),
        SHORTEST_LIFETIME_SECONDS..=LIFETIME_SECONDS => Ok(world.now() + lifetime),
        _ => refused("less than 24 hours"),
    }
}

/// Where the page of a session is.
pub(super) fn page_of(world: &World, id: &str) -> String {
    format!("{}/_sim/checkout/sessions/{id}", world.request.base_url)
}

/// `POST /v1/checkout/sessions/:id/expire`.
pub(super) fn expire(world: &mut World, id: &str) -> Result<Value, ApiError> {
    let session = world.in_path(KIND, id, "session")?;
    let status = text(&session, "status");
    if status != "open" {
        let message = format!(
            "Only Checkout Sessions with a status in [\"open\"] can be expired. This Checkout Session has a status of {status}."
        );
        return Err(ApiError::invalid("", message));
    }
    end(world, &session);
    world.in_path(KIND, id, "session")
}

/// Ends the sessions whose time is over. Nobody sees it earlier than at the next look at sessions.
pub(super) fn end_the_old(world: &mut World) {
    let now = world.now();
    let is_over = |session: &&Value| session["status"] == "open" && number(session, "expires_at") <= now;
    let over: Vec<Value> = world.newest_first(KIND).filter(is_over).cloned().collect();
    for session in over {
        end(world, &session);
    }
}

fn end(world: &mut World, session: &Value) {
    let id = text(session, "id");
    world.update(&id, |session| {
        session["status"] = json!("expired");
        session["url"] = Value::Null;
    });
    if let Err(error) = setup_intents::cancel(world, &text(session, "setup_intent")) {
        tracing::debug!(?error, "the setup intent of the session that ended stays as it is");
    }
    world.emit("checkout.session.expired", &id);
}

/// The session to which a setup intent belongs.
fn session_of<'a>(world: &'a World, intent: &str) -> Option<&'a Value> {
    world.newest_first(KIND).find(|session| session["setup_intent"] == intent)
}

/// A setup intent succeeded: if it is a session's, that is complete.
pub(super) fn complete(world: &mut World, intent: &str) {
    let Some(id) = session_of(world, intent).map(|session| text(session, "id")) else { return };
    world.update(&id, |session| {
        session["status"] = json!("complete");
        session["url"] = Value::Null;
    });
    world.emit("checkout.session.completed", &id);
}

/// A session's setup intent is confirmed on its page, and canceled by expiring the session.
pub(super) fn refuse_sessions(world: &World, intent: &str, action: &str) -> Result<(), ApiError> {
    let Some(session) = session_of(world, intent) else { return Ok(()) };
    let message = format!(
        "You cannot {action} this SetupIntent because it belongs to the Checkout Session {}.",
        text(session, "id")
    );
    let intent = world.find(intent).cloned().unwrap_or_default();
    Err(ApiError::unexpected_state("setup_intent", message, intent))
}
