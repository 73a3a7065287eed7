//! One recharge, as its row tells it: with what went back, and what is disputed.

use common::clock::Timestamp;
use common::ids::{EventId, RechargeId};
use common::money::{Currency, Money};
use common::pay_link::PayLinks;
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
    confirm_by: Option<Timestamp>,
    undo_cause: Option<String>,
    undo_reason: Option<String>,
    refunded_amount: Decimal,
    refunded_total: Decimal,
}

impl Recharge {
    pub(crate) fn currency(&self) -> Currency {
        self.currency.as_deref().and_then(|code| code.parse().ok()).unwrap_or(Currency::USD)
    }

    fn money(&self, amount: Option<Decimal>) -> Money {
        let currency = self.currency();
        // The columns have two decimals, so what does not fit is a yen row that somebody wrote by hand.
        amount.and_then(|amount| Money::covering(amount, currency).ok()).unwrap_or(Money::zero(currency))
    }

    pub(crate) fn status(&self) -> &str {
        self.status.as_deref().unwrap_or_default()
    }

    /// Whose it is.
    pub(crate) fn organization(&self) -> Option<&str> {
        self.c_organization_id.as_deref()
    }

    /// Whether money of it was captured, by us: a row from before Bill-Service is nothing that we can give back.
    pub(crate) fn is_captured(&self) -> bool {
        let captured = ["charged", "credited", "settled", "refunding", "refunded", "returning"];
        self.trigger_event_id.is_some() && self.payment_intent_id.is_some() && captured.contains(&self.status())
    }

    /// The quota of it that was not given back yet.
    pub(crate) fn refundable(&self) -> Money {
        let left = self.amount.unwrap_or_default().checked_sub(self.refunded_amount);
        self.money(left.filter(|left| !left.is_sign_negative()))
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

    /// Where the customer confirms it, as long as it waits for that.
    fn confirmation_url(&self, links: &PayLinks) -> Option<String> {
        let waits = self.status() == "action_required" && self.trigger_event_id.is_some();
        waits.then(|| links.url(RechargeId(self.recharge_id)))
    }

    /// The recharge as the history shows it.
    pub(crate) fn to_json(&self, links: &PayLinks) -> Value {
        let currency = self.currency();
        let mut json = json!({
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
            "refunded_amount": self.money(Some(self.refunded_amount)).to_number(),
            "refunded_total": self.money(Some(self.refunded_total)).to_number(),
            "undo_cause": self.undo_cause,
            "undo_reason": self.undo_reason,
        });
        if let Some(url) = self.confirmation_url(links) {
            json["confirmation_url"] = json!(url);
            json["expires_at"] = json!(self.confirm_by);
        }
        json
    }

    /// The recharge with every step of its chain.
    pub(crate) fn to_chain(&self, links: &PayLinks) -> Value {
        let mut json = self.to_json(links);
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

    /// How the chain ended, if it has. Money that goes back is an end when it is back.
    pub(crate) fn outcome(&self, links: &PayLinks) -> Option<Outcome> {
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
            "action_required" => Outcome::ActionRequired {
                recharge_id,
                amount,
                message,
                confirmation_url: self.confirmation_url(links),
                expires_at: self.confirm_by,
            },
            "refunded" => Outcome::Refunded {
                recharge_id,
                amount: self.money(Some(self.refunded_amount)),
                total: self.money(Some(self.refunded_total)),
                refund_id: None,
                reason: self
                    .undo_reason
                    .clone()
                    .or_else(|| self.failure_message.clone())
                    .unwrap_or_else(|| "refunded".to_owned()),
            },
            _ => return None,
        })
    }
}

/// A row of `refunds`.
#[derive(Debug, Clone, FromRow)]
pub(crate) struct Refund {
    refund_key: String,
    recharge_id: Uuid,
    c_organization_id: String,
    cause: String,
    reason: String,
    requested_by: Option<String>,
    currency: String,
    amount: Decimal,
    total: Decimal,
    status: String,
    stripe_refund_id: Option<String>,
    tries: i32,
    last_error: Option<String>,
    was_refunded: bool,
    created_at: Timestamp,
    ended_at: Option<Timestamp>,
}

impl Refund {
    fn money(&self, amount: Decimal) -> Money {
        money(amount, &self.currency)
    }

    /// The refund as its recharge shows it.
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "refund_key": self.refund_key,
            "refund_id": self.stripe_refund_id,
            "status": self.status,
            "cause": self.cause,
            "reason": self.reason,
            "requested_by": self.requested_by,
            "amount": self.money(self.amount).to_number(),
            "total": self.money(self.total).to_number(),
            "currency": self.currency,
            "tries": self.tries,
            "last_error": self.last_error,
            "created_at": self.created_at,
            "ended_at": self.ended_at,
        })
    }

    /// How it ended, if it has.
    pub(crate) fn outcome(&self) -> Option<Outcome> {
        let recharge_id = RechargeId(self.recharge_id);
        match self.status.as_str() {
            "succeeded" => Some(Outcome::Refunded {
                recharge_id,
                amount: self.money(self.amount),
                total: self.money(self.total),
                refund_id: self.stripe_refund_id.clone(),
                reason: self.reason.clone(),
            }),
            // Said at once, whether or not the bank is done: the quota is taken back.
            "pending" if self.was_refunded => Some(Outcome::Refunded {
                recharge_id,
                amount: self.money(self.amount),
                total: self.money(self.total),
                refund_id: self.stripe_refund_id.clone(),
                reason: self.reason.clone(),
            }),
            "failed" => Some(Outcome::RefundFailed {
                recharge_id,
                total: self.money(self.total),
                reason: self.last_error.clone().unwrap_or_else(|| "refused".to_owned()),
                attempts: u32::try_from(self.tries).unwrap_or_default(),
            }),
            _ => None,
        }
    }

    /// The status URL's answer for the request that asked for it.
    pub(crate) fn to_status(&self, id: &EventId) -> Value {
        let state = match (self.status.as_str(), self.was_refunded) {
            ("succeeded", _) | ("pending", true) => "refunded",
            ("failed", _) => "refund_failed",
            _ => "refunding",
        };
        json!({
            "event_id": id,
            "state": state,
            "c_organization_id": self.c_organization_id,
            "recharge_id": self.recharge_id,
            "refund": self.to_json(),
        })
    }
}

/// A row of `disputes`.
#[derive(Debug, Clone, FromRow)]
pub(crate) struct Dispute {
    dispute_id: String,
    currency: String,
    amount: Decimal,
    total: Decimal,
    stage: String,
    reason: String,
    opened_at: Timestamp,
    closed_at: Option<Timestamp>,
}

impl Dispute {
    /// The dispute as its recharge shows it.
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "dispute_id": self.dispute_id,
            "stage": self.stage,
            "reason": self.reason,
            "amount": money(self.amount, &self.currency).to_number(),
            "total": money(self.total, &self.currency).to_number(),
            "currency": self.currency,
            "opened_at": self.opened_at,
            "closed_at": self.closed_at,
        })
    }
}

fn money(amount: Decimal, currency: &str) -> Money {
    let currency = currency.parse().unwrap_or(Currency::USD);
    Money::covering(amount, currency).unwrap_or(Money::zero(currency))
}
