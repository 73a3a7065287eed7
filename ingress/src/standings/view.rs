//! Standings as the API shows them.

use common::clock::Timestamp;
use common::ids::OrganizationId;
use common::money::{Currency, Money};
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Number;
use uuid::Uuid;

use super::{Found, Stage, Standing, Urgency};
use crate::outcome::quota_number;

/// Organizations by how much they need a person.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Standings")]
pub(crate) struct StandingsView {
    /// How many there are of each urgency on all pages together, whatever `only` says.
    counts: Counts,
    /// A page of them.
    items: Vec<StandingView>,
    /// What to ask for the next page with; null: there is none.
    next_cursor: Option<String>,
}

/// How many there are of each urgency.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "StandingCounts")]
struct Counts {
    /// Altogether.
    all: i64,
    paused: i64,
    failing: i64,
    action_required: i64,
    behind: i64,
    low: i64,
    no_card: i64,
    off: i64,
    ok: i64,
}

/// How an organization stands. Amounts are in its currency.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Standing")]
pub(crate) struct StandingView {
    c_organization_id: OrganizationId,
    /// Its team in LiteLLM; null: not known yet.
    litellm_team_id: Option<String>,
    urgency: Urgency,
    currency: Currency,
    /// What it has paid for in total, by the ledger.
    quota: Number,
    /// What the quota backend was last told; null: nothing yet.
    synced_quota: Option<Number>,
    /// Whether the quota backend does not have the ledger's quota yet.
    behind: bool,
    /// What it has spent in total, when somebody last looked; null: nobody has.
    usage: Option<Number>,
    /// When that was.
    usage_at: Option<Timestamp>,
    /// The quota without the usage; null: the usage is not known.
    available: Option<Number>,
    /// Below this it is recharged.
    minimum_balance: Number,
    /// Up to this it is recharged.
    target_balance: Number,
    /// Whether it is recharged by itself; one that is closed is not.
    auto_recharge_enabled: bool,
    /// Whether it has a card that can be charged.
    has_payment_method: bool,
    /// The card's brand, such as visa.
    payment_method_brand: Option<String>,
    /// The card's last four digits.
    payment_method_last4: Option<String>,
    /// Since when it is closed; null: it is open.
    closed_at: Option<Timestamp>,
    /// Whether automatic recharge is paused, until it has another card or a person ends the pause.
    paused: bool,
    /// Since when.
    paused_at: Option<Timestamp>,
    /// Why.
    pause_reason: Option<String>,
    /// Whether a refund is open although Stripe refused it, or the bank sent it back.
    refund_failing: bool,
    /// The recharge that has not ended yet, if there is one.
    recharge: Option<InFlightView>,
    /// The newest recharge, if there is one, in flight or not.
    last_recharge: Option<LastView>,
}

/// A recharge that has not ended yet.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "RechargeInFlight")]
struct InFlightView {
    recharge_id: Uuid,
    /// Where it stands: pending, processing, action_required, charged, credited or refunding.
    status: String,
    /// Since when it is in flight.
    since: Timestamp,
}

/// The newest recharge.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "LastRecharge")]
struct LastView {
    recharge_id: Uuid,
    /// Where it stands, as in the history.
    status: String,
    /// When it ended, or began if it has not ended.
    at: Timestamp,
}

impl Found {
    /// The page, of which one more was asked for than it has, to know whether another follows.
    pub(crate) fn view(&self, limit: usize) -> StandingsView {
        let (page, more) = self.standings.split_at(limit.min(self.standings.len()));
        let [paused, failing, action_required, behind, low, no_card, off, ok] = self.counts;
        StandingsView {
            counts: Counts {
                all: self.counts.iter().sum(),
                paused,
                failing,
                action_required,
                behind,
                low,
                no_card,
                off,
                ok,
            },
            items: page.iter().map(Standing::view).collect(),
            next_cursor: page.last().filter(|_| !more.is_empty()).map(|last| last.position.to_string()),
        }
    }
}

impl Standing {
    fn view(&self) -> StandingView {
        let number = |amount| quota_number(amount, self.currency);
        // The columns have two decimals whatever the currency, but no currency's amounts are stored with more than it has.
        let limit =
            |amount: Decimal| Money::covering(amount, self.currency).unwrap_or(Money::zero(self.currency)).to_number();
        StandingView {
            c_organization_id: self.organization.clone(),
            litellm_team_id: self.team.clone(),
            urgency: self.urgency,
            currency: self.currency,
            quota: number(self.quota),
            synced_quota: self.synced_quota.map(number),
            behind: self.behind,
            usage: self.usage.map(|(usage, _)| number(usage)),
            usage_at: self.usage.map(|(_, at)| at),
            available: self.available.map(number),
            minimum_balance: limit(self.minimum_balance),
            target_balance: limit(self.target_balance),
            auto_recharge_enabled: self.auto_recharge_enabled,
            has_payment_method: self.has_payment_method,
            payment_method_brand: self.card_brand.clone(),
            payment_method_last4: self.card_last4.clone(),
            closed_at: self.closed_at,
            paused: self.pause.is_some(),
            paused_at: self.pause.as_ref().map(|(at, _)| *at),
            pause_reason: self.pause.as_ref().and_then(|(_, reason)| reason.clone()),
            refund_failing: self.refund_failing,
            recharge: self.in_flight.as_ref().map(Stage::in_flight),
            last_recharge: self.last.as_ref().map(Stage::last),
        }
    }
}

impl Stage {
    fn in_flight(&self) -> InFlightView {
        InFlightView { recharge_id: self.recharge_id, status: self.status.clone(), since: self.at }
    }

    fn last(&self) -> LastView {
        LastView { recharge_id: self.recharge_id, status: self.status.clone(), at: self.at }
    }
}
