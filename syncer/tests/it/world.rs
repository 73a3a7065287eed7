//! A database of its own for every test, and syncers on it.

use std::str::FromStr as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::clients::quota::QuotaBackend;
use common::clients::quota::kms::{Kms as KmsClient, KmsConfig};
use common::clients::quota::litellm::{Litellm as LitellmClient, LitellmConfig};
use common::clock::{ManualClock, Timestamp};
use common::config::Secret;
use common::contract::{
    EvaluateRequestedV1, Event, LedgerCreditedV1, LedgerHeldV1, LedgerReversedV1, Outgoing, Payload, PostingKind,
    QuotaAdoptedV1, QuotaFailedV1, QuotaSyncedV1, ReconcileRequestedV1, SyncRequestedV1,
};
use common::failure::Failure;
use common::ids::{EventId, IdSource as _, OrganizationId, RandomIds, RechargeId};
use common::money::{Currency, Money};
use common::periodic::Publish;
use common::shutdown::Shutdown;
use common::worker::{Delivery, Handler as _};
use prometheus::Registry;
use rust_decimal::Decimal;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool};
use syncer::{Policy, Setup, Sweep, Syncer, Tally};

/// The pool of one replica: as many connections as in production.
const CONNECTIONS: u32 = 10;
/// Calls to the backend give up after this.
const TIMEOUT: Duration = Duration::from_millis(500);
/// As in production.
pub(crate) const MAX_ATTEMPTS: u32 = 40;

/// When tests begin, and their events happen: as fine as the clock, and PostgreSQL, keep it.
fn start() -> Timestamp {
    Timestamp::from_timestamp(1_800_000_000, 123_456_000).unwrap()
}

pub(crate) struct World {
    pub(crate) pool: PgPool,
    backend: Backend,
    pub(crate) clock: ManualClock,
    options: PgConnectOptions,
    admin: PgConnectOptions,
    database: String,
}

/// Where quotas are enforced in this world.
enum Backend {
    Kms { url: String },
    Litellm { url: String, key: String },
}

impl Backend {
    fn client(&self, registry: &Registry) -> Arc<dyn QuotaBackend> {
        match self {
            Self::Kms { url } => {
                let usual = KmsConfig::new(url.parse().unwrap());
                let config = KmsConfig { connect_timeout: TIMEOUT, timeout: TIMEOUT, ..usual };
                Arc::new(KmsClient::new(&config, registry).unwrap())
            }
            Self::Litellm { url, key } => {
                let usual = LitellmConfig::new(url.parse().unwrap(), Secret::new(key));
                let config = LitellmConfig { connect_timeout: TIMEOUT, timeout: TIMEOUT, ..usual };
                Arc::new(LitellmClient::new(&config, registry).unwrap())
            }
        }
    }
}

/// One replica of the service.
pub(crate) struct Replica {
    pub(crate) syncer: Syncer,
    pub(crate) registry: Registry,
    pool: PgPool,
}

/// A broker of the sweep's: it remembers, or does not confirm.
#[derive(Clone, Default)]
pub(crate) struct Announced {
    events: Arc<Mutex<Vec<Outgoing>>>,
    deaf: Arc<AtomicBool>,
}

impl Publish for Announced {
    async fn publish(&self, event: &Outgoing) -> Result<(), Failure> {
        if self.deaf.load(Ordering::Relaxed) {
            return Err(Failure::retry(anyhow::anyhow!("not confirmed")));
        }
        self.events.lock().unwrap().push(event.clone());
        Ok(())
    }
}

impl Announced {
    /// What was published since the last time.
    pub(crate) fn take(&self) -> Vec<Outgoing> {
        std::mem::take(&mut *self.events.lock().unwrap())
    }

    /// Whether it confirms nothing.
    pub(crate) fn deaf(&self, deaf: bool) {
        self.deaf.store(deaf, Ordering::Relaxed);
    }
}

/// One replica's sweep.
pub(crate) struct Sweeper {
    pub(crate) replica: Replica,
    pub(crate) sweep: Sweep<Announced>,
    pub(crate) said: Announced,
}

impl Sweeper {
    /// Sweeps once; it must be its turn.
    pub(crate) async fn sweep(&self) -> Tally {
        self.try_sweep().await.expect("it is this replica's turn")
    }

