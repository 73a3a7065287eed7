//! `GET /api/events/:id`, the status URL, and `GET /api/recharges/:id`.

use common::clock::Timestamp;
use common::ids::{EventId, OrganizationId, RechargeId};
use serde_json::json;
use warp::http::Method;

use super::access::Access;
use super::auth::Caller;
use super::operation::Operation;
use super::repo;
use crate::app::App;
use crate::events;
use crate::events::view::{EventStatus, FullChain, QuotaStatus, RememberedStatus, UnconfirmedStatus};
use crate::http::{Answer, Problem};
use crate::outcome::{Accepted, Outcome};
use crate::quota;

/// The routes.
pub(crate) fn operations() -> Vec<Operation> {
    vec![
        Operation::known(Method::GET, "/api/events/{id}", "get_event", Access::ReadOwn, |app, call| {
            Box::pin(async move { show(&app, call.param(0), &call.caller).await })
        })
        .without_database()
        .says("Events", "Where an event got to: the status URL of calls that were not waited for.")
        .answers::<EventStatus>(200, "The event's state."),
        Operation::known(Method::GET, "/api/recharges/{id}", "get_recharge", Access::ReadOwn, |app, call| {
            Box::pin(async move { recharge(&app, call.param(0), &call.caller).await })
        })
        .says("Recharges", "One recharge with its whole chain, step by step.")
        .answers::<FullChain>(200, "The recharge."),
    ]
}

/// `GET /api/events/:id`
async fn show(app: &App, id: &str, caller: &Caller) -> Result<Answer, Problem> {
    let unknown = || Problem::not_found("unknown_event", "Nothing is known of this event").and("event_id", id);
    let id = EventId::parse(id).map_err(|_| unknown())?;
    let status = match look(app, &id).await {
        Ok(status) => status,
        // With the database down, what this replica remembers is still true.
        Err(error) => match app.outcomes.recall(&id) {
            Some(accepted) if caller.grant.sees(accepted.organization.as_ref().map(OrganizationId::as_str)) => {
                return Ok(Answer::ok(json!(remembered(&id, &accepted))));
            }
            Some(_) => return Err(unknown()),
            None => return Err(error.into()),
        },
    };
    let status = match (status, app.outcomes.recall(&id)) {
        // It ended after the tables were looked at. They have it now, and why it ended so.
        (None, Some(accepted)) if accepted.outcome.is_some() => {
            look(app, &id).await.ok().flatten().or_else(|| Some(remembered(&id, &accepted)))
        }
        (None, accepted) => accepted.map(|accepted| remembered(&id, &accepted)),
        (status, _) => status,
    };
    let status = match status {
        None => repo::asked(&app.pool, &id).await?.map(|asked| unconfirmed(&id, asked)),
        known => known,
    };
    let status = status.filter(|status| caller.grant.sees(status.organization()));
    status.map(|status| Answer::ok(json!(status))).ok_or_else(unknown)
}

/// What was asked for, and of which nobody has said anything yet: it may be on its way, or have got lost before the
/// broker had it.
fn unconfirmed(id: &EventId, (organization, asked, at): (String, String, Timestamp)) -> EventStatus {
    let message = "It was asked for, and nothing more is known of it yet. Ask again in a moment, or send the same call again \
                   with the same Idempotency-Key";
    EventStatus::Unconfirmed(UnconfirmedStatus {
        event_id: id.clone(),
        state: "unconfirmed",
        c_organization_id: organization,
        request: asked,
        requested_at: at,
        message,
    })
}

/// What the tables say.
async fn look(app: &App, id: &EventId) -> sqlx::Result<Option<EventStatus>> {
    if !app.directory.database_is_up() {
        return Err(sqlx::Error::PoolTimedOut);
    }
    if let Some(refund) = events::repo::requested_refund(&app.pool, id).await? {
        return Ok(Some(EventStatus::Refund(Box::new(refund.status(id)))));
    }
    if let Some(recorded) = events::repo::find(&app.pool, id).await? {
        return Ok(Some(EventStatus::Recorded(Box::new(recorded.status(id, &app.links)))));
    }
    if let Some(synced) = events::repo::sync(&app.pool, id).await? {
        return Ok(Some(EventStatus::Synced(synced.status(id))));
    }
    if let Some((c_organization_id, reason, at)) = quota::repo::gave_up(&app.pool, id).await? {
        let (event_id, at, message) = (id.clone(), Some(at), Some(reason));
        return Ok(Some(EventStatus::Quota(QuotaStatus { event_id, state: "failed", c_organization_id, at, message })));
    }
    let correction = quota::repo::correction(&app.pool, id).await?;
    Ok(correction.and_then(|correction| correction.status(id)).map(EventStatus::Quota))
}

/// What this replica knows of an event that is not in the tables, or not yet.
fn remembered(id: &EventId, accepted: &Accepted) -> EventStatus {
    let state = match &accepted.outcome {
        None => "accepted",
        Some(Outcome::Settled { .. }) => "settled",
        Some(Outcome::Declined { .. }) => "declined",
        Some(Outcome::ActionRequired { .. }) => "action_required",
        Some(Outcome::Skipped { .. }) => "skipped",
        Some(Outcome::Refunded { .. }) => "refunded",
        Some(Outcome::RefundFailed { .. }) => "refund_failed",
        Some(Outcome::Synced { .. }) => "synced",
        Some(Outcome::SyncFailed { .. }) => "failed",
    };
    EventStatus::Remembered(RememberedStatus {
        event_id: id.clone(),
        state,
        kind: accepted.kind,
        c_organization_id: accepted.organization.as_ref().map(|organization| organization.as_str().to_owned()),
        received_at: accepted.at,
    })
}

/// `GET /api/recharges/:id`
async fn recharge(app: &App, id: &str, caller: &Caller) -> Result<Answer, Problem> {
    let unknown = || Problem::not_found("unknown_recharge", "There is no such recharge").and("recharge_id", id);
    let id: RechargeId = id.parse().map_err(|_| unknown())?;
    let recharge = events::repo::recharge(&app.pool, id).await?;
    let recharge = recharge.filter(|recharge| caller.grant.sees(recharge.organization())).ok_or_else(unknown)?;
    let chain = events::repo::chain(&app.pool, recharge).await?;
    Ok(Answer::ok(json!(chain.view(&app.links))))
}
