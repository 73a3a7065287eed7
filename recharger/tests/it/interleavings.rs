//! Two rechargers, and whatever triggers them in whatever order, on the real database: no cap is ever exceeded, and no
//! organization ever holds two recharges in flight. The database's own rows are the judge, at every moment.
#![expect(clippy::unwrap_used, reason = "constants of the tests; a wrong one shows at once")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use common::clock::{Clock, SystemClock};
use common::contract::{
    Event, LedgerCreditedV1, Outgoing, PostingKind, QuotaLowV1, QuotaSyncedV1, RechargeChargedV1, RechargeRequestedV1,
};
use common::ids::EventId;
use common::money::{Currency, Money};
use common::worker::{Delivery, Handler};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use recharger::{Recharger, Rules};
use rust_decimal::Decimal;

use crate::world::{Published, World, delivery, exceeded, organization, rules};

/// What happens next, and to which of the two replicas.
#[derive(Debug, Clone)]
enum Step {
    /// A webhook says that the quota at hand, plus so much, was exceeded.
    Webhook { replica: usize, above: u8 },
    /// The same webhook again, as a sender repeats it.
    Repeat { replica: usize, back: u8 },
    /// The sweep sees a low balance.
    Sweep { replica: usize },
    /// A person asks for so many dollars.
    Manual { replica: usize, dollars: u8 },
    /// Stripe's next answer is lost, before or after the effect.
    Lost { after: bool },
    /// The patrol comes round.
    Patrol { replica: usize },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..2_usize, 0..3_u8).prop_map(|(replica, above)| Step::Webhook { replica, above }),
        2 => (0..2_usize, 1..6_u8).prop_map(|(replica, back)| Step::Repeat { replica, back }),
        3 => (0..2_usize).prop_map(|replica| Step::Sweep { replica }),
        3 => (0..2_usize, 1..120_u8).prop_map(|(replica, dollars)| Step::Manual { replica, dollars }),
        1 => any::<bool>().prop_map(|after| Step::Lost { after }),
        1 => (0..2_usize).prop_map(|replica| Step::Patrol { replica }),
    ]
}

/// The caps of a case. The fleet's brake counts the same minute for all steps: a case is shorter than that.
#[derive(Debug, Clone)]
struct Caps {
    daily_recharges: i32,
    daily_amount: i64,
    monthly_amount: i64,
    brake: u32,
}

fn caps() -> impl Strategy<Value = Caps> {
    (1..6_i32, 1..8_i64, 1..8_i64, 1..10_u32).prop_map(|(daily_recharges, daily, monthly, brake)| Caps {
        daily_recharges,
        daily_amount: daily * 10_000,
        monthly_amount: monthly * 10_000,
        brake,
    })
}

/// The quota, as the ledger would have it, and what plays ledger and syncer.
struct Chain {
    world: World,
    replicas: [Recharger; 2],
    quota: AtomicI64,
    version: AtomicI64,
}

impl Chain {
    fn event<T: common::contract::Payload>(&self, id: &str, data: T) -> Delivery {
        let event = Event::first(EventId::parse(id).unwrap(), Some(organization()), SystemClock.now(), data);
        delivery(&event.outgoing().unwrap(), 1)
    }

    fn delivery_of(&self, number: usize, step: &Step) -> Option<(usize, Delivery)> {
        let quota = Decimal::new(self.quota.load(Ordering::SeqCst), 2);
        let id = format!("evt_{number}");
        Some(match step {
            Step::Webhook { replica, above } => {
                let limit = quota + Decimal::from(u32::from(*above) * 10);
                (*replica, self.event(&id, exceeded(&limit.to_string())))
            }
            Step::Sweep { replica } => {
                let data = QuotaLowV1 { usage: quota, quota, available: Decimal::ZERO, minimum_balance: Decimal::TEN };
                (*replica, self.event(&id, data))
            }
            Step::Manual { replica, dollars } => {
                let amount = Money::new(i64::from(*dollars) * 100, Currency::USD);
                (*replica, self.event(&id, RechargeRequestedV1 { amount, requested_by: "somebody".to_owned() }))
            }
            Step::Repeat { .. } | Step::Lost { .. } | Step::Patrol { .. } => return None,
        })
    }

    async fn handle(&self, replica: usize, delivery: &Delivery) {
        // What can't be done now is retried by the loop, or found by the patrol: both are steps of their own here.
        for event in self.replicas[replica].handle(delivery).await.unwrap_or_default() {
            self.follow(replica, event).await;
        }
    }

    /// Plays ledger and syncer: half of the chains settle through one replica, half through the other.
    async fn follow(&self, replica: usize, event: Outgoing) {
        let Ok(charged) = Event::<RechargeChargedV1>::decode(&event.body) else { return };
        let RechargeChargedV1 { recharge_id, amount, .. } = charged.data;
        let version = self.version.fetch_add(1, Ordering::SeqCst) + 1;
        let quota = self.quota.fetch_add(amount.minor, Ordering::SeqCst) + amount.minor;
        let credited = LedgerCreditedV1 {
            transaction_id: recharge_id.0,
            posting: PostingKind::Charge,
            recharge_id: Some(recharge_id),
            amount,
            quota: Money::new(quota, amount.currency),
            ledger_version: version,
        };
        let synced = QuotaSyncedV1 {
            backend: "kms".to_owned(),
            quota: Decimal::new(quota, 2),
            previous_quota: None,
            ledger_version: version,
            litellm_team_id: None,
            changed: true,
        };
        let credited = self.event(&format!("credited_{recharge_id}_{version}"), credited);
        let synced = self.event(&format!("synced_{version}"), synced);
        drop(self.replicas[replica].handle(&credited).await);
        drop(self.replicas[1 - replica].handle(&synced).await);
    }
}

