//! `GET /api/organizations/:id/quota-history` and `POST …/quota/restore`: earlier settings of a quota, and putting one back.
//!
//! The ledger stays the truth: what is put back is booked as the difference to the ledger's quota of this moment, and pushed
//! as any other posting is. The ledger books the difference only beside the version that it was worked out from: whatever is
//! booked in between (a credit, another correction) makes it wrong, and so nothing is booked and the caller asks again. What is
//! on its way and would be booked afterwards for the same reason, a refund or the end of a dispute, is waited for.

use common::clock::Timestamp;
use common::contract::{AdjustRequestedV1, SyncRequestedV1};
use common::ids::{EventId, RechargeId, TeamId};
use common::money::{Currency, Money};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Number, Value, json};
use warp::http::Method;

use super::access::Access;
use super::auth::Caller;
use super::history::{page, read_event_cursor, write_cursor};
use super::operation::{Call, Operation};
use super::repo::{quota, record_request};
use super::schemas::{EventCursor, IdempotencyKey, NotEnded, Page, PageSize, ProblemBody, Words};
use super::{idempotency, open, organization_id, page_size, stored, unknown_organization};
use crate::app::{App, Wait};
use crate::directory::Known;
use crate::fields::{self, Fields, Read};
use crate::http::{Answer, Problem, Request};
use crate::organizations::repo::{self as organizations, AuditEntry, audit};
use crate::outcome::{Interest, Outcome, quota_number};
use crate::publish::Unpublished;
use crate::quota::repo::{self, Entry};
use crate::quota::{Fate, REFUSED};

/// The longest reason.
const LONGEST_REASON: usize = 500;
/// The routes.
pub(crate) fn operations() -> Vec<Operation> {
    const TAG: &str = "Quota";
    vec![
        Operation::known(
            Method::GET,
            "/api/organizations/{id}/quota-history",
            "list_quota_history",
            Access::ReadOrganization,
            |app, call| Box::pin(async move { list(&app, &call).await }),
        )
        .says(TAG, "What was done to an organization's quota at the quota backend, and why, newest first.")
        .query::<EventCursor>("before", "The `next_cursor` of the page before.")
        .query::<PageSize>("limit", "How many.")
        .answers::<Page<QuotaEntry>>(200, "A page of settings."),
        Operation::known(
            Method::POST,
            "/api/organizations/{id}/quota/restore",
            "restore_quota",
            Access::OperateOrganization,
            |app, call| {
                Box::pin(async move {
                    let id = call.param(0).to_owned();
                    restore(&app, call.request, &id, &call.caller).await
                })
            },
        )
        .says(
            TAG,
            "Puts an earlier quota back: books the difference to the ledger's quota as a correction, and pushes it. No money \
             moves.",
        )
        .header::<IdempotencyKey>("Idempotency-Key", "The same call with the same key is one correction, however often it is sent.")
        .header::<String>("Prefer", "`respond-async`: don't wait for the outcome.")
        .body::<RestoreBody>()
        .answers::<Restored>(200, "How it ended.")
        .answers::<NotEnded>(202, "It has not ended yet: ask the status URL.")
        .answers::<ProblemBody>(
            409,
            "The books have changed meanwhile, a refund or a dispute has not ended, the organization is closed, or the key was \
             used for another request. Nothing was booked.",
        ),
    ]
}

/// What was done to a quota at the backend.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct QuotaEntry {
    /// What came of it.
    kind: QuotaEntryKind,
    /// What it can be put back by; null: it never was in force.
    quota_sync_id: Option<i64>,
    /// When.
    at: Timestamp,
    /// Where: `kms` or `litellm`.
    backend: String,
    /// The quota that was to be in force.
    quota: Number,
    /// What the backend had before, where it had one.
    previous_quota: Option<Number>,
    /// Whether that was another one.
    changed: bool,
    /// The ledger's version that it is the quota of; 0: nothing was booked yet.
    ledger_version: i64,
    /// What it was for.
    why: QuotaCause,
    /// What the ledger booked, as a sentence; null: it was for no posting.
    description: Option<String>,
    /// Why it was given up, in the backend's words; null: it was not.
    message: Option<String>,
    /// The recharge that it is about, if it is about one.
    recharge_id: Option<RechargeId>,
    /// Who started it, where a person or a program did over the API.
    requested_by: Option<String>,
    /// The event that asked for it.
    event_id: String,
    /// The event that started the chain.
    correlation_id: String,
}

