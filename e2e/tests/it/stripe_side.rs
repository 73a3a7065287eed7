//! Stripe's side of the story, through its signed webhooks: the customer confirms at the bank, somebody refunds at Stripe,
//! the bank disputes, a payment takes its time or fails after all. Each ends in the ledger and at the KMS.

use anyhow::{Context, ensure};
use e2e::client::limit_exceeded;
use e2e::stack::STRIPE_KEY;
use e2e::{Options, Stack, books, wait};
use reqwest::StatusCode;
use reqwest::redirect::Policy;
use rust_decimal::Decimal;
use serde_json::{Value, json};

async fn exceed(stack: &Stack, team: &str, limit: &str, nonce: usize) -> anyhow::Result<Value> {
    let body = limit_exceeded(team, limit, limit, nonce);
    let (code, answer) = stack.client.webhook(&stack.client.ingress, body).await?;
    ensure!(code == 200 || code == 202, "{code} {answer}");
    Ok(answer)
}

async fn newest(stack: &Stack, status: &str) -> anyhow::Result<Value> {
    wait::until(status, || async {
        let newest = stack.client.history("acme").await?.into_iter().next().context("no recharge")?;
        ensure!(newest["status"] == status, "{newest}");
        Ok(newest)
    })
    .await
}

async fn quota(stack: &Stack, wanted: i64) -> anyhow::Result<()> {
    wait::until("the quota at the KMS", || async {
        let quota = stack.client.kms_quota("acme").await?;
        ensure!(quota == Decimal::from(wanted), "{quota}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_customer_confirms_at_the_bank_once() -> anyhow::Result<()> {
    let stack = Stack::start(Options::default()).await?;
    let team = stack.client.ready_organization("acme", "pm_card_authenticationRequired", json!({})).await?;
    let answer = exceed(&stack, &team, "500", 1).await?;
    assert_eq!(answer["action"], "action_required", "{answer}");
    let link = answer["confirmation_url"].as_str().context("no link")?.to_owned();
    let (_, token) = link.rsplit_once("/pay/").context("no token")?;
    let page = format!("{}/pay/{token}", stack.client.ingress);
    let http = reqwest::Client::builder().redirect(Policy::none()).build()?;
    // Whoever only opens it, a mail scanner for instance, changes nothing.
    for _ in 0..3 {
        let answer = http.get(&page).send().await?;
        assert_eq!(answer.status(), StatusCode::OK);
    }
    assert_eq!(newest(&stack, "action_required").await?["status"], "action_required");
    let answer = http.post(&page).header("content-type", "application/x-www-form-urlencoded").send().await?;
    assert_eq!(answer.status(), StatusCode::SEE_OTHER, "{}", answer.text().await?);
    let recharge = newest(&stack, "action_required").await?;
    let intent = recharge["payment_intent_id"].as_str().context("no payment intent")?;
    stack
        .client
        .stripe_sim(&format!("payment_intents/{intent}/authenticate"), &json!({ "outcome": "succeeded" }))
        .await?;
    newest(&stack, "settled").await?;
    quota(&stack, 200).await?;
    for _ in 0..2 {
        let answer = http.post(&page).header("content-type", "application/x-www-form-urlencoded").send().await?;
        assert_eq!(answer.status(), StatusCode::GONE);
    }
    let totals = books::quiet_and_balanced(&stack).await?;
    assert_eq!((totals.captured, totals.succeeded), (20_000, 1));
    stack.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn refunds_and_disputes_reach_the_ledger_and_the_kms() -> anyhow::Result<()> {
    let stack = Stack::start(Options::default()).await?;
    let team = stack.client.ready_organization("acme", "pm_card_visa", json!({})).await?;
    exceed(&stack, &team, "500", 1).await?;
    let first = newest(&stack, "settled").await?;
    quota(&stack, 200).await?;

    // A dispute holds; winning it releases.
    let intent = first["payment_intent_id"].as_str().context("no payment intent")?;
    let dispute = stack.client.stripe_sim("disputes", &json!({ "payment_intent": intent })).await?;
    quota(&stack, 0).await?;
    let skipped = exceed(&stack, &team, "800", 2).await?;
    assert_eq!(skipped["reason"], "paused", "{skipped}");
    let id = dispute["id"].as_str().context("no dispute")?;
    stack.client.stripe_sim(&format!("disputes/{id}/close"), &json!({ "status": "won" })).await?;
    quota(&stack, 200).await?;

    // Somebody refunds a part in Stripe's dashboard, and a person the rest over the API.
    let form = format!("payment_intent={intent}&amount=5000");
    let refund = stack.client.http.post(format!("{}/v1/refunds", stack.client.stripe)).bearer_auth(STRIPE_KEY);
    let refund = refund.header("content-type", "application/x-www-form-urlencoded").body(form);
    refund.send().await?.error_for_status()?;
    quota(&stack, 150).await?;
    let recharge = first["recharge_id"].as_str().context("no id")?;
    let path = format!("/api/recharges/{recharge}/refund");
    let (status, answer) = stack.client.post(&path, &json!({ "reason": "not needed" })).await?;
    ensure!(status == 200, "{status} {answer}");
    assert_eq!(answer["action"], "refunded", "{answer}");
    quota(&stack, 0).await?;
    newest(&stack, "refunded").await?;
    let (status, answer) = stack.client.post(&path, &json!({ "reason": "again" })).await?;
    assert_eq!(status, 409, "{answer}");
    let totals = books::quiet_and_balanced(&stack).await?;
    assert_eq!(totals.captured, 0);

    // All books agree, and a comparison says so.
    let (status, answer) = stack.client.post("/api/reconciliations", &json!({})).await?;
    ensure!(status == 200, "{status} {answer}");
    assert_eq!(answer["finished"], true, "{answer}");
    let sql = "SELECT kind || ': ' || detail FROM reconciliation_findings";
    let findings: Vec<String> = sqlx::query_scalar(sql).fetch_all(&stack.pool).await?;
    assert_eq!(findings, Vec::<String>::new());
    stack.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_takes_its_time_and_may_fail_after_all() -> anyhow::Result<()> {
    let stack = Stack::start(Options::default().with("WEBHOOK_WAIT_MS", "200")).await?;
    let team = stack.client.ready_organization("acme", "pm_card_sim_processing", json!({})).await?;
    exceed(&stack, &team, "500", 1).await?;
    let processing = newest(&stack, "processing").await?;
    let intent = processing["payment_intent_id"].as_str().context("no payment intent")?;
    // No new money while the last has not taken effect.
    let skipped = exceed(&stack, &team, "600", 2).await?;
    assert_eq!(skipped["reason"], "in_flight", "{skipped}");
    stack.client.stripe_sim(&format!("payment_intents/{intent}/settle"), &json!({ "outcome": "succeeded" })).await?;
    newest(&stack, "settled").await?;
    quota(&stack, 200).await?;
    stack.client.stripe_sim(&format!("payment_intents/{intent}/fail_late"), &json!({})).await?;
    newest(&stack, "refunded").await?;
    quota(&stack, 0).await?;
    wait::until("the events to be handled", || async {
        let sql = "SELECT count(*) FROM ledger_transactions WHERE kind = 'refund'";
        let reversals: i64 = sqlx::query_scalar(sql).fetch_one(&stack.pool).await?;
        ensure!(reversals == 1, "{reversals}");
        Ok(())
    })
    .await?;
    let report = ledger::verify::verify(&stack.pool).await?;
    ensure!(report.drifts.is_empty(), "{:?}", report.drifts);
    stack.stop().await
}