    pub(crate) async fn try_sweep(&self) -> Option<Tally> {
        self.sweep.once(&Shutdown::new()).await.unwrap()
    }

    /// Sweeps once, which leads to this.
    pub(crate) async fn says<T: Payload>(&self) -> Event<T> {
        self.sweep().await;
        only(self.said.take())
    }

    /// Sweeps once, which leads to nothing.
    pub(crate) async fn is_silent(&self) -> Tally {
        let tally = self.sweep().await;
        assert_eq!(self.said.take(), []);
        tally
    }

    /// As when the process is killed: nothing is closed in order.
    pub(crate) async fn dies(self) {
        drop(self.sweep);
        self.replica.pool.close().await;
    }
}

impl World {
    /// With a KMS at `kms_url`.
    pub(crate) async fn start(kms_url: String) -> Self {
        Self::with(Backend::Kms { url: kms_url }).await
    }

    /// With a LiteLLM at `url`, and this key for it.
    pub(crate) async fn on_litellm(url: String, key: &str) -> Self {
        Self::with(Backend::Litellm { url, key: key.to_owned() }).await
    }

    async fn with(backend: Backend) -> Self {
        let url = std::env::var("BILL_TEST_DATABASE_URL")
            .expect("BILL_TEST_DATABASE_URL is not set: run through `cargo xtask test`, which starts a PostgreSQL");
        let admin = PgConnectOptions::from_str(&url).expect("BILL_TEST_DATABASE_URL is a PostgreSQL address");
        let database = format!("syncer_{}", RandomIds.fresh().simple());
        run(&admin, &format!("CREATE DATABASE {database}")).await;
        let options = admin.clone().database(&database);
        let pool = pool(&options);
        common::db::migrate_up(&pool).await.unwrap();
        let clock = ManualClock::new(start());
        Self { pool, backend, clock, options, admin, database }
    }

    /// From now on replicas have their quotas enforced by this LiteLLM.
    pub(crate) fn moves_to_litellm(&mut self, url: String, key: &str) {
        self.backend = Backend::Litellm { url, key: key.to_owned() };
    }

    /// From now on replicas ask this KMS.
    pub(crate) fn moves_to_kms(&mut self, url: String) {
        self.backend = Backend::Kms { url };
    }

    /// Ends the test: the database goes.
    pub(crate) async fn end(self) {
        self.pool.close().await;
        run(&self.admin, &format!("DROP DATABASE {} WITH (FORCE)", self.database)).await;
    }

    /// Another replica, with its own pool, HTTP client and breaker.
    pub(crate) fn replica(&self) -> Replica {
        self.replica_with(Policy::default())
    }

    pub(crate) fn replica_with(&self, policy: Policy) -> Replica {
        let registry = Registry::new();
        let pool = pool(&self.options);
        let syncer = Syncer::new(Setup {
            pool: pool.clone(),
            connections: CONNECTIONS,
            max_attempts: MAX_ATTEMPTS,
            backend: self.backend.client(&registry),
            clock: Arc::new(self.clock.clone()),
            policy,
            registry: registry.clone(),
        });
        Replica { syncer, registry, pool }
    }

    /// Another replica that sweeps.
    pub(crate) fn sweeper(&self) -> Sweeper {
        self.sweeper_with(Policy::default())
    }

    pub(crate) fn sweeper_with(&self, policy: Policy) -> Sweeper {
        let (replica, said) = (self.replica_with(policy), Announced::default());
        let sweep = replica.syncer.sweep(said.clone());
        Sweeper { replica, sweep, said }
    }

    /// Moves the clock.
    pub(crate) fn pass(&self, time: Duration) {
        self.clock.advance(chrono::Duration::from_std(time).unwrap());
    }

    pub(crate) async fn run(&self, sql: &str) {
        sqlx::query(AssertSqlSafe(sql.to_owned())).execute(&self.pool).await.unwrap();
    }

    /// The one number that a query comes to.
    pub(crate) async fn number(&self, sql: &str) -> i64 {
        let (number,) = sqlx::query_as(AssertSqlSafe(sql.to_owned())).fetch_one(&self.pool).await.unwrap();
        number
    }

