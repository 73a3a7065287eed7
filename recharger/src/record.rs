//! One recharge, and the events that its state says.

use common::clock::Timestamp;
use common::contract::{
    DeclineClass, Event, Outgoing, RechargeActionRequiredV1, RechargeChargedV1, RechargeDeclinedV1, RechargeSettledV1,
    TriggerKind,
};
use common::failure::Failure;
use common::ids::{EventId, OrganizationId, RechargeId};
use common::money::Money;
use rust_decimal::Decimal;

use crate::saga::{Say, State};

/// Why a charge did not happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decline {
    /// Stripe's code.
    pub code: String,
    /// The bank's reason.
    pub decline_code: Option<String>,
    /// What the network advises.
    pub advice_code: Option<String>,
    /// Whether repeating can help; none for a bank that wants the customer.
    pub class: Option<DeclineClass>,
    /// A sentence for people.
    pub message: String,
}

/// One recharge, as the table holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The key, derived from the trigger.
    pub recharge_id: RechargeId,
    /// What started it.
    pub trigger_event_id: EventId,
    /// What started the chain.
    pub correlation_id: EventId,
    /// Whose it is.
    pub organization: OrganizationId,
    /// The quota that is bought.
    pub amount: Money,
    /// What is charged.
    pub total: Money,
    /// Where it is.
    pub state: State,
    /// What kind of trigger.
    pub triggered_by: TriggerKind,
    /// Stripe's customer.
    pub customer_id: String,
    /// The card.
    pub payment_method_id: String,
    /// Stripe's payment intent.
    pub payment_intent_id: Option<String>,
    /// Stripe's charge.
    pub charge_id: Option<String>,
    /// What Stripe kept.
    pub processor_fee: Option<Money>,
    /// Why it did not happen, if it did not.
    pub decline: Option<Decline>,
    /// Whether automatic recharge was paused because of it.
    pub paused: bool,
    /// The ledger's version that contains it.
    pub ledger_version: Option<i64>,
    /// The quota in force when it settled.
    pub new_quota: Option<Decimal>,
    /// The event that settled it.
    pub settled_by_event: Option<String>,
    /// When it was claimed.
    pub created_at: Timestamp,
    /// When the money was captured.
    pub charged_at: Option<Timestamp>,
    /// When it took effect.
    pub settled_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}

impl Record {
    /// What the customer pays on top of the quota.
    #[must_use]
    pub fn fee(&self) -> Money {
        Money::new(self.total.minor - self.amount.minor, self.amount.currency)
    }

    /// The event that says it. It is built from what is stored alone, so that a repeat is the same to the byte.
    ///
    /// # Errors
    /// [`Failure::Malformed`] when the record lacks what the event needs: a mistake of ours that must be seen.
    pub fn say(&self, say: Say) -> Result<Outgoing, Failure> {
        match say {
            Say::Charged => self.charged(),
            Say::Declined => self.declined(),
            Say::ActionRequired => self.action_required(),
            Say::Settled => self.settled(),
        }
    }

    fn event<T: common::contract::Payload>(&self, time: Option<Timestamp>, data: T) -> Result<Outgoing, Failure> {
        let time = time.unwrap_or(self.created_at);
        Event::following(&self.recharge_id, &self.organization, time, &self.correlation_id, data).outgoing()
    }

    fn missing(&self, what: &str) -> Failure {
        Failure::malformed(anyhow::anyhow!(
            "recharge {} is {} but has no {what}",
            self.recharge_id,
            self.state.as_str()
        ))
    }

    fn charged(&self) -> Result<Outgoing, Failure> {
        self.event(
            self.charged_at,
            RechargeChargedV1 {
                recharge_id: self.recharge_id,
                triggered_by: self.triggered_by,
                trigger_event_id: self.trigger_event_id.clone(),
                amount: self.amount,
                fee: self.fee(),
                total_charge: self.total,
                processor_fee: self.processor_fee,
                payment_intent_id: self.payment_intent_id.clone().ok_or_else(|| self.missing("payment intent"))?,
                charge_id: self.charge_id.clone(),
                charged_at: self.charged_at.ok_or_else(|| self.missing("time of charging"))?,
            },
        )
    }

    fn declined(&self) -> Result<Outgoing, Failure> {
        let decline = self.decline.clone().ok_or_else(|| self.missing("reason"))?;
        self.event(
            self.ended_at,
            RechargeDeclinedV1 {
                recharge_id: self.recharge_id,
                triggered_by: self.triggered_by,
                amount: self.amount,
                code: decline.code,
                decline_code: decline.decline_code,
                advice_code: decline.advice_code,
                class: decline.class.unwrap_or(DeclineClass::Refused),
                message: decline.message,
                payment_intent_id: self.payment_intent_id.clone(),
                paused: self.paused,
            },
        )
    }

    fn action_required(&self) -> Result<Outgoing, Failure> {
        self.event(
            self.ended_at,
            RechargeActionRequiredV1 {
                recharge_id: self.recharge_id,
                triggered_by: self.triggered_by,
                amount: self.amount,
                message: self.decline.as_ref().map(|decline| decline.message.clone()).unwrap_or_default(),
                payment_intent_id: self.payment_intent_id.clone(),
                confirmation_url: None,
            },
        )
    }

    fn settled(&self) -> Result<Outgoing, Failure> {
        self.event(
            self.settled_at,
            RechargeSettledV1 {
                recharge_id: self.recharge_id,
                triggered_by: self.triggered_by,
                amount: self.amount,
                fee: self.fee(),
                total_charge: self.total,
                payment_intent_id: self.payment_intent_id.clone().ok_or_else(|| self.missing("payment intent"))?,
                new_quota: self.new_quota.ok_or_else(|| self.missing("quota"))?,
                ledger_version: self.ledger_version.ok_or_else(|| self.missing("ledger version"))?,
            },
        )
    }
}