/// What must hold at every moment, read from the rows.
async fn check(world: &World, caps: &Caps) -> anyhow::Result<()> {
    let sql = "SELECT
            count(*) FILTER (WHERE status IN ('pending', 'processing', 'action_required', 'charged', 'credited', 'refunding')) AS in_flight,
            count(*) FILTER (WHERE triggered_by <> 'manual' AND status NOT IN ('declined', 'failed')) AS automatic,
            (COALESCE(sum(amount) FILTER (WHERE triggered_by <> 'manual' AND status NOT IN ('declined', 'failed', 'refunded')), 0) * 100)::bigint AS amount,
            count(*) AS claims
        FROM recharge_records";
    let (in_flight, automatic, amount, claims): (i64, i64, i64, i64) =
        sqlx::query_as(sql).fetch_one(&world.pool).await?;
    anyhow::ensure!(in_flight <= 1, "{in_flight} in flight");
    anyhow::ensure!(automatic <= i64::from(caps.daily_recharges), "{automatic} automatic recharges");
    anyhow::ensure!(amount <= caps.daily_amount.min(caps.monthly_amount), "{amount} by automatic recharges");
    anyhow::ensure!(claims <= i64::from(caps.brake), "{claims} claims within a minute");
    Ok(())
}

async fn run(caps: Caps, steps: Vec<Step>, at_once: usize) -> anyhow::Result<()> {
    let world = World::new("pm_card_visa").await?;
    let set = format!(
        "max_daily_recharges = {}, max_daily_amount = {}, max_monthly_amount = {}, minimum_recharge_amount = 20, target_balance = 50,
         cooldown_seconds = 0",
        caps.daily_recharges,
        Decimal::new(caps.daily_amount, 2),
        Decimal::new(caps.monthly_amount, 2)
    );
    world.policy(&set).await?;
    let rules = Rules { max_recharges_per_minute: caps.brake, ..rules() };
    let clock = common::clock::ManualClock::new(SystemClock.now());
    let replicas = [world.recharger_at(&clock, rules.clone())?, world.recharger_at(&clock, rules)?];
    let chain = Arc::new(Chain { world, replicas, quota: AtomicI64::new(0), version: AtomicI64::new(0) });
    let done = Arc::new(AtomicBool::new(false));
    let watcher = tokio::spawn({
        let (chain, caps, done) = (chain.clone(), caps.clone(), done.clone());
        async move {
            while !done.load(Ordering::SeqCst) {
                check(&chain.world, &caps).await?;
            }
            check(&chain.world, &caps).await
        }
    });
    let mut sent: Vec<Delivery> = Vec::new();
    for (round, batch) in steps.chunks(at_once).enumerate() {
        let mut tasks = Vec::new();
        for (index, step) in batch.iter().enumerate() {
            match step {
                Step::Lost { after } => {
                    let fault = if *after { "drop_after" } else { "drop_before" };
                    chain.world.faults(&serde_json::json!([fault])).await?;
                }
                Step::Patrol { replica } => {
                    let (chain, replica) = (chain.clone(), *replica);
                    tasks.push(tokio::spawn(async move {
                        let published = Published::default();
                        drop(chain.replicas[replica].patrol(&published).await);
                        for event in published.take() {
                            chain.follow(replica, event).await;
                        }
                    }));
                }
                Step::Repeat { replica, back } => {
                    let earlier = sent.len().checked_sub(usize::from(*back)).and_then(|at| sent.get(at)).cloned();
                    let Some(earlier) = earlier else { continue };
                    let (chain, replica) = (chain.clone(), *replica);
                    tasks.push(tokio::spawn(async move { chain.handle(replica, &earlier).await }));
                }
                step => {
                    let Some((replica, delivery)) = chain.delivery_of(round * at_once + index, step) else { continue };
                    sent.push(delivery.clone());
                    let chain = chain.clone();
                    tasks.push(tokio::spawn(async move { chain.handle(replica, &delivery).await }));
                }
            }
        }
        for task in tasks {
            task.await?;
        }
        // What a lost answer left pending is due for the patrol; the brake's minute has not passed.
        clock.advance(chrono::Duration::milliseconds(900));
    }
    done.store(true, Ordering::SeqCst);
    watcher.await??;
    // Stripe's own books: no more payments than claims that were paid.
    let captured = chain.world.held().await?;
    let recorded: i64 = sqlx::query_scalar(
        "SELECT COALESCE(sum(total_charge) * 100, 0)::bigint FROM recharge_records WHERE status NOT IN ('declined', 'failed', 'refunded')",
    )
    .fetch_one(&chain.world.pool)
    .await?;
    anyhow::ensure!(captured <= recorded, "Stripe captured {captured}, the records say {recorded}");
    let chain = Arc::try_unwrap(chain).map_err(|_| anyhow::anyhow!("somebody still has the chain"))?;
    chain.world.remove().await
}

#[test]
fn no_interleaving_exceeds_a_cap_or_holds_two_recharges_in_flight() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
    let mut runner =
        TestRunner::new(Config { cases: 12, max_shrink_iters: 20, failure_persistence: None, ..Config::default() });
    let cases = (caps(), proptest::collection::vec(step(), 8..40), 2..9_usize);
    let outcome = runner.run(&cases, |(caps, steps, at_once)| {
        runtime.block_on(run(caps, steps, at_once)).map_err(|error| TestCaseError::fail(format!("{error:#}")))
    });
    outcome.unwrap();
}
