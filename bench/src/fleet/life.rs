//! What happens to one organization, in the order of time. Pure: what comes of it are rows.

mod back;
mod charging;
mod triggers;

use std::collections::BTreeMap;

use chrono::Duration;
use common::clock::Timestamp;
use common::contract::{DisputeStage, Event, QuotaAdoptedV1, RefundCause};
use common::ids::{EventId, RechargeId};
use common::money::Money;
use e2e::random::Random;
use ledger::posting::Posting;
use serde_json::{Value, json};

use super::books::{Books, Posted};
use super::plan::{Fate, Planned};
use super::profile::{Profile, drawn};
use super::recharge::Recharge;
use super::rows::{Rows, exact};

/// When somebody must look at what has not ended: long after anybody who uses these rows.
const FAR: Duration = Duration::days(3_650);

/// Something that happens.
#[derive(Debug)]
enum Happening {
    /// A recharge, and how much of the quota is left.
    Recharge(Planned),
    /// Somebody looks at the usage.
    Look,
    /// Stripe has made a refund.
    Refund(Returned),
    /// A dispute of a recharge reaches a stage.
    Dispute { recharge: usize, dispute_id: String, stage: DisputeStage },
}

/// A refund that was made.
#[derive(Debug)]
struct Returned {
    recharge: usize,
    key: String,
    correlation: EventId,
    cause: RefundCause,
    reason: String,
    requested_by: Option<String>,
    requested_at: Timestamp,
    amount: Money,
    total: Money,
}

/// What of an organization's life others want to know.
#[derive(Debug, Default)]
pub(super) struct Lived {
    /// A recharge that was credited and given back whole, because somebody asked for it.
    pub(super) refunded: Option<RechargeId>,
    /// The newest recharge, and the event that led to it.
    pub(super) newest: Option<(RechargeId, String)>,
}

/// A pause of automatic recharge.
#[derive(Debug)]
struct Pause {
    at: Timestamp,
    reason: String,
    card: Option<String>,
    dispute: Option<String>,
}

/// One organization while it lives.
pub(super) struct Life<'a> {
    who: &'a Profile,
    rows: &'a mut Rows,
    random: Random,
    now: Timestamp,
    agenda: BTreeMap<(Timestamp, u64), Happening>,
    books: Books,
    /// What the KMS was told last: quota and version.
    in_force: (Money, i64),
    pushed_at: Timestamp,
    met_by: EventId,
    recharges: Vec<Recharge>,
    failures: i64,
    cooldown_until: Option<Timestamp>,
    pause: Option<Pause>,
    resumed_at: Option<Timestamp>,
    /// When so much was used, in minor units, and since when it grows.
    used: (Timestamp, i64),
    /// When the next recharge is due, and what is left then: usage grows towards it.
    ahead: Vec<(Timestamp, i64)>,
}

impl<'a> Life<'a> {
    pub(super) fn new(who: &'a Profile, rows: &'a mut Rows, mut random: Random, now: Timestamp) -> Self {
        let nonce = random.number();
        Self {
            who,
            rows,
            now,
            agenda: BTreeMap::new(),
            books: Books::empty(),
            in_force: (Money::zero(who.currency), 0),
            pushed_at: who.created_at,
            met_by: EventId::from_body("req", format!("{} sync {nonce}", who.id).as_bytes()),
            recharges: Vec::new(),
            failures: 0,
            cooldown_until: None,
            pause: None,
            resumed_at: None,
            used: (who.created_at, 0),
            ahead: Vec::new(),
            random,
        }
    }

    /// Lives it, looked at so many times.
    pub(super) fn live(mut self, plan: Vec<Planned>, looks: usize) -> anyhow::Result<Lived> {
        self.meet_the_backend()?;
        // After the last recharge there is enough.
        let enough = self.who.minimum_balance.minor * drawn(&mut self.random, 15, 40) / 10;
        self.ahead = vec![(self.now + Duration::days(3), enough)];
        self.ahead.extend(plan.iter().rev().map(|planned| (planned.at, planned.left)));
        self.plan_looks(looks);
        for planned in plan {
            self.at(planned.at, Happening::Recharge(planned));
        }
        while let Some(((at, _), happening)) = self.agenda.pop_first() {
            match happening {
                Happening::Recharge(planned) => self.recharge(planned)?,
                Happening::Look => self.look(at),
                Happening::Refund(refund) => self.refund(at, refund)?,
                Happening::Dispute { recharge, dispute_id, stage } => self.dispute(at, recharge, dispute_id, stage)?,
            }
        }
        Ok(self.end())
    }

    /// Some time after: so many seconds at least, and at most.
    fn after(&mut self, at: Timestamp, least: u64, most: u64) -> Timestamp {
        at + Duration::seconds(drawn(&mut self.random, least, most))
    }

    /// Puts something on the agenda, after what is there for the same moment.
    fn at(&mut self, at: Timestamp, happening: Happening) {
        let place = u64::try_from(self.agenda.len()).unwrap_or(u64::MAX);
        let mut key = (at, place);
        while self.agenda.contains_key(&key) {
            key.1 += 1;
        }
        self.agenda.insert(key, happening);
    }

    /// The first sync: the organization is made at the KMS, or what is there is adopted.
    fn meet_the_backend(&mut self) -> anyhow::Result<()> {
        let at = self.who.created_at + Duration::minutes(3);
        super::office::sync_requested(self.rows, self.who, &self.met_by, at);
        let correlation = self.met_by.clone();
        let Some(quota) = self.who.adopted else {
            self.push(self.met_by.to_string(), &correlation, Money::zero(self.who.currency), 0, at);
            return Ok(());
        };
        self.in_force.0 = quota;
        let team = Some(self.who.team.clone());
        let data = QuotaAdoptedV1 { backend: "kms".to_owned(), quota, litellm_team_id: team };
        let event = Event::following(&self.who.id, &self.who.id, at, &correlation, data);
        if let Some(posting) = Posting::opening(&event)? {
            self.book(&posting, at + Duration::milliseconds(80), true);
        }
        Ok(())
    }

