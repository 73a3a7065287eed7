//! `POST /api/organizations/:id/card-page`: a card is collected on a page of Stripe's, without a script of ours. What comes
//! of it arrives as the same webhook as a setup intent's (`webhooks/card_setup.rs`).

use std::fmt;

use common::clients::stripe::CardPageOrder;
use common::clock::Timestamp;
use common::ids::OrganizationId;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};
use warp::http::header::CACHE_CONTROL;
use warp::http::{Method, StatusCode};

use super::access::Access;
use super::auth::Caller;
use super::operation::Operation;
use super::payment_method::{customer, refused};
use super::schemas::ProblemBody;
use super::{known, organization_id};
use crate::app::App;
use crate::fields::{FieldProblem, Fields, Read};
use crate::http::{Answer, Problem, Request};
use crate::organizations::repo::{self, AuditEntry};

/// The longest address that is taken. Stripe takes 5000 characters, with what we add.
const LONGEST_URL: usize = 2_000;

/// The routes.
pub(crate) fn operations() -> Vec<Operation> {
    vec![
        Operation::known(
            Method::POST,
            "/api/organizations/{id}/card-page",
            "create_card_page",
            Access::ChangeOrganization,
            |app, call| {
                Box::pin(async move {
                    let id = call.param(0).to_owned();
                    open(&app, call.request, &id, &call.caller).await
                })
            },
        )
        .says(
            "Payment",
            "Opens a page of Stripe's on which the customer gives a card for charges without the customer (Stripe's Checkout \
             Session, `mode=setup`). The card becomes the one that is charged; a pause that the old card caused ends then.",
        )
        .body_or_nothing::<CardPageBody>()
        .answers::<CardPageView>(201, "Where to send the customer's browser.")
        .answers::<ProblemBody>(409, "The organization is closed.")
        .answers::<ProblemBody>(502, "Stripe does not accept the service's own key."),
    ]
}

/// What the page shall be like.
#[derive(JsonSchema)]
#[schemars(rename = "NewCardPage", deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct CardPageBody {
    /// Where the browser comes back to, with `card=saved` added to its query when a card was saved. An address beneath the
    /// service's own (`PUBLIC_URL`), without a fragment; the organization's page in the console unless it is named.
    #[schemars(default, skip_serializing_if = "Option::is_none", length(min = 1, max = LONGEST_URL), url)]
    return_url: Option<String>,
}

/// A page that waits for its customer.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "CardPage")]
struct CardPageView {
    /// For whom the card is collected.
    c_organization_id: OrganizationId,
    /// Stripe's customer, to whom the card will belong.
    stripe_customer_id: String,
    /// Stripe's Checkout Session.
    checkout_session_id: String,
    /// The page. For the customer only: it is neither stored nor logged.
    url: String,
    /// Until when it can be used.
    expires_at: Timestamp,
}

/// Without the address.
impl fmt::Debug for CardPageView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CardPageView").field("checkout_session_id", &self.checkout_session_id).finish_non_exhaustive()
    }
}

/// `POST /api/organizations/:id/card-page`
async fn open(app: &App, mut request: Request, id: &str, caller: &Caller) -> Result<Answer, Problem> {
    let id = organization_id(id)?;
    let body = request.object_or_nothing().await?;
    let return_url = read(&body, &app.config.public_url).map_err(|problems| Problem::fields(&problems))?;
    let page = start(app, id, return_url, caller).await?;
    Ok(Answer::new(StatusCode::CREATED, json!(page)).with(CACHE_CONTROL, "no-store"))
}

