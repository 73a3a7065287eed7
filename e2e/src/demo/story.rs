//! One chain in which nothing goes wrong, from a card to a raised quota, step by step.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use common::contract::{Event, LedgerCreditedV1, LimitExceededV1, RechargeChargedV1, RechargeSettledV1};
use rust_decimal::Decimal;
use serde_json::json;
use xtask::say;

use super::check;
use super::enforcer::Enforcer;
use super::events::{Passed, Watcher};
use super::fact::Fact;
use super::stage::{INITIAL_QUOTA, ORGANIZATION, Stage};
use crate::client::Client;

/// How long a chain may take.
const CHAIN_LIMIT: Duration = Duration::from_secs(60);

/// A chain that settled, as its events tell it.
pub(super) struct Chain {
    /// The webhook.
    pub(super) trigger: Event<LimitExceededV1>,
    /// The charge.
    pub(super) charged: Event<RechargeChargedV1>,
    /// The ledger entry.
    pub(super) credited: Event<LedgerCreditedV1>,
    /// Its end.
    pub(super) settled: Event<RechargeSettledV1>,
    /// From the webhook's sending until the new quota was in force.
    pub(super) to_quota: Duration,
    /// The quota in force before.
    pub(super) quota_before: Decimal,
}

/// Tells the story, and checks its end against the books of all who were part of it.
pub(super) async fn tell(mut stage: Stage) -> anyhow::Result<()> {
    stage.set_up("pm_card_visa", &json!({})).await?;
    let quota_before = stage.quota().await?;
    stage.watcher.skip();
    let sent = use_up(&stage.client, &stage.enforcer).await?;
    let chain = tokio::time::timeout(CHAIN_LIMIT, follow(&mut stage.watcher, sent, quota_before)).await;
    let chain = chain.map_err(|_| anyhow::anyhow!("the chain has not ended after {CHAIN_LIMIT:?}"))??;
    check::closing(&stage, &chain).await
}

/// Spends until the webhook is sent. Returns when it was.
async fn use_up(client: &Client, enforcer: &Enforcer) -> anyhow::Result<Instant> {
    let title = enforcer.title();
    let (steps, sentence) = enforcer.plan();
    say(format_args!("4. {sentence}"));
    for usage in steps {
        say(format_args!("   {usage} of {INITIAL_QUOTA} used"));
        let at = Instant::now();
        let report = enforcer.spend(client, *usage).await?;
        if report["sent"] == true {
            let took = at.elapsed().as_millis();
            say(format_args!("   After {took} ms ingress answered {title}: {} {}", report["status"], report["body"]));
            return Ok(at);
        }
    }
    bail!("{title} has sent no webhook")
}

/// Collects the chain that the webhook began.
async fn follow(watcher: &mut Watcher, sent: Instant, quota_before: Decimal) -> anyhow::Result<Chain> {
    let (mut trigger, mut charged, mut credited, mut in_force) = (None, None, None, None);
    while let Some(Passed { at, correlation, sentence, fact, .. }) = watcher.next().await {
        // Others may be at work here too.
        let ours = trigger.as_ref().is_none_or(|event: &Event<_>| correlation == event.id.as_str());
        match fact {
            Fact::Triggered(event) if trigger.is_none() && is_ours(&event) => trigger = Some(event),
            Fact::Charged(event) if ours => charged = Some(event),
            Fact::Credited(event) if ours => credited = Some(event),
            Fact::InForce(_) if ours => in_force = Some(at),
            Fact::Settled(settled) if ours => {
                let in_force = in_force.context("settled, and the quota was never said to be in force")?;
                return Ok(Chain {
                    trigger: trigger.context("settled, and no webhook was seen")?,
                    charged: charged.context("settled, and no charge was seen")?,
                    credited: credited.context("settled, and no ledger entry was seen")?,
                    settled,
                    to_quota: in_force.duration_since(sent),
                    quota_before,
                });
            }
            fact if ours && fact.is_setback() => bail!("the chain did not settle: {sentence}"),
            _ => {}
        }
    }
    bail!("the connection to the broker is gone")
}

fn is_ours(event: &Event<LimitExceededV1>) -> bool {
    event.subject.as_ref().is_some_and(|subject| subject.as_str() == ORGANIZATION)
}
