//! The same crossing told two hundred times, to two of everything: one charge, one credit, one raise.

use std::collections::BTreeSet;

use e2e::client::limit_exceeded;
use e2e::{Options, Stack, books};
use futures_util::future::join_all;
use serde_json::json;

const TIMES: usize = 200;

async fn burst(different: bool) -> anyhow::Result<()> {
    let stack = Stack::start(Options { replicas: 2, ..Options::default() }).await?;
    let team = stack.client.ready_organization("acme", "pm_card_visa", json!({})).await?;
    let ingresses = stack.ingresses();
    let sent = (0..TIMES).map(|n| {
        let body = limit_exceeded(&team, "520", "500", if different { n } else { 0 });
        stack.client.webhook(&ingresses[n % ingresses.len()], body)
    });
    let mut recharges = BTreeSet::new();
    for answer in join_all(sent).await {
        let (status, body) = answer?;
        assert!(status == 200 || status == 202, "{status} {body}");
        if body["success"] == true {
            recharges.insert(body["recharge_id"].to_string());
        }
    }
    let totals = books::quiet_and_balanced(&stack).await?;
    assert_eq!((totals.succeeded, totals.settled, totals.captured), (1, 1, 20_000));
    assert_eq!(recharges.len(), 1, "all who were told of a success were told of the same");
    let kms = stack.client.kms_books().await?;
    let raises = kms["organizations"]["acme"]["quota_writes"].as_array().cloned().unwrap_or_default();
    let raised = raises.iter().filter(|value| value.to_string().trim_matches('"').starts_with("200")).count();
    assert_eq!(raised, 1, "{kms}");
    let credits: i64 = sqlx::query_scalar("SELECT count(*) FROM ledger_transactions WHERE kind = 'charge'")
        .fetch_one(&stack.pool)
        .await?;
    assert_eq!(credits, 1);
    let outcomes: i64 = sqlx::query_scalar("SELECT count(*) FROM webhook_events WHERE source = 'litellm'")
        .fetch_one(&stack.pool)
        .await?;
    assert_eq!(outcomes, if different { i64::try_from(TIMES)? } else { 1 }, "every accepted event has an outcome");
    stack.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_body_two_hundred_times_at_once() -> anyhow::Result<()> {
    burst(false).await
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_bodies_of_the_same_crossing_at_once() -> anyhow::Result<()> {
    burst(true).await
}