    fn plan_looks(&mut self, looks: usize) {
        let Ok(count) = i32::try_from(looks) else { return };
        let newest = self.now - Duration::seconds(40);
        let step = (newest - self.who.created_at - Duration::minutes(5)) / count.max(1);
        let step = Duration::milliseconds(step.num_milliseconds());
        for place in 0..count {
            self.at(newest - step * place, Happening::Look);
        }
    }

    /// Posts a transaction, and where it can be, puts the new quota in force.
    fn book(&mut self, posting: &Posting, at: Timestamp, push: bool) -> Posted {
        let posted = self.books.post(self.who, self.rows, posting, at);
        if push {
            let at = at + Duration::milliseconds(drawn(&mut self.random, 40, 600));
            self.push(posted.event.clone(), posting.correlation(), posted.quota, posted.version, at);
        }
        posted
    }

    fn push(&mut self, cause: String, correlation: &EventId, quota: Money, version: i64, at: Timestamp) {
        let (previous, _) = std::mem::replace(&mut self.in_force, (quota, version));
        self.pushed_at = at.max(self.pushed_at + Duration::milliseconds(1));
        let row = json!({
            "c_organization_id": self.who.id, "backend": "kms", "ledger_version": version, "previous_quota": exact(previous),
            "quota": exact(quota), "changed": previous != quota, "cause": cause, "correlation_id": correlation,
            "litellm_team_id": self.who.team, "synced_at": self.pushed_at,
        });
        self.rows.syncs.push((self.pushed_at, row));
    }

    /// How much is used by then: it grows evenly from the last recharge to what the next one finds.
    fn usage_at(&self, at: Timestamp) -> i64 {
        let Some((next, left)) = self.ahead.last() else { return self.used.1 };
        let (since, used) = self.used;
        let goal = used.max(self.books.quota - left);
        let (elapsed, all) = ((at - since).num_seconds().max(0), (*next - since).num_seconds().max(1));
        used + (goal - used) * elapsed.min(all) / all
    }

    fn look(&mut self, at: Timestamp) {
        let usage = Money::new(self.usage_at(at), self.who.currency);
        let minimum = self.who.enabled.then(|| exact(self.who.minimum_balance));
        let row = json!({
            "c_organization_id": self.who.id, "usage": exact(usage), "quota": exact(self.in_force.0), "taken_at": at,
            "minimum_balance": minimum,
        });
        self.rows.snapshots.push((at, row));
    }

    fn end(self) -> Lived {
        let who = self.who;
        let (quota, version) = (Money::new(self.books.quota, who.currency), self.books.version);
        let pause = self.pause.as_ref();
        self.rows.organizations.push(who.row(self.resumed_at));
        if !self.recharges.is_empty() || version > 0 {
            self.rows.states.push(json!({
                "c_organization_id": who.id, "quota": exact(quota), "ledger_version": version,
                "synced_version": self.in_force.1, "synced_quota": exact(self.in_force.0),
                "consecutive_failures": self.failures, "cooldown_until": self.cooldown_until,
                "paused_at": pause.map(|pause| pause.at), "pause_reason": pause.map(|pause| &pause.reason),
                "pause_payment_method": pause.and_then(|pause| pause.card.as_ref()),
                "pause_dispute": pause.and_then(|pause| pause.dispute.as_ref()), "updated_at": self.now,
            }));
        }
        let met_at = who.created_at + Duration::minutes(3);
        self.rows.targets.push(json!({
            "c_organization_id": who.id, "currency": who.currency, "target_quota": exact(quota), "target_version": version,
            "first_contact": if who.adopted.is_some() { "adopted" } else { "created" }, "first_contact_at": met_at,
            "adopted_quota": who.adopted.map(exact), "adopted_correlation": who.adopted.map(|_| &self.met_by),
            "opening_seen": who.adopted.is_some(), "backend": "kms", "pushed_quota": exact(self.in_force.0),
            "pushed_version": self.in_force.1, "litellm_team_id": who.team, "updated_at": self.now, "raised_at": met_at,
        }));
        let back = |one: &&Recharge| one.status == "refunded" && matches!(one.undo, Some((RefundCause::Requested, _)));
        let refunded = self.recharges.iter().rev().find(back).map(|recharge| recharge.id);
        let newest = self.recharges.last().map(|recharge| (recharge.id, recharge.trigger.to_string()));
        self.rows.recharges.extend(self.recharges.iter().map(|recharge| (recharge.created_at, recharge.row(who))));
        Lived { refunded, newest }
    }
}

/// A line of the log of triggers.
fn logged(who: &Profile, event: &EventId, source: &str, event_type: &str, payload: &Value, at: Timestamp) -> Value {
    json!({
        "event_id": event, "source": source, "event_type": event_type, "c_organization_id": who.id,
        "litellm_team_id": (source == "litellm").then_some(&who.team), "correlation_id": event, "payload": payload,
        "occurred_at": at - Duration::milliseconds(300), "received_at": at, "decided_at": at + Duration::milliseconds(9),
        "decision": "recorded",
    })
}

/// The same with what was decided.
fn decided(mut line: Value, decision: &str, reason: Option<&str>, detail: &str, recharge: Option<RechargeId>) -> Value {
    line["decision"] = json!(decision);
    line["reason"] = json!(reason);
    line["detail"] = json!(detail);
    line["recharge_id"] = json!(recharge);
    line
}
