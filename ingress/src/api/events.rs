//! `GET /api/events/:id`, the status URL, and `GET /api/recharges/:id`.

use common::clock::Timestamp;
use common::ids::{EventId, RechargeId};
use serde_json::{Value, json};

use super::repo;
use crate::app::App;
use crate::events::{self, Dispute, Refund};
use crate::http::{Answer, Problem};
use crate::outcome::{Accepted, Outcome, refund_answer};

/// `GET /api/events/:id`
pub(crate) async fn show(app: &App, id: &str) -> Result<Answer, Problem> {
    let unknown = || Problem::not_found("unknown_event", "Nothing is known of this event").and("event_id", id);
    let id = EventId::parse(id).map_err(|_| unknown())?;
    let status = match look(app, &id).await {
        Ok(status) => status,
        // With the database down, what this replica remembers is still true.
        Err(error) => match app.outcomes.recall(&id) {
            Some(accepted) => return Ok(Answer::ok(remembered(&id, &accepted))),
            None => return Err(error.into()),
        },
    };
    let status = status.or_else(|| app.outcomes.recall(&id).map(|accepted| remembered(&id, &accepted)));
    let status = match status {
        None => repo::asked(&app.pool, &id).await?.map(|asked| unconfirmed(&id, asked)),
        known => known,
    };
    status.map(Answer::ok).ok_or_else(unknown)
}

/// What was asked for, and of which nobody has said anything yet: it may be on its way, or have got lost before the
/// broker had it.
fn unconfirmed(id: &EventId, (organization, asked, at): (String, String, Timestamp)) -> Value {
    let message = "It was asked for, and nothing more is known of it yet. Ask again in a moment, or send the same call again \
                   with the same Idempotency-Key";
    json!({
        "event_id": id,
        "state": "unconfirmed",
        "c_organization_id": organization,
        "request": asked,
        "requested_at": at,
        "message": message,
    })
}

/// What the tables say.
async fn look(app: &App, id: &EventId) -> sqlx::Result<Option<Value>> {
    if !app.directory.database_is_up() {
        return Err(sqlx::Error::PoolTimedOut);
    }
    if let Some(refund) = events::repo::requested_refund(&app.pool, id).await? {
        let mut status = refund.to_status(id);
        if let Some(outcome) = refund.outcome() {
            status["outcome"] = refund_answer(id, &outcome).body;
        }
        return Ok(Some(status));
    }
    if let Some(recorded) = events::repo::find(&app.pool, id).await? {
        return Ok(Some(recorded.to_status(id, &app.links)));
    }
    let synced = events::repo::sync(&app.pool, id).await?;
    Ok(synced.map(|synced| synced.to_status(id)))
}

/// What this replica knows of an event that is not in the tables, or not yet.
fn remembered(id: &EventId, accepted: &Accepted) -> Value {
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
    json!({
        "event_id": id,
        "state": state,
        "kind": accepted.kind,
        "c_organization_id": accepted.organization,
        "received_at": accepted.at,
    })
}

/// `GET /api/recharges/:id`
pub(crate) async fn recharge(app: &App, id: &str) -> Result<Answer, Problem> {
    let unknown = || Problem::not_found("unknown_recharge", "There is no such recharge").and("recharge_id", id);
    let id: RechargeId = id.parse().map_err(|_| unknown())?;
    let recharge = events::repo::recharge(&app.pool, id).await?.ok_or_else(unknown)?;
    let refunds = events::repo::refunds(&app.pool, id).await?;
    let disputes = events::repo::disputes(&app.pool, id).await?;
    let mut chain = recharge.to_chain(&app.links);
    chain["refunds"] = refunds.iter().map(Refund::to_json).collect();
    chain["disputes"] = disputes.iter().map(Dispute::to_json).collect();
    Ok(Answer::ok(chain))
}
