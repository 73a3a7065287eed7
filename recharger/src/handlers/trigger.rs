//! A trigger arrives: claim (load, decide, insert, in one transaction), then charge.

use common::clock::Timestamp;
use common::contract::{
    Event, IgnoredWebhookV1, LowBalanceHintV1, Outgoing, Payload, RechargeSkippedV1, SkipReason, TriggerKind,
};
use common::failure::Failure;
use common::ids::{EventId, OrganizationId, RechargeId, TeamId};
use common::money::Money;
use common::worker::Delivery;
use rust_decimal::Decimal;
use sqlx::PgConnection;

use super::Recharger;
use crate::charge::{charge, is_forgotten};
use crate::deadlines::{Times, next_look};
use crate::decide::{Decision, Plan, Trigger, brake, decide, rests_until};
use crate::metrics::Step;
use crate::policy::Policy;
use crate::record::{self, Record};
use crate::repo::{self, LoggedDecision, TriggerLog};
use crate::saga::State;

/// A trigger, whatever it came as.
pub(super) struct Incoming<'a> {
    pub(super) event_id: &'a EventId,
    pub(super) correlation: &'a EventId,
    pub(super) organization: Option<&'a OrganizationId>,
    pub(super) team: Option<&'a TeamId>,
    pub(super) named_organization: Option<&'a OrganizationId>,
    pub(super) kind: TriggerKind,
    pub(super) source: &'a str,
    pub(super) event_type: &'a str,
    pub(super) payload: serde_json::Value,
    pub(super) occurred_at: Option<Timestamp>,
    pub(super) received_at: Timestamp,
    pub(super) trigger: Trigger,
}

/// What a claim came to.
enum Claim {
    /// This recharge, from this or an earlier delivery.
    Recharge(Box<Record>),
    /// No recharge, from this or an earlier delivery.
    Skipped(LoggedDecision),
}

impl Incoming<'_> {
    fn is_webhook(&self) -> bool {
        matches!(self.kind, TriggerKind::Webhook | TriggerKind::LitellmAlert)
    }

    fn limit(&self) -> Option<Decimal> {
        match self.trigger {
            Trigger::LimitExceeded { limit, .. } => Some(limit),
            Trigger::LowBalance { .. } | Trigger::Manual { .. } => None,
        }
    }

    fn log<'a>(&'a self, organization: Option<&'a OrganizationId>) -> TriggerLog<'a> {
        TriggerLog {
            event_id: self.event_id,
            source: self.source,
            event_type: self.event_type,
            organization,
            team: self.team.map(TeamId::as_str),
            correlation: self.correlation,
            payload: &self.payload,
            occurred_at: self.occurred_at,
            received_at: self.received_at,
        }
    }
}

impl Recharger {
    /// Claims and charges. A repeat finds the claim and goes on from where it is.
    pub(super) async fn on_trigger(&self, incoming: Incoming<'_>, attempt: u32) -> Result<Vec<Outgoing>, Failure> {
        let record = match self.claim(&incoming).await? {
            Claim::Skipped(decision) => return self.skipped(&incoming, decision),
            Claim::Recharge(record) => *record,
        };
        // From here on the database knows of it: where nobody knows yet what Stripe did, the patrol looks again.
        if record.state != State::Pending {
            return Ok(record.says(&self.rules.links)?.into_iter().collect());
        }
        let now = self.clock.now();
        let certain = charge(&self.stripe, &record, incoming.received_at, attempt, now).await?;
        let mut said = self.record_outcome(&record, certain, None).await?;
        // What was found may have been given back since.
        if is_forgotten(incoming.received_at, now)
            && let Some(found) = self.read(record.recharge_id).await?
        {
            said.extend(self.match_refunds(&found).await?);
        }
        Ok(said)
    }

