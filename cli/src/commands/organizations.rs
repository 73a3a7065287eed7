//! `bill org`.

use clap::{Args, Subcommand};
use common::ids::OrganizationId;
use rust_decimal::Decimal;
use serde_json::Value;

use super::{List, Many, Yes};
use crate::call::{Body, Call};
use crate::show::{As, Column, Show, details, full_details, list, outcome, table};
use crate::values::{self, Setting};

const COLUMNS: [Column; 9] = [
    Column("ID", "c_organization_id", As::Whole),
    Column("TEAM", "litellm_team_id", As::Whole),
    Column("AUTO", "auto_recharge_enabled", As::Text),
    Column("MINIMUM", "minimum_balance", As::Number),
    Column("TARGET", "target_balance", As::Number),
    Column("AT LEAST", "minimum_recharge_amount", As::Number),
    Column("CARD", "payment_method_brand", As::Text),
    Column("", "payment_method_last4", As::Text),
    Column("CLOSED", "closed_at", As::Whole),
];

const USERS: [Column; 4] = [
    Column("ID", "id", As::Whole),
    Column("E-MAIL", "email", As::Whole),
    Column("TEAM", "litellm_team_id", As::Whole),
    Column("SINCE", "created_at", As::Whole),
];

const POINTS: [Column; 4] = [
    Column("WHEN", "at", As::Whole),
    Column("USAGE", "usage", As::Number),
    Column("QUOTA", "quota", As::Number),
    Column("AVAILABLE", "available", As::Number),
];

#[derive(Debug, Subcommand)]
pub(crate) enum Organizations {
    /// All organizations, in the order of their ids
    List(Many),
    /// An organization with its policy and its card
    Show(One),
    /// Create an organization
    Create(Box<Create>),
    /// Change some of an organization's settings, and leave the rest
    Set(Set),
    /// Close an organization: nothing is recharged, synced or changed any more, and everything can still be read
    Close(Close),
    /// Open a closed organization again
    Reopen(One),
    /// What an organization has, and whether it is recharged by itself
    Balance(One),
    /// What an organization has spent, over time and this month
    Usage(Usage),
    /// Save a card, and charge it from now on
    Card(Card),
    /// Push the quota to the quota backend now
    Sync(Sync),
    /// An organization's users
    Users(List),
}

/// One organization.
#[derive(Debug, Args)]
pub(crate) struct One {
    /// The organization
    #[arg(value_parser = values::organization)]
    id: OrganizationId,
}

#[derive(Debug, Args)]
pub(crate) struct Create {
    /// The organization's id: letters, digits, _ and -
    #[arg(value_parser = values::organization)]
    id: OrganizationId,
    /// Its team in LiteLLM, where it has one already
    #[arg(long, value_name = "TEAM_ID")]
    team: Option<String>,
    /// Its currency, such as usd; it can't be changed later
    #[arg(long)]
    currency: Option<String>,
    /// Below this much available, it is recharged
    #[arg(long, value_name = "AMOUNT", value_parser = values::amount)]
    minimum_balance: Option<Decimal>,
    /// What a recharge aims at
    #[arg(long, value_name = "AMOUNT", value_parser = values::amount)]
    target_balance: Option<Decimal>,
    /// What the target is compared with
    #[arg(long, value_parser = ["quota", "available"])]
    target_basis: Option<String>,
    /// The least that is bought at once
    #[arg(long, value_name = "AMOUNT", value_parser = values::amount)]
    minimum_recharge: Option<Decimal>,
    /// Don't recharge it by itself
    #[arg(long)]
    no_auto_recharge: bool,
    /// How many automatic recharges a UTC day may have
    #[arg(long, value_name = "N")]
    max_daily_recharges: Option<u32>,
    /// How much a UTC day may cost
    #[arg(long, value_name = "AMOUNT", value_parser = values::amount)]
    max_daily_amount: Option<Decimal>,
    /// How much a UTC month may cost
    #[arg(long, value_name = "AMOUNT", value_parser = values::amount)]
    max_monthly_amount: Option<Decimal>,
    /// How long to rest after a decline
    #[arg(long, value_name = "SECONDS")]
    cooldown: Option<u32>,
    /// What is credited when its team turns out to be unlimited
    #[arg(long, value_name = "AMOUNT", value_parser = values::amount)]
    opening_quota: Option<Decimal>,
}

#[derive(Debug, Args)]
pub(crate) struct Set {
    /// The organization
    #[arg(value_parser = values::organization)]
    id: OrganizationId,
    /// Settings by the names that `bill org show` tells; null clears one. resume=true ends a pause
    #[arg(required = true, value_name = "KEY=VALUE")]
    settings: Vec<Setting>,
}

#[derive(Debug, Args)]
pub(crate) struct Usage {
    /// The organization
    #[arg(value_parser = values::organization)]
    id: OrganizationId,
    /// Over so many last days; 30 when absent
    #[arg(long, value_name = "N")]
    days: Option<u32>,
}

#[derive(Debug, Args)]
pub(crate) struct Close {
    /// The organization
    #[arg(value_parser = values::organization)]
    id: OrganizationId,
    #[command(flatten)]
    yes: Yes,
}

