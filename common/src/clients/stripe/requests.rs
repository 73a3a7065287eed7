//! The calls that Bill-Service makes, as domain operations.

use std::collections::HashMap;

use prometheus::Registry;
use stripe_client_core::{IdempotencyKey, RequestStrategy, StripeRequest};
use stripe_core::customer::{CreateCustomer, UpdateCustomer, UpdateCustomerInvoiceSettings};
use stripe_core::payment_intent::{
    CreatePaymentIntent, CreatePaymentIntentOffSession, ListPaymentIntent, RetrievePaymentIntent,
};
use stripe_payment::payment_method::{AttachPaymentMethod, RetrievePaymentMethod};
use stripe_shared::{PaymentIntent, PaymentMethod};

use super::intent::read_intent;
use super::outcome::{FaultKind, StripeFault};
use super::transport::{StripeConfig, Transport};
use crate::clock::Timestamp;
use crate::ids::{OrganizationId, RechargeId};
use crate::money::{Currency, Money};

/// What is wanted with every payment intent: its charge, and what that cost.
pub(super) const WITH_CHARGE: &str = "latest_charge.balance_transaction";

/// Stripe, as far as Bill-Service needs it. Clones share connections.
#[derive(Clone)]
pub struct Stripe {
    pub(super) transport: Transport,
}

/// A card that is attached to a customer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Card {
    /// Stripe's payment method.
    pub id: String,
    /// `visa`, for instance.
    pub brand: Option<String>,
    /// The last four digits.
    pub last4: Option<String>,
    /// The same for the same card, whoever saved it.
    pub fingerprint: Option<String>,
}

/// What to charge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChargeOrder {
    /// The recharge; the idempotency key derives from it, and Stripe keeps it as metadata.
    pub recharge_id: RechargeId,
    /// Whose it is.
    pub organization: OrganizationId,
    /// What started it, as metadata.
    pub trigger: String,
    /// The total.
    pub total: Money,
    /// Stripe's customer.
    pub customer_id: String,
    /// The saved card.
    pub payment_method_id: String,
}

impl ChargeOrder {
    /// The one idempotency key of this recharge.
    #[must_use]
    pub fn idempotency_key(&self) -> String {
        format!("recharge-{}", self.recharge_id)
    }
}

/// Money that was captured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Captured {
    /// Stripe's payment intent.
    pub payment_intent_id: String,
    /// Stripe's charge.
    pub charge_id: Option<String>,
    /// What was received.
    pub received: Money,
    /// What Stripe kept, when it is known and in the same currency.
    pub processor_fee: Option<Money>,
    /// When Stripe made the charge, when its answer says so.
    pub captured_at: Option<Timestamp>,
}

/// What became of a charge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChargeOutcome {
    /// The money is there.
    Succeeded(Captured),
    /// Stripe will know later.
    Processing {
        /// Stripe's payment intent.
        payment_intent_id: String,
    },
    /// It did not happen, or nobody knows.
    Fault(StripeFault),
}

impl Stripe {
    /// A client whose calls are counted in `registry`.
    ///
    /// # Errors
    /// When the HTTP client can't be made.
    pub fn new(config: StripeConfig, registry: &Registry) -> anyhow::Result<Self> {
        Ok(Self { transport: Transport::new(config, registry)? })
    }

    /// Creates the organization's customer. The same key brings the same customer.
    ///
    /// # Errors
    /// What Stripe says.
    pub async fn create_customer(&self, organization: &OrganizationId, key: &str) -> Result<String, StripeFault> {
        let metadata = HashMap::from([("c_organization_id".to_owned(), organization.to_string())]);
        let request = CreateCustomer::new().name(organization.as_str()).metadata(metadata);
        let customer = request.customize().request_strategy(strategy(key)?).send(&self.transport).await?;
        Ok(customer.id.to_string())
    }

    /// Attaches a payment method to a customer. The attached one may have another id than the one that was given
    /// (Stripe's test tokens).
    ///
    /// # Errors
    /// What Stripe says; a card that the bank refuses to save is [`FaultKind::Declined`].
    pub async fn attach_payment_method(
        &self,
        payment_method_id: &str,
        customer_id: &str,
        key: &str,
    ) -> Result<Card, StripeFault> {
        let request = AttachPaymentMethod::new(payment_method_id).customer(customer_id);
        let method = request.customize().request_strategy(strategy(key)?).send(&self.transport).await?;
        Ok(card(&method))
    }

    /// Reads a saved card again: its network may have sent new data since.
    ///
    /// # Errors
    /// What Stripe says; for an id that Stripe does not know, [`FaultKind::Refused`] with `resource_missing`.
    pub async fn read_payment_method(&self, payment_method_id: &str) -> Result<Card, StripeFault> {
        let method = RetrievePaymentMethod::new(payment_method_id).customize().send(&self.transport).await?;
        Ok(card(&method))
    }

