//! One organization with a card, on a database of its own and a Stripe of its own.
#![expect(clippy::unwrap_used, reason = "constants of the tests; a wrong one shows at once")]

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::Context;
use common::clients::stripe::{Stripe, StripeConfig};
use common::clock::{Clock, ManualClock, SharedClock, SystemClock, Timestamp};
use common::config::Secret;
use common::contract::{
    Event, LedgerCreditedV1, LimitExceededV1, LimitSource, Outgoing, PostingKind, QuotaSyncedV1, RechargeChargedV1,
};
use common::db;
use common::failure::Failure;
use common::ids::RechargeId;
use common::ids::{EventId, OrganizationId};
use common::money::{FeePolicy, Money};
use common::pay_link::PayLinks;
use common::periodic::Publish;
use common::worker::Delivery;
use recharger::deadlines::Deadlines;
use recharger::{OnSyncFailure, Recharger, Rules};
use rust_decimal::Decimal;
use serde_json::{Value, json};
use simulators::Running;
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};

pub(crate) struct World {
    pub(crate) pool: PgPool,
    stripe: Running,
    http: reqwest::Client,
    /// What a recharger with a clock of its own counts.
    pub(crate) registry: prometheus::Registry,
    admin_url: String,
    database: String,
}

pub(crate) fn organization() -> OrganizationId {
    OrganizationId::parse("acme").unwrap()
}

/// When whatever is sent was received: the same for each repeat.
pub(crate) fn at() -> Timestamp {
    static AT: std::sync::LazyLock<Timestamp> = std::sync::LazyLock::new(|| SystemClock.now());
    *AT
}

/// The usual rules.
pub(crate) fn rules() -> Rules {
    Rules {
        fees: FeePolicy::default(),
        deadlines: Deadlines::default(),
        on_sync_failure: OnSyncFailure::Refund,
        max_recharges_per_minute: 1_000,
        lease: Duration::from_secs(60),
        links: PayLinks::new(Secret::new("a secret for links in tests"), "http://bill.test"),
    }
}

/// Keeps what is published.
#[derive(Default)]
pub(crate) struct Published(std::sync::Mutex<Vec<Outgoing>>);

impl Publish for Published {
    async fn publish(&self, event: &Outgoing) -> Result<(), Failure> {
        self.0.lock().unwrap().push(event.clone());
        Ok(())
    }
}

impl Published {
    /// What was published since the last time.
    pub(crate) fn take(&self) -> Vec<Outgoing> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

/// What the ledger says of a charge that it booked.
pub(crate) fn booked(charged: &RechargeChargedV1, version: i64, quota: i64) -> LedgerCreditedV1 {
    LedgerCreditedV1 {
        transaction_id: charged.recharge_id.0,
        posting: PostingKind::Charge,
        recharge_id: Some(charged.recharge_id),
        amount: charged.amount,
        quota: Money::new(quota, charged.amount.currency),
        ledger_version: version,
    }
}

/// What the syncer says of a quota in cents that is in force.
pub(crate) fn in_force(version: i64, quota: i64) -> QuotaSyncedV1 {
    QuotaSyncedV1 {
        backend: "kms".to_owned(),
        quota: Decimal::new(quota, 2),
        previous_quota: None,
        ledger_version: version,
        litellm_team_id: None,
        changed: true,
    }
}

pub(crate) fn exceeded(limit: &str) -> LimitExceededV1 {
    let limit = Decimal::from_str_exact(limit).unwrap();
    LimitExceededV1 {
        source: LimitSource::LimitExceeded,
        event_type: "limit_exceeded".to_owned(),
        team_id: "team_acme".parse().unwrap(),
        organization_id: None,
        current_usage: limit,
        current_limit: limit,
        exceeded_by: None,
        occurred_at: None,
        raw: json!({}),
    }
}

/// A published event as the loop would deliver it.
pub(crate) fn delivery(event: &Outgoing, attempt: u32) -> Delivery {
    Delivery {
        subject: event.subject.clone(),
        body: event.body.clone(),
        stream: common::contract::streams::of(&event.subject).unwrap_or_default().to_owned(),
        sequence: 1,
        attempt,
        message_id: Some(event.id.to_string()),
        traceparent: event.traceparent.clone(),
    }
}

impl World {
    pub(crate) async fn new(card: &str) -> anyhow::Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let admin_url = std::env::var("BILL_TEST_DATABASE_URL")
            .context("BILL_TEST_DATABASE_URL is not set: run this through `cargo xtask test`")?;
        let database = format!("recharger_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let mut admin = PgConnection::connect(&admin_url).await?;
        sqlx::raw_sql(AssertSqlSafe(format!("CREATE DATABASE {database}"))).execute(&mut admin).await?;
        admin.close().await?;
        let (server, _) = admin_url.rsplit_once('/').context("no database in the URL")?;
        let pool = db::pool(&Secret::new(format!("{server}/{database}")), "test", 12)?;
        db::migrate_up(&pool).await?;
        let stripe = simulators::stripe::Stripe::start(([127, 0, 0, 1], 0).into()).await?;
        common::clients::install_tls();
        let world = Self {
            pool,
            stripe,
            http: reqwest::Client::new(),
            registry: prometheus::Registry::new(),
            admin_url,
            database,
        };
        world.add(&organization(), card).await?;
        Ok(world)
    }

