//! One recharge, as its row tells it.

use common::clock::Timestamp;
use common::ids::RechargeId;
use common::money::{Currency, Money};
use common::pay_link::PayLinks;
use rust_decimal::Decimal;
use sqlx::FromRow;
use uuid::Uuid;

use super::steps::{Step, in_order};
use super::view::{ChainView, Confirmation, Failure, RechargeView};
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
    processor_fee: Option<Decimal>,
    updated_at: Option<Timestamp>,
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

    /// The event that the chain began with.
    pub(crate) fn correlation(&self) -> Option<&str> {
        self.correlation_id.as_deref()
    }

    /// The event that caused it.
    pub(crate) fn trigger(&self) -> Option<&str> {
        self.trigger_event_id.as_deref()
    }

    /// The ledger's version in which it was credited.
    pub(crate) fn ledger_version(&self) -> Option<i64> {
        self.ledger_version
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

    fn failure(&self) -> Option<Failure> {
        let failed = self.failure_code.is_some() || self.failure_message.is_some();
        failed.then(|| Failure {
            code: self.failure_code.clone(),
            decline_code: self.decline_code.clone(),
            advice_code: self.advice_code.clone(),
            class: self.decline_class.clone(),
            message: self.failure_message.clone(),
            paused: self.paused,
        })
    }

    /// Where the customer confirms it, as long as it waits for that.
    fn confirmation_url(&self, links: &PayLinks) -> Option<String> {
        let waits = self.status() == "action_required" && self.trigger_event_id.is_some();
        waits.then(|| links.url(RechargeId(self.recharge_id)))
    }

    /// The recharge as the history shows it.
    pub(crate) fn view(&self, links: &PayLinks) -> RechargeView {
        let currency = self.currency();
        let number = |amount| self.money(amount).to_number();
        let confirmation = self.confirmation_url(links);
        RechargeView {
            recharge_id: self.recharge_id,
            c_organization_id: self.c_organization_id.clone(),
            amount: number(self.amount),
            fee: number(self.fee),
            total_charge: self.total_charge.map(|total| number(Some(total))),
            currency,
            status: self.status.clone(),
            triggered_by: self.triggered_by.clone(),
            triggered_by_webhook: self.triggered_by_webhook,
            webhook_event_id: self.webhook_event_id.clone(),
            payment_intent_id: self.payment_intent_id.clone(),
            created_at: self.created_at,
            settled_at: self.settled_at,
            new_quota: self.new_quota.map(|quota| quota_number(quota, currency)),
            failure: self.failure(),
            refunded_amount: number(Some(self.refunded_amount)),
            refunded_total: number(Some(self.refunded_total)),
            undo_cause: self.undo_cause.clone(),
            undo_reason: self.undo_reason.clone(),
            confirmation: confirmation.map(|url| Confirmation { confirmation_url: url, expires_at: self.confirm_by }),
        }
    }

    /// The recharge with the steps of its own record and these.
    pub(crate) fn chain(&self, links: &PayLinks, more: Vec<Step>) -> ChainView {
        ChainView {
            recharge: self.view(links),
            trigger_event_id: self.trigger_event_id.clone(),
            correlation_id: self.correlation_id.clone(),
            charge_id: self.charge_id.clone(),
            ledger_version: self.ledger_version,
            steps: in_order(self.steps().into_iter().chain(more).collect()),
        }
    }

    /// The steps that its own record tells.
    fn steps(&self) -> Vec<Step> {
        let currency = self.currency();
        let number = |amount| self.money(amount).to_number();
        let total_charge = || self.total_charge.map(|total| number(Some(total)));
        let waits = self.updated_at.filter(|_| self.status() == "action_required");
        let steps = [
            self.created_at.map(|at| Step::Claimed {
                at,
                triggered_by: self.triggered_by.clone(),
                amount: number(self.amount),
                fee: number(self.fee),
                total_charge: total_charge(),
                currency,
            }),
            waits.map(|at| Step::ActionRequired { at, expires_at: self.confirm_by, failure: self.failure() }),
            self.charged_at.map(|at| Step::Charged {
                at,
                payment_intent_id: self.payment_intent_id.clone(),
                charge_id: self.charge_id.clone(),
                total_charge: total_charge(),
                processor_fee: self.processor_fee.map(|fee| quota_number(fee, currency)),
                currency,
            }),
            self.credited_at.map(|at| Step::Credited { at, ledger_version: self.ledger_version }),
            self.settled_at.map(|at| {
                let new_quota = self.new_quota.map(|quota| quota_number(quota, currency));
                Step::Settled { at, new_quota }
            }),
            self.ended_at.and_then(|at| self.end(at)),
        ];
        steps.into_iter().flatten().collect()
    }

    /// The step that its end was.
    fn end(&self, at: Timestamp) -> Option<Step> {
        let failure = self.failure();
        Some(match self.status() {
            "settled" => return None,
            "declined" => Step::Declined { at, failure },
            "failed" => Step::Failed { at, failure },
            "refunded" => Step::Refunded {
                at,
                cause: self.undo_cause.clone(),
                reason: self.undo_reason.clone(),
                amount: self.money(Some(self.refunded_amount)).to_number(),
                total: self.money(Some(self.refunded_total)).to_number(),
                currency: self.currency(),
            },
            status => Step::Ended { step: status.to_owned(), at },
        })
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
