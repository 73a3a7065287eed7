//! A real broker and a real database for each test, and ingress in this process between them.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use common::broker::{Broker, Definitions};
use common::clock::SystemClock;
use common::config::Secret;
use common::contract::{Event, Payload};
use common::health::Health;
use common::ids::{EventId, OrganizationId, RandomIds};
use common::shutdown::Shutdown;
use futures_util::StreamExt;
use hmac::{Hmac, KeyInit, Mac};
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use sha2::Sha256;
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};
use tokio::task::JoinHandle;

pub(crate) const SECRET: &str = "test_secret";
pub(crate) const PAY_SECRET: &str = "a-secret-for-pay-links";
pub(crate) const STRIPE_SECRET: &str = "whsec_new_secret_0001";
pub(crate) const HOOK: &str = "/webhooks/litellm/limit-exceeded";

fn needed(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run through `cargo xtask test`"))
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A nats-server that ends with the test.
pub(crate) struct Nats {
    process: Option<Child>,
    store: PathBuf,
    pub(crate) port: u16,
}

impl Nats {
    fn start() -> Self {
        let port = free_port();
        let store = std::env::temp_dir().join(format!("ingress-it-{}-{port}", std::process::id()));
        let mut nats = Self { process: None, store, port };
        nats.up();
        nats
    }

    pub(crate) fn up(&mut self) {
        let command = Command::new(needed("BILL_NATS_SERVER"))
            .args(["-js", "-a", "127.0.0.1", "-p", &self.port.to_string(), "-sd"])
            .arg(&self.store)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        self.process = Some(command.unwrap());
    }

    /// Stops the process in its tracks: what is sent to it arrives when it goes on, and until then nothing is answered.
    pub(crate) fn freeze(&self) {
        self.signal("-STOP");
    }

    pub(crate) fn thaw(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let process = self.process.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args([signal, &process]).status().unwrap().success());
    }

    pub(crate) fn down(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        self.down();
        let _ = std::fs::remove_dir_all(&self.store);
    }
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Got {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The names of the fields that are complained about.
    pub(crate) fn fields(&self) -> Vec<String> {
        let fields = self.body["fields"].as_array().cloned().unwrap_or_default();
        fields.iter().map(|field| field["field"].as_str().unwrap().to_owned()).collect()
    }
}

/// Everything that a test needs.
pub(crate) struct World {
    pub(crate) nats: Nats,
    pub(crate) stripe: simulators::Running,
    _kms: simulators::Running,
    pub(crate) broker: Broker,
    pub(crate) pool: PgPool,
    pub(crate) address: SocketAddr,
    pub(crate) http: reqwest::Client,
    pub(crate) shutdown: Shutdown,
    running: Option<JoinHandle<anyhow::Result<()>>>,
    pub(crate) env: BTreeMap<String, String>,
    database: String,
}

impl World {
    pub(crate) async fn new(settings: &[(&str, &str)]) -> Self {
        let nats = Nats::start();
        let stripe = simulators::stripe::Stripe::start("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let kms = simulators::kms::Kms::start("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let (database, database_url) = new_database().await;
        let pool = PgPool::connect(&database_url).await.unwrap();
        common::db::migrate_up(&pool).await.unwrap();
        let nats_url = format!("nats://127.0.0.1:{}", nats.port);
        let health = Health::new("test", SystemClock::shared());
        let broker = Broker::connect(&Secret::new(nats_url.clone()), "test", health).await.unwrap();
        until("the broker", || async { broker.is_connected() }).await;
        Definitions::committed().unwrap().apply(broker.jetstream()).await.unwrap();

        let port = free_port();
        let mut env: BTreeMap<String, String> = [
            ("NATS_URL", nats_url.as_str()),
            ("DATABASE_URL", database_url.as_str()),
            ("PORT", &port.to_string()),
            ("LITELLM_WEBHOOK_SECRET", SECRET),
            ("LITELLM_ALERT_TOKEN", "alert-token-one,alert-token-two"),
            ("STRIPE_URL", &stripe.url()),
            ("STRIPE_SECRET_KEY", "sk_test_1"),
            ("KMS_URL", &kms.url()),
            ("API_AUTH", "off"),
            ("PAY_LINK_SECRET", PAY_SECRET),
            ("STRIPE_WEBHOOK_SECRET", "whsec_new_secret_0001,whsec_old_secret_0001"),
            ("RECONCILE_INTERVAL", "0"),
            ("WEBHOOK_WAIT_MS", "0"),
            ("API_WAIT_MS", "0"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        env.extend(settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let config = ingress::Config::read(&env).unwrap();
        let address = config.listen;
        let shutdown = Shutdown::new();
        let run = ingress::run(config, SystemClock::shared(), Arc::new(RandomIds), shutdown.clone());
        let running = Some(tokio::spawn(run));
        common::clients::install_tls();
        let http = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let world = Self { nats, stripe, _kms: kms, broker, pool, address, http, shutdown, running, env, database };
        until("ingress to be ready", || world.is_ready()).await;
        world
    }

    /// One more ingress beside the first, until the shutdown. Returns its address.
    pub(crate) async fn another(&self) -> String {
        let port = free_port();
        let mut env = self.env.clone();
        env.insert("PORT".to_owned(), port.to_string());
        let config = ingress::Config::read(&env).unwrap();
        tokio::spawn(ingress::run(config, SystemClock::shared(), Arc::new(RandomIds), self.shutdown.clone()));
        let url = format!("http://127.0.0.1:{port}");
        let ready = || async {
            let answer = self.http.get(format!("{url}/health/ready")).send().await;
            answer.is_ok_and(|answer| answer.status() == 200)
        };
        until("the other ingress", ready).await;
        url
    }

    /// Tells the simulated Stripe something.
    pub(crate) async fn sim(&self, path: &str, body: &Value) -> Value {
        let request = self.http.post(format!("{}/_sim/{path}", self.stripe.url())).json(body);
        let got = self.send(request).await;
        assert_eq!(got.status, 200, "{path}: {got:?}");
        got.body
    }

    async fn is_ready(&self) -> bool {
        let answer = self.http.get(self.url("/health/ready")).send().await;
        answer.is_ok_and(|answer| answer.status() == 200)
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) async fn send(&self, request: reqwest::RequestBuilder) -> Got {
        let answer = request.send().await.unwrap();
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let text = answer.text().await.unwrap();
        let body = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{status} {text:?}: {error}"));
        Got { status, headers, body }
    }

    pub(crate) async fn get(&self, path: &str) -> Got {
        self.send(self.http.get(self.url(path))).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Got {
        self.send(self.http.post(self.url(path)).header("content-type", "application/json").body(body.to_string()))
            .await
    }

    pub(crate) async fn patch(&self, path: &str, body: &Value) -> Got {
        self.send(self.http.patch(self.url(path)).header("content-type", "application/json").body(body.to_string()))
            .await
    }

    /// A webhook with its signature, as `openssl dgst` makes it.
    pub(crate) fn hook(&self, body: &str) -> reqwest::RequestBuilder {
        let request = self.http.post(self.url(HOOK)).header("content-type", "application/json");
        request.header("x-webhook-signature", signature(SECRET, body.as_bytes())).body(body.to_owned())
    }

    /// An organization with a team of the same name, known to ingress.
    pub(crate) async fn organization(&self, id: &str, more: Value) {
        let mut body = json!({ "c_organization_id": id, "litellm_team_id": id });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let got = self.post("/api/organizations", &body).await;
        assert_eq!(got.status, 201, "{got:?}");
    }

    /// How many messages a stream has on these subjects.
    pub(crate) async fn count(&self, stream: &str, subjects: &str) -> usize {
        let stream = self.broker.jetstream().get_stream(stream).await.unwrap();
        let mut counts = stream.info_with_subjects(subjects).await.unwrap();
        let mut total = 0;
        while let Some(count) = counts.next().await {
            total += count.unwrap().1;
        }
        total
    }

    /// The newest message on a subject.
    pub(crate) async fn newest<T: Payload>(&self, subject: &str) -> Event<T> {
        let name = common::contract::streams::of(subject).unwrap();
        let stream = self.broker.jetstream().get_stream(name).await.unwrap();
        let message = stream.get_last_raw_message_by_subject(subject).await.unwrap();
        Event::decode(&message.payload).unwrap()
    }

    /// Publishes what another service would, a little later.
    pub(crate) fn soon<T: Payload>(&self, correlation: &EventId, organization: &str, data: T) -> JoinHandle<()> {
        let (broker, correlation) = (self.broker.clone(), correlation.clone());
        let organization = OrganizationId::parse(organization).unwrap();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(300)).await;
            #[expect(clippy::disallowed_methods, reason = "a test's event needs a time, and no test looks at it")]
            let event = Event::following(&correlation, &organization, chrono::Utc::now(), &correlation, data);
            broker.publish(&event.outgoing().unwrap()).await.unwrap();
        })
    }

    /// Takes the database away: nobody gets in, and who is in is thrown out.
    pub(crate) async fn database_down(&self) {
        let mut admin = PgConnection::connect(&needed("BILL_TEST_DATABASE_URL")).await.unwrap();
        let close = format!("ALTER DATABASE {} WITH ALLOW_CONNECTIONS false", self.database);
        sqlx::query(AssertSqlSafe(close)).execute(&mut admin).await.unwrap();
        let throw_out = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1";
        sqlx::query(throw_out).bind(&self.database).execute(&mut admin).await.unwrap();
    }

    /// Stops ingress, and says how that went.
    pub(crate) async fn stop(&mut self) {
        self.shutdown.give();
        let running = self.running.take().unwrap();
        tokio::time::timeout(Duration::from_secs(15), running).await.expect("ingress did not stop").unwrap().unwrap();
    }
}

pub(crate) fn signature(secret: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(body);
    format!("sha256={}", hex::encode(mac.finalize().into_bytes()))
}

/// A limit-exceeded body for a team.
pub(crate) fn exceeded(team: &str) -> Value {
    json!({"event_type": "limit_exceeded", "team_id": team, "current_usage": 520, "current_limit": 500, "exceeded_by": 20,
           "timestamp": "2025-07-17T10:00:00Z"})
}

async fn new_database() -> (String, String) {
    let admin_url = needed("BILL_TEST_DATABASE_URL");
    let mut admin = PgConnection::connect(&admin_url).await.unwrap();
    // Counted: a free port may come twice.
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let name = format!("ingress_it_{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
    // A process id may come again, and the database of who had it before may have been left.
    for sql in [format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"), format!("CREATE DATABASE {name}")] {
        sqlx::query(AssertSqlSafe(sql)).execute(&mut admin).await.unwrap();
    }
    let (server, _) = admin_url.rsplit_once('/').unwrap();
    let url = format!("{server}/{name}");
    (name, url)
}

/// Waits for something to come true.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, is_true: impl Fn() -> F) {
    for _ in 0..400 {
        if is_true().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("waited in vain for {what}");
}
