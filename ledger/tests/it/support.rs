//! A database of its own for each test, and the events that tests send.

use std::future::Future;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use common::clock::{SystemClock, Timestamp};
use common::contract::{
    AdjustRequestedV1, DisputeStage, Event, Payload, QuotaAdoptedV1, RechargeChargedV1, RechargeDisputedV1,
    RechargeRefundFailedV1, RechargeRefundedV1, RefundCause, TriggerKind,
};
use common::ids::{EventId, OrganizationId, RechargeId};
use common::money::{Currency, Money};
use common::worker::Delivery;
use ledger::handlers::LedgerHandler;
use ledger::posting::Posting;
use prometheus::Registry;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection, PgPool};

/// The application's role.
pub(crate) const ROLE: &str = "bill_ledger";

static COUNTER: AtomicU32 = AtomicU32::new(0);

/// A database for one test.
pub(crate) struct TestDb {
    options: PgConnectOptions,
    /// Connected as the superuser.
    pub(crate) root: PgPool,
    /// Connected as the superuser, who then became the application's role. Empty until the migrations ran.
    pub(crate) app: PgPool,
}

impl TestDb {
    async fn create(options: PgConnectOptions, name: &str) -> Self {
        let mut server = options.connect().await.expect("connect to BILL_TEST_DATABASE_URL");
        execute(&mut server, &format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await.unwrap();
        execute(&mut server, &format!("CREATE DATABASE {name} TEMPLATE template0")).await.unwrap();
        server.close().await.unwrap();
        let options = options.database(name);
        let root = PgPoolOptions::new().max_connections(20).connect_lazy_with(options.clone());
        let app = PgPoolOptions::new()
            .max_connections(20)
            .after_connect(|connection, _| {
                Box::pin(async { sqlx::query("SET ROLE bill_ledger").execute(connection).await.map(drop) })
            })
            .connect_lazy_with(options.clone());
        Self { options, root, app }
    }

    /// A connection that belongs to no pool, as the superuser.
    pub(crate) async fn connect(&self) -> PgConnection {
        self.options.connect().await.unwrap()
    }
}

/// Runs a test on a database of its own with all migrations, and drops it, however the test ends.
pub(crate) async fn with_database<F>(test: impl FnOnce(Arc<TestDb>) -> F + Send + 'static)
where
    F: Future<Output = ()> + Send + 'static,
{
    with_empty_database(|db| async move {
        common::db::migrate_up(&db.root).await.unwrap();
        test(db).await;
    })
    .await;
}

/// As [`with_database`], without migrations.
pub(crate) async fn with_empty_database<F>(test: impl FnOnce(Arc<TestDb>) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let url = std::env::var("BILL_TEST_DATABASE_URL")
        .expect("BILL_TEST_DATABASE_URL is not set: these tests need a PostgreSQL; run through `cargo xtask test`");
    let options = PgConnectOptions::from_str(&url).expect("BILL_TEST_DATABASE_URL").disable_statement_logging();
    let name = format!("bill_ledger_{}_{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed));
    let db = Arc::new(TestDb::create(options.clone(), &name).await);
    let outcome = tokio::spawn(test(db.clone())).await;
    db.app.close().await;
    db.root.close().await;
    let mut server = options.connect().await.unwrap();
    execute(&mut server, &format!("DROP DATABASE {name} WITH (FORCE)")).await.unwrap();
    server.close().await.unwrap();
    if let Err(failed) = outcome {
        std::panic::resume_unwind(failed.into_panic());
    }
}

/// Runs SQL that a test wrote.
pub(crate) async fn execute(connection: &mut PgConnection, sql: &str) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await.map(drop)
}

/// Runs SQL that must be refused, on a connection that is then closed, and returns what the database said.
pub(crate) async fn refused(pool: &PgPool, sql: &str) -> String {
    let mut connection = pool.acquire().await.unwrap().detach();
    match execute(&mut connection, sql).await {
        Ok(()) => panic!("was not refused: {sql}"),
        Err(error) => error.to_string(),
    }
}

pub(crate) fn organization(name: &str) -> OrganizationId {
    OrganizationId::parse(name).unwrap()
}

pub(crate) fn event_id(text: &str) -> EventId {
    EventId::parse(text).unwrap()
}

pub(crate) fn usd(minor: i64) -> Money {
    Money::new(minor, Currency::USD)
}

pub(crate) fn event<T: Payload>(id: &str, organization_name: &str, data: T) -> Event<T> {
    Event::first(event_id(id), Some(organization(organization_name)), Timestamp::UNIX_EPOCH, data)
}

pub(crate) fn charged(id: &str, organization: &str, amount: Money, fee: Money) -> Event<RechargeChargedV1> {
    let trigger = event_id(id);
    event(
        id,
        organization,
        RechargeChargedV1 {
            recharge_id: RechargeId::for_trigger(&trigger),
            triggered_by: TriggerKind::Webhook,
            trigger_event_id: trigger,
            amount,
            fee,
            total_charge: Money::new(amount.minor + fee.minor, amount.currency),
            processor_fee: Some(Money::new(59, amount.currency)),
            payment_intent_id: format!("pi_{id}"),
            charge_id: None,
            charged_at: Timestamp::UNIX_EPOCH,
            credit_by: None,
        },
    )
}

/// A refund of the whole charge.
pub(crate) fn refunded(
    charge: &Event<RechargeChargedV1>,
    refund_id: &str,
    was_credited: bool,
) -> Event<RechargeRefundedV1> {
    let data = RechargeRefundedV1 {
        recharge_id: charge.data.recharge_id,
        refund_id: refund_id.to_owned(),
        amount: charge.data.amount,
        total_refunded: charge.data.total_charge,
        was_credited,
        reason: "the quota could not be set".to_owned(),
        cause: Some(RefundCause::SyncFailed),
        charge_fully_refunded: true,
        total_charge: Some(charge.data.total_charge),
        processor_fee: charge.data.processor_fee,
    };
    event(&format!("evt_{refund_id}"), of(charge), data)
}

/// The bank sent that refund back.
pub(crate) fn refund_failed(charge: &Event<RechargeChargedV1>, refund_id: &str) -> Event<RechargeRefundFailedV1> {
    let data = RechargeRefundFailedV1 {
        recharge_id: charge.data.recharge_id,
        total: charge.data.total_charge,
        reason: "account_closed".to_owned(),
        attempts: 1,
        refund_id: Some(refund_id.to_owned()),
        amount: Some(charge.data.amount),
        was_refunded: true,
    };
    event(&format!("evt_failed_{refund_id}"), of(charge), data)
}

/// A dispute of the whole charge.
pub(crate) fn disputed(
    charge: &Event<RechargeChargedV1>,
    dispute_id: &str,
    stage: DisputeStage,
) -> Event<RechargeDisputedV1> {
    let data = RechargeDisputedV1 {
        recharge_id: charge.data.recharge_id,
        dispute_id: dispute_id.to_owned(),
        stage,
        amount: charge.data.amount,
        total: charge.data.total_charge,
        reason: "fraudulent".to_owned(),
    };
    event(&format!("evt_{dispute_id}_{}", stage.as_str()), of(charge), data)
}

fn of(charge: &Event<RechargeChargedV1>) -> &str {
    charge.subject.as_ref().unwrap().as_str()
}

/// An event as it would be delivered.
pub(crate) fn delivery<T: Payload + Clone>(event: &Event<T>) -> Delivery {
    let out = event.clone().outgoing().unwrap();
    Delivery {
        subject: out.subject,
        body: out.body,
        stream: "STREAM".to_owned(),
        sequence: 1,
        attempt: 1,
        message_id: Some(out.id.to_string()),
        traceparent: None,
    }
}

/// A handler that posts as the application's role, with its metrics.
pub(crate) fn handler(db: &TestDb) -> (LedgerHandler, Registry) {
    let registry = Registry::new();
    (LedgerHandler::new(db.app.clone(), SystemClock::shared(), &registry), registry)
}

/// What every account of an organization holds, but for those that hold nothing.
pub(crate) async fn balances(pool: &PgPool, organization: &str) -> Vec<(String, i64)> {
    let sql = "SELECT kind, balance_minor FROM ledger_accounts WHERE c_organization_id = $1 AND balance_minor <> 0 ORDER BY kind";
    sqlx::query_as(sql).bind(organization).fetch_all(pool).await.unwrap()
}

pub(crate) fn adopted(id: &str, organization: &str, quota: Money) -> Event<QuotaAdoptedV1> {
    event(id, organization, QuotaAdoptedV1 { backend: "kms".to_owned(), quota, litellm_team_id: None })
}

pub(crate) fn adjust(id: &str, organization: &str, amount: Money) -> Event<AdjustRequestedV1> {
    event(
        id,
        organization,
        AdjustRequestedV1 {
            amount,
            basis_version: None,
            reason: "it's \"goodwill\"".to_owned(),
            requested_by: "ann".to_owned(),
        },
    )
}

/// A posting that changes the quota of an organization.
pub(crate) fn adjustment(id: &str, organization: &str, minor: i64) -> Posting {
    Posting::adjustment(&adjust(id, organization, usd(minor))).unwrap()
}

/// The quota and version that readers see.
pub(crate) async fn quota(pool: &PgPool, organization: &str) -> Option<(i64, i64)> {
    sqlx::query_as("SELECT quota_minor, ledger_version FROM ledger_quotas WHERE c_organization_id = $1")
        .bind(organization)
        .fetch_optional(pool)
        .await
        .unwrap()
}
