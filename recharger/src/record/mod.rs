//! One recharge, and the events that its state says.

pub(crate) mod repo;

use common::clock::Timestamp;
use common::contract::{
    DeclineClass, Event, Outgoing, RechargeActionRequiredV1, RechargeChargedV1, RechargeDeclinedV1, RechargeSettledV1,
    RefundCause, TriggerKind,
};
use common::failure::Failure;
use common::ids::{EventId, OrganizationId, RechargeId};
use common::money::Money;
use common::pay_link::PayLinks;
use rust_decimal::Decimal;

use crate::deadlines::Times;
use crate::saga::State;

/// Why a charge did not happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decline {
    /// Stripe's code.
    pub code: String,
    /// The bank's reason.
    pub decline_code: Option<String>,
    /// What the network advises.
    pub advice_code: Option<String>,
    /// Whether repeating can help.
    pub class: DeclineClass,
    /// A sentence for people.
    pub message: String,
}

impl Decline {
    /// One of which the bank said nothing more.
    #[must_use]
    pub fn plain(code: &str, class: DeclineClass, message: &str) -> Self {
        Self { code: code.to_owned(), decline_code: None, advice_code: None, class, message: message.to_owned() }
    }
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
    /// The card, as it was saved.
    pub payment_method_id: String,
    /// The card itself, whoever saved it.
    pub card_fingerprint: Option<String>,
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
    /// Its deadlines, and how often it was looked at.
    pub times: Times,
    /// When somebody must look at it next.
    pub next_at: Option<Timestamp>,
    /// Why it is undone, if it is, and the sentence for people.
    pub undo: Option<(RefundCause, String)>,
    /// The quota that was given back so far.
    pub refunded_amount: Money,
    /// What the customer got back so far.
    pub refunded_total: Money,
}

impl Record {
    /// What the customer pays on top of the quota.
    #[must_use]
    pub fn fee(&self) -> Money {
        Money::new(self.total.minor - self.amount.minor, self.amount.currency)
    }

    /// Whether the ledger has booked it, as far as we know.
    #[must_use]
    pub fn is_in_the_books(&self) -> bool {
        self.ledger_version.is_some()
    }

    /// What is left of the charge with us: what an undo gives back.
    #[must_use]
    pub fn left(&self) -> (Money, Money) {
        (
            Money::new(self.amount.minor - self.refunded_amount.minor, self.amount.currency),
            Money::new(self.total.minor - self.refunded_total.minor, self.total.currency),
        )
    }

    /// The event that its state says, if it says one; what an undo says, its refunds say. It is built from what is stored
    /// alone, so that a repeat is the same to the byte.
    ///
    /// # Errors
    /// [`Failure::Malformed`] when the record lacks what the event needs: a mistake of ours that must be seen.
    pub fn says(&self, links: &PayLinks) -> Result<Option<Outgoing>, Failure> {
        match self.state {
            State::Charged | State::Credited => self.charged().map(Some),
            State::Declined | State::Failed => self.declined().map(Some),
            State::ActionRequired => self.action_required(links).map(Some),
            State::Settled => self.settled().map(Some),
            State::Pending | State::Processing | State::Refunding | State::Refunded | State::Returning => Ok(None),
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

    /// `recharges.charged`, whatever became of it since.
    pub(crate) fn charged(&self) -> Result<Outgoing, Failure> {
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
                credit_by: self.times.credit_by,
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
                class: decline.class,
                message: decline.message,
                payment_intent_id: self.payment_intent_id.clone(),
                paused: self.paused,
            },
        )
    }

    fn action_required(&self, links: &PayLinks) -> Result<Outgoing, Failure> {
        self.event(
            Some(self.created_at),
            RechargeActionRequiredV1 {
                recharge_id: self.recharge_id,
                triggered_by: self.triggered_by,
                amount: self.amount,
                message: self.decline.as_ref().map(|decline| decline.message.clone()).unwrap_or_default(),
                payment_intent_id: self.payment_intent_id.clone(),
                confirmation_url: Some(links.url(self.recharge_id)),
                expires_at: self.times.confirm_by,
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

#[cfg(test)]
impl Record {
    /// A recharge of these amounts, for tests of pure functions.
    pub(crate) fn for_tests(amount: Money, total: Money, state: State) -> Self {
        let trigger = EventId::from_body("evt", b"test");
        Self {
            recharge_id: RechargeId::for_trigger(&trigger),
            trigger_event_id: trigger.clone(),
            correlation_id: trigger,
            organization: "acme".parse().unwrap_or_else(|error| panic!("{error}")),
            amount,
            total,
            state,
            triggered_by: TriggerKind::Webhook,
            customer_id: "cus_1".to_owned(),
            payment_method_id: "pm_1".to_owned(),
            card_fingerprint: None,
            payment_intent_id: Some("pi_1".to_owned()),
            charge_id: None,
            processor_fee: None,
            decline: None,
            paused: false,
            ledger_version: None,
            new_quota: None,
            settled_by_event: None,
            created_at: Timestamp::UNIX_EPOCH,
            charged_at: None,
            settled_at: None,
            ended_at: None,
            times: Times::default(),
            next_at: None,
            undo: None,
            refunded_amount: Money::zero(amount.currency),
            refunded_total: Money::zero(amount.currency),
        }
    }
}
