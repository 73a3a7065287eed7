//! A card's network sent new data of a saved card (a new expiry, a new number): what is stored of it is read again.

use std::sync::Arc;

use common::ids::{EventId, OrganizationId};
use serde_json::json;

use crate::app::App;
use crate::evaluate;
use crate::organizations::SavedCard;
use crate::organizations::repo::{self, AuditEntry};

/// Reads the card again, stores it for everybody whose default it is, and has their balance looked at. Best effort: what
/// fails is logged, and the sweep is the net.
pub(super) async fn refresh(app: Arc<App>, cause: EventId, payment_method_id: String) {
    let card = match app.stripe.read_payment_method(&payment_method_id).await {
        Ok(card) => {
            SavedCard { id: payment_method_id, brand: card.brand, last4: card.last4, fingerprint: card.fingerprint }
        }
        Err(fault) => {
            tracing::warn!(event_id = %cause, payment_method_id, %fault, "an updated card could not be read: {fault}");
            return;
        }
    };
    let organizations = match store(&app, &cause, &card).await {
        Ok(organizations) => organizations,
        Err(error) => {
            tracing::warn!(event_id = %cause, payment_method_id = card.id, %error, "an updated card was not stored: {error}");
            return;
        }
    };
    for organization in organizations {
        let id = EventId::from_body("evaluate", format!("{cause}\n{organization}").as_bytes());
        evaluate::request(&app, id, &organization, evaluate::CARD_CHANGED, "stripe").await;
    }
}

async fn store(app: &App, cause: &EventId, card: &SavedCard) -> sqlx::Result<Vec<OrganizationId>> {
    let now = app.clock.now();
    let mut transaction = app.pool.begin().await?;
    let organizations = repo::update_card(&mut transaction, card, now).await?;
    for organization in &organizations {
        let after = json!({ "payment_method_id": card.id, "brand": card.brand, "last4": card.last4 });
        let entry = AuditEntry {
            at: now,
            actor: "stripe",
            action: "payment_method.updated",
            organization: Some(organization),
            request_id: cause.as_str(),
            before: None,
            after: Some(after),
        };
        repo::audit(&mut transaction, entry).await?;
    }
    transaction.commit().await?;
    Ok(organizations)
}
