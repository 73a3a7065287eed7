//! What became of events and recharges, as the database knows it.

pub(crate) mod repo;

use common::clock::Timestamp;
use common::ids::{EventId, RechargeId, TeamId};
use common::money::{Currency, Money};
use rust_decimal::Decimal;
use serde_json::{Value, json};
use sqlx::FromRow;
use uuid::Uuid;

use crate::outcome::{Outcome, quota_number};

/// A row of `recharge_records`. Rows from before Bill-Service know little; theirs stay null.
#[derive(Debug, Clone, FromRow)]
pub(crate) struct Recharge {
    pub(crate) recharge_id: Uuid,
    c_organization_id: Option<String>,
    amount: Option<Decimal>,
    fee: Option<Decimal>,
    total_charge: Option<Decimal>,
    currency: Option<String>,
    status: Option<String>,
    triggered_by: String,
    triggered_by_webhook: bool,
    webhook_event_id: Option<String>,
    trigger_event_id: Option<String>,
    correlation_id: Option<String>,
    payment_intent_id: Option<String>,
    charge_id: Option<String>,
    failure_code: Option<String>,
    decline_code: Option<String>,
    advice_code: Option<String>,
    decline_class: Option<String>,
    failure_message: Option<String>,
    paused: bool,
    ledger_version: Option<i64>,
    new_quota: Option<Decimal>,
    pub(crate) created_at: Option<Timestamp>,
    charged_at: Option<Timestamp>,
    credited_at: Option<Timestamp>,
    settled_at: Option<Timestamp>,
    ended_at: Option<Timestamp>,
}

impl Recharge {
    fn currency(&self) -> Currency {
        self.currency.as_deref().and_then(|code| code.parse().ok()).unwrap_or(Currency::USD)
    }

    fn money(&self, amount: Option<Decimal>) -> Money {
        let currency = self.currency();
        // The columns have two decimals, so what does not fit is a yen row that somebody wrote by hand.
        amount.and_then(|amount| Money::covering(amount, currency).ok()).unwrap_or(Money::zero(currency))
    }

    fn status(&self) -> &str {
        self.status.as_deref().unwrap_or_default()
    }

    fn failure(&self) -> Option<Value> {
        let failed = self.failure_code.is_some() || self.failure_message.is_some();
        failed.then(|| {
            json!({
                "code": self.failure_code,
                "decline_code": self.decline_code,
                "advice_code": self.advice_code,
                "class": self.decline_class,
                "message": self.failure_message,
                "paused": self.paused,
            })
        })
    }

    /// The recharge as the history shows it.
    pub(crate) fn to_json(&self) -> Value {
        let currency = self.currency();
        json!({
            "recharge_id": self.recharge_id,
            "c_organization_id": self.c_organization_id,
            "amount": self.money(self.amount).to_number(),
            "fee": self.money(self.fee).to_number(),
            "total_charge": self.total_charge.map(|total| self.money(Some(total)).to_number()),
            "currency": currency,
            "status": self.status,
            "triggered_by": self.triggered_by,
            "triggered_by_webhook": self.triggered_by_webhook,
            "webhook_event_id": self.webhook_event_id,
            "payment_intent_id": self.payment_intent_id,
            "created_at": self.created_at,
            "settled_at": self.settled_at,
            "new_quota": self.new_quota.map(|quota| quota_number(quota, currency)),
            "failure": self.failure(),
        })
    }

    /// The recharge with every step of its chain.
    pub(crate) fn to_chain(&self) -> Value {
        let mut json = self.to_json();
        json["trigger_event_id"] = json!(self.trigger_event_id);
        json["correlation_id"] = json!(self.correlation_id);
        json["charge_id"] = json!(self.charge_id);
        json["ledger_version"] = json!(self.ledger_version);
        let ended = match self.status() {
            "settled" => None,
            _ => self.ended_at,
        };
        let steps = [
            ("claimed", self.created_at),
            ("charged", self.charged_at),
            ("credited", self.credited_at),
            ("settled", self.settled_at),
            (self.status(), ended),
        ];
        json["steps"] = steps.into_iter().filter_map(|(step, at)| Some(json!({ "step": step, "at": at? }))).collect();
        json
    }

