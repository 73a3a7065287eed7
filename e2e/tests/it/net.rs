//! The nets under the webhooks and under the loop: the sweep, and dead letters that are redriven.

use anyhow::ensure;
use e2e::client::limit_exceeded;
use e2e::{Options, Stack, books, wait};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn a_crossing_of_which_nobody_tells_is_recharged_by_the_sweep() -> anyhow::Result<()> {
    let stack = Stack::start(Options { replicas: 2, ..Options::default() }.with("SWEEP_INTERVAL", "300ms")).await?;
    stack.client.ready_organization("acme", "pm_card_visa", json!({})).await?;
    let settled = |wanted: usize| {
        let stack = &stack;
        async move {
            wait::until("the sweep", || async {
                let history = stack.client.history("acme").await?;
                let settled = history.iter().filter(|recharge| recharge["status"] == "settled").count();
                ensure!(settled >= wanted, "{settled} of {wanted}");
                Ok(history)
            })
            .await
        }
    };
    // Quota 0, usage 0: nothing is left, and no webhook is ever sent.
    let history = settled(1).await?;
    assert_eq!(history[0]["triggered_by"], "sweep");
    // Usage is driven to exactly the quota: LiteLLM refuses then, and sends nothing.
    let quota = stack.client.kms_quota("acme").await?;
    stack.client.kms_sim("usage", &json!({ "c_organization_id": "acme", "usage": quota })).await?;
    settled(2).await?;
    let totals = books::quiet_and_balanced(&stack).await?;
    ensure!(totals.settled >= 2, "{totals:?}");
    let snapshots: i64 = sqlx::query_scalar("SELECT count(*) FROM usage_snapshots").fetch_one(&stack.pool).await?;
    ensure!(snapshots > 0, "no snapshot of usage was kept");
    stack.stop().await
}

async fn dead_letters(stack: &Stack) -> anyhow::Result<Vec<Value>> {
    let (status, answer) = stack.client.get("/api/dead-letters").await?;
    ensure!(status == 200, "{status} {answer}");
    Ok(answer["items"].as_array().cloned().unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_whose_cause_is_gone_completes_the_recharge_once() -> anyhow::Result<()> {
    let stack = Stack::start(Options::default().with("MAX_ATTEMPTS", "2")).await?;
    let team = stack.client.ready_organization("acme", "pm_card_visa", json!({})).await?;
    let sql = |sql: &'static str| sqlx::raw_sql(sql).execute(&stack.pool);
    sql("ALTER TABLE ledger_transactions RENAME TO ledger_transactions_gone").await?;
    stack.client.webhook(&stack.client.ingress, limit_exceeded(&team, "500", "500", 1)).await?;
    let letters = wait::until("the dead letter", || async {
        let letters = dead_letters(&stack).await?;
        ensure!(letters.len() == 1, "{} dead letters", letters.len());
        Ok(letters)
    })
    .await?;
    assert_eq!((&letters[0]["service"], &letters[0]["reason"]), (&json!("ledger"), &json!("exhausted")), "{letters:?}");
    sql("ALTER TABLE ledger_transactions_gone RENAME TO ledger_transactions").await?;
    let path = format!("/api/dead-letters/{}/redrive", letters[0]["sequence"]);
    let (status, answer) = stack.client.post(&path, &json!({})).await?;
    ensure!(status == 200, "{status} {answer}");
    let totals = books::quiet_and_balanced(&stack).await?;
    assert_eq!((totals.captured, totals.settled), (20_000, 1));
    // Again: it says so, and does no more.
    let (status, answer) = stack.client.post(&path, &json!({})).await?;
    assert_eq!(status, 409, "{answer}");
    let totals = books::quiet_and_balanced(&stack).await?;
    assert_eq!((totals.captured, totals.settled), (20_000, 1));
    let credits: i64 = sqlx::query_scalar("SELECT count(*) FROM ledger_transactions").fetch_one(&stack.pool).await?;
    assert_eq!(credits, 1);
    let audited: i64 = sqlx::query_scalar("SELECT count(*) FROM audit_log WHERE action LIKE 'dead_letter%'")
        .fetch_one(&stack.pool)
        .await?;
    assert_eq!(audited, 1);
    stack.stop().await
}