    /// Makes a payment method the customer's default.
    ///
    /// # Errors
    /// What Stripe says.
    pub async fn set_default_payment_method(
        &self,
        customer_id: &str,
        payment_method_id: &str,
        key: &str,
    ) -> Result<(), StripeFault> {
        let mut settings = UpdateCustomerInvoiceSettings::new();
        settings.default_payment_method = Some(payment_method_id.to_owned());
        let request = UpdateCustomer::new(customer_id).invoice_settings(settings);
        request.customize().request_strategy(strategy(key)?).send(&self.transport).await.map(drop)
    }

    /// Charges the saved card, off-session. Repeating the call repeats nothing: the key derives from the recharge.
    pub async fn charge(&self, order: &ChargeOrder) -> ChargeOutcome {
        let metadata = HashMap::from([
            ("recharge_id".to_owned(), order.recharge_id.to_string()),
            ("c_organization_id".to_owned(), order.organization.to_string()),
            ("trigger".to_owned(), order.trigger.clone()),
        ]);
        let request = CreatePaymentIntent::new(order.total.minor, stripe_currency(order.total.currency))
            .customer(order.customer_id.as_str())
            .payment_method(order.payment_method_id.as_str())
            .off_session(CreatePaymentIntentOffSession::Bool(true))
            .confirm(true)
            .description(format!("Quota recharge for {}", order.organization))
            .expand(vec![WITH_CHARGE.to_owned()])
            .metadata(metadata);
        let strategy = match strategy(&order.idempotency_key()) {
            Ok(strategy) => strategy,
            Err(fault) => return ChargeOutcome::Fault(fault),
        };
        match request.customize().request_strategy(strategy).send(&self.transport).await {
            Ok(intent) => read_intent(&intent, order.total),
            Err(fault) => ChargeOutcome::Fault(fault),
        }
    }

    /// Looks for the recharge's payment intent among the customer's: for when nobody knows whether a charge happened.
    /// Lists, because Stripe's search lags behind.
    ///
    /// # Errors
    /// What Stripe says.
    pub async fn find_charge(&self, order: &ChargeOrder) -> Result<Option<ChargeOutcome>, StripeFault> {
        let wanted = order.recharge_id.to_string();
        let mut after: Option<String> = None;
        loop {
            let mut request = ListPaymentIntent::new()
                .customer(order.customer_id.as_str())
                .limit(100)
                .expand(vec![format!("data.{WITH_CHARGE}")]);
            if let Some(after) = &after {
                request = request.starting_after(after.as_str());
            }
            let page = request.customize().send(&self.transport).await?;
            if let Some(found) = page.data.iter().find(|intent| intent.metadata.get("recharge_id") == Some(&wanted)) {
                return Ok(Some(read_intent(found, order.total)));
            }
            match page.data.last() {
                Some(last) if page.has_more => after = Some(last.id.to_string()),
                _ => return Ok(None),
            }
        }
    }

    /// Reads a payment intent again.
    ///
    /// # Errors
    /// What Stripe says.
    pub async fn read_charge(&self, payment_intent_id: &str, total: Money) -> Result<ChargeOutcome, StripeFault> {
        let intent = self.fetch_intent(payment_intent_id).await?;
        Ok(read_intent(&intent, total))
    }

    /// The payment intent itself, with its charge and what that cost.
    pub(super) async fn fetch_intent(&self, payment_intent_id: &str) -> Result<PaymentIntent, StripeFault> {
        let request = RetrievePaymentIntent::new(payment_intent_id).expand(vec![WITH_CHARGE.to_owned()]);
        request.customize().send(&self.transport).await
    }
}

pub(super) fn card(method: &PaymentMethod) -> Card {
    let card = method.card.as_ref();
    Card {
        id: method.id.to_string(),
        brand: card.map(|card| card.brand.clone()),
        last4: card.map(|card| card.last4.clone()),
        fingerprint: card.and_then(|card| card.fingerprint.clone()),
    }
}

/// One try with this key; the library's other strategies draw keys of their own.
pub(super) fn strategy(key: &str) -> Result<RequestStrategy, StripeFault> {
    let key = IdempotencyKey::new(key).map_err(|error| StripeFault {
        kind: FaultKind::Refused { code: "idempotency_key".to_owned(), param: None },
        status: None,
        request_id: None,
        message: error.to_string(),
        retry_after: None,
    })?;
    Ok(RequestStrategy::Idempotent(key))
}

pub(super) fn stripe_currency(currency: Currency) -> stripe_types::Currency {
    // Every three-letter code parses: one that the library does not know is passed on for Stripe to judge.
    currency.code().parse().unwrap_or(stripe_types::Currency::USD)
}