    /// An organization with a card.
    pub(crate) async fn add(&self, organization: &OrganizationId, card: &str) -> anyhow::Result<()> {
        let stripe = self.client("sk_test_1")?;
        let customer = stripe.create_customer(organization, &format!("customer of {organization}")).await?;
        let card = stripe.attach_payment_method(card, &customer, &format!("card of {organization}")).await?;
        let sql = "INSERT INTO organization_balance_config (c_organization_id, litellm_team_id, stripe_customer_id,
                default_payment_method_id, minimum_recharge_amount, target_balance) VALUES ($1, 'team_' || $1, $2, $3, 200, 500)";
        sqlx::query(sql).bind(organization.as_str()).bind(customer).bind(card.id).execute(&self.pool).await?;
        Ok(())
    }

    /// Saves another card, as ingress does.
    pub(crate) async fn save_another_card(&self, card: &str) -> anyhow::Result<()> {
        let stripe = self.client("sk_test_1")?;
        let customer: String = sqlx::query_scalar("SELECT stripe_customer_id FROM organization_balance_config")
            .fetch_one(&self.pool)
            .await?;
        let card = stripe.attach_payment_method(card, &customer, &format!("attach {card}")).await?;
        let sql = "UPDATE organization_balance_config SET default_payment_method_id = $1";
        sqlx::query(sql).bind(card.id).execute(&self.pool).await?;
        Ok(())
    }

    /// Calls Stripe as somebody else would.
    pub(crate) async fn call(&self, path: &str, form: &str) -> anyhow::Result<()> {
        let url = format!("{}/v1/{path}", self.stripe.url());
        let request = self.http.post(url).bearer_auth("sk_test_1");
        let request = request.header("content-type", "application/x-www-form-urlencoded").body(form.to_owned());
        request.send().await?.error_for_status()?;
        Ok(())
    }

    fn client(&self, key: &str) -> anyhow::Result<Stripe> {
        let config =
            StripeConfig { url: self.stripe.url(), secret_key: Secret::new(key), timeout: Duration::from_millis(500) };
        Stripe::new(config, &prometheus::Registry::new())
    }

    pub(crate) fn recharger(&self) -> anyhow::Result<Recharger> {
        self.recharger_with_key("sk_test_1")
    }

    pub(crate) fn recharger_with_key(&self, key: &str) -> anyhow::Result<Recharger> {
        let registry = prometheus::Registry::new();
        Ok(Recharger::new(self.pool.clone(), self.client(key)?, SystemClock::shared(), rules(), &registry))
    }

    /// A recharger whose clock stands still until it is moved.
    pub(crate) fn recharger_at(&self, clock: &ManualClock, rules: Rules) -> anyhow::Result<Recharger> {
        let clock: SharedClock = std::sync::Arc::new(clock.clone());
        Ok(Recharger::new(self.pool.clone(), self.client("sk_test_1")?, clock, rules, &self.registry))
    }

    /// The simulator's knobs.
    pub(crate) async fn sim(&self, what: &str, body: &Value) -> anyhow::Result<Value> {
        let url = format!("{}/_sim/{what}", self.stripe.url());
        let answer = self.http.post(url).json(body).send().await?.error_for_status()?.text().await?;
        Ok(serde_json::from_str(&answer).unwrap_or(Value::Null))
    }

    /// Stripe's own books.
    pub(crate) async fn books(&self) -> anyhow::Result<Value> {
        let books = self.http.get(format!("{}/_sim/books", self.stripe.url())).send().await?.text().await?;
        Ok(serde_json::from_str(&books)?)
    }

    /// What was captured and not given back, in cents.
    pub(crate) async fn held(&self) -> anyhow::Result<i64> {
        let books = self.books().await?;
        let sum = |name: &str| books[name]["usd"].as_i64().unwrap_or(0);
        Ok(sum("captured") - sum("refunded"))
    }

    /// A recharge's state.
    pub(crate) async fn state(&self, id: RechargeId) -> anyhow::Result<String> {
        let sql = "SELECT status FROM recharge_records WHERE recharge_id = $1";
        Ok(sqlx::query_scalar(sql).bind(id.0).fetch_one(&self.pool).await?)
    }

    pub(crate) fn limit_exceeded(&self, id: &str, limit: &str, attempt: u32) -> Delivery {
        let event = Event::first(EventId::parse(id).unwrap(), Some(organization()), at(), exceeded(limit));
        delivery(&event.outgoing().unwrap(), attempt)
    }

    pub(crate) async fn policy(&self, set: &str) -> anyhow::Result<()> {
        let sql = format!("UPDATE organization_balance_config SET {set}");
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&self.pool).await?;
        Ok(())
    }

    pub(crate) async fn faults(&self, faults: &Value) -> anyhow::Result<()> {
        let url = format!("{}/_sim/faults", self.stripe.url());
        self.http.post(url).json(faults).send().await?.error_for_status()?;
        Ok(())
    }

    /// How many payment intents have money, by Stripe's own books.
    pub(crate) async fn succeeded(&self) -> anyhow::Result<i64> {
        Ok(self.books().await?["payment_intents"]["succeeded"].as_i64().unwrap_or(0))
    }

    pub(crate) async fn remove(self) -> anyhow::Result<()> {
        self.pool.close().await;
        let mut admin = PgConnection::connect(&self.admin_url).await?;
        let sql = format!("DROP DATABASE {} WITH (FORCE)", self.database);
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut admin).await?;
        Ok(())
    }
}
