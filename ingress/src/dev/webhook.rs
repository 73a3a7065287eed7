//! `/test/setup-webhook-test` and `/test/webhook/verify`.

use common::ids::{OrganizationId, TeamId};
use common::money::decimal_to_number;
use rust_decimal::Decimal;
use serde_json::{Map, Value, json};

use super::{create_or_change, kms};
use crate::api::auth::Caller;
use crate::api::payment_method::{self, Wanted};
use crate::api::sync;
use crate::app::App;
use crate::directory::Found;
use crate::fields::{self, Fields};
use crate::http::{Answer, Problem, Request};
use crate::organizations::NewOrganization;
use crate::outcome::sync_answer;

/// What the set-up is asked for.
struct Wish {
    team: TeamId,
    organization: Option<OrganizationId>,
    payment_method: String,
    initial_quota: Option<Decimal>,
}

fn read(body: &Map<String, Value>) -> Result<Wish, Problem> {
    let mut fields = Fields::of(body);
    let team = fields.optional("team_id", fields::team_id).map_or_else(|| TeamId::parse("team_webhook_001"), Ok);
    let wish = Wish {
        team: team.map_err(|error| Problem::bad_request("invalid_body", error.to_string()))?,
        organization: fields.optional("c_organization_id", fields::organization_id),
        payment_method: fields
            .optional("payment_method_id", payment_method::payment_method_id)
            .unwrap_or_else(|| "pm_card_visa".to_owned()),
        initial_quota: fields.optional("initial_quota", fields::decimal),
    };
    fields.finish().map_err(|problems| Problem::fields(&problems))?;
    Ok(wish)
}

/// `POST /test/setup-webhook-test`: an organization with this team, a card, and a quota at the KMS that the ledger knows.
/// Again with the same body, it finds everything as it should be.
pub(super) async fn set_up(app: &App, mut request: Request, caller: &Caller) -> Result<Answer, Problem> {
    let mut body = request.object().await?;
    let wish = read(&body)?;
    let id = organization(app, &wish).await?;
    body.insert("c_organization_id".to_owned(), json!(id));
    body.insert("litellm_team_id".to_owned(), json!(wish.team));
    body.entry("target_balance").or_insert(json!(500));
    body.entry("minimum_recharge_amount").or_insert(json!(100));
    body.entry("auto_recharge_enabled").or_insert(json!(true));
    let new = NewOrganization::read(&body, false).map_err(|problems| Problem::fields(&problems))?;
    let (organization, created) = create_or_change(app, &new, &body, caller).await?;
    let quota = wish.initial_quota.unwrap_or(organization.policy.target_balance);
    let at_kms =
        kms::backend(app)?.create(&kms::account(&id), quota).await.map_err(|error| kms::refused(&error))?.quota;
    let known = crate::api::known(app, &id).await?;
    let reached = sync::publish(app, &request, &known, caller).await?;
    let synced = match &reached.outcome {
        Some(outcome) => sync_answer(&reached.id, outcome, known.currency),
        None => app.accepted(&reached.id, &request),
    };
    // Last: a new card has the balance looked at, and there is none before the quota is known.
    let card = Wanted { payment_method_id: wish.payment_method.clone(), set_as_default: true };
    let (customer, card) = payment_method::attach(app, &id, &card, caller).await?;
    Ok(Answer::ok(json!({
        "success": true,
        "created": created,
        "c_organization_id": id,
        "team_id": wish.team,
        "stripe_customer_id": customer,
        "payment_method_id": card.id,
        "organization": organization.to_json(),
        "kms": kms::to_json(&id, &at_kms),
        "initial_quota": at_kms.quota.limit().map(decimal_to_number),
        "sync": synced.body,
        "webhook_url": format!("{}/webhooks/litellm/limit-exceeded", app.config.public_url),
    })))
}

/// The organization of the test: the one that is named, else the one that has the team, else one that is named after it.
async fn organization(app: &App, wish: &Wish) -> Result<OrganizationId, Problem> {
    if let Some(named) = &wish.organization {
        return Ok(named.clone());
    }
    if let Found::Known(known) = app.directory.team(&wish.team).await {
        return Ok(known.organization.clone());
    }
    let fits = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '_' | '-') { c } else { '-' };
    let name: String = "webhook-test-".chars().chain(wish.team.as_str().chars().map(fits)).take(64).collect();
    OrganizationId::parse(name).map_err(|error| Problem::bad_request("invalid_organization_id", error.to_string()))
}

/// `POST /test/webhook/verify`: whether the signature on this body is right.
pub(super) async fn verify(app: &App, mut request: Request) -> Result<Answer, Problem> {
    let body = request.bytes().await?;
    let verdict = app.keys.verify(&request.headers, &body, app.clock.now());
    Ok(Answer::ok(json!({
        "valid": verdict.is_ok(),
        "reason": verdict.err().map(|why| why.to_string()),
        "body_bytes": body.len(),
    })))
}
