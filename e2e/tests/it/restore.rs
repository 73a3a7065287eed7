//! An operator puts an earlier quota back, and closes an organization: through the API, with the whole chain behind it.

use anyhow::{Context, ensure};
use e2e::{Options, Stack, books, wait};
use reqwest::{Method, StatusCode};
use rust_decimal::Decimal;
use serde_json::{Value, json};

const ACME: &str = "/api/organizations/acme";

/// A call with headers.
async fn call(
    stack: &Stack,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: &Value,
) -> anyhow::Result<(StatusCode, Value)> {
    let url = format!("{}{ACME}{path}", stack.client.ingress);
    let request = headers
        .iter()
        .fold(stack.client.http.request(method, url), |request, (name, value)| request.header(*name, *value));
    let answer = request.json(body).send().await?;
    Ok((answer.status(), answer.json().await?))
}

async fn history(stack: &Stack) -> anyhow::Result<Vec<Value>> {
    let (status, body) = stack.client.get(&format!("{ACME}/quota-history")).await?;
    ensure!(status == StatusCode::OK, "{status}: {body}");
    Ok(body["items"].as_array().cloned().unwrap_or_default())
}

async fn recharge(stack: &Stack, amount: i64) -> anyhow::Result<()> {
    let (status, body) = stack.client.post(&format!("{ACME}/recharge"), &json!({ "amount": amount })).await?;
    ensure!(body["success"] == true, "{status}: {body}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_earlier_quota_is_put_back_and_a_closed_organization_is_not_recharged() -> anyhow::Result<()> {
    let stack = Stack::start(Options::default().with("API_WAIT_MS", "5000")).await?;
    stack.client.ready_organization("acme", "pm_card_visa", json!({ "auto_recharge_enabled": false })).await?;
    recharge(&stack, 100).await?;
    recharge(&stack, 50).await?;
    let before = history(&stack).await?;
    let words: Vec<_> =
        before.iter().take(2).map(|entry| (entry["why"].to_string(), entry["quota"].to_string())).collect();
    let charge = |quota: &str| ("\"charge\"".to_owned(), quota.to_owned());
    assert_eq!(words, [charge("150.00"), charge("100.00")]);
    assert_eq!((&before[0]["requested_by"], before[0]["recharge_id"].is_string()), (&json!("anonymous"), true));

    // Twice at once, and once more: one correction.
    let body = json!({ "quota_sync_id": before[1]["quota_sync_id"], "reason": "the second was a mistake" });
    let restore = || call(&stack, Method::POST, "/quota/restore", &[("idempotency-key", "undo")], &body);
    let (one, two) = tokio::join!(restore(), restore());
    let mut events = Vec::new();
    for (status, answer) in [one?, two?, restore().await?] {
        assert_eq!(
            (status, &answer["success"], &answer["changed"]),
            (StatusCode::OK, &json!(true), &json!(true)),
            "{answer}"
        );
        assert_eq!((answer["change"].to_string(), answer["quota"].to_string()), ("-50.00".into(), "100.00".into()));
        events.push(answer["event_id"].clone());
    }
    assert!(events.iter().all(|event| *event == events[0]), "{events:?}");
    let totals = books::quiet_and_balanced(&stack).await?;
    assert_eq!((totals.captured, totals.settled), (15_000, 2), "no money moved");
    assert_eq!(
        (totals.quotas["acme"], stack.client.kms_quota("acme").await?),
        (Decimal::from(100), Decimal::from(100))
    );
    let booked: i64 = sqlx::query_scalar("SELECT count(*) FROM ledger_transactions WHERE kind = 'adjustment'")
        .fetch_one(&stack.pool)
        .await?;
    assert_eq!(booked, 1);
    let after = history(&stack).await?;
    assert_eq!(
        (after.len(), &after[0]["why"], &after[0]["correlation_id"]),
        (before.len() + 1, &json!("adjustment"), &events[0])
    );
    let event = events[0].as_str().context("no event")?;
    assert_eq!(stack.client.get(&format!("/api/events/{event}")).await?.1["state"], "synced");
    // It is what is there: nothing is booked, and it is pushed all the same.
    let body = json!({ "quota_sync_id": after[0]["quota_sync_id"], "reason": "again" });
    let (status, answer) = call(&stack, Method::POST, "/quota/restore", &[], &body).await?;
    assert_eq!(
        (status, &answer["changed"], answer["quota"].to_string()),
        (StatusCode::OK, &json!(false), "100.00".into())
    );

    // Two people at once who don't know of each other: the difference is booked once, whoever comes second.
    let body = json!({ "quota_sync_id": before[0]["quota_sync_id"], "reason": "it was none" });
    let restore =
        async |key: &str| call(&stack, Method::POST, "/quota/restore", &[("idempotency-key", key)], &body).await;
    let (one, two, three) = tokio::join!(restore("ann"), restore("bob"), restore("eve"));
    let answers = [one?, two?, three?];
    for (status, answer) in &answers {
        let refused = *status == StatusCode::CONFLICT && answer["code"] == "books_changed";
        assert!(refused || answer["success"] == true, "{status} {answer}");
    }
    let changes: Vec<_> = answers.iter().filter(|(_, answer)| answer["changed"] == true).collect();
    assert!(matches!(changes[..], [(_, answer)] if answer["change"].as_f64() == Some(50.0)), "{answers:?}");
    for (_, answer) in answers.iter().filter(|(status, _)| *status == StatusCode::CONFLICT) {
        let event = answer["event_id"].as_str().context("no event")?;
        assert_eq!(stack.client.get(&format!("/api/events/{event}")).await?.1["state"], "refused");
    }
    assert_eq!(books::quiet_and_balanced(&stack).await?.quotas["acme"], Decimal::from(150));

    // A claim that comes while the organization is being closed waits for that, and finds it closed.
    let mut closing = stack.pool.begin().await?;
    sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended('recharges:acme', 0))").execute(&mut *closing).await?;
    let asked =
        call(&stack, Method::POST, "/recharge", &[("prefer", "respond-async")], &json!({ "amount": 5 })).await?.1;
    let waiting = "SELECT EXISTS (SELECT FROM pg_locks l JOIN pg_stat_activity a USING (pid)
        WHERE l.locktype = 'advisory' AND NOT l.granted AND a.datname = current_database())";
    wait::until("the claim to wait", || async {
        let waits: bool = sqlx::query_scalar(waiting).fetch_one(&stack.pool).await?;
        ensure!(waits, "nobody waits");
        Ok(())
    })
    .await?;
    sqlx::query("UPDATE organization_balance_config SET closed_at = now()").execute(&mut *closing).await?;
    closing.commit().await?;
    let status_url = format!("/api/events/{}", asked["event_id"].as_str().context("no event")?);
    let decided = wait::until("the decision", || async {
        let (_, event) = stack.client.get(&status_url).await?;
        ensure!(event["state"] == "skipped", "{event}");
        Ok(event)
    })
    .await?;
    assert_eq!(decided["reason"], "unknown_organization");
    let (status, closed) = call(&stack, Method::DELETE, "", &[], &json!({})).await?;
    assert_eq!((status, closed["closed_at"].is_string()), (StatusCode::OK, true), "{closed}");
    assert_eq!(books::quiet_and_balanced(&stack).await?.captured, 15_000);
    stack.stop().await
}
