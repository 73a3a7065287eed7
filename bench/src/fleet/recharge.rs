//! A recharge on its way to its row. Pure.

use common::clock::Timestamp;
use common::contract::{RechargeChargedV1, RefundCause, TriggerKind};
use common::ids::{EventId, RechargeId};
use common::money::Money;
use ledger::posting::{Booked, Posting, RechargeBooks};
use serde_json::{Value, json};

use super::profile::Profile;
use super::rows::exact;

/// One recharge, and what is booked of it.
#[derive(Debug)]
pub(super) struct Recharge {
    pub(super) id: RechargeId,
    pub(super) trigger: EventId,
    pub(super) triggered_by: TriggerKind,
    pub(super) trigger_limit: Option<Money>,
    pub(super) amount: Money,
    pub(super) total: Money,
    pub(super) status: &'static str,
    pub(super) payment_intent_id: Option<String>,
    pub(super) charge_id: Option<String>,
    pub(super) processor_fee: Option<Money>,
    pub(super) decline: Option<Decline>,
    pub(super) paused: bool,
    pub(super) ledger_version: Option<i64>,
    pub(super) new_quota: Option<Money>,
    pub(super) settled_by_event: Option<String>,
    pub(super) created_at: Timestamp,
    pub(super) charged_at: Option<Timestamp>,
    pub(super) credited_at: Option<Timestamp>,
    pub(super) settled_at: Option<Timestamp>,
    pub(super) ended_at: Option<Timestamp>,
    pub(super) confirm_by: Option<Timestamp>,
    pub(super) next_at: Option<Timestamp>,
    pub(super) updated_at: Timestamp,
    pub(super) undo: Option<(RefundCause, String)>,
    pub(super) refunded_amount: Money,
    pub(super) refunded_total: Money,
    pub(super) booked: Vec<Booked>,
}

/// Why a charge did not happen.
#[derive(Debug, Clone, Copy)]
pub(super) struct Decline {
    pub(super) code: &'static str,
    pub(super) decline_code: Option<&'static str>,
    pub(super) class: &'static str,
    pub(super) message: &'static str,
}

impl Recharge {
    /// One that was just claimed.
    pub(super) fn claimed(
        trigger: EventId,
        triggered_by: TriggerKind,
        amount: Money,
        total: Money,
        at: Timestamp,
    ) -> Self {
        Self {
            id: RechargeId::for_trigger(&trigger),
            trigger,
            triggered_by,
            trigger_limit: None,
            amount,
            total,
            status: "pending",
            payment_intent_id: None,
            charge_id: None,
            processor_fee: None,
            decline: None,
            paused: false,
            ledger_version: None,
            new_quota: None,
            settled_by_event: None,
            created_at: at,
            charged_at: None,
            credited_at: None,
            settled_at: None,
            ended_at: None,
            confirm_by: None,
            next_at: None,
            updated_at: at,
            undo: None,
            refunded_amount: Money::zero(amount.currency),
            refunded_total: Money::zero(amount.currency),
            booked: Vec::new(),
        }
    }

    /// What `recharges.charged` said of it, if it was charged.
    pub(super) fn charged(&self) -> Option<RechargeChargedV1> {
        Some(RechargeChargedV1 {
            recharge_id: self.id,
            triggered_by: self.triggered_by,
            trigger_event_id: self.trigger.clone(),
            amount: self.amount,
            fee: self.fee(),
            total_charge: self.total,
            processor_fee: self.processor_fee,
            payment_intent_id: self.payment_intent_id.clone()?,
            charge_id: self.charge_id.clone(),
            charged_at: self.charged_at?,
            credit_by: None,
        })
    }

    /// What is booked of it, as the ledger would read it.
    pub(super) fn books(&self, now: Timestamp) -> RechargeBooks {
        RechargeBooks { recharge_id: self.id, now, booked: self.booked.clone() }
    }

    /// Remembers what was booked of it.
    pub(super) fn note(&mut self, posting: &Posting) {
        self.booked.push(Booked {
            business_key: posting.business_key().to_owned(),
            kind: posting.kind(),
            entries: posting.entries().to_vec(),
        });
    }

    fn fee(&self) -> Money {
        Money::new(self.total.minor - self.amount.minor, self.amount.currency)
    }

    pub(super) fn row(&self, profile: &Profile) -> Value {
        let webhook = matches!(self.triggered_by, TriggerKind::Webhook | TriggerKind::LitellmAlert);
        json!({
            "recharge_id": self.id, "trigger_event_id": self.trigger, "correlation_id": self.trigger,
            "c_organization_id": profile.id, "amount": exact(self.amount), "fee": exact(self.fee()),
            "total_charge": exact(self.total), "currency": self.amount.currency, "status": self.status,
            "triggered_by": self.triggered_by.as_str(), "triggered_by_webhook": webhook,
            "webhook_event_id": webhook.then_some(&self.trigger), "stripe_customer_id": profile.customer,
            "payment_method_id": profile.card.id, "card_fingerprint": profile.card.fingerprint,
            "trigger_limit": self.trigger_limit.map(exact), "payment_intent_id": self.payment_intent_id,
            "charge_id": self.charge_id, "processor_fee": self.processor_fee.map(exact),
            "failure_code": self.decline.map(|decline| decline.code),
            "decline_code": self.decline.and_then(|decline| decline.decline_code),
            "decline_class": self.decline.map(|decline| decline.class),
            "failure_message": self.decline.map(|decline| decline.message), "paused": self.paused,
            "ledger_version": self.ledger_version, "new_quota": self.new_quota.map(exact),
            "settled_by_event": self.settled_by_event, "created_at": self.created_at, "charged_at": self.charged_at,
            "credited_at": self.credited_at, "settled_at": self.settled_at, "ended_at": self.ended_at,
            "confirm_by": self.confirm_by, "next_at": self.next_at, "updated_at": self.updated_at, "tries": 0,
            "undo_cause": self.undo.as_ref().map(|(cause, _)| cause.as_str()),
            "undo_reason": self.undo.as_ref().map(|(_, reason)| reason),
            "refunded_amount": exact(self.refunded_amount), "refunded_total": exact(self.refunded_total),
        })
    }
}
