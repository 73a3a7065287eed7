//! What can't be done in time is undone, whatever is gone: the database, the KMS, Stripe's good will. Each leaves log
//! lines with the ids.

use anyhow::ensure;
use e2e::client::limit_exceeded;
use e2e::{Options, Stack, books, wait};
use rust_decimal::Decimal;
use serde_json::{Value, json};

async fn recharges(stack: &Stack, status: &str, wanted: usize) -> anyhow::Result<Vec<Value>> {
    wait::until(status, || async {
        let history = stack.client.history("acme").await?;
        let found: Vec<Value> = history.into_iter().filter(|recharge| recharge["status"] == status).collect();
        ensure!(found.len() == wanted, "{} are {status}", found.len());
        Ok(found)
    })
    .await
}

/// The lines of a service's log that name this recharge.
fn lines(log: &str, recharge: &Value) -> Vec<String> {
    let id = recharge["recharge_id"].as_str().unwrap_or("no id").to_owned();
    log.lines().filter(|line| line.contains(&id) && line.contains("acme")).map(str::to_owned).collect()
}

async fn exceed(stack: &Stack, team: &str, limit: &str, nonce: usize) -> anyhow::Result<()> {
    let (code, answer) = stack.client.webhook(&stack.client.ingress, limit_exceeded(team, limit, limit, nonce)).await?;
    ensure!(code == 200 || code == 202, "{code} {answer}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_is_gone_after_the_charge_until_it_is_too_late() -> anyhow::Result<()> {
    let options = Options { own_postgres: true, ..Options::default() };
    let mut stack = Stack::start(options.with("CREDIT_DEADLINE", "8s")).await?;
    let team = stack.client.ready_organization("acme", "pm_card_visa", json!({})).await?;
    exceed(&stack, &team, "500", 1).await?;
    recharges(&stack, "settled", 1).await?;
    // Between `charged` and `credited`: the ledger is away while the charge is made, then the database.
    stack.service("ledger", 1)?.stop()?;
    exceed(&stack, &team, "800", 2).await?;
    let charged = recharges(&stack, "charged", 1).await?;
    let cluster = stack.database.cluster.as_mut().ok_or_else(|| anyhow::anyhow!("no cluster"))?;
    tokio::task::block_in_place(|| cluster.kill())?;
    stack.service("ledger", 1)?.start_again()?;
    tokio::time::sleep(std::time::Duration::from_secs(9)).await;
    let cluster = stack.database.cluster.as_mut().ok_or_else(|| anyhow::anyhow!("no cluster"))?;
    tokio::task::block_in_place(|| cluster.start_again())?;
    let refunded = recharges(&stack, "refunded", 1).await?;
    assert_eq!(refunded[0]["recharge_id"], charged[0]["recharge_id"]);
    let totals = books::quiet_and_balanced(&stack).await?;
    assert_eq!((totals.captured, totals.settled), (20_000, 1));
    assert_eq!(stack.client.kms_quota("acme").await?, Decimal::from(200), "the customer's quota is untouched");
    let log = lines(&stack.service("recharger", 1)?.log(), &refunded[0]);
    for said in ["is undone", "is succeeded"] {
        assert!(log.iter().any(|line| line.contains(said)), "{said:?} is not in {log:#?}");
    }
    let log = lines(&stack.service("ledger", 1)?.log(), &refunded[0]);
    assert!(!log.is_empty(), "the ledger says nothing of it");
    stack.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_kms_is_gone_until_it_is_too_late() -> anyhow::Result<()> {
    let options =
        Options::default().with("SYNC_DEADLINE", "6s").with("KMS_TIMEOUT", "1s").with("SWEEP_INTERVAL", "500ms");
    let mut stack = Stack::start(options).await?;
    let team = stack.client.ready_organization("acme", "pm_card_visa", json!({})).await?;
    exceed(&stack, &team, "500", 1).await?;
    recharges(&stack, "settled", 1).await?;
    stack.client.kms_sim("faults", &json!(["down:600"])).await?;
    exceed(&stack, &team, "800", 2).await?;
    let refunded = recharges(&stack, "refunded", 1).await?;
    wait::until("the reversal", || async {
        let quota: i64 = sqlx::query_scalar("SELECT quota_minor FROM ledger_quotas").fetch_one(&stack.pool).await?;
        ensure!(quota == 20_000, "{quota}");
        Ok(())
    })
    .await?;
    stack.client.kms_heals().await?;
    let totals = books::quiet_and_balanced(&stack).await?;
    assert_eq!((totals.captured, totals.settled), (20_000, 1));
    wait::until("the quota to be restored", || async {
        let quota = stack.client.kms_quota("acme").await?;
        ensure!(quota == Decimal::from(200), "{quota}");
        Ok(())
    })
    .await?;
    for service in ["recharger", "ledger", "syncer"] {
        let log = lines(&stack.service(service, 1)?.log(), &refunded[0]);
        assert!(!log.is_empty(), "{service} says nothing of it");
    }
    stack.stop().await
}

/// The undo itself is killed, again and again: every charge is given back once, and the ledger never credits it.
#[tokio::test(flavor = "multi_thread")]
async fn kill_9_in_the_middle_of_the_undo() -> anyhow::Result<()> {
    const ORGANIZATIONS: usize = 30;
    let options =
        Options { replicas: 2, ..Options::default() }.with("CREDIT_DEADLINE", "2s").with("PATROL_LEASE", "2s");
    let options = options.with("REFUND_RETRY", "300ms").with("STRIPE_TIMEOUT", "1s").with("WEBHOOK_WAIT_MS", "0");
    let mut stack = Stack::start(options).await?;
    for number in 1..=2 {
        stack.service("ledger", number)?.stop()?;
    }
    for n in 0..ORGANIZATIONS {
        let team = stack.client.ready_organization(&format!("org{n}"), "pm_card_visa", json!({})).await?;
        let (code, answer) =
            stack.client.webhook(&stack.client.ingress, limit_exceeded(&team, "500", "500", n)).await?;
        ensure!(code == 202, "{code} {answer}");
    }
    let faults = json!(["drop_after", "ok", "500_after", "ok", "drop_before", "ok", "429", "html502"]);
    for _ in 0..3 {
        stack.client.stripe_sim("faults", &faults).await?;
    }
    for round in 1..=6 {
        let count = async |stack: &Stack| -> anyhow::Result<i64> {
            let sql = "SELECT count(*) FROM recharge_records WHERE status IN ('refunding', 'refunded')";
            Ok(sqlx::query_scalar(sql).fetch_one(&stack.pool).await?)
        };
        wait::until("the undo to be under way", || async {
            let undone = count(&stack).await?;
            ensure!(undone * 7 >= round * i64::try_from(ORGANIZATIONS)?, "{undone}");
            Ok(())
        })
        .await?;
        let number = if round % 2 == 0 { 1 } else { 2 };
        stack.service("recharger", number)?.kill9()?;
        stack.service("recharger", number)?.start_again()?;
    }
    wait::until("every refund", || async {
        let sql = "SELECT count(*) FROM recharge_records WHERE status = 'refunded'";
        let refunded: i64 = sqlx::query_scalar(sql).fetch_one(&stack.pool).await?;
        ensure!(refunded == i64::try_from(ORGANIZATIONS)?, "{refunded}");
        Ok(())
    })
    .await?;
    for number in 1..=2 {
        stack.service("ledger", number)?.start_again()?;
    }
    let totals = books::quiet_and_balanced(&stack).await?;
    assert_eq!((totals.captured, totals.settled), (0, 0));
    let stripe = stack.client.stripe_books().await?;
    let total = json!(ORGANIZATIONS * 20_000);
    assert_eq!((&stripe["captured"]["usd"], &stripe["refunded"]["usd"]), (&total, &total), "each once");
    let voids: i64 = sqlx::query_scalar("SELECT count(*) FROM ledger_transactions WHERE kind = 'void'")
        .fetch_one(&stack.pool)
        .await?;
    assert_eq!(voids, i64::try_from(ORGANIZATIONS)?);
    stack.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_that_stripe_refuses_is_made_once_it_may_be() -> anyhow::Result<()> {
    let mut stack =
        Stack::start(Options::default().with("CREDIT_DEADLINE", "2s").with("REFUND_RETRY", "300ms")).await?;
    let team = stack.client.ready_organization("acme", "pm_card_visa", json!({})).await?;
    stack.service("ledger", 1)?.stop()?;
    stack.client.stripe_sim("config", &json!({ "refunds": "refuse" })).await?;
    exceed(&stack, &team, "500", 1).await?;
    let refunding = recharges(&stack, "refunding", 1).await?;
    let metrics = format!("{}/metrics", stack.service("recharger", 1)?.url);
    wait::until("the alarm", || async {
        let text = stack.client.http.get(&metrics).send().await?.text().await?;
        let failing = text.lines().any(|line| line == "bill_refunds_failing 1");
        let failures =
            text.lines().find_map(|line| line.strip_prefix("bill_refund_failures_total{cause=\"credit_overdue\"} "));
        ensure!(failing && failures.is_some_and(|n| n.parse::<u32>().is_ok_and(|n| n >= 2)), "{failures:?} {failing}");
        Ok(())
    })
    .await?;
    let log = lines(&stack.service("recharger", 1)?.log(), &refunding[0]);
    assert!(log.iter().any(|line| line.contains("REFUND FAILING") && line.contains("ERROR")), "{log:#?}");
    stack.client.stripe_sim("config", &json!({ "refunds": "succeed" })).await?;
    recharges(&stack, "refunded", 1).await?;
    stack.service("ledger", 1)?.start_again()?;
    let totals = books::quiet_and_balanced(&stack).await?;
    assert_eq!(totals.captured, 0);
    let stripe = stack.client.stripe_books().await?;
    assert_eq!((&stripe["captured"]["usd"], &stripe["refunded"]["usd"]), (&json!(20_000), &json!(20_000)), "once");
    wait::until("the alarm to end", || async {
        let text = stack.client.http.get(&metrics).send().await?.text().await?;
        ensure!(text.lines().any(|line| line == "bill_refunds_failing 0"), "still failing");
        Ok(())
    })
    .await?;
    stack.stop().await
}