/// What came of a push.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum QuotaEntryKind {
    /// It is, or was, in force.
    Synced,
    /// It was given up.
    Failed,
}

/// What a quota was set for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum QuotaCause {
    /// A recharge was credited.
    Charge,
    /// The quota that the backend already had was adopted.
    Opening,
    /// A person corrected it, or put an earlier one back.
    Adjustment,
    /// A recharge was given back.
    Refund,
    /// A dispute was opened.
    Hold,
    /// A dispute was won.
    Release,
    /// A dispute was lost.
    DisputeLost,
    /// The bank sent a refund back.
    RefundFailed,
    /// A charge was given back before it was credited.
    Void,
    /// The backend had another quota than it should.
    Repair,
    /// Somebody asked for it.
    Sync,
}

impl QuotaEntry {
    fn of(entry: &Entry, currency: Currency, starters: &[(String, String)]) -> Self {
        let posting = entry.posting.as_ref().map(|word| serde_json::from_value(json!(word)));
        let why = match posting {
            Some(Ok(posting)) => posting,
            _ if entry.cause.starts_with("repair:") => QuotaCause::Repair,
            _ => QuotaCause::Sync,
        };
        let starter = starters.iter().find(|(event, _)| *event == entry.correlation_id);
        Self {
            kind: if entry.quota_sync_id.is_some() { QuotaEntryKind::Synced } else { QuotaEntryKind::Failed },
            quota_sync_id: entry.quota_sync_id,
            at: entry.at,
            backend: entry.backend.clone(),
            quota: quota_number(entry.quota, currency),
            previous_quota: entry.previous_quota.map(|quota| quota_number(quota, currency)),
            changed: entry.changed,
            ledger_version: entry.ledger_version,
            why,
            description: entry.description.clone(),
            message: entry.failure.clone(),
            recharge_id: entry.recharge_id.map(RechargeId),
            requested_by: starter.map(|(_, actor)| actor.clone()),
            event_id: entry.cause.clone(),
            correlation_id: entry.correlation_id.clone(),
        }
    }
}

/// `GET /api/organizations/:id/quota-history?limit=&before=`
async fn list(app: &App, call: &Call) -> Result<Answer, Problem> {
    let id = organization_id(call.param(0))?;
    let query = &call.request.query;
    let limit = page_size(query)?;
    let before = query.get("before").map(read_event_cursor).transpose()?;
    let organization = stored(app, &id).await?.ok_or_else(|| unknown_organization(&id))?;
    let entries = repo::history(&app.pool, &id, before, limit + 1).await?;
    let correlations: Vec<&str> = entries.iter().map(|entry| entry.correlation_id.as_str()).collect();
    let starters = repo::starters(&app.pool, &id, &correlations).await?;
    let show = |entry: &Entry| json!(QuotaEntry::of(entry, organization.currency(), &starters));
    Ok(page(&entries, limit, show, |last| Some(write_cursor(last.at, &last.key))))
}

/// Which quota to put back.
#[derive(JsonSchema)]
#[schemars(rename = "QuotaRestore", deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct RestoreBody {
    /// The entry of the quota history.
    #[schemars(range(min = 1))]
    quota_sync_id: i64,
    /// Why, for the records.
    reason: Words<LONGEST_REASON>,
}

/// What is asked for.
struct Wanted {
    quota_sync_id: i64,
    reason: String,
}

/// An earlier quota that was put back.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Restored {
    /// Whether it is in force.
    success: bool,
    /// Whether something had to be booked; if not, the quota was pushed again all the same.
    changed: bool,
    /// What was booked: by how much the quota changed.
    change: Number,
    /// The entry of the quota history that was put back.
    quota_sync_id: i64,
    /// The quota that is in force, or should be.
    quota: Number,
    /// The ledger's version that it is the quota of.
    ledger_version: i64,
    /// The organization's team at the backend, as far as it said.
    litellm_team_id: Option<TeamId>,
    /// Why it is not in force: `backend_refused`; null: it is. The correction stays booked, and the sweep goes on trying.
    reason: Option<&'static str>,
    /// What the backend said last.
    message: Option<String>,
    /// The event that the call became.
    event_id: EventId,
}

