//! `GET /api/organizations/:id/balance`: what the organization has, and whether it is recharged by itself.

use common::money::Money;
use serde_json::json;

use super::{organization_id, repo, unknown_organization};
use crate::app::App;
use crate::http::{Answer, Problem};
use crate::organizations::repo as organizations;
use crate::outcome::quota_number;

/// `GET /api/organizations/:id/balance`
pub(crate) async fn show(app: &App, id: &str) -> Result<Answer, Problem> {
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
    let paused = state.as_ref().and_then(|state| state.pause(&organization));
    let now = app.clock.now();
    Ok(Answer::ok(json!({
        "c_organization_id": id,
        "currency": currency,
        "quota": money.to_number(),
        "ledger_version": version,
        "quota_in_force": state.as_ref().and_then(|state| state.synced_quota).map(|quota| quota_number(quota, currency)),
        "usage": usage.as_ref().map(|(usage, _)| quota_number(*usage, currency)),
        "usage_at": usage.as_ref().map(|(_, at)| at),
        "available": available.map(|available| quota_number(available, currency)),
        "auto_recharge_enabled": organization.policy.auto_recharge_enabled,
        "paused": paused.is_some(),
        "paused_at": paused.as_ref().map(|(at, _)| at),
        "pause_reason": paused.as_ref().and_then(|(_, reason)| reason.clone()),
        "cooldown_until": state.as_ref().and_then(|state| state.cooldown_until).filter(|until| *until > now),
        "consecutive_failures": state.as_ref().map_or(0, |state| state.consecutive_failures),
        "has_payment_method": organization.card.is_some(),
    })))
}
