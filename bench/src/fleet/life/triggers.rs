//! What starts recharges, as it was received. Pure.

use chrono::Duration;
use common::clock::Timestamp;
use common::contract::{QuotaLowV1, RechargeRequestedV1, TriggerKind};
use common::ids::EventId;
use common::money::Money;
use serde_json::{Value, json};

use super::super::office;
use super::{Life, decided, logged};

/// What was received, and how much it asks for.
pub(super) struct Trigger {
    pub(super) event: EventId,
    /// Its line in the log, as yet without what was decided.
    pub(super) line: Value,
    pub(super) amount: Money,
    /// The limit whose crossing it tells of.
    pub(super) limit: Option<Money>,
}

impl Life<'_> {
    /// What starts a recharge when so much is used. `manual` is what a person asks for.
    pub(super) fn trigger(
        &mut self,
        kind: TriggerKind,
        usage: i64,
        manual: Money,
        at: Timestamp,
    ) -> anyhow::Result<Trigger> {
        let quota = Money::new(self.books.quota, self.who.currency);
        let usage = Money::new(usage, self.who.currency);
        let gap = self.who.target.minor - (quota.minor - usage.minor);
        let amount = Money::new(gap.max(self.who.minimum_recharge.minor), self.who.currency);
        Ok(match kind {
            TriggerKind::Manual => self.asked_for(manual, at)?,
            TriggerKind::Sweep => {
                let data = QuotaLowV1 {
                    usage: usage.to_decimal(),
                    quota: quota.to_decimal(),
                    available: Money::new(quota.minor - usage.minor, quota.currency).to_decimal(),
                    minimum_balance: self.who.minimum_balance.to_decimal(),
                };
                let cause = format!("{}:{}:{}", self.who.id, self.books.version, at.timestamp());
                let event = EventId::following("quotas.low", &cause);
                let line = logged(self.who, &event, "sweep", "quota_low", &serde_json::to_value(data)?, at);
                Trigger { event, line, amount, limit: None }
            }
            TriggerKind::Webhook | TriggerKind::LitellmAlert => {
                let body = json!({
                    "event_type": "limit_exceeded", "team_id": self.who.team, "current_usage": usage.to_number(),
                    "current_limit": quota.to_number(),
                    "exceeded_by": Money::new(usage.minor - quota.minor, quota.currency).to_number(), "timestamp": at,
                });
                let event = EventId::from_body("evt", body.to_string().as_bytes());
                let line = logged(self.who, &event, "litellm", "limit_exceeded", &body, at);
                Trigger { event, line, amount, limit: Some(quota) }
            }
        })
    }

    fn asked_for(&mut self, amount: Money, at: Timestamp) -> anyhow::Result<Trigger> {
        let event = EventId::from_body("req", format!("{}\n{}", self.who.id, self.random.number()).as_bytes());
        let requested_by = office::person(&mut self.random);
        let data = RechargeRequestedV1 { amount, requested_by: requested_by.clone() };
        let line = logged(self.who, &event, "api", "recharge_requested", &serde_json::to_value(data)?, at);
        let after = json!({ "event_id": event, "amount": amount.to_number(), "currency": amount.currency });
        let asked = at - Duration::milliseconds(4);
        office::requested(self.rows, self.who, &event, &format!("POST /recharge {amount}"), asked);
        office::audited(self.rows, Some(&self.who.id), asked, &requested_by, "recharge.requested", after);
        Ok(Trigger { event, line, amount, limit: None })
    }

    /// The same crossing once more, in other words: nothing comes of it.
    pub(super) fn told_again(&mut self, usage: i64, limit: Money, at: Timestamp) {
        let body = json!({
            "event_type": "limit_exceeded", "team_id": self.who.team, "current_limit": limit.to_number(),
            "current_usage": Money::new(usage + 1, limit.currency).to_number(), "timestamp": at,
        });
        let event = EventId::from_body("evt", body.to_string().as_bytes());
        let line = logged(self.who, &event, "litellm", "limit_exceeded", &body, at);
        let quota = Money::new(self.books.quota, limit.currency);
        let detail = format!("the limit of {limit} was answered: the quota is {quota}");
        self.rows.events.push((at, decided(line, "skipped", Some("already_recharged"), &detail, None)));
    }
}