    /// How the chain ended, if it has.
    fn outcome(&self) -> Option<Outcome> {
        let recharge_id = RechargeId(self.recharge_id);
        let amount = self.money(self.amount);
        let message = self.failure_message.clone().unwrap_or_default();
        Some(match self.status() {
            "settled" => Outcome::Settled {
                recharge_id,
                amount,
                fee: self.money(self.fee),
                total_charge: self.money(self.total_charge),
                new_quota: self.new_quota,
            },
            "declined" | "failed" => Outcome::Declined {
                recharge_id,
                amount,
                reason: self
                    .decline_code
                    .clone()
                    .or_else(|| self.failure_code.clone())
                    .unwrap_or_else(|| self.status().to_owned()),
                message,
                class: self.decline_class.clone(),
                paused: self.paused,
            },
            "action_required" => Outcome::ActionRequired { recharge_id, amount, message, confirmation_url: None },
            "refunded" => Outcome::Refunded {
                recharge_id,
                amount,
                reason: self.failure_message.clone().unwrap_or_else(|| "refunded".to_owned()),
            },
            _ => return None,
        })
    }
}

/// A row of `webhook_events`, with the recharge that the event led to.
#[derive(Debug, Clone)]
pub(crate) struct Recorded {
    pub(crate) event: EventRow,
    pub(crate) recharge: Option<Recharge>,
}

/// A row of `webhook_events`.
#[derive(Debug, Clone, FromRow)]
pub(crate) struct EventRow {
    pub(crate) event_id: String,
    source: String,
    event_type: String,
    c_organization_id: Option<String>,
    litellm_team_id: Option<String>,
    correlation_id: String,
    payload: Value,
    occurred_at: Option<Timestamp>,
    pub(crate) received_at: Timestamp,
    decision: String,
    reason: Option<String>,
    detail: Option<String>,
    recharge_id: Option<Uuid>,
    decided_at: Timestamp,
}

impl EventRow {
    /// The event as the log shows it.
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "event_id": self.event_id,
            "source": self.source,
            "event_type": self.event_type,
            "c_organization_id": self.c_organization_id,
            "litellm_team_id": self.litellm_team_id,
            "correlation_id": self.correlation_id,
            "occurred_at": self.occurred_at,
            "received_at": self.received_at,
            "decision": self.decision,
            "reason": self.reason,
            "message": self.detail,
            "recharge_id": self.recharge_id,
            "decided_at": self.decided_at,
            "payload": self.payload,
        })
    }
}

impl Recorded {
    /// How the chain ended, if it has.
    pub(crate) fn outcome(&self) -> Option<Outcome> {
        match (self.event.decision.as_str(), &self.recharge) {
            ("charge", recharge) => recharge.as_ref().and_then(Recharge::outcome),
            (word, _) => Some(Outcome::Skipped {
                reason: self.event.reason.clone().unwrap_or_else(|| word.to_owned()),
                message: self.event.detail.clone().unwrap_or_default(),
                recharge_id: self.event.recharge_id.map(RechargeId),
            }),
        }
    }

    /// Where the event got to.
    pub(crate) fn state(&self) -> &str {
        match (self.event.decision.as_str(), self.recharge.as_ref().map(Recharge::status)) {
            ("charge", None | Some("pending" | "processing")) => "decided",
            ("charge", Some(status)) => status,
            (decision, _) => decision,
        }
    }

    /// The status URL's answer.
    pub(crate) fn to_status(&self) -> Value {
        json!({
            "event_id": self.event.event_id,
            "state": self.state(),
            "c_organization_id": self.event.c_organization_id,
            "source": self.event.source,
            "event_type": self.event.event_type,
            "received_at": self.event.received_at,
            "decided_at": self.event.decided_at,
            "decision": self.event.decision,
            "reason": self.event.reason,
            "message": self.event.detail,
            "recharge_id": self.event.recharge_id,
            "recharge": self.recharge.as_ref().map(Recharge::to_chain),
        })
    }
}

/// A row of `quota_syncs`: a completed push.
#[derive(Debug, Clone, FromRow)]
pub(crate) struct Synced {
    c_organization_id: String,
    backend: String,
    ledger_version: i64,
    quota: Decimal,
    changed: bool,
    litellm_team_id: Option<String>,
    synced_at: Timestamp,
    currency: String,
}

impl Synced {
    /// The end of the chain that it ended.
    pub(crate) fn outcome(&self) -> Outcome {
        Outcome::Synced {
            quota: self.quota,
            ledger_version: self.ledger_version,
            team: self.litellm_team_id.as_deref().and_then(|team| TeamId::parse(team).ok()),
            changed: self.changed,
        }
    }

    /// The status URL's answer.
    pub(crate) fn to_status(&self, id: &EventId) -> Value {
        json!({
            "event_id": id,
            "state": "synced",
            "c_organization_id": self.c_organization_id,
            "backend": self.backend,
            "ledger_version": self.ledger_version,
            "quota": quota_number(self.quota, self.currency.parse().unwrap_or(Currency::USD)),
            "changed": self.changed,
            "litellm_team_id": self.litellm_team_id,
            "synced_at": self.synced_at,
        })
    }
}
