//! Setup intents: a customer's browser hands Stripe a card, for charges without the customer.

use std::collections::HashMap;

use stripe_client_core::StripeRequest;
use stripe_core::setup_intent::{CreateSetupIntent, CreateSetupIntentUsage, RetrieveSetupIntent};
use stripe_shared::{SetupIntentAllowedPaymentMethodTypes, SetupIntentStatus};
use stripe_types::Expandable;

use super::outcome::{FaultKind, StripeFault};
use super::requests::{Card, Stripe, card, strategy};
use crate::config::Secret;
use crate::ids::OrganizationId;

/// A setup intent that waits for its customer.
#[derive(Debug, Clone)]
pub struct SetupStarted {
    /// Stripe's setup intent.
    pub id: String,
    /// What the customer's browser completes it with. For the customer only: neither stored nor logged.
    pub client_secret: Secret,
}

/// What came of a setup intent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetupSeen {
    /// Whether the customer is done with it, and the card is saved.
    pub succeeded: bool,
    /// For whom we made it; none when it is not ours.
    pub organization: Option<OrganizationId>,
    /// Stripe's customer, to whom the card is attached.
    pub customer_id: Option<String>,
    /// The card, where it is one and is there already.
    pub card: Option<Card>,
}

impl Stripe {
    /// Begins to collect a card that is charged without its owner later on.
    ///
    /// # Errors
    /// What Stripe says.
    pub async fn start_setup(
        &self,
        customer_id: &str,
        organization: &OrganizationId,
        key: &str,
    ) -> Result<SetupStarted, StripeFault> {
        let metadata = HashMap::from([("c_organization_id".to_owned(), organization.to_string())]);
        let request = CreateSetupIntent::new()
            .customer(customer_id)
            .usage(CreateSetupIntentUsage::OffSession)
            .allowed_payment_method_types([SetupIntentAllowedPaymentMethodTypes::Card])
            .metadata(metadata);
        let intent = request.customize().request_strategy(strategy(key)?).send(&self.transport).await?;
        match intent.client_secret {
            Some(secret) => Ok(SetupStarted { id: intent.id.to_string(), client_secret: Secret::new(secret) }),
            None => Err(StripeFault {
                kind: FaultKind::Unknown { replayed: false },
                status: None,
                request_id: None,
                message: "Stripe's answer has no client_secret".to_owned(),
                retry_after: None,
            }),
        }
    }

    /// Reads a setup intent again, with its card.
    ///
    /// # Errors
    /// What Stripe says; for an id that Stripe does not know, [`FaultKind::Refused`] with `resource_missing`.
    pub async fn read_setup(&self, setup_intent_id: &str) -> Result<SetupSeen, StripeFault> {
        let request = RetrieveSetupIntent::new(setup_intent_id).expand(vec!["payment_method".to_owned()]);
        let intent = request.customize().send(&self.transport).await?;
        let organization = intent.metadata.as_ref().and_then(|metadata| metadata.get("c_organization_id"));
        let method = match &intent.payment_method {
            Some(Expandable::Object(method)) if method.card.is_some() => Some(card(method)),
            _ => None,
        };
        Ok(SetupSeen {
            succeeded: intent.status == SetupIntentStatus::Succeeded,
            organization: organization.and_then(|id| OrganizationId::parse(id.as_str()).ok()),
            customer_id: intent.customer.as_ref().map(|customer| customer.id().to_string()),
            card: method,
        })
    }
}
