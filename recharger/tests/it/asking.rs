//! What would the policy charge? Asked over a broker, as ingress does.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use common::broker::Broker;
use common::clock::{ManualClock, SystemClock, Timestamp};
use common::config::Secret;
use common::contract::{
    PolicyChangesV1, SimulatedEventV1, SimulatedReplayV1, SimulationRequestV1, SimulationV1, SkipReason, Would,
};
use common::health::Health;
use common::ids::OrganizationId;
use common::queries::{AskError, PATIENCE, ask, serve};
use common::shutdown::Shutdown;
use common::worker::Handler;
use rust_decimal::Decimal;
use serde_json::json;
use sqlx::{AssertSqlSafe, PgPool};
use tokio::task::{JoinHandle, block_in_place};
use xtask::nats::{NatsServer, Options};
use xtask::tools::NATS_SERVER;

use crate::world::{World, delivery, organization, rules};
use crate::{charged, follow_ups, one};

/// The time of the recharger that answers.
const NOW: &str = "2026-11-20T12:00:00Z";

/// A broker, a recharger that answers on it, and somebody who asks.
struct Asking {
    world: World,
    clock: ManualClock,
    asker: Broker,
    shutdown: Shutdown,
    answering: JoinHandle<()>,
    _server: NatsServer,
}

async fn connect(server: &NatsServer, service: &'static str) -> anyhow::Result<Broker> {
    let health = Health::new(service, SystemClock::shared());
    let broker = Broker::connect(&Secret::new(server.url()), service, health).await?;
    broker.client().flush().await?;
    Ok(broker)
}

impl Asking {
    async fn start() -> anyhow::Result<Self> {
        let bin = std::env::var_os(NATS_SERVER)
            .context("BILL_NATS_SERVER is not set: run this through `cargo xtask test`")?;
        let server = block_in_place(|| NatsServer::start(&PathBuf::from(bin), Options::default()))?;
        let world = World::new("pm_card_visa").await?;
        let (asker, broker) = (connect(&server, "ingress").await?, connect(&server, "recharger").await?);
        let shutdown = Shutdown::new();
        let clock = ManualClock::new(NOW.parse::<Timestamp>()?);
        let answerer = world.recharger_at(&clock, rules())?;
        let answering = tokio::spawn(serve(broker, recharger::SERVICE, answerer, shutdown.clone()));
        let asking = Self { world, clock, asker, shutdown, answering, _server: server };
        while matches!(asking.ask(&SimulationRequestV1::default()).await, Err(AskError::NoResponder)) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(asking)
    }

    async fn ask(&self, request: &SimulationRequestV1) -> Result<SimulationV1, AskError> {
        ask(&self.asker, &organization(), request, PATIENCE).await
    }

    async fn replay(&self, days: u32, policy: PolicyChangesV1) -> anyhow::Result<SimulatedReplayV1> {
        let answer =
            self.ask(&SimulationRequestV1 { days: Some(days), policy, ..SimulationRequestV1::default() }).await?;
        assert!(answer.decision.is_none());
        answer.replay.context("a replay")
    }

    async fn refusal(&self, whom: &str, request: &SimulationRequestV1) -> anyhow::Result<String> {
        match ask(&self.asker, &OrganizationId::parse(whom)?, request, PATIENCE).await {
            Err(AskError::Refused { code, .. }) => Ok(code),
            other => anyhow::bail!("expected a refusal, got {other:?}"),
        }
    }

    async fn end(self) -> anyhow::Result<()> {
        self.shutdown.give();
        self.answering.await?;
        self.world.remove().await
    }
}

fn event(usage: i64, limit: i64) -> SimulationRequestV1 {
    let event = SimulatedEventV1 {
        current_usage: Decimal::from(usage),
        current_limit: Decimal::from(limit),
        exceeded_by: None,
    };
    SimulationRequestV1 { event: Some(event), ..SimulationRequestV1::default() }
}

async fn run(pool: &PgPool, sql: &str) -> anyhow::Result<()> {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(pool).await?;
    Ok(())
}

