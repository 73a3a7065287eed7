//! Checkout Sessions in setup mode: a page of Stripe's on which a customer gives a card.

use std::collections::HashMap;
use std::fmt;

use chrono::DateTime;
use stripe_checkout::checkout_session::{
    CreateCheckoutSession, CreateCheckoutSessionAllowedPaymentMethodTypes, CreateCheckoutSessionSetupIntentData,
};
use stripe_client_core::StripeRequest;
use stripe_shared::{CheckoutSession, CheckoutSessionMode};

use super::outcome::StripeFault;
use super::requests::{Stripe, strategy, stripe_currency};
use crate::clock::Timestamp;
use crate::ids::OrganizationId;
use crate::money::Currency;

/// For whom a page is opened, and where it leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CardPageOrder {
    /// Whose card it will be.
    pub organization: OrganizationId,
    /// Its customer at Stripe.
    pub customer_id: String,
    /// What it is charged in: not every card is offered for every currency.
    pub currency: Currency,
    /// Where Stripe sends the browser when the card is saved.
    pub success_url: String,
    /// Where Stripe sends it when the customer goes back without one.
    pub cancel_url: String,
}

/// A page that waits for its customer.
#[derive(Clone, PartialEq, Eq)]
pub struct CardPage {
    /// Stripe's Checkout Session.
    pub id: String,
    /// Where the page is. Whoever knows it can give a card: for the customer only, neither stored nor logged.
    pub url: String,
    /// Until when it can be used.
    pub expires_at: Timestamp,
}

/// Without the address.
impl fmt::Debug for CardPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CardPage").field("id", &self.id).field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

impl Stripe {
    /// Opens a page on which the customer gives a card for charges without the customer. Its setup intent carries what one
    /// of [`Self::start_setup`] carries, so that [`Self::read_setup`] tells what came of it.
    ///
    /// # Errors
    /// What Stripe says.
    pub async fn open_card_page(&self, order: &CardPageOrder, key: &str) -> Result<CardPage, StripeFault> {
        let metadata = HashMap::from([("c_organization_id".to_owned(), order.organization.to_string())]);
        let mut data = CreateCheckoutSessionSetupIntentData::new();
        data.metadata = Some(metadata.clone());
        let request = CreateCheckoutSession::new()
            .mode(CheckoutSessionMode::Setup)
            .customer(order.customer_id.as_str())
            .currency(stripe_currency(order.currency))
            .allowed_payment_method_types([CreateCheckoutSessionAllowedPaymentMethodTypes::Card])
            .setup_intent_data(data)
            .metadata(metadata)
            .success_url(order.success_url.as_str())
            .cancel_url(order.cancel_url.as_str());
        let session = request.customize().request_strategy(strategy(key)?).send(&self.transport).await?;
        read(session).ok_or_else(|| StripeFault::unknown(Some(200), "Stripe's answer has no page"))
    }
}

fn read(session: CheckoutSession) -> Option<CardPage> {
    let expires_at = DateTime::from_timestamp(session.expires_at, 0)?;
    Some(CardPage { id: session.id.to_string(), url: session.url?, expires_at })
}
