//! `POST /api/organizations/:id/sync`: push the quota to the backend now.

use common::contract::SyncRequestedV1;
use common::ids::EventId;
use warp::http::Method;

use super::access::Access;
use super::auth::Caller;
use super::operation::Operation;
use super::organization_id;
use super::repo::record_request;
use super::schemas::{NotEnded, ProblemBody};
use crate::app::{App, Reached, Wait};
use crate::directory::Known;
use crate::http::{Answer, Problem, Request};
use crate::organizations::repo::{self, AuditEntry};
use crate::outcome::view::SyncAnswer;
use crate::outcome::{Interest, sync_answer};

/// The routes.
pub(crate) fn operations() -> Vec<Operation> {
    vec![
        Operation::known(
            Method::POST,
            "/api/organizations/{id}/sync",
            "sync_quota",
            Access::ChangeOrganization,
            |app, call| Box::pin(async move { start(&app, &call.request, call.param(0), &call.caller).await }),
        )
        .says(
            "Quota",
            "Pushes the ledger's quota to the quota backend now, and creates the organization there if it is missing.",
        )
        .header::<String>("Prefer", "`respond-async`: don't wait for the outcome.")
        .answers::<SyncAnswer>(200, "How it ended.")
        .answers::<NotEnded>(202, "It has not ended yet: ask the status URL.")
        .answers::<ProblemBody>(409, "The organization is closed."),
    ]
}

/// `POST /api/organizations/:id/sync`
async fn start(app: &App, request: &Request, id: &str, caller: &Caller) -> Result<Answer, Problem> {
    let known = super::known(app, &organization_id(id)?).await?;
    let reached = publish(app, request, &known, caller).await?;
    Ok(match &reached.outcome {
        Some(outcome) => sync_answer(&reached.id, outcome, known.currency),
        None => app.accepted(&reached.id, request),
    })
}

/// Asks for the sync, and waits for it unless the caller does not want to.
pub(crate) async fn publish(app: &App, request: &Request, known: &Known, caller: &Caller) -> Result<Reached, Problem> {
    let (id, organization) = (EventId::following("sync", &app.ids.fresh()), &known.organization);
    let mut transaction = app.pool.begin().await?;
    // So that every replica knows what the status URL is about.
    let words = format!("POST /organizations/{organization}/sync");
    record_request(&mut transaction, &id, organization, &words, app.clock.now()).await?;
    let entry = AuditEntry {
        after: Some(serde_json::json!({ "event_id": id })),
        ..caller.audits(app.clock.now(), "sync.requested", Some(organization))
    };
    repo::audit(&mut transaction, entry).await?;
    transaction.commit().await?;
    let asked = SyncRequestedV1 { requested_by: caller.name.clone(), litellm_team_id: known.team.clone() };
    let longest = if request.prefers_async() { std::time::Duration::ZERO } else { app.config.api_wait };
    let wait = Wait { interest: Interest::Sync, longest };
    // It moves no money: sent again, it is another sync.
    Ok(app.start_chain(id, Some(known.organization.clone()), asked, wait).await?)
}
