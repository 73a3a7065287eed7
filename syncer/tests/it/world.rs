//! A database of its own for every test, and syncers on it.

use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use common::clients::quota::kms::{Kms as KmsClient, KmsConfig};
use common::clock::{ManualClock, SharedClock, Timestamp};
use common::contract::{
    Event, LedgerCreditedV1, LedgerReversedV1, Outgoing, Payload, PostingKind, QuotaAdoptedV1, QuotaSyncedV1,
    SyncRequestedV1,
};
use common::failure::Failure;
use common::ids::{EventId, IdSource as _, OrganizationId, RandomIds};
use common::money::{Currency, Money};
use common::worker::{Delivery, Handler as _};
use prometheus::Registry;
use rust_decimal::Decimal;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool};
use syncer::Syncer;

/// The pool of one replica: as many connections as in production.
const CONNECTIONS: u32 = 10;
/// Calls to the KMS give up after this.
const TIMEOUT: Duration = Duration::from_millis(500);

pub(crate) struct World {
    pub(crate) pool: PgPool,
    kms_url: String,
    pub(crate) clock: ManualClock,
    options: PgConnectOptions,
    admin: PgConnectOptions,
    database: String,
}

/// One replica of the service.
pub(crate) struct Replica {
    pub(crate) syncer: Syncer,
    pub(crate) registry: Registry,
}

impl World {
    /// With a KMS at `kms_url`.
    pub(crate) async fn start(kms_url: String) -> Self {
        let url = std::env::var("BILL_TEST_DATABASE_URL")
            .expect("BILL_TEST_DATABASE_URL is not set: run through `cargo xtask test`, which starts a PostgreSQL");
        let admin = PgConnectOptions::from_str(&url).expect("BILL_TEST_DATABASE_URL is a PostgreSQL address");
        let database = format!("syncer_{}", RandomIds.fresh().simple());
        run(&admin, &format!("CREATE DATABASE {database}")).await;
        let options = admin.clone().database(&database);
        let pool = pool(&options);
        common::db::migrate_up(&pool).await.unwrap();
        let clock = ManualClock::new(Timestamp::from_timestamp(1_800_000_000, 123_456_789).unwrap());
        Self { pool, kms_url, clock, options, admin, database }
    }

    /// Ends the test: the database goes.
    pub(crate) async fn end(self) {
        self.pool.close().await;
        run(&self.admin, &format!("DROP DATABASE {} WITH (FORCE)", self.database)).await;
    }

    /// Another replica, with its own pool, HTTP client and breaker.
    pub(crate) fn replica(&self) -> Replica {
        let registry = Registry::new();
        let config =
            KmsConfig { connect_timeout: TIMEOUT, timeout: TIMEOUT, ..KmsConfig::new(self.kms_url.parse().unwrap()) };
        let backend = Arc::new(KmsClient::new(&config, &registry).unwrap());
        let clock: SharedClock = Arc::new(self.clock.clone());
        let syncer = Syncer::new(pool(&self.options), CONNECTIONS, backend, clock, &registry);
        Replica { syncer, registry }
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

fn only<T: Payload>(mut outgoing: Vec<Outgoing>) -> Event<T> {
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

fn delivery<T: Payload>(event: Event<T>) -> Delivery {
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
    delivery(Event::following(&cause, &organization, Timestamp::UNIX_EPOCH, &EventId::parse(chain).unwrap(), data))
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
    delivery(Event::following(&cause, &organization, Timestamp::UNIX_EPOCH, &chain, data))
}

/// A request to sync, with this id.
pub(crate) fn sync(organization: &str, id: &str) -> Delivery {
    let data = SyncRequestedV1 { requested_by: "operator".to_owned(), litellm_team_id: None };
    let id = EventId::parse(id).unwrap();
    delivery(Event::first(id, Some(OrganizationId::parse(organization).unwrap()), Timestamp::UNIX_EPOCH, data))
}
