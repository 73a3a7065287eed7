//! A customer's browser completed a setup intent (`POST …/setup-intent`): its card is the one that is charged from now on.
//!
//! Whoever sends the webhook is told "not yet" (503) until the card is stored, and sends it again: nothing else would bring
//! it back. Stripe sends things twice, late and out of order, so the time at which the customer was done decides between
//! two cards, not the time of arrival.

use common::clients::stripe::{Card, FaultKind, SetupSeen, StripeFault};
use common::clock::Timestamp;
use common::ids::{EventId, OrganizationId};
use serde_json::{Value, json};

use crate::app::App;
use crate::evaluate;
use crate::http::Problem;
use crate::organizations::Organization;
use crate::organizations::repo::{self, AuditEntry};

/// The type of the event.
pub(super) const COMPLETED: &str = "setup_intent.succeeded";
/// Who does it, for the audit log.
const ACTOR: &str = "customer";

/// A setup intent that Stripe says is done.
pub(super) struct Completed<'a> {
    /// The event that says so.
    pub(super) cause: &'a EventId,
    pub(super) setup_intent_id: &'a str,
    /// When the customer was done, to the second.
    pub(super) at: Timestamp,
}

/// Reads the setup intent again and stores its card. A definite no is logged, and is an end.
pub(super) async fn store(app: &App, done: &Completed<'_>) -> Result<(), Problem> {
    let id = done.setup_intent_id;
    let seen = match app.stripe.read_setup(id).await {
        Ok(seen) => seen,
        Err(fault) => return unread(done, &fault),
    };
    let Some((organization, customer, card)) = usable(seen) else {
        tracing::info!(event_id = %done.cause, setup_intent_id = id, "{id} collected no card for us");
        return Ok(());
    };
    let mut connection = app.pool.acquire().await?;
    let before = repo::find(&mut connection, &organization).await?;
    drop(connection);
    let Some(before) = before.filter(|before| belongs(before, &customer)) else {
        tracing::warn!(
            event_id = %done.cause, setup_intent_id = id, c_organization_id = %organization, customer,
            "the card of {id} is not used: {organization} is not open, or {customer} is not its customer"
        );
        return Ok(());
    };
    if !is_news(&before, &card, done) {
        return Ok(());
    }
    // What Stripe shows people; which card is charged, every charge says itself. Doing it again changes nothing, so a new
    // key each time: Stripe would repeat a failure under the same one.
    let key = format!("default_{id}_{}", app.ids.fresh().simple());
    if let Err(fault) = app.stripe.set_default_payment_method(&customer, &card.id, &key).await {
        return unread(done, &fault);
    }
    write(app, done, &organization, &customer, &card).await
}

/// The organization, the customer and the card of a setup intent that we made and that is done.
fn usable(seen: SetupSeen) -> Option<(OrganizationId, String, Card)> {
    let SetupSeen { succeeded, organization, customer_id, card } = seen;
    succeeded.then_some(())?;
    Some((organization?, customer_id?, card?))
}

/// Whether cards of this customer are the organization's.
fn belongs(organization: &Organization, customer: &str) -> bool {
    organization.closed_at.is_none() && organization.stripe_customer_id.as_deref() == Some(customer)
}

/// Whether the card is another one, given later than the one that is there.
fn is_news(organization: &Organization, card: &Card, done: &Completed<'_>) -> bool {
    // Stripe's time has no fractions: what was set in the same second may have been before it or after it, and who comes
    // later is believed.
    let late = organization.card_set_at.is_some_and(|at| at.timestamp() > done.at.timestamp());
    let same = organization.card.as_ref().is_some_and(|there| there.id == card.id);
    if late {
        tracing::info!(
            event_id = %done.cause, setup_intent_id = done.setup_intent_id, c_organization_id = %organization.id,
            "the card of {} is not used: a newer one was set since", done.setup_intent_id
        );
    }
    !late && !same
}

async fn write(
    app: &App,
    done: &Completed<'_>,
    id: &OrganizationId,
    customer: &str,
    card: &Card,
) -> Result<(), Problem> {
    let now = app.clock.now();
    let mut transaction = app.pool.begin().await?;
    let before = repo::find_to_change(&mut transaction, id).await?.filter(|before| belongs(before, customer));
    // Another one may have been faster.
    let Some(before) = before.filter(|before| is_news(before, card, done)) else { return Ok(()) };
    repo::set_card(&mut transaction, id, &card.into(), done.at, now).await?;
    let mut after = repo::find(&mut transaction, id).await?.map(|after| after.to_json());
    if let Some(after) = after.as_mut().and_then(Value::as_object_mut) {
        after.insert("setup_intent_id".to_owned(), json!(done.setup_intent_id));
        after.insert("collected_at".to_owned(), json!(done.at));
    }
    let entry = AuditEntry {
        at: now,
        actor: ACTOR,
        action: "payment_method.set",
        organization: Some(id),
        request_id: done.cause.as_str(),
        before: Some(before.to_json()),
        after,
    };
    repo::audit(&mut transaction, entry).await?;
    transaction.commit().await?;
    tracing::info!(
        c_organization_id = %id, event_id = %done.cause, setup_intent_id = done.setup_intent_id,
        "organization {id} has a new card, which its customer gave"
    );
    let event = EventId::from_body("evaluate", format!("{}\n{id}", done.cause).as_bytes());
    evaluate::request(app, event, id, evaluate::CARD_CHANGED, ACTOR).await;
    Ok(())
}

/// Stripe's no is an end; whatever is not certain is asked again when the webhook comes again.
fn unread(done: &Completed<'_>, fault: &StripeFault) -> Result<(), Problem> {
    tracing::warn!(
        event_id = %done.cause, setup_intent_id = done.setup_intent_id, %fault,
        "the card of {} could not be stored: {fault}", done.setup_intent_id
    );
    match fault.kind() {
        FaultKind::Busy | FaultKind::Unknown { .. } => {
            Err(Problem::unavailable("stripe_unavailable", "Stripe gave no clear answer; send the event again"))
        }
        // Our own key is wrong: that is put right some day.
        FaultKind::Refused { .. } if matches!(fault.status, Some(401 | 403)) => {
            Err(Problem::unavailable("stripe_refused_us", "Stripe does not accept the service's own key"))
        }
        FaultKind::Refused { .. } | FaultKind::Declined { .. } | FaultKind::AuthenticationRequired { .. } => Ok(()),
    }
}
