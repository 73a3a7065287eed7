//! `GET /api/organizations/:id/balance`: what the organization has, and whether it is recharged by itself.

use common::clock::Timestamp;
use common::ids::OrganizationId;
use common::money::{Currency, Money};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Number, json};
use warp::http::Method;

use super::access::Access;
use super::operation::Operation;
use super::{organization_id, repo, unknown_organization};
use crate::app::App;
use crate::http::{Answer, Problem};
use crate::organizations::repo as organizations;
use crate::outcome::quota_number;

/// The routes.
pub(crate) fn operations() -> Vec<Operation> {
    vec![
        Operation::known(
            Method::GET,
            "/api/organizations/{id}/balance",
            "get_balance",
            Access::ReadOrganization,
            |app, call| Box::pin(async move { show(&app, call.param(0)).await }),
        )
        .says("Quota", "What an organization has, and whether it is recharged by itself.")
        .answers::<BalanceView>(200, "The balance."),
    ]
}

/// What an organization has. Amounts are in its currency.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Balance")]
struct BalanceView {
    c_organization_id: OrganizationId,
    currency: Currency,
    /// What it has paid for in total, by the ledger.
    quota: Number,
    /// The ledger's version of it; 0: nothing is booked yet.
    ledger_version: i64,
    /// What the quota backend enforces, as far as is known; null: it was told nothing yet.
    quota_in_force: Option<Number>,
    /// What it has spent in total, when somebody last looked; null: nobody has.
    usage: Option<Number>,
    /// When that was.
    usage_at: Option<Timestamp>,
    /// The quota without the usage; null: the usage is not known.
    available: Option<Number>,
    /// Since when it is closed; null: it is open.
    closed_at: Option<Timestamp>,
    /// Whether it is recharged by itself; one that is closed is not.
    auto_recharge_enabled: bool,
    /// Whether automatic recharge is paused, until it has another card or a person ends the pause.
    paused: bool,
    /// Since when.
    paused_at: Option<Timestamp>,
    /// Why.
    pause_reason: Option<String>,
    /// Until when automatic recharge rests after a decline that may pass; null: it does not rest.
    cooldown_until: Option<Timestamp>,
    /// So many charges have failed since the last one that worked.
    consecutive_failures: i32,
    /// Whether it has a card that can be charged.
    has_payment_method: bool,
}

/// `GET /api/organizations/:id/balance`
async fn show(app: &App, id: &str) -> Result<Answer, Problem> {
    let id = organization_id(id)?;
    let mut connection = app.pool.acquire().await?;
    let organization = organizations::find(&mut connection, &id).await?.ok_or_else(|| unknown_organization(&id))?;
    let currency = organization.currency();
    let quota = repo::quota(&mut connection, &id, currency).await?;
    let usage = repo::usage(&mut connection, &id).await?;
    let state = repo::state(&mut connection, &id).await?;
    let (minor, version) = quota.unwrap_or((0, 0));
    let money = Money::new(minor, currency);
    let available = usage.as_ref().and_then(|(usage, _)| money.to_decimal().checked_sub(*usage));
    let pause = state.as_ref().and_then(|state| state.pause(&organization));
    let now = app.clock.now();
    let number = |amount| quota_number(amount, currency);
    let view = BalanceView {
        c_organization_id: id,
        currency,
        quota: money.to_number(),
        ledger_version: version,
        quota_in_force: state.as_ref().and_then(|state| state.synced_quota).map(number),
        usage: usage.as_ref().map(|(usage, _)| number(*usage)),
        usage_at: usage.as_ref().map(|(_, at)| *at),
        available: available.map(number),
        closed_at: organization.closed_at,
        auto_recharge_enabled: organization.policy.auto_recharge_enabled && organization.closed_at.is_none(),
        paused: pause.is_some(),
        paused_at: pause.as_ref().map(|(at, _)| *at),
        pause_reason: pause.and_then(|(_, reason)| reason),
        cooldown_until: state.as_ref().and_then(|state| state.cooldown_until).filter(|until| *until > now),
        consecutive_failures: state.as_ref().map_or(0, |state| state.consecutive_failures),
        has_payment_method: organization.card.is_some(),
    };
    Ok(Answer::ok(json!(view)))
}