    async fn claim(&self, incoming: &Incoming<'_>) -> Result<Claim, Failure> {
        let mut tx = self.pool.begin().await?;
        let organization = match (incoming.organization, incoming.team) {
            (Some(known), _) => Some(known.clone()),
            (None, Some(team)) => repo::organization_of_team(&mut tx, team, incoming.named_organization).await?,
            (None, None) => None,
        };
        if let Some(organization) = &organization {
            repo::lock(&mut tx, organization).await?;
        }
        if let Some(before) = repo::logged_decision(&mut tx, incoming.event_id).await? {
            return replay(&mut tx, before).await;
        }
        let now = self.clock.now();
        let (decision, policy) = self.decide(&mut tx, organization.as_ref(), incoming, now).await?;
        let log = incoming.log(organization.as_ref());
        let (Decision::Charge(plan), Some(organization), Some(policy)) = (&decision, &organization, &policy) else {
            let logged = log_skip(&mut tx, &log, &decision, now).await?;
            tx.commit().await?;
            self.metrics.step(Step::Decide, incoming.received_at, now);
            return Ok(Claim::Skipped(logged));
        };
        let mut record = new_record(incoming, organization, policy, *plan, now);
        record.next_at = next_look(record.state, &record.times, now);
        let logged = LoggedDecision {
            decision: "charge".to_owned(),
            reason: None,
            detail: Some(format!(
                "{} (total {}){}",
                plan.amount,
                plan.total,
                if plan.reduced { ", reduced by a cap" } else { "" }
            )),
            recharge_id: Some(record.recharge_id),
            organization: Some(organization.clone()),
            decided_at: now,
        };
        if !repo::log_decision(&mut tx, &log, &logged).await? {
            return Err(Failure::retry(anyhow::anyhow!("event {} is being decided elsewhere", incoming.event_id)));
        }
        record::repo::claim(&mut tx, &record, incoming.is_webhook(), incoming.limit()).await?;
        tx.commit().await?;
        self.metrics.step(Step::Decide, incoming.received_at, now);
        tracing::info!(recharge_id = %record.recharge_id, correlation_id = %record.correlation_id, amount = %plan.amount,
            "claimed recharge {} of {} for {organization}", record.recharge_id, plan.amount);
        Ok(Claim::Recharge(Box::new(record)))
    }

    async fn decide(
        &self,
        tx: &mut PgConnection,
        organization: Option<&OrganizationId>,
        incoming: &Incoming<'_>,
        now: Timestamp,
    ) -> Result<(Decision, Option<Policy>), Failure> {
        let unknown = Decision::Skip(crate::decide::Skip::UnknownOrganization);
        let Some(organization) = organization else { return Ok((unknown, None)) };
        let Some((policy, resumed_at)) = repo::policy(tx, organization).await? else { return Ok((unknown, None)) };
        if let Trigger::Manual { amount } = &incoming.trigger
            && amount.currency != policy.currency
        {
            return Err(Failure::malformed(anyhow::anyhow!(
                "{amount} was asked for, but {organization} pays in {}",
                policy.currency
            )));
        }
        let history = repo::history(tx, organization, &policy, resumed_at, now).await?;
        let mut decision = decide(Some(&policy), &history, &incoming.trigger, self.rules.fees, now);
        if let Decision::Charge(_) = decision {
            let recharges = repo::fleet_claims(tx, now - chrono::Duration::minutes(1)).await?;
            if let Some(skip) = brake(recharges, self.rules.max_recharges_per_minute) {
                tracing::error!(c_organization_id = %organization, event_id = %incoming.event_id,
                    "the brake over all organizations holds: {skip}");
                decision = Decision::Skip(skip);
            }
        }
        Ok((decision, Some(policy)))
    }

    fn skipped(&self, incoming: &Incoming<'_>, decision: LoggedDecision) -> Result<Vec<Outgoing>, Failure> {
        let word = decision.reason.clone().unwrap_or_default();
        let reason: SkipReason = serde_json::from_value(word.clone().into()).map_err(Failure::malformed)?;
        let detail = decision.detail.unwrap_or_default();
        let organization = decision.organization.as_ref().map(OrganizationId::as_str).unwrap_or_default();
        tracing::info!(c_organization_id = organization, reason = word, correlation_id = %incoming.correlation,
            "no recharge for event {}: {detail}", incoming.event_id);
        self.metrics.outcomes.with_label_values(&["skipped", word.as_str()]).inc();
        let data = RechargeSkippedV1 {
            trigger_event_id: incoming.event_id.clone(),
            triggered_by: incoming.kind,
            reason,
            detail,
            recharge_id: decision.recharge_id,
        };
        let event = match &decision.organization {
            Some(organization) => {
                Event::following(incoming.event_id, organization, decision.decided_at, incoming.correlation, data)
            }
            None => Event::following_unresolved(incoming.event_id, decision.decided_at, incoming.correlation, data),
        };
        Ok(vec![event.outgoing()?])
    }

