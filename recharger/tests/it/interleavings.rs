//! Two rechargers, and whatever triggers them in whatever order, on the real database: no cap is ever exceeded, and no
//! organization ever holds two recharges in flight. The database's own rows are the judge, at every moment.
#![expect(clippy::unwrap_used, reason = "constants of the tests; a wrong one shows at once")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use common::clock::{Clock, SystemClock};
use common::contract::{Event, Outgoing, QuotaLowV1, RechargeChargedV1, RechargeRequestedV1};
use common::ids::{EventId, OrganizationId};
use common::money::{Currency, Money};
use common::shutdown::Shutdown;
use common::worker::{Delivery, Handler};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use recharger::{Recharger, Rules};
use rust_decimal::Decimal;

use crate::world::{Published, World, booked, delivery, exceeded, in_force, rules};

/// The organizations; each has caps of its own, and the brake is over all of them.
const ORGANIZATIONS: [&str; 3] = ["acme", "beta", "gamma"];

/// What happens next, to which organization, and at which of the two replicas.
#[derive(Debug, Clone)]
enum Step {
    /// A webhook says that the quota at hand, plus so much, was exceeded.
    Webhook { org: usize, replica: usize, above: u8 },
    /// An earlier trigger again, as a sender repeats it.
    Repeat { replica: usize, back: u8 },
    /// The sweep sees a low balance.
    Sweep { org: usize, replica: usize },
    /// A person asks for so many dollars.
    Manual { org: usize, replica: usize, dollars: u8 },
    /// Stripe's next answer is lost, before or after the effect.
    Lost { after: bool },
    /// The patrol comes round.
    Patrol { replica: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let org = 0..ORGANIZATIONS.len();
    prop_oneof![
        4 => (org.clone(), 0..2_usize, 0..3_u8).prop_map(|(org, replica, above)| Step::Webhook { org, replica, above }),
        2 => (0..2_usize, 1..6_u8).prop_map(|(replica, back)| Step::Repeat { replica, back }),
        3 => (org.clone(), 0..2_usize).prop_map(|(org, replica)| Step::Sweep { org, replica }),
        3 => (org, 0..2_usize, 1..120_u8).prop_map(|(org, replica, dollars)| Step::Manual { org, replica, dollars }),
        1 => any::<bool>().prop_map(|after| Step::Lost { after }),
        1 => (0..2_usize).prop_map(|replica| Step::Patrol { replica }),
    ]
}

/// The caps of a case.
#[derive(Debug, Clone)]
struct Caps {
    daily_recharges: i32,
    daily_amount: i64,
    monthly_amount: i64,
    brake: u32,
}

fn caps() -> impl Strategy<Value = Caps> {
    (1..6_i32, 1..8_i64, 1..8_i64, 1..12_u32).prop_map(|(daily_recharges, daily, monthly, brake)| Caps {
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
    quotas: [AtomicI64; 3],
    version: AtomicI64,
}

fn named(org: usize) -> OrganizationId {
    OrganizationId::parse(ORGANIZATIONS[org]).unwrap()
}

impl Chain {
    fn event<T: common::contract::Payload>(&self, org: usize, id: &str, data: T) -> Delivery {
        let event = Event::first(EventId::parse(id).unwrap(), Some(named(org)), SystemClock.now(), data);
        delivery(&event.outgoing().unwrap(), 1)
    }

    fn delivery_of(&self, number: usize, step: &Step) -> Option<(usize, Delivery)> {
        let quota = |org: usize| Decimal::new(self.quotas[org].load(Ordering::SeqCst), 2);
        let id = format!("evt_{number}");
        Some(match step {
            Step::Webhook { org, replica, above } => {
                let limit = quota(*org) + Decimal::from(u32::from(*above) * 10);
                (*replica, self.event(*org, &id, exceeded(&limit.to_string())))
            }
            Step::Sweep { org, replica } => {
                let (quota, available) = (quota(*org), Decimal::ZERO);
                let data = QuotaLowV1 { usage: quota, quota, available, minimum_balance: Decimal::TEN };
                (*replica, self.event(*org, &id, data))
            }
            Step::Manual { org, replica, dollars } => {
                let amount = Money::new(i64::from(*dollars) * 100, Currency::USD);
                (*replica, self.event(*org, &id, RechargeRequestedV1 { amount, requested_by: "somebody".to_owned() }))
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
        let (recharge_id, amount) = (charged.data.recharge_id, charged.data.amount);
        let org = charged.subject.as_ref().and_then(|id| ORGANIZATIONS.iter().position(|name| *name == id.as_str()));
        let org = org.unwrap();
        let version = self.version.fetch_add(1, Ordering::SeqCst) + 1;
        let quota = self.quotas[org].fetch_add(amount.minor, Ordering::SeqCst) + amount.minor;
        let (credited, synced) = (booked(&charged.data, version, quota), in_force(version, quota));
        let credited = self.event(org, &format!("credited_{recharge_id}_{version}"), credited);
        let synced = self.event(org, &format!("synced_{version}"), synced);
        drop(self.replicas[replica].handle(&credited).await);
        drop(self.replicas[1 - replica].handle(&synced).await);
    }
}

/// What must hold at every moment, read from the rows.
async fn check(world: &World, caps: &Caps) -> anyhow::Result<()> {
    let sql = "SELECT c_organization_id,
            count(*) FILTER (WHERE status IN ('pending', 'processing', 'action_required', 'charged', 'credited', 'refunding')) AS in_flight,
            count(*) FILTER (WHERE triggered_by <> 'manual' AND status NOT IN ('declined', 'failed')) AS automatic,
            (COALESCE(sum(amount) FILTER (WHERE triggered_by <> 'manual' AND status NOT IN ('declined', 'failed', 'refunded')), 0) * 100)::bigint AS amount
        FROM recharge_records GROUP BY 1";
    let rows: Vec<(String, i64, i64, i64)> = sqlx::query_as(sql).fetch_all(&world.pool).await?;
    for (organization, in_flight, automatic, amount) in &rows {
        anyhow::ensure!(*in_flight <= 1, "{organization}: {in_flight} in flight");
        anyhow::ensure!(
            *automatic <= i64::from(caps.daily_recharges),
            "{organization}: {automatic} automatic recharges"
        );
        let most = caps.daily_amount.min(caps.monthly_amount);
        anyhow::ensure!(*amount <= most, "{organization}: {amount} by automatic recharges, at most {most}");
    }
    let sql = "SELECT COALESCE(max(n), 0) FROM (SELECT (SELECT count(*) FROM recharge_records b
            WHERE b.created_at > a.created_at - interval '1 minute' AND b.created_at <= a.created_at) AS n FROM recharge_records a) w";
    let claims: i64 = sqlx::query_scalar(sql).fetch_one(&world.pool).await?;
    anyhow::ensure!(claims <= i64::from(caps.brake), "{claims} claims within a minute, at most {}", caps.brake);
    Ok(())
}

async fn run(caps: Caps, steps: Vec<Step>, at_once: usize) -> anyhow::Result<()> {
    let world = World::new("pm_card_visa").await?;
    for org in 1..ORGANIZATIONS.len() {
        world.add(&named(org), "pm_card_visa").await?;
    }
    let set = format!(
        "max_daily_recharges = {}, max_daily_amount = {}, max_monthly_amount = {}, minimum_recharge_amount = 20, target_balance = 50,
         cooldown_seconds = 0",
        caps.daily_recharges,
        Decimal::new(caps.daily_amount, 2),
        Decimal::new(caps.monthly_amount, 2)
    );
    world.policy(&set).await?;
    let rules = Rules { max_recharges_per_minute: caps.brake, ..rules() };
    let noon = SystemClock.now().date_naive().and_hms_opt(12, 0, 0).unwrap().and_utc();
    let clock = common::clock::ManualClock::new(noon);
    let replicas = [world.recharger_at(&clock, rules.clone())?, world.recharger_at(&clock, rules)?];
    let chain = Arc::new(Chain { world, replicas, quotas: [0, 0, 0].map(AtomicI64::new), version: AtomicI64::new(0) });
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
                        drop(chain.replicas[replica].patrol(&published, &Shutdown::new()).await);
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
        // So that the patrol finds what a lost answer left pending, and the brake's minute passes now and then.
        clock.advance(chrono::Duration::seconds(11));
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

/// The last place under the brake is taken by one of many who come at the same moment.
#[tokio::test(flavor = "multi_thread")]
async fn the_brake_holds_however_many_organizations_come_at_once() -> anyhow::Result<()> {
    let world = World::new("pm_card_visa").await?;
    let organizations: Vec<_> = (0..24).map(|n| OrganizationId::parse(format!("org{n}")).unwrap()).collect();
    for organization in &organizations {
        world.add(organization, "pm_card_visa").await?;
    }
    let clock = common::clock::ManualClock::new(SystemClock.now());
    let rules = Rules { max_recharges_per_minute: 5, ..rules() };
    let replicas = [world.recharger_at(&clock, rules.clone())?, world.recharger_at(&clock, rules)?];
    let triggers: Vec<Delivery> = organizations
        .iter()
        .map(|organization| {
            let id = EventId::parse(format!("evt_{organization}")).unwrap();
            let event = Event::first(id, Some(organization.clone()), SystemClock.now(), exceeded("500"));
            delivery(&event.outgoing().unwrap(), 1)
        })
        .collect();
    let handled = triggers.iter().enumerate().map(|(n, trigger)| replicas[n % 2].handle(trigger));
    for outcome in futures_util::future::join_all(handled).await {
        outcome?;
    }
    assert_eq!(world.succeeded().await?, 5);
    // A minute later the next may.
    clock.advance(chrono::Duration::seconds(61));
    let event =
        Event::first(EventId::parse("evt_later")?, Some(organizations[23].clone()), SystemClock.now(), exceeded("900"));
    replicas[0].handle(&delivery(&event.outgoing()?, 1)).await?;
    assert_eq!(world.succeeded().await?, 6);
    world.remove().await
}
