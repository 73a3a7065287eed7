//! The main job, as the original plan's commands walk it.

use anyhow::ensure;
use e2e::client::limit_exceeded;
use e2e::{Options, Stack, books};
use serde_json::{Value, json};

fn number(value: &Value) -> String {
    value.to_string().trim_matches('"').to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_webhook_becomes_a_charge_a_credit_and_a_raised_quota() -> anyhow::Result<()> {
    let stack = Stack::start(Options::default()).await?;
    let team = stack.client.ready_organization("acme", "pm_card_visa", json!({})).await?;
    let at_kms = stack.client.http.get(format!("{}/organizations/acme", stack.kms.url())).send().await?.text().await?;
    let at_kms: Value = serde_json::from_str(&at_kms)?;
    assert_eq!(at_kms["l_team_id"].as_str(), Some(team.as_str()));

    let (status, answer) = stack.client.webhook(&stack.client.ingress, limit_exceeded(&team, "520", "500", 0)).await?;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["success"], true, "{answer}");
    assert_eq!(answer["action"], "auto_recharged");
    assert_eq!(number(&answer["recharged_amount"]), "200.00");
    assert_eq!(number(&answer["new_quota"]), "200.00");

    let history = stack.client.history("acme").await?;
    assert_eq!(history.len(), 1);
    assert_eq!(history[0]["status"], "settled");
    assert_eq!(history[0]["triggered_by_webhook"], true);
    assert_eq!(history[0]["recharge_id"], answer["recharge_id"]);
    let totals = books::quiet_and_balanced(&stack).await?;
    assert_eq!((totals.captured, totals.settled), (20_000, 1));
    assert_eq!(totals.quotas["acme"].to_string(), "200.00");

    let (status, event) = stack.client.get(&format!("/api/events/{}", answer["event_id"].as_str().unwrap())).await?;
    assert_eq!(status, 200, "{event}");
    assert_eq!(event["state"], "settled", "{event}");
    stack.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_walk_of_the_original_plan_answers_100() -> anyhow::Result<()> {
    let stack = Stack::start(Options::default()).await?;
    let setup = json!({ "team_id": "team_webhook_001", "minimum_recharge_amount": 100, "target_balance": 500 });
    let (status, answer) = stack.client.post("/test/setup-webhook-test", &setup).await?;
    assert!(status.is_success(), "{status} {answer}");
    let body = limit_exceeded("team_webhook_001", "520", "500", 0);
    let (status, answer) = stack.client.webhook(&stack.client.ingress, body).await?;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(number(&answer["recharged_amount"]), "100.00", "{answer}");
    assert_eq!(number(&answer["new_quota"]), "600.00", "{answer}");
    books::quiet_and_balanced(&stack).await?;
    stack.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_quota_that_the_kms_already_had_is_adopted_not_lowered() -> anyhow::Result<()> {
    let stack = Stack::start(Options::default()).await?;
    let known = json!({ "c_organization_id": "old", "quota": 750 });
    stack
        .client
        .http
        .post(format!("{}/organizations/", stack.kms.url()))
        .json(&known)
        .send()
        .await?
        .error_for_status()?;
    let team = stack.client.ready_organization("old", "pm_card_visa", json!({})).await?;
    let totals = books::quiet_and_balanced(&stack).await?;
    assert_eq!(totals.quotas["old"].to_string(), "750.00");
    let (_, answer) = stack.client.webhook(&stack.client.ingress, limit_exceeded(&team, "750", "750", 0)).await?;
    assert_eq!(number(&answer["new_quota"]), "950.00", "{answer}");
    // The same crossing told again is stale now, and says so with the numbers.
    let (_, answer) = stack.client.webhook(&stack.client.ingress, limit_exceeded(&team, "750", "750", 1)).await?;
    assert_eq!((&answer["success"], &answer["reason"]), (&json!(false), &json!("already_recharged")), "{answer}");
    books::quiet_and_balanced(&stack).await?;
    stack.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_kms_sends_its_own_webhook_when_usage_crosses_the_quota() -> anyhow::Result<()> {
    let stack = Stack::start(Options::default()).await?;
    let known = json!({ "c_organization_id": "spender", "quota": 500 });
    stack
        .client
        .http
        .post(format!("{}/organizations/", stack.kms.url()))
        .json(&known)
        .send()
        .await?
        .error_for_status()?;
    stack.client.ready_organization("spender", "pm_card_visa", json!({})).await?;
    let usage = json!({ "c_organization_id": "spender", "usage": 520, "webhook": true });
    let sent = stack.client.kms_sim("usage", &usage).await?;
    assert_eq!(sent["sent"], true, "{sent}");
    let totals = books::quiet_and_balanced(&stack).await?;
    assert_eq!(totals.quotas["spender"].to_string(), "700.00");
    stack.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manual_recharge_honours_its_idempotency_key() -> anyhow::Result<()> {
    let stack = Stack::start(Options::default()).await?;
    stack.client.ready_organization("acme", "pm_card_visa", json!({ "auto_recharge_enabled": false })).await?;
    let url = format!("{}/api/organizations/acme/recharge", stack.client.ingress);
    let ask = |amount: u32| {
        stack.client.http.post(&url).header("idempotency-key", "order-1").json(&json!({ "amount": amount })).send()
    };
    let answers = futures_util::future::join_all((0..10).map(|_| ask(25))).await;
    let mut recharges = Vec::new();
    for answer in answers {
        let answer = answer?;
        ensure!(answer.status().is_success(), "{}", answer.status());
        recharges.push(serde_json::from_str::<Value>(&answer.text().await?)?["recharge_id"].clone());
    }
    recharges.retain(|id| !id.is_null());
    recharges.dedup();
    assert_eq!(recharges.len(), 1, "{recharges:?}");
    assert_eq!(ask(26).await?.status(), 409);
    let totals = books::quiet_and_balanced(&stack).await?;
    assert_eq!((totals.captured, totals.settled), (2_500, 1));
    stack.stop().await
}

/// Fees are passed on in whole cents, and the ledger books what Stripe kept.
#[tokio::test(flavor = "multi_thread")]
async fn the_processing_cost_is_passed_on_when_configured() -> anyhow::Result<()> {
    let stack = Stack::start(Options::default().with("FEE_BPS", "290").with("FEE_FIXED", "30")).await?;
    let team = stack.client.ready_organization("acme", "pm_card_visa", json!({})).await?;
    let (_, answer) = stack.client.webhook(&stack.client.ingress, limit_exceeded(&team, "0", "0", 0)).await?;
    assert_eq!(number(&answer["recharged_amount"]), "500.00", "{answer}");
    let totals = books::quiet_and_balanced(&stack).await?;
    assert_eq!(totals.captured, 51_525);
    let history = stack.client.history("acme").await?;
    assert_eq!(number(&history[0]["fee"]), "15.25");
    assert_eq!(number(&history[0]["total_charge"]), "515.25");
    stack.stop().await
}
