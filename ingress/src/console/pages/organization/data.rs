//! What of the API's answers these pages show.

use common::money::Currency;
use serde::Deserialize;

use crate::console::amount::Amount;
use crate::console::moment::Moment;

/// A page of a list.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Items<T> {
    pub(super) items: Vec<T>,
}

/// An organization with its policy and its card.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Config {
    pub(super) c_organization_id: String,
    pub(super) litellm_team_id: Option<String>,
    pub(super) currency: Currency,
    pub(super) minimum_balance: Amount,
    pub(super) target_balance: Amount,
    pub(super) target_basis: String,
    pub(super) auto_recharge_enabled: bool,
    pub(super) minimum_recharge_amount: Amount,
    pub(super) max_daily_recharges: i64,
    pub(super) max_daily_amount: Option<Amount>,
    pub(super) max_monthly_amount: Option<Amount>,
    pub(super) cooldown_seconds: i64,
    pub(super) opening_quota: Option<Amount>,
    pub(super) default_payment_method_id: Option<String>,
    pub(super) payment_method_brand: Option<String>,
    pub(super) payment_method_last4: Option<String>,
    pub(super) closed_at: Option<Moment>,
}

impl Config {
    /// Whether nothing can be changed any more.
    pub(super) fn is_closed(&self) -> bool {
        self.closed_at.is_some()
    }

    /// The card as people name it; `None`: there is none.
    pub(super) fn card(&self) -> Option<String> {
        let id = self.default_payment_method_id.as_ref()?;
        let brand = self.payment_method_brand.as_deref().unwrap_or_default();
        Some(match &self.payment_method_last4 {
            Some(last4) => format!("{} •••• {last4}", brand_name(brand)).trim().to_owned(),
            None if brand.is_empty() => id.clone(),
            None => brand_name(brand),
        })
    }
}

/// A brand as it is written on the card.
fn brand_name(brand: &str) -> String {
    match brand {
        "amex" => "American Express".to_owned(),
        "jcb" => "JCB".to_owned(),
        "unionpay" => "UnionPay".to_owned(),
        "diners" => "Diners Club".to_owned(),
        other => {
            let mut letters = other.chars();
            letters.next().map(|first| first.to_uppercase().collect::<String>() + letters.as_str()).unwrap_or_default()
        }
    }
}

/// What an organization has.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Balance {
    pub(super) quota: Amount,
    pub(super) ledger_version: i64,
    pub(super) quota_in_force: Option<Amount>,
    pub(super) usage: Option<Amount>,
    pub(super) usage_at: Option<Moment>,
    pub(super) available: Option<Amount>,
    pub(super) paused: bool,
    pub(super) paused_at: Option<Moment>,
    pub(super) pause_reason: Option<String>,
    pub(super) cooldown_until: Option<Moment>,
}

/// What it spent.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Usage {
    pub(super) month: Month,
    pub(super) from: Moment,
    pub(super) to: Moment,
    pub(super) points: Vec<Look>,
}

/// The month so far.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Month {
    pub(super) usage: Option<Amount>,
    pub(super) source: Option<String>,
    pub(super) counted_from: Option<Moment>,
    pub(super) captured: Amount,
    pub(super) refunded: Amount,
    pub(super) paid: Amount,
}

/// What was seen at one moment.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Look {
    pub(super) at: Moment,
    pub(super) usage: Amount,
    pub(super) quota: Amount,
}

/// A recharge.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Recharge {
    pub(super) recharge_id: String,
    pub(super) amount: Amount,
    pub(super) fee: Amount,
    pub(super) total_charge: Option<Amount>,
    pub(super) currency: Currency,
    pub(super) status: Option<String>,
    pub(super) triggered_by: String,
    pub(super) created_at: Option<Moment>,
    pub(super) settled_at: Option<Moment>,
    pub(super) new_quota: Option<Amount>,
    pub(super) failure: Option<Failure>,
    pub(super) undo_cause: Option<String>,
    pub(super) confirmation_url: Option<String>,
    pub(super) expires_at: Option<Moment>,
}

impl Recharge {
    /// Where it stands; empty for one that nobody knows that of.
    pub(super) fn status(&self) -> &str {
        self.status.as_deref().unwrap_or_default()
    }

    /// Whether it goes on by itself, or waits for its customer.
    pub(super) fn is_in_flight(&self) -> bool {
        let going = ["pending", "processing", "action_required", "charged", "credited", "refunding", "returning"];
        going.contains(&self.status())
    }
}

/// Why it was not charged.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Failure {
    pub(super) code: Option<String>,
    pub(super) decline_code: Option<String>,
    pub(super) message: Option<String>,
}

/// What was done to the quota at the backend.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct QuotaEntry {
    pub(super) kind: String,
    pub(super) at: Moment,
    pub(super) backend: String,
    pub(super) quota: Amount,
    pub(super) previous_quota: Option<Amount>,
    pub(super) why: String,
    pub(super) message: Option<String>,
    pub(super) recharge_id: Option<String>,
}

/// What came in.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct EventRow {
    pub(super) source: String,
    pub(super) event_type: String,
    pub(super) received_at: Moment,
    pub(super) decision: String,
    pub(super) reason: Option<String>,
    pub(super) recharge_id: Option<String>,
}

/// Where an event got to: what of its many shapes is of use here.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct EventStatus {
    pub(super) state: String,
    pub(super) c_organization_id: Option<String>,
    pub(super) quota: Option<Amount>,
    pub(super) changed: Option<bool>,
    pub(super) message: Option<String>,
    pub(super) decision: Option<String>,
    pub(super) reason: Option<String>,
    pub(super) recharge_id: Option<String>,
}

/// What was accepted, or answered.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Accepted {
    pub(super) event_id: String,
}

/// What the policy would do.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Simulation {
    pub(super) decision: Option<Decision>,
    pub(super) replay: Option<Replay>,
}

/// One decision, as it would be taken now.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Decision {
    pub(super) would: String,
    pub(super) amount: Option<Amount>,
    pub(super) fee: Option<Amount>,
    pub(super) total_charge: Option<Amount>,
    pub(super) new_quota: Option<Amount>,
    #[serde(default)]
    pub(super) reduced: bool,
    pub(super) reason: Option<String>,
    pub(super) until: Option<Moment>,
}

/// What would have been done over some days.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Replay {
    pub(super) asked_from: Moment,
    pub(super) from: Option<Moment>,
    pub(super) to: Moment,
    pub(super) snapshots: i64,
    pub(super) recharges: i64,
    pub(super) total_amount: Amount,
    pub(super) total_charge: Amount,
    pub(super) simulated: Vec<Simulated>,
    pub(super) truncated: bool,
    pub(super) skips: Vec<Skipped>,
    pub(super) actual_recharges: i64,
    pub(super) actual_manual_recharges: i64,
    pub(super) actual_amount: Amount,
}

/// A recharge that there would have been.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Simulated {
    pub(super) at: Moment,
    pub(super) usage: Amount,
    pub(super) amount: Amount,
    pub(super) total_charge: Amount,
    pub(super) quota_after: Amount,
}

/// Why there would not have been more.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Skipped {
    pub(super) reason: String,
    pub(super) count: i64,
    pub(super) first: Moment,
    pub(super) last: Moment,
}

/// An amount as it is said in a sentence: without cents where there are none.
pub(super) fn round(amount: Amount, currency: &Currency) -> String {
    let money = amount.money(currency);
    let (short, cents) = money.rsplit_once('.').unwrap_or((money.as_str(), ""));
    if cents.bytes().all(|digit| digit == b'0') { short.to_owned() } else { money.clone() }
}