#[derive(Debug, Args)]
pub(crate) struct Card {
    /// The organization
    #[arg(value_parser = values::organization)]
    id: OrganizationId,
    /// Stripe's id of the card, such as pm_card_visa
    #[arg(value_parser = values::word)]
    payment_method: String,
    /// Only save it: the card that is charged stays
    #[arg(long)]
    not_default: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Sync {
    /// The organization
    #[arg(value_parser = values::organization)]
    id: OrganizationId,
    /// Don't wait for the outcome
    #[arg(long)]
    no_wait: bool,
}

impl Organizations {
    pub(super) fn call(self) -> Result<Call, String> {
        const ALL: &str = "organizations";
        Ok(match self {
            Self::List(many) => {
                Call::get(&[&ALL], |body, show| list(body, &COLUMNS, show)).pages("after", many.limit())
            }
            Self::Show(One { id }) => Call::get(&[&ALL, &id, &"config"], settings),
            Self::Create(new) => Call::post(&[&ALL], settings).body(new.body()),
            Self::Set(Set { id, settings: changes }) => {
                Call::patch(&[&ALL, &id, &"config"], settings).body(Body::new().settings(changes))
            }
            Self::Close(Close { id, yes }) => {
                let question = || format!("Close {id}? Nothing is recharged any more, until it is opened again.");
                Call::delete(&[&ALL, &id], closing).asks(yes.yes, question)
            }
            Self::Reopen(One { id }) => Call::post(&[&ALL, &id, &"reopen"], closing),
            Self::Balance(One { id }) => Call::get(&[&ALL, &id, &"balance"], balance),
            Self::Usage(Usage { id, days }) => Call::get(&[&ALL, &id, &"usage"], usage).query("days", days),
            Self::Card(Card { id, payment_method, not_default }) => {
                let body = Body::new().with("payment_method_id", payment_method).with("set_as_default", !not_default);
                Call::post(&[&ALL, &id, &"payment-method"], |body, show| {
                    details(body, &["success", "brand", "last4"], show)
                })
                .body(body)
            }
            Self::Sync(Sync { id, no_wait }) => Call::post(&[&ALL, &id, &"sync"], outcome).no_wait(no_wait),
            Self::Users(List { id, many }) => {
                Call::get(&[&ALL, &id, &"users"], |body, show| list(body, &USERS, show)).pages("after", many.limit())
            }
        })
    }
}

impl Create {
    fn body(self) -> Body {
        Body::new()
            .with("c_organization_id", self.id.as_str())
            .maybe("litellm_team_id", self.team)
            .maybe("currency", self.currency)
            .amount("minimum_balance", self.minimum_balance)
            .amount("target_balance", self.target_balance)
            .maybe("target_basis", self.target_basis)
            .amount("minimum_recharge_amount", self.minimum_recharge)
            .maybe("auto_recharge_enabled", self.no_auto_recharge.then_some(false))
            .maybe("max_daily_recharges", self.max_daily_recharges)
            .amount("max_daily_amount", self.max_daily_amount)
            .amount("max_monthly_amount", self.max_monthly_amount)
            .maybe("cooldown_seconds", self.cooldown)
            .amount("opening_quota", self.opening_quota)
    }
}

/// Under the names that `bill org set` takes.
fn settings(body: &Value, show: &Show) -> String {
    let first = [
        "c_organization_id",
        "litellm_team_id",
        "currency",
        "auto_recharge_enabled",
        "minimum_balance",
        "target_balance",
        "target_basis",
        "minimum_recharge_amount",
        "max_daily_recharges",
        "max_daily_amount",
        "max_monthly_amount",
        "cooldown_seconds",
        "opening_quota",
        "default_payment_method_id",
        "payment_method_brand",
        "payment_method_last4",
        "stripe_customer_id",
    ];
    full_details(body, &first, show)
}

fn balance(body: &Value, show: &Show) -> String {
    let first = [
        "c_organization_id",
        "available",
        "quota",
        "quota_in_force",
        "usage",
        "usage_at",
        "auto_recharge_enabled",
        "has_payment_method",
        "paused",
        "pause_reason",
    ];
    details(body, &first, show)
}

fn closing(body: &Value, show: &Show) -> String {
    full_details(body, &["c_organization_id", "closed_at"], show)
}

/// What was seen, then what it comes to: that is what stays in sight.
fn usage(body: &Value, show: &Show) -> String {
    let mut about = body.clone();
    let points = about.as_object_mut().and_then(|about| about.remove("points")).unwrap_or_default();
    let first = ["c_organization_id", "usage", "usage_at", "quota", "available"];
    let about = details(&about, &first, show);
    match points.as_array().filter(|points| !points.is_empty()) {
        None => about,
        Some(points) => table(points, &POINTS, body["currency"].as_str(), show) + "\n" + &about,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn usage_over_time_and_in_total() {
        let body = json!({ "c_organization_id": "acme", "currency": "usd", "usage": 5, "month": { "captured": 9, "usage": null },
                           "points": [{ "at": "2026-11-23T10:00:00Z", "usage": 5, "quota": 9, "available": 4 }] });
        assert_eq!(
            usage(&body, &Show::plain_utc()),
            "WHEN                 USAGE  QUOTA  AVAILABLE\n2026-11-23 10:00:00  5 USD  9 USD      4 USD\n\n\
             c_organization_id  acme\nusage              5 USD\ncurrency           usd\n\nmonth\n  captured  9 USD\n"
        );
    }

    #[test]
    fn settings_tell_what_is_not_set() {
        let text = settings(
            &json!({ "c_organization_id": "acme", "max_daily_amount": null, "target_balance": 5,
                                     "currency": "usd" }),
            &Show::plain_utc(),
        );
        assert_eq!(
            text,
            "c_organization_id  acme\ncurrency           usd\ntarget_balance     5 USD\nmax_daily_amount   -\n"
        );
    }
}
