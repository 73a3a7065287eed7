//! What arrives, and what is done about it: one file for each kind.

mod disputes;
mod facts;
mod outcome;
mod owed;
mod recheck;
mod refund_requests;
mod refunds;
mod requests;
mod stripe_event;
mod trigger;
mod undo;

use std::time::Duration;

use common::clients::stripe::Stripe;
use common::clock::SharedClock;
use common::contract::{
    EvaluateRequestedV1, Event, IgnoredWebhookV1, LedgerCreditedV1, LedgerHeldV1, LedgerReversedV1, LimitExceededV1,
    LimitSource, LowBalanceHintV1, Outgoing, Payload, QuotaFailedV1, QuotaLowV1, QuotaSyncedV1, RechargeRequestedV1,
    RecheckRequestedV1, ReconcileRequestedV1, RefundRequestedV1, StripeEventV1, TriggerKind,
};
use common::failure::Failure;
use common::ids::RechargeId;
use common::money::FeePolicy;
use common::pay_link::PayLinks;
use common::reconciliation::Recorder;
use common::worker::{Delivery, Handler};
use prometheus::Registry;
use sqlx::PgPool;

use crate::config::OnSyncFailure;
use crate::deadlines::Deadlines;
use crate::decide::Trigger;
use crate::metrics::Metrics;
use crate::reconcile;
use crate::record::{self, Record};
use trigger::Incoming;

/// What the recharger is told of how to work.
#[derive(Clone)]
pub struct Rules {
    /// What customers pay on top of the quota.
    pub fees: FeePolicy,
    /// How long each step may take.
    pub deadlines: Deadlines,
    /// What happens when the quota can't be raised in time.
    pub on_sync_failure: OnSyncFailure,
    /// How many recharges may be claimed in a minute, over all organizations.
    pub max_recharges_per_minute: u32,
    /// The links on which customers confirm.
    pub links: PayLinks,
    /// How long a look of the patrol may take before another replica looks: longer than the calls to Stripe in it.
    pub lease: Duration,
}

/// The recharger: decides, charges, and follows each recharge to its end. Clones share everything.
#[derive(Clone)]
pub struct Recharger {
    pub(crate) pool: PgPool,
    pub(crate) stripe: Stripe,
    pub(crate) clock: SharedClock,
    pub(crate) rules: Rules,
    pub(crate) metrics: Metrics,
    pub(crate) recorder: Recorder,
}

impl Recharger {
    /// A recharger on a database and a Stripe.
    #[must_use]
    pub fn new(pool: PgPool, stripe: Stripe, clock: SharedClock, rules: Rules, registry: &Registry) -> Self {
        let recorder = reconcile::recorder(registry);
        Self { pool, stripe, clock, rules, metrics: Metrics::new(registry), recorder }
    }

    /// A recharge as it is now.
    pub(crate) async fn read(&self, id: RechargeId) -> Result<Option<Record>, Failure> {
        let mut connection = self.pool.acquire().await?;
        Ok(record::repo::record(&mut connection, id).await?)
    }
}

impl Handler for Recharger {
    async fn handle(&self, delivery: &Delivery) -> Result<Vec<Outgoing>, Failure> {
        match delivery.kind() {
            LimitExceededV1::KIND => self.limit_exceeded(delivery).await,
            RechargeRequestedV1::KIND => self.requested(delivery).await,
            QuotaLowV1::KIND => self.low(delivery).await,
            RefundRequestedV1::KIND => self.refund_requested(delivery.decode()?).await,
            RecheckRequestedV1::KIND => self.recheck_requested(delivery.decode()?).await,
            EvaluateRequestedV1::KIND => self.evaluate_requested(delivery.decode()?).await,
            ReconcileRequestedV1::KIND => self.reconcile(delivery.decode()?).await,
            StripeEventV1::KIND => self.stripe_event(delivery.decode()?).await,
            LowBalanceHintV1::KIND | IgnoredWebhookV1::KIND => self.record_only(delivery).await,
            LedgerCreditedV1::KIND => self.credited(delivery.decode()?).await,
            LedgerReversedV1::KIND => {
                let event: Event<LedgerReversedV1> = delivery.decode()?;
                self.quota_changed(event.organization()?, event.data.quota.to_decimal(), event.data.ledger_version)
                    .await
            }
            LedgerHeldV1::KIND => {
                let event: Event<LedgerHeldV1> = delivery.decode()?;
                self.quota_changed(event.organization()?, event.data.quota.to_decimal(), event.data.ledger_version)
                    .await
            }
            QuotaSyncedV1::KIND => self.synced(delivery.decode()?).await,
            QuotaFailedV1::KIND => self.quota_failed(delivery.decode()?).await,
            kind => Err(Failure::malformed(anyhow::anyhow!("the recharger knows no {kind}"))),
        }
    }
}

impl Recharger {
    async fn limit_exceeded(&self, delivery: &Delivery) -> Result<Vec<Outgoing>, Failure> {
        let event: Event<LimitExceededV1> = delivery.decode()?;
        let data = &event.data;
        let kind = match data.source {
            LimitSource::LimitExceeded => TriggerKind::Webhook,
            LimitSource::LitellmAlert => TriggerKind::LitellmAlert,
        };
        let incoming = Incoming {
            event_id: &event.id,
            correlation: &event.correlationid,
            organization: event.subject.as_ref(),
            team: Some(&data.team_id),
            named_organization: data.organization_id.as_ref(),
            kind,
            source: "litellm",
            event_type: &data.event_type,
            payload: data.raw.clone(),
            occurred_at: data.occurred_at,
            received_at: event.time,
            trigger: Trigger::LimitExceeded {
                usage: data.current_usage,
                limit: data.current_limit,
                exceeded_by: data.exceeded_by,
            },
        };
        self.on_trigger(incoming, delivery.attempt).await
    }

    async fn requested(&self, delivery: &Delivery) -> Result<Vec<Outgoing>, Failure> {
        let event: Event<RechargeRequestedV1> = delivery.decode()?;
        let incoming = Incoming {
            event_id: &event.id,
            correlation: &event.correlationid,
            organization: Some(event.organization()?),
            team: None,
            named_organization: None,
            kind: TriggerKind::Manual,
            source: "api",
            event_type: "recharge_requested",
            payload: serde_json::to_value(&event.data).map_err(Failure::malformed)?,
            occurred_at: Some(event.time),
            received_at: event.time,
            trigger: Trigger::Manual { amount: event.data.amount },
        };
        self.on_trigger(incoming, delivery.attempt).await
    }

    async fn low(&self, delivery: &Delivery) -> Result<Vec<Outgoing>, Failure> {
        let event: Event<QuotaLowV1> = delivery.decode()?;
        let incoming = Incoming {
            event_id: &event.id,
            correlation: &event.correlationid,
            organization: Some(event.organization()?),
            team: None,
            named_organization: None,
            kind: TriggerKind::Sweep,
            source: "sweep",
            event_type: "quota_low",
            payload: serde_json::to_value(&event.data).map_err(Failure::malformed)?,
            occurred_at: Some(event.time),
            received_at: event.time,
            trigger: Trigger::LowBalance { usage: event.data.usage, quota: event.data.quota },
        };
        self.on_trigger(incoming, delivery.attempt).await
    }
}
