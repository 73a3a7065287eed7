//! Broker, database, simulators and services, started together and stopped together.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::Context;
use common::broker::{Broker, BrokerAddress, Definitions};
use common::clock::SystemClock;
use common::config::Secret;
use common::health::Health;
use serde_json::json;
use simulators::Running;
use simulators::kms::Kms;
use simulators::stripe::Stripe;
use sqlx::PgPool;
use xtask::identity::Identity;
use xtask::nats::{self, NatsServer};
use xtask::tools::Tools;

use crate::client::Client;
use crate::database::Database;
use crate::service::{self, Service};
use crate::wait;

/// The secret that webhooks are signed with, as in the original plan's commands.
pub const WEBHOOK_SECRET: &str = "test_secret";
/// The path token of LiteLLM's own alerts.
pub const ALERT_TOKEN: &str = "test_alert_token_0123456789abcdef";
/// The secret that Stripe's webhooks are signed with.
pub const STRIPE_WEBHOOK_SECRET: &str = "whsec_test_0123456789";
/// The secret of the links on which customers confirm.
pub const PAY_LINK_SECRET: &str = "pay_link_secret_of_tests";
/// Stripe's secret key at the simulator.
pub const STRIPE_KEY: &str = "sk_test_bill_service";
/// The services, in the order of the chain.
pub const SERVICES: [&str; 4] = ["ingress", "recharger", "ledger", "syncer"];

/// What the broker and PostgreSQL say to who may not.
const REFUSALS: [&str; 2] = ["Permissions Violation", "permission denied"];

/// How a stack is built.
#[derive(Debug, Clone)]
pub struct Options {
    /// How many processes of each service.
    pub replicas: usize,
    /// Whether PostgreSQL is a cluster of its own, which may be stopped.
    pub own_postgres: bool,
    /// How long the broker waits for an acknowledgement: short, so that a killed process is soon replaced.
    pub ack_wait: Duration,
    /// Whether connections to the broker and to PostgreSQL are encrypted; it needs a PostgreSQL of its own.
    pub tls: Option<Tls>,
    /// More variables for every service.
    pub env: Vec<(String, String)>,
}

/// What encrypted connections need.
#[derive(Debug, Clone)]
pub struct Tls {
    /// What the servers prove their name with.
    pub identity: Identity,
    /// The file (PEM) with the authority that vouches for them.
    pub authority: PathBuf,
}

impl Default for Options {
    fn default() -> Self {
        Self { replicas: 1, own_postgres: false, ack_wait: Duration::from_secs(3), tls: None, env: Vec::new() }
    }
}

impl Options {
    /// The same with a variable more.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// A running system. Everything ends when it is dropped.
pub struct Stack {
    /// The services, each with its number.
    pub services: Vec<Service>,
    /// The broker.
    pub nats: NatsServer,
    /// The database.
    pub database: Database,
    /// For looking at the database.
    pub pool: PgPool,
    /// For looking at the broker.
    pub broker: Broker,
    /// Stripe.
    pub stripe: Running,
    /// The KMS.
    pub kms: Running,
    /// For calling ingress and the simulators.
    pub client: Client,
    logs: PathBuf,
}

impl Stack {
    /// Starts everything and waits until every service is ready.
    ///
    /// # Errors
    /// What could not be started, and why.
    pub async fn start(options: Options) -> anyhow::Result<Self> {
        let tools = Tools::from_env()?;
        let any: SocketAddr = ([127, 0, 0, 1], 0).into();
        let tls = options.tls.clone();
        let broker_options =
            nats::Options { tls: tls.as_ref().map(|tls| tls.identity.clone()), ..nats::Options::default() };
        let nats = tokio::task::block_in_place(|| NatsServer::start(&tools.nats_server, broker_options))?;
        let own_postgres = options.own_postgres || tls.is_some();
        let database =
            if own_postgres { Database::own(&tools, tls.as_ref()).await? } else { Database::shared().await? };
        let (stripe, kms) = (Stripe::start(any).await?, Kms::start(any).await?);
        let authority = tls.map(|tls| tls.authority);
        let broker = connect_trusting(&nats, authority.clone()).await?;
        let options = match &authority {
            Some(file) => options.with("NATS_CA_FILE", &file.to_string_lossy()),
            None => options,
        };
        Definitions::committed()?.with_ack_wait(options.ack_wait).apply(broker.jetstream()).await?;
        let logs = log_folder()?;
        let services = start_services(&options, &nats, &database, [&stripe.url(), &kms.url()], &logs)?;
        let client = Client::new(&services[0].url, &stripe.url(), &kms.url())?;
        let pool = database.pool()?;
        let mut stack = Self { services, nats, database, pool, broker, stripe, kms, client, logs };
        stack.wait_until_ready().await?;
        stack.send_webhooks_of_the_simulators().await?;
        Ok(stack)
    }