fn read(body: &Map<String, Value>) -> Result<Wanted, Problem> {
    fn sync_id(value: &Value) -> Read<i64> {
        fields::position(value)
            .ok()
            .filter(|id| *id > 0)
            .ok_or_else(|| "must be a quota_sync_id of the quota history".to_owned())
    }
    let mut fields = Fields::of(body);
    let quota_sync_id = fields.required("quota_sync_id", sync_id);
    let reason = fields.required("reason", fields::text(LONGEST_REASON));
    fields.refuse_unknown();
    fields.finish().map_err(|problems| Problem::fields(&problems))?;
    let (quota_sync_id, reason) = quota_sync_id.zip(reason).ok_or_else(|| Problem::fields(&[]))?;
    Ok(Wanted { quota_sync_id, reason })
}

/// `POST /api/organizations/:id/quota/restore`
async fn restore(app: &App, mut request: Request, id: &str, caller: &Caller) -> Result<Answer, Problem> {
    let id = organization_id(id)?;
    let wanted = read(&request.object().await?)?;
    let known = super::known(app, &id).await?;
    let target = target(app, &known, wanted.quota_sync_id).await?;
    let key = idempotency::key_or_new(&request, app)?;
    let event_id = EventId::from_body("req", format!("restore\n{id}\n{key}").as_bytes());
    let Difference { change, basis } = record(app, &known, &event_id, &wanted, target, caller).await?;
    let longest = if request.prefers_async() { std::time::Duration::ZERO } else { app.config.api_wait };
    let wait = Wait { interest: Interest::Sync, longest };
    let requested_by = caller.name.clone();
    let reached = if change.minor == 0 {
        let asked = SyncRequestedV1 { requested_by, litellm_team_id: known.team.clone() };
        app.start_chain(event_id.clone(), Some(id), asked, wait).await
    } else {
        let reason = format!("quota {target} of sync {} put back: {}", wanted.quota_sync_id, wanted.reason);
        let asked = AdjustRequestedV1 { amount: change, basis_version: Some(basis), reason, requested_by };
        app.start_chain(event_id.clone(), Some(id), asked, wait).await
    };
    let reached = match reached {
        Err(Unpublished::Unconfirmed) => return Ok(app.unconfirmed(&event_id, &key)),
        // It is recorded under this key, so that it has to be repeated under it.
        Err(unsent) => return Err(Problem::from(unsent).and("idempotency_key", key)),
        Ok(reached) => reached,
    };
    if let Some(restored) =
        reached.outcome.as_ref().and_then(|outcome| answer(&event_id, &known, &wanted, change, outcome))
    {
        return Ok(Answer::ok(json!(restored)));
    }
    match repo::correction(&app.pool, &event_id).await? {
        Some(correction) if correction.fate() == Fate::Refused => {
            Err(Problem::conflict("books_changed", REFUSED).and("event_id", event_id.as_str()))
        }
        _ => Ok(app.accepted(&event_id, &request)),
    }
}

/// By how much the quota shall change, and the ledger's version that this was worked out from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Difference {
    change: Money,
    basis: i64,
}

impl Difference {
    /// As it is recorded, after the words of the request.
    fn to_words(self) -> String {
        format!(" by {} at {}", self.change.minor, self.basis)
    }

    fn read(words: &str, currency: Currency) -> Option<Self> {
        let (change, basis) = words.strip_prefix(" by ")?.split_once(" at ")?;
        Some(Self { change: Money::new(change.parse().ok()?, currency), basis: basis.parse().ok()? })
    }
}

/// The quota that is to be put back.
async fn target(app: &App, known: &Known, quota_sync_id: i64) -> Result<Money, Problem> {
    let quota = repo::synced(&app.pool, &known.organization, quota_sync_id).await?.ok_or_else(|| {
        let error = format!("{} has no such entry in its quota history", known.organization);
        Problem::not_found("unknown_quota_sync", error).and("quota_sync_id", quota_sync_id)
    })?;
    Money::from_decimal(quota, known.currency).map_err(|error| {
        let error = format!("This quota can't be booked: {error}");
        Problem::conflict("quota_not_bookable", error).and("quota_sync_id", quota_sync_id)
    })
}