    /// Webhooks that are logged and not acted on.
    pub(super) async fn record_only(&self, delivery: &Delivery) -> Result<Vec<Outgoing>, Failure> {
        let (event_type, team, reason, payload) = match delivery.kind() {
            LowBalanceHintV1::KIND => {
                let data = delivery.decode::<LowBalanceHintV1>()?.data;
                (data.event_type, Some(data.team_id.to_string()), "hint".to_owned(), data.raw)
            }
            _ => {
                let data = delivery.decode::<IgnoredWebhookV1>()?.data;
                (data.event_type.unwrap_or_default(), data.team_id, data.reason, data.raw)
            }
        };
        let event: Event<serde_json::Value> = serde_json::from_slice(&delivery.body).map_err(Failure::malformed)?;
        let log = TriggerLog {
            event_id: &event.id,
            source: "litellm",
            event_type: &event_type,
            organization: event.subject.as_ref(),
            team: team.as_deref(),
            correlation: &event.correlationid,
            payload: &payload,
            occurred_at: None,
            received_at: event.time,
        };
        let decision = LoggedDecision {
            decision: "recorded".to_owned(),
            reason: Some(SkipReason::NotActionable.as_str().to_owned()),
            detail: Some(reason),
            recharge_id: None,
            organization: event.subject.clone(),
            decided_at: self.clock.now(),
        };
        let mut connection = self.pool.acquire().await?;
        repo::log_decision(&mut connection, &log, &decision).await?;
        Ok(Vec::new())
    }
}

async fn replay(tx: &mut PgConnection, before: LoggedDecision) -> Result<Claim, Failure> {
    if before.decision != "charge" {
        return Ok(Claim::Skipped(before));
    }
    let id = before.recharge_id.unwrap_or(RechargeId(uuid::Uuid::nil()));
    let record = record::repo::record(tx, id).await?;
    let record =
        record.ok_or_else(|| Failure::malformed(anyhow::anyhow!("recharge {id} was claimed but is not there")))?;
    Ok(Claim::Recharge(Box::new(record)))
}

async fn log_skip(
    tx: &mut PgConnection,
    log: &TriggerLog<'_>,
    decision: &Decision,
    now: Timestamp,
) -> Result<LoggedDecision, Failure> {
    let (reason, detail, recharge_id) = match decision {
        Decision::Skip(skip) => {
            let in_the_way = match skip {
                crate::decide::Skip::InFlight { recharge_id } => Some(*recharge_id),
                _ => None,
            };
            (skip.reason(), skip.to_string(), in_the_way)
        }
        Decision::Hold { until } => (SkipReason::Cooldown, rests_until(*until), None),
        // Without an organization there is no policy, and without a policy no charge is decided.
        Decision::Charge(_) => (SkipReason::UnknownOrganization, "no organization".to_owned(), None),
    };
    let logged = LoggedDecision {
        decision: "skipped".to_owned(),
        reason: Some(reason.as_str().to_owned()),
        detail: Some(detail),
        recharge_id,
        organization: log.organization.cloned(),
        decided_at: now,
    };
    if repo::log_decision(tx, log, &logged).await? {
        return Ok(logged);
    }
    let theirs = repo::logged_decision(tx, log.event_id).await?;
    theirs.ok_or_else(|| Failure::retry(anyhow::anyhow!("event {} is being decided elsewhere", log.event_id)))
}

fn new_record(
    incoming: &Incoming<'_>,
    organization: &OrganizationId,
    policy: &Policy,
    plan: Plan,
    now: Timestamp,
) -> Record {
    let card = policy.card.clone();
    Record {
        recharge_id: RechargeId::for_trigger(incoming.event_id),
        trigger_event_id: incoming.event_id.clone(),
        correlation_id: incoming.correlation.clone(),
        organization: organization.clone(),
        amount: plan.amount,
        total: plan.total,
        state: State::Pending,
        triggered_by: incoming.kind,
        customer_id: card.as_ref().map(|card| card.customer_id.clone()).unwrap_or_default(),
        payment_method_id: card.as_ref().map(|card| card.payment_method_id.clone()).unwrap_or_default(),
        card_fingerprint: card.and_then(|card| card.fingerprint),
        payment_intent_id: None,
        charge_id: None,
        processor_fee: None,
        decline: None,
        paused: false,
        ledger_version: None,
        new_quota: None,
        settled_by_event: None,
        created_at: now,
        charged_at: None,
        settled_at: None,
        ended_at: None,
        times: Times::default(),
        next_at: None,
        undo: None,
        refunded_amount: Money::zero(plan.amount.currency),
        refunded_total: Money::zero(plan.total.currency),
    }
}
