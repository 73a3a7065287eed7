//! What became of events and recharges, as the database knows it.

mod chain;
mod recharge;
mod refund;
pub(crate) mod repo;
mod steps;
pub(crate) mod view;

use common::clock::Timestamp;
use common::ids::{EventId, RechargeId, TeamId};
use common::money::Currency;
use common::pay_link::PayLinks;
use rust_decimal::Decimal;
use serde_json::{Value, json};
use sqlx::FromRow;
use uuid::Uuid;

use crate::outcome::{Outcome, quota_number, webhook_answer};

pub(crate) use recharge::Recharge;
pub(crate) use refund::{Dispute, Refund};
use steps::Step;
use view::{EventView, FullChain, RecordedStatus, SyncStatus};

/// A recharge with everything that was written down about it.
pub(crate) struct Chain {
    pub(crate) recharge: Recharge,
    /// What caused it.
    pub(crate) event: Option<EventRow>,
    pub(crate) bookings: Vec<chain::BookedEntry>,
    pub(crate) pushes: Vec<chain::Push>,
    pub(crate) given_up: Vec<chain::GivenUp>,
    pub(crate) refunds: Vec<Refund>,
    pub(crate) disputes: Vec<Dispute>,
}

impl Chain {
    /// The chain as the API shows it.
    pub(crate) fn view(&self, links: &PayLinks) -> FullChain {
        let currency = self.recharge.currency();
        let mut steps: Vec<Step> = self.event.iter().flat_map(EventRow::steps).collect();
        steps.extend(chain::bookings(&self.bookings));
        steps.extend(self.pushes.iter().map(|push| push.step(currency)));
        steps.extend(self.given_up.iter().map(|given_up| given_up.step(currency)));
        steps.extend(self.refunds.iter().flat_map(Refund::steps));
        steps.extend(self.disputes.iter().flat_map(Dispute::steps));
        FullChain {
            chain: self.recharge.chain(links, steps),
            refunds: self.refunds.iter().map(Refund::view).collect(),
            disputes: self.disputes.iter().map(Dispute::view).collect(),
        }
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
    pub(crate) fn view(&self) -> EventView {
        EventView {
            event_id: self.event_id.clone(),
            source: self.source.clone(),
            event_type: self.event_type.clone(),
            c_organization_id: self.c_organization_id.clone(),
            litellm_team_id: self.litellm_team_id.clone(),
            correlation_id: self.correlation_id.clone(),
            occurred_at: self.occurred_at,
            received_at: self.received_at,
            decision: self.decision.clone(),
            reason: self.reason.clone(),
            message: self.detail.clone(),
            recharge_id: self.recharge_id,
            decided_at: self.decided_at,
            payload: self.payload.clone(),
        }
    }

    /// Its steps in the chain that it began.
    pub(crate) fn steps(&self) -> [Step; 2] {
        [
            Step::Received {
                at: self.received_at,
                event_id: self.event_id.clone(),
                source: self.source.clone(),
                event_type: self.event_type.clone(),
                occurred_at: self.occurred_at,
                payload: self.payload.clone(),
            },
            Step::Decided {
                at: self.decided_at,
                decision: self.decision.clone(),
                reason: self.reason.clone(),
                message: self.detail.clone(),
            },
        ]
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
    pub(crate) fn status(&self, id: &EventId, links: &PayLinks) -> RecordedStatus {
        let event = &self.event;
        let end = self.outcome(links).map(|outcome| json!(webhook_answer(id, &outcome)));
        let mut end = end.as_ref().and_then(Value::as_object).cloned().unwrap_or_default();
        // What was recorded comes first; the answer's words stand where nothing was.
        let mut text = |name: &str, known: &Option<String>| {
            let said = end.remove(name).and_then(|said| said.as_str().map(str::to_owned));
            known.clone().or(said)
        };
        let (reason, message) = (text("reason", &event.reason), text("message", &event.detail));
        let said = text("recharge_id", &None).and_then(|id| id.parse().ok());
        end.remove("event_id");
        RecordedStatus {
            event_id: event.event_id.clone(),
            state: self.state().to_owned(),
            c_organization_id: event.c_organization_id.clone(),
            source: event.source.clone(),
            event_type: event.event_type.clone(),
            received_at: event.received_at,
            decided_at: event.decided_at,
            decision: event.decision.clone(),
            reason,
            message,
            recharge_id: event.recharge_id.or(said),
            recharge: self.recharge.as_ref().map(|recharge| recharge.chain(links, Vec::new())),
            end,
        }
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
    pub(crate) fn status(&self, id: &EventId) -> SyncStatus {
        SyncStatus {
            event_id: id.clone(),
            state: "synced",
            c_organization_id: self.c_organization_id.clone(),
            backend: self.backend.clone(),
            ledger_version: self.ledger_version,
            quota: quota_number(self.quota, self.currency.parse().unwrap_or(Currency::USD)),
            changed: self.changed,
            litellm_team_id: self.litellm_team_id.clone(),
            synced_at: self.synced_at,
        }
    }
}
