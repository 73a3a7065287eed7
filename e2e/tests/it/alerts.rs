//! LiteLLM's own alerts: every body that a real proxy sent, byte for byte, and what it leads to.

use anyhow::ensure;
use e2e::stack::ALERT_TOKEN;
use e2e::{Options, Stack, books, wait};
use futures_util::future::join_all;
use serde_json::{Value, json};

/// The one that is a reason to recharge.
const TEAM: &str = include_str!("../../../ingress/tests/it/fixtures/team_budget_crossed.json");
/// The others, each with the reason that is written down for doing nothing.
const OTHERS: [(&str, &str); 5] = [
    (include_str!("../../../ingress/tests/it/fixtures/key_budget_crossed.json"), "event_group is key, not team"),
    (include_str!("../../../ingress/tests/it/fixtures/key_threshold_crossed.json"), "event_group is key, not team"),
    (
        include_str!("../../../ingress/tests/it/fixtures/organization_budget_crossed.json"),
        "event_group is organization, not team",
    ),
    (
        include_str!("../../../ingress/tests/it/fixtures/customer_spend_tracked.json"),
        "event_group is end_user, not team",
    ),
    (
        include_str!("../../../ingress/tests/it/fixtures/health_services_webhook_test.json"),
        "event_group is key, not team",
    ),
];

async fn post(stack: &Stack, token: &str, body: &'static str) -> anyhow::Result<(u16, Value)> {
    let url = format!("{}/webhooks/litellm/alerts/{token}", stack.client.ingress);
    let answer = stack.client.http.post(url).header("content-type", "application/json").body(body).send().await?;
    Ok((answer.status().as_u16(), answer.json().await?))
}

/// What was decided about an event, once it was.
async fn decision(stack: &Stack, event_id: &Value) -> anyhow::Result<(String, Option<String>)> {
    wait::until("the decision", || async {
        let sql = "SELECT decision, detail FROM webhook_events WHERE event_id = $1";
        Ok(sqlx::query_as(sql).bind(event_id.as_str()).fetch_one(&stack.pool).await?)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_body_of_a_real_proxy_has_its_decision_and_a_dozen_copies_are_one_recharge() -> anyhow::Result<()> {
    let stack = Stack::start(Options::default()).await?;
    stack.client.ready_organization("acme", "pm_card_visa", json!({ "litellm_team_id": "team-acme" })).await?;
    for (body, why) in OTHERS {
        let (status, answer) = post(&stack, ALERT_TOKEN, body).await?;
        assert_eq!((status, &answer["action"], &answer["reason"]), (200, &json!("ignored"), &json!(why)), "{body}");
        let (decision, detail) = decision(&stack, &answer["event_id"]).await?;
        assert_eq!((decision.as_str(), detail.as_deref()), ("recorded", Some(why)), "{body}");
    }
    assert_eq!(stack.client.history("acme").await?, Vec::<Value>::new());

    let answers = join_all((0..12).map(|_| post(&stack, ALERT_TOKEN, TEAM))).await;
    let answers = answers.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    for (status, answer) in &answers {
        assert_eq!((*status, &answer["action"]), (200, &json!("recharge_considered")));
        assert_eq!(answer["event_id"], answers[0].1["event_id"], "a dozen copies are one event");
    }
    assert_eq!(decision(&stack, &answers[0].1["event_id"]).await?.0, "charge");
    wait::until("the recharge", || async {
        let history = stack.client.history("acme").await?;
        ensure!(history.iter().any(|recharge| recharge["status"] == "settled"), "{history:?}");
        Ok(())
    })
    .await?;
    let totals = books::quiet_and_balanced(&stack).await?;
    assert_eq!((totals.settled, totals.succeeded), (1, 1));
    assert_eq!(stack.client.history("acme").await?[0]["triggered_by"], "litellm_alert");
    assert_eq!(post(&stack, "wrong", TEAM).await?.0, 404);
    stack.stop().await
}
