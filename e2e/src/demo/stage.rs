//! Where stories play: one organization that had a quota before Bill-Service came.

use std::time::Duration;

use anyhow::{Context, anyhow, bail, ensure};
use common::broker::Broker;
use rust_decimal::Decimal;
use serde_json::{Value, json};
use sqlx::PgPool;
use tokio::task::JoinHandle;
use xtask::say;

use super::describe::plain;
use super::enforcer::Enforcer;
use super::events::{Passed, Watcher};
use super::fact::Fact;
use super::settings::Settings;
use crate::client::Client;

/// Whose story it is.
pub(super) const ORGANIZATION: &str = "demo-org";
/// The quota that it has before Bill-Service comes.
pub(super) const INITIAL_QUOTA: u32 = 500;

/// What stories need.
pub(super) struct Stage {
    /// For calling ingress and the simulators.
    pub(super) client: Client,
    /// For looking at the database.
    pub(super) pool: PgPool,
    /// For looking at the broker.
    pub(super) broker: Broker,
    /// Everything that passes.
    pub(super) watcher: Watcher,
    /// Whether nobody is there who could take part.
    pub(super) alone: bool,
    /// What the services were told.
    pub(super) settings: Settings,
    /// Where quotas are enforced.
    pub(super) enforcer: Enforcer,
    /// What has passed since the part of the story began, of this organization.
    pub(super) passed: Vec<Passed>,
}

impl Stage {
    /// An organization with a card, synced for the first time.
    pub(super) async fn set_up(&self, card: &str, policy: &Value) -> anyhow::Result<()> {
        self.enforcer.introduce(&self.client).await?;

        say(format_args!("2. Bill-Service gets to know it: when it runs out, buy at least 200, on {card}."));
        let mut body = json!({ "c_organization_id": ORGANIZATION, "minimum_balance": 100, "target_balance": 500,
            "auto_recharge_enabled": true, "minimum_recharge_amount": 200 });
        for more in [&self.enforcer.link(), policy] {
            if let (Some(body), Some(more)) = (body.as_object_mut(), more.as_object()) {
                body.extend(more.clone());
            }
        }
        good(self.client.post("/api/organizations", &body).await?)?;
        self.save_card(card).await?;

        say("3. The first sync: the quota that was there is kept, and booked as an opening credit.");
        let team = self.client.synced(ORGANIZATION).await?;
        let quota = plain(self.quota().await?);
        say(format_args!("   {ORGANIZATION} is {team} in {}, with a quota of {quota}.", self.enforcer.title()));
        Ok(())
    }

    /// The quota that is enforced.
    pub(super) async fn quota(&self) -> anyhow::Result<Decimal> {
        self.enforcer.quota(&self.client).await
    }

    /// Saves a card, in place of the one before.
    pub(super) async fn save_card(&self, card: &str) -> anyhow::Result<()> {
        let card = json!({ "payment_method_id": card, "set_as_default": true });
        good(self.client.post(&format!("/api/organizations/{ORGANIZATION}/payment-method"), &card).await?).map(drop)
    }

    /// The organization's balance, as the API shows it.
    pub(super) async fn balance(&self) -> anyhow::Result<Value> {
        good(self.client.get(&format!("/api/organizations/{ORGANIZATION}/balance")).await?)
    }

    /// Spends, and has the KMS send no webhook.
    pub(super) async fn spend(&self, usage: u32) -> anyhow::Result<()> {
        say(format_args!("   {usage} used in total"));
        spent(&self.client, usage, false).await.map(drop)
    }

    /// Spends until the KMS sends its webhook, meanwhile: its answer comes only when the chain has ended, or takes long.
    pub(super) fn exceed(&self, usage: u32) -> JoinHandle<anyhow::Result<Value>> {
        say(format_args!("   {usage} used in total; the KMS sends its webhook"));
        let client = self.client.clone();
        tokio::spawn(async move {
            let report = spent(&client, usage, true).await?;
            ensure!(report["sent"] == true, "the KMS has sent no webhook: {report}");
            Ok(report)
        })
    }

    /// Orders faults at a simulator, and forgets those before.
    pub(super) async fn faults(&self, simulator: &str, faults: &Value) -> anyhow::Result<()> {
        let url = format!("{simulator}/_sim/faults");
        self.client.http.delete(&url).send().await?.error_for_status()?;
        self.client.http.post(&url).json(faults).send().await?.error_for_status().context("ordering faults")?;
        Ok(())
    }

    /// A new part of the story: what has passed before is not looked at any more.
    pub(super) fn part(&mut self) {
        self.watcher.skip();
        self.passed.clear();
    }

    /// The first event of this part that `pick` takes, whether it has passed already or still comes.
    ///
    /// # Errors
    /// When it does not come, or something passes that is in no story.
    pub(super) async fn until<T>(&mut self, what: &str, pick: impl Fn(&Fact) -> Option<T>) -> anyhow::Result<T> {
        let limit = self.settings.patience();
        let heard = self.hear(limit, pick).await.with_context(|| format!("waiting for {what}"))?;
        heard.ok_or_else(|| anyhow!("waited {limit:?} for {what}; {}", self.last()))
    }

    /// The same, if it comes within the limit.
    pub(super) async fn hear<T>(
        &mut self,
        limit: Duration,
        pick: impl Fn(&Fact) -> Option<T>,
    ) -> anyhow::Result<Option<T>> {
        let end = tokio::time::Instant::now() + limit;
        let mut looked = 0;
        loop {
            for passed in self.passed.iter().skip(looked) {
                if let Fact::Broken = passed.fact {
                    bail!("this should never be: {}", passed.sentence);
                }
                if let Some(found) = pick(&passed.fact) {
                    return Ok(Some(found));
                }
            }
            looked = self.passed.len();
            let Ok(next) = tokio::time::timeout_at(end, self.watcher.next()).await else { return Ok(None) };
            let next = next.context("the connection to the broker is gone")?;
            // Others may be at work here too.
            if next.organization == ORGANIZATION || matches!(next.fact, Fact::Broken) {
                self.passed.push(next);
            }
        }
    }

    /// How many webhooks of the KMS passed in this part.
    pub(super) fn webhooks(&self) -> usize {
        self.passed.iter().filter(|passed| matches!(passed.fact, Fact::Triggered(_))).count()
    }

    fn last(&self) -> String {
        self.passed.last().map_or_else(
            || "nothing was heard".to_owned(),
            |passed| format!("the last that was heard: {}", passed.sentence),
        )
    }
}

/// Tells how ingress answered the KMS.
pub(super) async fn answered(report: JoinHandle<anyhow::Result<Value>>) -> anyhow::Result<()> {
    let report = report.await.context("the KMS's call panicked")??;
    say(format_args!("   Ingress answered the KMS: {} {}", report["status"], report["body"]));
    Ok(())
}

/// Has the KMS spend. Returns what it says about its webhook.
pub(super) async fn spent(client: &Client, usage: u32, webhook: bool) -> anyhow::Result<Value> {
    let body = json!({ "c_organization_id": ORGANIZATION, "usage": usage, "webhook": webhook });
    let report = client.kms_sim("usage", &body).await?;
    ensure!(report["error"].is_null(), "the KMS could not send its webhook: {}", report["error"]);
    Ok(report)
}

fn good((status, body): (reqwest::StatusCode, Value)) -> anyhow::Result<Value> {
    ensure!(status.is_success(), "{status}: {body}");
    Ok(body)
}