    /// Goes on with another broker and another database: what is outside stays. The services of before must have ended.
    ///
    /// # Errors
    /// What could not be started, and why.
    pub async fn move_to(&mut self, nats: NatsServer, database: Database, options: &Options) -> anyhow::Result<()> {
        self.pool.close().await;
        self.broker = connect(&nats).await?;
        self.pool = database.pool()?;
        (self.nats, self.database) = (nats, database);
        self.start_anew(options).await
    }

    /// Starts services with other settings, in the place of those that have ended.
    ///
    /// # Errors
    /// What could not be started, and why.
    pub async fn start_anew(&mut self, options: &Options) -> anyhow::Result<()> {
        let outside = [self.stripe.url(), self.kms.url()];
        // What they logged before stays beside it, until all goes.
        let numbers = (1_u32..).map(|number| self.logs.join(format!("anew-{number}")));
        let logs = numbers.into_iter().find(|logs| !logs.exists()).context("no name is left for the logs")?;
        std::fs::create_dir(&logs)?;
        let outside = outside.each_ref().map(String::as_str);
        self.services = start_services(options, &self.nats, &self.database, outside, &logs)?;
        self.client.ingress.clone_from(&self.services[0].url);
        self.wait_until_ready().await?;
        self.send_webhooks_of_the_simulators().await
    }

    /// Waits until every service says that it is ready.
    ///
    /// # Errors
    /// Which one is not, and the end of its log.
    pub async fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        for service in &mut self.services {
            service.until_ready(&self.client.http).await?;
        }
        Ok(())
    }

    async fn send_webhooks_of_the_simulators(&self) -> anyhow::Result<()> {
        let url = format!("{}/webhooks/litellm/limit-exceeded", self.services[0].url);
        let config = json!({ "webhook_url": url, "webhook_secret": WEBHOOK_SECRET });
        self.client.kms_sim("config", &config).await?;
        let url = format!("{}/webhooks/stripe", self.services[0].url);
        let config = json!({ "webhook_url": url, "webhook_secret": STRIPE_WEBHOOK_SECRET });
        self.client.stripe_sim("config", &config).await.map(drop)
    }

    /// The process of a service, by name and number.
    ///
    /// # Errors
    /// When there is none.
    pub fn service(&mut self, name: &str, number: usize) -> anyhow::Result<&mut Service> {
        let label = format!("{name}-{number}");
        self.services.iter_mut().find(|service| service.label == label).with_context(|| format!("no {label}"))
    }

    /// The first API token, an operator's, made as an operator makes it.
    ///
    /// # Errors
    /// When it was refused, or when anything but the token was printed where the token is, or the token in the log.
    pub async fn first_token(&self, name: &str) -> anyhow::Result<String> {
        let mut command = tokio::process::Command::new(service::program("ingress")?);
        command.args(["token", "--name", name]).env("DATABASE_URL", self.database.url_of("ingress")?);
        let output = command.output().await?;
        let log = String::from_utf8(output.stderr)?;
        anyhow::ensure!(output.status.success(), "{log}");
        let token = String::from_utf8(output.stdout)?.trim().to_owned();
        let alone = token.starts_with("bill_") && !token.contains(char::is_whitespace) && !log.contains(&token);
        anyhow::ensure!(alone, "the token alone, and once: {token} {log}");
        Ok(token)
    }

    /// The address of every ingress.
    #[must_use]
    pub fn ingresses(&self) -> Vec<String> {
        self.services.iter().filter(|s| s.label.starts_with("ingress")).map(|s| s.url.clone()).collect()
    }

