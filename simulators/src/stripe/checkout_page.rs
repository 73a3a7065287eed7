//! The page that stands for Stripe's Checkout, for a person with a browser: which test card shall be saved?

use serde_json::Value;

use super::cards::{self, Behaviour, Card};
use super::checkout::{self, KIND};
use super::params::Params;
use super::sim::{escaped, html};
use super::world::{World, text};
use super::{Stripe, payment_methods, setup_intents};
use crate::http::{Call, Reply, pairs};

const HEAD: &str = "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
<meta name=\"viewport\" content=\"width=device-width\"><title>Checkout (simulated)</title></head>\
<body><h1>Save a card (simulated)</h1>";
const FOOT: &str = "</body></html>";

impl Stripe {
    /// Shows the page, or plays a press of one of its buttons.
    pub(super) fn checkout_page(&self, call: &Call, id: &str) -> Reply {
        let mut request = self.request_of(call);
        request.id = None;
        request.idempotency_key = None;
        self.with_world(request, |world| {
            checkout::end_the_old(world);
            let Some(session) = world.get(KIND, id) else { return Reply::problem(404, "no such session") };
            if call.changes() { pressed(world, &session, call) } else { shown(world, &session, call) }
        })
    }
}

fn shown(world: &World, session: &Value, call: &Call) -> Reply {
    match text(session, "status").as_str() {
        "open" => form(world, session),
        // The bank's page leads here, and the customer is done.
        "complete" if call.query_value("redirect_status").is_some() => to(&success_url(session)),
        status => over(status),
    }
}

fn pressed(world: &mut World, session: &Value, call: &Call) -> Reply {
    let fields = pairs(&String::from_utf8_lossy(&call.body));
    let field = |wanted: &str| fields.iter().find_map(|(name, value)| (name == wanted).then_some(value.as_str()));
    match (text(session, "status").as_str(), field("button")) {
        // The button pressed twice: where the first press led.
        ("complete", Some("save")) => to(&success_url(session)),
        ("open", Some("save")) => save(world, session, field("card").unwrap_or_default()),
        ("open", Some("back")) if session["cancel_url"].is_string() => to(&text(session, "cancel_url")),
        ("open", _) => Reply::problem(400, "button must be save or back"),
        (status, _) => over(status),
    }
}

/// Completes the session's setup intent with the card of that number.
fn save(world: &mut World, session: &Value, number: &str) -> Reply {
    let id = text(session, "id");
    let intent = text(session, "setup_intent");
    let outcome = payment_methods::of_number(world, number).and_then(|method| {
        let page = checkout::page_of(world, &id);
        setup_intents::confirm(world, &intent, &Params::parse(&format!("payment_method={method}&return_url={page}")))
    });
    match outcome {
        Ok(intent) if intent["status"] == "succeeded" => to(&success_url(session)),
        Ok(intent) => match intent["next_action"]["redirect_to_url"]["url"].as_str() {
            Some(bank) => to(bank),
            None => form(world, session),
        },
        // A number that is no test card's leaves no trace at the setup intent.
        Err(error) => with_error(session, error.fields["message"].as_str()),
    }
}

/// The form, with what the last card was refused for.
fn form(world: &World, session: &Value) -> Reply {
    let intent = world.find(&text(session, "setup_intent")).cloned().unwrap_or_default();
    with_error(session, intent["last_setup_error"]["message"].as_str())
}

fn with_error(session: &Value, error: Option<&str>) -> Reply {
    let error = error.map(|error| format!("<p role=\"alert\">{}</p>", escaped(error))).unwrap_or_default();
    let cards: String = cards::all().iter().enumerate().map(|(place, card)| choice(card, place == 0)).collect();
    let back = if session["cancel_url"].is_string() {
        " <button name=\"button\" value=\"back\" formnovalidate>Back</button>"
    } else {
        ""
    };
    html(
        200,
        format!(
            "{HEAD}{error}<form method=\"post\" action=\"/_sim/checkout/sessions/{}\">\
<fieldset><legend>Test card</legend>{cards}</fieldset>\
<p><button name=\"button\" value=\"save\">Save card</button>{back}</p></form>{FOOT}",
            escaped(&text(session, "id")),
        ),
    )
}

fn choice(card: &Card, checked: bool) -> String {
    let digits: Vec<char> = card.number.chars().collect();
    let groups: Vec<String> = digits.chunks(4).map(|group| group.iter().collect()).collect();
    format!(
        "<div><label><input type=\"radio\" name=\"card\" value=\"{}\" required{}> {} {}: {}</label></div>",
        card.number,
        if checked { " checked" } else { "" },
        groups.join(" "),
        card.brand,
        told(card.behaviour),
    )
}

/// What a person wants to know before choosing.
fn told(behaviour: Behaviour) -> String {
    match behaviour {
        Behaviour::Approve => "succeeds".to_owned(),
        Behaviour::Decline(decline) => format!("declined, {}", decline.decline_code.unwrap_or(decline.code)),
        Behaviour::DeclineOnceAttached(_) => "is saved, declined when charged".to_owned(),
        Behaviour::AuthenticateAlways => "asks for authentication every time".to_owned(),
        Behaviour::AuthenticateUnlessSetUp => "asks for authentication once".to_owned(),
        Behaviour::AuthenticateOnSession => "asks for authentication when the customer is there".to_owned(),
        Behaviour::AuthenticateThenDecline(decline) => {
            format!("asks for authentication, then declined, {}", decline.decline_code.unwrap_or(decline.code))
        }
        Behaviour::Process => "payments stay in processing".to_owned(),
        Behaviour::RefundPending => "refunds stay pending".to_owned(),
        Behaviour::Dispute => "payments are disputed".to_owned(),
    }
}

fn over(status: &str) -> Reply {
    let page = format!("{HEAD}<p>There is nothing left to do: the session is {}.</p>{FOOT}", escaped(status));
    html(200, page)
}

fn success_url(session: &Value) -> String {
    text(session, "success_url").replace("{CHECKOUT_SESSION_ID}", &text(session, "id"))
}

fn to(url: &str) -> Reply {
    html(303, String::new()).with("location", url)
}