/// Opens a page, which leads back to `return_url`: one that [`beneath`] let pass, or the organization's page in the console.
async fn start(
    app: &App,
    id: OrganizationId,
    return_url: Option<String>,
    caller: &Caller,
) -> Result<CardPageView, Problem> {
    let currency = known(app, &id).await?.currency;
    let stripe_customer_id = customer(app, &id, caller).await?;
    let back = return_url.unwrap_or_else(|| format!("{}/console/organizations/{id}", app.config.public_url));
    let order = CardPageOrder {
        organization: id.clone(),
        customer_id: stripe_customer_id.clone(),
        currency,
        success_url: saved(&back),
        cancel_url: back,
    };
    // A key of its own for every call: each is another attempt to collect a card, and none moves money.
    let key = format!("card_page_{id}_{}", app.ids.fresh().simple());
    let page = app.stripe.open_card_page(&order, &key).await.map_err(|fault| refused(&id, &fault))?;
    let mut connection = app.pool.acquire().await?;
    let entry = AuditEntry {
        after: Some(json!({ "checkout_session_id": page.id, "stripe_customer_id": stripe_customer_id })),
        ..caller.audits(app.clock.now(), "card_page.created", Some(&id))
    };
    repo::audit(&mut connection, entry).await?;
    tracing::info!(c_organization_id = %id, checkout_session_id = page.id, "a card of {id} is being collected");
    Ok(CardPageView {
        c_organization_id: id,
        stripe_customer_id,
        checkout_session_id: page.id,
        url: page.url,
        expires_at: page.expires_at,
    })
}

fn read(body: &Map<String, Value>, public_url: &str) -> Result<Option<String>, Vec<FieldProblem>> {
    let mut fields = Fields::of(body);
    let return_url = fields.optional("return_url", |value| beneath(public_url, value));
    fields.refuse_unknown();
    fields.finish()?;
    Ok(return_url)
}

/// An address of ours: Stripe would send the browser to any other as well, and the link to it would come from us.
fn beneath(public_url: &str, value: &Value) -> Read<String> {
    let wrong = || format!("must be an address beneath {public_url}, of at most {LONGEST_URL} characters, without #…");
    let url = value.as_str().filter(|url| url.len() <= LONGEST_URL && url.bytes().all(is_of_address));
    // What follows ends the host's name, so that it is ours to its last letter.
    let rest =
        url.and_then(|url| url.strip_prefix(public_url)).filter(|rest| rest.is_empty() || rest.starts_with(['/', '?']));
    let path = rest.and_then(|rest| rest.split('?').next()).ok_or_else(wrong)?;
    // A browser goes up at these, and out of the part of the host that is ours.
    let leads_up = path.split('/').any(|segment| {
        let segment = segment.to_ascii_lowercase().replace("%2e", ".");
        segment == "." || segment == ".."
    });
    url.filter(|_| !leads_up).map(str::to_owned).ok_or_else(wrong)
}

/// What an address is written with (RFC 3986) before its fragment. Stripe's own template braces are not among it.
fn is_of_address(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~:/?[]@!$&'()*+,;=%".contains(&byte)
}

/// The address with the sign that a card was saved.
fn saved(back: &str) -> String {
    format!("{back}{}card=saved", if back.contains('?') { '&' } else { '?' })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_ours() {
        let ours = "https://bill.example/app";
        for good in ["", "/", "?a=1", "/console/organizations/acme", "/x?y=/../z&at=https://other.example/", "/a..b/.c"]
        {
            let url = format!("{ours}{good}");
            assert_eq!(beneath(ours, &json!(url)), Ok(url));
        }
        let long = format!("/{}", "x".repeat(LONGEST_URL));
        for bad in [
            ".evil.example/",
            "@evil.example/",
            ":81/",
            "\\..\\",
            "/a b",
            "/a\r\nb",
            "/ü",
            "/#top",
            "/../admin",
            "/a/%2E%2e/b",
            "/./",
            "/{CHECKOUT_SESSION_ID}",
            "/<script>",
            "le",
            &long,
        ] {
            assert!(beneath(ours, &json!(format!("{ours}{bad}"))).is_err(), "{bad}");
        }
        for bad in [json!("https://evil.example/"), json!("//bill.example/app"), json!("/console"), json!(""), json!(7)]
        {
            assert!(beneath(ours, &bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_saved_card_shows_in_the_address() {
        assert_eq!(saved("https://bill.example/a"), "https://bill.example/a?card=saved");
        assert_eq!(saved("https://bill.example/a?b=c"), "https://bill.example/a?b=c&card=saved");
    }
}