/// Records who asked for what, once for each key, and by how much the quota changes for it. A repeat asks for the same,
/// whatever has been booked since.
async fn record(
    app: &App,
    known: &Known,
    event_id: &EventId,
    wanted: &Wanted,
    target: Money,
    caller: &Caller,
) -> Result<Difference, Problem> {
    let (id, now) = (&known.organization, app.clock.now());
    let words = format!("POST /organizations/{id}/quota/restore {}", wanted.quota_sync_id);
    let mut transaction = app.pool.begin().await?;
    // Locks the organization's row: none beside a closing.
    open(organizations::find_to_change(&mut transaction, id).await?, id)?;
    let (minor, basis) = quota(&mut transaction, id, known.currency).await?.unwrap_or((0, 0));
    let change = target.minor.checked_sub(minor).ok_or_else(|| {
        Problem::conflict("quota_not_bookable", "The difference to the ledger's quota is more than can be booked")
    })?;
    let difference = Difference { change: Money::new(change, known.currency), basis };
    let asked = format!("{words}{}", difference.to_words());
    let (first, new) = record_request(&mut transaction, event_id, id, &asked, now).await?;
    if !new {
        let recorded = first.strip_prefix(&words).and_then(|rest| Difference::read(rest, known.currency));
        return recorded.ok_or_else(|| idempotency::reused(event_id, &first));
    }
    if let Some(recharge) = repo::unsettled(&mut transaction, id).await? {
        let error =
            "A refund or a dispute of this organization has not ended, and will change the quota itself; wait for it";
        return Err(Problem::conflict("refund_or_dispute_open", error).and("recharge_id", recharge.to_string()));
    }
    let entry = AuditEntry {
        before: Some(json!({ "quota": Money::new(minor, known.currency).to_number(), "ledger_version": basis })),
        after: Some(json!({
            "event_id": event_id, "quota": target.to_number(), "quota_sync_id": wanted.quota_sync_id, "reason": wanted.reason,
        })),
        ..caller.audits(now, "quota.restore_requested", Some(id))
    };
    audit(&mut transaction, entry).await?;
    transaction.commit().await?;
    Ok(difference)
}

/// How it ended.
fn answer(event_id: &EventId, known: &Known, wanted: &Wanted, change: Money, outcome: &Outcome) -> Option<Restored> {
    let (quota, ledger_version, litellm_team_id, message) = match outcome {
        Outcome::Synced { quota, ledger_version, team, .. } => (*quota, *ledger_version, team.clone(), None),
        Outcome::SyncFailed { quota, ledger_version, reason } => (*quota, *ledger_version, None, Some(reason.clone())),
        _ => return None,
    };
    Some(Restored {
        success: message.is_none(),
        changed: change.minor != 0,
        change: change.to_number(),
        quota_sync_id: wanted.quota_sync_id,
        quota: quota_number(quota, known.currency),
        ledger_version,
        litellm_team_id,
        reason: message.as_ref().map(|_| "backend_refused"),
        message,
        event_id: event_id.clone(),
    })
}

#[cfg(test)]
mod tests {
    use common::contract::PostingKind;

    use super::*;

    #[test]
    fn a_difference_is_read_as_it_was_written() {
        for (minor, basis) in [(-5_000, 7), (1, 0)] {
            let difference = Difference { change: Money::new(minor, Currency::USD), basis };
            assert_eq!(Difference::read(&difference.to_words(), Currency::USD), Some(difference));
        }
        for other in ["", " by 5", "0 by 5 at 7", " by x at 7", " by 5 at "] {
            assert_eq!(Difference::read(other, Currency::USD), None, "{other}");
        }
    }

    /// Every word that the ledger may have booked means the same here.
    #[test]
    fn every_posting_has_its_word() {
        use PostingKind::{Adjustment, Charge, DisputeLost, Hold, Opening, Refund, RefundFailed, Release, Void};
        for kind in [Charge, Opening, Adjustment, Refund, Hold, Release, DisputeLost, RefundFailed, Void] {
            let here: QuotaCause = serde_json::from_value(json!(kind.as_str())).unwrap();
            assert_eq!(json!(here), json!(kind));
        }
    }
}