/// Every row of every table that a claim could write, as text.
async fn everything(pool: &PgPool) -> anyhow::Result<Vec<String>> {
    let mut rows = Vec::new();
    for table in [
        "recharge_records",
        "webhook_events",
        "recharge_state",
        "refunds",
        "usage_snapshots",
        "organization_balance_config",
    ] {
        let sql = format!("SELECT '{table} ' || t::text FROM {table} t ORDER BY 1");
        rows.extend(sqlx::query_scalar::<_, String>(AssertSqlSafe(sql)).fetch_all(pool).await?);
    }
    Ok(rows)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_decides_as_the_claim_does_and_changes_nothing() -> anyhow::Result<()> {
    let asking = Asking::start().await?;
    let world = &asking.world;
    // Nothing was ever seen or booked of it: no row is there, and none comes.
    assert_eq!(asking.refusal("acme", &SimulationRequestV1::default()).await?, "usage_unknown");
    let answer = asking.ask(&event(520, 500)).await?;
    let decision = answer.decision.context("a decision")?;
    assert_eq!((decision.would, decision.reason, answer.replay), (Would::Charge, None, None));
    let said = serde_json::to_value(&decision)?;
    for (field, want) in [("amount", "200.00"), ("fee", "0.00"), ("total_charge", "200.00"), ("new_quota", "700.00")] {
        assert_eq!(said[field].to_string(), want, "{field}");
    }
    assert_eq!(
        decision.message,
        "Usage 520.00 usd, quota 500.00 usd: 200.00 usd would be charged for 200.00 usd of quota; the quota becomes 700.00 usd."
    );
    let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM recharge_state").fetch_one(&world.pool).await?;
    assert_eq!(rows, 0);

    // The real thing comes to the same, and from then on it is in flight.
    let recharger = world.recharger_at(&asking.clock, rules())?;
    let charge = one(recharger.handle(&world.limit_exceeded("evt_1", "500", 1)).await)?;
    assert_eq!(charged(&charge)?.data.amount.minor, 20_000);
    let before = everything(&world.pool).await?;
    let decision = asking.ask(&event(520, 500)).await?.decision.context("a decision")?;
    assert_eq!((decision.would, decision.reason, decision.amount), (Would::Skip, Some(SkipReason::InFlight), None));
    let by_hand = SimulationRequestV1 { amount: Some(Decimal::from(25)), ..SimulationRequestV1::default() };
    let decision = asking.ask(&by_hand).await?.decision.context("a decision")?;
    assert_eq!((decision.would, decision.reason), (Would::Skip, Some(SkipReason::InFlight)));
    assert_eq!(everything(&world.pool).await?, before);
    let (credited, synced) = follow_ups(&charged(&charge)?, 1, 70_000)?;
    for fact in [credited, synced] {
        recharger.handle(&delivery(&fact, 1)).await?;
    }
    let stale = asking.ask(&event(520, 500)).await?.decision.context("a decision")?;
    assert_eq!(stale.reason, Some(SkipReason::AlreadyRecharged));

    // Now, as the sweep would: the ledger's quota, not that of the snapshot.
    let snapshot = "INSERT INTO usage_snapshots (c_organization_id, usage, quota, taken_at)";
    run(&world.pool, &format!("{snapshot} VALUES ('acme', 610.125, 500, '{NOW}')")).await?;
    let before = everything(&world.pool).await?;
    let now = asking.ask(&SimulationRequestV1::default()).await?.decision.context("a decision")?;
    assert_eq!(
        (now.would, now.usage.map(|usage| usage.to_string()), now.quota.to_string()),
        (Would::Charge, Some("610.125".into()), "700.00".into())
    );
    assert_eq!(asking.replay(1, PolicyChangesV1::default()).await?.recharges, 1);
    // With other policies that nobody has saved.
    for (policy, reason) in [
        (json!({"auto_recharge_enabled": false}), SkipReason::AutoRechargeDisabled),
        (json!({"minimum_balance": 89.87}), SkipReason::NotActionable),
        (json!({"max_daily_recharges": 1}), SkipReason::DailyLimitReached),
        (json!({"max_monthly_amount": "399.99"}), SkipReason::AmountLimitReached),
    ] {
        let request = serde_json::from_value(json!({ "policy": policy }))?;
        let decision = asking.ask(&request).await?.decision.context("a decision")?;
        assert_eq!((decision.would, decision.reason), (Would::Skip, Some(reason)), "{policy}");
    }
    // What a person asks for is bought whatever the policy thinks of it, if it can be charged at all.
    let asked = json!({"amount": "25.50", "policy": {"auto_recharge_enabled": false, "max_daily_recharges": 0}});
    let decision = asking.ask(&serde_json::from_value(asked)?).await?.decision.context("a decision")?;
    assert_eq!((decision.would, &decision.usage, decision.usage_at), (Would::Charge, &None, None));
    assert_eq!(
        decision.message,
        "Quota 700.00 usd: 25.50 usd would be charged for 25.50 usd of quota; the quota becomes 725.50 usd."
    );
    let small = asking.ask(&serde_json::from_value(json!({"amount": 0.1}))?).await?.decision.context("a decision")?;
    assert_eq!((small.would, small.reason, small.amount), (Would::Skip, Some(SkipReason::AmountTooSmall), None));
    for wrong in [json!({"amount": 1.001}), json!({"amount": 5, "days": 7})] {
        assert_eq!(asking.refusal("acme", &serde_json::from_value(wrong)?).await?, "invalid_request");
    }
    let wrong = serde_json::from_value(json!({"policy": {"target_balance": 1.001}}))?;
    assert_eq!(asking.refusal("acme", &wrong).await?, "invalid_request");
    for days in [0, 91] {
        let request = SimulationRequestV1 { days: Some(days), ..SimulationRequestV1::default() };
        assert_eq!(asking.refusal("acme", &request).await?, "invalid_request");
    }
    assert_eq!(everything(&world.pool).await?, before);
    assert_eq!(asking.refusal("nobody", &event(520, 500)).await?, "unknown_organization");
    world.policy("closed_at = now()").await?;
    assert_eq!(asking.refusal("acme", &event(520, 500)).await?, "unknown_organization");
    assert_eq!(world.succeeded().await?, 1);
    asking.end().await
}

/// A look each minute for more than a month: thinned where it is read, and replayed with a quota of its own. Three cents
/// are spent in each, 1296 in 30 days.
#[tokio::test(flavor = "multi_thread")]
async fn days_are_replayed_from_what_was_seen() -> anyhow::Result<()> {
    let asking = Asking::start().await?;
    let pool = &asking.world.pool;
    let nothing = asking.replay(7, PolicyChangesV1::default()).await?;
    assert_eq!((nothing.from, nothing.snapshots, nothing.recharges, nothing.starting_quota), (None, 0, 0, None));
    // 100 are left where 30 days begin. What is in force later, because of what was really recharged, is nothing to the replay.
    let history = format!(
        "INSERT INTO usage_snapshots (c_organization_id, usage, quota, taken_at)
            SELECT 'acme', n * 0.03, CASE WHEN n <= 10 * 1440 THEN n * 0.03 + 100 ELSE 5000 END,
                timestamptz '{NOW}' - interval '40 days' + n * interval '1 minute' FROM generate_series(1, 40 * 1440) n;
        INSERT INTO recharge_records (trigger_event_id, correlation_id, c_organization_id, currency, amount, total_charge, status, triggered_by, created_at)
            SELECT 'evt_' || n, 'evt_' || n, 'acme', 'usd', 100, 100, (ARRAY['settled', 'declined', 'refunded', 'settled'])[n],
                CASE WHEN n = 4 THEN 'manual' ELSE 'webhook' END, timestamptz '{NOW}' - n * interval '1 day' FROM generate_series(1, 4) n
            UNION ALL SELECT 'evt_0', 'evt_0', 'acme', 'usd', 150, 150, 'settled', 'webhook', timestamptz '{NOW}' - interval '30 days 6 hours'"
    );
    run(pool, &history).await?;
    let policy: PolicyChangesV1 = serde_json::from_value(
        json!({"minimum_balance": 0, "target_balance": 0, "minimum_recharge_amount": 100, "max_daily_recharges": 5}),
    )?;
    let replay = asking.replay(30, policy.clone()).await?;
    assert_eq!((replay.from, replay.snapshots), (Some(replay.asked_from), 30 * 1_440 + 1));
    assert_eq!(replay.resolution_seconds, 30 * 86_400 / 5_000);
    assert_eq!((replay.recharges, replay.simulated.len(), replay.truncated), (12, 12, false), "{}", replay.message);
    let said = serde_json::to_value(&replay)?;
    for (field, want) in [
        ("starting_usage", "432.00"),
        ("ending_usage", "1728.00"),
        ("starting_quota", "532.00"),
        ("ending_quota", "1732.00"),
        ("total_amount", "1200.00"),
        ("total_charge", "1200.00"),
        ("actual_recharges", "2"),
        ("actual_manual_recharges", "1"),
        ("actual_amount", "200.00"),
    ] {
        assert_eq!(said[field].to_string(), want, "{field}");
    }
    assert_eq!(said["simulated"][11]["quota_after"].to_string(), "1732.00");

    // What October had cost before counts: three of the four that it wants, then four in November.
    let capped = PolicyChangesV1 { max_monthly_amount: Some(Some(Decimal::from(450))), ..policy.clone() };
    let replay = asking.replay(30, capped).await?;
    let november: Timestamp = "2026-11-01T00:00:00Z".parse()?;
    assert_eq!((replay.recharges, replay.simulated.iter().filter(|one| one.at < november).count()), (7, 3));
    assert_eq!(replay.skips.iter().map(|skip| skip.reason).collect::<Vec<_>>(), [SkipReason::AmountLimitReached]);

    // Where nothing is known of the beginning, it begins later, and says so.
    let forgotten = "UPDATE usage_snapshots SET c_organization_id = 'other' WHERE taken_at <";
    run(pool, &format!("{forgotten} timestamptz '{NOW}' - interval '20 days'")).await?;
    let replay = asking.replay(30, policy).await?;
    assert_eq!(replay.from, Some(NOW.parse::<Timestamp>()? - chrono::Duration::days(20)));
    assert_eq!((replay.recharges, replay.snapshots), (0, 20 * 1_440 + 1));
    assert!(replay.message.contains("before which usage is unknown"), "{}", replay.message);
    asking.end().await
}
