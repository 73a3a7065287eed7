//! Bodies as a running proxy writes them.

use rust_decimal::Decimal;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::Team;
use crate::http::Reply;
use crate::number;

/// What `/team/new` answers.
pub(super) fn new_team(id: &str, team: &Team) -> Value {
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
        "max_budget": team.max_budget.map(number::float),
        "budget_duration": team.budget_duration,
        "models": [],
        "blocked": false,
        "spend": number::float(Decimal::ZERO),
        "max_parallel_requests": null,
        "budget_reset_at": null,
        "model_id": null,
        "litellm_model_table": null,
        "object_permission": null,
        "updated_at": team.updated_at,
        "created_at": team.created_at,
        "object_permission_id": null,
    })
}

/// `team_info` of what `/team/info` answers.
pub(super) fn team_info(id: &str, team: &Team, now: i64) -> Value {
    let more = json!({ "spend": number::float(team.shown_spend(now)), "team_member_budget_table": null });
    with(new_team(id, team), more)
}

/// `data` of what `/team/update` answers.
pub(super) fn updated_team(id: &str, team: &Team, now: i64) -> Value {
    let more = json!({
        "spend": number::float(team.shown_spend(now)),
        "model_spend": {},
        "model_max_budget": {},
        "litellm_organization_table": null,
    });
    with(new_team(id, team), more)
}

fn with(mut body: Value, more: Value) -> Value {
    if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
        body.extend(more);
    }
    body
}

/// The body as a running proxy sends it.
pub(super) fn alert_body(id: &str, team: &Team, budget: Decimal) -> Value {
    json!({
        "spend": number::float(team.spent()),
        "max_budget": number::float(budget),
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
        "event_message": format!("Team Budget: Budget Crossed\n Total Budget:`{}`", number::float(budget)),
    })
}

pub(super) fn metrics(spend: Decimal) -> Value {
    json!({
        "spend": number::float(spend),
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

/// What `/health/readiness` answers.
pub(super) fn readiness(database: bool) -> Reply {
    let (status, db) = if database { (200, "connected") } else { (503, "disconnected") };
    Reply::json(status, &json!({ "status": "healthy", "db": db }))
}

/// An error as most management calls word it.
pub(super) fn refused(status: u16, kind: &str, param: &str, message: &str) -> Reply {
    let code = status.to_string();
    Reply::json(status, &json!({ "error": { "message": message, "type": kind, "param": param, "code": code } }))
}

/// An error as some of them do.
pub(super) fn detail(status: u16, message: &str) -> Reply {
    Reply::json(status, &json!({ "detail": { "error": message } }))
}

pub(super) fn unknown(id: &str) -> Reply {
    let message = format!("{{'message': 'Team not found, passed team id: {id}.'}}");
    refused(404, "auth_error", "None", &message)
}

/// A proxy tells the end of the key, and its hash.
pub(super) fn unknown_key(key: &str) -> Reply {
    let end: String = key.chars().skip(key.chars().count().saturating_sub(4)).collect();
    let hash = hex::encode(Sha256::digest(key));
    let message = format!(
        "Authentication Error, Invalid proxy server token passed. Received API Key = sk-...{end}, Key Hash (Token) ={hash}. \
         Unable to find token in cache or `LiteLLM_VerificationTokenTable`"
    );
    refused(401, "token_not_found_in_db", "key", &message)
}
