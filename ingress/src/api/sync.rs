//! `POST /api/organizations/:id/sync`: push the quota to the backend now.

use common::contract::SyncRequestedV1;
use common::ids::EventId;

use super::auth::Caller;
use super::organization_id;
use crate::app::{App, Reached, Wait};
use crate::directory::Known;
use crate::http::{Answer, Problem, Request};
use crate::organizations::repo::{self, AuditEntry};
use crate::outcome::{Interest, sync_answer};

/// `POST /api/organizations/:id/sync`
pub(crate) async fn start(app: &App, request: &Request, id: &str, caller: &Caller) -> Result<Answer, Problem> {
    let known = super::known(app, &organization_id(id)?).await?;
    let reached = publish(app, request, &known, caller).await?;
    Ok(match &reached.outcome {
        Some(outcome) => sync_answer(&reached.id, outcome, known.currency),
        None => app.accepted(&reached.id, request),
    })
}

/// Asks for the sync, and waits for it unless the caller does not want to.
pub(crate) async fn publish(app: &App, request: &Request, known: &Known, caller: &Caller) -> Result<Reached, Problem> {
    let id = EventId::following("sync", &app.ids.fresh());
    let mut connection = app.pool.acquire().await?;
    let entry = AuditEntry {
        at: app.clock.now(),
        actor: &caller.name,
        action: "sync.requested",
        organization: Some(&known.organization),
        request_id: &caller.request_id,
        before: None,
        after: Some(serde_json::json!({ "event_id": id })),
    };
    repo::audit(&mut connection, entry).await?;
    drop(connection);
    let asked = SyncRequestedV1 { requested_by: caller.name.clone(), litellm_team_id: known.team.clone() };
    let longest = if request.prefers_async() { std::time::Duration::ZERO } else { app.config.api_wait };
    let wait = Wait { interest: Interest::Sync, longest };
    // It moves no money: sent again, it is another sync.
    Ok(app.start_chain(request, id, Some(known.organization.clone()), asked, wait).await?)
}
