//! One chain, from a card to a raised quota, step by step.

use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use common::broker::Broker;
use common::contract::{Event, LedgerCreditedV1, LimitExceededV1, RechargeChargedV1, RechargeSettledV1};
use common::money::decimal_from_json;
use rust_decimal::Decimal;
use serde_json::{Value, json};
use sqlx::PgPool;
use xtask::say;

use super::check;
use super::describe::{Fact, plain};
use super::events::{Passed, Watcher};
use crate::client::Client;

/// Whose story it is.
pub(super) const ORGANIZATION: &str = "demo-org";
/// The quota that the KMS has given it before Bill-Service comes.
const INITIAL_QUOTA: u32 = 500;
/// What it has spent at each step, in total.
const USAGE: [u32; 4] = [180, 350, 480, 520];
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
    /// From the KMS's sending until its new quota was in force.
    pub(super) to_quota: Duration,
    /// The KMS's quota before.
    pub(super) quota_before: Decimal,
}

/// Tells the story, and checks its end against the books of all who were part of it.
pub(super) async fn tell(client: &Client, pool: &PgPool, broker: &Broker, mut watcher: Watcher) -> anyhow::Result<()> {
    say("");
    set_up(client).await?;
    let quota_before = kms_quota(client).await?;
    watcher.skip();
    let sent = use_up(client).await?;
    let chain = tokio::time::timeout(CHAIN_LIMIT, follow(&mut watcher, sent, quota_before)).await;
    let chain = chain.map_err(|_| anyhow::anyhow!("the chain has not ended after {CHAIN_LIMIT:?}"))??;
    check::closing(client, pool, broker, &chain).await
}

/// An organization that the KMS knows already, with a card.
async fn set_up(client: &Client) -> anyhow::Result<()> {
    say(format_args!("1. The KMS has an organization, {ORGANIZATION}, with a quota of {INITIAL_QUOTA}."));
    let body = json!({ "c_organization_id": ORGANIZATION, "quota": INITIAL_QUOTA });
    let made = client.http.post(format!("{}/organizations/", client.kms)).json(&body).send().await?;
    made.error_for_status().context("the KMS refused it")?;

    say("2. Bill-Service gets to know it: when it runs out, buy at least 200, on pm_card_visa.");
    let body = json!({ "c_organization_id": ORGANIZATION, "minimum_balance": 100, "target_balance": 500,
        "auto_recharge_enabled": true, "minimum_recharge_amount": 200 });
    good(client.post("/api/organizations", &body).await?)?;
    let card = json!({ "payment_method_id": "pm_card_visa", "set_as_default": true });
    good(client.post(&format!("/api/organizations/{ORGANIZATION}/payment-method"), &card).await?)?;

    say("3. The first sync: the quota that was there is kept, and booked as an opening credit.");
    let team = client.synced(ORGANIZATION).await?;
    say(format_args!("   {ORGANIZATION} is {team} in the KMS, with a quota of {}.", plain(kms_quota(client).await?)));
    Ok(())
}

/// Spends until the KMS sends its webhook. Returns when it did.
async fn use_up(client: &Client) -> anyhow::Result<Instant> {
    say("4. It is used up, until the KMS sends its signed webhook.");
    for usage in USAGE {
        say(format_args!("   {usage} of {INITIAL_QUOTA} used"));
        let body = json!({ "c_organization_id": ORGANIZATION, "usage": usage, "webhook": true });
        let at = Instant::now();
        let report = client.kms_sim("usage", &body).await?;
        ensure!(report["error"].is_null(), "the KMS could not send its webhook: {}", report["error"]);
        if report["sent"] == true {
            let took = at.elapsed().as_millis();
            say(format_args!("   After {took} ms ingress answered the KMS: {} {}", report["status"], report["body"]));
            return Ok(at);
        }
    }
    bail!("the KMS has sent no webhook")
}

/// Collects the chain that the webhook began.
async fn follow(watcher: &mut Watcher, sent: Instant, quota_before: Decimal) -> anyhow::Result<Chain> {
    let (mut trigger, mut charged, mut credited, mut in_force) = (None, None, None, None);
    while let Some(Passed { at, correlation, fact }) = watcher.next().await {
        // Others may be at work here too.
        let ours = trigger.as_ref().is_none_or(|event: &Event<_>| correlation == event.id.as_str());
        match fact {
            Fact::Triggered(event) if trigger.is_none() && is_ours(&event) => trigger = Some(event),
            Fact::Charged(event) if ours => charged = Some(event),
            Fact::Credited(event) if ours => credited = Some(event),
            Fact::InForce if ours => in_force = Some(at),
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
            Fact::Otherwise(sentence) if ours => bail!("the chain did not settle: {sentence}"),
            _ => {}
        }
    }
    bail!("the connection to the broker is gone")
}

fn is_ours(event: &Event<LimitExceededV1>) -> bool {
    event.subject.as_ref().is_some_and(|subject| subject.as_str() == ORGANIZATION)
}

/// The quota that the KMS enforces.
pub(super) async fn kms_quota(client: &Client) -> anyhow::Result<Decimal> {
    let answer = client.http.get(format!("{}/organizations/{ORGANIZATION}", client.kms)).send().await?;
    let body: Value = answer.error_for_status()?.json().await?;
    Ok(decimal_from_json(&body["quota"])?)
}

fn good((status, body): (reqwest::StatusCode, Value)) -> anyhow::Result<Value> {
    ensure!(status.is_success(), "{status}: {body}");
    Ok(body)
}
