//! What became of events and recharges, as the database knows it.

mod recharge;
pub(crate) mod repo;

use common::clock::Timestamp;
use common::ids::{EventId, RechargeId, TeamId};
use common::money::Currency;
use common::pay_link::PayLinks;
use rust_decimal::Decimal;
use serde_json::{Value, json};
use sqlx::FromRow;
use uuid::Uuid;

use crate::outcome::{Outcome, quota_number, webhook_answer};

pub(crate) use recharge::{Dispute, Recharge, Refund};

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
    pub(crate) fn outcome(&self, links: &PayLinks) -> Option<Outcome> {
        match (self.event.decision.as_str(), &self.recharge) {
            ("charge", recharge) => recharge.as_ref().and_then(|recharge| recharge.outcome(links)),
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

    /// The status URL's answer: where the event got to, and in the end what its sender would have been told.
    pub(crate) fn to_status(&self, id: &EventId, links: &PayLinks) -> Value {
        let mut status = self.so_far(links);
        let end = self.outcome(links).map(|outcome| webhook_answer(id, &outcome)).unwrap_or_default();
        if let (Some(status), Some(end)) = (status.as_object_mut(), end.as_object()) {
            for (name, value) in end {
                let place = status.entry(name.as_str()).or_insert(Value::Null);
                if place.is_null() {
                    *place = value.clone();
                }
            }
        }
        status
    }

    fn so_far(&self, links: &PayLinks) -> Value {
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
            "recharge": self.recharge.as_ref().map(|recharge| recharge.to_chain(links)),
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
