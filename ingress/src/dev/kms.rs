//! `/test/kms/…`: the KMS as ingress sees it.

use common::clients::quota::{Account, BackendError, BackendQuota, QuotaBackend};
use common::ids::OrganizationId;
use common::money::decimal_to_number;
use rust_decimal::Decimal;
use serde_json::{Value, json};
use warp::http::StatusCode;

use crate::api::organization_id;
use crate::app::App;
use crate::fields::{self, Fields};
use crate::http::{Answer, Problem, Request};

/// The KMS; there is one wherever there are development routes.
pub(super) fn backend(app: &App) -> Result<&dyn QuotaBackend, Problem> {
    app.kms.as_deref().ok_or_else(Problem::no_route)
}

pub(super) fn account(organization: &OrganizationId) -> Account {
    Account { organization: organization.clone(), team: None }
}

pub(super) fn to_json(organization: &OrganizationId, found: &BackendQuota) -> Value {
    json!({
        "c_organization_id": organization,
        "l_team_id": found.team_id,
        "quota": found.quota.limit().map(decimal_to_number),
    })
}

/// What the KMS says no to.
pub(super) fn refused(error: &BackendError) -> Problem {
    match error {
        BackendError::Unavailable { .. } => Problem::unavailable("kms_unavailable", error.to_string()),
        BackendError::Refused { .. } => Problem::conflict("kms_refused", error.to_string()),
    }
}

async fn read(mut request: Request, default: Option<Decimal>) -> Result<(OrganizationId, Decimal), Problem> {
    let body = request.object().await?;
    let mut fields = Fields::of(&body);
    let organization = fields.required("c_organization_id", fields::organization_id);
    let quota = match default {
        None => fields.required("quota", fields::decimal),
        Some(default) => fields.optional("quota", fields::decimal).or(Some(default)),
    };
    fields.finish().map_err(|problems| Problem::fields(&problems))?;
    organization.zip(quota).ok_or_else(|| Problem::fields(&[]))
}

/// `POST /test/kms/create-org {c_organization_id, quota?}`
pub(super) async fn create(app: &App, request: Request) -> Result<Answer, Problem> {
    let (organization, quota) = read(request, Some(Decimal::ZERO)).await?;
    let created = backend(app)?.create(&account(&organization), quota).await.map_err(|error| refused(&error))?;
    Ok(Answer::new(StatusCode::CREATED, to_json(&organization, &created.quota)))
}

/// `GET /test/kms/get-org/:id`
pub(super) async fn get(app: &App, id: &str) -> Result<Answer, Problem> {
    let organization = organization_id(id)?;
    let found = backend(app)?.read(&account(&organization)).await.map_err(|error| refused(&error))?;
    let unknown = || Problem::not_found("unknown_organization", format!("The KMS does not know {organization}"));
    found.map(|found| Answer::ok(to_json(&organization, &found))).ok_or_else(unknown)
}

/// `PUT /test/kms/update-quota {c_organization_id, quota}`
pub(super) async fn update(app: &App, request: Request) -> Result<Answer, Problem> {
    let (organization, quota) = read(request, None).await?;
    backend(app)?.set(&account(&organization), quota).await.map_err(|error| refused(&error))?;
    Ok(Answer::ok(json!({ "success": true, "c_organization_id": organization, "quota": decimal_to_number(quota) })))
}
