//! What an operator is shown: the numbers are those of the books.

use std::time::Duration;

use common::telemetry::exposition;

use crate::undo::Scene;

impl Scene {
    /// The value of a metric, with its labels as they are written.
    fn shown(&self, metric: &str) -> Option<String> {
        let text = exposition(&self.world.registry);
        text.lines().find_map(|line| Some(line.strip_prefix(metric)?.strip_prefix(' ')?.to_owned()))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn money_in_between_is_shown_until_it_is_in_force_or_given_back() -> anyhow::Result<()> {
    let scene = Scene::new("pm_card_visa").await?;
    let shows = |expected: &[(&str, Option<&str>)]| {
        for (metric, value) in expected {
            assert_eq!(scene.shown(metric).as_deref(), *value, "{metric}");
        }
    };
    scene.patrol().await?;
    shows(&[
        ("bill_captured_not_credited", Some("0")),
        ("bill_captured_not_credited_oldest_seconds", Some("0")),
        ("bill_recharges_in_flight{status=\"charged\"}", Some("0")),
        ("bill_captured_unsettled_minor{currency=\"usd\"}", None),
        ("bill_patrol_last_finished_seconds", Some(&scene.now().timestamp().to_string())),
    ]);

    let charged = scene.charged().await?;
    let captured_at = charged.charged_at.timestamp().to_string();
    let said = scene.later(Duration::from_secs(30)).await?;
    assert!(said.is_empty(), "{said:?}");
    let total = charged.total_charge.minor.to_string();
    shows(&[
        ("bill_captured_not_credited", Some("1")),
        ("bill_captured_not_credited_oldest_seconds", Some(&captured_at)),
        ("bill_recharges_in_flight{status=\"charged\"}", Some("1")),
        ("bill_captured_unsettled_minor{currency=\"usd\"}", Some(&total)),
        ("bill_charged_minor_total{currency=\"usd\"}", Some(&total)),
        ("bill_settled_minor_total{currency=\"usd\"}", None),
    ]);

    // Each event comes twice, and counts once.
    scene.credited(&charged).await?;
    scene.patrol().await?;
    shows(&[
        ("bill_captured_not_credited", Some("0")),
        ("bill_recharges_in_flight{status=\"charged\"}", Some("0")),
        ("bill_recharges_in_flight{status=\"credited\"}", Some("1")),
        ("bill_captured_unsettled_minor{currency=\"usd\"}", Some(&total)),
    ]);
    scene.synced().await?;
    scene.patrol().await?;
    shows(&[
        ("bill_recharges_in_flight{status=\"credited\"}", Some("0")),
        ("bill_captured_unsettled_minor{currency=\"usd\"}", None),
        ("bill_settled_minor_total{currency=\"usd\"}", Some(&total)),
        ("bill_recharges_total{outcome=\"settled\",reason=\"\"}", Some("1")),
        ("bill_recharge_seconds_count{trigger=\"webhook\"}", Some("1")),
        ("bill_refunded_minor_total{currency=\"usd\"}", None),
    ]);
    for step in ["decide", "charge", "book", "sync"] {
        shows(&[(&format!("bill_step_seconds_count{{step=\"{step}\"}}"), Some("1"))]);
    }

    let paused =
        "INSERT INTO recharge_state (c_organization_id, paused_at, pause_reason) VALUES ('acme', now(), 'lost_card')
        ON CONFLICT (c_organization_id) DO UPDATE SET paused_at = now(), pause_reason = 'lost_card'";
    sqlx::query(paused).execute(&scene.world.pool).await?;
    scene.patrol().await?;
    shows(&[("bill_organizations_paused", Some("1"))]);
    scene.world.policy("resumed_at = now() + interval '1 second'").await?;
    scene.patrol().await?;
    shows(&[("bill_organizations_paused", Some("0"))]);
    scene.world.remove().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_that_fails_is_shown_until_it_is_made() -> anyhow::Result<()> {
    let scene = Scene::new("pm_card_visa").await?;
    let charged = scene.charged().await?;
    scene.world.sim("config", &serde_json::json!({ "refunds_refuse_next": 1 })).await?;
    scene.later(Duration::from_secs(11 * 60)).await?;
    scene.later(Duration::from_secs(1)).await?;
    let total = charged.total_charge.minor.to_string();
    assert_eq!(scene.shown("bill_refunds_failing").as_deref(), Some("1"));
    assert_ne!(scene.shown("bill_refunds_failing_oldest_seconds").as_deref(), Some("0"));
    assert_eq!(scene.shown("bill_captured_unsettled_minor{currency=\"usd\"}").as_deref(), Some(total.as_str()));
    scene.later(Duration::from_secs(3_600)).await?;
    scene.patrol().await?;
    assert_eq!(scene.shown("bill_refunds_failing").as_deref(), Some("0"));
    assert_eq!(scene.shown("bill_refunds_failing_oldest_seconds").as_deref(), Some("0"));
    assert_eq!(scene.shown("bill_captured_unsettled_minor{currency=\"usd\"}"), None);
    assert_eq!(scene.shown("bill_refunded_minor_total{currency=\"usd\"}").as_deref(), Some(total.as_str()));
    scene.world.remove().await
}
