//! Processes are killed in the middle of a stream of recharges for fifty organizations: every accepted webhook ends
//! settled, and Stripe, ledger and KMS agree.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use e2e::client::{Client, limit_exceeded};
use e2e::stack::SERVICES;
use e2e::{Options, Stack, books, wait};
use futures_util::future::try_join_all;
use futures_util::{StreamExt, stream};
use serde_json::json;
use tokio::task::JoinHandle;

const ORGANIZATIONS: usize = 50;
/// Each organization is recharged so often, one after the other.
const ROUNDS: usize = 2;

/// The stream: each organization's webhooks one after the other, each repeated until it is accepted, as a sender does.
struct Load {
    task: JoinHandle<anyhow::Result<()>>,
    accepted: Arc<AtomicUsize>,
}

async fn teams(client: &Client) -> anyhow::Result<Vec<String>> {
    let setups = (0..ORGANIZATIONS)
        .map(|n| async move { client.ready_organization(&format!("org{n}"), "pm_card_visa", json!({})).await });
    stream::iter(setups).buffered(8).collect::<Vec<_>>().await.into_iter().collect()
}

fn start_load(client: Client, teams: Vec<String>) -> Load {
    let accepted = Arc::new(AtomicUsize::new(0));
    let counter = accepted.clone();
    let task = tokio::spawn(async move {
        let streams = teams.iter().enumerate().map(|(n, team)| rounds(&client, n, team, &counter));
        try_join_all(streams).await.map(drop)
    });
    Load { task, accepted }
}

async fn rounds(client: &Client, n: usize, team: &str, accepted: &AtomicUsize) -> anyhow::Result<()> {
    for round in 0..ROUNDS {
        let limit = round * 500 + 500;
        let body = limit_exceeded(team, &limit.to_string(), &limit.to_string(), round);
        wait::until("the webhook to be accepted", || async {
            let (status, answer) = client.webhook(&client.ingress, body.clone()).await?;
            anyhow::ensure!(status == 200 || status == 202, "{status} {answer}");
            Ok(())
        })
        .await?;
        accepted.fetch_add(1, Ordering::Relaxed);
        wait::until("the recharge to settle", || async {
            let settled = client.history(&format!("org{n}")).await?.iter().filter(|r| r["status"] == "settled").count();
            anyhow::ensure!(settled > round, "org{n} has {settled} of {}", round + 1);
            Ok(())
        })
        .await?;
    }
    Ok(())
}

impl Load {
    /// Waits until the stream is this far: a kill then is in the middle.
    async fn reaches(&self, part: usize, of: usize) -> anyhow::Result<()> {
        let wanted = ORGANIZATIONS * ROUNDS * part / of;
        wait::until("the stream to be in the middle", || async {
            let accepted = self.accepted.load(Ordering::Relaxed);
            anyhow::ensure!(accepted >= wanted || self.task.is_finished(), "{accepted} of {wanted}");
            Ok(())
        })
        .await
    }
}

async fn finish(stack: Stack, load: Load) -> anyhow::Result<()> {
    load.task.await??;
    let totals = books::quiet_and_balanced(&stack).await?;
    // A syncer that starts again sweeps, and may see an empty balance before the webhook that says so is delivered again:
    // then that recharge answers, and the webhook finds it on its way, or done.
    let count = async |sql: &'static str| sqlx::query_scalar::<_, i64>(sql).fetch_one(&stack.pool).await;
    let swept = count("SELECT count(*) FROM recharge_records WHERE triggered_by = 'sweep'").await?;
    let skipped = count(
        "SELECT count(*) FROM webhook_events WHERE source = 'litellm' AND decision = 'skipped'
            AND reason IN ('in_flight', 'already_recharged')",
    )
    .await?;
    assert_eq!(totals.settled, i64::try_from(ORGANIZATIONS * ROUNDS)? + swept - skipped, "{swept} {skipped}");
    let open: i64 = sqlx::query_scalar("SELECT count(*) FROM recharge_records WHERE status <> 'settled'")
        .fetch_one(&stack.pool)
        .await?;
    assert_eq!(open, 0, "every accepted webhook ends settled");
    stack.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_of_each_service_in_turn() -> anyhow::Result<()> {
    let mut stack = Stack::start(Options::default()).await?;
    let load = start_load(stack.client.clone(), teams(&stack.client).await?);
    for (index, name) in SERVICES.into_iter().enumerate() {
        load.reaches(index + 1, SERVICES.len() + 2).await?;
        stack.service(name, 1)?.kill9()?;
        stack.service(name, 1)?.start_again()?;
    }
    finish(stack, load).await
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_of_the_broker() -> anyhow::Result<()> {
    let mut stack = Stack::start(Options::default()).await?;
    let load = start_load(stack.client.clone(), teams(&stack.client).await?);
    for part in 1..=2 {
        load.reaches(part, 3).await?;
        tokio::task::block_in_place(|| stack.nats.kill().and_then(|()| stack.nats.start_again()))?;
    }
    finish(stack, load).await
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_of_the_database() -> anyhow::Result<()> {
    let mut stack = Stack::start(Options { own_postgres: true, ..Options::default() }).await?;
    let load = start_load(stack.client.clone(), teams(&stack.client).await?);
    for part in 1..=2 {
        load.reaches(part, 3).await?;
        let cluster = stack.database.cluster.as_mut().unwrap();
        tokio::task::block_in_place(|| cluster.kill().and_then(|()| cluster.start_again()))?;
    }
    finish(stack, load).await
}

/// Answers of Stripe and the KMS are lost in every way the simulators know; keys and absolute values make it good.
#[tokio::test(flavor = "multi_thread")]
async fn lost_answers_of_stripe_and_the_kms() -> anyhow::Result<()> {
    let options = Options::default().with("STRIPE_TIMEOUT", "1s").with("KMS_TIMEOUT", "1s");
    let stack = Stack::start(options).await?;
    let teams = teams(&stack.client).await?;
    let faults = json!([
        "drop_before",
        "drop_after",
        "html502",
        "429",
        "500_before",
        "500_after",
        "slow:1500",
        "ok",
        "drop_after",
        "500_after"
    ]);
    for _ in 0..3 {
        stack.client.stripe_sim("faults", &faults).await?;
        stack.client.kms_sim("faults", &faults).await?;
    }
    let load = start_load(stack.client.clone(), teams);
    finish(stack, load).await
}