    /// An organization as ingress would have made it.
    pub(crate) async fn organization(&self, id: &str, currency: &str, team: Option<&str>) {
        sqlx::query("INSERT INTO organization_balance_config (c_organization_id, currency, litellm_team_id) VALUES ($1, $2, $3)")
            .bind(id)
            .bind(currency)
            .bind(team)
            .execute(&self.pool)
            .await
            .unwrap();
    }

    pub(crate) async fn stored_team(&self, id: &str) -> Option<String> {
        let (team,): (Option<String>,) =
            sqlx::query_as("SELECT litellm_team_id FROM organization_balance_config WHERE c_organization_id = $1")
                .bind(id)
                .fetch_one(&self.pool)
                .await
                .unwrap();
        team
    }

    /// What is recorded: how the backend was met, the version that was pushed, and the number of pushes.
    pub(crate) async fn recorded(&self, id: &str) -> (Option<String>, Option<i64>, i64) {
        sqlx::query_as(
            "SELECT first_contact, pushed_version, (SELECT count(*) FROM quota_syncs s WHERE s.c_organization_id = t.c_organization_id)
             FROM quota_targets t WHERE c_organization_id = $1",
        )
        .bind(id)
        .fetch_one(&self.pool)
        .await
        .unwrap()
    }
}

impl Replica {
    pub(crate) async fn handle(&self, delivery: &Delivery) -> Result<Vec<Outgoing>, Failure> {
        self.syncer.handle(delivery).await
    }

    /// Handles something that leads to a push.
    pub(crate) async fn synced(&self, delivery: &Delivery) -> Event<QuotaSyncedV1> {
        only(self.handle(delivery).await.unwrap())
    }

    /// Handles something that leads to an adoption.
    pub(crate) async fn adopted(&self, delivery: &Delivery) -> Event<QuotaAdoptedV1> {
        only(self.handle(delivery).await.unwrap())
    }

    /// Handles something whose push is given up.
    pub(crate) async fn failed(&self, delivery: &Delivery) -> Event<QuotaFailedV1> {
        only(self.handle(delivery).await.unwrap())
    }

    /// The value of a gauge without labels, or with this one.
    pub(crate) fn gauge(&self, name: &str, label: Option<&str>) -> i64 {
        let families = self.registry.gather();
        let mut metrics = families.iter().filter(|family| family.name() == name).flat_map(|family| family.get_metric());
        let metric = metrics
            .find(|metric| label.is_none_or(|label| metric.get_label().iter().any(|one| one.value() == label)))
            .unwrap_or_else(|| panic!("there is no {name} {label:?}"));
        format!("{}", metric.get_gauge().get_value()).parse().unwrap()
    }

    /// Handles something that can't be done now; returns why.
    pub(crate) async fn retried(&self, delivery: &Delivery) -> String {
        match self.handle(delivery).await {
            Err(Failure::Retry { reason, .. }) => format!("{reason:#}"),
            other => panic!("expected to be tried again, got {other:?}"),
        }
    }

    /// The value of a counter, 0 when it was never counted.
    pub(crate) fn count(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        let families = self.registry.gather();
        let metrics = families.iter().filter(|family| family.name() == name).flat_map(|family| family.get_metric());
        let wanted = metrics.filter(|metric| {
            labels.iter().all(|(name, value)| {
                metric.get_label().iter().any(|label| label.name() == *name && label.value() == *value)
            })
        });
        wanted.map(|metric| format!("{}", metric.get_counter().get_value()).parse::<u64>().unwrap()).sum()
    }
}

pub(crate) fn only<T: Payload>(mut outgoing: Vec<Outgoing>) -> Event<T> {
    assert_eq!(outgoing.len(), 1, "{outgoing:?}");
    let outgoing = outgoing.remove(0);
    assert_eq!(common::contract::kind_of(&outgoing.subject), T::KIND);
    let event = Event::decode(&outgoing.body).unwrap();
    assert_eq!(outgoing.id, event.id);
    event
}

fn pool(options: &PgConnectOptions) -> PgPool {
    PgPoolOptions::new()
        .max_connections(CONNECTIONS)
        .acquire_timeout(Duration::from_secs(20))
        .connect_lazy_with(options.clone())
}