    /// How many dead letters there are.
    ///
    /// # Errors
    /// What the broker says.
    pub async fn dead_letters(&self) -> anyhow::Result<u64> {
        let stream = self.broker.jetstream().get_stream(common::contract::streams::DEAD_LETTERS).await?;
        Ok(stream.cached_info().state.messages)
    }

    /// Stops every service as an operator would, and checks that each does so cleanly and was refused nothing by the
    /// broker and the database; then removes the database.
    ///
    /// # Errors
    /// Which one did not, or was.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        for service in &mut self.services {
            service.ask_to_stop()?;
        }
        for service in &mut self.services {
            service.stop()?;
        }
        // A missing right would otherwise be a retry that no test looks at.
        for service in &self.services {
            let log = service.log();
            let refused = log.lines().find(|line| REFUSALS.iter().any(|refusal| line.contains(refusal)));
            anyhow::ensure!(
                refused.is_none(),
                "{} was refused something: {}",
                service.label,
                refused.unwrap_or_default()
            );
        }
        self.pool.close().await;
        if std::env::var_os("E2E_KEEP_LOGS").is_none() {
            std::fs::remove_dir_all(&self.logs)?;
        }
        self.database.remove().await
    }
}

fn start_services(
    options: &Options,
    nats: &NatsServer,
    database: &Database,
    [stripe, kms]: [&str; 2],
    logs: &Path,
) -> anyhow::Result<Vec<Service>> {
    let mut services = Vec::new();
    for name in SERVICES {
        let env = environment(options, &nats.url_of(name), &database.url_of(name)?, stripe, kms);
        for number in 1..=options.replicas {
            services.push(Service::start(name, number, None, logs, &env)?);
        }
    }
    Ok(services)
}

/// A new folder for the logs of one stack's services: kept unless the stack was stopped in good order.
///
/// # Errors
/// When it can't be made.
pub fn log_folder() -> anyhow::Result<PathBuf> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name = format!("{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let folder = xtask::paths::target_dir().join("e2e-logs").join(name);
    std::fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    Ok(folder)
}

/// A connection to a broker that has just been started.
///
/// # Errors
/// When it does not answer.
pub async fn connect(nats: &NatsServer) -> anyhow::Result<Broker> {
    connect_trusting(nats, None).await
}

async fn connect_trusting(nats: &NatsServer, ca_file: Option<PathBuf>) -> anyhow::Result<Broker> {
    let health = Health::new("e2e", SystemClock::shared());
    let address = BrokerAddress { url: Secret::new(nats.url()), ca_file };
    let broker = Broker::connect(&address, "e2e", health).await?;
    wait::until("the broker", || async {
        anyhow::ensure!(broker.is_connected(), "not connected");
        Ok(())
    })
    .await?;
    Ok(broker)
}

/// The variables of a service that reaches its broker and database there.
#[must_use]
pub fn environment(options: &Options, nats: &str, database: &str, stripe: &str, kms: &str) -> Vec<(String, String)> {
    let fixed = [
        ("NATS_URL", nats),
        ("DATABASE_URL", database),
        ("STRIPE_URL", stripe),
        ("STRIPE_SECRET_KEY", STRIPE_KEY),
        ("KMS_URL", kms),
        ("LITELLM_WEBHOOK_SECRET", WEBHOOK_SECRET),
        ("LITELLM_ALERT_TOKEN", ALERT_TOKEN),
        ("STRIPE_WEBHOOK_SECRET", STRIPE_WEBHOOK_SECRET),
        ("PAY_LINK_SECRET", PAY_LINK_SECRET),
        ("MAX_RECHARGES_PER_MINUTE", "100000"),
        // A test that wants the sweep asks for it.
        ("SWEEP_INTERVAL", "1h"),
        ("RECONCILE_INTERVAL", "0s"),
        ("PATROL_INTERVAL", "200ms"),
        ("API_AUTH", "off"),
        ("DEV_ROUTES", "on"),
        ("RETRY_CAP", "2s"),
        ("MAX_ATTEMPTS", "200"),
        ("RUST_LOG", "info,sqlx=warn,async_nats=warn"),
    ];
    let fixed = fixed.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
    fixed.chain(options.env.iter().cloned()).collect()
}
