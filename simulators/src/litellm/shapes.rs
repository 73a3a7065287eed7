//! Bodies as a running proxy writes them.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::Team;
use crate::http::Reply;
use crate::number;

pub(super) fn shown(id: &str, team: &Team) -> Value {
    json!({
        "team_alias": team.alias,
        "team_id": id,
        "organization_id": team.organization,
        "admins": [],
        "members": [],
        "members_with_roles": [{ "user_id": "default_user_id", "user_email": null, "role": "admin" }],
        "team_member_permissions": [],
        "metadata": team.metadata,
        "tpm_limit": null,
        "rpm_limit": null,
        "max_budget": team.max_budget.map(number::write),
        "budget_duration": null,
        "models": [],
        "blocked": false,
        "spend": number::write(team.spend),
        "max_parallel_requests": null,
        "budget_reset_at": null,
        "model_id": null,
        "litellm_model_table": null,
        "object_permission": null,
        "updated_at": team.updated_at,
        "created_at": team.created_at,
        "object_permission_id": null,
        "team_member_budget_table": null,
    })
}

/// The body as a running proxy sends it.
pub(super) fn alert_body(id: &str, team: &Team, budget: Decimal) -> Value {
    json!({
        "spend": number::write(team.spend),
        "max_budget": number::write(budget),
        "soft_budget": null,
        "token": hex::encode(Sha256::digest(format!("the key of {id}"))),
        "customer_id": null,
        "user_id": null,
        "team_id": id,
        "team_alias": team.alias,
        "organization_id": team.organization,
        "user_email": null,
        "key_alias": null,
        "projected_exceeded_date": null,
        "projected_spend": null,
        "event_group": "team",
        "event": "budget_crossed",
        "event_message": format!("Team Budget: Budget Crossed\n Total Budget:`{budget}`"),
    })
}

fn metrics(spend: Decimal) -> Value {
    json!({
        "spend": number::write(spend),
        "prompt_tokens": 0,
        "completion_tokens": 0,
        "cache_read_input_tokens": 0,
        "cache_creation_input_tokens": 0,
        "total_tokens": 0,
        "successful_requests": 0,
        "failed_requests": 0,
        "api_requests": 0,
    })
}

pub(super) fn day_of(day: &str, spends: &BTreeMap<&str, Decimal>, teams: &BTreeMap<String, Team>) -> Value {
    let entities: Value = spends
        .iter()
        .map(|(id, spend)| {
            let alias = teams.get(*id).and_then(|team| team.alias.clone());
            let entry = json!({
                "metrics": metrics(*spend),
                "metadata": { "team_alias": alias },
                "api_key_breakdown": {},
            });
            ((*id).to_owned(), entry)
        })
        .collect();
    json!({
        "date": day,
        "metrics": metrics(spends.values().sum()),
        "breakdown": {
            "mcp_servers": {},
            "models": {},
            "model_groups": {},
            "providers": {},
            "api_keys": {},
            "entities": entities,
        },
    })
}

pub(super) fn refused(status: u16, kind: &str, message: &str) -> Reply {
    let code = status.to_string();
    Reply::json(status, &json!({ "error": { "message": message, "type": kind, "param": null, "code": code } }))
}

pub(super) fn unknown(id: &str) -> Reply {
    refused(404, "not_found_error", &format!("Team not found, passed team id: {id}."))
}