async fn run(admin: &PgConnectOptions, sql: &str) {
    let mut connection = PgConnection::connect_with(admin).await.expect("the test database is reachable");
    sqlx::query(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

pub(crate) fn decimal(text: &str) -> Decimal {
    Decimal::from_str_exact(text).unwrap()
}

pub(crate) fn usd(amount: &str) -> Money {
    Money::from_decimal(decimal(amount), Currency::USD).unwrap()
}

pub(crate) fn delivery<T: Payload>(event: Event<T>) -> Delivery {
    let outgoing = event.outgoing().unwrap();
    Delivery {
        stream: common::contract::streams::of(&outgoing.subject).unwrap().to_owned(),
        subject: outgoing.subject,
        body: outgoing.body,
        sequence: 1,
        attempt: 1,
        message_id: Some(outgoing.id.to_string()),
        traceparent: None,
    }
}

/// A ledger event of version `version`, in the chain `chain`.
pub(crate) fn credited(organization: &str, version: i64, quota: Money, posting: PostingKind, chain: &str) -> Delivery {
    let data = LedgerCreditedV1 {
        transaction_id: RandomIds.fresh(),
        posting,
        recharge_id: None,
        amount: quota,
        quota,
        ledger_version: version,
    };
    let organization = OrganizationId::parse(organization).unwrap();
    let cause = format!("{organization}-{version}");
    delivery(Event::following(&cause, &organization, start(), &EventId::parse(chain).unwrap(), data))
}

pub(crate) fn charged(organization: &str, version: i64, quota: Money) -> Delivery {
    credited(organization, version, quota, PostingKind::Charge, &format!("evt_{version}"))
}

pub(crate) fn reversed(organization: &str, version: i64, quota: Money) -> Delivery {
    let data = LedgerReversedV1 {
        transaction_id: RandomIds.fresh(),
        posting: PostingKind::Refund,
        recharge_id: None,
        amount: quota,
        quota,
        ledger_version: version,
    };
    let organization = OrganizationId::parse(organization).unwrap();
    let cause = format!("{organization}-{version}");
    let chain = EventId::parse(format!("evt_{version}")).unwrap();
    delivery(Event::following(&cause, &organization, start(), &chain, data))
}

/// A request to sync, with this id.
pub(crate) fn sync(organization: &str, id: &str) -> Delivery {
    let data = SyncRequestedV1 { requested_by: "operator".to_owned(), litellm_team_id: None };
    let id = EventId::parse(id).unwrap();
    delivery(Event::first(id, Some(OrganizationId::parse(organization).unwrap()), start(), data))
}

/// A request to look at a balance, with this id.
pub(crate) fn evaluate(organization: &str, id: &str) -> Delivery {
    let data = EvaluateRequestedV1 { reason: "policy_changed".to_owned(), requested_by: "operator".to_owned() };
    let id = EventId::parse(id).unwrap();
    delivery(Event::first(id, Some(OrganizationId::parse(organization).unwrap()), start(), data))
}

/// A request to compare the books in this run.
pub(crate) fn reconcile(run_id: &str) -> Delivery {
    let data = ReconcileRequestedV1 { run_id: run_id.to_owned(), since: start(), requested_by: "schedule".to_owned() };
    delivery(Event::first(EventId::parse(format!("req_{run_id}")).unwrap(), None, start(), data))
}

/// The credit of a recharge.
pub(crate) fn recharged(organization: &str, version: i64, quota: Money, recharge_id: RechargeId) -> Delivery {
    let mut event = charged(organization, version, quota).decode::<LedgerCreditedV1>().unwrap();
    event.data.recharge_id = Some(recharge_id);
    delivery(event)
}

/// A dispute's hold.
pub(crate) fn held(organization: &str, version: i64, quota: Money) -> Delivery {
    let data = LedgerHeldV1 {
        transaction_id: RandomIds.fresh(),
        recharge_id: None,
        amount: quota,
        quota,
        ledger_version: version,
    };
    let organization = OrganizationId::parse(organization).unwrap();
    let chain = EventId::parse(format!("evt_{version}")).unwrap();
    delivery(Event::following(&format!("{organization}-{version}"), &organization, start(), &chain, data))
}

/// The same message, delivered for the `attempt`th time.
pub(crate) fn attempt(delivery: &Delivery, attempt: u32) -> Delivery {
    Delivery { attempt, ..delivery.clone() }
}
